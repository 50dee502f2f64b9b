"""Every error, with its message; and nothing is written when there is one."""

import re

import numpy as np
import pytest

import fastxent as fx

LOGITS = np.zeros((4, 80), dtype=np.float32)
LABELS = np.zeros(4, dtype=np.int64)
DENSE = np.zeros((4, 80), dtype=np.float32)

FROM_LOGITS = [fx.sigmoid_cross_entropy, fx.softmax_cross_entropy]
FROM_PROBS = [fx.binary_cross_entropy, fx.categorical_cross_entropy]
SIGMOIDS = [fx.sigmoid_cross_entropy, fx.binary_cross_entropy]
SOFTMAXES = [fx.softmax_cross_entropy, fx.categorical_cross_entropy]
all_losses = pytest.mark.parametrize("loss", FROM_LOGITS + FROM_PROBS)
sigmoids = pytest.mark.parametrize("loss", SIGMOIDS)
softmaxes = pytest.mark.parametrize("loss", SOFTMAXES)


def raises(error, message):
    return pytest.raises(error, match="^" + re.escape(message) + "$")


def bad(array, index, value):
    array = array.copy()
    array[index] = value
    return array


# --- logits and probabilities --------------------------------------------------------------------


@pytest.mark.parametrize("loss", FROM_LOGITS)
@pytest.mark.parametrize("dtype", ["int64", "bool", "complex64", "U3", "longdouble"])
def test_dtype_of_logits(loss, dtype):
    message = f"logits has dtype {np.dtype(dtype)}, expected float16, bfloat16, float32 or float64"
    with raises(TypeError, message):
        loss(LOGITS.astype(dtype), LABELS)


def test_dtype_of_probabilities_and_of_scores():
    message = "probs has dtype int64, expected float16, bfloat16, float32 or float64"
    for function in (fx.binary_cross_entropy, fx.categorical_cross_entropy):
        with raises(TypeError, message):
            function([[1, 0]], [0])
    message = "probs has dtype complex128, expected bool, integer, float16, bfloat16, float32 or "
    for function in (fx.logit, fx.odds):
        with raises(TypeError, message + "float64"):
            function([1j, 0])
    message = message.replace("probs", "logits").replace("complex128", "object")
    for function in (fx.sigmoid, fx.log_sigmoid, fx.softplus, fx.softmax, fx.logsumexp):
        with raises(TypeError, message + "float64"):
            function([2**64, 0])


def test_other_dtypes_of_ml_dtypes():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    message = "logits has dtype float8_e4m3fn, expected float16, bfloat16, float32 or float64"
    with raises(TypeError, message):
        fx.softmax_cross_entropy(LOGITS.astype(ml_dtypes.float8_e4m3fn), LABELS)


@pytest.mark.parametrize("name", ["logits", "targets", "weight", "class_weight"])
def test_masked_arrays(name):
    arguments = {"logits": LOGITS, "targets": LABELS, "weight": 1.0, "class_weight": np.ones(80)}
    arguments[name] = np.ma.masked_array(arguments[name])
    with pytest.raises(TypeError, match=f"^{name} is a masked array, whose mask would be lost"):
        fx.softmax_cross_entropy(**arguments)


@all_losses
def test_no_classes(loss):
    name = "logits" if loss in FROM_LOGITS else "probs"
    with raises(ValueError, f"{name} has shape (4, 0): no classes on axis -1"):
        loss(LOGITS[:, :0], LABELS)


def test_too_many_classes():
    logits = np.broadcast_to(np.float32(0), (1, 2**24 + 1))
    message = "logits has shape (1, 16777217): more than 16,777,216 classes on axis -1"
    with raises(ValueError, message):
        fx.sigmoid_cross_entropy(logits, [0])


def test_as_many_classes_as_floats_number():
    logits = np.zeros((1, 2**24), np.float32)
    for label in (0, 2**24 - 1):
        loss = fx.softmax_cross_entropy(logits, [label])
        np.testing.assert_allclose(loss, 24 * np.log(2), rtol=1e-6)


@all_losses
@pytest.mark.parametrize("axis", [2, -3, 100])
def test_axis_out_of_range(loss, axis):
    name = "logits" if loss in FROM_LOGITS else "probs"
    with raises(ValueError, f"axis {axis} is out of range for {name} with 2 dimensions"):
        loss(LOGITS, LABELS, axis=axis)


