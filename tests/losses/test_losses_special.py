"""NaN and infinite logits: the limits of the formulas, within their anchor alone."""

import numpy as np
import pytest

import fastxent as fx

INF, NAN = np.inf, np.nan

SIGMOID_LIMITS = [  # logit, target, loss
    (INF, 1, 0.0),
    (INF, 0, INF),
    (-INF, 1, INF),
    (-INF, 0, 0.0),
    (INF, 0.5, INF),
    (-INF, 0.5, INF),
    (NAN, 1, NAN),
    (NAN, 0, NAN),
]

SOFTMAX_LIMITS = [  # logits, class, loss
    ([INF, 0, 1], 0, 0.0),
    ([INF, 0, 1], 1, INF),
    ([INF, -INF, 1], 0, 0.0),
    ([INF, INF, 1], 0, NAN),
    ([INF, INF, 1], 2, NAN),
    ([-INF, 0, 0], 0, INF),
    ([-INF, 0, 0], 1, np.log(2)),
    ([-INF, -INF, 5], 2, 0.0),
    ([-INF, -INF, -INF], 1, NAN),
    ([NAN, 0, 0], 1, NAN),
    ([NAN, INF, 0], 1, NAN),
]


@pytest.fixture(params=[np.float32, np.float64])
def dtype(request):
    return request.param


# Kernels differ for few classes (anchors as lanes) and for many (classes as lanes).
@pytest.fixture(params=[3, 40])
def classes(request):
    return request.param


def widened(rows, classes, dtype):
    """Append logits of -inf, which change nothing, up to a number of classes."""
    logits = np.full((len(rows), classes), -INF, dtype=dtype)
    logits[:, :3] = rows
    return logits


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("axis", [-1, 0])
def test_softmax(dense, axis, dtype, classes, backend):
    rows, labels, expected = zip(*SOFTMAX_LIMITS, strict=True)
    logits = widened(rows, classes, dtype)
    targets = np.eye(classes)[list(labels)] if dense else np.array(labels)
    if axis == 0:
        logits, targets = logits.T.copy(), targets.T.copy()
    result = fx.softmax_cross_entropy(logits, targets, axis=axis)
    np.testing.assert_allclose(result, expected, rtol=1e-6)


@pytest.mark.parametrize("reduction", ["anchor", "none"])
def test_sigmoid(reduction, dtype, backend):
    logits, targets, expected = map(np.array, zip(*SIGMOID_LIMITS, strict=True))
    result = fx.sigmoid_cross_entropy(logits.astype(dtype), targets, axis=None, reduction=reduction)
    np.testing.assert_array_equal(result, expected)
    result = fx.sigmoid_cross_entropy(logits.astype(dtype)[:, None], targets[:, None])
    np.testing.assert_array_equal(result, expected)


def test_sigmoid_of_many_classes(dtype, classes, backend):
    """An anchor's loss is infinite if one of its terms is, and zero if all are."""
    logits = widened([[INF, -INF, -INF], [INF, -INF, 700], [INF, NAN, -INF]], classes, dtype)
    result = fx.sigmoid_cross_entropy(logits, [0, 1, 0])
    np.testing.assert_array_equal(result, [0, INF, NAN])
    dense = np.zeros((3, classes))
    dense[:, 0] = 1
    result = fx.sigmoid_cross_entropy(logits, dense)
    np.testing.assert_allclose(result, [0, 700, NAN], rtol=1e-6)


@pytest.mark.parametrize("dense", [False, True])
def test_a_factor_of_zero_removes_an_infinite_term(dense, dtype, classes, backend):
    logits = np.zeros((1, classes), dtype)
    logits[0, 1] = INF
    target = np.eye(classes)[[0]] if dense else np.array([0])
    kept = np.ones(classes)
    kept[1] = 0
    left = (classes - 1) * np.log(2)
    for options in ({"class_weight": kept}, {"weight": kept[None]}):
        result = fx.sigmoid_cross_entropy(logits, target, **options)
        np.testing.assert_allclose(result, [left], rtol=1e-6)
        result = fx.sigmoid_cross_entropy(-logits, target, **options)
        np.testing.assert_allclose(result, [left], rtol=1e-6)
    positive = np.eye(classes)[[1]] if dense else np.array([1])
    result = fx.sigmoid_cross_entropy(-logits, positive, pos_weight=kept)
    np.testing.assert_allclose(result, [left], rtol=1e-6)
    for weight in (0, np.zeros(1)):
        for loss in (fx.sigmoid_cross_entropy, fx.softmax_cross_entropy):
            assert loss(logits, target, weight=weight) == 0
            assert loss(logits, target, weight=weight, reduction="sum") == 0
    assert fx.softmax_cross_entropy(logits, target, class_weight=1 - kept) == 0
    per_logit = fx.sigmoid_cross_entropy(logits, target, weight=np.zeros(1), reduction="none")
    assert (per_logit == 0).all()


