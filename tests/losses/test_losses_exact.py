"""Per-anchor losses against exact ones, in units of the last place."""

import numpy as np
import pytest
from support.oracles import (
    assert_accurate,
    exact_binary_cross_entropy,
    exact_categorical_cross_entropy,
    exact_sigmoid_cross_entropy,
    exact_softmax_cross_entropy,
    one_hot,
    stated_ulps,
)

import fastxent as fx

FLOAT32 = np.finfo(np.float32)

EXACT = {
    fx.sigmoid_cross_entropy: exact_sigmoid_cross_entropy,
    fx.softmax_cross_entropy: exact_softmax_cross_entropy,
    fx.binary_cross_entropy: exact_binary_cross_entropy,
    fx.categorical_cross_entropy: exact_categorical_cross_entropy,
}
FROM_LOGITS = (fx.sigmoid_cross_entropy, fx.softmax_cross_entropy)
FROM_PROBS = (fx.binary_cross_entropy, fx.categorical_cross_entropy)

# Values at which exp, log1p or their range reduction change their ways; small losses and large.
EXTREME_LOGITS = np.array(
    [
        [0.0, -0.0, 1e-45],
        [20.0, 0.0, -20.0],
        [88.7, -88.7, 0.0],
        [104.0, -104.0, 1.0],
        [-87.5, -90.0, -103.0],
        [1e-30, -1e-30, 1e-8],
        [FLOAT32.max, 0.0, -1.0],
        [-FLOAT32.max, -1e30, -1e30],
        [FLOAT32.tiny, -FLOAT32.tiny, 3e-42],
        [16.63553, 17.32868, -16.63553],
        [3e4, 3e4 - 0.0625, 2.9e4],
        [-1000.0, -999.5, -1003.0],
    ],
    dtype=np.float32,
)


def exact_losses(loss, values, targets):
    return np.array([EXACT[loss](v, y) for v, y in zip(values, targets, strict=True)])


@pytest.mark.parametrize("loss", FROM_LOGITS)
@pytest.mark.parametrize("column", [0, 1, 2])
def test_extreme_logits(loss, column, isa):
    labels = np.full(len(EXTREME_LOGITS), column)
    result = loss(EXTREME_LOGITS, labels)
    exact = exact_losses(loss, EXTREME_LOGITS, one_hot(labels, 3))
    assert_accurate(result, exact, stated_ulps(loss))


@pytest.mark.parametrize("loss", FROM_LOGITS)
def test_extreme_logits_of_the_reference(loss):
    """The reference rounds float64 once, so it is off by little more than half a unit."""
    for column in range(3):
        labels = np.full(len(EXTREME_LOGITS), column)
        result = loss(EXTREME_LOGITS, labels, backend="numpy")
        assert_accurate(result, exact_losses(loss, EXTREME_LOGITS, one_hot(labels, 3)), 0.51)


@pytest.mark.parametrize("loss", FROM_PROBS)
@pytest.mark.parametrize("column", [0, 1, 2])
def test_probabilities_of_the_reference(loss, column):
    """Labels of the largest probability and of others: their formulas differ."""
    rng = np.random.default_rng(column)
    probs = rng.random((40, 3)).astype(np.float32) ** np.float32(8)
    labels = np.full(len(probs), column)
    result = loss(probs, labels, backend="numpy")
    assert_accurate(result, exact_losses(loss, probs, one_hot(labels, 3)), 0.51)


@pytest.mark.parametrize("loss", FROM_LOGITS)
@pytest.mark.parametrize("classes", [1, 2, 3, 4, 15, 16, 17, 31, 32, 33, 80, 1203])
@pytest.mark.parametrize("spread", [0.1, 1.0, 10.0, 100.0])
def test_random_logits(loss, classes, spread, isa):
    rng = np.random.default_rng([classes, int(10 * spread)])
    anchors = max(2, 400 // classes)
    logits = rng.normal(0, spread, (anchors, classes)).astype(np.float32)
    if classes > 1:
        targets = rng.integers(0, classes, anchors)
        dense = one_hot(targets, classes)
    else:
        targets = dense = rng.integers(0, 2, (anchors, 1))
    assert_accurate(loss(logits, targets), exact_losses(loss, logits, dense), stated_ulps(loss))


@pytest.mark.parametrize("loss", FROM_LOGITS)
@pytest.mark.parametrize("kind", [np.bool_, np.int8, np.float32, np.float64])
def test_dense_targets(loss, kind, isa):
    rng = np.random.default_rng(5)
    logits = rng.normal(0, 5, (40, 21)).astype(np.float32)
    # float32 holds eighths exactly, so that the exact loss is that of the same targets.
    targets = (rng.integers(0, 9, (40, 21)) / 8).astype(kind)
    assert_accurate(loss(logits, targets), exact_losses(loss, logits, targets), stated_ulps(loss))


@pytest.mark.parametrize("loss", FROM_PROBS)
@pytest.mark.parametrize("classes", [2, 4, 16, 21, 80, 300])
def test_random_probabilities(loss, classes, isa):
    rng = np.random.default_rng(classes)
    # Powers spread them over many magnitudes, towards 0 and towards 1.
    probs = rng.random((30, classes)).astype(np.float32) ** np.float32(8)
    probs[::2] = 1 - probs[::2]
    labels = rng.integers(0, classes, len(probs))
    exact = exact_losses(loss, probs, one_hot(labels, classes))
    assert_accurate(loss(probs, labels), exact, stated_ulps(loss))
    assert_accurate(loss(probs.T.copy(), labels, axis=0), exact, stated_ulps(loss))


@pytest.mark.parametrize("loss", FROM_PROBS)
@pytest.mark.parametrize("eps", [1e-7, 1e-12, 1e-3, 0.4])
def test_clipping(loss, eps, isa):
    near_one = np.float32([1 - 2**-24, 1 - 2**-23, 1 - 2**-10])
    rows = [[p, 1 - p] for p in (0, 1e-38, 1e-12, 1e-8, 1e-7, 1e-3, 0.5, *near_one, 1)]
    probs = np.array(rows, dtype=np.float32)
    for column in (0, 1):
        labels = np.full(len(probs), column)
        pairs = zip(probs, one_hot(labels, 2), strict=True)
        exact = np.array([EXACT[loss](p, y, eps) for p, y in pairs])
        assert_accurate(loss(probs, labels, eps=eps), exact, stated_ulps(loss))


@pytest.mark.parametrize("loss", FROM_LOGITS)
def test_float64(loss, isa):
    rng = np.random.default_rng(8)
    logits = rng.normal(0, 10, (50, 21))
    logits[:10] *= 30
    labels = rng.integers(0, 21, 50)
    assert_accurate(loss(logits, labels), exact_losses(loss, logits, one_hot(labels, 21)), 8)


@pytest.mark.parametrize(
    ("margin", "expected"),
    [(20, 2.0611536181902037e-09), (50, 1.928749847963918e-22), (90, 8.194012623990515e-40)],
)
def test_small_losses_are_not_zero(margin, expected, backend):
    """A confident anchor's loss is exp(-margin), to the last digits."""
    result = fx.softmax_cross_entropy(np.float32([[margin, 0]]), [0])
    np.testing.assert_allclose(result, [expected], rtol=2e-6 if margin == 90 else 3e-7)
    result = fx.sigmoid_cross_entropy(np.float32([margin]), [1], axis=None)
    np.testing.assert_allclose(result, [expected], rtol=2e-6 if margin == 90 else 3e-7)
