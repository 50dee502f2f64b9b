"""Every kernel sees a NaN among an anchor's values, wherever it stands, and in no other anchor.

The kernels look for non-finite results, not for NaN inputs: each class position counts, because
running maxima, padding and exponentials could each lose one.
"""

import numpy as np
import pytest
from support import family

import fastxent as fx

ANCHORS, SPECIAL = 37, 19


def with_one_nan(rng, name, classes, position):
    values = family.values_for(name, rng, (ANCHORS, classes), np.float32)
    values[SPECIAL, position] = np.nan
    return values


def check(result):
    """Only the special anchor's loss and gradient are NaN."""
    loss, gradient = result
    others = np.arange(ANCHORS) != SPECIAL
    assert np.isnan(loss[SPECIAL])
    assert np.isnan(gradient[SPECIAL]).any()
    assert np.isfinite(loss[others]).all()
    assert np.isfinite(gradient[others]).all()


@pytest.mark.parametrize("classes", [2, 5, 21, 80])
@pytest.mark.parametrize("name", family.LOSSES)
def test_every_position(name, classes, isa):
    rng = np.random.default_rng(classes)
    loss = getattr(fx, name)
    for position in range(classes):
        values = with_one_nan(rng, name, classes, position)
        targets = family.targets_for(name, rng, values)
        check(loss(values, *targets, return_grad=True))
        assert np.isnan(loss(values, *targets)[SPECIAL])
        turned = loss(np.ascontiguousarray(values.T), *targets, axis=0, return_grad=True)
        check((turned[0], turned[1].T))
        if name in family.WITH_DENSE:
            dense = family.targets_for(name, rng, values, dense=True)
            check(loss(values, *dense, return_grad=True))


@pytest.mark.parametrize("name", family.LOSSES)
def test_every_position_of_many_classes(name, isa):
    """Rows of several pieces, with all positions of one call."""
    rng = np.random.default_rng(0)
    classes = 1203
    values = family.values_for(name, rng, (classes, classes), np.float32)
    np.fill_diagonal(values, np.nan)
    targets = family.targets_for(name, rng, values)
    assert np.isnan(getattr(fx, name)(values, *targets)).all()


@pytest.mark.parametrize("classes", [2, 5, 21, 80, 1203])
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_scores(name, classes, isa):
    logits = np.random.default_rng(classes).normal(size=(classes, classes)).astype(np.float32)
    np.fill_diagonal(logits, np.nan)
    assert np.isnan(getattr(fx, name)(logits)).all()


@pytest.mark.parametrize("classes", [2, 3, 5, 8])
def test_gradients_where_the_first_class_is_nan(classes, engine):
    rng = np.random.default_rng(classes)
    logits = rng.normal(size=(classes, 40)).astype(np.float32)
    logits[0, ::3] = np.nan
    targets = rng.dirichlet(np.ones(classes), 40).T.astype(np.float32)
    _, gradient = fx.softmax_cross_entropy(logits, targets, axis=0, return_grad=True)
    expected = np.broadcast_to(np.isnan(logits[0]), gradient.shape)
    np.testing.assert_array_equal(np.isnan(gradient), expected)
