"""Losses of independent classes whose anchors are lanes: blocks of anchors, hard and soft targets,
any exponent, and labels that are checked while they are used."""

import mpmath
import numpy as np
import pytest
from support import family_oracles as exact
from support.oracles import assert_accurate, one_hot

import fastxent as fx
from fastxent import _catalogue
from fastxent._arguments import ElementError

POWERS = {
    "sigmoid_focal_loss": "gamma",
    "varifocal_loss": "gamma",
    "quality_focal_loss": "beta",
    "asymmetric_loss": "gamma_neg",
}
#: Around a vector, and around a block of them, of both precisions.
ANCHORS = (1, 15, 17, 33, 257, 300, 2053)


def labels_of(name, rng, anchors, classes):
    """Return labels, a few of them of a class, and scores where the loss takes some."""
    labels = np.where(rng.random(anchors) < 0.2, rng.integers(0, classes, anchors), classes)
    labels[rng.random(anchors) < 0.1] = -100
    if name == "quality_focal_loss":
        return labels, rng.random(anchors).astype(np.float32)
    return (labels,)


@pytest.mark.parametrize("gamma", [0.3, 1.5, 7.3, 60.0, 1e5])
@pytest.mark.parametrize("name", ["sigmoid_focal_loss", "varifocal_loss"])
def test_any_exponent_at_any_logit(name, gamma, isa):
    logits = np.concatenate([np.linspace(-110, 110, 45), np.linspace(-3, 3, 19)])
    logits = np.repeat(logits, 2).astype(np.float32)
    targets = np.tile([0, 1], len(logits) // 2).astype(np.float32)
    loss, gradient = getattr(fx, name)(logits, targets, axis=None, gamma=gamma, return_grad=True)
    anchors = [
        exact.exact_anchor(name, [z], [y], gamma=gamma)
        for z, y in zip(logits, targets, strict=True)
    ]
    bounds = _catalogue.LOSSES[name].bounds.of(gamma)
    for result, numbers, ulps in (
        (loss, [anchor.loss for anchor in anchors], bounds[0]),
        (gradient, [anchor.gradient[0] for anchor in anchors], bounds[1]),
    ):
        is_tiny = np.array([abs(number) < 1e-36 for number in numbers])
        errors = [abs(mpmath.mpf(float(x)) - y) for x, y in zip(result, numbers, strict=True)]
        assert max(np.array(errors)[is_tiny], default=0) <= 1e-42
        assert_accurate(result[~is_tiny], np.array(numbers, dtype=object)[~is_tiny], ulps)


@pytest.mark.parametrize("gamma", [1.5, 3.3])
@pytest.mark.parametrize("axis", [None, -1])
def test_any_exponent_loses_few_digits(axis, gamma, isa):
    """Of one class and of rows; a logarithm of p would lose half as many again."""
    rng = np.random.default_rng(5)
    shape = (100_000,) if axis is None else (5000, 20)
    logits = rng.normal(-1, 3, shape).astype(np.float32)
    targets = np.zeros(shape, bool) if axis is None else np.full(shape[:-1], shape[-1])
    options = {"axis": axis, "gamma": gamma, "alpha": None}
    result = fx.sigmoid_focal_loss(logits, targets, **options).astype(np.float64)
    z = logits.astype(np.float64)
    expected = np.exp(-gamma * np.logaddexp(0, -z)) * np.logaddexp(0, z)
    expected = expected if axis is None else expected.sum(axis=-1)
    errors = np.abs(result / expected - 1) * 2**23
    assert errors.max() < 1.6 + gamma


@pytest.mark.parametrize("gamma", [2.0, 1.5])
def test_soft_targets_change_no_bit_of_others(gamma, isa):
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 6, 512).astype(np.float32)
    hard = (rng.random(512) < 0.3).astype(np.float32)
    mixed = hard.copy()
    is_soft = np.zeros(512, bool)
    is_soft[[3, 100, 101, 511]] = True
    mixed[is_soft] = 0.25
    options = {"axis": None, "gamma": gamma, "return_grad": True}
    results = fx.sigmoid_focal_loss(logits, mixed, **options)
    for result, expected in zip(
        results, fx.sigmoid_focal_loss(logits, hard, **options), strict=True
    ):
        np.testing.assert_array_equal(result[~is_soft], expected[~is_soft])
    for place in np.flatnonzero(is_soft):
        anchor = exact.exact_anchor("sigmoid_focal_loss", [logits[place]], [0.25], gamma=gamma)
        assert_accurate(results[0][[place]], [anchor.loss], 4 + 3 * gamma)


@pytest.mark.parametrize("anchors", ANCHORS)
@pytest.mark.parametrize("gamma", [2.0, 1.5])
@pytest.mark.parametrize("name", POWERS)
def test_anchors_of_a_block_are_as_alone(name, gamma, anchors, isa):
    """With the class axis in front, infinite logits among them."""
    rng = np.random.default_rng(anchors)
    logits = rng.normal(0, 5, (6, anchors)).astype(np.float32)
    rare = rng.random(logits.shape)
    logits[rare < 0.01], logits[rare > 0.99] = np.inf, -np.inf
    logits[(rare > 0.5) & (rare < 0.51)] = np.nan
    targets = labels_of(name, rng, anchors, 6)
    options = {"axis": 0, POWERS[name]: gamma, "return_grad": True}
    loss, gradient = getattr(fx, name)(logits, *targets, **options)
    alone = getattr(fx, name)(logits, *targets, **options | {"return_grad": False})
    np.testing.assert_array_equal(loss, alone)
    chosen = rng.choice(anchors, min(anchors, 40), replace=False)
    for place in chosen:
        one = [target[[place]] for target in targets]
        expected = getattr(fx, name)(logits[:, [place]], *one, **options)
        np.testing.assert_array_equal(loss[[place]], expected[0])
        np.testing.assert_array_equal(gradient[:, [place]], expected[1])


