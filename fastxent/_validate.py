"""The only code that doubts what a user passes.

``loss_request``, ``element_arrays`` and ``class_arrays`` check every argument, before anything is
written, and bring it to the shape that backends read. Nothing as large as the logits is copied.

The common call (float32 logits with the class axis last, labels, no options) shall cost about two
microseconds in Python. Hence the tests for defaults, which skip whole functions.
"""

from typing import SupportsIndex

import numpy as np
from numpy.typing import ArrayLike

from fastxent import native
from fastxent._arguments import (
    FLOAT_DTYPES,
    as_array,
    as_integer,
    as_number,
    axis_index,
    check_in_place,
    check_out,
    class_last,
    format_position,
    listed,
    overlap,
)
from fastxent._config import thread_count
from fastxent._request import Array, IgnoreIndex, Loss, LossRequest

REDUCTIONS = ("anchor", "none", "sum", "mean")
NORMALIZERS = ("valid", "weight", "positive", "count")
DEFAULT_IGNORE_INDEX = -100
#: The kernels hold class numbers in the lanes of floats, which hold no odd ones beyond.
MOST_CLASSES = 2**24


def loss_request(  # noqa: PLR0917 - keywords would cost a tenth of the time
    loss: Loss,
    values: ArrayLike,
    targets: ArrayLike,
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
    pos_weight: ArrayLike | None,
    label_smoothing: float,
    eps: float | None,
) -> tuple[LossRequest, Array | None]:
    """Return what a backend needs to know, and the result in the user's layout, if it is an array.

    The parameters are those of the public functions.
    """
    _check_reduction(reduction, normalizer, empty, out)
    values = as_array(values, loss.values, FLOAT_DTYPES)
    if axis is None:
        class_axis, logits = None, _single_class(values, loss)
    else:
        class_axis = axis_index(axis, values.ndim, loss.values)
        logits = class_last(values, class_axis)
    shape, anchors = values.shape, logits.shape[:-1]
    if not 0 < logits.shape[-1] <= MOST_CLASSES:
        raise _class_count_error(loss.values, shape, axis, logits.shape[-1])
    request = LossRequest(loss.name, logits)
    request.threads = thread_count(num_threads)
    targets = as_array(targets, "targets")
    set_targets = _set_labels if _are_labels(targets, anchors, shape, class_axis) else _set_dense
    set_targets(
        request,
        loss,
        targets,
        class_axis,
        ignore_index=ignore_index,
        background_index=background_index,
    )
    if weight is not None:
        _set_weight(request, loss, weight, shape, class_axis)
    if class_weight is not None:
        request.class_weight = _per_class(class_weight, "class_weight", logits)
    if pos_weight is not None:
        request.pos_weight = _per_class(pos_weight, "pos_weight", logits)
    if type(label_smoothing) is not float or label_smoothing != 0.0:
        request.label_smoothing = _label_smoothing(label_smoothing)
    if eps is not None:
        request.eps = _eps(eps)
    if reduction in {"sum", "mean"}:
        return request, None
    if reduction == "anchor" or not loss.sigmoid or class_axis is None:
        request.out = result = _result(request, loss, values, anchors, out)
    else:
        request.per_logit = True
        result = _result(request, loss, values, shape, out)
        request.out = class_last(result, class_axis)
    return request, result


def element_arrays(values: ArrayLike, name: str, out: Array | None) -> tuple[Array, Array]:
    """Return what a score of single values reads and writes."""
    values = as_array(values, name, FLOAT_DTYPES)
    if out is None:
        return values, np.empty_like(values)
    check_out(out, values.shape, values.dtype)
    check_in_place(out, values, name)
    return values, out


def class_arrays(
    logits: ArrayLike, axis: SupportsIndex, out: Array | None, *, keep_axis: bool
) -> tuple[Array, Array, Array]:
    """Return what a score over classes reads and writes, and the result in the user's layout."""
    logits = as_array(logits, "logits", FLOAT_DTYPES)
    class_axis = axis_index(axis, logits.ndim, "logits")
    values = class_last(logits, class_axis)
    if not 0 < values.shape[-1] <= MOST_CLASSES:
        raise _class_count_error("logits", logits.shape, axis, values.shape[-1])
    if out is not None:
        check_out(out, logits.shape if keep_axis else values.shape[:-1], logits.dtype)
        check_in_place(out, logits, "logits")
    elif keep_axis:
        out = np.empty_like(logits)
    else:
        out = np.empty(values.shape[:-1], logits.dtype)
    return values, class_last(out, class_axis) if keep_axis else out, out


