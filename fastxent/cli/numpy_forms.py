"""The package's functions as one writes them in NumPy: what their speed is compared with.

Each takes a block of anchors with the classes on axis 1, computes in its dtype, and has the
defaults of the function of its name. ``fastxent.reference.formulas`` is the place for all digits,
these are not: small losses are rounded away, as they usually are.
"""

# What NumPy's functions return is Any for mypy.
# mypy: disable-error-code="no-any-return"

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fastxent._catalogue import LOSSES, SCORES, check_complete

Array = npt.NDArray[Any]
#: The losses of the anchors or, with return_grad, those and the gradient.
Losses = Array | tuple[Array, Array]
#: A function of values and, for losses, targets.
Form = Callable[..., Any]

#: Logits in a block, so that the temporaries of a formula stay in the cache.
BLOCK_SIZE = 65536


def run_in_blocks(form: Form, arrays: tuple[Array, ...], outs: tuple[Array, ...]) -> None:
    """Evaluate a form on blocks of the first axis; half precision is widened first.

    Parameters
    ----------
    form : callable
        One of ``NUMPY_FORMS``.
    arrays : tuple of ndarray
        Logits or probabilities, and the targets.
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
    """log(p) - log(1 - p)."""
    return np.log(probs) - np.log1p(-probs)


def odds(probs: Array) -> Array:
    """Divide p by 1 - p."""
    return probs / (1 - probs)


def softmax(logits: Array) -> Array:
    """exp(z - max), divided by its sum."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def log_softmax(logits: Array) -> Array:
    """Take the logarithm of the sum of exp(z - max) from z - max."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def logsumexp(logits: Array) -> Array:
    """Add the maximum to the logarithm of the sum of exp(z - max)."""
    largest = logits.max(axis=1, keepdims=True)
    return largest[:, 0] + np.log(np.exp(logits - largest).sum(axis=1))


# --- losses --------------------------------------------------------------------------------------


def one_hot(labels: Array, like: Array) -> Array:
    """Return 1 at each label and 0 elsewhere; the label C, which is no class, has no 1."""
    classes = np.arange(like.shape[1]).reshape(-1, *[1] * (like.ndim - 2))
    return (np.expand_dims(labels, 1) == classes).astype(like.dtype)


def at_label(values: Array, labels: Array) -> Array:
    """Return the value of each anchor's class."""
    return np.take_along_axis(values, np.expand_dims(labels, 1), axis=1)[:, 0]


def _binary(logits: Array, targets: Array) -> Array:
    return np.maximum(logits, 0) - logits * targets + np.log1p(np.exp(-np.abs(logits)))


def sigmoid_cross_entropy(logits: Array, labels: Array, *, return_grad: bool = False) -> Losses:
    """Sum over classes of the binary cross-entropies with one-hot targets."""
    targets = one_hot(labels, logits)
    losses = _binary(logits, targets).sum(axis=1)
    return (losses, sigmoid(logits) - targets) if return_grad else losses


def sigmoid_focal_loss(logits: Array, labels: Array, *, return_grad: bool = False) -> Losses:
    """Cross-entropies times alpha_t (1 - p_t)^2."""
    targets = one_hot(labels, logits)
    p, loss = sigmoid(logits), _binary(logits, targets)
    p_t = p * targets + (1 - p) * (1 - targets)
    factor = (0.25 * targets + 0.75 * (1 - targets)) * (1 - p_t) ** 2
    losses = (factor * loss).sum(axis=1)
    if not return_grad:
        return losses
    return losses, factor * (2 * (1 - 2 * targets) * p_t * loss + p - targets)


def quality_focal_loss(
    logits: Array,
    labels: Array,
    scores: Array,
    *,
    return_grad: bool = False,
) -> Losses:
    """Cross-entropies with the score at the label, times |y - p|^2."""
    targets = one_hot(labels, logits) * np.expand_dims(scores, 1)
    p, loss = sigmoid(logits), _binary(logits, targets)
    distance = p - targets
    losses = (distance**2 * loss).sum(axis=1)
    if not return_grad:
        return losses
    return losses, distance * (2 * p * (1 - p) * loss + distance**2)


