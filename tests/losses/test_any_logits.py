"""Logits that are not moderate: masked classes, one that dominates, hundreds, masked labels.

Their results are as accurate as those of others, and an anchor's own: neighbours in a kernel's
vector, whatever they are, change none of its bits.
"""

import functools

import hypothesis
import hypothesis.strategies as st
import mpmath
import numpy as np
import pytest
from hypothesis.extra import numpy as hnp
from scipy import special
from support.oracles import assert_accurate, exact_log_softmax, stated_ulps

import fastxent as fx
from fastxent._catalogue import LOSSES

NAMES = ("softmax_cross_entropy", "softmax_focal_loss", "poly1_cross_entropy")
ANCHORS = 38
KINDS = ("masked", "large negative", "first masked", "dominated", "hundreds", "labels masked")


def logits_of(kind, rng, classes, dtype=np.float32):
    """Return logits and labels."""
    z = rng.normal(0, 2, (ANCHORS, classes))
    labels = rng.integers(0, classes, ANCHORS)
    others = np.arange(classes) != labels[:, None]
    hit = others & (rng.random(z.shape) < 0.5)
    if kind == "masked":
        z[hit] = -np.inf
    elif kind == "large negative":
        z[hit] = -6e4 if dtype == np.float16 else -1e9
    elif kind == "first masked":
        z[others[:, 0], 0] = -np.inf
    elif kind == "dominated":
        z[:, classes // 2] += 200
    elif kind == "hundreds":
        z *= 100
    else:
        z[~others & (rng.random(ANCHORS) < 0.5)[:, None]] = -np.inf
    return z.astype(dtype), labels


@functools.cache
def exact_case(kind, classes):
    """Return logits, labels, and the exact logarithms of the probabilities."""
    logits, labels = logits_of(kind, np.random.default_rng(classes), classes)
    return logits, labels, np.array([exact_log_softmax(row) for row in logits])


def exact_losses(name, logs, labels):
    """Return the losses of labels by default options."""
    nll = -logs[np.arange(len(labels)), labels]
    if name == "softmax_cross_entropy":
        return nll
    exact = []
    for row, label, loss in zip(logs, labels, nll, strict=True):
        # Not 1 - p, which cancels.
        q = mpmath.fsum(mpmath.exp(x) for k, x in enumerate(row) if k != label)
        exact.append(q**2 * loss if name == "softmax_focal_loss" else loss + q)
    return np.array(exact)


@pytest.mark.parametrize("classes", [2, 3, 4, 10, 21, 80, 91, 200])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_losses_are_exact(name, kind, classes, isa):
    logits, labels, logs = exact_case(kind, classes)
    loss = getattr(fx, name)
    exact = exact_losses(name, logs, labels)
    ulps = LOSSES[name].bounds.of(LOSSES[name].gamma)[0]
    finite = np.array([mpmath.isfinite(x) for x in exact])
    turned = np.ascontiguousarray(logits.T)
    for result in (
        loss(logits, labels),
        loss(logits, labels, return_grad=True)[0],
        loss(turned, labels, axis=0),
        loss(turned, labels, axis=0, return_grad=True)[0],
    ):
        assert_accurate(result[finite], exact[finite], ulps)
        assert np.array_equal(np.isposinf(result), ~finite)


@pytest.mark.parametrize("classes", [2, 4, 21, 80])
@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_exact(kind, classes, isa):
    logits, _, exact_logs = exact_case(kind, classes)
    exact = np.array([mpmath.exp(x) for x in exact_logs.flat])
    for axis in (-1, 0):
        values = logits if axis else np.ascontiguousarray(logits.T)
        scores = fx.softmax(values, axis=axis)
        assert_accurate((scores if axis else scores.T).ravel(), exact, stated_ulps(fx.softmax))
        logs = fx.log_softmax(values, axis=axis)
        logs, masked = logs if axis else logs.T, np.isneginf(logits)
        assert np.array_equal(np.isneginf(logs), masked)
        assert_accurate(logs[~masked], exact_logs[~masked], stated_ulps(fx.log_softmax))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("axis", [-1, 0])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_the_probabilities(kind, axis, dtype, isa):
    classes = 37
    logits, labels = logits_of(kind, np.random.default_rng(1), classes, dtype)
    expected = special.softmax(logits.astype(np.float64), axis=1)
    expected[np.arange(ANCHORS), labels] -= 1
    values = logits if axis else np.ascontiguousarray(logits.T)
    _, gradient = fx.softmax_cross_entropy(values, labels, axis=axis, return_grad=True)
    gradient = gradient if axis else gradient.T
    tolerance = {2: 2e-3, 4: 1e-6, 8: 1e-14}[np.dtype(dtype).itemsize]
    np.testing.assert_allclose(gradient.astype(np.float64), expected, rtol=tolerance, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_masked_classes_of_dense_targets(name, isa):
    """A target of 0 takes an infinite term away, a larger one keeps it."""
    rng = np.random.default_rng(5)
    logits, _ = logits_of("masked", rng, 12)
    dense = np.where(np.isneginf(logits), 0, rng.uniform(0.1, 1, logits.shape)).astype(np.float32)
    loss = getattr(fx, name)
    result, gradient = loss(logits, dense, return_grad=True)
    kept = [np.isfinite(row) for row in logits]
    alone = [
        loss(row[keep][None], y[keep][None])[0]
        for row, y, keep in zip(logits, dense, kept, strict=True)
    ]
    np.testing.assert_allclose(result, alone, rtol=3e-6)
    assert (gradient[np.isneginf(logits)] == 0).all()
    dense[3, np.flatnonzero(~kept[3])[0]] = 0.5
    assert np.array_equal(np.isposinf(loss(logits, dense)), np.arange(ANCHORS) == 3)


@pytest.mark.parametrize("name", NAMES)
def test_a_class_weight_of_zero_takes_an_infinite_loss_away(name, isa):
    logits = np.array([[0.0, -np.inf, 1.0], [np.nan, -np.inf, 1.0]], np.float32)
    logits = np.repeat(logits, 20, axis=0)
    weights = np.array([1.0, 0.0, 1.0])
    result = getattr(fx, name)(logits, np.ones(40, int), class_weight=weights)
    assert (result[:20] == 0).all()
    assert np.isnan(result[20:]).all()


NEIGHBOURS = {
    "NaN": np.nan,
    "+inf": np.inf,
    "-inf": -np.inf,
    "hundreds": 700.0,
    "largest": np.finfo(np.float32).max,
}


def results_of(logits, labels, axis):
    """Return what the softmax family computes of some anchors, anchors first."""
    values = logits if axis else np.ascontiguousarray(logits.T)
    results = [fx.logsumexp(values, axis=axis)]
    scores = [fx.softmax(values, axis=axis), fx.log_softmax(values, axis=axis)]
    for name in NAMES:
        loss, gradient = getattr(fx, name)(values, labels, axis=axis, return_grad=True)
        results += [getattr(fx, name)(values, labels, axis=axis), loss]
        scores.append(gradient)
    return [*results, *(score if axis else score.T for score in scores)]


@pytest.mark.parametrize("axis", [-1, 0])
@pytest.mark.parametrize("classes", [2, 4, 9, 80])
@pytest.mark.parametrize("neighbours", NEIGHBOURS)
def test_neighbours_change_nothing(neighbours, classes, axis, isa):
    rng = np.random.default_rng(classes)
    logits, labels = logits_of("masked", rng, classes)
    expected = results_of(logits, labels, axis)
    odd = rng.random(ANCHORS) < 0.5
    strange = logits.copy()
    strange[odd, classes // 2] = NEIGHBOURS[neighbours]
    for result, before in zip(results_of(strange, labels, axis), expected, strict=True):
        assert result[~odd].tobytes() == before[~odd].tobytes()


@hypothesis.given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 20), st.integers(2, 40)),
        elements=st.floats(-1000, 1000, width=32),
    ),
    st.data(),
)
@hypothesis.settings(max_examples=60)
def test_a_masked_class_is_worth_none(logits, data):
    """A class of -inf is as if it were not there, wherever it stands."""
    anchors, classes = logits.shape
    labels = data.draw(hnp.arrays(np.int64, anchors, elements=st.integers(0, classes - 1)))
    place = data.draw(st.integers(0, classes))
    masked = np.insert(logits, place, -np.inf, axis=1)
    moved = labels + (labels >= place)
    loss, gradient = fx.softmax_cross_entropy(masked, moved, return_grad=True)
    np.testing.assert_allclose(loss, fx.softmax_cross_entropy(logits, labels), rtol=2e-6)
    assert (gradient[:, place] == 0).all()
    assert (fx.softmax(masked)[:, place] == 0).all()
    np.testing.assert_allclose(
        np.delete(fx.softmax(masked), place, 1), fx.softmax(logits), rtol=2e-6, atol=1e-44
    )
