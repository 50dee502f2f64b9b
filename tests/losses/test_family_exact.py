"""Losses and gradients of the family against exact ones, in units of the last place."""

import functools

import mpmath
import numpy as np
import pytest
from support import family_oracles as exact
from support.family import (
    PER_CLASS,
    PROBABILITY_LOSSES,
    SIGMOID_LOSSES,
    SOFTMAX_LOSSES,
    public,
)
from support.oracles import assert_accurate, one_hot

import fastxent as fx
from fastxent import _catalogue

GAMMAS = (0, 0.5, 1, 1.5, 2, 3, 5)
CASES = [
    ("sigmoid_cross_entropy", {}),
    ("sigmoid_cross_entropy", {"pos_weight": 2.5, "label_smoothing": 0.25}),
    *[("sigmoid_focal_loss", {"gamma": gamma}) for gamma in GAMMAS],
    ("sigmoid_focal_loss", {"alpha": None, "gamma": 2}),
    *[("quality_focal_loss", {"beta": gamma}) for gamma in GAMMAS],
    *[("varifocal_loss", {"gamma": gamma}) for gamma in GAMMAS],
    ("varifocal_loss", {"alpha": None, "iou_weighted": False}),
    *[("asymmetric_loss", {"gamma_neg": gamma}) for gamma in GAMMAS],
    *[("asymmetric_loss", {"gamma_pos": gamma, "clip": 0}) for gamma in GAMMAS],
    ("asymmetric_loss", {"gamma_neg": 2, "gamma_pos": 0, "clip": 0.5}),
    ("sigmoid_focal_loss_star", {}),
    ("sigmoid_focal_loss_star", {"gamma": 4, "beta": 2.7}),
    ("sigmoid_focal_loss_star", {"gamma": 0.3, "beta": -1, "alpha": 0.25}),
    ("softmax_cross_entropy", {}),
    ("softmax_cross_entropy", {"label_smoothing": 0.25}),
    *[("softmax_focal_loss", {"gamma": gamma}) for gamma in GAMMAS],
    ("softmax_focal_loss", {"alpha": 2.5, "gamma": 1}),
    ("distribution_focal_loss", {}),
    *[("poly1_cross_entropy", {"epsilon": epsilon}) for epsilon in (0, 1, 3)],
]
#: The exponents of a loss, and their defaults: the stated bounds grow with them.
POWERS = {
    "sigmoid_focal_loss": {"gamma": 2},
    "softmax_focal_loss": {"gamma": 2},
    "varifocal_loss": {"gamma": 2},
    "quality_focal_loss": {"beta": 2},
    "asymmetric_loss": {"gamma_neg": 4, "gamma_pos": 1},
}
all_cases = pytest.mark.parametrize(
    ("name", "options"),
    [pytest.param(*case, id=f"{case[0]}-{'-'.join(map(str, case[1].values()))}") for case in CASES],
)


# --- what computes, and how well it should --------------------------------------------------------


def bounds(name, engine, options, dtype=np.float32):
    """Return the largest errors of a loss and of its gradient.

    The backend "numpy" rounds float64 once. Results in float64 are less accurate, as documented.
    """
    gammas = [options.get(key, default) for key, default in POWERS.get(name, {}).items()]
    stated = _catalogue.LOSSES[name].bounds.of(max(gammas, default=0))
    if dtype == np.float64:
        return tuple(2 * bound + 8 for bound in stated)
    return (0.51, 0.51) if engine == "numpy" else stated


def assert_stated(result, exact_numbers, ulps, scale=0.0):
    """Compare as docstrings say: below 1e-36, the error of float32 is at most 1e-42."""
    values, numbers = np.ravel(result), np.ravel(np.array(exact_numbers, dtype=object))
    tiny = (np.abs(numbers.astype(float)) < 1e-36) & (values.dtype == np.float32) & (ulps > 1)
    errors = np.abs(values[tiny].astype(float) - numbers[tiny].astype(float))
    assert errors.max(initial=0) <= 1e-42
    if not tiny.all():
        scales = np.broadcast_to(scale, np.shape(result)).ravel()
        assert_accurate(values[~tiny], numbers[~tiny], ulps, scales[~tiny])


def check(name, engine, options, result, anchors, allowance=0.0):
    """Compare a loss per anchor and its gradient, classes last, with the exact ones."""
    loss, gradient = result
    loss_ulps, gradient_ulps = (
        bound + allowance for bound in bounds(name, engine, options, gradient.dtype)
    )
    assert_stated(loss, [anchor.loss for anchor in anchors], loss_ulps)
    slopes = [slope for anchor in anchors for slope in anchor.gradient]
    scales = np.array([[float(size) for size in anchor.scale] for anchor in anchors])
    assert_stated(gradient, slopes, gradient_ulps, scales.reshape(gradient.shape))