@pytest.mark.parametrize("axis", [True, 1.0, "1", np.True_, (1,)])
def test_axis_is_an_integer(axis):
    for function in (fx.sigmoid_cross_entropy, fx.softmax_cross_entropy):
        with raises(TypeError, f"axis must be an integer, not {axis!r}"):
            function(LOGITS, LABELS, axis=axis)


@softmaxes
def test_softmax_needs_an_axis(loss):
    message = f"axis=None is for single-class heads, but {loss.__name__} needs classes"
    with raises(ValueError, message):
        loss(LOGITS, LOGITS, axis=None)


def test_logits_without_dimensions():
    with raises(ValueError, "axis -1 is out of range for logits with 0 dimensions"):
        fx.sigmoid_cross_entropy(np.float32(1), 0)


# --- targets -------------------------------------------------------------------------------------


@sigmoids
@pytest.mark.parametrize(
    ("value", "options", "expected"),
    [
        (81, {}, '0..79, 80 for "no class", or an ignore_index (-100)'),
        (-1, {}, '0..79, 80 for "no class", or an ignore_index (-100)'),
        (81, {"background_index": 0}, '1..80, 0 for "no class", or an ignore_index (-100)'),
        (81, {"background_index": 1}, '0..80 where 1 is "no class", or an ignore_index (-100)'),
        (80, {"background_index": -1}, '0..79, -1 for "no class", or an ignore_index (-100)'),
        (-100, {"ignore_index": 255}, '0..79, 80 for "no class", or an ignore_index (255)'),
        (-2, {"ignore_index": (-1, 99)}, '0..79, 80 for "no class", or an ignore_index (-1, 99)'),
        (-100, {"ignore_index": ()}, '0..79, 80 for "no class"'),
    ],
)
def test_sigmoid_labels_out_of_range(loss, value, options, expected, backend):
    logits = np.zeros((4, 25, 80), dtype=np.float32)
    labels = bad(np.ones((4, 25), dtype=np.int64), (3, 17), value)
    with raises(ValueError, f"targets[3, 17] = {value} is not a class label: expected {expected}"):
        loss(logits, labels, **options)


@softmaxes
@pytest.mark.parametrize("value", [80, -1, 2**62])
def test_softmax_labels_out_of_range(loss, value, backend):
    message = (
        f"targets[2] = {value} is not a class label: expected 0..79, or an ignore_index (-100)"
    )
    with raises(ValueError, message):
        loss(LOGITS, bad(LABELS, 2, value))


def test_labels_of_a_single_class_out_of_range(backend):
    message = "targets[1] = 2 is not a class label: expected 0 or 1, or an ignore_index (-100)"
    with raises(ValueError, message):
        fx.sigmoid_cross_entropy(LOGITS[:, 0], [0, 2, 1, 3], axis=None)
    with raises(ValueError, message.replace("[1]", "")):
        fx.sigmoid_cross_entropy(np.float32(0), 2, axis=None)


@all_losses
def test_the_first_bad_label_is_named(loss, backend):
    labels = np.zeros((300, 1000), dtype=np.uint8)
    labels[17, 3:] = 200
    labels[200:] = 201
    with pytest.raises(ValueError, match=r"^targets\[17, 3\] = 200 is not a class label"):
        loss(np.zeros((300, 3, 1000), np.float32), labels, axis=1, num_threads=2)


def test_large_unsigned_labels_are_not_negative_ones(backend):
    labels = np.array([0, 2**64 - 100, 1, 2], dtype=np.uint64)
    with pytest.raises(ValueError, match=r"^targets\[1\] = 18446744073709551516 is not a class"):
        fx.softmax_cross_entropy(LOGITS, labels)


@all_losses
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.bool_])
def test_labels_are_integers(loss, dtype):
    message = f"targets has dtype {np.dtype(dtype)}, but class labels are integers"
    with raises(TypeError, message):
        loss(LOGITS, LABELS.astype(dtype))


@pytest.mark.parametrize("targets", [np.zeros(4, complex), ["a"] * 4, [None] * 4])
def test_dtype_of_targets(targets):
    dtype = np.asarray(targets).dtype
    expected = "bool, integer, float16, bfloat16, float32 or float64"
    message = f"targets has dtype {dtype}, expected {expected}"
    with raises(TypeError, message):
        fx.sigmoid_cross_entropy(LOGITS, targets)


