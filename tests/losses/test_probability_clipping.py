"""Losses of probabilities where eps, or a probability, is below the normal numbers of its dtype."""

import functools
import math

import ml_dtypes
import mpmath
import numpy as np
import pytest
from support import family_oracles as exact
from support.oracles import assert_accurate, one_hot

import fastxent as fx
from fastxent import _catalogue

FLOAT32, FLOAT64, BFLOAT16 = map(np.dtype, (np.float32, np.float64, ml_dtypes.bfloat16))
#: Normal, subnormal and none in float32, and in float64.
EPS = {
    FLOAT32: [
        1e-7,
        1e-30,
        2.0**-126,
        1e-38,
        2.5e-42,
        math.exp(-100),
        2.0**-149,
        1e-45,
        1e-50,
        1e-310,
    ],
    FLOAT64: [1e-7, 1e-17, 1e-290, 2.0**-1022, 1e-308, 1e-310, 2.5e-318, 5e-324],
}
EPS[BFLOAT16] = EPS[FLOAT32]


def probabilities(dtype, eps):
    """Return numbers from 0 to 1 of all magnitudes, and some about eps and 1 - eps."""
    limits = ml_dtypes.finfo(dtype)
    lowest = np.geomspace(float(limits.smallest_subnormal), 0.3, 13)
    corners = [limits.smallest_subnormal, limits.smallest_normal, eps, 1 - eps]
    probs = np.array([0, 0.5, 1, *lowest, *corners, *(1 - lowest[-6:])], dtype)
    return np.unique(
        [probs, np.nextafter(probs, dtype.type(0)), np.nextafter(probs, dtype.type(1))]
    )


def ulps(name, engine, dtype):
    """Return the bounds of a loss and of its gradient."""
    loss, gradient = _catalogue.LOSSES[name].bounds.of(0)
    if dtype == np.float64:
        return 2 * loss + 8, 2 * gradient + 8
    return (0.51, 0.51) if engine == "numpy" else (loss, gradient)


def exact_anchors(name, probs, soft, eps):
    """Return what mpmath makes of the formula; 1 - eps has many digits."""
    with mpmath.workdps(350):
        return [exact.exact_anchor(name, p, y, eps=eps) for p, y in zip(probs, soft, strict=True)]


def check(name, engine, probs, targets, anchors, eps, grad_output=1):
    """Compare a loss and its gradient with exact ones."""
    options = {"eps": eps, "grad_output": grad_output}
    loss, gradient = getattr(fx, name)(probs, targets, return_grad=True, **options)
    loss_ulps, gradient_ulps = ulps(name, engine, loss.dtype)
    assert_accurate(loss, [anchor.loss for anchor in anchors], loss_ulps)
    if gradient.dtype == loss.dtype:
        slopes = [grad_output * slope for anchor in anchors for slope in anchor.gradient]
        scale = [[float(grad_output * s) for s in anchor.scale] for anchor in anchors]
        largest = float(np.finfo(gradient.dtype).max)
        assert_accurate(gradient, slopes, gradient_ulps, np.minimum(scale, largest / 2))


@functools.cache
def binary_case(dtype, target, eps):
    probs = probabilities(dtype, eps)[:, None]
    targets = np.full(probs.shape, target)
    return probs, targets, exact_anchors("binary_cross_entropy", probs, targets, eps)


@pytest.mark.parametrize("target", [0, 1, 0.5, 1e-30])
@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64, BFLOAT16], ids=str)
def test_binary(dtype, target, engine):
    for eps in EPS[dtype]:
        case = binary_case(dtype, target, eps)
        # A slope of 1/p may be out of range, and the product not.
        for grad_output in (1, 2.0**-30):
            check("binary_cross_entropy", engine, *case, eps, grad_output)


def pairs_of(dtype, eps):
    """Return probabilities of two classes, whose sum may be any."""
    huge = float(ml_dtypes.finfo(dtype).max) / 4
    tiny = float(ml_dtypes.finfo(dtype).smallest_subnormal)
    pairs = [[0, 1], [1, tiny], [tiny, 1], [0, tiny], [3 * tiny, 2 * tiny], [tiny, huge], [huge, 9]]
    pairs += [[1e-30, 1e20], [1e-20, 1e20], [1e-20, 3e-20], [1e-38, 0.75], [0, 1e-38], [0, 1e-25]]
    if dtype == FLOAT64:
        pairs += [[1e-200, 1e150], [1e-310, 1e-300], [1e-160, 1e150], [1e-300, huge]]
    probs = np.array(pairs, dtype)
    # On the very edge a rounded sum decides.
    smaller = [mpmath.mpf(float(min(pair))) / mpmath.fsum(map(float, pair)) for pair in probs]
    return probs[[abs(share / eps - 1) > 1e-6 for share in smaller]]