def _class_count_error(
    name: str, shape: tuple[int, ...], axis: SupportsIndex | None, classes: int
) -> ValueError:
    count = f"more than {MOST_CLASSES:,}" if classes else "no"
    return ValueError(f"{name} has shape {shape}: {count} classes on axis {axis}")


def _single_class(values: Array, loss: Loss) -> Array:
    """Return the logits with a class axis of length 1 (axis=None)."""
    if not loss.sigmoid:
        raise ValueError(f"axis=None is for single-class heads, but {loss.name} needs classes")
    return values[..., None]


# --- targets -------------------------------------------------------------------------------------


def _are_labels(
    targets: Array, anchors: tuple[int, ...], shape: tuple[int, ...], axis: int | None
) -> bool:
    """Tell class labels from dense targets, by their shape or, with axis=None, by their dtype."""
    if targets.shape == anchors:
        return axis is not None or targets.dtype.kind in "iu"
    if targets.shape == shape:
        return False
    grammars = "" if axis is None else f" for class labels or {shape} for dense targets"
    raise ValueError(f"targets has shape {targets.shape}, expected {anchors}{grammars}")


def _set_labels(
    request: LossRequest,
    loss: Loss,
    labels: Array,
    axis: int | None,
    *,
    ignore_index: IgnoreIndex,
    background_index: SupportsIndex | None,
) -> None:
    if labels.dtype.kind not in "iu":
        raise TypeError(f"targets has dtype {labels.dtype}, but class labels are integers")
    classes = request.logits.shape[-1]
    if classes == 1 and axis is not None:
        sigmoid = "" if loss.sigmoid else " to a sigmoid loss"
        raise ValueError(
            f"{loss.values} has one class, of which label 0 would be a positive: pass axis=None "
            f"with targets 0 and 1{sigmoid}, or dense targets of shape {(*labels.shape, 1)}"
        )
    request.labels = labels
    request.ignore = accepted = _ignored_labels(ignore_index)
    highest = classes - 1
    if not loss.sigmoid:
        request.background = _softmax_background(background_index, classes)
    else:
        request.background = _sigmoid_background(background_index, classes, axis)
        if 0 <= request.background <= classes:
            highest = classes
        else:
            accepted = (*accepted, request.background)
    index = native.find_invalid_label(labels, highest, accepted, request.threads)
    if index >= 0:
        raise ValueError(
            f"targets{format_position(index, labels.shape)} = {labels.flat[index]} "
            f"is not a class label: expected {_expected_labels(request, loss, axis)}"
        )


def _ignored_labels(ignore_index: IgnoreIndex) -> tuple[int, ...]:
    if type(ignore_index) is int and ignore_index == DEFAULT_IGNORE_INDEX:
        return (ignore_index,)
    labels = ignore_index if isinstance(ignore_index, tuple) else (ignore_index,)
    return tuple(as_integer(label, "ignore_index") for label in labels)


def _sigmoid_background(
    background_index: SupportsIndex | None, classes: int, axis: int | None
) -> int:
    if background_index is None:
        return classes if axis is not None else 0
    background = as_integer(background_index, "background_index")
    if axis is None and background != 0:
        raise ValueError("background_index is 0 with axis=None, where targets are 0 and 1")
    return background


def _softmax_background(background_index: SupportsIndex | None, classes: int) -> int:
    if background_index is None:
        return -1
    background = as_integer(background_index, "background_index")
    if not 0 <= background < classes:
        raise ValueError(f"background_index = {background} is not a class: 0..{classes - 1}")
    return background


def _expected_labels(request: LossRequest, loss: Loss, axis: int | None) -> str:
    """Say which labels are valid."""
    classes, background = request.logits.shape[-1], request.background
    if axis is None:
        expected = "0 or 1"
    elif not loss.sigmoid:
        expected = f"0..{classes - 1}"
    elif background == 0:
        expected = f'1..{classes}, 0 for "no class"'
    elif 0 < background < classes:
        expected = f'0..{classes} where {background} is "no class"'
    else:
        expected = f'0..{classes - 1}, {background} for "no class"'
    ignored = ", ".join(map(str, request.ignore))
    return f"{expected}, or an ignore_index ({ignored})" if ignored else expected


