"""Errors of the parameters and the targets that the loss family adds."""

import re

import ml_dtypes
import numpy as np
import pytest
from support import family

import fastxent as fx

LOGITS = np.zeros((4, 8), dtype=np.float32)
LABELS = np.zeros(4, dtype=np.int64)
DENSE = np.zeros((4, 8), dtype=np.float32)
SCORES = np.full(4, 0.5, dtype=np.float32)
POSITIONS = np.full(4, 2.5, dtype=np.float32)

SIGMOIDS = [family.public(name) for name in family.PER_CLASS]
SOFTMAXES = [family.public(name) for name in family.LOSSES if name not in family.PER_CLASS]
all_losses = pytest.mark.parametrize("loss", SIGMOIDS + SOFTMAXES)


def raises(error, message):
    return pytest.raises(error, match="^" + re.escape(message) + "$")


def bad(array, index, value):
    array = array.copy()
    array[index] = value
    return array


def targets_of(loss):
    """Return valid arguments that follow the logits."""
    if loss is fx.quality_focal_loss:
        return LABELS, SCORES
    return (POSITIONS,) if loss is fx.distribution_focal_loss else (LABELS,)


# --- parameters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        (fx.sigmoid_focal_loss, "gamma"),
        (fx.softmax_focal_loss, "gamma"),
        (fx.varifocal_loss, "gamma"),
        (fx.quality_focal_loss, "beta"),
        (fx.asymmetric_loss, "gamma_neg"),
        (fx.asymmetric_loss, "gamma_pos"),
    ],
)
def test_exponents(loss, name):
    for value in (-0.5, np.nan, np.inf):
        with raises(ValueError, f"{name} = {value} is negative or not finite"):
            loss(LOGITS, *targets_of(loss), **{name: value})
    for value in (None, True, "2", [2.0]):
        with raises(TypeError, f"{name} must be a number, not {value!r}"):
            loss(LOGITS, *targets_of(loss), **{name: value})
    expected = loss(LOGITS, *targets_of(loss), **{name: 2.0})
    for value in (2, np.float32(2), np.array(2)):
        np.testing.assert_array_equal(loss(LOGITS, *targets_of(loss), **{name: value}), expected)


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan])
def test_alpha_of_the_sigmoid_focal_loss(value):
    with raises(ValueError, f"alpha = {value} is outside [0, 1]"):
        fx.sigmoid_focal_loss(LOGITS, LABELS, alpha=value)
    with raises(ValueError, f"alpha[3] = {value} is outside [0, 1]"):
        fx.sigmoid_focal_loss(LOGITS, LABELS, alpha=bad(np.ones(8), 3, value))


@pytest.mark.parametrize("loss", [fx.softmax_focal_loss, fx.varifocal_loss])
def test_alpha_of_the_others(loss):
    assert np.isfinite(loss(LOGITS, LABELS, alpha=7)).all()
    for value in (-0.5, np.nan, np.inf):
        with raises(ValueError, f"alpha = {value} is negative or not finite"):
            loss(LOGITS, LABELS, alpha=value)
        with raises(ValueError, f"alpha[3] = {value} is negative or not finite"):
            loss(LOGITS, LABELS, alpha=bad(np.ones(8), 3, value))


@pytest.mark.parametrize("loss", [fx.sigmoid_focal_loss, fx.softmax_focal_loss, fx.varifocal_loss])
def test_shape_and_dtype_of_alpha(loss):
    for shape in ((1,), (7,), (4, 8), (8, 1)):
        with raises(ValueError, f"alpha has shape {shape}, expected a number or (8,)"):
            loss(LOGITS, LABELS, alpha=np.ones(shape))
    with pytest.raises(TypeError, match=r"^alpha has dtype <U3, expected bool, integer"):
        loss(LOGITS, LABELS, alpha="0.5")


