"""The losses against scikit-learn's private ones, which its boosting and its GLMs use."""

import numpy as np
import pytest

import fastxent as fx

losses = pytest.importorskip("sklearn._loss.loss")


def raw_predictions(shape):
    return np.random.default_rng(0).normal(0, 5, shape)


@pytest.mark.parametrize("weighted", [False, True])
def test_binomial(weighted, backend):
    raw = raw_predictions(500)
    targets = np.random.default_rng(1).random(500)
    weight = np.random.default_rng(2).random(500) if weighted else None
    expected = losses.HalfBinomialLoss().loss(targets, raw, sample_weight=weight)
    result = fx.sigmoid_cross_entropy(raw, targets, axis=None, weight=weight)
    np.testing.assert_allclose(result, expected, rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_multinomial(weighted, backend):
    raw = raw_predictions((500, 6))
    labels = np.random.default_rng(1).integers(0, 6, 500)
    weight = np.random.default_rng(2).random(500) if weighted else None
    peer = losses.HalfMultinomialLoss(n_classes=6)
    expected = peer.loss(labels.astype(float), raw, sample_weight=weight)
    np.testing.assert_allclose(
        fx.softmax_cross_entropy(raw, labels, weight=weight), expected, rtol=1e-12, atol=1e-15
    )
