"""Numbers that can be looked up, or worked out on paper."""

import numpy as np
import pytest

import fastxent as fx

# The numbers have eight digits, and float32 holds 0.9 to seven.
RTOL = 5e-7

BINARY = ([0.8, 0.2, 0.9], [1, 0, 1], [0.22314353, 0.22314353, 0.10536051])
CATEGORICAL = (
    [[0.1, 0.7, 0.2], [0.4, 0.3, 0.3], [0.2, 0.1, 0.7]],
    [1, 0, 2],
    [0.35667494, 0.91629073, 0.35667494],
)
MULTI_LABEL = (
    [[0.8, 0.6, 0.3], [0.2, 0.1, 0.9], [0.9, 0.7, 0.2]],
    [[1, 1, 0], [0, 0, 1], [1, 1, 0]],
    [0.36354804, 0.14462154, 0.22839303],
)


@pytest.fixture(params=[np.float32, np.float64])
def dtype(request):
    return request.param


def test_binary(dtype, backend):
    probs, targets, expected = BINARY
    probs = np.array(probs, dtype)
    result = fx.binary_cross_entropy(probs, targets, axis=None)
    np.testing.assert_allclose(result, expected, rtol=RTOL)
    result = fx.sigmoid_cross_entropy(fx.logit(probs), targets, axis=None)
    np.testing.assert_allclose(result, expected, rtol=RTOL)


def test_categorical(dtype, backend):
    probs, labels, expected = CATEGORICAL
    probs = np.array(probs, dtype)
    np.testing.assert_allclose(fx.categorical_cross_entropy(probs, labels), expected, rtol=RTOL)
    np.testing.assert_allclose(
        fx.categorical_cross_entropy(probs, np.eye(3)[labels]), expected, rtol=RTOL
    )
    np.testing.assert_allclose(fx.softmax_cross_entropy(np.log(probs), labels), expected, rtol=RTOL)


def test_multi_label(dtype, backend):
    probs, targets, expected = MULTI_LABEL
    probs = np.array(probs, dtype)
    np.testing.assert_allclose(fx.binary_cross_entropy(probs, targets), expected, rtol=RTOL)
    mean = fx.binary_cross_entropy(probs, targets, reduction="mean")
    assert mean == pytest.approx(0.24552, abs=5e-6)
    logits = fx.logit(probs)
    result = fx.sigmoid_cross_entropy(logits, targets)
    np.testing.assert_allclose(result / 3, expected, rtol=RTOL)
    per_logit = fx.sigmoid_cross_entropy(logits, targets, reduction="none")
    assert per_logit.mean() == pytest.approx(0.24552, abs=5e-6)


def test_tiny_softmax_loss(backend):
    result = fx.softmax_cross_entropy(np.array([[20.0, 0.0]], dtype=np.float32), [0])
    assert result.dtype == np.float32
    assert result[0] == np.float32(2.0611537e-09)


def test_even_odds(backend):
    """Of two classes that are equally likely either one costs one bit; of C, log2(C)."""
    assert fx.sigmoid_cross_entropy(np.float64(0), 1, axis=None) == pytest.approx(np.log(2))
    np.testing.assert_allclose(fx.softmax_cross_entropy(np.zeros((3, 8)), [0, 3, 7]), np.log(8))
    np.testing.assert_allclose(fx.sigmoid_cross_entropy(np.zeros((2, 8)), [0, 8]), 8 * np.log(2))


def test_two_classes_are_one_question(backend):
    """Softmax over (0, z) is the sigmoid of z."""
    z = np.linspace(-30, 30, 61)
    two = np.stack([np.zeros_like(z), z], axis=1)
    for label in (0, 1):
        labels = np.full(61, label)
        np.testing.assert_allclose(
            fx.softmax_cross_entropy(two, labels),
            fx.sigmoid_cross_entropy(z, labels, axis=None),
            rtol=1e-14,
        )
