"""Anchors of thousands to millions of classes: a vocabulary, a feature map."""

import numpy as np
import pytest
from oracles import stated_ulps

import fastxent as fx

INF, NAN = np.inf, np.nan
ULP = 2.0**-23
SCORES = [fx.softmax, fx.log_softmax, fx.logsumexp]
over_classes = pytest.mark.parametrize("score", SCORES)


def assert_within(result, exact, ulps):
    """Compare with float64, whose own errors are nothing here."""
    errors = np.abs(np.asarray(result, float) / exact - 1) / ULP
    assert np.max(errors) <= ulps


# --- sums of many terms --------------------------------------------------------------------------

#: Of many equal terms, each addition to a sum rounds the same way.
GAPS = np.arange(0.1, 2, 0.3, dtype=np.float32)


def one_above_others(classes, gap, *, anchors):
    """Logits 0, -gap, -gap, ..., and the sum of the others' exponentials."""
    logits = np.full((anchors, classes), -gap, np.float32)
    logits[:, 0] = 0
    return logits, (classes - 1) * np.exp(-float(gap))


def scores_of(others):
    return {
        fx.softmax: 1 / (1 + others),
        fx.log_softmax: -np.log1p(others),
        fx.logsumexp: np.log1p(others),
    }


@over_classes
@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("classes", [5_000, 50_000, 2**20 + 3])
def test_equal_classes_side_by_side(score, classes, gap, isa):
    logits, others = one_above_others(classes, gap, anchors=1)
    result = np.ravel(score(logits))[0]
    assert_within(result, scores_of(others)[score], stated_ulps(score))


@over_classes
@pytest.mark.parametrize("gap", GAPS[::2])
@pytest.mark.parametrize("classes", [50_000, 2**21])
def test_equal_classes_on_the_first_axis(score, classes, gap, isa):
    logits, others = one_above_others(classes, gap, anchors=2)
    result = score(np.ascontiguousarray(logits.T), axis=0)
    first = result if score is fx.logsumexp else result[0]
    assert_within(first, scores_of(others)[score], stated_ulps(score))


@over_classes
def test_equal_classes_in_float64(score, isa):
    logits, others = one_above_others(2**20, GAPS[2], anchors=1)
    result = np.ravel(score(logits.astype(float)))[0]
    assert result == pytest.approx(scores_of(others)[score], rel=1e-14)


@pytest.mark.parametrize("gap", GAPS[::2])
@pytest.mark.parametrize("classes", [5_000, 50_000, 2**19])
def test_losses_of_equal_classes(classes, gap, isa):
    logits, others = one_above_others(classes, gap, anchors=1)
    loss = fx.softmax_cross_entropy(logits, [0])
    assert_within(loss, np.log1p(others), stated_ulps(fx.softmax_cross_entropy))
    negatives = np.log(2) + (classes - 1) * np.log1p(np.exp(-float(gap)))
    loss = fx.sigmoid_cross_entropy(logits, [classes])
    assert_within(loss, negatives, stated_ulps(fx.sigmoid_cross_entropy))
    loss = fx.sigmoid_focal_loss(logits, [classes], alpha=0.25, gamma=0.0)
    assert_within(loss, 0.75 * negatives, stated_ulps(fx.sigmoid_focal_loss))


def test_custom_losses_of_equal_classes():
    pytest.importorskip("numba")

    @fx.custom_loss
    def softplus_of_others(logit, target):
        return fx.math.softplus(logit) - target * logit

    for gap in GAPS[::2]:
        logits, _ = one_above_others(50_000, gap, anchors=1)
        exact = np.log(2) + 49_999 * np.log1p(np.exp(-float(gap)))
        assert_within(softplus_of_others(logits, [50_000]), exact, 4)


# --- where the largest class stands --------------------------------------------------------------


@pytest.mark.parametrize("classes", [65_536, 65_537, 200_003])
@pytest.mark.parametrize("dtype", ["f", "e", "d"])
def test_largest_class_of_a_long_row(classes, dtype, isa):
    places = [0, 1, 17, 65_535, 65_536, 131_071, 131_072, classes - 2, classes - 1]
    places = [place for place in places if place < classes]
    logits = np.full((len(places), classes), -16, dtype)
    logits[np.arange(len(places)), places] = 2
    others = (classes - 1) * np.exp(-18.0)
    result = fx.log_softmax(logits)
    assert_within(result[np.arange(len(places)), places], -np.log1p(others), 4)
    assert_within(result[:, 40_000], -18 - np.log1p(others), 4)
    assert_within(fx.logsumexp(logits), 2 + np.log1p(others), 4)


def test_largest_classes_of_a_long_row(isa):
    """The same maximum in several parts and lanes counts as often as it stands there."""
    logits = np.full((3, 140_000), -60, np.float32)
    logits[0, [5, 6, 70_000]] = 1
    logits[1, [139_999, 65_536]] = 1
    logits[2, [65_535, 65_551]] = 1
    exact = np.log([3.0, 2.0, 2.0])
    assert_within(fx.logsumexp(logits), 1 + exact, 4)
    result = fx.log_softmax(logits)
    assert_within(
        result[[0, 0, 1, 2, 2], [5, 70_000, 65_536, 65_535, 65_551]], -exact[[0, 0, 1, 2, 2]], 4
    )


@pytest.mark.parametrize("place", [0, 65_536, 99_999])
@pytest.mark.parametrize("dtype", ["f", "d"])
def test_limits_of_a_long_row(place, dtype, isa):
    logits = np.zeros((6, 100_000), dtype)
    logits[0, place] = NAN
    logits[1, place] = INF
    logits[2, [place, 70_000]] = INF
    logits[3] = -INF
    logits[4] = -INF
    logits[4, place] = 5
    logsumexp = [NAN, INF, INF, -INF, 5, np.log(1e5)]
    np.testing.assert_allclose(fx.logsumexp(logits), logsumexp, rtol=1e-6)
    one_hot = np.arange(100_000) == place
    softmax, log_softmax = fx.softmax(logits), fx.log_softmax(logits)
    assert np.isnan(softmax[[0, 2, 3]]).all()
    assert np.isnan(log_softmax[[0, 2, 3]]).all()
    np.testing.assert_array_equal(softmax[[1, 4]], [one_hot, one_hot])
    np.testing.assert_array_equal(log_softmax[[1, 4]], np.where([one_hot, one_hot], 0, -INF))
    np.testing.assert_allclose(softmax[5], 1e-5, rtol=1e-6)
