"""The work of ``fastxent loss`` on a part of the anchors, in this process or another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import fastxent
from fastxent._arguments import ElementError, result_dtype
from fastxent._catalogue import LOSSES, Loss
from fastxent.cli.errors import CommandError
from fastxent.cli.regions import Region, drop_axis, split_anchors
from fastxent.cli.sources import Piece, read_pieces
from fastxent.cli.summary import Labelling, Summary

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class LossOptions:
    """The options of the command, with the meaning that the functions of the package give them."""

    loss: str
    #: Those that not all losses have.
    parameters: dict[str, Any]
    axis: int | None
    reduction: str
    ignore_index: tuple[int, ...]
    background_index: int | None
    num_threads: int | None

    @property
    def row(self) -> Loss:
        """What the catalogue says of the loss."""
        return LOSSES[self.loss]

    @property
    def per_logit(self) -> bool:
        """Whether the result has one value per logit."""
        return self.reduction == "none" and self.row.sigmoid

    def compute(self, values: Array, arrays: Sequence[Array], reduction: str) -> Array:
        """Compute the loss of a block; `arrays` are the positional arguments that follow."""
        options = {
            "axis": self.axis,
            "ignore_index": self.ignore_index,
            "num_threads": self.num_threads,
            "reduction": reduction,
            **self.parameters,
        }
        if self.background_index is not None:
            options["background_index"] = self.background_index
        function = getattr(fastxent, self.loss)
        return np.asarray(function(values, *arrays, **options))


class BlockSetup(NamedTuple):
    """What all blocks of a job have in common."""

    options: LossOptions
    labelling: Labelling
    #: How many of the hardest anchors to keep.
    top: int
    #: Whether the losses themselves are wanted, and not only their summary.
    wants_losses: bool


class BlockTask(NamedTuple):
    """A part of the anchors, for a process that has no file open."""

    setup: BlockSetup
    region: Region
    values: list[Piece]
    #: Of the targets, and of the scores where the loss has them.
    arrays: list[list[Piece]]


def run_block(task: BlockTask) -> dict[str, Array]:
    """Read a part of the anchors, and compute their losses."""
    values = read_pieces(task.values)
    arrays = [read_pieces(pieces) for pieces in task.arrays]
    return evaluate_block(task.setup, task.region, values, arrays)


def evaluate_block(
    setup: BlockSetup,
    region: Region,
    values: Array,
    arrays: Sequence[Array],
    limit: float = -np.inf,
) -> dict[str, Array]:
    """Compute the losses of a part of the anchors, some in the cache at a time.

    Parameters
    ----------
    setup : BlockSetup
        What to compute.
    region : tuple of slice
        Where the logits are in the whole.
    values : ndarray
        The logits.
    arrays : sequence of ndarray
        Targets, and scores where the loss has them.
    limit : float
        Anchors with no larger loss are not among the hardest.

    Returns
    -------
    dict
        The arrays of a :class:`Summary`, and "losses" where they are wanted.
    """
    options, labelling = setup.options, setup.labelling
    axis = options.axis
    starts = tuple(part.start for part in region)
    summary = Summary(labelling, setup.top, limit)
    shape = values.shape if options.per_logit else drop_axis(values.shape, axis)
    dtype = result_dtype(values.dtype.newbyteorder("="))
    is_fortran = values.ndim > 1 and values.flags.f_contiguous and not values.flags.c_contiguous
    losses: Array | None = None
    if setup.wants_losses:
        losses = np.empty(shape, dtype, "F" if is_fortran else "C")
    for inner in split_anchors(values.shape, axis, values.itemsize, fortran_order=is_fortran):
        anchors = drop_axis(inner, axis)
        dense = [array.ndim == values.ndim and labelling.dense for array in arrays]
        block = values[inner]
        others = [a[inner] if d else a[anchors] for a, d in zip(arrays, dense, strict=True)]
        place = tuple(part.start + start for part, start in zip(inner, starts, strict=True))
        found = _compute(options, block, others, "anchor", place)
        targets = others[0]
        if labelling.dense and axis is not None:
            targets = np.moveaxis(targets, axis, -1)
        summary.add(found, targets, drop_axis(place, axis))
        if losses is not None and options.per_logit:
            losses[inner] = _compute(options, block, others, "none", place)
        elif losses is not None:
            losses[anchors] = found
    result = summary.as_arrays()
    if losses is not None:
        result["losses"] = losses
    return result


def _compute(
    options: LossOptions,
    values: Array,
    arrays: Sequence[Array],
    reduction: str,
    place: tuple[int, ...],
) -> Array:
    """Compute the losses of a block that begins at `place` in the whole."""
    try:
        return options.compute(values, arrays, reduction)
    except ElementError as error:
        start = place
        if len(error.position) != len(place):
            start = drop_axis(place, options.axis)
        raise CommandError(str(error.shifted(start))) from error
    except (TypeError, ValueError) as error:
        raise CommandError(str(error)) from error
