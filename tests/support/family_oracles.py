"""Exact losses and gradients of one anchor, from mpmath and the papers' formulas.

A gradient comes with the sum of the magnitudes of the terms that it is the difference of: with soft
targets they cancel, and no formula in floats is relatively accurate there. With labels nothing
cancels, and that sum is the gradient's own magnitude.
"""

from typing import NamedTuple

import mpmath
import numpy as np

from support import oracles

# 1 - p is never formed: it is computed as sigmoid(-z) or as the sum of the other classes, so that
# logits of 1e4 need no more digits than others.
mpmath.mp.dps = max(oracles.mpmath.mp.dps, 60)
mpf = mpmath.mpf


class Term(NamedTuple):
    """One class of a sigmoid loss, with respect to its logit."""

    loss: mpf
    slope: mpf
    scale: mpf


class Anchor(NamedTuple):
    """One anchor; `terms`, `gradient` and `scale` have a number for each class."""

    loss: mpf
    terms: list
    gradient: list
    scale: list


def exact_anchor(name, logits, targets, *, class_weight=None, **options):
    """Return a loss of one anchor with dense targets; labels are dense targets of 0 and 1."""
    z, y = _numbers(logits), _numbers(targets)
    w = [mpf(1)] * len(z) if class_weight is None else _numbers(class_weight)
    if name in SIGMOID_TERMS:
        terms = [SIGMOID_TERMS[name](z[c], y[c], **_of_class(options, c)) for c in range(len(z))]
        terms = [Term(*(w[c] * number for number in term)) for c, term in enumerate(terms)]
        losses, gradient, scale = ([getattr(t, field) for t in terms] for field in Term._fields)
    else:
        losses, gradient, scale = WHOLE_ANCHORS[name](z, y, w, options)
    return Anchor(mpmath.fsum(losses), losses, gradient, scale)


def _numbers(row):
    return [value if isinstance(value, mpf) else mpf(float(value)) for value in row]


def _of_class(options, c):
    """Return the options as exact numbers, those with one per class at class c."""
    return {
        key: value
        if value is None or isinstance(value, bool)
        else mpf(float(np.ravel(value)[c % np.size(value)]))
        for key, value in options.items()
    }


# --- sigmoids: (z, y, options) -> Term ------------------------------------------------------------


def _sigmoid(z):
    """Return p, 1 - p, softplus(z) = -log(1 - p) and softplus(-z) = -log(p)."""
    e = mpmath.exp(-abs(z))
    large, small, small_log = 1 / (1 + e), e / (1 + e), mpmath.log1p(e)
    large_log = abs(z) + small_log
    if z >= 0:
        return large, small, large_log, small_log
    return small, large, small_log, large_log


def _cross_entropy_term(z, y, pos_weight=1, label_smoothing=0):
    p, q, negative_log, positive_log = _sigmoid(z)
    y = y * (1 - label_smoothing) + label_smoothing / 2
    positive, negative = pos_weight * y, 1 - y
    return Term(
        negative * negative_log + positive * positive_log,
        negative * p - positive * q,
        negative * p + positive * q,
    )


def _focal_term(z, y, alpha=0.25, gamma=2):
    p, q, negative_log, positive_log = _sigmoid(z)
    ce = (1 - y) * negative_log + y * positive_log
    m = y * q + (1 - y) * p
    factor = m**gamma * (1 if alpha is None else alpha * y + (1 - alpha) * (1 - y))
    power_slope = gamma * p * q / m * ce
    return Term(
        factor * ce,
        factor * (power_slope * (1 - 2 * y) + ((1 - y) * p - y * q)),
        factor * (power_slope * abs(1 - 2 * y) + ((1 - y) * p + y * q)),
    )


