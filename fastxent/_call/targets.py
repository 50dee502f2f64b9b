"""The target formats: class labels, dense targets, and positions between classes.

Each is checked, and put into its field of the request. Nothing as large as the logits is copied.
"""

import math
from functools import partial
from typing import SupportsIndex

import numpy as np

from fastxent import native
from fastxent._arguments import ElementError, as_integer, class_last, position_of
from fastxent._catalogue import Loss
from fastxent._contract import Array, IgnoreIndex, LossRequest

DEFAULT_IGNORE_INDEX = -100
#: Elements that the search for the element to be named in an error looks at in one go.
_BLOCK = 65536


def set_targets(  # noqa: PLR0917 - keywords would cost time
    request: LossRequest,
    loss: Loss,
    targets: Array,
    anchors: tuple[int, ...],
    shape: tuple[int, ...],
    axis: int | None,
    ignore_index: IgnoreIndex,
    background_index: SupportsIndex | None,
    may_check_late: bool,
    labels_may_wait: bool,
) -> None:
    """Check targets, and set the field of the request that they belong to.

    `anchors` and `shape` are the shapes of labels and logits; the class axis is the user's. Dense
    targets, and the labels of a single class, are as large as the logits: if they may be checked
    late, they are read once.
    """
    if loss.target_format == "positions":
        _set_positions(request, loss, targets, shape, axis, ignore_index)
    elif (targets.shape == anchors and axis is not None) or _are_labels(
        loss, targets, anchors, shape, axis
    ):
        _set_labels(request, loss, targets, axis, ignore_index, background_index, labels_may_wait)
    else:
        _set_dense(request, loss, targets, axis, ignore_index, background_index, may_check_late)


def check_unit_interval(
    array: Array, name: str, threads: int, *, shape: tuple[int, ...], axis: int | None
) -> None:
    """Refuse NaN and whatever else is outside [0, 1]; `shape` and `axis` are for the message."""
    index = native.find_invalid_target(array, threads)
    if index >= 0:
        problem = f"= {_element(array, index)} is outside [0, 1]"
        raise ElementError(name, position_of(index, shape, axis), problem)


def _element(array: Array, index: int) -> object:
    """Return an element by its flat index; ``array.flat`` would not do for all strides."""
    return array[np.unravel_index(index, array.shape)] if array.ndim else array[()]


# --- class labels --------------------------------------------------------------------------------


def _are_labels(
    loss: Loss,
    targets: Array,
    anchors: tuple[int, ...],
    shape: tuple[int, ...],
    axis: int | None,
) -> bool:
    """Tell class labels from dense targets, by their shape or, with axis=None, by their dtype."""
    only_labels = loss.target_format == "labels"
    if targets.shape == anchors:
        return only_labels or axis is not None or targets.dtype.kind in "iu" or not targets.size
    if targets.shape == shape and not only_labels:
        return False
    formats = f" for class labels or {shape} for dense targets"
    if only_labels or axis is None:
        formats = ""
    raise ValueError(f"{loss.targets} has shape {targets.shape}, expected {anchors}{formats}")


def _set_labels(  # noqa: PLR0917
    request: LossRequest,
    loss: Loss,
    labels: Array,
    axis: int | None,
    ignore_index: IgnoreIndex,
    background_index: SupportsIndex | None,
    may_check_late: bool,
) -> None:
    if labels.dtype.kind not in "iu":
        if labels.size:
            message = f"{loss.targets} has dtype {labels.dtype}, but class labels are integers"
            raise TypeError(message)
        labels = np.empty(labels.shape, np.int64)  # NumPy makes floats of []
    classes = request.logits.shape[-1]
    if classes == 1 and axis is not None:
        raise _single_class_error(loss, labels)
    request.labels = labels
    request.ignore = ignored_labels(ignore_index)
    if loss.sigmoid:
        request.background = _sigmoid_background(background_index, classes, axis)
    else:
        request.background = _softmax_background(background_index, classes)
    arguments = loss, labels, classes, request.background, request.ignore, axis, request.threads
    if may_check_late:
        request.late_check = partial(_check_labels, *arguments)  # without the request, as below
    else:
        _check_labels(*arguments)


def _check_labels(  # noqa: PLR0917
    loss: Loss,
    labels: Array,
    classes: int,
    background: int,
    ignore: tuple[int, ...],
    axis: int | None,
    threads: int,
) -> None:
    """Refuse what is not a class label."""
    highest = classes - 1
    if loss.sigmoid and 0 <= background <= classes:
        highest = classes
    accepted = (*ignore, background) if loss.sigmoid and highest < classes else ignore
    index = native.find_invalid_label(labels, highest, accepted, threads)
    if index >= 0:
        expected = _expected_labels(loss, classes, background, ignore, axis)
        problem = f"= {_element(labels, index)} is not a class label: expected {expected}"
        raise ElementError(loss.targets, position_of(index, labels.shape), problem)


def _single_class_error(loss: Loss, labels: Array) -> ValueError:
    instead = f"pass axis=None with {loss.targets} 0 and 1"
    if not loss.sigmoid:
        instead += " to a sigmoid loss"
    if loss.target_format == "classes":
        instead += f", or dense targets of shape {(*labels.shape, 1)}"
    return ValueError(
        f"{loss.values} has one class, of which label 0 would be a positive: {instead}"
    )


