"""Independent answers: exact ones from mpmath, and float64 formulas as a textbook writes them."""

import ml_dtypes
import mpmath
import numpy as np
from scipy import special

from fastxent._catalogue import LOSSES, SCORES

mpmath.mp.dps = 50


def dtype_named(name):
    """Return a dtype by its name, bfloat16 included."""
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


# --- exact: rows of floats in, mpmath numbers out ------------------------------------------------


def exact_softplus(z):
    return mpmath.log1p(mpmath.exp(z)) if z < 0 else z + mpmath.log1p(mpmath.exp(-z))


def exact_sigmoid_cross_entropy(logits, targets):
    """Return the loss of one anchor."""
    terms = [
        y * exact_softplus(-z) + (1 - y) * exact_softplus(z)
        for z, y in zip(_numbers(logits), _numbers(targets), strict=True)
    ]
    return mpmath.fsum(terms)


def exact_log_softmax(logits):
    z = _numbers(logits)
    top = z.index(max(z))
    others = mpmath.fsum(mpmath.exp(z[k] - z[top]) for k in range(len(z)) if k != top)
    return [(zk - z[top]) - mpmath.log1p(others) for zk in z]


def exact_softmax_cross_entropy(logits, targets):
    """Return the loss of one anchor."""
    terms = zip(_numbers(targets), exact_log_softmax(logits), strict=True)
    return mpmath.fsum(-y * log_q for y, log_q in terms)


def exact_binary_cross_entropy(probs, targets, eps=1e-7):
    """Return the loss of one anchor, the mean over its classes."""
    eps = mpmath.mpf(eps)
    clipped = [min(max(p, eps), 1 - eps) for p in _numbers(probs)]
    terms = [
        -y * mpmath.log(p) - (1 - y) * mpmath.log(1 - p)
        for p, y in zip(clipped, _numbers(targets), strict=True)
    ]
    return mpmath.fsum(terms) / len(terms)


def exact_categorical_cross_entropy(probs, targets, eps=1e-7):
    """Return the loss of one anchor."""
    eps, p = mpmath.mpf(eps), _numbers(probs)
    clipped = [min(max(pk / mpmath.fsum(p), eps), 1 - eps) for pk in p]
    return mpmath.fsum(-y * mpmath.log(q) for q, y in zip(clipped, _numbers(targets), strict=True))


def _numbers(row):
    return [mpmath.mpf(float(value)) for value in row]


def one_hot(labels, classes):
    """Return dense targets; a label that is no class has none."""
    return (np.asarray(labels)[..., None] == np.arange(classes)).astype(float)


# --- accuracy ------------------------------------------------------------------------------------


def stated_ulps(function):
    """Return the accuracy in float32 that a public function's docstring promises for its result."""
    name = function.__name__
    return SCORES[name].bound if name in SCORES else LOSSES[name].bounds.loss


def assert_accurate(result, exact, ulps, scale=0.0):
    """Compare floats with mpmath numbers, in units of the last place; show the worst element.

    The units are those of the exact number, or of `scale` where that is larger.
    """
    result, exact = np.asarray(result), np.ravel(exact)
    scales = np.broadcast_to(scale, result.shape)
    errors = np.array([_ulp_error(*e) for e in zip(result.flat, exact, scales.flat, strict=True)])
    worst = int(errors.argmax())
    assert errors[worst] <= ulps, (
        f"element {worst} is {result.flat[worst]!r}, but exactly "
        f"{mpmath.nstr(exact[worst], 12)}: {errors[worst]:.1f} ULP"
    )


def _ulp_error(value, exact, scale):
    with np.errstate(over="ignore"):
        rounded = type(value)(float(exact))
    if not np.isfinite(rounded) or not np.isfinite(value):
        return 0.0 if rounded == value else np.inf
    limits = np.finfo(rounded)
    exponent = max(np.frexp(max(abs(rounded), scale))[1], limits.minexp + 1)
    error = abs(mpmath.mpf(float(value)) - exact)
    return float(mpmath.ldexp(error, int(limits.nmant + 1 - exponent)))


# --- float64, where cancellation does not matter -------------------------------------------------


def plain_sigmoid_cross_entropy(logits, targets):
    """Return the loss of each logit."""
    z, y = np.asarray(logits, dtype=float), np.asarray(targets, dtype=float)
    return y * np.logaddexp(0, -z) + (1 - y) * np.logaddexp(0, z)


def plain_softmax_cross_entropy(logits, targets):
    """Return the terms of each logit, classes last."""
    return -np.asarray(targets, dtype=float) * special.log_softmax(np.asarray(logits, float), -1)