# --- inputs ---------------------------------------------------------------------------------------


def inputs(name, classes, spread, dtype, dense):
    """Return logits (anchors, classes), what follows them, and the dense targets they stand for."""
    rng = np.random.default_rng([classes, int(10 * spread), dense])
    anchors = 67
    logits = rng.normal(0, spread, (anchors, classes)).astype(dtype)
    if name == "distribution_focal_loss":
        positions = rng.uniform(0, classes - 1, anchors).astype(dtype)
        positions[::3] = np.round(positions[::3])
        return logits, (positions,), [exact.bin_targets(t, classes) for t in positions]
    if dense:
        # Eighths are exact in every dtype; many zeros and ones, as targets are.
        soft = np.clip(rng.integers(-6, 15, logits.shape), 0, 8) / 8
        return logits, (soft.astype(dtype),), soft
    labels = rng.integers(0, classes + (name in PER_CLASS), anchors)
    if name == "quality_focal_loss":
        scores = rng.random(anchors).astype(dtype)
        return logits, (labels, scores), one_hot(labels, classes) * scores[:, None]
    return logits, (labels,), one_hot(labels, classes)


@functools.cache
def random_case(index, classes, spread, dtype, dense):
    """Return inputs, and exact results of some of the anchors."""
    name, options = CASES[index]
    logits, targets, soft = inputs(name, classes, spread, dtype, dense)
    # Other ones for other spreads: lanes, tails and blocks all come up.
    choice = np.random.default_rng([index, classes, int(10 * spread), dense])
    checked = choice.choice(len(logits), 2 + 12 // classes, replace=False)
    anchors = [exact.exact_anchor(name, logits[n], soft[n], **options) for n in checked]
    return logits, targets, checked, anchors


def call(name, logits, targets, axis=-1, **options):
    """Call with one class as a head without classes, which labels need."""
    if logits.shape[-1] == 1 and np.ndim(targets[0]) == 1:
        labels = (targets[0] == 0).astype(int)  # the label 0 becomes the target 1
        loss, gradient = public(name)(
            logits[:, 0], labels, *targets[1:], axis=None, return_grad=True, **options
        )
        return loss, gradient[:, None]
    return public(name)(logits, *targets, axis=axis, return_grad=True, **options)


def call_on_axis_1(name, logits, targets, **options):
    """Call with a batch of one and the channels before the pixels; return classes last again."""
    head = logits.T.copy()[None]
    turned = [t.T[None].copy() if t.ndim == 2 else t[None] for t in targets]
    loss, gradient = public(name)(head, *turned, axis=1, return_grad=True, **options)
    return loss[0], gradient[0].T


# --- tests ----------------------------------------------------------------------------------------


@all_cases
@pytest.mark.parametrize("spread", [0.1, 1.0, 10.0, 100.0])
def test_random_logits(name, options, spread, engine):
    index = CASES.index((name, options))
    for classes in (1, 2, 5, 21, 80):
        if classes == 1 and name in SOFTMAX_LOSSES:
            continue
        for dense in (False, True):
            if dense and name in {"quality_focal_loss", "distribution_focal_loss"}:
                continue
            arguments = random_case(index, classes, spread, np.float32, dense)
            logits, targets, checked, anchors = arguments
            loss, gradient = call(name, logits, targets, **options)
            check(name, engine, options, (loss[checked], gradient[checked]), anchors)
            if classes > 1:
                loss, gradient = call_on_axis_1(name, logits, targets, **options)
                check(name, engine, options, (loss[checked], gradient[checked]), anchors)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("classes", [1, 2, 3, 4, 5, 12, 23, 24, 80, 130])
def test_losses_do_not_depend_on_the_gradient(classes, dense, isa):
    """With and without gradients, cross-entropies of sigmoids are the same bits."""
    logits, targets, _ = inputs("sigmoid_cross_entropy", classes, 3.0, np.float32, dense)
    logits[::9, 0] = np.resize([np.nan, np.inf, -np.inf], len(logits[::9]))
    heads = [(logits, targets[0], -1), (logits.T.copy(), targets[0].T.copy(), 0)]
    if classes == 1:  # the label 0 becomes the target 1
        heads = [(logits[:, 0], np.ravel(targets[0] if dense else targets[0] == 0), None)]
    for values, given, axis in heads:
        alone = fx.sigmoid_cross_entropy(values, given, axis=axis)
        loss, _ = fx.sigmoid_cross_entropy(values, given, axis=axis, return_grad=True)
        np.testing.assert_array_equal(loss, alone)


@all_cases
@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_float64(name, options, spread, engine):
    index = CASES.index((name, options))
    for classes in (2, 21):
        logits, targets, checked, anchors = random_case(index, classes, spread, np.float64, False)
        loss, gradient = call(name, logits, targets, **options)
        assert gradient.dtype == np.float64
        allowance = cancellation(name, logits, targets, options)
        check(name, engine, options, (loss[checked], gradient[checked]), anchors, allowance)


def cancellation(name, logits, targets, options):
    """Return the ULP by which differences in float64, rounded once, may be off."""
    probs = 1 / (1 + np.exp(-logits))
    if name in SOFTMAX_LOSSES:
        # exp makes the absolute error of a difference of logits a relative one.
        return np.ptp(logits) * (1 + options.get("gamma", 0))
    if name == "asymmetric_loss":
        clip = options.get("clip", 0.05)
        return options.get("gamma_neg", 4) * np.max(probs / np.abs(probs - clip))
    if name == "quality_focal_loss":
        scores = one_hot(targets[0], logits.shape[-1]) * targets[1][:, None]
        size = scores + probs - 2 * scores * probs
        return options["beta"] * np.max(size / np.abs(scores - probs))
    return 0.0


SATURATED = np.float32([1e-30, 0.3, 14, 20, 27.6, 40, 60, 87, 88.7, 89, 103, 104, 120, 1e3, 1e4])
SATURATED = np.concatenate([-SATURATED, [0], SATURATED]).astype(np.float32)


@functools.cache
def saturated_case(index):
    name, options = CASES[index]
    classes = 3 if name in SOFTMAX_LOSSES else 1
    logits = np.zeros((2 * len(SATURATED), classes), np.float32)
    logits[:, -1] = np.repeat(SATURATED, 2)
    if name == "distribution_focal_loss":
        targets = (np.tile(np.float32([2, 0.25]), len(SATURATED)),)
        soft = [exact.bin_targets(t, classes) for t in targets[0]]
    else:
        targets = (np.tile([classes - 1, 1], len(SATURATED)),)
        soft = one_hot(targets[0], classes)
    if name == "quality_focal_loss":
        targets += (np.ones(len(logits), np.float32),)
    anchors = [exact.exact_anchor(name, z, y, **options) for z, y in zip(logits, soft, strict=True)]
    return logits, targets, anchors


@all_cases
def test_tiny_and_saturated(name, options, engine):
    """A loss of 1e-12 is not 0, and one of 1e4 has the slope that it has."""
    logits, targets, anchors = saturated_case(CASES.index((name, options)))
    if "label_smoothing" not in options:
        assert sum(0 < anchor.loss < 1e-11 for anchor in anchors) >= 4
    check(name, engine, options, call(name, logits, targets, **options), anchors)


@pytest.mark.parametrize("clip", [0.05, 0.5, 0.9, 1e-6])
@pytest.mark.parametrize("gamma_neg", GAMMAS)
def test_probabilities_close_to_the_clip(gamma_neg, clip, engine):
    """The margin p - clip cancels, and is the base of a power."""
    options = {"gamma_neg": gamma_neg, "clip": clip}
    corner = np.float32(np.log(clip / (1 - clip)))
    steps = np.concatenate([np.arange(-6, 7), [-1000, 100, 1000, 10_000, 100_000]])
    # About 0 floats are too dense for p to follow.
    logits = corner + np.spacing(max(np.abs(corner), np.float32(1))) * steps.astype(np.float32)
    result = fx.asymmetric_loss(
        logits, np.zeros(len(logits), int), axis=None, return_grad=True, **options
    )
    anchors = [exact.exact_anchor("asymmetric_loss", [z], [0], **options) for z in logits]
    check("asymmetric_loss", engine, options, result, anchors)


@pytest.mark.parametrize("beta", GAMMAS)
def test_scores_close_to_the_probability(beta, engine):
    """The distance |y - p| cancels, and is the base of a power."""
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 3, 90).astype(np.float32)
    logits[4] = 0  # whose probability is its score, exactly
    probs = np.float32(1 / (1 + np.exp(-logits.astype(float))))
    steps = np.tile(np.float32([-1000, -20, -3, -1, 0, 1, 2, 20, 1000]), 10)
    scores = np.minimum(probs + np.spacing(probs) * steps, np.float32(1))
    result = fx.quality_focal_loss(
        logits, np.ones(len(logits), int), scores, beta=beta, axis=None, return_grad=True
    )
    anchors = [
        exact.exact_anchor("quality_focal_loss", [z], [y], beta=beta)
        for z, y in zip(logits, scores, strict=True)
    ]
    # Where they are neighbours, float64's own rounding shows in the backend "numpy".
    check("quality_focal_loss", engine, {"beta": beta}, result, anchors, 0.25)