@all_losses
@pytest.mark.parametrize("shape", [(5,), (), (4, 79), (80, 4), (4, 80, 1), (1, 4)])
def test_shape_of_targets(loss, shape):
    message = (
        f"targets has shape {shape}, expected (4,) for class labels or (4, 80) for dense targets"
    )
    with raises(ValueError, message):
        loss(LOGITS, np.zeros(shape, dtype=int))


@sigmoids
def test_shape_of_targets_of_a_single_class(loss):
    with raises(ValueError, "targets has shape (4,), expected (4, 80)"):
        loss(LOGITS, LABELS, axis=None)


@all_losses
def test_labels_of_one_class_are_refused(loss):
    name = "logits" if loss in FROM_LOGITS else "probs"
    sigmoid = "" if loss in SIGMOIDS else " to a sigmoid loss"
    message = (
        f"{name} has one class, of which label 0 would be a positive: pass axis=None with "
        f"targets 0 and 1{sigmoid}, or dense targets of shape (4, 1)"
    )
    with raises(ValueError, message):
        loss(LOGITS[:, :1], LABELS)


@all_losses
@pytest.mark.parametrize("value", [np.nan, 1.5, -0.25, np.inf])
@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_dense_targets_outside_the_unit_interval(loss, value, axis, backend):
    values = np.zeros((5, 6, 7), dtype=np.float32)
    with raises(ValueError, f"targets[3, 2, 4] = {value} is outside [0, 1]"):
        loss(values, bad(values, (3, 2, 4), value), axis=axis)


@sigmoids
def test_dense_targets_of_a_single_class_outside_the_unit_interval(loss, backend):
    with raises(ValueError, "targets[3, 2] = nan is outside [0, 1]"):
        loss(LOGITS, bad(DENSE, (3, 2), np.nan), axis=None)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64])
def test_integer_dense_targets_are_0_or_1(dtype, backend):
    with raises(ValueError, "targets[0, 2] = 2 is outside [0, 1]"):
        fx.softmax_cross_entropy(LOGITS, bad(DENSE.astype(dtype), (0, 2), 2))


@sigmoids
def test_background_does_not_go_with_dense_targets(loss):
    with raises(ValueError, "background_index is for class labels, but these targets are dense"):
        loss(LOGITS, DENSE, background_index=0)


@softmaxes
@pytest.mark.parametrize("background", [-1, 80])
@pytest.mark.parametrize("targets", [LABELS, DENSE])
def test_softmax_background_is_a_class(loss, background, targets):
    with raises(ValueError, f"background_index = {background} is not a class: 0..79"):
        loss(LOGITS, targets, background_index=background)


def test_background_of_a_single_class():
    message = "background_index is 0 with axis=None, where targets are 0 and 1"
    with raises(ValueError, message):
        fx.sigmoid_cross_entropy(LOGITS, DENSE.astype(int), axis=None, background_index=1)


@pytest.mark.parametrize("value", [True, 1.0, -100.0, "1", None])
def test_labels_as_options_are_integers(value):
    with raises(TypeError, f"ignore_index must be an integer, not {value!r}"):
        fx.softmax_cross_entropy(LOGITS, LABELS, ignore_index=value)
    with raises(TypeError, f"ignore_index must be an integer, not {value!r}"):
        fx.softmax_cross_entropy(LOGITS, LABELS, ignore_index=(1, value))
    if value is not None:
        for loss in (fx.sigmoid_cross_entropy, fx.softmax_cross_entropy):
            with raises(TypeError, f"background_index must be an integer, not {value!r}"):
                loss(LOGITS, LABELS, background_index=value)


def test_labels_as_options_fit_into_64_bits(backend):
    for value in (2**63, -(2**63) - 1):
        with raises(ValueError, f"ignore_index = {value} does not fit into 64 bits"):
            fx.softmax_cross_entropy(LOGITS, LABELS, ignore_index=value)
    for value in (2**63 - 1, -(2**63)):
        labels = bad(LABELS, 1, value)
        result = fx.softmax_cross_entropy(LOGITS, labels, ignore_index=value)
        np.testing.assert_array_equal(result == 0, [False, True, False, False])
