"""Float64 formulas in NumPy, written to be read and to be right.

Differences of nearly equal numbers are avoided: a loss of 1e-12 is right to all its digits, and so
is its gradient. Infinite logits give the limits that the docstrings promise. Each loss has

- ``terms(values, targets, request)``: the loss of each class, not yet weighted, and
- ``gradient(values, targets, factors, request)``: the derivatives, with respect to the values, of
  the sum of all terms multiplied by these factors.

All arrays are float64 and have the shape (anchors, classes).
"""

# What NumPy's functions return is Any for mypy.
# mypy: disable-error-code="no-any-return"

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastxent._catalogue import check_complete
from fastxent._contract import LossRequest
from fastxent.reference.score_formulas import (
    Float64Array,
    log_softmax,
    partition,
    sigmoid,
    softplus,
)

Terms = Callable[[Float64Array, Float64Array, LossRequest], Float64Array]
Gradient = Callable[[Float64Array, Float64Array, Float64Array, LossRequest], Float64Array]


class Formula(NamedTuple):
    """A loss, as this module has it."""

    terms: Terms
    gradient: Gradient


def times(factor: Float64Array, value: Float64Array) -> Float64Array:
    """Multiply, taking zero times an infinite value as zero: the limit of a loss weighted by 0."""
    product = factor * value
    product[(factor == 0) & np.isinf(value)] = 0.0
    return product


def _elementwise(slopes: Terms) -> Gradient:
    """Return the gradient of terms that depend on the value of their own class alone."""

    def gradient(
        z: Float64Array, y: Float64Array, factors: Float64Array, request: LossRequest
    ) -> Float64Array:
        return times(factors, slopes(z, y, request))

    return gradient


# --- sigmoid family: p = sigmoid(z), q = 1 - p ----------------------------------------------------


def _cross_entropy(z: Float64Array, y: Float64Array) -> Float64Array:
    return times(y, softplus(-z)) + times(1 - y, softplus(z))


def _residual(p: Float64Array, q: Float64Array, y: Float64Array) -> Float64Array:
    """Return p - y, which is -q and not p - 1 for y = 1."""
    return (1 - y) * p - y * q


def _smoothed(y: Float64Array, request: LossRequest) -> tuple[Float64Array, Float64Array]:
    """Return the factors of the positive and of the negative half of a sigmoid cross-entropy."""
    keep, spread = 1 - request.label_smoothing, request.label_smoothing / 2
    positive, negative = y * keep + spread, (1 - y) * keep + spread
    if request.pos_weight is not None:
        positive *= request.pos_weight
    return positive, negative


def _sigmoid_cross_entropy(z: Float64Array, y: Float64Array, request: LossRequest) -> Float64Array:
    positive, negative = _smoothed(y, request)
    return times(positive, softplus(-z)) + times(negative, softplus(z))


def _sigmoid_cross_entropy_slopes(
    z: Float64Array, y: Float64Array, request: LossRequest
) -> Float64Array:
    positive, negative = _smoothed(y, request)
    return negative * sigmoid(z) - positive * sigmoid(-z)


def _focal_factors(
    z: Float64Array, y: Float64Array, request: LossRequest
) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
    """Return p, q, m = 1 - p_t = y q + (1 - y) p, and alpha_t m^gamma."""
    p, q = sigmoid(z), sigmoid(-z)
    one_minus_pt = y * q + (1 - y) * p
    factor = one_minus_pt**request.gamma
    if request.alpha is not None:
        factor *= request.alpha * y + (1 - request.alpha) * (1 - y)
    return p, q, one_minus_pt, factor


def _sigmoid_focal_loss(z: Float64Array, y: Float64Array, request: LossRequest) -> Float64Array:
    *_, factor = _focal_factors(z, y, request)
    return times(factor, _cross_entropy(z, y))


def _sigmoid_focal_slopes(z: Float64Array, y: Float64Array, request: LossRequest) -> Float64Array:
    p, q, one_minus_pt, factor = _focal_factors(z, y, request)
    # p q / m, where p or q may be 0 and cancel.
    ratio = np.select([y == 0, y == 1], [q, p], p * q / one_minus_pt)
    change = factor * request.gamma * (1 - 2 * y) * ratio
    return times(change, _cross_entropy(z, y)) + factor * _residual(p, q, y)


#: 2^27 + 1: the halves of a float64 that it splits off have exact products (Veltkamp, Dekker).
_SPLIT = 2.0**27 + 1
#: Beyond, rounding errors make no difference.
_FARTHEST = 2.0**20


