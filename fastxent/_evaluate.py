"""One call, from the arguments of a public function to its result.

``_validate`` turns the arguments into a request, a backend fills in the result or the totals, and
reductions are made from those.
"""

import math
from typing import SupportsIndex

import numpy as np
from numpy.typing import ArrayLike

from fastxent._config import backend_module, thread_count
from fastxent._request import Array, ArrayOrScalar, IgnoreIndex, Loss, LossTotals
from fastxent._validate import class_arrays, element_arrays, loss_request


def evaluate_loss(
    loss: Loss,
    values: ArrayLike,
    targets: ArrayLike,
    *,
    axis: SupportsIndex | None,
    reduction: str,
    normalizer: str | float,
    empty: str | float,
    weight: ArrayLike | None,
    class_weight: ArrayLike | None,
    ignore_index: IgnoreIndex,
    background_index: SupportsIndex | None,
    out: Array | None,
    num_threads: SupportsIndex | None,
    backend: str | None,
    pos_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    eps: float | None = None,
) -> ArrayOrScalar:
    """Evaluate a loss with the arguments of its public function."""
    compute = backend_module(backend)
    request, result = loss_request(
        loss,
        values,
        targets,
        axis,
        reduction,
        normalizer,
        empty,
        weight,
        class_weight,
        ignore_index,
        background_index,
        out,
        num_threads,
        pos_weight,
        label_smoothing,
        eps,
    )
    totals = compute.evaluate_loss(request)
    if result is not None:
        return result if out is not None or result.ndim > 0 else result[()]
    if reduction == "sum":
        return np.float64(totals.loss)
    count = math.prod(request.logits.shape[:-1])
    return _mean(totals, count, normalizer, empty)


def _mean(
    totals: LossTotals, count: int, normalizer: str | float, empty: str | float
) -> np.float64:
    if isinstance(normalizer, str):
        divisors = totals._asdict() | {"count": count}
        divisor = float(divisors[normalizer])
    else:
        divisor = float(normalizer)
    if divisor != 0:
        return np.float64(totals.loss / divisor)
    if empty == "raise":
        raise ValueError(f"there is nothing to average over: normalizer = {normalizer!r} is zero")
    return np.float64(empty)


def evaluate_element_score(
    name: str,
    values: ArrayLike,
    argument: str,
    *,
    out: Array | None,
    num_threads: SupportsIndex | None,
    backend: str | None,
) -> ArrayOrScalar:
    """Evaluate a score of single values; `argument` is what the public function calls them."""
    compute = backend_module(backend)
    threads = thread_count(num_threads)
    array, result = element_arrays(values, argument, out)
    compute.evaluate_score(name, array, result, threads)
    return result if out is not None or result.ndim > 0 else result[()]


def evaluate_class_score(
    name: str,
    logits: ArrayLike,
    *,
    axis: SupportsIndex,
    out: Array | None,
    num_threads: SupportsIndex | None,
    backend: str | None,
    keep_axis: bool = True,
) -> ArrayOrScalar:
    """Evaluate a score over classes, which has as many values or one for each anchor."""
    compute = backend_module(backend)
    threads = thread_count(num_threads)
    array, target, result = class_arrays(logits, axis, out, keep_axis=keep_axis)
    compute.evaluate_score(name, array, target, threads)
    return result if out is not None or result.ndim > 0 else result[()]
