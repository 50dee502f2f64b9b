"""One call, from the arguments of a public function to its result.

``validate`` turns the arguments into a request, a backend fills in the result or the totals, and
reductions are made from those.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike

from fastxent import _results, native
from fastxent._call.class_scores import write_class_score
from fastxent._call.options import CallOptions
from fastxent._call.targets import DEFAULT_IGNORE_INDEX
from fastxent._call.validate import class_arrays, element_arrays, loss_request
from fastxent._catalogue import Loss
from fastxent._config import MAX_THREADS, backend_module, thread_count
from fastxent._contract import (
    Array,
    ArrayOrScalar,
    Backend,
    BackendName,
    IgnoreIndex,
    LossRequest,
    LossTotals,
    Normalizer,
    Reduction,
)
from fastxent._floats import with_default_floats

#: CPython keeps one object for equal names, so that a comparison is one of addresses.
_ANCHOR = "anchor"
_VALID = "valid"


def evaluate_loss(  # noqa: PLR0917 - see below
    loss: Loss,
    values: ArrayLike,
    targets: ArrayLike,
    parameters: Mapping[str, Any],
    axis: SupportsIndex | None,
    reduction: Reduction,
    normalizer: Normalizer | float,
    empty: Literal["raise"] | float,
    weight: ArrayLike | None,
    class_weight: ArrayLike | None,
    ignore_index: IgnoreIndex,
    background_index: SupportsIndex | None,
    return_grad: bool,
    grad_output: ArrayLike | None,
    out: Array | None,
    grad_out: Array | None,
    num_threads: SupportsIndex | None,
    backend: BackendName | None,
) -> ArrayOrScalar:
    """Evaluate a loss with the arguments of its public function, in the order of that.

    `parameters` has those that not all losses have, by name. The others go by position, and become
    one object after the short cut: CPython makes a dict of 14 keywords or more, which would take a
    third of the time of the common call, and the object a sixth.

    The first condition is a short cut and no rule: what it lets through, the code below would treat
    the same.
    """
    compute = backend_module(backend)
    if (
        compute is native
        and loss.has_short_calls
        and type(values) is np.ndarray
        and type(targets) is np.ndarray
        and weight is None
        and class_weight is None
        and background_index is None
        and return_grad is False
        and grad_output is None
        and out is None
        and grad_out is None
        and (num_threads is None or (type(num_threads) is int and 0 < num_threads <= MAX_THREADS))
        and reduction is _ANCHOR
        and normalizer is _VALID
        and type(axis) is int
        and axis == -1
        and type(ignore_index) is int
        and ignore_index == DEFAULT_IGNORE_INDEX
        and type(empty) is float
        and empty == 0.0
        and _are_off(parameters)
    ):
        try:
            losses = np.empty(targets.shape, np.float32)
        except (MemoryError, ValueError):
            pass  # such a call is not short, or its targets have a wrong shape
        else:
            if native.evaluate_short_call(loss.code, values, targets, losses, ignore_index):
                return losses
    # By position, too: a constructor would cost half a microsecond more.
    options = CallOptions._make(
        (
            parameters,
            axis,
            reduction,
            normalizer,
            empty,
            weight,
            class_weight,
            ignore_index,
            background_index,
            return_grad,
            grad_output,
            out,
            grad_out,
            num_threads,
        )
    )
    return _evaluate_loss(compute, loss, values, targets, options)


@with_default_floats
def _evaluate_loss(
    compute: Backend, loss: Loss, values: ArrayLike, targets: ArrayLike, options: CallOptions
) -> ArrayOrScalar:
    """Evaluate a loss: validate, dispatch, reduce."""
    checks_late = compute is native
    request, result, grad = loss_request(loss, values, targets, options, checks_late=checks_late)
    out, reduction = options.out, options.reduction
    value: ArrayOrScalar
    if result is not None:
        if request.late_check is not None and out is not None:
            _write_after_check(compute, request, result)
        else:
            compute.evaluate_loss(request)
        value = result if out is None and result.ndim > 0 else _returned(result, out)
    elif reduction == "sum":
        value = np.float64(compute.evaluate_loss(request).loss)
    else:
        value = _mean(compute, request, options)
    if grad is None and request.expectation is None:
        return value
    results = [value]
    if grad is not None:
        results.append(_returned(grad, options.grad_out))
    if request.expectation is not None:
        results.append(_returned(request.expectation, None))
    return tuple(results)


def _are_off(parameters: Mapping[str, Any]) -> bool:
    """Return whether the parameters of a cross-entropy are those that change nothing."""
    smoothing = parameters["label_smoothing"]
    return type(smoothing) is float and smoothing == 0.0 and parameters.get("pos_weight") is None


def _returned(result: Array, out: Array | None) -> ArrayOrScalar:
    """Return the user's array, where there is one, and a scalar in place of no dimensions."""
    if out is not None:
        return out
    return result if result.ndim > 0 else result[()]


def _write_after_check(compute: Backend, request: LossRequest, result: Array) -> None:
    """Compute losses out of sight, and copy those of valid targets."""
    request.out = _results.empty(result.shape, result.dtype)
    compute.evaluate_loss(request)
    result[...] = request.out


def _mean(compute: Backend, request: LossRequest, options: CallOptions) -> np.float64:
    normalizer, empty = options.normalizer, options.empty
    grad = request.grad
    totals = compute.evaluate_loss(request) if grad is None else None
    divisor = _divisor(compute, request, normalizer, totals)
    if divisor == 0:
        if totals is None and request.late_check is not None:
            request.late_check()
        if empty == "raise":
            raise ValueError(
                f"there is nothing to average over: normalizer = {normalizer!r} is zero"
            )
        if grad is not None:
            grad[...] = 0
            request.grad = None
            if request.expectation is not None:
                compute.evaluate_loss(request)
        return np.float64(empty)
    if totals is None:
        request.grad_scale /= divisor
        totals = compute.evaluate_loss(request)
    return np.float64(totals.loss / divisor)


def _divisor(
    compute: Backend,
    request: LossRequest,
    normalizer: Normalizer | float,
    totals: LossTotals | None,
) -> float:
    """Return what a sum is divided by; a gradient is written divided, before there are totals."""
    if not isinstance(normalizer, str):
        return float(normalizer)
    if normalizer == "count":
        return float(math.prod(request.logits.shape[:-1]))
    if totals is None:
        totals = compute.count_anchors(request)
    return float(getattr(totals, normalizer))


def evaluate_element_score(
    name: str,
    values: ArrayLike,
    argument: str,
    *,
    out: Array | None,
    num_threads: SupportsIndex | None,
    backend: BackendName | None,
) -> ArrayOrScalar:
    """Evaluate a score of single values; `argument` is what the public function calls them."""
    compute = backend_module(backend)
    threads = thread_count(num_threads)
    array, result = element_arrays(values, argument, out)
    compute.evaluate_score(name, array, result, threads)
    return _returned(result, out)


def evaluate_class_score(
    name: str,
    logits: ArrayLike,
    *,
    axis: SupportsIndex | tuple[SupportsIndex, ...] | None,
    keepdims: bool = False,
    out: Array | None,
    num_threads: SupportsIndex | None,
    backend: BackendName | None,
) -> ArrayOrScalar:
    """Evaluate a score over classes, which has as many values or one for each anchor."""
    compute = backend_module(backend)
    threads = thread_count(num_threads)
    per_class = name != "logsumexp"
    array, result, axes = class_arrays(logits, axis, out, keepdims=keepdims, per_class=per_class)
    write_class_score(compute, name, array, result, axes, threads=threads)
    return _returned(result, out)
