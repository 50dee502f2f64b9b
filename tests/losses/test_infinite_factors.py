"""Infinite weights and factors of the gradient multiply finished losses and derivatives."""

import numpy as np
import pytest
from support import family

import fastxent as fx

INF, NAN = np.inf, np.nan
FACTORS = np.array([INF, -INF, NAN, 2.0])
every_loss = pytest.mark.parametrize("name", family.LOSSES)


def arguments_of(name, classes, dtype):
    """Return four equal anchors of which no loss and no derivative is 0 or clipped."""
    values = np.tile(np.linspace(0.25, 0.75, classes, dtype=dtype), (4, 1))
    return values, *family.targets_for(name, np.random.default_rng(3), values[:1].repeat(4, 0))


def products(results, factors):
    """Return what IEEE 754 has for factors of these results, NaN where it is."""
    with np.errstate(invalid="ignore"):
        return results * factors.reshape(-1, *(1,) * (results.ndim - 1))


@every_loss
@pytest.mark.parametrize(("classes", "dtype"), [(3, np.float32), (20, np.float64)])
def test_factors_of_anchors_multiply_finished_results(name, classes, dtype, engine):
    values, *targets = arguments_of(name, classes, dtype)
    function = family.public(name)
    loss, grad = function(values, *targets, return_grad=True)
    assert loss.all()
    assert grad.all()
    weighted = function(values, *targets, weight=FACTORS, return_grad=True)
    scaled = function(values, *targets, grad_output=FACTORS, return_grad=True)
    np.testing.assert_allclose(weighted[0], products(loss, FACTORS), 1e-6)
    np.testing.assert_allclose(weighted[1], products(grad, FACTORS), 1e-6)
    np.testing.assert_array_equal(scaled[0], loss)
    np.testing.assert_allclose(scaled[1], products(grad, FACTORS), 1e-6)


@pytest.mark.parametrize("name", family.PER_CLASS)
def test_factors_of_terms_multiply_them_alone(name, engine):
    values, *targets = arguments_of(name, 5, np.float32)
    function = family.public(name)
    options = {"reduction": "none", "return_grad": True}
    loss, grad = function(values, *targets, **options)
    factors = np.where(np.eye(4, 5, dtype=bool), FACTORS[:, None], 1.0)
    weighted = function(values, *targets, weight=factors, **options)
    scaled = function(values, *targets, grad_output=factors, **options)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(weighted[0], loss * factors, 1e-6)
        np.testing.assert_allclose(weighted[1], grad * factors, 1e-6)
        np.testing.assert_allclose(scaled[1], grad * factors, 1e-6)


def test_infinite_weight_of_a_loss_of_zero_is_nan(engine):
    logits = np.array([[INF, -INF], [1.0, 2.0]], np.float32)
    loss, grad = fx.sigmoid_cross_entropy(logits, [0, 0], weight=[INF, 1.0], return_grad=True)
    np.testing.assert_array_equal(np.isnan(loss), [True, False])
    np.testing.assert_array_equal(np.isnan(grad), [[True, True], [False, False]])


def test_ignored_anchors_have_no_infinite_weight(engine):
    values = np.array([[0.5, 0.25], [0.75, 0.5]], np.float32)
    for name in ("sigmoid_cross_entropy", "softmax_cross_entropy", *family.PROBABILITY_LOSSES):
        loss, grad = family.public(name)(
            values, [-100, 1], weight=[INF, 1.0], grad_output=[NAN, 1.0], return_grad=True
        )
        assert loss[0] == 0
        assert not grad[0].any()
        assert np.isfinite(loss[1])


@pytest.mark.parametrize("name", ["binary_cross_entropy", "sigmoid_cross_entropy"])
@pytest.mark.parametrize("factor", [INF, -INF])
def test_torch_has_the_same_infinite_gradients(name, factor, engine):
    torch = pytest.importorskip("torch")
    of_torch = {
        "binary_cross_entropy": torch.nn.functional.binary_cross_entropy,
        "sigmoid_cross_entropy": torch.nn.functional.binary_cross_entropy_with_logits,
    }
    values = np.array([[0.25, 0.5, 0.75]], np.float32)
    targets = np.array([[1.0, 0.0, 0.0]], np.float32)
    tensor = torch.tensor(values, requires_grad=True)
    losses = of_torch[name](tensor, torch.tensor(targets), reduction="none")
    losses.backward(torch.full((1, 3), factor))
    _, grad = family.public(name)(
        values, targets, reduction="none", return_grad=True, grad_output=np.full((1, 3), factor)
    )
    np.testing.assert_array_equal(grad, tensor.grad.numpy())
