"""Custom losses with every option, compared with their functions on float64 arrays."""

import doctest
import inspect
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from support import family
from support.custom import focal, per_logit

import fastxent as fx
from fastxent import math

pytest.importorskip("numba")

GUIDE = (Path(__file__).parents[2] / "docs" / "guide" / "custom-losses.md").read_text("utf-8")
FUNCTIONS = {
    "focal": focal,
    "hinge": lambda logit, target: math.maximum(1 - (2 * target - 1) * logit, 0) ** 2,
    "offset": lambda logit, target, shift=3.0: math.tanh(logit) ** 2 + shift * (1 + target),
    "where": lambda logit, target, t=0.7: math.where(
        (logit > t) & (target < 1) | ~(logit > -t), math.log1p(logit**2), math.exp(-logit / 4)
    ),
}
LOSSES = {name: fx.custom_loss(function) for name, function in FUNCTIONS.items()}
names = pytest.mark.parametrize("name", FUNCTIONS)
SHAPE = (37, 35)


def inputs(dtype=np.float64, shape=SHAPE, *, dense=False):
    """Return logits, the targets to pass, and dense ones."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, shape).astype(dtype)
    if dense:
        targets = rng.integers(0, 5, shape) / 4
        return logits, targets.astype(dtype), targets
    labels = rng.integers(0, shape[-1] + 1, shape[:-1])
    labels.flat[1] = shape[-1]  # no class
    return logits, labels, (labels[..., None] == np.arange(shape[-1])).astype(float)


def terms_and_slopes(name, logits, dense):
    """Return the losses of all logits, and difference quotients (complex: with all digits)."""
    function = FUNCTIONS[name]
    z = np.asarray(logits, float)
    step = 1e-5
    values = [function(z + k * step, dense) for k in (-2, -1, 1, 2)]
    slopes = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
    return function(z, dense), slopes


@names
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("classes", [1, 3, 35, 80, 600])
def test_losses_and_gradients(name, dense, classes):
    """Few classes take the lane kernel, many the row kernel; 600 are more than a piece."""
    logits, targets, full = inputs(shape=(19, classes), dense=dense or classes == 1)
    terms, slopes = terms_and_slopes(name, logits, full)
    loss, grad = LOSSES[name](logits, targets, return_grad=True)
    np.testing.assert_allclose(loss, terms.sum(-1), 1e-13)
    np.testing.assert_allclose(grad, slopes, 1e-7, 1e-6)
    np.testing.assert_array_equal(LOSSES[name](logits, targets), loss)
    result, grad = LOSSES[name](logits, targets, reduction="none", return_grad=True)
    np.testing.assert_allclose(result, terms, 1e-12)
    np.testing.assert_allclose(grad, slopes, 1e-7, 1e-6)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["focal", "offset"])
@pytest.mark.parametrize("dtype", [np.float32, *family.HALVES])
def test_smaller_dtypes(name, dtype):
    logits, targets, full = inputs(dtype)
    terms, slopes = terms_and_slopes(name, logits, full)
    loss, grad = LOSSES[name](logits, targets, return_grad=True)
    assert (loss.dtype, grad.dtype) == (np.float32, dtype)
    np.testing.assert_allclose(loss, terms.sum(-1), 3e-6)
    digits = 3e-5 if dtype == np.float32 else 1e-2
    np.testing.assert_allclose(grad.astype(float), slopes, digits, digits / 10)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dense", [False, True])
def test_layouts(axis, dense):
    logits, targets, full = inputs(shape=(6, 7, 20), dense=dense)
    terms, _ = terms_and_slopes("focal", logits, full)
    moved = np.moveaxis(logits, -1, axis)
    targets = np.moveaxis(targets, -1, axis) if dense else targets
    for values in (moved, np.ascontiguousarray(moved), moved[::-1, ::-1][::-1, ::-1]):
        loss, grad = LOSSES["focal"](values, targets, axis=axis, return_grad=True)
        np.testing.assert_allclose(loss, terms.sum(-1), 1e-12)
        assert grad.shape == values.shape


# --- options --------------------------------------------------------------------------------------


def test_labels_and_ignored_anchors():
    logits, labels, full = inputs()
    terms, _ = terms_and_slopes("offset", logits, full)
    logits[3], labels[3] = np.nan, -100
    expected = terms.sum(-1)
    expected[3] = 0
    loss, grad = LOSSES["offset"](logits, labels, return_grad=True)
    np.testing.assert_allclose(loss, expected, 1e-13)
    assert not grad[3].any()
    shifted = np.where(labels == SHAPE[1], 0, labels + 1)
    shifted[3] = -7
    loss = LOSSES["offset"](logits, shifted, background_index=0, ignore_index=(-7, -8))
    np.testing.assert_allclose(loss, expected, 1e-13)


@pytest.mark.parametrize("dense", [False, True])
def test_weights(dense):
    logits, targets, full = inputs(dense=dense)
    terms, slopes = terms_and_slopes("focal", logits, full)
    rng = np.random.default_rng(1)
    for weights, factor in (
        ({"weight": 0.5}, 0.5),
        ({"weight": (w := rng.random(SHAPE[0]))}, w[:, None]),
        ({"weight": (w := rng.random(SHAPE))}, w),
        ({"class_weight": (w := rng.random(SHAPE[1]))}, w),
    ):
        loss, grad = LOSSES["focal"](logits, targets, return_grad=True, **weights)
        np.testing.assert_allclose(loss, (terms * factor).sum(-1), 1e-12)
        np.testing.assert_allclose(grad, slopes * factor, 1e-7, 1e-6)


@pytest.mark.parametrize("normalizer", ["valid", "weight", "positive", "count", 12.5])
def test_means(normalizer):
    logits, labels, full = inputs()
    labels[:5] = -100
    full[:5] = 0
    terms, slopes = terms_and_slopes("where", logits, full)
    weight = np.random.default_rng(1).random(SHAPE[0])
    kept = (labels != -100) * weight
    divisor = {
        "valid": (labels != -100).sum(),
        "weight": kept.sum(),
        "positive": ((labels != -100) & (labels < SHAPE[1])).sum(),
        "count": len(labels),
    }.get(normalizer, normalizer)
    arguments = {"reduction": "mean", "normalizer": normalizer, "weight": weight}
    loss, grad = LOSSES["where"](logits, labels, return_grad=True, grad_output=3.0, **arguments)
    assert loss == pytest.approx((terms * kept[:, None]).sum() / divisor, rel=1e-13)
    np.testing.assert_allclose(grad, 3 * slopes * kept[:, None] / divisor, 1e-7, 1e-9)
    assert LOSSES["where"](logits, labels, **arguments) == pytest.approx(loss, rel=1e-14)


@pytest.mark.exhaustive
def test_sum_and_outputs():
    logits, labels, full = inputs(np.float32)
    terms, _ = terms_and_slopes("focal", logits, full)
    assert LOSSES["focal"](logits, labels, reduction="sum") == pytest.approx(terms.sum(), rel=1e-6)
    out, grad_out = np.empty(SHAPE[0], np.float32), np.empty_like(logits)
    output = np.arange(SHAPE[0])
    loss, grad = LOSSES["focal"](
        logits, labels, out=out, return_grad=True, grad_out=grad_out, grad_output=output
    )
    assert loss is out
    assert grad is grad_out
    np.testing.assert_allclose(loss, terms.sum(-1), 1e-6)
    plain = LOSSES["focal"](logits, labels, return_grad=True)[1]
    np.testing.assert_allclose(grad, plain * output[:, None], 1e-6)


def test_no_anchors():
    assert LOSSES["focal"](np.empty((0, 4)), np.empty(0, int)).shape == (0,)
    assert LOSSES["focal"](np.empty((0, 4)), np.empty(0, int), reduction="mean") == 0


# --- parameters -----------------------------------------------------------------------------------


def test_parameters_are_numbers_of_a_call():
    """Other parameters, and other calls, compile nothing."""
    from fastxent.numba import kernels

    logits, labels, full = inputs(np.float32)
    loss = LOSSES["focal"]
    loss(logits, labels)
    before = len(kernels._compiled)
    for gamma in (0, 0.5, 1, 1.5, 2, 3, 4, np.float32(2.5)):
        for alpha in (0.25, 0.9):
            expected = focal(logits.astype(float), full, alpha, float(gamma)).sum(-1)
            result = loss(logits, labels, gamma=gamma, alpha=alpha)
            np.testing.assert_allclose(result, expected, 2e-6)
    assert len(kernels._compiled) == before


def test_equal_formulas_share_kernels():
    from fastxent.numba import kernels

    logits, labels, _ = inputs(np.float32)
    expected = LOSSES["focal"](logits, labels)
    before = len(kernels._compiled)
    np.testing.assert_array_equal(fx.custom_loss(focal)(logits, labels), expected)
    assert len(kernels._compiled) == before


def test_signature_and_docstring():
    loss = LOSSES["focal"]
    signature = inspect.signature(loss)
    common = list(inspect.signature(fx.sigmoid_cross_entropy).parameters.values())
    own = [p for p in common if p.name not in {"pos_weight", "label_smoothing", "backend"}]
    alpha, gamma = (signature.parameters[name] for name in ("alpha", "gamma"))
    assert list(signature.parameters) == [
        *(p.name for p in own[:2]),
        *("alpha", "gamma"),
        *(p.name for p in own[2:]),
    ]
    assert alpha.kind is gamma.kind is inspect.Parameter.KEYWORD_ONLY
    assert (alpha.default, gamma.default) == (0.25, 2.0)
    for parameter in own:
        assert signature.parameters[parameter.name].default == parameter.default
    assert loss.__doc__.startswith(focal.__doc__.rstrip())
    assert "gamma : float, default 2.0\n" in loss.__doc__
    assert "backend" not in loss.__doc__
    assert loss.__name__ == "focal"
    assert loss.__wrapped__ is focal


@fx.custom_loss
def of_this_module(logit, target):
    return (logit - target) ** 2


def test_docstring_examples():
    results = doctest.testmod(fx.custom)
    assert results.failed == 0
    assert results.attempted > 0


def test_example_of_the_guide():
    code = re.search(r"```python\n(import.*?)```", GUIDE, re.DOTALL)[1]
    logits, labels, _ = inputs(np.float32)
    names = {"logits": logits, "labels": labels}
    exec(code, names)
    assert names["loss"] > 0
    assert names["grad"].shape == logits.shape


def test_losses_of_a_module_can_be_pickled():
    assert pickle.loads(pickle.dumps(of_this_module)) is of_this_module


def test_a_derivative_of_your_own():
    @fx.custom_loss(derivative=lambda logit, target, scale: scale * logit)
    def straight_through(logit, target, scale):
        return math.where(logit > 0, scale, 0)

    values = np.array([-2.0, 0.5, 3.0])
    loss, grad = per_logit(straight_through, values, scale=4.0, return_grad=True)
    np.testing.assert_array_equal(loss, [0, 4, 4])
    np.testing.assert_array_equal(grad, 4 * values)


def test_constants_from_elsewhere_are_fixed():
    scale = 2.0

    @fx.custom_loss
    def scaled(logit, target):
        return sum(scale * logit for _ in range(3))

    assert per_logit(scaled, [1.0])[0] == 6
    scale = 3.0
    assert per_logit(scaled, [1.0])[0] == 6


def test_numbers_and_conditions_mix():
    """NumPy's numbers are numbers, on either side; a condition counts 1 or 0."""

    @fx.custom_loss
    def mixed(logit, target):
        line = np.float64(2) * logit + np.array(3.0) * target - np.float32(0.5) + np.int64(1)
        return line + 2 * (logit > np.float64(0)) + math.where(target, 1, 0)

    logits, labels, full = inputs()
    expected = 2 * logits + 3 * full + 0.5 + 2 * (logits > 0) + full
    np.testing.assert_allclose(mixed(logits, labels), expected.sum(-1), 1e-11)


def test_losses_that_do_not_depend_on_the_logit():
    loss = fx.custom_loss(lambda logit, target: 2)
    result, grad = loss(np.zeros((3, 40)), [0, 1, 40], return_grad=True)
    np.testing.assert_array_equal(result, 80)
    assert not grad.any()


@pytest.mark.parametrize("threads", [1, 2])
def test_threads(threads):
    logits, labels, _ = inputs(np.float32, (4001, 40))
    arguments = {"reduction": "sum", "return_grad": True}
    one, grad = LOSSES["focal"](logits, labels, num_threads=1, **arguments)
    loss, other = LOSSES["focal"](logits, labels, num_threads=threads, **arguments)
    assert loss == one
    np.testing.assert_array_equal(grad, other)
