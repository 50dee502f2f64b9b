"""The check that probabilities are no logits, which would be clipped without a word."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fastxent import native
from fastxent._arguments import ElementError, position_of
from fastxent._catalogue import Loss
from fastxent._contract import Array, LossRequest
from fastxent._selection import tolerance

#: Elements that the search for the one to be named looks at in one go.
_BLOCK = 65536


def check_probabilities(request: LossRequest, axis: int | None, *, may_check_late: bool) -> None:
    """Refuse numbers outside [0, 1], or, of a loss that normalizes them, negative ones.

    NaN is accepted, and so is anything in ignored anchors and at missing labels. The class axis is
    the user's. Targets have been checked, or have a late check, which comes first.
    """
    probs, threads = request.logits, request.threads
    lowest, highest = _interval(request.loss, probs)
    targets = cast("Array", request.labels)[..., None] if request.dense is None else request.dense
    # Without the request, as for targets.
    check = partial(_check, request.loss, probs, targets, request.ignore, axis)
    if may_check_late:
        request.tolerance = tolerance(probs.dtype)
        targets_check = request.late_check
        request.late_check = (
            check if targets_check is None else partial(_in_turn, targets_check, check)
        )
    elif native.has_outside(probs, lowest, highest, threads):
        check()


def _in_turn(*checks: Callable[[], object]) -> None:
    for check in checks:
        check()


def _interval(loss: Loss, probs: Array) -> tuple[float, float]:
    margin = tolerance(probs.dtype)
    return -margin, 1 + margin if loss.sigmoid else math.inf


def _check(
    loss: Loss, probs: Array, targets: Array, ignore: tuple[int, ...], axis: int | None
) -> None:
    """Look at all elements in the order of the user's axes, and refuse the first that is wrong."""
    lowest, highest = _interval(loss, probs)
    probs = _as_given(probs, axis)
    targets = np.broadcast_to(_as_given(targets, axis), probs.shape)
    seen = 0
    for index in _blocks(probs.shape):
        values = _as_float64(probs[index])
        outside = (values < lowest) | (values > highest)
        if outside.any():
            outside &= ~np.isin(_as_float64(targets[index]), ignore)
        if outside.any():
            found = int(outside.argmax())
            reason = "outside [0, 1]" if loss.sigmoid else "negative"
            problem = (
                f"= {probs[index].flat[found]!s} is {reason} "
                f"({loss.family}_cross_entropy takes logits)"
            )
            raise ElementError("probs", position_of(seen + found, probs.shape), problem)
        seen += values.size


def _as_given(array: Array, axis: int | None) -> Array:
    """Undo what put the class axis last."""
    return array[..., 0] if axis is None else np.moveaxis(array, -1, axis)


def _as_float64(array: Array) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):  # NumPy says so of some NaNs
        return array.astype(np.float64)


def _blocks(shape: tuple[int, ...]) -> Iterator[tuple[Any, ...]]:
    """Yield indices of consecutive parts, of about so many elements."""
    axis = 0
    while math.prod(shape[axis + 1 :]) > _BLOCK:
        axis += 1
    step = max(1, _BLOCK // max(1, math.prod(shape[axis + 1 :])))
    for outer in np.ndindex(shape[:axis]):
        for start in range(0, shape[axis] if shape else 1, step):
            yield (*outer, slice(start, start + step)) if shape else (...,)