def _quality_term(z, y, beta=2):
    p, q, negative_log, positive_log = _sigmoid(z)
    ce = (1 - y) * negative_log + y * positive_log
    difference = (1 - y) * p - y * q
    size = abs(difference)
    if size == 0:
        return Term(ce if beta == 0 else mpf(0), mpf(0), mpf(0))
    slope = mpmath.sign(difference) * (beta * size ** (beta - 1) * p * q * ce + size ** (beta + 1))
    return Term(size**beta * ce, slope, abs(slope))


def _varifocal_term(z, y, alpha=0.75, gamma=2, iou_weighted=True):
    p, q, negative_log, positive_log = _sigmoid(z)
    if y > 0:
        factor = y if iou_weighted else mpf(1)
        return Term(
            factor * ((1 - y) * negative_log + y * positive_log),
            factor * ((1 - y) * p - y * q),
            factor * ((1 - y) * p + y * q),
        )
    factor = p**gamma * (1 if alpha is None else alpha)
    slope = factor * (gamma * q * negative_log + p)
    return Term(factor * negative_log, slope, slope)


def _asymmetric_term(z, y, gamma_neg=4, gamma_pos=1, clip=0.05):
    p, q, negative_log, positive_log = _sigmoid(z)
    positive = q**gamma_pos * positive_log
    positive_slope = q**gamma_pos * (gamma_pos * p * positive_log + q)  # downwards
    negative = negative_slope = mpf(0)
    if p > clip:
        shifted = p if clip == 0 else p - clip
        if clip == 0:
            shifted_log = negative_log
        else:
            shifted_log = -mpmath.log1p(-shifted) if shifted < 0.5 else -mpmath.log(q + clip)
        negative = shifted**gamma_neg * shifted_log
        negative_slope = (
            p * q * shifted**gamma_neg * (gamma_neg / shifted * shifted_log + 1 / (q + clip))
        )
    return Term(
        y * positive + (1 - y) * negative,
        (1 - y) * negative_slope - y * positive_slope,
        (1 - y) * negative_slope + y * positive_slope,
    )


def _focal_star_term(z, y, alpha=None, gamma=2, beta=0):
    def side(x):
        u = gamma * x + beta
        _, q, _, positive_log = _sigmoid(u)
        return positive_log / gamma, q

    (positive, positive_slope), (negative, negative_slope) = side(z), side(-z)
    of_y, of_rest = (y, 1 - y) if alpha is None else (alpha * y, (1 - alpha) * (1 - y))
    return Term(
        of_y * positive + of_rest * negative,
        of_rest * negative_slope - of_y * positive_slope,
        of_rest * negative_slope + of_y * positive_slope,
    )


SIGMOID_TERMS = {
    "sigmoid_cross_entropy": _cross_entropy_term,
    "sigmoid_focal_loss": _focal_term,
    "quality_focal_loss": _quality_term,
    "varifocal_loss": _varifocal_term,
    "sigmoid_focal_loss_star": _focal_star_term,
    "asymmetric_loss": _asymmetric_term,
}


# --- softmax: (z, y, w, options) -> losses, gradient, scale ---------------------------------------


def exact_softmax(z):
    """Return p, 1 - p and -log(p) of each class."""
    top = max(z)
    e = [mpmath.exp(value - top) for value in z]
    total = mpmath.fsum(e)
    p = [value / total for value in e]
    q = [mpmath.fsum(e[:c] + e[c + 1 :]) / total for c in range(len(z))]
    logs = [
        -mpmath.log1p(-q[c]) if p[c] > 0.5 else mpmath.log(total) - (z[c] - top)
        for c in range(len(z))
    ]
    return p, q, logs


