"""What runs in a task: calls of the package on one chunk, and errors that name its place."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

import fastxent
from fastxent._arguments import ElementError
from fastxent._call.parts import PartTotals, add_totals, count_part, sum_with_rest
from fastxent._catalogue import LOSSES
from fastxent._contract import Array

Place = tuple[int, ...]


class LossTask(NamedTuple):
    """What all tasks of a call have in common."""

    name: str
    #: Which arguments the arrays are that follow the logits.
    arrays: tuple[str, ...]
    #: The keywords of the function that are no arrays of the anchors.
    options: Mapping[str, Any]
    axis: int | None
    #: "anchor" or "none", or "sum" where only totals are wanted.
    result: str
    return_grad: bool
    #: A number; arrays are among the others.
    grad_output: float | None


def only(block: Any) -> Array:  # noqa: ANN401 - lists of lists of an array
    """Return the one array of nested lists, which dask makes of an axis that is not returned."""
    while isinstance(block, list):
        (block,) = block
    array: Array = block
    return array


def placed(error: ElementError, place: Place, axis: int | None) -> ElementError:
    """Return the error of a chunk for the whole array; `place` is where its anchors begin."""
    if len(error.position) != len(place):
        place = (*place[:axis], 0, *place[axis:])
    return error.shifted(place)


def run_loss(task: LossTask, place: Place, divisor: Any, *blocks: Any) -> Any:  # noqa: ANN401
    """Compute a chunk: its losses or their totals, alone or with gradient and expectation."""
    values, arrays = only(blocks[0]), dict(zip(task.arrays, map(only, blocks[1:]), strict=True))
    positional = [arrays.pop("targets")]
    if LOSSES[task.name].target_format == "labels":
        positional.append(arrays.pop("scores"))
    options = {**task.options, **arrays}
    if task.return_grad:
        options["return_grad"] = True
        if "grad_output" not in arrays:
            options["grad_output"] = task.grad_output
        if divisor is not None:
            scale = 1.0 if task.grad_output is None else task.grad_output
            options["grad_output"] = 0.0 if divisor == 0 else scale / float(divisor)
    reduction = "anchor" if task.result == "sum" else task.result
    found = _call(task, place, values, positional, reduction=reduction, **options)
    found = found if isinstance(found, tuple) else (found,)
    if task.return_grad and divisor is not None and divisor == 0:
        found = found[0], np.zeros_like(found[1]), *found[2:]
    if task.result == "sum":
        loss, rest = sum_with_rest(found[0])
        found = PartTotals(loss=loss, loss_rest=rest), *found[1:]
    return found if len(found) > 1 else found[0]


def count_anchors(
    task: LossTask,
    place: Place,
    anchors: tuple[int, ...],
    classes: int,
    dtype: np.dtype[Any],
    *blocks: Any,  # noqa: ANN401
) -> PartTotals:
    """Count a chunk, from its targets and weights alone."""
    shape = anchors
    if task.axis is not None:
        shape = (*anchors[: task.axis], classes, *anchors[task.axis :])
    arrays = dict(zip(task.arrays, map(only, blocks), strict=True))
    targets = arrays.pop("targets")
    arrays.pop("grad_output", None)
    options = {**task.options, **arrays}
    try:
        return count_part(LOSSES[task.name], shape, dtype, targets, options)
    except ElementError as error:
        raise placed(error, place, task.axis) from None


def _call(
    task: LossTask,
    place: Place,
    values: Array,
    positional: list[Array],
    **options: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    function: Callable[..., Any] = getattr(fastxent, task.name)
    try:
        return function(values, *positional, **options)
    except ElementError as error:
        raise placed(error, place, task.axis) from None


# --- totals --------------------------------------------------------------------------------------


def add_rows(rows: list[Any]) -> PartTotals:
    """Add the rows of some chunks; with gradients, a chunk has more than its row."""
    return add_totals([row if isinstance(row, PartTotals) else row[0] for row in rows])


def divisor_of(normalizer: str, empty: float | str, counts: PartTotals) -> float:
    """Return what a sum is divided by, 0 where there is nothing to average over."""
    divisor = counts.weight if normalizer == "weight" else float(getattr(counts, normalizer))
    return check_divisor(divisor, normalizer, empty)


def check_divisor(divisor: float, normalizer: object, empty: float | str) -> float:
    """Return a divisor, unless it is zero and that is to be an error."""
    if divisor == 0 and empty == "raise":
        raise ValueError(f"there is nothing to average over: normalizer = {normalizer!r} is zero")
    return divisor


def finish(empty: float | str, divisor: float | None, totals: PartTotals) -> np.float64:
    """Return the sum, or the mean."""
    if divisor is None:
        return np.float64(totals.loss)
    if divisor == 0:
        return np.float64(math.nan if empty == "raise" else empty)
    return np.float64(totals.loss / divisor)


def pick(found: Any, number: int) -> Any:  # noqa: ANN401
    """Return one of the results of a chunk."""
    return found[number]
