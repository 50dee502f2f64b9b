"""Classes and anchors that are no multiple of an element apart, as fields of records are."""

import numpy as np
import pytest
from support.oracles import one_hot, plain_sigmoid_cross_entropy, plain_softmax_cross_entropy

import fastxent as fx

ANCHORS = 37
LOSSES = {
    fx.sigmoid_cross_entropy: plain_sigmoid_cross_entropy,
    fx.softmax_cross_entropy: plain_softmax_cross_entropy,
}


def records(array):
    """Return an equal array whose rows are fields of records of an odd size."""
    packed = np.zeros(len(array), [("pad", "u1"), ("row", array.dtype, array.shape[1])])
    packed["row"] = array
    return packed["row"]


@pytest.mark.parametrize("classes", [3, 21, 40])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", LOSSES)
def test_records_of_classes_and_of_anchors(loss, dtype, classes, backend):
    rng = np.random.default_rng(classes)
    logits = rng.normal(0, 3, (ANCHORS, classes)).astype(dtype)
    targets = rng.dirichlet(np.ones(classes), ANCHORS).astype(dtype)
    labels = rng.integers(0, classes, ANCHORS)
    for dense, given in ((one_hot(labels, classes), labels), (targets, targets)):
        expected = LOSSES[loss](logits, dense).sum(axis=1)
        by_class = given if given.ndim == 1 else records(given.T)
        by_anchor = given if given.ndim == 1 else records(given)
        result = loss(records(logits.T), by_class, axis=0)
        np.testing.assert_allclose(result, expected, rtol=1e-5)
        np.testing.assert_allclose(loss(records(logits), by_anchor), expected, rtol=1e-5)