def _set_dense(
    request: LossRequest,
    loss: Loss,
    targets: Array,
    axis: int | None,
    *,
    ignore_index: IgnoreIndex,
    background_index: SupportsIndex | None,
) -> None:
    if _ignored_labels(ignore_index) != (DEFAULT_IGNORE_INDEX,):
        raise ValueError("ignore_index is for class labels, but these targets are dense")
    if loss.sigmoid and background_index is not None:
        raise ValueError("background_index is for class labels, but these targets are dense")
    request.background = _softmax_background(background_index, request.logits.shape[-1])
    request.dense = dense = targets[..., None] if axis is None else class_last(targets, axis)
    index = native.find_invalid_target(dense, request.threads)
    if index >= 0:
        value = dense[np.unravel_index(index, dense.shape)]
        position = format_position(index, targets.shape if axis is None else dense.shape, axis)
        raise ValueError(f"targets{position} = {value} is outside [0, 1]")


# --- weights and other options -------------------------------------------------------------------


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


def _per_class(value: ArrayLike, name: str, logits: Array) -> Array:
    """Return one finite weight per class, contiguous and of the result dtype."""
    array = as_array(value, name)
    shape = logits.shape[-1:]
    is_number = name == "pos_weight" and array.ndim == 0
    if array.shape != shape and not is_number:
        number = "a number or " if name == "pos_weight" else ""
        raise ValueError(f"{name} has shape {array.shape}, expected {number}{shape}")
    with np.errstate(over="ignore"):
        weights = np.ascontiguousarray(np.broadcast_to(array, shape), logits.dtype)
    wrong = np.flatnonzero(~((weights >= 0) & (weights < np.inf)))
    if wrong.size:
        place = name if is_number else f"{name}[{wrong[0]}]"
        wrong_value = array.flat[0 if is_number else wrong[0]]
        raise ValueError(f"{place} = {wrong_value} is negative or not finite in {weights.dtype}")
    return weights


def _label_smoothing(value: float) -> float:
    smoothing = as_number(value, "label_smoothing")
    if not 0 <= smoothing <= 1:
        raise ValueError(f"label_smoothing = {smoothing} is outside [0, 1]")
    return smoothing


def _eps(value: float) -> float:
    eps = as_number(value, "eps")
    if not 0 < eps < 0.5:
        raise ValueError(f"eps = {eps} is not between 0 and 0.5")
    return eps


# --- reduction and result ------------------------------------------------------------------------


def _check_reduction(
    reduction: str, normalizer: str | float, empty: str | float, out: Array | None
) -> None:
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction = {reduction!r} is not one of {listed(REDUCTIONS)}")
    if out is not None and reduction in {"sum", "mean"}:
        raise ValueError(f"out is for arrays, but reduction={reduction!r} returns a number")
    if type(normalizer) is not str or normalizer != "valid":
        _check_normalizer(normalizer, reduction)
    if isinstance(empty, str):
        if empty != "raise":
            raise ValueError(f"empty = {empty!r} is neither a number nor 'raise'")
    elif type(empty) is not float:
        as_number(empty, "empty")


def _check_normalizer(normalizer: str | float, reduction: str) -> None:
    if isinstance(normalizer, str):
        if normalizer not in NORMALIZERS:
            raise ValueError(
                f"normalizer = {normalizer!r} is not one of {listed(NORMALIZERS)}, or a number"
            )
    elif not 0 <= as_number(normalizer, "normalizer") < np.inf:
        raise ValueError(f"normalizer = {normalizer} is negative or not finite")
    if reduction != "mean":
        raise ValueError(f"normalizer is for reduction='mean', not for {reduction!r}")


def _result(
    request: LossRequest, loss: Loss, values: Array, shape: tuple[int, ...], out: Array | None
) -> Array:
    """Return `out`, checked, or a new array, in the memory order of `values` if of its shape."""
    if out is not None:
        check_out(out, shape, values.dtype)
        _check_overlap(request, loss, out)
        return out
    return np.empty(shape, values.dtype) if shape != values.shape else np.empty_like(values)


def _check_overlap(request: LossRequest, loss: Loss, out: Array) -> None:
    for name, array in (
        (loss.values, request.logits),
        ("targets", request.labels),
        ("targets", request.dense),
        ("weight", request.anchor_weight),
        ("weight", request.logit_weight),
        ("class_weight", request.class_weight),
        ("pos_weight", request.pos_weight),
    ):
        if array is not None and overlap(out, array):
            raise ValueError(f"out shares memory with {name}")
