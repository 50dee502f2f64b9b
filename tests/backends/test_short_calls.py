"""Short calls without options take a short cut, which nothing but the time shows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

import fastxent as fx
from fastxent._call import evaluate

LOSSES = [fx.sigmoid_cross_entropy, fx.softmax_cross_entropy]


def outcome(function, *arguments, **options):
    """Return the bits of a result, or the error."""
    try:
        return function(*arguments, **options).tobytes()
    except (TypeError, ValueError) as error:
        return type(error), str(error)


@pytest.fixture
def no_request(monkeypatch):
    """Fail where a call goes the long way."""

    def refuse(*_arguments):
        raise AssertionError("this call went the long way")

    monkeypatch.setattr(evaluate, "loss_request", refuse)


@pytest.mark.usefixtures("no_request")
@pytest.mark.parametrize("shape", [(100, 80), (1, 2), (4, 25, 80), (7, 3)])
@pytest.mark.parametrize("dtype", [np.int64, np.int32])
@pytest.mark.parametrize("loss", LOSSES)
def test_short_calls_are_short(loss, dtype, shape):
    logits = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    labels = np.full(shape[:-1], shape[-1] - 1, dtype)
    labels[0] = -100
    losses = loss(logits, labels)
    assert losses.shape == shape[:-1]
    assert losses.dtype == np.float32
    assert (losses[0] == 0).all()


@pytest.mark.parametrize("offset", [-99, -1, 0, 1])
@pytest.mark.parametrize("loss", LOSSES)
def test_labels_at_the_limits(loss, offset):
    logits, labels = np.zeros((5, 4), np.float32), np.array([0, 1, 2, 3, 3])
    labels[2] = offset if offset < 0 else 4 + offset
    is_valid = loss is fx.sigmoid_cross_entropy and offset == 0
    result = outcome(loss, logits, labels)
    assert isinstance(result, bytes) == is_valid
    assert result == outcome(loss, logits, labels, weight=1)


LOGITS = np.random.default_rng(1).normal(0, 3, (5, 5)).astype(np.float32)
LABELS = np.array([4, 0, 2, 1, 3])


def textbook(loss, logits, label_smoothing=0.0, pos_weight=1.0, class_weight=1.0):
    """Return the losses of LABELS in double; class numbers are columns."""
    z, y = logits.astype(float), np.eye(5)[LABELS]
    if loss is fx.softmax_cross_entropy:
        log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        targets = y * (1 - label_smoothing) + label_smoothing / 5
        return -(targets * class_weight * log_p).sum(axis=1)
    targets = y * (1 - label_smoothing) + label_smoothing / 2
    terms = targets * pos_weight * np.log1p(np.exp(-z)) + (1 - targets) * np.log1p(np.exp(z))
    return (class_weight * terms).sum(axis=1)


@pytest.mark.parametrize("loss", LOSSES)
def test_options_that_are_no_defaults(loss):
    """Each alone keeps an otherwise short call from the short cut, which knows none of them."""
    weights = np.arange(1, 6) / 4
    options = [{"label_smoothing": 0.1}, {"label_smoothing": 1.0}, {"class_weight": weights}]
    if loss is fx.sigmoid_cross_entropy:
        options += [{"pos_weight": 3.0}]
    for option in options:
        expected = textbook(loss, LOGITS, **option)
        np.testing.assert_allclose(loss(LOGITS, LABELS, **option), expected, rtol=1e-6)
    expected = textbook(loss, LOGITS)
    np.testing.assert_allclose(loss(LOGITS, LABELS, weight=weights), expected * weights, rtol=1e-6)
    np.testing.assert_allclose(loss(LOGITS, LABELS, reduction="sum"), expected.sum(), rtol=1e-6)
    np.testing.assert_allclose(loss(LOGITS.T, LABELS, axis=0), expected, rtol=1e-6)
    of_columns = textbook(loss, LOGITS.T)
    np.testing.assert_allclose(loss(LOGITS, LABELS, axis=0), of_columns, rtol=1e-6)
    is_ignored = LABELS == 2
    result = loss(LOGITS, LABELS, ignore_index=2)
    np.testing.assert_allclose(result, np.where(is_ignored, 0, expected), rtol=1e-6)
    out = np.empty(5, np.float32)
    assert loss(LOGITS, LABELS, out=out) is out
    np.testing.assert_allclose(out, expected, rtol=1e-6)


@given(st.data())
@pytest.mark.parametrize("loss", LOSSES)
def test_same_outcome(loss, data):
    """A weight, even of 1, goes the long way, to the same bits or the same error."""
    anchors = data.draw(st.sampled_from([(), (0,), (1,), (3,), (17,), (3, 5), (2, 1, 9)]))
    classes = data.draw(st.sampled_from([0, 1, 2, 3, 4, 5, 21, 40]))
    seed = data.draw(st.integers(0, 2**32 - 1))
    scale = data.draw(st.sampled_from([0.1, 3, 100, 1e30]))
    rng = np.random.default_rng(seed)
    dtype = data.draw(st.sampled_from([np.float32, np.float32, np.float16, np.float64, np.int32]))
    logits = (rng.normal(size=(*anchors, classes)) * scale).clip(-6e4, 6e4).astype(dtype)
    lowest = data.draw(st.sampled_from([0, 0, -1]))
    highest = data.draw(st.sampled_from([classes - 1, classes, classes + 1]))
    labels = rng.integers(lowest, max(highest, lowest) + 1, size=anchors)
    labels = np.where(rng.random(anchors) < 0.2, -100, labels)
    label_dtype = data.draw(st.sampled_from([np.int64, np.int32, np.int8, np.float64]))
    labels = np.asarray(labels, label_dtype)
    if data.draw(st.booleans()):
        logits = np.repeat(logits, 2, axis=-1)[..., ::2]
    if data.draw(st.booleans()):
        labels = np.repeat(labels[..., None], 3, axis=-1)[..., 1]
    assert outcome(loss, logits, labels) == outcome(loss, logits, labels, weight=1)


@pytest.mark.parametrize("loss", LOSSES)
def test_unusual_memory(loss):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(30, 40)).astype(np.float32), rng.integers(0, 40, 30)
    expected = loss(logits, labels, weight=1)
    packed = np.zeros(30, [("pad", "u1"), ("label", "i8"), ("logits", "f4", 40)])
    packed["logits"], packed["label"] = logits, labels
    swapped = logits.astype(logits.dtype.newbyteorder())
    backwards = logits[::-1].copy()[::-1]
    repeated = as_strided(logits, (30, 40), (0, 4))
    np.testing.assert_array_equal(loss(packed["logits"], packed["label"]), expected)
    np.testing.assert_array_equal(loss(swapped, labels), expected)
    np.testing.assert_array_equal(loss(backwards, labels), expected)
    np.testing.assert_array_equal(loss(repeated, labels), loss(repeated.copy(), labels, weight=1))
    with pytest.raises(TypeError, match="masked array"):
        loss(np.ma.array(logits), labels)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("anchors", [2**40, 2**62])
def test_targets_for_which_there_are_no_results(loss, anchors):
    targets = np.broadcast_to(np.int8(0), (anchors,))
    with pytest.raises(ValueError, match=r"^targets has shape"):
        loss(np.zeros((1, 3), np.float32), targets)
