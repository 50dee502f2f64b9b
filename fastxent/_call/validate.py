"""The only module that validates user input of losses and scores.

``loss_request``, ``element_arrays`` and ``class_arrays`` check every argument, before anything is
written, and bring it to the shape that backends read. Nothing as large as the logits is copied.

The common call (float32 logits with the class axis last, labels, no options) shall cost about two
microseconds in Python. Hence the tests for defaults, which skip whole functions.
"""

from typing import Literal, NoReturn, SupportsIndex, get_args

import numpy as np
from numpy.typing import ArrayLike

from fastxent import _results
from fastxent._arguments import (
    FLOAT_DTYPES,
    as_array,
    as_flag,
    as_number,
    axis_index,
    axis_indices,
    check_in_place,
    check_out,
    class_last,
    listed,
    overlap,
    result_dtype,
    score_dtype,
    shown,
)
from fastxent._call.options import CallOptions
from fastxent._call.parameters import PARAMETERS, per_class
from fastxent._call.probabilities import check_probabilities
from fastxent._call.targets import set_targets
from fastxent._catalogue import Loss
from fastxent._config import thread_count
from fastxent._contract import Array, LossRequest, Normalizer, Reduction

REDUCTIONS = get_args(Reduction)
NORMALIZERS = get_args(Normalizer)
#: The kernels hold class numbers in the lanes of floats, which hold no odd ones beyond.
MOST_CLASSES = 2**24
#: With so many classes, one loss an anchor is copied to `out` in less time than dense targets are
#: read a second time: 0.5 ns against 0.07 ns a class, on two threads.
COPIED_CLASSES = 16


def loss_request(  # noqa: C901, PLR0912 - every call pays for what is split off
    loss: Loss, values: ArrayLike, targets: ArrayLike, options: CallOptions, *, checks_late: bool
) -> tuple[LossRequest, Array | None, Array | None]:
    """Return what a backend needs to know, and the loss and the gradient in the user's layout.

    A loss that is a number, and a gradient that is not wanted, are None. A backend that checks
    dense targets and probabilities itself is left to do so where results of those that are refused
    are not visible.
    """
    axis, reduction = options.axis, options.reduction
    out, grad_out = options.out, options.grad_out
    _check_reduction(reduction, options.normalizer, options.empty, out)
    values = as_array(values, loss.values, FLOAT_DTYPES)
    if axis is not None:
        class_axis = axis_index(axis, values.ndim, loss.values)
    elif loss.sigmoid:
        class_axis = None
    else:
        raise ValueError(f"axis=None is for single-class heads, but {loss.name} needs classes")
    try:
        logits = class_last(values, class_axis)
    except IndexError as error:
        message = f"{loss.values} has {values.ndim} dimensions, and axis=None adds one too many"
        raise ValueError(message) from error
    shape, last_shape = values.shape, logits.shape
    anchors, classes = last_shape[:-1], last_shape[-1]
    if not 0 < classes <= MOST_CLASSES:
        raise _class_count_error(loss.values, shape, axis, classes)
    request = LossRequest(loss, logits)
    request.threads = thread_count(options.num_threads)
    targets = as_array(targets, loss.targets)
    may_check_late = (
        checks_late
        and grad_out is None
        and (out is None or (reduction == "anchor" and classes >= COPIED_CLASSES))
    )
    set_targets(
        request,
        loss,
        targets,
        anchors,
        shape,
        class_axis,
        options.ignore_index,
        options.background_index,
        may_check_late,
        may_check_late and out is None,
    )
    if loss.values == "probs":
        check_probabilities(request, class_axis, may_check_late=may_check_late)
    if options.weight is not None:
        _set_weight(request, loss, options.weight, shape, class_axis)
    if options.class_weight is not None:
        request.class_weight = per_class(options.class_weight, "class_weight", logits)
    for name, value in options.parameters.items():
        PARAMETERS[name](request, value)
    if reduction == "none":
        request.per_logit = loss.sigmoid and class_axis is not None
    grad = None
    return_grad, grad_output = options.return_grad, options.grad_output
    if return_grad is True or (return_grad is not False and as_flag(return_grad, "return_grad")):
        if grad_output is not None:
            _set_grad_output(request, grad_output, reduction, shape, class_axis)
        grad = _gradient(request, loss, values, grad_out)
        request.grad = class_last(grad, class_axis)
    elif grad_output is not None or grad_out is not None:
        _refuse_grad_arguments(grad_output)
    if reduction in {"sum", "mean"}:
        return request, None, grad
    if out is not None or request.per_logit or class_axis is None:
        result = _result(request, loss, values, out, grad_out)
        request.out = class_last(result, class_axis) if request.per_logit else result
    else:
        request.out = result = _results.empty(anchors, result_dtype(values.dtype))
    return request, result, grad


