"""Anchors of thousands to millions of classes: a vocabulary, a feature map, one long vector."""

import numpy as np
import pytest
from scipy import special
from support.oracles import stated_ulps

import fastxent as fx
from fastxent import _config
from fastxent._call import class_scores

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


# --- more classes than floats can number ---------------------------------------------------------

SIZE = 2**24 + 17


@pytest.fixture(scope="module", params=["f", "e"])
def vector(request):
    """Logits, the largest of which has a number that is no float32, and their scores in float64."""
    logits = np.random.default_rng(10).normal(0, 3, SIZE).astype(request.param)
    largest = 2**24 + 13
    logits[largest - 1 : largest + 2] = 16.4, 16.5, 16.4
    z = logits.astype(float)
    others = np.exp(np.delete(z, largest) - 16.5).sum()
    log_softmax = (z - z.max()) - np.log1p(others)
    exact = {
        fx.softmax: np.exp(log_softmax),
        fx.log_softmax: log_softmax,
        fx.logsumexp: 16.5 + np.log1p(others),
    }
    return logits, exact


@over_classes
def test_a_vector_of_more_than_2_to_the_24(score, vector, backend):
    logits, exact = vector
    assert_within(score(logits), exact[score], stated_ulps(score))


@over_classes
def test_such_a_vector_among_others(score, vector, backend):
    logits, exact = vector
    columns = np.full((SIZE, 2), -77, logits.dtype)
    columns[:, 1] = logits
    result = score(columns[:, 1])
    assert_within(result, exact[score], stated_ulps(score))


@pytest.mark.parametrize("score", [fx.softmax, fx.log_softmax])
def test_such_a_vector_in_place(score, vector, backend):
    logits, exact = vector
    logits = logits.astype(np.float32)
    assert score(logits, out=logits) is logits
    assert_within(logits, exact[score], stated_ulps(score))


def test_such_an_array_as_one(vector, backend):
    logits, exact = vector
    square = logits[: 2**24].reshape(4096, 4096)
    more = np.log(np.exp(exact[fx.log_softmax][2**24 :]).sum())
    expected = exact[fx.logsumexp] + np.log1p(-np.exp(more))
    assert_within(fx.logsumexp(square, axis=None), expected, 4)
    tall = np.concatenate([square.T, square.T])
    assert_within(fx.logsumexp(tall, axis=(0, 1)), expected + np.log(2), 4)


@pytest.mark.parametrize("value", [np.int8(3), np.float64(3), np.float16(3), True])
def test_values_that_are_all_the_same_one(value, backend):
    """An array whose strides are 0."""
    result = fx.logsumexp(np.broadcast_to(value, SIZE))
    assert result == pytest.approx(float(value) + np.log(SIZE), rel=4 * ULP)


@over_classes
@pytest.mark.parametrize("classes", [900, 1500, 2500])
@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("dtype", ["e", "f", "d"])
def test_what_kernels_cannot_number_goes_by_parts(
    score, classes, step, dtype, backend, monkeypatch
):
    """Limits are lowered, to those of this test: results are the same on both sides of them."""
    monkeypatch.setattr(class_scores, "MOST_CLASSES", 1000)
    monkeypatch.setattr(_config.backend_module(), "MOST_ROW_CLASSES", 2000)
    monkeypatch.setattr(class_scores, "PART_SIZE", 700)
    logits = np.random.default_rng(3).normal(0, 3, (5, classes * step)).astype(dtype)[:, ::step]
    peer = getattr(special, score.__name__)
    expected = peer(logits.astype(float), axis=1)
    result = score(logits)
    np.testing.assert_allclose(result, expected, rtol=1e-12 if dtype == "d" else 1e-6)
    result = score(logits.T, axis=0)
    np.testing.assert_allclose(result.T, expected, rtol=1e-12 if dtype == "d" else 1e-6)
