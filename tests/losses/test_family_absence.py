"""What contributes nothing: ignored anchors, zero weights, empty arrays; and NaN, which spreads."""

import numpy as np
import pytest
from support.family import (
    HARD_SOFTMAX_LOSSES,
    LOGIT_LOSSES,
    LOSSES,
    PER_CLASS,
    public,
    targets_for,
    values_for,
)

NAN = np.nan

every_loss = pytest.mark.parametrize("name", LOSSES)
every_logit_loss = pytest.mark.parametrize("name", LOGIT_LOSSES)
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
both_axes = pytest.mark.parametrize("axis", [-1, 0])
# Kernels differ for few classes (anchors as lanes) and for many (classes as lanes).
class_counts = pytest.mark.parametrize("classes", [3, 40])


def example(name, classes, dtype, axis=-1, anchors=131):
    rng = np.random.default_rng(0)
    shape = (anchors, classes) if axis == -1 else (classes, anchors)
    values = values_for(name, rng, shape, dtype)
    return values, targets_for(name, rng, values, axis), rng


@every_loss
@both_dtypes
@both_axes
@class_counts
def test_nan_stays_with_its_anchor(name, classes, axis, dtype, backend):
    values, targets, rng = example(name, classes, dtype, axis)
    clean_loss, clean = public(name)(values, *targets, axis=axis, return_grad=True)
    rows = np.moveaxis(values, axis, -1)
    special = np.zeros(len(rows), dtype=bool)
    special[[0, 5, 17, 64, 130]] = True
    columns = rng.integers(0, classes, special.sum())
    rows[special, columns] = NAN
    loss, gradient = public(name)(values, *targets, axis=axis, return_grad=True)
    gradient, clean = (np.moveaxis(array, axis, -1) for array in (gradient, clean))
    np.testing.assert_allclose(gradient[~special], clean[~special], rtol=2e-6, atol=1e-9)
    np.testing.assert_allclose(loss[~special], clean_loss[~special], rtol=2e-6)
    assert np.isnan(loss[special]).all()
    assert np.isnan(gradient[special, columns]).all()
    if name not in PER_CLASS:
        assert np.isnan(gradient[special]).all()


@every_loss
@both_dtypes
@both_axes
@class_counts
def test_ignored_anchors_have_no_gradient(name, classes, axis, dtype, backend):
    """Not a NaN, not a negative zero; nor do they count for a mean."""
    values, targets, rng = example(name, classes, dtype, axis)
    anchors = np.moveaxis(values, axis, -1)
    ignored = rng.random(len(anchors)) < 0.3
    ignored[[0, -1]] = True
    kept = np.delete(anchors, ignored, axis=0), *(np.delete(t, ignored) for t in targets)
    targets[0][ignored] = -100
    anchors[ignored] = rng.choice([NAN, np.inf, -np.inf], size=anchors[ignored].shape)
    for reduction in ("anchor", "sum", "mean"):
        arguments = {"reduction": reduction, "return_grad": True}
        loss, gradient = public(name)(values, *targets, axis=axis, **arguments)
        gradient = np.moveaxis(gradient, axis, -1)
        assert not np.signbit(gradient[ignored]).any()
        assert (gradient[ignored] == 0).all()
        kept_loss, kept_gradient = public(name)(*kept, **arguments)
        loss = loss[~ignored] if reduction == "anchor" else loss
        np.testing.assert_allclose(loss, kept_loss, rtol=2e-6)
        np.testing.assert_allclose(gradient[~ignored], kept_gradient, rtol=2e-6, atol=1e-9)


@every_loss
@both_dtypes
def test_zero_weights_give_zero_gradients(name, dtype, backend):
    values, targets, rng = example(name, 5, dtype, anchors=40)
    zero = rng.random(40) < 0.5
    weight = np.where(zero, 0.0, 1.5)
    _, gradient = public(name)(values, *targets, weight=weight, return_grad=True)
    assert (gradient[zero] == 0).all()
    assert (gradient[~zero] != 0).any(axis=1).all()
    for options in ({"weight": 0}, {"grad_output": 0}, {"grad_output": np.zeros(40)}):
        _, gradient = public(name)(values, *targets, return_grad=True, **options)
        assert (gradient == 0).all()
    if name in PER_CLASS:
        class_weight = np.array([1, 0, 2, 0, 1])
        _, gradient = public(name)(values, *targets, class_weight=class_weight, return_grad=True)
        assert (gradient[:, class_weight == 0] == 0).all()
        _, gradient = public(name)(
            values, *targets, weight=rng.random((40, 5)) * class_weight, return_grad=True
        )
        assert (gradient[:, class_weight == 0] == 0).all()
    elif name != "distribution_focal_loss":
        class_weight = np.array([1, 0, 2, 0, 1])
        _, gradient = public(name)(values, *targets, class_weight=class_weight, return_grad=True)
        assert (gradient[class_weight[targets[0]] == 0] == 0).all()