def element_arrays(values: ArrayLike, name: str, out: Array | None) -> tuple[Array, Array]:
    """Return what a score of single values reads and writes; integers lie where it writes."""
    values = as_array(values, name)
    dtype = score_dtype(values.dtype)
    if out is None:
        out = _results.empty_like(values, dtype)
    else:
        out = check_out(out, values.shape, dtype)
        check_in_place(out, values, name)
    if values.dtype.kind in "biu":
        np.copyto(out, values)
        values = out
    return values, out


def class_arrays(
    logits: ArrayLike,
    axis: SupportsIndex | tuple[SupportsIndex, ...] | None,
    out: Array | None,
    *,
    keepdims: bool,
    per_class: bool,
) -> tuple[Array, Array, tuple[int, ...]]:
    """Return what a score over classes reads and writes, and the class axes.

    The score is one of each class, or one of each anchor; then `keepdims` keeps the class axes,
    with the length 1.
    """
    logits = as_array(logits, "logits")
    axes = axis_indices(axis, logits.ndim, "logits")
    if keepdims is not False:
        keepdims = as_flag(keepdims, "keepdims")
    dtype = score_dtype(logits.dtype)
    if per_class and out is None:
        return logits, _results.empty_like(logits, dtype), axes
    shape = logits.shape if per_class else _shape_without(axes, logits.shape, keepdims=keepdims)
    if out is None:
        return logits, _results.empty(shape, dtype), axes
    out = check_out(out, shape, dtype)
    check_in_place(out, logits, "logits")
    return logits, out, axes


def _shape_without(
    axes: tuple[int, ...], shape: tuple[int, ...], *, keepdims: bool
) -> tuple[int, ...]:
    """Return the shape of what has one value for all elements on these axes."""
    if len(axes) == 1 and not keepdims:
        return shape[: axes[0]] + shape[axes[0] + 1 :]
    lengths = ((1 if axis in axes else length) for axis, length in enumerate(shape))
    return tuple(length for axis, length in enumerate(lengths) if keepdims or axis not in axes)


def _class_count_error(
    name: str, shape: tuple[int, ...], axis: SupportsIndex | None, classes: int
) -> ValueError:
    count = f"more than {MOST_CLASSES:,}" if classes else "no"
    return ValueError(f"{name} has shape {shape}: {count} classes on axis {axis}")


# --- weights -------------------------------------------------------------------------------------


def _set_weight(
    request: LossRequest, loss: Loss, value: ArrayLike, shape: tuple[int, ...], axis: int | None
) -> None:
    """Tell weights per call, anchor and logit by their number of dimensions."""
    weight = as_array(value, "weight")
    anchors = request.logits.shape[:-1]
    if weight.ndim == 0:
        request.weight = float(weight)
        return
    if weight.shape == anchors:
        request.anchor_weight = weight
        return
    may_broadcast = axis is None or (loss.sigmoid and weight.ndim == len(shape))
    if not (may_broadcast and _broadcasts(weight.shape, shape)):
        expected = f"expected a number or {anchors}"
        if loss.sigmoid:
            which = "a shape" if axis is None else f"a shape of {len(shape)} dimensions"
            expected += f", or {which} that broadcasts to {shape}"
        raise ValueError(f"weight has shape {weight.shape}, {expected}")
    weight = np.broadcast_to(weight, shape)
    if axis is None:
        request.anchor_weight = weight
    else:
        request.logit_weight = class_last(weight, axis)


