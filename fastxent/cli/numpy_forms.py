"""The package's functions as one writes them in NumPy: what their speed is compared with.

The command line evaluates them in blocks, the benchmarks on whole arrays. They compute in the dtype
of their input and have the defaults of the function of their name.
``fastxent.reference.formulas`` keeps all digits; these round small losses away, as usual.
"""

# What NumPy's functions return is Any for mypy.
# mypy: disable-error-code="no-any-return"

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fastxent._catalogue import LOSSES, SCORES, check_complete

Array = npt.NDArray[Any]
#: The class axis; None: each value is an anchor.
Axis = int | None
#: The losses of the anchors or, with return_grad, those and the gradient.
Losses = Array | tuple[Array, Array]
#: A function of values and, for losses, targets.
Form = Callable[..., Any]

#: Logits in a block, so that the temporaries of a formula stay in the cache.
BLOCK_SIZE = 65536


def run_in_blocks(form: Form, arrays: tuple[Array, ...], outs: tuple[Array, ...]) -> None:
    """Evaluate a form on blocks of the first axis; 16-bit floats are widened first.

    Parameters
    ----------
    form : callable
        One of ``NUMPY_FORMS``.
    arrays : tuple of ndarray
        Logits or probabilities with classes on axis 1, and the targets.
    outs : tuple of ndarray
        Where the result goes: the scores, or the losses, or the losses and the gradients.
    """
    options = {"return_grad": True} if len(outs) == 2 else {}
    rows, row_size = len(arrays[0]), arrays[0][0].size
    step = max(1, BLOCK_SIZE // row_size)
    for start in range(0, rows, step):
        values, *targets = (array[start : start + step] for array in arrays)
        if values.itemsize == 2:
            values = values.astype(np.float32)
        result = form(values, *targets, **options)
        for out, part in zip(outs, result if options else (result,), strict=True):
            out[start : start + step] = part


# --- scores --------------------------------------------------------------------------------------


def sigmoid(logits: Array) -> Array:
    """1 / (1 + exp(-z))."""
    return 1 / (1 + np.exp(-logits))


def softplus(logits: Array) -> Array:
    """log(1 + exp(z)), without overflow."""
    return np.maximum(logits, 0) + np.log1p(np.exp(-np.abs(logits)))


def log_sigmoid(logits: Array) -> Array:
    """-softplus(-z)."""
    return -softplus(-logits)


def logit(probs: Array) -> Array:
    """Take the logarithm of the odds."""
    return np.log(odds(probs))


def odds(probs: Array) -> Array:
    """Divide p by 1 - p."""
    return probs / (1 - probs)


def _softmax_parts(logits: Array, axis: int) -> tuple[Array, Array, Array]:
    """Return z - max, the exponentials of that, and their sum."""
    shifted = logits - logits.max(axis=axis, keepdims=True)
    powers = np.exp(shifted)
    return shifted, powers, powers.sum(axis=axis, keepdims=True)


def softmax(logits: Array, *, axis: int = 1) -> Array:
    """exp(z - max), divided by its sum."""
    _, powers, total = _softmax_parts(logits, axis)
    return powers / total


def log_softmax(logits: Array, *, axis: int = 1) -> Array:
    """Take the logarithm of the sum of exp(z - max) from z - max."""
    shifted, _, total = _softmax_parts(logits, axis)
    return shifted - np.log(total)


def logsumexp(logits: Array, *, axis: int = 1) -> Array:
    """Add the maximum to the logarithm of the sum of exp(z - max)."""
    largest = logits.max(axis=axis, keepdims=True)
    return largest.squeeze(axis) + np.log(np.exp(logits - largest).sum(axis=axis))


# --- losses of independent classes ---------------------------------------------------------------


def one_hot(labels: Array, like: Array, axis: int = 1) -> Array:
    """Return 1 at each label and 0 elsewhere; the label C, which is no class, has no 1."""
    shape = [1] * like.ndim
    shape[axis] = -1
    classes = np.arange(like.shape[axis]).reshape(shape)
    return (np.expand_dims(labels, axis) == classes).astype(like.dtype)


def _dense(targets: Array, like: Array, axis: Axis) -> Array:
    """Return class labels as one-hot targets, and dense targets as they are."""
    if axis is None or targets.ndim == like.ndim:
        return targets
    return one_hot(targets, like, axis)


def _sum(terms: Array, axis: Axis) -> Array:
    """Return the losses of the anchors."""
    return terms if axis is None else terms.sum(axis=axis)


def _binary(logits: Array, targets: Array) -> Array:
    return np.maximum(logits, 0) - logits * targets + np.log1p(np.exp(-np.abs(logits)))


def sigmoid_cross_entropy(
    logits: Array, targets: Array, *, axis: Axis = 1, return_grad: bool = False
) -> Losses:
    """Sum over classes of the binary cross-entropies."""
    targets = _dense(targets, logits, axis)
    losses = _sum(_binary(logits, targets), axis)
    return (losses, sigmoid(logits) - targets) if return_grad else losses


def sigmoid_focal_loss(
    logits: Array, targets: Array, *, axis: Axis = 1, return_grad: bool = False
) -> Losses:
    """Cross-entropies times alpha_t (1 - p_t)^2."""
    targets = _dense(targets, logits, axis)
    p, loss = sigmoid(logits), _binary(logits, targets)
    p_t = p * targets + (1 - p) * (1 - targets)
    factor = (0.25 * targets + 0.75 * (1 - targets)) * (1 - p_t) ** 2
    losses = _sum(factor * loss, axis)
    if not return_grad:
        return losses
    return losses, factor * (2 * (1 - 2 * targets) * p_t * loss + p - targets)


def quality_focal_loss(
    logits: Array,
    labels: Array,
    scores: Array | None = None,
    *,
    axis: Axis = 1,
    return_grad: bool = False,
) -> Losses:
    """Cross-entropies with the score at the label, times |y - p|^2; dense targets have both."""
    targets = _dense(labels, logits, axis)
    if scores is not None and axis is not None:
        targets = targets * np.expand_dims(scores, axis)
    p, loss = sigmoid(logits), _binary(logits, targets)
    distance = p - targets
    losses = _sum(distance**2 * loss, axis)
    if not return_grad:
        return losses
    return losses, distance * (2 * p * (1 - p) * loss + distance**2)


def varifocal_loss(
    logits: Array, targets: Array, *, axis: Axis = 1, return_grad: bool = False
) -> Losses:
    """Cross-entropies with qualities, times y, or times alpha p^2 where y = 0."""
    p, loss = sigmoid(logits), _binary(logits, targets)
    is_positive = targets > 0
    factor = np.where(is_positive, targets, 0.75 * p**2)
    losses = _sum(factor * loss, axis)
    if not return_grad:
        return losses
    change = np.where(is_positive, 0, 2 * (1 - p) * loss)
    return losses, factor * (p - targets + change)


def sigmoid_focal_loss_star(
    logits: Array, targets: Array, *, axis: Axis = 1, return_grad: bool = False
) -> Losses:
    """log(1 + exp(-2 z)) / 2 for the label, log(1 + exp(2 z)) / 2 for the others."""
    sides = np.where(_dense(targets, logits, axis) > 0, 2, -2)
    losses = _sum(softplus(-sides * logits) / 2, axis)
    if not return_grad:
        return losses
    return losses, -np.sign(sides) * sigmoid(-sides * logits)


def asymmetric_loss(
    logits: Array, targets: Array, *, axis: Axis = 1, return_grad: bool = False
) -> Losses:
    """-(1 - p) log(p) for the label; -s^4 log(1 - s) with s = max(p - 0.05, 0) for the others."""
    is_label = _dense(targets, logits, axis) > 0
    p = sigmoid(logits)
    shifted = np.maximum(p - 0.05, 0)
    log_p, log_q = np.log(p), np.log(1 - shifted)
    losses = _sum(-np.where(is_label, (1 - p) * log_p, shifted**4 * log_q), axis)
    if not return_grad:
        return losses
    positive = (1 - p) * (p * log_p - (1 - p))
    negative = p * (1 - p) * shifted**3 * (shifted / (1 - shifted) - 4 * log_q)
    return losses, np.where(is_label, positive, negative)


def binary_cross_entropy(
    probs: Array, targets: Array, *, axis: Axis = 1, return_grad: bool = False
) -> Losses:
    """Mean over classes of -log(p) for the label and -log(1 - p) for the others, clipped."""
    targets = _dense(targets, probs, axis)
    classes = 1 if axis is None else probs.shape[axis]
    p = np.clip(probs, 1e-7, 1 - 1e-7)
    losses = _sum(-(targets * np.log(p) + (1 - targets) * np.log(1 - p)), axis) / classes
    return (losses, (p - targets) / (p * (1 - p) * classes)) if return_grad else losses


# --- losses of exclusive classes -----------------------------------------------------------------


def at_label(values: Array, labels: Array, axis: int) -> Array:
    """Return the value of each anchor's class."""
    return np.take_along_axis(values, np.expand_dims(labels, axis), axis).squeeze(axis)


def subtract_at(values: Array, labels: Array, amount: Array | float, axis: int) -> Array:
    """Subtract an amount from the value of each anchor's class, in place; return the values."""
    index = np.expand_dims(labels, axis)
    np.put_along_axis(values, index, np.take_along_axis(values, index, axis) - amount, axis)
    return values


def softmax_cross_entropy(
    logits: Array, labels: Array, *, axis: int = 1, return_grad: bool = False
) -> Losses:
    """Minus the log-probability of the label."""
    shifted, powers, total = _softmax_parts(logits, axis)
    losses = np.log(total).squeeze(axis) - at_label(shifted, labels, axis)
    return (losses, subtract_at(powers / total, labels, 1, axis)) if return_grad else losses


def softmax_focal_loss(
    logits: Array, labels: Array, *, axis: int = 1, return_grad: bool = False
) -> Losses:
    """Cross-entropies times (1 - p_t)^2."""
    shifted, powers, total = _softmax_parts(logits, axis)
    log_p_t = at_label(shifted, labels, axis) - np.log(total).squeeze(axis)
    q_t = 1 - np.exp(log_p_t)
    losses = -(q_t**2) * log_p_t
    if not return_grad:
        return losses
    slope = np.expand_dims(q_t**2 - 2 * q_t * (1 - q_t) * log_p_t, axis)
    return losses, slope * subtract_at(powers / total, labels, 1, axis)


def poly1_cross_entropy(
    logits: Array, labels: Array, *, axis: int = 1, return_grad: bool = False
) -> Losses:
    """Cross-entropies plus 1 - p_t."""
    shifted, powers, total = _softmax_parts(logits, axis)
    log_p_t = at_label(shifted, labels, axis) - np.log(total).squeeze(axis)
    p_t = np.exp(log_p_t)
    losses = 1 - p_t - log_p_t
    if not return_grad:
        return losses
    slope = np.expand_dims(1 + p_t, axis)
    return losses, slope * subtract_at(powers / total, labels, 1, axis)


def distribution_focal_loss(
    logits: Array, positions: Array, *, axis: int = 1, return_grad: bool = False
) -> Losses:
    """Cross-entropies of the two bins next to a position, by its distance from the other one."""
    left = np.minimum(positions.astype(np.int64), logits.shape[axis] - 2)
    weight = (positions - left).astype(logits.dtype)
    shifted, powers, total = _softmax_parts(logits, axis)
    losses = np.log(total).squeeze(axis)
    losses -= (1 - weight) * at_label(shifted, left, axis)
    losses -= weight * at_label(shifted, left + 1, axis)
    if not return_grad:
        return losses
    weight = np.expand_dims(weight, axis)
    gradient = subtract_at(powers / total, left, 1 - weight, axis)
    return losses, subtract_at(gradient, left + 1, weight, axis)


def categorical_cross_entropy(
    probs: Array, labels: Array, *, axis: int = 1, return_grad: bool = False
) -> Losses:
    """Minus the logarithm of the label's share of the sum, clipped."""
    total = probs.sum(axis=axis, keepdims=True)
    p_t = at_label(probs, labels, axis)
    losses = -np.log(np.clip(p_t / total.squeeze(axis), 1e-7, 1 - 1e-7))
    if not return_grad:
        return losses
    gradient = np.repeat(1 / total, probs.shape[axis], axis=axis)
    return losses, subtract_at(gradient, labels, np.expand_dims(1 / p_t, axis), axis)


NUMPY_FORMS: dict[str, Form] = {
    form.__name__: form
    for form in (
        sigmoid_cross_entropy,
        softmax_cross_entropy,
        poly1_cross_entropy,
        sigmoid_focal_loss,
        softmax_focal_loss,
        sigmoid_focal_loss_star,
        asymmetric_loss,
        quality_focal_loss,
        varifocal_loss,
        distribution_focal_loss,
        binary_cross_entropy,
        categorical_cross_entropy,
        sigmoid,
        log_sigmoid,
        softplus,
        logit,
        odds,
        softmax,
        log_softmax,
        logsumexp,
    )
}
check_complete(NUMPY_FORMS, "the NumPy forms", [*LOSSES, *SCORES])
