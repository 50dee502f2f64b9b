"""Errors of gradients and of what they are written to; and that none leaves a trace."""

import re

import ml_dtypes
import numpy as np
import pytest
from support import family

import fastxent as fx

LOGITS = np.zeros((4, 8), dtype=np.float32)
LABELS = np.zeros(4, dtype=np.int64)
SCORES = np.full(4, 0.5, dtype=np.float32)
POSITIONS = np.full(4, 2.5, dtype=np.float32)

SIGMOIDS = [family.public(name) for name in family.PER_CLASS]
SOFTMAXES = [family.public(name) for name in family.LOSSES if name not in family.PER_CLASS]
all_losses = pytest.mark.parametrize("loss", SIGMOIDS + SOFTMAXES)


def raises(error, message):
    return pytest.raises(error, match="^" + re.escape(message) + "$")


def targets_of(loss):
    """Return valid arguments that follow the logits."""
    if loss is fx.quality_focal_loss:
        return LABELS, SCORES
    return (POSITIONS,) if loss is fx.distribution_focal_loss else (LABELS,)


# --- what is asked for ---------------------------------------------------------------------------


@all_losses
def test_options_of_gradients_need_one(loss):
    with raises(ValueError, "grad_output is for return_grad=True"):
        loss(LOGITS, *targets_of(loss), grad_output=1.0)
    with raises(ValueError, "grad_out is for return_grad=True"):
        loss(LOGITS, *targets_of(loss), grad_out=np.zeros_like(LOGITS))


@all_losses
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_grad_output_of_a_number_is_a_number(loss, reduction):
    message = f"grad_output has shape (4,), expected a number: reduction={reduction!r} returns one"
    with raises(ValueError, message):
        loss(
            LOGITS,
            *targets_of(loss),
            reduction=reduction,
            return_grad=True,
            grad_output=np.ones(4),
        )


@all_losses
@pytest.mark.parametrize("reduction", ["anchor", "none"])
def test_shape_of_grad_output(loss, reduction):
    per_logit = loss in SIGMOIDS and reduction == "none"
    expected = (4, 8) if per_logit else (4,)
    for shape in ((5,), (1,), (8,), (1, 8), (4,) if per_logit else (4, 8)):
        message = f"grad_output has shape {shape}, expected a number or {expected}"
        with raises(ValueError, message):
            loss(
                LOGITS,
                *targets_of(loss),
                reduction=reduction,
                return_grad=True,
                grad_output=np.ones(shape),
            )


@pytest.mark.parametrize("value", ["1", [None] * 4, 1j])
def test_dtype_of_grad_output(value):
    dtype = np.asarray(value).dtype
    with pytest.raises(TypeError, match=f"^grad_output has dtype {dtype}, expected bool"):
        fx.softmax_focal_loss(LOGITS, LABELS, return_grad=True, grad_output=value)


# --- where it goes -------------------------------------------------------------------------------


def read_only(array):
    array.flags.writeable = False
    return array


@all_losses
@pytest.mark.parametrize(
    ("grad_out", "error", "message"),
    [
        ([0.0] * 4, TypeError, "grad_out must be a NumPy array, not list"),
        (
            np.zeros((4, 9), np.float32),
            ValueError,
            "grad_out has shape (4, 9), expected (4, 8)",
        ),
        (np.zeros((4, 8)), ValueError, "grad_out has dtype float64, expected float32"),
        (np.zeros((4, 8), np.float16), ValueError, "grad_out has dtype float16, expected float32"),
        (read_only(np.zeros((4, 8), np.float32)), ValueError, "grad_out is read-only"),
        (
            np.zeros(129, np.uint8)[1:].view(np.float32).reshape(4, 8),
            ValueError,
            "grad_out is not aligned in memory",
        ),
    ],
)
def test_grad_out(loss, grad_out, error, message):
    with raises(error, message):
        loss(LOGITS, *targets_of(loss), return_grad=True, grad_out=grad_out)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_results_of_half_precision_are_of_two_dtypes(dtype, backend):
    logits = LOGITS.astype(dtype)
    name = np.dtype(dtype)
    with raises(ValueError, f"out has dtype {name}, expected float32"):
        fx.softmax_focal_loss(logits, LABELS, out=np.zeros(4, dtype))
    with raises(ValueError, f"grad_out has dtype float32, expected {name}"):
        fx.softmax_focal_loss(logits, LABELS, return_grad=True, grad_out=np.zeros_like(LOGITS))
    with raises(ValueError, f"out has dtype {name}, expected float32"):
        fx.sigmoid(logits, out=np.zeros_like(logits))
    out, grad_out = np.zeros(4, np.float32), np.zeros_like(logits)
    loss, grad = fx.softmax_focal_loss(logits, LABELS, return_grad=True, out=out, grad_out=grad_out)
    assert loss is out
    assert grad is grad_out