@pytest.mark.parametrize("value", [-0.05, 1e-31, 1.0, 1.5, np.nan, np.inf])
def test_clip(value):
    with raises(ValueError, f"clip = {value} is neither 0 nor from 1e-30 to below 1"):
        fx.asymmetric_loss(LOGITS, LABELS, clip=value)
    for valid in (0, 1e-30, 0.999):
        assert np.isfinite(fx.asymmetric_loss(LOGITS, LABELS, clip=valid)).all()


def test_parameters_of_the_focal_loss_star():
    with raises(ValueError, "gamma = 0.0 is not above 0"):
        fx.sigmoid_focal_loss_star(LOGITS, LABELS, gamma=0)
    for value in (-0.5, np.nan, np.inf):
        with raises(ValueError, f"gamma = {value} is negative or not finite"):
            fx.sigmoid_focal_loss_star(LOGITS, LABELS, gamma=value)
    for value in (np.nan, np.inf, -np.inf):
        with raises(ValueError, f"beta = {value} is not finite"):
            fx.sigmoid_focal_loss_star(LOGITS, LABELS, beta=value)
    with raises(ValueError, "alpha = 1.5 is outside [0, 1]"):
        fx.sigmoid_focal_loss_star(LOGITS, LABELS, alpha=1.5)


def test_epsilon():
    for value in (np.nan, np.inf, -np.inf):
        with raises(ValueError, f"epsilon = {value} is not finite"):
            fx.poly1_cross_entropy(LOGITS, LABELS, epsilon=value)
    with raises(TypeError, "epsilon must be a number, not None"):
        fx.poly1_cross_entropy(LOGITS, LABELS, epsilon=None)


@pytest.mark.parametrize("value", [0, 1, None, "yes", np.array([True])])
def test_flags(value):
    with raises(TypeError, f"iou_weighted must be True or False, not {value!r}"):
        fx.varifocal_loss(LOGITS, LABELS, iou_weighted=value)


@all_losses
def test_a_loss_takes_only_what_means_something_for_it(loss):
    focal = {"sigmoid_focal_loss", "sigmoid_focal_loss_star"}
    parameters = {
        "alpha": {*focal, "softmax_focal_loss", "varifocal_loss"},
        "gamma": {*focal, "softmax_focal_loss", "varifocal_loss"},
        "beta": {"quality_focal_loss", "sigmoid_focal_loss_star"},
        "clip": {"asymmetric_loss"},
        "epsilon": {"poly1_cross_entropy"},
        "label_smoothing": {
            "sigmoid_cross_entropy",
            "softmax_cross_entropy",
            "binary_cross_entropy",
            "categorical_cross_entropy",
        },
        "return_expectation": {"distribution_focal_loss"},
    }
    if loss is fx.distribution_focal_loss:
        parameters |= {"class_weight": set(), "background_index": set()}
    for name, losses in parameters.items():
        if loss.__name__ not in losses:
            with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
                loss(LOGITS, *targets_of(loss), **{name: 0.5})


# --- targets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5,), (), (4, 8), (4, 1)])
def test_shapes_of_labels_and_scores(shape):
    with raises(ValueError, f"labels has shape {shape}, expected (4,)"):
        fx.quality_focal_loss(LOGITS, np.zeros(shape, int), SCORES)
    with raises(ValueError, f"scores has shape {shape}, expected (4,)"):
        fx.quality_focal_loss(LOGITS, LABELS, np.zeros(shape))


@pytest.mark.parametrize("axis", [-1, None])
@pytest.mark.parametrize("dtype", [np.float32, np.bool_])
def test_labels_of_quality_focal_loss_are_integers(dtype, axis):
    logits = LOGITS if axis == -1 else LOGITS[:, 0]
    message = f"labels has dtype {np.dtype(dtype)}, but class labels are integers"
    with raises(TypeError, message):
        fx.quality_focal_loss(logits, LABELS.astype(dtype), SCORES, axis=axis)


