"""Gradients against scikit-learn's private ones, which its boosting and its GLMs descend on."""

import numpy as np
import pytest

import fastxent as fx

losses = pytest.importorskip("sklearn._loss.loss")


def predictions(shape):
    return np.random.default_rng(0).normal(0, 5, shape)


@pytest.mark.parametrize("weighted", [False, True])
def test_binomial(weighted, backend):
    raw = predictions(500)
    targets = np.random.default_rng(1).random(500)
    weight = np.random.default_rng(2).random(500) if weighted else None
    loss, gradient = losses.HalfBinomialLoss().loss_gradient(targets, raw, sample_weight=weight)
    result = fx.sigmoid_cross_entropy(raw, targets, axis=None, weight=weight, return_grad=True)
    np.testing.assert_allclose(result[0], loss, rtol=1e-12)
    np.testing.assert_allclose(result[1], gradient, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("axis", [-1, 0])
@pytest.mark.parametrize("classes", [3, 6, 40])
def test_multinomial(classes, axis, weighted, backend):
    raw = predictions((500, classes))
    labels = np.random.default_rng(1).integers(0, classes, 500)
    weight = np.random.default_rng(2).random(500) if weighted else None
    loss, gradient = losses.HalfMultinomialLoss(n_classes=classes).loss_gradient(
        labels.astype(float), raw, sample_weight=weight
    )
    logits = raw if axis == -1 else raw.T
    result = fx.softmax_cross_entropy(logits, labels, axis=axis, weight=weight, return_grad=True)
    np.testing.assert_allclose(result[0], loss, rtol=1e-12, atol=1e-15)
    turned = result[1] if axis == -1 else result[1].T
    np.testing.assert_allclose(turned, gradient, rtol=1e-12, atol=1e-15)