def ignored_labels(ignore_index: IgnoreIndex) -> tuple[int, ...]:
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


def _expected_labels(
    loss: Loss, classes: int, background: int, ignore: tuple[int, ...], axis: int | None
) -> str:
    """Say which labels are valid."""
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
    return f"{expected}{_or_ignored(ignore)}"


def expected_targets(request: LossRequest, axis: int | None) -> str:
    """Say which targets are valid, as the errors of their three formats do."""
    if request.dense is not None:
        return _or_missing(request.ignore)
    if request.positions is not None:
        return _expected_positions(request)
    classes = request.logits.shape[-1]
    return _expected_labels(request.loss, classes, request.background, request.ignore, axis)


def _expected_positions(request: LossRequest) -> str:
    return f"[0, {request.logits.shape[-1] - 1}]{_or_ignored(request.ignore)}"


def _or_ignored(ignore: tuple[int, ...]) -> str:
    ignored = ", ".join(map(str, ignore))
    return f", or an ignore_index ({ignored})" if ignored else ""


# --- the others ----------------------------------------------------------------------------------


def _set_dense(  # noqa: PLR0917
    request: LossRequest,
    loss: Loss,
    targets: Array,
    axis: int | None,
    ignore_index: IgnoreIndex,
    background_index: SupportsIndex | None,
    may_check_late: bool,
) -> None:
    if loss.sigmoid and background_index is not None:
        raise ValueError("background_index is for class labels, but these targets are dense")
    request.background = _softmax_background(background_index, request.logits.shape[-1])
    request.ignore = missing_values(ignore_index)
    request.dense = dense = class_last(targets, axis)
    # Without the request: the two would refer to each other, and their arrays would outlive the
    # call until Python looks for cycles.
    check = partial(
        _check_dense, loss, request.logits, dense, axis, request.ignore, request.threads
    )
    if may_check_late:
        request.late_check = check
    else:
        request.has_missing = check()


def missing_values(ignore_index: IgnoreIndex) -> tuple[int, ...]:
    """Return the dense targets that mean that there is no label."""
    values = ignored_labels(ignore_index)
    for value in values:
        if value in {0, 1}:
            raise ValueError(
                f"ignore_index = {value} cannot mark missing labels: "
                f"in dense targets {value} is a target"
            )
    return values


def _check_dense(  # noqa: PLR0917
    loss: Loss,
    logits: Array,
    dense: Array,
    axis: int | None,
    ignore: tuple[int, ...],
    threads: int,
) -> bool:
    """Refuse dense targets that are not valid, and return whether any are missing."""
    index, has_missing = native.check_dense(dense, threads, ignore)
    reason = f"is outside [0, 1]{_or_missing(ignore)}"
    if has_missing and index < 0 and not loss.sigmoid:
        index = _first_of_partial_row(loss, logits, dense, ignore, threads)
        reason = (
            "is an ignore_index, but other targets of its anchor are not: "
            f"{loss.name} takes the labels of all classes or of none"
        )
    if index >= 0:
        shape = dense.shape[:-1] if axis is None else dense.shape
        problem = f"= {_element(dense, index)} {reason}"
        raise ElementError("targets", position_of(index, shape, axis), problem)
    return bool(has_missing)


def _or_missing(ignore: tuple[int, ...]) -> str:
    """Say what else is valid, if the user has said so."""
    if not ignore or ignore == (DEFAULT_IGNORE_INDEX,):
        return ""
    return f", and is no ignore_index ({', '.join(map(str, ignore))})"


def _first_of_partial_row(
    loss: Loss, logits: Array, dense: Array, ignore: tuple[int, ...], threads: int
) -> int:
    """Return the flat index of the first missing label of an anchor that has others, or -1."""
    request = LossRequest(loss, logits)
    request.dense, request.ignore, request.threads = dense, ignore, threads
    request.has_missing = True
    anchors, classes = dense.shape[:-1], dense.shape[-1]
    count = math.prod(anchors) if native.has_partial_rows(request) else 0
    step = max(1, _BLOCK // classes)
    for start in range(0, count, step):
        rows = np.arange(start, min(start + step, count))
        targets = dense[np.unravel_index(rows, anchors)] if anchors else dense[None]
        missing = np.asarray((targets < 0) | (targets > 1))
        is_partial = missing.any(axis=-1) & ~missing.all(axis=-1)
        if is_partial.any():
            row = int(is_partial.argmax())
            return int((start + row) * classes + missing[row].argmax())
    return -1


def _set_positions(  # noqa: PLR0917
    request: LossRequest,
    loss: Loss,
    positions: Array,
    shape: tuple[int, ...],
    axis: int | None,
    ignore_index: IgnoreIndex,
) -> None:
    *anchors, classes = request.logits.shape
    highest = classes - 1
    if positions.shape != tuple(anchors):
        raise ValueError(f"{loss.targets} has shape {positions.shape}, expected {tuple(anchors)}")
    if highest == 0:
        raise ValueError(
            f"{loss.values} has shape {shape}: {loss.name} needs two classes or more on axis {axis}"
        )
    request.positions = positions
    request.ignore = ignored_labels(ignore_index)
    index = native.find_invalid_target(positions, request.threads, float(highest), request.ignore)
    if index >= 0:
        valid = _expected_positions(request)
        problem = f"= {_element(positions, index)} is outside {valid}"
        raise ElementError(loss.targets, position_of(index, positions.shape), problem)