@pytest.mark.parametrize("name", ["sigmoid_focal_loss", "varifocal_loss", "asymmetric_loss"])
def test_labels_are_dense_targets(name, isa):
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 5, (500, 3)).astype(np.float32)
    labels = rng.integers(0, 4, 500)
    dense = one_hot(labels, 3).astype(np.float32)
    by_label = getattr(fx, name)(logits.T, labels, axis=0, return_grad=True)
    by_target = getattr(fx, name)(logits.T, dense.T, axis=0, return_grad=True)
    for result, expected in zip(by_label, by_target, strict=True):
        np.testing.assert_allclose(result, expected, rtol=2e-6)
    per_logit = getattr(fx, name)(logits.T, dense.T, axis=0, reduction="none")
    np.testing.assert_allclose(per_logit.sum(0, dtype=np.float64), by_target[0], rtol=2e-6)


# --- labels that are checked while they are used --------------------------------------------------

#: Labels of one class, and what is expected of them.
WRONG = (2, -1, -101, 2**31, 2**32, 2**32 + 1, -(2**32), 2**63 - 1)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("place", [0, 4097, 9999])
def test_wrong_labels_of_one_class(place, wrong):
    labels = np.zeros(10_000, np.int64)
    labels[5] = -100
    labels[place] = wrong
    logits = np.zeros(10_000, np.float32)
    for options in ({}, {"reduction": "sum"}, {"reduction": "mean"}, {"return_grad": True}):
        with pytest.raises(ElementError, match=rf"targets\[{place}\] = {wrong} is not a class"):
            fx.sigmoid_focal_loss(logits, labels, axis=None, **options)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.int8, np.uint8, np.uint64])
def test_wrong_labels_leave_results_alone(dtype):
    labels = np.zeros(5000, dtype)
    labels[4999] = 3
    logits = np.zeros((5000, 2), np.float32)
    out, gradient = np.full(5000, 7, np.float32), np.full((5000, 2), 7, np.float32)
    with pytest.raises(ElementError, match=r"targets\[4999\] = 3"):
        fx.sigmoid_focal_loss(logits, labels, out=out)
    with pytest.raises(ElementError, match=r"targets\[4999\] = 3"):
        fx.sigmoid_focal_loss(logits, labels, return_grad=True, grad_out=gradient)
    assert (out == 7).all()
    assert (gradient == 7).all()


@pytest.mark.parametrize("ignored", [-100, 7, 2**31, 2**40, -(2**40), (-100, 2**33), ()])
@pytest.mark.parametrize("background", [None, -1, 0, 1, -(2**35), 2**35])
def test_numbers_of_labels_beyond_32_bits(ignored, background):
    """Ignored labels and the background are any integers."""
    rng = np.random.default_rng(4)
    all_ignored = ignored if isinstance(ignored, tuple) else (ignored,)
    nothing = 3 if background is None else background
    classes = [label for label in range(4 if 0 <= nothing <= 3 else 3) if label != nothing]
    labels = rng.choice(np.array([*classes, nothing, *all_ignored], np.int64), 1000)
    logits = rng.normal(0, 2, (1000, 3)).astype(np.float32)
    loss = fx.sigmoid_focal_loss(logits, labels, ignore_index=ignored, background_index=background)
    dense = np.zeros((1000, 3), np.float32)
    for column, label in enumerate(classes):
        dense[labels == label, column] = 1
    expected = fx.sigmoid_focal_loss(logits.astype(np.float64), dense)
    expected[np.isin(labels, np.array(all_ignored, np.int64))] = 0
    np.testing.assert_allclose(loss, expected, rtol=2e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_powers_that_underflow(dtype, engine):
    """The exponential of a sum of which one part is far beyond what the other has a power for."""
    gamma, info = 100.5, np.finfo(dtype)
    logits = np.linspace(-16, 1, 341, dtype=dtype)
    with mpmath.workdps(40):
        exact = [
            float((1 / (1 + mpmath.exp(-z))) ** gamma * mpmath.log1p(mpmath.exp(z)))
            for z in map(mpmath.mpf, logits.tolist())
        ]
    labels = np.zeros(len(logits), int)
    losses = fx.sigmoid_focal_loss(logits, labels, gamma=gamma, alpha=None, axis=None)
    np.testing.assert_allclose(losses, exact, 100 * gamma * info.eps, 2 * info.smallest_subnormal)


@pytest.mark.parametrize("gamma_pos", [0.0, 2.0, 1.5])
def test_asymmetric_losses_of_which_one_exponent_is_the_usual_one(gamma_pos, engine):
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 2, (3, 40)).astype(np.float32)
    labels = rng.integers(0, 4, 40)
    losses = fx.asymmetric_loss(logits, labels, gamma_pos=gamma_pos, axis=0)
    for anchor in range(0, 40, 7):
        targets = one_hot(labels[anchor : anchor + 1], 3)[0]
        options = {"gamma_pos": gamma_pos, "gamma_neg": 4, "clip": 0.05}
        expected = exact.exact_anchor("asymmetric_loss", logits[:, anchor], targets, **options)
        np.testing.assert_allclose(losses[anchor], float(expected.loss), 1e-5)
