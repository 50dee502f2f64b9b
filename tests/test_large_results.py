"""Results too large for any cache are written past them: every element, wherever they begin."""

import numpy as np
import pytest

import fastxent as fx

#: More than the 16 MB from which on results go past the caches, in rows that do not fill vectors.
ANCHORS, CLASSES = 49_999, 91
PIECE = 5_000


@pytest.fixture(scope="module")
def logits():
    return np.random.default_rng(0).normal(0, 3, (ANCHORS, CLASSES)).astype(np.float32)


def misaligned(shape, offset):
    """Return an array that begins `offset` floats behind the beginning of a cache line."""
    memory = np.full(int(np.prod(shape)) + 64, np.nan, np.float32)
    start = -memory.ctypes.data % 64 // 4 + offset
    return memory[start : start + int(np.prod(shape))].reshape(shape)


def in_pieces(function, *arrays):
    """Return what calls of small pieces say."""
    pieces = [function(*(a[i : i + PIECE] for a in arrays)) for i in range(0, ANCHORS, PIECE)]
    return np.concatenate(pieces)


@pytest.mark.parametrize("offset", [0, 1, 15])
@pytest.mark.parametrize("score", [fx.softmax, fx.log_softmax, fx.sigmoid, fx.softplus])
def test_scores(score, offset, logits, isa):
    out = misaligned(logits.shape, offset)
    assert score(logits, out=out) is out
    np.testing.assert_array_equal(out, in_pieces(score, logits))


@pytest.mark.parametrize("offset", [0, 1, 15])
@pytest.mark.parametrize("loss", [fx.sigmoid_cross_entropy, fx.softmax_focal_loss])
def test_gradients(loss, offset, logits, isa):
    labels = np.random.default_rng(1).integers(0, CLASSES, ANCHORS)
    labels[::7] = -100
    grad_out = misaligned(logits.shape, offset)
    _, gradient = loss(logits, labels, return_grad=True, grad_out=grad_out)
    assert gradient is grad_out
    expected = in_pieces(lambda z, y: loss(z, y, return_grad=True)[1], logits, labels)
    np.testing.assert_array_equal(gradient, expected)


def test_in_place(logits, isa):
    values = logits.copy()
    assert fx.softmax(values, out=values) is values
    np.testing.assert_array_equal(values, in_pieces(fx.softmax, logits))
