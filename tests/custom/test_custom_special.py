"""Custom losses where floats end: NaN, infinities, overflow, kinks; and against torch."""

import mpmath
import numpy as np
import pytest
from support.custom import exact_values, focal, per_logit

import fastxent as fx
from fastxent import math

pytest.importorskip("numba")

focal_loss = fx.custom_loss(focal)


@fx.custom_loss
def naive(logit, target):
    """Cross-entropy as a textbook has it, via probabilities."""
    p = 1 / (1 + math.exp(-logit))
    return -target * math.log(p) - (1 - target) * math.log(1 - p)


@fx.custom_loss
def by_probability(logit, target):
    p = math.sigmoid(logit)
    return -target * math.log(p) - (1 - target) * math.log(1 - p)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("classes", [3, 40, 300])
@pytest.mark.parametrize("reduction", ["anchor", "none"])
def test_nan_stays_in_its_anchor(reduction, classes, dense):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (33, classes)).astype(np.float32)
    targets = rng.integers(0, classes + 1, 33)
    if dense:
        targets = (targets[:, None] == np.arange(classes)).astype(np.float32)
    for loss in (
        focal_loss,
        fx.custom_loss(lambda logit, target: math.where(logit > 0, 1, target)),
    ):
        expected = loss(logits, targets, reduction=reduction, return_grad=True)
        for place in ((5, 0), (17, classes - 1), (32, classes // 2)):
            values = logits.copy()
            values[place] = np.nan
            result, grad = loss(values, targets, reduction=reduction, return_grad=True)
            is_hit = np.zeros(logits.shape, bool)
            is_hit[place] = True
            of_loss = is_hit if reduction == "none" else is_hit.any(-1)
            np.testing.assert_array_equal(np.isnan(result), of_loss)
            np.testing.assert_allclose(result[~of_loss], expected[0][~of_loss], 1e-4)
            np.testing.assert_array_equal(np.isnan(grad), is_hit)
            np.testing.assert_allclose(grad[~is_hit], expected[1][~is_hit], 1e-4, 1e-9)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("padding", [0, 40])
def test_infinite_logits(dense, padding):
    """A factor of 0 removes even an infinite term, as in all losses; 1 - p cancels for others."""
    logits = np.array([[np.inf, -np.inf], [np.inf, -np.inf], [-np.inf, 1], [3, np.inf]])
    labels = np.array([0, 1, 0, 0])
    logits = np.pad(logits, ((0, 0), (0, padding)), constant_values=-30)
    targets = (labels[:, None] == np.arange(2 + padding)).astype(float) if dense else labels
    expected, slopes = fx.sigmoid_focal_loss(logits, targets, return_grad=True)
    loss, grad = focal_loss(logits, targets, return_grad=True)
    np.testing.assert_allclose(loss, expected, 1e-12, 1e-30)
    np.testing.assert_allclose(grad, slopes, 1e-12, 1e-30)


def test_functions_that_underflow_are_repaired():
    """Where 1 - p is 0 in float32, or in float64, log(1 - p) is finite as one function."""
    logits = np.array([-700, -120, -20, 0, 20, 120, 700], np.float32)
    for target in (0, 1):
        targets = np.full(logits.shape, target)
        expected = fx.sigmoid_cross_entropy(logits, targets, axis=None, backend="numpy")
        np.testing.assert_allclose(per_logit(by_probability, logits, targets), expected, 3e-7)
    moderate = logits[2:5] / 2
    expected = fx.sigmoid_cross_entropy(moderate, np.zeros(3, int), axis=None, backend="numpy")
    np.testing.assert_allclose(per_logit(naive, moderate), expected, 2e-3)
    # exp(-z) overflows in float32, and not in float64.
    result, grad = per_logit(naive, logits[1:2], np.ones(1, int), return_grad=True)
    np.testing.assert_allclose(result, 120, 1e-6)
    np.testing.assert_allclose(grad, -1, 1e-6)


def test_functions_that_overflow_are_taken_together():
    """exp(800) is infinite in float64 too."""
    loss = fx.custom_loss(lambda logit, target: math.log1p(math.exp(logit)))
    result, grad = per_logit(loss, [800.0, -2.0], return_grad=True)
    np.testing.assert_allclose(result, [800, np.log1p(np.exp(-2))], 1e-15)
    np.testing.assert_allclose(grad, [1, 1 / (1 + np.exp(2))], 1e-15)


def test_powers_of_what_underflows():
    """sigmoid(-200)^0.25 is 1.9e-22 and its slope a quarter of it: 0 times infinity in float32."""
    loss = fx.custom_loss(lambda logit, target, g: math.sigmoid(logit) ** g)
    logits = np.array([-200.0, -90.0, -1.0], np.float32)
    for g in (0.25, 0.5):
        result, grad = per_logit(loss, logits, g=g, return_grad=True)
        exact = exact_values(lambda z, g=g: mpmath.exp(-g * mpmath.log1p(mpmath.exp(-z))), logits)
        np.testing.assert_allclose(result, exact, 2e-6, 1e-44)
        rest = exact_values(lambda z: 1 / (1 + mpmath.exp(z)), logits)
        np.testing.assert_allclose(grad, g * exact * rest, 2e-6, 1e-44)


def test_branches_that_are_not_taken():
    """sqrt of a negative number, and its slope, are NaN, without a warning."""
    loss = fx.custom_loss(lambda logit, target: math.where(logit > 0, math.sqrt(logit), 0))
    result, grad = per_logit(loss, [-1.0, 4.0, 0.0], return_grad=True)
    np.testing.assert_array_equal(result, [0, 2, 0])
    np.testing.assert_array_equal(grad, [0, 0.25, 0])


def test_kinks():
    """The slope is that of the side that docstrings say."""
    for function, slope in (
        (lambda logit, target: math.maximum(logit, 0), 0),
        (lambda logit, target: math.maximum(0, logit), 1),
        (lambda logit, target: math.minimum(logit, 0), 0),
        (lambda logit, target: abs(logit), 0),
        (lambda logit, target: math.clip(logit, 0, 1), 0),
    ):
        assert per_logit(fx.custom_loss(function), [0.0], return_grad=True)[1] == slope


def test_losses_without_end_are_infinite():
    loss = fx.custom_loss(lambda logit, target: math.exp(logit))
    result, grad = loss(np.full((2, 40), [[1000.0], [0.0]]), [0, 40], return_grad=True)
    np.testing.assert_array_equal(result, [np.inf, 40])
    np.testing.assert_array_equal(grad, [[np.inf] * 40, [1] * 40])


# --- torch ----------------------------------------------------------------------------------------


def composite(logit, target, a=0.3, b=1.6):
    """One of everything."""
    p = math.sigmoid(a * logit)
    bent = math.where(logit > b, math.log1p(logit * logit), math.expm1(logit / 3))
    power = (p + 0.1) ** b / (1 + math.exp(-logit)) + math.sqrt(math.softplus(logit) + target)
    return math.maximum(bent, -power) * math.tanh(power) - abs(target - p) ** 3 * math.log(p + a)


def test_gradients_like_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(0, 3, (50, 40)), rng.integers(0, 5, (50, 40)) / 4
    loss, grad = fx.custom_loss(composite)(logits, targets, a=0.4, return_grad=True)
    z = torch.tensor(logits, requires_grad=True)
    y, a, b = torch.tensor(targets), 0.4, 1.6
    p = torch.sigmoid(a * z)
    bent = torch.where(z > b, torch.log1p(z * z), torch.expm1(z / 3))
    power = (p + 0.1) ** b / (1 + torch.exp(-z)) + torch.sqrt(torch.nn.functional.softplus(z) + y)
    terms = torch.maximum(bent, -power) * torch.tanh(power) - (y - p).abs() ** 3 * torch.log(p + a)
    terms.sum().backward()
    np.testing.assert_allclose(loss, terms.detach().numpy().sum(-1), 1e-12)
    np.testing.assert_allclose(grad, z.grad.numpy(), 1e-11, 1e-13)
    np.testing.assert_allclose(composite(logits, targets, a), terms.detach().numpy(), 1e-12)


@pytest.mark.parametrize("dense", [False, True])
def test_focal_like_our_own(dense):
    """The formula of the package, written by a user."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 4, (64, 80)).astype(np.float32)
    targets = rng.integers(0, 81, 64)
    if dense:
        targets = rng.integers(0, 3, (64, 80)) / np.float32(2)
    expected = fx.sigmoid_focal_loss(logits, targets, return_grad=True, backend="numpy")
    result = focal_loss(logits, targets, return_grad=True)
    np.testing.assert_allclose(result[0], expected[0], 1e-6)
    np.testing.assert_allclose(result[1], expected[1], 1e-5, 1e-6)