def test_no_factor_removes_a_nan(dtype, classes, backend):
    logits = np.zeros((1, classes), dtype)
    logits[0, 1] = NAN
    for loss in (fx.sigmoid_cross_entropy, fx.softmax_cross_entropy):
        for options in ({"class_weight": np.zeros(classes)}, {"weight": 0}, {"weight": [0.0]}):
            assert np.isnan(loss(logits, [0], **options))
            assert np.isnan(loss(logits, np.zeros((1, classes)), **options))


@pytest.mark.parametrize("loss", [fx.sigmoid_cross_entropy, fx.softmax_cross_entropy])
@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("axis", [-1, 0])
@pytest.mark.parametrize("labelled", [True, False])
def test_other_anchors_do_not_notice(loss, value, axis, labelled, dtype, classes, backend):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (131, classes)).astype(dtype)
    targets = rng.integers(0, classes, len(logits))
    if not labelled:
        targets = np.eye(classes)[targets]
    clean = loss(logits, targets)
    special = np.zeros(len(logits), dtype=bool)
    special[[0, 5, 17, 64, 130]] = True
    logits[special, rng.integers(0, classes, special.sum())] = value
    if axis == 0:
        logits, targets = logits.T, targets.T
    result = loss(logits, targets, axis=axis)
    np.testing.assert_allclose(result[~special], clean[~special], rtol=1e-6)
    if np.isnan(value):
        assert np.isnan(result[special]).all()


@pytest.mark.parametrize("loss", [fx.binary_cross_entropy, fx.categorical_cross_entropy])
def test_nan_probabilities(loss, dtype, classes, backend):
    rng = np.random.default_rng(0)
    probs = rng.random((40, classes)).astype(dtype)
    labels = rng.integers(0, classes, len(probs))
    clean = loss(probs, labels)
    probs[7, -1] = NAN
    result = loss(probs, labels)
    assert np.isnan(result[7])
    np.testing.assert_allclose(np.delete(result, 7), np.delete(clean, 7), rtol=1e-6)


def test_probabilities_that_rounding_took_out_of_the_unit_interval(dtype, backend):
    probs = np.array([-9e-7, -0.0, 0, 1, 1 + 9e-7], dtype=dtype)
    low, high = -np.log(1e-7), -np.log1p(-1e-7)
    result = fx.binary_cross_entropy(probs, np.ones(5), axis=None)
    np.testing.assert_allclose(result, [low, low, low, high, high], rtol=1e-6)
    result = fx.binary_cross_entropy(probs, np.zeros(5), axis=None)
    np.testing.assert_allclose(result, [high, high, high, low, low], rtol=1e-6)
    rows = np.array([[-9e-7, 2], [0, 3], [0, 0], [INF, 1], [NAN, 1]], dtype=dtype)
    result = fx.categorical_cross_entropy(rows, [0, 1, 0, 1, 1])
    np.testing.assert_allclose(result, [low, high, NAN, NAN, NAN], rtol=1e-6)


def test_finite_logits_have_finite_losses(dtype, backend):
    """As long as the exact loss is: the sum over classes may be more than the largest float."""
    largest = np.finfo(dtype).max
    logits = np.array([[largest, -largest], [-largest, largest / 2]], dtype=dtype)
    np.testing.assert_array_equal(fx.softmax_cross_entropy(logits, [0, 1]), 0)
    np.testing.assert_array_equal(fx.sigmoid_cross_entropy(logits, [0, 1]), 0)
    result = fx.sigmoid_cross_entropy(logits, [2, 2])
    np.testing.assert_allclose(result, [largest, largest / 2], rtol=1e-6)
    assert fx.sigmoid_cross_entropy(logits, [1, 2])[0] == INF
    assert fx.softmax_cross_entropy(logits[1:], [0])[0] == INF


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_sums_show_what_is_wrong(reduction, backend):
    logits = np.zeros((10, 3), dtype=np.float32)
    labels = np.zeros(10, dtype=int)
    logits[3, 0] = -INF
    assert fx.softmax_cross_entropy(logits, labels, reduction=reduction) == INF
    logits[4, 0] = NAN
    assert np.isnan(fx.softmax_cross_entropy(logits, labels, reduction=reduction))