def _shifted_softplus(x: Float64Array, request: LossRequest) -> tuple[Float64Array, Float64Array]:
    """Return softplus(-u) / gamma with u = gamma x + beta, and sigmoid(-u)."""
    u, error = _linear(request.gamma, x, request.beta)
    linear = np.where(np.isfinite(u), np.maximum(-u, 0) / request.gamma, np.maximum(-x, 0))
    e = np.exp(-np.abs(u))
    e -= e * np.copysign(error, error * u)  # of |u|
    sigmoids = np.where(u < 0, 1, e) / (1 + e)
    return linear + np.log1p(e) / request.gamma, sigmoids


def _linear(slope: float, x: Float64Array, shift: float) -> tuple[Float64Array, Float64Array]:
    """Return slope x + shift, and its rounding error, which exp makes a relative one."""
    with np.errstate(over="ignore", invalid="ignore"):
        product = slope * x
        u = product + shift
        slope_high = slope * _SPLIT - (slope * _SPLIT - slope)
        x_high = x * _SPLIT - (x * _SPLIT - x)
        slope_low, x_low = slope - slope_high, x - x_high
        error = slope_high * x_high - product + slope_high * x_low + slope_low * x_high
        added = u - product
        error += slope_low * x_low + ((product - (u - added)) + (shift - added))
    return u, np.where(np.abs(u) < _FARTHEST, error, 0.0)


def _sides(y: Float64Array, request: LossRequest) -> tuple[Float64Array, Float64Array]:
    """Return the factors of the terms of positives and of negatives."""
    if request.alpha is None:
        return y, 1 - y
    return request.alpha * y, (1 - request.alpha) * (1 - y)


def _sigmoid_focal_star_loss(
    z: Float64Array, y: Float64Array, request: LossRequest
) -> Float64Array:
    positive, negative = _sides(y, request)
    of_positive, of_negative = (_shifted_softplus(x, request)[0] for x in (z, -z))
    return times(positive, of_positive) + times(negative, of_negative)


def _sigmoid_focal_star_slopes(
    z: Float64Array, y: Float64Array, request: LossRequest
) -> Float64Array:
    positive, negative = _sides(y, request)
    of_positive, of_negative = (_shifted_softplus(x, request)[1] for x in (z, -z))
    return negative * of_negative - positive * of_positive


def _quality_focal_loss(z: Float64Array, y: Float64Array, request: LossRequest) -> Float64Array:
    distance = np.abs(_residual(sigmoid(z), sigmoid(-z), y))
    return times(distance**request.gamma, _cross_entropy(z, y))


def _quality_focal_slopes(z: Float64Array, y: Float64Array, request: LossRequest) -> Float64Array:
    p, q = sigmoid(z), sigmoid(-z)
    residual = _residual(p, q, y)
    distance = np.abs(residual)
    factor = distance**request.gamma
    ratio = np.select([y == 0, y == 1], [q, p], p * q / distance)  # p q / |p - y|
    change = factor * request.gamma * np.sign(residual) * ratio
    slopes = times(change, _cross_entropy(z, y)) + factor * residual
    return np.where(residual == 0, 0.0, slopes)