def _broadcasts(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    return len(shape) <= len(target) and all(
        length in {1, wanted} for length, wanted in zip(shape[::-1], target[::-1], strict=False)
    )


# --- reduction and result ------------------------------------------------------------------------


def _check_reduction(
    reduction: object,
    normalizer: Normalizer | float,
    empty: Literal["raise"] | float,
    out: Array | None,
) -> None:
    if not isinstance(reduction, str) or reduction not in REDUCTIONS:
        raise ValueError(f"reduction = {shown(reduction)} is not one of {listed(REDUCTIONS)}")
    if out is not None and reduction in {"sum", "mean"}:
        raise ValueError(f"out is for arrays, but reduction={reduction!r} returns a number")
    if type(normalizer) is not str or normalizer != "valid":
        _check_normalizer(normalizer, reduction)
    if type(empty) is not float or empty != 0.0:
        _check_empty(empty, reduction)


def _check_empty(empty: Literal["raise"] | float, reduction: str) -> None:
    if isinstance(empty, str):
        if empty != "raise":
            raise ValueError(f"empty = {shown(empty)} is neither a number nor 'raise'")
    elif as_number(empty, "empty") == 0:
        return
    if reduction != "mean":
        raise ValueError(f"empty is for reduction='mean', not for {reduction!r}")


def _check_normalizer(normalizer: Normalizer | float, reduction: str) -> None:
    if isinstance(normalizer, str):
        if normalizer not in NORMALIZERS:
            raise ValueError(
                f"normalizer = {shown(normalizer)} is not one of {listed(NORMALIZERS)}, or a number"
            )
    elif not 0 <= as_number(normalizer, "normalizer") < np.inf:
        raise ValueError(f"normalizer = {normalizer} is negative or not finite")
    if reduction != "mean":
        raise ValueError(f"normalizer is for reduction='mean', not for {reduction!r}")


def _result(
    request: LossRequest, loss: Loss, values: Array, out: Array | None, grad_out: Array | None
) -> Array:
    """Return `out`, checked, or a new array, in the memory order of `values` if of its shape."""
    shape = values.shape if request.per_logit else request.logits.shape[:-1]
    dtype = result_dtype(values.dtype)
    if out is not None:
        out = check_out(out, shape, dtype)
        _check_overlap(request, loss, out, "out")
        if grad_out is not None and overlap(out, grad_out):
            raise ValueError("grad_out shares memory with out")
        return out
    if shape != values.shape:
        return _results.empty(shape, dtype)
    return _results.empty_like(values, dtype)


def _check_overlap(request: LossRequest, loss: Loss, out: Array, out_name: str) -> None:
    for name, array in (
        (loss.values, request.logits),
        (loss.targets, request.labels),
        (loss.targets, request.dense),
        (loss.targets, request.positions),
        ("scores", request.scores),
        ("weight", request.anchor_weight),
        ("weight", request.logit_weight),
        ("class_weight", request.class_weight),
        ("pos_weight", request.pos_weight),
        ("alpha", request.alpha),
        ("grad_output", request.anchor_grad_output),
        ("grad_output", request.logit_grad_output),
    ):
        if isinstance(array, np.ndarray) and overlap(out, array):
            raise ValueError(f"{out_name} shares memory with {name}")


# --- gradient ------------------------------------------------------------------------------------


def _gradient(request: LossRequest, loss: Loss, values: Array, grad_out: Array | None) -> Array:
    """Return `grad_out`, checked, or a new array in the memory order of `values`."""
    if grad_out is None:
        grad = _results.empty_like(values)
        # A dtype that spells out its byte order is equal to NumPy's own, but not known everywhere.
        return grad if grad.dtype.isbuiltin else grad.view(grad.dtype.newbyteorder("="))
    grad_out = check_out(grad_out, values.shape, values.dtype, "grad_out")
    _check_overlap(request, loss, grad_out, "grad_out")
    return grad_out


def _set_grad_output(
    request: LossRequest,
    value: ArrayLike,
    reduction: Reduction,
    shape: tuple[int, ...],
    axis: int | None,
) -> None:
    """Take a number, or an array of the shape of the loss that is returned."""
    array = as_array(value, "grad_output")
    if array.ndim == 0:
        request.grad_scale = float(array)
        return
    if reduction in {"sum", "mean"}:
        raise ValueError(
            f"grad_output has shape {array.shape}, expected a number: "
            f"reduction={reduction!r} returns one"
        )
    expected = shape if request.per_logit else request.logits.shape[:-1]
    if array.shape != expected:
        raise ValueError(f"grad_output has shape {array.shape}, expected a number or {expected}")
    if request.per_logit:
        request.logit_grad_output = class_last(array, axis)
    else:
        request.anchor_grad_output = array


def _refuse_grad_arguments(grad_output: ArrayLike | None) -> NoReturn:
    name = "grad_out" if grad_output is None else "grad_output"
    raise ValueError(f"{name} is for return_grad=True")
