"""Masked classes and masked labels: their losses and gradients.

A masked class has the logit -inf, or a very negative one. A masked label makes the loss infinite,
which is its limit; the gradient of the anchor's other classes is what it would be otherwise.
"""

import numpy as np
import pytest
from scipy import special

import fastxent as fx

ANCHORS, CLASSES = 4000, 80
LOSSES = {
    "sigmoid_cross_entropy": fx.sigmoid_cross_entropy,
    "sigmoid_focal_loss": fx.sigmoid_focal_loss,
}


def heads(classes=CLASSES, anchors=ANCHORS):
    """Return logits, and labels that are the class of half of the anchors."""
    rng = np.random.default_rng(classes)
    logits = rng.standard_normal((anchors, classes)).astype(np.float32) * 3
    labels = np.where(np.arange(anchors) % 2, rng.integers(0, classes, anchors), -1)
    return logits, labels


def with_masked_labels(logits, labels):
    """Return logits in which every label is masked."""
    masked, anchors = logits.copy(), np.flatnonzero(labels >= 0)
    masked[anchors, labels[anchors]] = -np.inf
    return masked


def one_hot(labels, classes):
    return (labels[:, None] == np.arange(classes)).astype(np.float32)


def focal_slopes(logits):
    """Return the gradient of focal negatives, gamma 2 and alpha 0.25, in float64."""
    z = logits.astype(np.float64)
    p, q, softplus = special.expit(z), special.expit(-z), -special.log_expit(-z)
    return 0.75 * p * p * (2 * q * softplus + p)


def expected_gradient(name, logits, labels):
    z, rows = logits.astype(np.float64), np.flatnonzero(labels >= 0)
    result = special.expit(z) if name == "sigmoid_cross_entropy" else focal_slopes(logits)
    result[rows, labels[rows]] = -1 if name == "sigmoid_cross_entropy" else -0.25
    return result


@pytest.mark.parametrize("is_dense", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("classes", [1, 3, 21, 80, 130])
@pytest.mark.parametrize("name", ["sigmoid_cross_entropy", "sigmoid_focal_loss"])
def test_gradients_of_infinite_losses(name, classes, axis, is_dense, isa):
    is_dense = is_dense or classes == 1  # of which class 0 would not be a label
    logits, labels = heads(classes, 50)
    masked = with_masked_labels(logits, labels)
    targets = one_hot(labels, classes) if is_dense else labels
    if axis == 0:
        masked = np.ascontiguousarray(masked.T)
        targets = np.ascontiguousarray(targets.T) if is_dense else targets
    options = {} if is_dense else {"background_index": -1}
    loss, gradient = LOSSES[name](masked, targets, axis=axis, return_grad=True, **options)
    gradient = gradient.T if axis == 0 else gradient
    expected = expected_gradient(name, with_masked_labels(logits, labels), labels)
    assert (loss == np.inf).tolist() == (labels >= 0).tolist()
    np.testing.assert_allclose(gradient, expected, rtol=12 * 2.0**-23, atol=1e-37)


@pytest.mark.parametrize("value", [-np.inf, -1e9, -104.2])
@pytest.mark.parametrize("classes", [4, 21, 80])
def test_masked_classes_add_nothing(classes, value, isa):
    """The classes at odd places are masked, and the loss is that of the others."""
    logits, _ = heads(classes, 50)
    logits[:, 1::2] = value
    nothing = np.zeros_like(logits)
    expected = -special.log_expit(-logits[:, ::2].astype(np.float64)).sum(axis=1)
    for result in (
        fx.sigmoid_cross_entropy(logits, np.full(50, -1), background_index=-1),
        fx.sigmoid_cross_entropy(logits, nothing),
        fx.sigmoid_cross_entropy(np.ascontiguousarray(logits.T), nothing.T, axis=0),
    ):
        np.testing.assert_allclose(result, expected, rtol=6 * 2.0**-23)
