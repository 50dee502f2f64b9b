"""More than 2^31 logits: indices that an int of 32 bits does not hold.

These need some 13 GB of memory and two minutes, so they run only where FASTXENT_TEST_LARGE is set.
"""

import numpy as np
import pytest
from support import requirements

import fastxent as fx

absence = requirements.absence("large")
pytestmark = [
    pytest.mark.large,
    pytest.mark.skipif(bool(absence), reason=absence),
]

CLASSES = 80
ANCHORS = 2**31 // CLASSES + 70_001
CHUNK = 2**16
#: Anchors at the ends, and about the logits number 2^31 and 2^32 (in bytes, too).
CHOSEN = np.unique(
    np.clip([0, 1, 2**30 // CLASSES, 2**31 // CLASSES - 1, ANCHORS], 0, ANCHORS - 20)[:, None]
    + np.arange(20)
)


@pytest.fixture(params=[True, False], ids=["classes last", "classes first"])
def head(request):
    """Make logits (anchors, classes) with either of them contiguous, and labels."""
    order = "C" if request.param else "F"
    logits = np.empty((ANCHORS, CLASSES), np.float16, order=order)
    rng = np.random.default_rng(0)
    # Two periods that have nothing in common: no anchor is like another.
    pattern = rng.normal(0, 4, (10_007, CLASSES)).astype(np.float16, order=order)
    for start in range(0, ANCHORS, len(pattern)):
        block = logits[start : start + len(pattern)]
        block[...] = pattern[: len(block)]
    labels = np.resize(rng.integers(0, CLASSES, 9_973).astype(np.int8), ANCHORS)
    assert logits.size > 2**31
    return logits, labels


@pytest.mark.parametrize("loss", ["sigmoid_focal_loss", "softmax_cross_entropy"])
def test_more_logits_than_an_int_counts(loss, head):
    logits, labels = head
    function = getattr(fx, loss)
    result, gradient = function(logits, labels, return_grad=True)
    expected, expected_gradient = function(logits[CHOSEN], labels[CHOSEN], return_grad=True)
    np.testing.assert_allclose(result[CHOSEN], expected, rtol=3e-6)
    np.testing.assert_allclose(
        gradient[CHOSEN].astype(float), expected_gradient.astype(float), rtol=1e-3, atol=1e-7
    )
    del gradient
    total = function(logits, labels, reduction="sum")
    chunked = sum(
        function(logits[start : start + CHUNK], labels[start : start + CHUNK], reduction="sum")
        for start in range(0, ANCHORS, CHUNK)
    )
    assert total == pytest.approx(chunked, rel=1e-12)
    assert total == pytest.approx(result.sum(dtype=float), rel=1e-9)


def test_more_anchors_than_an_int_counts():
    """A single-class head; its labels and its result are as long."""
    anchors = 2**31 + 1_000_003
    rng = np.random.default_rng(1)
    pattern = rng.normal(0, 4, 1_000_003).astype(np.float16)
    logits = np.empty(anchors, np.float16)
    for start in range(0, anchors, len(pattern)):
        logits[start : start + len(pattern)] = pattern[: anchors - start]
    targets = np.broadcast_to(np.int8(1), logits.shape)
    losses = fx.sigmoid_cross_entropy(logits, targets, axis=None)
    last = slice(anchors - 1000, None)
    expected = fx.sigmoid_cross_entropy(logits[last].copy(), targets[last], axis=None)
    np.testing.assert_allclose(losses[last], expected, rtol=3e-6)
    assert losses[2**31] == pytest.approx(
        fx.sigmoid_cross_entropy(float(logits[2**31]), 1, axis=None), rel=1e-6
    )
    del losses
    options = {"axis": None, "reduction": "mean", "return_grad": True}
    mean, gradient = fx.sigmoid_cross_entropy(
        logits, targets, grad_output=float(anchors), **options
    )
    period, _ = fx.sigmoid_cross_entropy(pattern, targets[: len(pattern)], **options)
    assert mean == pytest.approx(period, rel=1e-3)
    slopes = -1 / (1 + np.exp(logits[last].astype(float)))
    np.testing.assert_allclose(gradient[last].astype(float), slopes, rtol=1e-3, atol=1e-7)