def _softmax_losses(terms):
    """Return the loss made of `terms`: (p, 1 - p, -log p, options) -> loss, -d loss / d log p."""

    def losses_and_gradient(z, y, w, options):
        options = [_of_class(options, c) for c in range(len(z))]
        s = [o.pop("label_smoothing", mpf(0)) for o in options]
        p, q, logs = exact_softmax(z)
        losses, b, sizes = [], [], []
        for c in range(len(z)):
            target = w[c] * (y[c] * (1 - s[c]) + s[c] / len(z))
            # Where a target is 0 the logarithm's power does not matter.
            loss, a, size = terms(p[c], q[c], logs[c], **options[c]) if target else (0, 0, 0)
            losses.append(target * loss)
            b.append(target * a)
            sizes.append(target * size)
        total, whole = mpmath.fsum(b), mpmath.fsum(sizes)
        gradient = [p[k] * (total - b[k]) - q[k] * b[k] for k in range(len(z))]
        scale = [p[k] * (whole - sizes[k]) + q[k] * sizes[k] for k in range(len(z))]
        return losses, gradient, scale

    return losses_and_gradient


def _cross_entropy_terms(p, q, log):
    return log, mpf(1), mpf(1)


def _focal_terms(p, q, log, alpha=None, gamma=2):
    factor = q**gamma * (1 if alpha is None else alpha)
    slope = factor * (1 + gamma * (p * log / q if q else 1))
    return factor * log, slope, slope


def _poly1_terms(p, q, log, epsilon=1):
    return log + epsilon * q, 1 + epsilon * p, 1 + abs(epsilon) * p


def bin_targets(position, classes):
    """Return the dense targets that a position between two bins stands for."""
    position = mpf(float(position))
    return [max(mpf(0), 1 - abs(position - k)) for k in range(classes)]


def exact_expectation(logits):
    """Return the mean bin of one anchor."""
    p, _, _ = exact_softmax(_numbers(logits))
    return mpmath.fsum(k * pk for k, pk in enumerate(p))


# --- probabilities: (p, y, w, options) -> losses, gradient, scale ---------------------------------


def _binary(p, y, w, options):
    eps = mpf(float(options.get("eps", 1e-7)))
    losses, gradient, scale = [], [], []
    for pc, yc, wc in zip(p, _smoothed(y, options, 2), w, strict=True):
        clipped = min(max(pc, eps), 1 - eps)
        factor = wc / len(p)
        losses.append(-factor * (yc * mpmath.log(clipped) + (1 - yc) * mpmath.log(1 - clipped)))
        kept = factor if eps <= pc <= 1 - eps else mpf(0)
        up, down = kept * (1 - yc) / (1 - clipped), kept * yc / clipped
        gradient.append(up - down)
        scale.append(up + down)
    return losses, gradient, scale


def _smoothed(y, options, classes):
    smoothing = mpf(float(options.get("label_smoothing", 0)))
    return [yc * (1 - smoothing) + smoothing / classes for yc in y]


def _categorical(p, y, w, options):
    eps, total = mpf(float(options.get("eps", 1e-7))), mpmath.fsum(p)
    y = _smoothed(y, options, len(y))
    shares = [pc / total for pc in p]
    logs = [mpmath.log(min(max(share, eps), 1 - eps)) for share in shares]
    losses = [-wc * yc * log for wc, yc, log in zip(w, y, logs, strict=True)]
    kept = [
        wc * yc if eps <= share <= 1 - eps else mpf(0)
        for wc, yc, share in zip(w, y, shares, strict=True)
    ]
    up = mpmath.fsum(kept) / total
    down = [factor / pc if factor else mpf(0) for factor, pc in zip(kept, p, strict=True)]
    return losses, [up - d for d in down], [up + d for d in down]


WHOLE_ANCHORS = {
    "softmax_cross_entropy": _softmax_losses(_cross_entropy_terms),
    "softmax_focal_loss": _softmax_losses(_focal_terms),
    # Its dense targets are bin_targets(position).
    "distribution_focal_loss": _softmax_losses(_cross_entropy_terms),
    "poly1_cross_entropy": _softmax_losses(_poly1_terms),
    "binary_cross_entropy": _binary,
    "categorical_cross_entropy": _categorical,
}
