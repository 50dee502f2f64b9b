"""Few anchors of so many classes that a tile has no more lanes than there are anchors."""

import ml_dtypes
import numpy as np
import pytest
from scipy import special

import fastxent as fx

CLASSES = 16_500  # 16 lanes of them take more than a MiB
ANCHORS = [1, 3, 7, 8, 9, 12, 15, 16, 17]
#: Of the results; rounding to bfloat16 is an error of up to 2^-9.
RTOL = {"float32": 3e-6, "float64": 1e-13, "bfloat16": 4e-3}

every_dtype = pytest.mark.parametrize("dtype", RTOL)
every_count = pytest.mark.parametrize("anchors", ANCHORS)


def every_other(array):
    """Return the same values with something between them."""
    view = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)[..., ::2]
    view[...] = array
    return view


def logits_of(anchors, dtype):
    rng = np.random.default_rng(anchors)
    dtype = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    logits = rng.normal(0, 3, (anchors, CLASSES)).astype(dtype)
    labels = rng.integers(0, CLASSES, anchors)
    return every_other(logits), logits.astype(np.float64), labels


def assert_near(result, expected, rtol):
    result = np.asarray(result, np.float64)
    np.testing.assert_allclose(result, expected, rtol, rtol * np.abs(expected).max())


@every_dtype
@every_count
def test_softmax_cross_entropy_with_gradient(anchors, dtype, isa):
    logits, exact, labels = logits_of(anchors, dtype)
    loss, grad = fx.softmax_cross_entropy(logits, labels, return_grad=True)
    rows = np.arange(anchors)
    expected = special.softmax(exact, axis=1)
    expected[rows, labels] -= 1
    assert_near(loss, special.logsumexp(exact, axis=1) - exact[rows, labels], 1e-6)
    assert_near(grad, expected, RTOL[dtype])


@every_dtype
@every_count
def test_dense_categorical_cross_entropy_with_gradient(anchors, dtype, isa):
    logits, _, labels = logits_of(anchors, dtype)
    probs = every_other(np.abs(logits) + np.ones((), logits.dtype))
    exact = probs.astype(np.float64)
    rows = np.arange(anchors)
    dense = every_other(np.zeros((anchors, CLASSES), np.float32))
    dense[rows, labels] = 1
    loss, grad = fx.categorical_cross_entropy(probs, dense, eps=1e-12, return_grad=True)
    total, own = exact.sum(1), exact[rows, labels]
    expected = np.repeat(1 / total[:, None], CLASSES, 1)
    expected[rows, labels] -= 1 / own
    assert_near(loss, np.log(total / own), 1e-6)
    assert_near(grad, expected, RTOL[dtype])


@every_dtype
@every_count
def test_weighted_sigmoid_focal_loss_with_gradient(anchors, dtype, isa):
    logits, exact, _ = logits_of(anchors, dtype)
    weight = every_other(np.random.default_rng(0).random((anchors, CLASSES), np.float32))
    dense = every_other(np.zeros((anchors, CLASSES), np.float32))
    loss, grad = fx.sigmoid_focal_loss(
        logits, dense, alpha=None, weight=weight, reduction="none", return_grad=True
    )
    p, softplus = special.expit(exact), np.logaddexp(0, exact)
    assert_near(loss, weight * p**2 * softplus, 3e-6 if dtype != "float64" else 1e-13)
    slope = p**2 * (2 * (1 - p) * softplus + p)
    assert_near(grad, weight * slope, RTOL[dtype])


@every_dtype
@every_count
def test_scores(anchors, dtype, isa):
    logits, exact, _ = logits_of(anchors, dtype)
    rtol = 3e-6 if dtype != "float64" else 1e-13
    assert_near(fx.softmax(logits), special.softmax(exact, axis=1), rtol)
    assert_near(fx.log_softmax(logits), special.log_softmax(exact, axis=1), rtol)
    assert_near(fx.logsumexp(logits), special.logsumexp(exact, axis=1), rtol)
    if dtype != "bfloat16":
        assert_near(fx.softmax(logits, out=logits), special.softmax(exact, axis=1), rtol)