@pytest.mark.parametrize("name", ["sigmoid_focal_loss", "varifocal_loss", "softmax_focal_loss"])
def test_alpha_of_each_class(name, engine):
    alpha = np.array([0, 0.125, 0.5, 0.875, 1])
    logits, targets, soft = inputs(name, 5, 3.0, np.float32, dense=False)
    result = call(name, logits, targets, alpha=alpha)
    anchors = [
        exact.exact_anchor(name, z, y, alpha=alpha) for z, y in zip(logits, soft, strict=True)
    ]
    check(name, engine, {}, result, anchors)


@pytest.mark.parametrize("name", SIGMOID_LOSSES)
def test_losses_of_logits(name, engine):
    """reduction="none" does not add up, but its gradient is the same."""
    logits, targets, soft = inputs(name, 21, 10.0, np.float32, dense=False)
    loss, gradient = call(name, logits, targets, reduction="none")
    anchors = [exact.exact_anchor(name, z, y) for z, y in zip(logits, soft, strict=True)]
    terms = [term for anchor in anchors for term in anchor.terms]
    assert_stated(loss, terms, bounds(name, engine, {})[0])
    slopes = [slope for anchor in anchors for slope in anchor.gradient]
    assert_stated(gradient, slopes, bounds(name, engine, {})[1])


