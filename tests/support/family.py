"""What the tests of the loss family share: names, targets of each loss, and derivatives."""

import ml_dtypes
import numpy as np

import fastxent as fx
from fastxent import _catalogue
from support.oracles import one_hot

_LOSSES = _catalogue.LOSSES.values()
SIGMOID_LOSSES = tuple(x.name for x in _LOSSES if x.sigmoid and x.values == "logits")
SOFTMAX_LOSSES = tuple(x.name for x in _LOSSES if not x.sigmoid and x.values == "logits")
LOGIT_LOSSES = (*SIGMOID_LOSSES, *SOFTMAX_LOSSES)
PROBABILITY_LOSSES = tuple(x.name for x in _LOSSES if x.values == "probs")
LOSSES = (*LOGIT_LOSSES, *PROBABILITY_LOSSES)

#: Losses of independent classes: they take axis=None, weights per logit and a background label.
PER_CLASS = tuple(x.name for x in _LOSSES if x.sigmoid)
#: Losses that take class labels or dense targets.
WITH_DENSE = tuple(x.name for x in _LOSSES if x.target_format == "classes")
HARD_SIGMOID_LOSSES = tuple(name for name in SIGMOID_LOSSES if name in WITH_DENSE)
HARD_SOFTMAX_LOSSES = tuple(name for name in SOFTMAX_LOSSES if name in WITH_DENSE)

HALVES = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))


def public(name):
    """Return the function; looked up late, so that a missing one fails its own tests alone."""
    return getattr(fx, name)


def values_for(name, rng, shape, dtype=np.float64, spread=3.0):
    """Return logits, or probabilities that are not clipped."""
    if name in PROBABILITY_LOSSES:
        return rng.uniform(0.05, 0.95, shape).astype(dtype)
    return rng.normal(0, spread, shape).astype(dtype)


def targets_for(name, rng, values, axis=-1, *, dense=False):
    """Return the positional arguments that follow the logits."""
    last = values[..., None] if axis is None else np.moveaxis(values, axis, -1)
    anchors, classes = last.shape[:-1], last.shape[-1]
    if name == "distribution_focal_loss":
        return (rng.uniform(0, classes - 1, anchors),)
    if dense:
        soft = (rng.integers(0, 9, last.shape) / 8) * (rng.random(last.shape) < 0.7)
        return (soft[..., 0] if axis is None else np.moveaxis(soft, -1, axis),)
    labels = rng.integers(0, classes + (name in PER_CLASS), anchors)
    if name == "quality_focal_loss":
        return labels, rng.random(anchors)
    return (labels,)


def other_backend(name):
    """Return the backend to compare with: the reference, or for the reference the native one."""
    return "native" if name == "numpy" else "numpy"


def dense_of_labels(name, labels, classes, axis):
    """Return the dense targets of class labels, in the layout of the logits."""
    if axis is None:
        return np.asarray(labels, dtype=float)
    return np.moveaxis(one_hot(labels, classes), -1, axis)


def derivative(function, values, direction, step=1e-3):
    """Return the slope of `function`, an array or a number, along a direction.

    Four points: the error is of the order of step^4, some 1e-12 here.
    """
    near = np.subtract(function(values + step * direction), function(values - step * direction))
    step *= 2
    far = np.subtract(function(values + step * direction), function(values - step * direction))
    return (8 * near - far) / (6 * step)


def assert_near(result, expected, rtol, size=None):
    """Compare, with the tolerance relative to `size`, by default that of the largest number."""
    result, expected = np.asarray(result, float), np.asarray(expected, float)
    assert result.shape == expected.shape
    if size is None:
        size = np.abs(expected).max(initial=0)
    np.testing.assert_allclose(result, expected, rtol=rtol, atol=rtol * size)