@every_loss
@pytest.mark.parametrize("shape", [(0, 5), (4, 0, 5), (0, 0, 5)])
def test_no_anchors(name, shape, backend):
    values = np.empty(shape, np.float32)
    labels = np.empty(shape[:-1], float if name == "distribution_focal_loss" else int)
    targets = (labels, labels.astype(float)) if name == "quality_focal_loss" else (labels,)
    for reduction in ("anchor", "sum", "mean"):
        loss, gradient = public(name)(values, *targets, reduction=reduction, return_grad=True)
        assert gradient.shape == shape
        assert gradient.dtype == np.float32
        if reduction == "anchor":
            assert loss.shape == shape[:-1]
        else:
            assert loss == 0
    with pytest.raises(ValueError, match="nothing to average over"):
        public(name)(values, *targets, reduction="mean", empty="raise", return_grad=True)


@every_loss
@pytest.mark.parametrize("normalizer", ["valid", "weight", 0])
def test_nothing_to_average_over(name, normalizer, backend):
    """The mean is `empty`, its gradient is zero, and "raise" leaves grad_out as it was."""
    values, targets, _ = example(name, 5, np.float32, anchors=20)
    arguments = {"reduction": "mean", "normalizer": normalizer, "return_grad": True}
    if normalizer == "weight":
        arguments["weight"] = np.zeros(20)
    elif normalizer == "valid":
        targets[0][:] = -100
    for empty in (0.0, -3.0, NAN):
        out = np.full_like(values, 7)
        loss, gradient = public(name)(values, *targets, empty=empty, grad_out=out, **arguments)
        np.testing.assert_array_equal(loss, empty)
        assert gradient is out
        assert (gradient == 0).all()
    out = np.full_like(values, 7)
    with pytest.raises(ValueError, match="nothing to average over"):
        public(name)(values, *targets, empty="raise", grad_out=out, **arguments)
    assert (out == 7).all()


@every_loss
def test_no_positives_to_average_over(name, backend):
    values, targets, _ = example(name, 5, np.float32, anchors=20)
    if name == "distribution_focal_loss":
        pytest.skip("every anchor that counts has a position")
    arguments = {"reduction": "mean", "normalizer": "positive", "return_grad": True}
    if name in PER_CLASS:
        targets[0][:] = 5
    else:
        targets[0][:] = 2
        arguments["background_index"] = 2
    loss, gradient = public(name)(values, *targets, **arguments)
    assert loss == 0
    assert (gradient == 0).all()


@every_loss
def test_arguments_that_need_return_grad(name, backend):
    values, targets, _ = example(name, 5, np.float32, anchors=20)
    for options in ({"grad_output": 1.0}, {"grad_out": np.empty_like(values)}):
        with pytest.raises(ValueError, match=next(iter(options))):
            public(name)(values, *targets, **options)


@every_logit_loss
def test_bad_targets_leave_the_results_alone(name, backend):
    values, targets, _ = example(name, 5, np.float32, anchors=20)
    targets[0][13] = 6
    out, grad_out = np.full(20, 7, np.float32), np.full_like(values, 7)
    with pytest.raises(ValueError, match=r"targets\[13\]|labels\[13\]"):
        public(name)(values, *targets, return_grad=True, out=out, grad_out=grad_out)
    assert (out == 7).all()
    assert (grad_out == 7).all()


@pytest.mark.parametrize("name", HARD_SOFTMAX_LOSSES)
def test_dense_rows_of_zeros_have_no_gradient(name, backend):
    values, _, rng = example(name, 5, np.float32, anchors=20)
    dense = rng.random((20, 5))
    dense[::2] = 0
    _, gradient = public(name)(values, dense, return_grad=True)
    assert (gradient[::2] == 0).all()
    assert (gradient[1::2] != 0).all()