@pytest.mark.parametrize("spread", [0.1, 1.0, 10.0, 100.0])
@pytest.mark.parametrize("bins", [2, 8, 17, 80])
def test_expectation(bins, spread, engine):
    logits, positions, _ = inputs("distribution_focal_loss", bins, spread, np.float32, dense=False)
    _, expectation = fx.distribution_focal_loss(logits, *positions, return_expectation=True)
    some = slice(None, None, 9)
    expected = [exact.exact_expectation(z) for z in logits[some]]
    ulps, _ = bounds("distribution_focal_loss", engine, {})
    assert_stated(expectation[some], expected, ulps)


def probability_case(name, dtype, dense):
    rng = np.random.default_rng(7)
    probs = rng.random((50, 5)) ** 6  # over many magnitudes, towards 0 and towards 1
    probs[::2] = 1 - probs[::2]
    probs[4] = [0, 1, 1e-9, 1 - 1e-9, 0.5]  # all but the last are clipped
    probs = probs.astype(dtype)
    if dense:
        soft = rng.integers(0, 9, probs.shape) / 8
        return probs, (soft,), soft
    labels = rng.integers(0, 5, len(probs))
    labels[4] = 2
    return probs, (labels,), one_hot(labels, 5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("name", PROBABILITY_LOSSES)
def test_probabilities(name, dense, dtype, engine):
    probs, targets, soft = probability_case(name, dtype, dense)
    result = call(name, probs, targets)
    anchors = [exact.exact_anchor(name, p, y) for p, y in zip(probs, soft, strict=True)]
    check(name, engine, {}, result, anchors)


# --- the oracle -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*exact.SIGMOID_TERMS, *exact.WHOLE_ANCHORS])
@pytest.mark.parametrize("dense", [False, True])
def test_exact_slopes_are_those_of_the_exact_losses(name, dense):
    rng = np.random.default_rng(11)
    values = rng.random(4) if name in PROBABILITY_LOSSES else rng.normal(0, 4, 4)
    targets = rng.random(4) if dense else np.eye(4)[1]
    arguments = {"class_weight": rng.random(4)}
    step = mpmath.mpf(10) ** -18
    for k, slope in enumerate(exact.exact_anchor(name, values, targets, **arguments).gradient):
        row = [mpmath.mpf(value) for value in values]
        above, below = (
            exact.exact_anchor(name, [*row[:k], row[k] + s, *row[k + 1 :]], targets, **arguments)
            for s in (step, -step)
        )
        difference = (above.loss - below.loss) / (2 * step)
        assert abs(difference - slope) <= 1e-25 * abs(slope)