def test_results_of_half_precision_are_not_in_place():
    memory = np.zeros(1, np.float32)
    with raises(ValueError, "out shares memory with logits, and is not the same array"):
        fx.sigmoid(memory.view(np.float16)[:1], out=memory)


@pytest.mark.parametrize(
    "name", ["logits", "targets", "weight", "class_weight", "alpha", "grad_output"]
)
def test_results_share_no_memory_with_an_argument(name):
    arguments = {
        "logits": np.zeros((4, 4)),
        "targets": np.zeros((4, 4)),
        "weight": np.zeros((4, 4)),
        "class_weight": np.zeros((2, 4))[0],
        "alpha": np.zeros((2, 4))[0],
        "grad_output": np.zeros((4, 4)),
    }
    options = {"return_grad": True, "reduction": "none"}
    array = arguments[name]
    if array.ndim == 1:  # the array that it is a row of
        array = np.zeros((4, 4))
        arguments[name] = array[2]
    for result in ("out", "grad_out"):
        with raises(ValueError, f"{result} shares memory with {name}"):
            fx.sigmoid_focal_loss(**arguments, **options, **{result: array})


@pytest.mark.parametrize("name", ["labels", "scores"])
def test_results_share_no_memory_with_scored_labels(name):
    memory = np.zeros((4, 8))
    arguments = {"labels": LABELS, "scores": SCORES}
    arguments[name] = memory[0, :4].view(np.int64) if name == "labels" else memory[0, :4]
    with raises(ValueError, f"grad_out shares memory with {name}"):
        fx.quality_focal_loss(LOGITS.astype(float), **arguments, return_grad=True, grad_out=memory)


def test_results_share_no_memory_with_positions():
    memory = np.zeros((4, 8))
    with raises(ValueError, "grad_out shares memory with targets"):
        fx.distribution_focal_loss(
            LOGITS.astype(float), memory[:, 3], return_grad=True, grad_out=memory
        )


def test_results_share_no_memory_with_each_other():
    memory = np.zeros((4, 8), np.float32)
    options = {"return_grad": True, "grad_out": memory}
    with raises(ValueError, "grad_out shares memory with out"):
        fx.softmax_focal_loss(LOGITS, LABELS, out=memory[:, 0], **options)
    with raises(ValueError, "grad_out shares memory with out"):
        fx.sigmoid_focal_loss(LOGITS, LABELS, reduction="none", out=memory, **options)


# --- and nothing is written ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"targets": [0, 0, 0, 9]},
        {"targets": np.full((4, 8), 2.0)},
        {"weight": np.ones(5)},
        {"gamma": -1},
        {"alpha": 2},
        {"grad_output": np.ones(5)},
        {"out": np.zeros(5)},
        {"reduction": "mean", "out": None, "normalizer": 0, "empty": "raise"},
        {"reduction": "mean", "out": None, "normalizer": "positive", "empty": "raise"},
    ],
)
def test_an_error_leaves_results_untouched(options, backend):
    out, grad_out = np.full(4, 7, np.float32), np.full((4, 8), 7, np.float32)
    arguments = {
        "logits": LOGITS,
        "targets": np.full(4, 8),
        "return_grad": True,
        "out": out,
        "grad_out": grad_out,
    }
    with pytest.raises((ValueError, TypeError)):
        fx.sigmoid_focal_loss(**arguments | options)
    assert (out == 7).all()
    assert (grad_out == 7).all()


def test_inputs_are_never_changed(backend):
    rng = np.random.default_rng(0)
    arguments = {
        "logits": rng.normal(size=(50, 6)),
        "targets": rng.random((50, 6)),
        "weight": rng.random((50, 6)),
        "class_weight": rng.random(6),
        "alpha": rng.random(6),
        "grad_output": rng.random(50),
    }
    before = {name: array.copy() for name, array in arguments.items()}
    for array in arguments.values():
        array.flags.writeable = False
    fx.sigmoid_focal_loss(**arguments, return_grad=True)
    for name, array in arguments.items():
        np.testing.assert_array_equal(array, before[name])