def varifocal_loss(logits: Array, targets: Array, *, return_grad: bool = False) -> Losses:
    """Cross-entropies with qualities, times y, or times alpha p^2 where y = 0."""
    p, loss = sigmoid(logits), _binary(logits, targets)
    is_positive = targets > 0
    factor = np.where(is_positive, targets, 0.75 * p**2)
    losses = (factor * loss).sum(axis=1)
    if not return_grad:
        return losses
    change = np.where(is_positive, 0, 2 * (1 - p) * loss)
    return losses, factor * (p - targets + change)


def asymmetric_loss(logits: Array, labels: Array, *, return_grad: bool = False) -> Losses:
    """-(1 - p) log(p) for the label; -s^4 log(1 - s) with s = max(p - 0.05, 0) for the others."""
    is_label = one_hot(labels, logits) > 0
    p = sigmoid(logits)
    shifted = np.maximum(p - 0.05, 0)
    log_p, log_rest = np.log(p), np.log(1 - shifted)
    losses = -np.where(is_label, (1 - p) * log_p, shifted**4 * log_rest).sum(axis=1)
    if not return_grad:
        return losses
    positive = (1 - p) * (p * log_p - (1 - p))
    negative = p * (1 - p) * shifted**3 * (shifted / (1 - shifted) - 4 * log_rest)
    return losses, np.where(is_label, positive, negative)


def softmax_cross_entropy(logits: Array, labels: Array, *, return_grad: bool = False) -> Losses:
    """Minus the log-probability of the label."""
    log_p = log_softmax(logits)
    losses = -at_label(log_p, labels)
    return (losses, np.exp(log_p) - one_hot(labels, logits)) if return_grad else losses


def softmax_focal_loss(logits: Array, labels: Array, *, return_grad: bool = False) -> Losses:
    """Cross-entropies times (1 - p_t)^2."""
    log_p = log_softmax(logits)
    log_p_t = at_label(log_p, labels)
    rest = 1 - np.exp(log_p_t)
    losses = -(rest**2) * log_p_t
    if not return_grad:
        return losses
    pull = np.expand_dims(rest**2 - 2 * rest * (1 - rest) * log_p_t, 1)
    return losses, pull * (np.exp(log_p) - one_hot(labels, logits))


def poly1_cross_entropy(logits: Array, labels: Array, *, return_grad: bool = False) -> Losses:
    """Cross-entropies plus 1 - p_t."""
    log_p = log_softmax(logits)
    log_p_t = at_label(log_p, labels)
    p_t = np.exp(log_p_t)
    losses = 1 - p_t - log_p_t
    if not return_grad:
        return losses
    return losses, np.expand_dims(1 + p_t, 1) * (np.exp(log_p) - one_hot(labels, logits))


def distribution_focal_loss(
    logits: Array, positions: Array, *, return_grad: bool = False
) -> Losses:
    """Cross-entropies of the two bins beside a position, by its distance from the other one."""
    left = np.minimum(positions.astype(np.int64), logits.shape[1] - 2)
    weight = positions - left.astype(positions.dtype)
    log_p = log_softmax(logits)
    losses = -(1 - weight) * at_label(log_p, left) - weight * at_label(log_p, left + 1)
    if not return_grad:
        return losses
    near, far = one_hot(left, logits), one_hot(left + 1, logits)
    weight = np.expand_dims(weight, 1)
    return losses, np.exp(log_p) - (1 - weight) * near - weight * far


def binary_cross_entropy(probs: Array, labels: Array, *, return_grad: bool = False) -> Losses:
    """Mean over classes of -log(p) for the label and -log(1 - p) for the others, clipped."""
    targets = one_hot(labels, probs)
    p = np.clip(probs, 1e-7, 1 - 1e-7)
    losses = -(targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean(axis=1)
    return (losses, (p - targets) / (p * (1 - p) * p.shape[1])) if return_grad else losses


def categorical_cross_entropy(probs: Array, labels: Array, *, return_grad: bool = False) -> Losses:
    """Minus the logarithm of the label's share of the sum, clipped."""
    total = probs.sum(axis=1, keepdims=True)
    losses = -np.log(np.clip(at_label(probs / total, labels), 1e-7, 1 - 1e-7))
    return (losses, 1 / total - one_hot(labels, probs) / probs) if return_grad else losses


NUMPY_FORMS: dict[str, Form] = {
    form.__name__: form
    for form in (
        sigmoid_cross_entropy,
        softmax_cross_entropy,
        poly1_cross_entropy,
        sigmoid_focal_loss,
        softmax_focal_loss,
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