def _varifocal_parts(
    z: Float64Array, y: Float64Array, request: LossRequest
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return p, and the factors of the loss with y > 0 and with y = 0."""
    p = sigmoid(z)
    alpha = 1.0 if request.alpha is None else request.alpha
    return p, y if request.iou_weighted else np.ones_like(y), alpha * p**request.gamma


def _varifocal_loss(z: Float64Array, y: Float64Array, request: LossRequest) -> Float64Array:
    _, positive, negative = _varifocal_parts(z, y, request)
    return np.where(y > 0, times(positive, _cross_entropy(z, y)), times(negative, softplus(z)))


def _varifocal_slopes(z: Float64Array, y: Float64Array, request: LossRequest) -> Float64Array:
    p, positive, negative = _varifocal_parts(z, y, request)
    q = sigmoid(-z)
    change = times(negative * request.gamma * q, softplus(z))
    return np.where(y > 0, positive * _residual(p, q, y), change + negative * p)


def _shifted(
    z: Float64Array, p: Float64Array, q: Float64Array, clip: float
) -> tuple[Float64Array, Float64Array]:
    """Return p_m = max(p - clip, 0) and -log(1 - p_m)."""
    if clip == 0:
        return p, softplus(z)
    # sigmoid(a) - sigmoid(b) = sigmoid(a) (1 - sigmoid(b)) (1 - exp(b - a)), with sigmoid(b) = clip
    threshold = math.log(clip) - math.log1p(-clip)
    shifted = p * (1 - clip) * -np.expm1(np.minimum(threshold - z, 0.0))
    return shifted, np.where(shifted < 0.5, -np.log1p(-shifted), -np.log(q + clip))


def _asymmetric_loss(z: Float64Array, y: Float64Array, request: LossRequest) -> Float64Array:
    p, q = sigmoid(z), sigmoid(-z)
    shifted, nll = _shifted(z, p, q, request.clip)
    positive = times(q**request.gamma_pos, softplus(-z))
    negative = times(shifted**request.gamma_neg, nll)
    return times(y, positive) + times(1 - y, negative)


def _asymmetric_slopes(z: Float64Array, y: Float64Array, request: LossRequest) -> Float64Array:
    p, q = sigmoid(z), sigmoid(-z)
    shifted, nll = _shifted(z, p, q, request.clip)
    power = q**request.gamma_pos
    positive = times(power * request.gamma_pos * p, softplus(-z)) + power * q
    power = shifted**request.gamma_neg
    if request.clip == 0:
        negative = times(power * request.gamma_neg * q, nll) + power * p
    else:
        change = power * request.gamma_neg * (p * q) * (nll / shifted)
        negative = change + power * (p * q) / (q + request.clip)
        negative[shifted == 0] = 0.0
    return (1 - y) * negative - y * positive


# --- softmax family: p = softmax(z), q = 1 - p ----------------------------------------------------


def _softmax_gradient(z: Float64Array, log_p_slopes: Float64Array) -> Float64Array:
    """Return p_k sum_c b_c - b_k, for b_c = -(dloss / dlog p_c), the `log_p_slopes`.

    b_k leaves the sum, which turns its factor p_k - 1 into -q_k.
    """
    p, q = _softmax_and_rest(z)
    return p * sum_of_others(log_p_slopes) - q * log_p_slopes


def _softmax_and_rest(z: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return p and q = 1 - p."""
    _, distance, others = partition(z)
    p = np.exp(-distance) / (1 + others)
    q = 1 - p
    np.put_along_axis(q, z.argmax(axis=-1)[:, None], others / (1 + others), axis=-1)
    return p, q


def sum_of_others(values: Float64Array) -> Float64Array:
    """Return, for each column, the sum of all other columns; the largest column drowns nothing."""
    largest = np.abs(values).argmax(axis=-1)[:, None]
    rest = values.copy()
    np.put_along_axis(rest, largest, 0.0, axis=-1)
    small = rest.sum(axis=-1, keepdims=True)
    others = values.sum(axis=-1, keepdims=True) - values
    np.put_along_axis(others, largest, small, axis=-1)
    return others


def _softmax_targets(z: Float64Array, y: Float64Array, request: LossRequest) -> Float64Array:
    return y * (1 - request.label_smoothing) + request.label_smoothing / z.shape[-1]


def _softmax_cross_entropy(z: Float64Array, y: Float64Array, request: LossRequest) -> Float64Array:
    return times(_softmax_targets(z, y, request), -log_softmax(z))


def _softmax_cross_entropy_gradient(
    z: Float64Array, y: Float64Array, factors: Float64Array, request: LossRequest
) -> Float64Array:
    return _softmax_gradient(z, factors * _softmax_targets(z, y, request))


def _softmax_focal_loss(z: Float64Array, y: Float64Array, request: LossRequest) -> Float64Array:
    _, q = _softmax_and_rest(z)
    alpha = 1.0 if request.alpha is None else request.alpha
    return times(alpha * y, q**request.gamma * -log_softmax(z))


def _softmax_focal_gradient(
    z: Float64Array, y: Float64Array, factors: Float64Array, request: LossRequest
) -> Float64Array:
    p, q = _softmax_and_rest(z)
    nll = -log_softmax(z)
    alpha = 1.0 if request.alpha is None else request.alpha
    power = q**request.gamma
    ratio = np.where(q == 0, 1.0, nll / q)
    log_p_slopes = power + times(power * request.gamma * p, ratio)
    return _softmax_gradient(z, factors * alpha * y * log_p_slopes)


def _poly1_cross_entropy(z: Float64Array, y: Float64Array, request: LossRequest) -> Float64Array:
    _, q = _softmax_and_rest(z)
    return times(y, request.epsilon * q - log_softmax(z))


def _poly1_cross_entropy_gradient(
    z: Float64Array, y: Float64Array, factors: Float64Array, request: LossRequest
) -> Float64Array:
    p, _ = _softmax_and_rest(z)
    return _softmax_gradient(z, factors * y * (1 + request.epsilon * p))


# --- losses of probabilities ----------------------------------------------------------------------


def _binary_cross_entropy(p: Float64Array, y: Float64Array, request: LossRequest) -> Float64Array:
    positive, negative = _smoothed(y, request)
    low, high = math.log(request.eps), math.log1p(-request.eps)
    log_p = np.clip(np.log(np.maximum(p, 0)), low, high)
    log_q = np.clip(np.log1p(-np.minimum(p, 1)), low, high)
    return -(positive * log_p + negative * log_q)


def _binary_cross_entropy_gradient(
    p: Float64Array, y: Float64Array, factors: Float64Array, request: LossRequest
) -> Float64Array:
    positive, negative = _smoothed(y, request)
    clipped = (p < request.eps) | (1 - p < request.eps)  # 1 - eps may be rounded to 1
    # A quotient by a tiny p may overflow, unless the factors come first.
    of_negative = np.where(negative == 0, 0.0, factors * negative / (1 - p))
    of_positive = np.where(positive == 0, 0.0, factors * positive / p)
    return np.where(clipped, 0.0, of_negative - of_positive)


#: Quotients below it are not exact, and may be 0.
_TINY = 1e-300


class _Shares(NamedTuple):
    """Probabilities that are divided by the sum of their row."""

    total: Float64Array
    #: Each column's sum of the others.
    others: Float64Array
    #: -log of the quotients; infinite where they are below eps.
    nll: Float64Array
    clipped: NDArray[np.bool_]


def _shares(p: Float64Array, request: LossRequest) -> _Shares:
    total = p.sum(axis=-1, keepdims=True)
    total[~np.isfinite(total)] = np.nan
    others = sum_of_others(p)
    share = p / total
    # -log(p / total) = log1p((total - p) / p), where total - p would cancel.
    nll = np.log1p(others / p)
    of_tiny = np.log(total) - np.log(np.maximum(p, 0))
    nll = np.where(share < _TINY, of_tiny, nll)
    is_below = np.where(share < _TINY, of_tiny > -math.log(request.eps), share < request.eps)
    nll[is_below] = np.inf
    return _Shares(total, others, nll, is_below | (others / total < request.eps))


def _categorical_cross_entropy(
    p: Float64Array, y: Float64Array, request: LossRequest
) -> Float64Array:
    total, _, nll, _ = _shares(p, request)
    nll[np.isnan(total[:, 0])] = np.nan
    clipped = np.clip(nll, -math.log1p(-request.eps), -math.log(request.eps))
    return _softmax_targets(p, y, request) * clipped


def _categorical_cross_entropy_gradient(
    p: Float64Array, y: Float64Array, factors: Float64Array, request: LossRequest
) -> Float64Array:
    total, others, _, clipped = _shares(p, request)
    log_p_slopes = np.where(clipped, 0.0, factors * _softmax_targets(p, y, request))
    # -b_k / p_k + (sum_c b_c) / total, with b_k taken out of the sum.
    rest = sum_of_others(log_p_slopes)
    gradient = (rest - np.where(log_p_slopes == 0, 0.0, log_p_slopes * (others / p))) / total
    of_tiny = rest / total - np.where(log_p_slopes == 0, 0.0, log_p_slopes * (others / total) / p)
    gradient = np.where(p / total < _TINY, of_tiny, gradient)
    gradient[~(np.abs(total[:, 0]) > 0)] = np.nan
    return gradient


LOSSES = {
    "sigmoid_cross_entropy": Formula(
        _sigmoid_cross_entropy, _elementwise(_sigmoid_cross_entropy_slopes)
    ),
    "sigmoid_focal_loss": Formula(_sigmoid_focal_loss, _elementwise(_sigmoid_focal_slopes)),
    "sigmoid_focal_loss_star": Formula(
        _sigmoid_focal_star_loss, _elementwise(_sigmoid_focal_star_slopes)
    ),
    "quality_focal_loss": Formula(_quality_focal_loss, _elementwise(_quality_focal_slopes)),
    "varifocal_loss": Formula(_varifocal_loss, _elementwise(_varifocal_slopes)),
    "asymmetric_loss": Formula(_asymmetric_loss, _elementwise(_asymmetric_slopes)),
    "binary_cross_entropy": Formula(_binary_cross_entropy, _binary_cross_entropy_gradient),
    "softmax_cross_entropy": Formula(_softmax_cross_entropy, _softmax_cross_entropy_gradient),
    "softmax_focal_loss": Formula(_softmax_focal_loss, _softmax_focal_gradient),
    "poly1_cross_entropy": Formula(_poly1_cross_entropy, _poly1_cross_entropy_gradient),
    # Whose targets are made of positions, two of them next to each other.
    "distribution_focal_loss": Formula(_softmax_cross_entropy, _softmax_cross_entropy_gradient),
    "categorical_cross_entropy": Formula(
        _categorical_cross_entropy, _categorical_cross_entropy_gradient
    ),
}
check_complete(LOSSES, "the formulas of the reference")