@functools.cache
def categorical_case(dtype, classes, label, soft_targets, eps):
    pairs = pairs_of(dtype, eps)
    probs = np.zeros((len(pairs), classes), dtype)
    probs[:, :2] = pairs
    labels = np.full(len(pairs), label)
    soft = one_hot(labels, classes)
    if soft_targets:
        soft[:, :2] = [0.125, 0.75]
    targets = soft if soft_targets else labels
    return probs, targets, exact_anchors("categorical_cross_entropy", probs, soft, eps)


@pytest.mark.parametrize("classes", [2, 40])
@pytest.mark.parametrize("soft_targets", [False, True])
@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64, BFLOAT16], ids=str)
def test_categorical(dtype, soft_targets, classes, engine):
    """Classes beyond the second have none of the sum."""
    for eps in [*EPS[dtype], 1e-80]:
        for label in (0,) if soft_targets else (0, 1):
            case = categorical_case(dtype, classes, label, soft_targets, eps)
            check("categorical_cross_entropy", engine, *case, eps)


def test_where_torch_cuts_off(engine):
    """Its logarithms end at -100."""
    torch = pytest.importorskip("torch")
    probs = np.float32([0, 1, 1e-42, 1e-44, 0.25, 1])
    targets = np.float32([1, 0, 1, 1, 0, 1])
    expected = torch.nn.functional.binary_cross_entropy(
        torch.tensor(probs.astype(float)), torch.tensor(targets.astype(float)), reduction="none"
    )
    result = fx.binary_cross_entropy(probs, targets, axis=None, eps=math.exp(-100))
    np.testing.assert_allclose(result, expected, rtol=3e-7, atol=1e-43)


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
@pytest.mark.parametrize("eps", [1e-17, 1e-50, 1e-310])
def test_what_is_clipped_has_no_slope(eps, dtype, engine):
    """1 - eps is 1 here, and eps itself may be 0."""
    highest, lowest = -math.log(eps), -math.log1p(-eps)
    for p, target, expected in ((0, 1, highest), (0, 0, lowest), (1, 0, highest), (1, 1, lowest)):
        loss, gradient = fx.binary_cross_entropy(
            np.array([[p]], dtype), np.array([[target]]), eps=eps, return_grad=True
        )
        np.testing.assert_allclose(loss, [expected], rtol=2e-7, atol=1e-45)
        assert gradient == 0
        probs = np.array([[p, 1 - p]], dtype)
        loss, gradient = fx.categorical_cross_entropy(
            probs, np.array([1 - target]), eps=eps, return_grad=True
        )
        np.testing.assert_allclose(loss, [expected], rtol=2e-7, atol=1e-45)
        assert (gradient == 0).all()


@pytest.mark.parametrize("eps", [1e-7, 1e-40, 1e-60])
def test_a_limit_between_two_numbers(eps, engine):
    """What is below eps is clipped, though it may be the nearest number to it."""
    for number in (0.01, 0.1, eps):
        nearest = np.float32(number)
        _, gradient = fx.binary_cross_entropy(
            np.array([[nearest]]), [[1.0]], eps=number, return_grad=True
        )
        assert (gradient == 0) == (float(nearest) < number)
        _, gradient = fx.binary_cross_entropy(
            np.array([[nearest]]), [[1.0]], eps=max(float(nearest), 2.0**-149), return_grad=True
        )
        assert (gradient == 0) == (nearest == 0)


@pytest.mark.parametrize("eps", [1e-7, 1e-40, 1e-60])
@pytest.mark.parametrize("name", ["binary_cross_entropy", "categorical_cross_entropy"])
def test_nan_stays_nan(name, eps, engine):
    probs = np.full((40, 20), 1e-40, np.float32)
    probs[:, 1] = 0.75
    probs[3, 5] = np.nan
    for targets in (np.zeros(40, int), np.full((40, 20), 0.5)):
        loss, gradient = getattr(fx, name)(probs, targets, eps=eps, return_grad=True)
        assert np.flatnonzero(np.isnan(loss)).tolist() == [3]
        rows = np.unique(np.argwhere(np.isnan(gradient))[:, 0])
        assert rows.tolist() == [3]
