"""The work of ``fastxent loss``: one pass over stored logits and targets, block by block."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

import fastxent
from fastxent._arguments import ElementError, result_dtype
from fastxent._call.validate import MOST_CLASSES
from fastxent.cli.arrays import StoredArray
from fastxent.cli.errors import CommandError
from fastxent.cli.output import Destination, write_array
from fastxent.cli.regions import Region, drop_axis, split_anchors
from fastxent.cli.summary import Labelling, Summary

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class LossOptions:
    """The options of the command, with the meaning that the functions of the package give them."""

    loss: str
    axis: int | None
    reduction: str
    ignore_index: tuple[int, ...]
    background_index: int | None
    label_smoothing: float
    pos_weight: float | None
    num_threads: int | None

    @property
    def per_logit(self) -> bool:
        """Whether the result has one value per logit."""
        return self.reduction == "none" and self.loss == "sigmoid"

    def function(self) -> Callable[..., Any]:
        """Return the loss as a function of logits, targets and reduction."""
        common: dict[str, Any] = {
            "axis": self.axis,
            "ignore_index": self.ignore_index,
            "background_index": self.background_index,
            "label_smoothing": self.label_smoothing,
            "num_threads": self.num_threads,
        }
        if self.loss == "sigmoid":
            return partial(fastxent.sigmoid_cross_entropy, pos_weight=self.pos_weight, **common)
        if self.pos_weight is not None:
            raise CommandError("--pos-weight is for --loss sigmoid")
        return partial(fastxent.softmax_cross_entropy, **common)


class Scan:
    """Stored logits with their targets, checked as far as possible without reading them.

    Parameters
    ----------
    logits, targets : StoredArray
        What the losses of the package would take as arrays.
    options : LossOptions
        Which loss.
    """

    def __init__(self, logits: StoredArray, targets: StoredArray, options: LossOptions) -> None:
        self.logits, self.targets = logits, targets
        self.axis = _resolve_axis(logits, options)
        self.options = replace(options, axis=self.axis)
        self.function = self.options.function()
        self.anchor_shape = drop_axis(logits.shape, self.axis)
        self.labelling = self._tell_labelling()
        self._try_arguments()
        logits.check_order(self._regions())
        targets.check_order(self._target_region(region) for region in self._regions())

    def run(self, top: int, out: Destination | None, progress: Callable[[int], object]) -> Summary:
        """Compute the loss of every anchor.

        Parameters
        ----------
        top : int
            How many of the hardest anchors to keep.
        out : Destination or None
            The .npy file to write, of which the reduction says what it holds.
        progress : callable
            Called after each block with its number of anchors.

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
        with write_array(out, shape, dtype, fortran_order=self.logits.fortran_order) as writer:
            for region in self._regions():
                anchors = drop_axis(region, self.axis)
                target_region = self._target_region(region)
                block = self.logits.read(region), self.targets.read(target_region)
                losses = self._compute(*block, "anchor", _starts(target_region))
                summary.add(losses, self._class_last(block[1]), _starts(anchors))
                if writer and per_logit:
                    writer.write(region, self._compute(*block, "none", _starts(target_region)))
                elif writer and not is_scalar:
                    writer.write(anchors, losses)
                progress(losses.size)
            if writer and is_scalar:
                value = summary.mean if reduction == "mean" else summary.loss_sum
                writer.write((), np.array(value))
        return summary

    def _tell_labelling(self) -> Labelling:
        """Tell class labels from dense targets, by the rules of the package."""
        classes = 1 if self.axis is None else self.logits.shape[self.axis]
        if classes > MOST_CLASSES:
            raise CommandError(
                f"{self.logits} has more than {MOST_CLASSES:,} classes on axis {self.axis}"
            )
        shape = self.targets.shape
        if shape not in {self.anchor_shape, self.logits.shape}:
            expected = f"{self.anchor_shape}"
            if self.axis is not None:
                expected += f" for class labels or {self.logits.shape} for dense targets"
            raise CommandError(
                f"{self.targets} does not fit {self.logits}: expected shape {expected}"
            )
        dense = shape == self.logits.shape
        background = self.options.background_index
        if self.axis is None:
            dense = self.targets.dtype.kind not in "iu"
            background = 0 if background is None else background
        elif self.options.loss == "softmax":
            background = None
        elif background is None:
            background = classes
        return Labelling(classes, dense, background, self.options.ignore_index)

    def _try_arguments(self) -> None:
        """Let the package check everything but the values, on arrays without anchors."""
        logits_shape = tuple(n if i == self.axis else 0 for i, n in enumerate(self.logits.shape))
        if not self.anchor_shape:
            logits_shape += (0,)  # a single anchor; these are none
        shape = logits_shape if self.labelling.dense else drop_axis(logits_shape, self.axis)
        logits = np.empty(logits_shape, self.logits.dtype)
        self._compute(logits, np.empty(shape, self.targets.dtype), "anchor", ())

    def _regions(self) -> Iterator[Region]:
        """Cut the logits into blocks."""
        logits = self.logits
        if 0 in self.anchor_shape:
            return iter(())
        return split_anchors(
            logits.shape, self.axis, logits.dtype.itemsize, fortran_order=logits.fortran_order
        )

    def _target_region(self, region: Region) -> Region:
        return region if self.labelling.dense else drop_axis(region, self.axis)

    def _compute(
        self, logits: Array, targets: Array, reduction: str, start: tuple[int, ...]
    ) -> Array:
        """Compute the loss of a block whose targets begin at `start` in the file."""
        try:
            return np.asarray(self.function(logits, targets, reduction=reduction))
        except ElementError as error:
            raise CommandError(str(error.shifted(start))) from error
        except (TypeError, ValueError) as error:
            raise CommandError(str(error)) from error

    def _class_last(self, targets: Array) -> Array:
        if self.labelling.dense and self.axis is not None:
            return np.moveaxis(targets, self.axis, -1)
        return targets


def _resolve_axis(logits: StoredArray, options: LossOptions) -> int | None:
    axis, ndim = options.axis, len(logits.shape)
    if axis is None:
        if options.loss != "sigmoid":
            raise CommandError("--axis none is for --loss sigmoid")
        return None
    if not -ndim <= axis < ndim:
        raise CommandError(f"--axis {axis} is out of range for {logits}")
    return axis % ndim


def _starts(region: Region) -> tuple[int, ...]:
    return tuple(part.start for part in region)
