"""The job of ``fastxent loss``: stored logits and targets, part by part."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fastxent._arguments import result_dtype
from fastxent._call.validate import MOST_CLASSES
from fastxent.cli.blocks import (
    BlockSetup,
    BlockTask,
    LossOptions,
    evaluate_block,
    run_block,
)
from fastxent.cli.errors import CommandError
from fastxent.cli.jobs import Chunks, Job
from fastxent.cli.output import Destination, write_array
from fastxent.cli.regions import Region, drop_axis, region_shape, split_anchors
from fastxent.cli.sources import Source
from fastxent.cli.summary import Labelling, Summary

Array = npt.NDArray[Any]


class Scan:
    """Stored logits with their targets, checked as far as possible without reading them.

    Parameters
    ----------
    logits, targets : Source
        What the losses of the package would take as arrays.
    options : LossOptions
        Which loss.
    scores : Source, optional
        The third argument of the losses that have one.
    """

    def __init__(
        self, logits: Source, targets: Source, options: LossOptions, scores: Source | None = None
    ) -> None:
        self.logits, self.targets, self.scores = logits, targets, scores
        self.axis = _resolve_axis(logits, options)
        self.options = replace(options, axis=self.axis)
        self.anchor_shape = drop_axis(logits.shape, self.axis)
        self._check_scores()
        self.labelling = self._tell_labelling()
        self._try_arguments()
        logits.check_order(self._regions())
        for array in self._arrays:
            array.check_order(self._region_of(array, region) for region in self._regions())

    def run(
        self, top: int, out: Destination | None, progress: Callable[[int], object], job: Job
    ) -> Summary:
        """Compute the loss of every anchor.

        Parameters
        ----------
        top : int
            How many of the hardest anchors to keep.
        out : Destination or None
            The .npy file to write, of which the reduction says what it holds.
        progress : callable
            Called after each part with its number of anchors.
        job : Job
            What runs the parts, and what it keeps of them.

        Returns
        -------
        Summary
            Counts and sums.
        """
        summary = Summary(self.labelling, top)
        reduction, per_logit = self.options.reduction, self.options.per_logit
        is_scalar = reduction in {"sum", "mean"}
        shape = () if is_scalar else self.logits.shape if per_logit else self.anchor_shape
        dtype = result_dtype(self.logits.dtype.newbyteorder("="))
        if is_scalar:
            dtype = np.dtype(np.float64)
        setup = BlockSetup(self.options, self.labelling, top, out is not None and not is_scalar)
        chunks = Chunks(
            lambda: self._regions(job.chunk_bytes),
            lambda region: self._run_here(setup, region, summary.limit),
            lambda region: self._task(setup, region),
            run_block,
            lambda region: math.prod(drop_axis(region_shape(region), self.axis)),
        )
        with write_array(out, shape, dtype, fortran_order=self.logits.fortran_order) as writer:
            for region, found in job.results(chunks, progress):
                if writer and not is_scalar:
                    writer.write(
                        region if per_logit else drop_axis(region, self.axis), found["losses"]
                    )
                summary.add_arrays(found)
            if writer and is_scalar:
                value = summary.mean if reduction == "mean" else summary.loss_sum
                writer.write((), np.array(value))
        return summary

    @property
    def _arrays(self) -> list[Source]:
        """What is read with the logits."""
        return [array for array in (self.targets, self.scores) if array is not None]

    def _run_here(self, setup: BlockSetup, region: Region, limit: float) -> dict[str, Array]:
        values = self.logits.read(region)
        arrays = [array.read(self._region_of(array, region)) for array in self._arrays]
        return evaluate_block(setup, region, values, arrays, limit)

    def _task(self, setup: BlockSetup, region: Region) -> BlockTask:
        """Return a part of the work for a process that has no file open."""
        pieces = [array.pieces(self._region_of(array, region)) for array in self._arrays]
        return BlockTask(setup, region, self.logits.pieces(region), pieces)

    # --- what is checked before anything is read -------------------------------------------------

    def _check_scores(self) -> None:
        needs_scores = self.options.row.target_format == "labels"
        if needs_scores and self.scores is None:
            raise CommandError(f"--loss {self.options.loss} needs --scores")
        if self.scores is None:
            return
        if not needs_scores:
            raise CommandError(f"--scores is not for --loss {self.options.loss}")
        if self.scores.shape != self.anchor_shape:
            raise CommandError(
                f"{self.scores} does not fit {self.logits}: expected shape {self.anchor_shape}"
            )

    def _tell_labelling(self) -> Labelling:
        """Tell class labels from dense targets, by the rules of the package."""
        classes = 1 if self.axis is None else self.logits.shape[self.axis]
        if classes > MOST_CLASSES:
            raise CommandError(
                f"{self.logits} has more than {MOST_CLASSES:,} classes on axis {self.axis}"
            )
        shape, row = self.targets.shape, self.options.row
        takes_dense = row.target_format == "classes"
        if shape not in {self.anchor_shape, self.logits.shape if takes_dense else ()}:
            expected = f"{self.anchor_shape}"
            if self.axis is not None and takes_dense:
                expected += f" for class labels or {self.logits.shape} for dense targets"
            raise CommandError(
                f"{self.targets} does not fit {self.logits}: expected shape {expected}"
            )
        dense = shape == self.logits.shape and takes_dense
        background = self.options.background_index
        if self.axis is None:
            dense = takes_dense and self.targets.dtype.kind not in "iu"
            background = 0 if background is None else background
        elif not row.sigmoid:
            background = None
        elif background is None:
            background = classes
        return Labelling(classes, dense, background, self.options.ignore_index)

    def _try_arguments(self) -> None:
        """Let the package check everything but the values, on arrays without anchors."""
        logits_shape = tuple(n if i == self.axis else 0 for i, n in enumerate(self.logits.shape))
        if not self.anchor_shape:
            logits_shape += (0,)  # a single anchor; these are none
        anchors = drop_axis(logits_shape, self.axis)
        shape = logits_shape if self.labelling.dense else anchors
        values = np.empty(logits_shape, self.logits.dtype)
        arrays: Sequence[Array] = [np.empty(shape, self.targets.dtype)]
        if self.scores is not None:
            arrays = [*arrays, np.empty(anchors, self.scores.dtype)]
        try:
            self.options.compute(values, arrays, "anchor")
        except (TypeError, ValueError) as error:
            raise CommandError(str(error)) from error

    def _regions(self, most_bytes: int = 0) -> Iterator[Region]:
        """Cut the logits into parts."""
        logits = self.logits
        if 0 in self.anchor_shape:
            return iter(())
        return split_anchors(
            logits.shape,
            self.axis,
            logits.dtype.itemsize,
            fortran_order=logits.fortran_order,
            grid=logits.grid,
            most_bytes=most_bytes,
        )

    def _region_of(self, array: Source, region: Region) -> Region:
        """Return the part of the targets, or scores, that belongs to one of the logits."""
        is_dense = array is self.targets and self.labelling.dense
        return region if is_dense else drop_axis(region, self.axis)


def _resolve_axis(logits: Source, options: LossOptions) -> int | None:
    axis, ndim = options.axis, len(logits.shape)
    if axis is None:
        if not options.row.sigmoid:
            raise CommandError("--axis none is for --loss sigmoid and its family")
        return None
    if not -ndim <= axis < ndim:
        raise CommandError(f"--axis {axis} is out of range for {logits}")
    return axis % ndim