def test_labels_of_quality_focal_loss_out_of_range(backend):
    message = (
        'labels[2] = 9 is not a class label: expected 0..7, 8 for "no class", '
        "or an ignore_index (-100)"
    )
    with raises(ValueError, message):
        fx.quality_focal_loss(LOGITS, bad(LABELS, 2, 9), SCORES)
    message = "labels[2] = 9 is not a class label: expected 0 or 1, or an ignore_index (-100)"
    with raises(ValueError, message):
        fx.quality_focal_loss(LOGITS[:, 0], bad(LABELS, 2, 9), SCORES, axis=None)


def test_quality_focal_loss_of_one_class():
    message = (
        "logits has one class, of which label 0 would be a positive: pass axis=None with "
        "labels 0 and 1"
    )
    with raises(ValueError, message):
        fx.quality_focal_loss(LOGITS[:, :1], LABELS, SCORES)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, 1.5, -0.25, np.inf])
def test_scores_outside_the_unit_interval(value, dtype, backend):
    with raises(ValueError, f"scores[3] = {value} is outside [0, 1]"):
        fx.quality_focal_loss(LOGITS, LABELS, bad(SCORES, 3, value).astype(dtype))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("value", [np.nan, 1.5, -0.25])
@pytest.mark.parametrize("axis", [0, 1])
def test_dense_targets_in_half_precision(value, axis, dtype, backend):
    with raises(ValueError, f"targets[3, 2] = {value} is outside [0, 1]"):
        fx.varifocal_loss(LOGITS, bad(DENSE, (3, 2), value).astype(dtype), axis=axis)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
@pytest.mark.parametrize("value", [-0.5, 7.5, np.nan, np.inf, -100.5, -1.0])
def test_positions_out_of_range(value, dtype, backend):
    targets = bad(POSITIONS, 2, value).astype(dtype)
    message = f"targets[2] = {targets[2]} is outside [0, 7], or an ignore_index (-100)"
    with raises(ValueError, message):
        fx.distribution_focal_loss(LOGITS, targets)
    with raises(ValueError, message.removesuffix(", or an ignore_index (-100)")):
        fx.distribution_focal_loss(LOGITS, targets, ignore_index=())


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", "bfloat16", "float64"])
def test_positions_of_any_dtype(dtype, backend):
    dtype = np.dtype(getattr(ml_dtypes, dtype, dtype))
    targets = np.array([0, 1, 1, 0])
    expected = fx.distribution_focal_loss(LOGITS, targets)
    result = fx.distribution_focal_loss(LOGITS, targets.astype(dtype))
    np.testing.assert_array_equal(result, expected)
    with raises(ValueError, f"targets[0] = {8} is outside [0, 7], or an ignore_index (-100)"):
        fx.distribution_focal_loss(LOGITS, np.array([8, 1, 1, 9], np.uint64))


def test_ignored_positions(backend):
    targets = np.array([-100, 3, 255, 6.5])
    result = fx.distribution_focal_loss(LOGITS, targets, ignore_index=(-100, 255))
    np.testing.assert_array_equal(result == 0, [True, False, True, False])
    logits = LOGITS.copy()
    logits[[0, 2]] = np.nan
    mean = fx.distribution_focal_loss(logits, targets, ignore_index=(-100, 255), reduction="mean")
    np.testing.assert_allclose(mean, (result[1] + result[3]) / 2, rtol=1e-6)
    with pytest.raises(ValueError, match=r"^targets\[0\] = -100\.0 is outside"):
        fx.distribution_focal_loss(LOGITS, targets, ignore_index=255)


@pytest.mark.parametrize("shape", [(5,), (), (4, 8), (4, 1)])
def test_shape_of_positions(shape):
    with raises(ValueError, f"targets has shape {shape}, expected (4,)"):
        fx.distribution_focal_loss(LOGITS, np.zeros(shape))


def test_a_distribution_has_two_classes_or_more():
    message = "logits has shape (4, 1): distribution_focal_loss needs two classes or more on axis 1"
    with raises(ValueError, message):
        fx.distribution_focal_loss(LOGITS[:, :1], POSITIONS)
    message = "axis=None is for single-class heads, but distribution_focal_loss needs classes"
    with raises(ValueError, message):
        fx.distribution_focal_loss(LOGITS, DENSE, axis=None)
