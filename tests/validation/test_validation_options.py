"""Errors of weights, reductions, ``out=`` and the rest; and that none leaves a trace."""

import re

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import fastxent as fx
from fastxent import _arguments

LOGITS = np.zeros((4, 80), dtype=np.float32)
LABELS = np.zeros(4, dtype=np.int64)
DENSE = np.zeros((4, 80), dtype=np.float32)

FROM_LOGITS = [fx.sigmoid_cross_entropy, fx.softmax_cross_entropy]
FROM_PROBS = [fx.binary_cross_entropy, fx.categorical_cross_entropy]
all_losses = pytest.mark.parametrize("loss", FROM_LOGITS + FROM_PROBS)


def raises(error, message):
    return pytest.raises(error, match="^" + re.escape(message) + "$")


# --- weights and numbers -------------------------------------------------------------------------


@all_losses
@pytest.mark.parametrize("shape", [(5,), (80,), (3, 80), (4, 79), (1, 4, 80)])
def test_shape_of_weight(loss, shape):
    message = f"weight has shape {shape}, expected a number or (4,)"
    if loss in {fx.sigmoid_cross_entropy, fx.binary_cross_entropy}:
        message += ", or a shape of 2 dimensions that broadcasts to (4, 80)"
    with raises(ValueError, message):
        loss(LOGITS, LABELS, weight=np.ones(shape))


@pytest.mark.parametrize("shape", [(4, 80), (1, 80), (1, 1)])
def test_softmax_has_no_weight_per_logit(shape):
    message = f"weight has shape {shape}, expected a number or (4,)"
    with raises(ValueError, message):
        fx.softmax_cross_entropy(LOGITS, LABELS, weight=np.ones(shape))


def test_shape_of_weight_of_a_single_class():
    message = (
        "weight has shape (5,), expected a number or (4, 80), or a shape that broadcasts to (4, 80)"
    )
    with raises(ValueError, message):
        fx.sigmoid_cross_entropy(LOGITS, DENSE, axis=None, weight=np.ones(5))


@pytest.mark.parametrize("weight", ["2", [None] * 4, 1j, np.ones(4, dtype=np.longdouble)])
def test_dtype_of_weight(weight):
    dtype = np.asarray(weight).dtype
    expected = "bool, integer, float16, bfloat16, float32 or float64"
    message = f"weight has dtype {dtype}, expected {expected}"
    with raises(TypeError, message):
        fx.softmax_cross_entropy(LOGITS, LABELS, weight=weight)


@pytest.mark.parametrize("name", ["class_weight", "pos_weight"])
@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf, -np.inf, 1e39])
def test_weights_of_classes_are_finite_and_not_negative(name, value):
    weights = np.ones(80)
    weights[7] = value
    with raises(ValueError, f"{name}[7] = {value} is negative or not finite in float32"):
        fx.sigmoid_cross_entropy(LOGITS, LABELS, **{name: weights})
    if value == 1e39:
        fx.sigmoid_cross_entropy(LOGITS.astype(float), LABELS, **{name: weights})


def test_pos_weight_is_finite_and_not_negative():
    with raises(ValueError, "pos_weight = -0.5 is negative or not finite in float32"):
        fx.sigmoid_cross_entropy(LOGITS, LABELS, pos_weight=-0.5)


@pytest.mark.parametrize("shape", [(79,), (1,), (4, 80), (80, 1)])
def test_shape_of_weights_of_classes(shape):
    with raises(ValueError, f"class_weight has shape {shape}, expected (80,)"):
        fx.softmax_cross_entropy(LOGITS, LABELS, class_weight=np.ones(shape))
    with raises(ValueError, f"pos_weight has shape {shape}, expected a number or (80,)"):
        fx.sigmoid_cross_entropy(LOGITS, LABELS, pos_weight=np.ones(shape))


def test_class_weight_is_no_number():
    with raises(ValueError, "class_weight has shape (), expected (80,)"):
        fx.softmax_cross_entropy(LOGITS, LABELS, class_weight=2.0)


@pytest.mark.parametrize("loss", FROM_LOGITS)
@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan])
def test_label_smoothing_out_of_range(loss, value):
    with raises(ValueError, f"label_smoothing = {value} is outside [0, 1]"):
        loss(LOGITS, LABELS, label_smoothing=value)


@pytest.mark.parametrize("loss", FROM_PROBS)
@pytest.mark.parametrize("value", [0, 0.0, 0.5, -1e-7, np.nan, np.inf])
def test_eps_out_of_range(loss, value):
    with raises(ValueError, f"eps = {float(value)} is not between 0 and 0.5"):
        loss(LOGITS, LABELS, eps=value)


@pytest.mark.parametrize("value", [True, "0.1", None, [0.1], 1j])
def test_numbers_are_numbers(value):
    with raises(TypeError, f"label_smoothing must be a number, not {value!r}"):
        fx.softmax_cross_entropy(LOGITS, LABELS, label_smoothing=value)
    if value is not None:
        with raises(TypeError, f"eps must be a number, not {value!r}"):
            fx.binary_cross_entropy(LOGITS, LABELS, eps=value)


# --- reduction -----------------------------------------------------------------------------------


@all_losses
def test_unknown_reduction(loss):
    message = "reduction = 'avg' is not one of 'anchor', 'none', 'sum', 'mean'"
    with raises(ValueError, message):
        loss(LOGITS, LABELS, reduction="avg")


def test_unknown_normalizer():
    message = (
        "normalizer = 'batch' is not one of 'valid', 'weight', 'positive', 'count', or a number"
    )
    with raises(ValueError, message):
        fx.softmax_cross_entropy(LOGITS, LABELS, reduction="mean", normalizer="batch")


@pytest.mark.parametrize("value", [-1, np.nan, np.inf])
def test_normalizer_out_of_range(value):
    with raises(ValueError, f"normalizer = {value} is negative or not finite"):
        fx.softmax_cross_entropy(LOGITS, LABELS, reduction="mean", normalizer=value)


@pytest.mark.parametrize("value", [True, None, [1.0]])
def test_normalizer_is_a_number(value):
    with raises(TypeError, f"normalizer must be a number, not {value!r}"):
        fx.softmax_cross_entropy(LOGITS, LABELS, reduction="mean", normalizer=value)


@pytest.mark.parametrize("reduction", ["anchor", "none", "sum"])
@pytest.mark.parametrize("normalizer", ["weight", "positive", "count", 3])
def test_normalizer_is_for_the_mean(reduction, normalizer):
    with raises(ValueError, f"normalizer is for reduction='mean', not for {reduction!r}"):
        fx.softmax_cross_entropy(LOGITS, LABELS, reduction=reduction, normalizer=normalizer)


def test_empty_is_a_number_or_raise():
    with raises(ValueError, "empty = 'nan' is neither a number nor 'raise'"):
        fx.softmax_cross_entropy(LOGITS, LABELS, reduction="mean", empty="nan")
    with raises(TypeError, "empty must be a number, not None"):
        fx.softmax_cross_entropy(LOGITS, LABELS, reduction="mean", empty=None)


@all_losses
def test_unknown_keyword(loss):
    with pytest.raises(TypeError, match="unexpected keyword argument 'gamma'"):
        loss(LOGITS, LABELS, gamma=2.0)
    with pytest.raises(TypeError, match="positional argument"):
        loss(LOGITS, LABELS, -1)


def test_a_loss_takes_only_what_means_something_for_it():
    for loss, keyword in (
        (fx.softmax_cross_entropy, "pos_weight"),
        (fx.softmax_cross_entropy, "eps"),
        (fx.binary_cross_entropy, "pos_weight"),
    ):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{keyword}'"):
            loss(LOGITS, LABELS, **{keyword: 0.1})


# --- threads and backend -------------------------------------------------------------------------


@pytest.mark.parametrize("function", [fx.softmax_cross_entropy, fx.sigmoid, fx.logsumexp])
def test_threads_and_backend_of_a_call(function):
    arguments = (LOGITS, LABELS) if function is fx.softmax_cross_entropy else (LOGITS,)
    for threads in (0, -1, 1025):
        with raises(ValueError, f"num_threads = {threads} is not in 1..1024"):
            function(*arguments, num_threads=threads)
    for threads in (True, 2.0, "2"):
        with raises(TypeError, f"num_threads must be an integer, not {threads!r}"):
            function(*arguments, num_threads=threads)
    with raises(ValueError, "backend = 'cuda' is not one of 'native', 'numba', 'numpy'"):
        function(*arguments, backend="cuda")
    with raises(TypeError, "backend must be a string, not 1"):
        function(*arguments, backend=1)


# --- out= ----------------------------------------------------------------------------------------


def read_only(array):
    array.flags.writeable = False
    return array


def unaligned(shape):
    return np.zeros(4 * np.prod(shape) + 1, np.uint8)[1:].view(np.float32).reshape(shape)


@all_losses
@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        ([0.0] * 4, TypeError, "out must be a NumPy array, not list"),
        (np.ma.zeros(4, np.float32), TypeError, "out must be a NumPy array, not MaskedArray"),
        (np.zeros(5, np.float32), ValueError, "out has shape (5,), expected (4,)"),
        (np.zeros((4, 80), np.float32), ValueError, "out has shape (4, 80), expected (4,)"),
        (np.zeros(4), ValueError, "out has dtype float64, expected float32"),
        (
            np.zeros(4, ">f4"),
            ValueError,
            "out has dtype >f4 of foreign byte order, expected float32",
        ),
        (read_only(np.zeros(4, np.float32)), ValueError, "out is read-only"),
        (unaligned((4,)), ValueError, "out is not aligned in memory"),
    ],
)
def test_out(loss, out, error, message):
    with raises(error, message):
        loss(LOGITS, LABELS, out=out)


def test_out_of_logits():
    with raises(ValueError, "out has shape (4,), expected (4, 80)"):
        fx.sigmoid_cross_entropy(LOGITS, LABELS, reduction="none", out=np.zeros(4, np.float32))
    with raises(ValueError, "out has shape (80, 4), expected (4, 80)"):
        fx.sigmoid(LOGITS, out=np.zeros((80, 4), np.float32))
    with raises(ValueError, "out has shape (4, 80), expected (4,)"):
        fx.logsumexp(LOGITS, out=np.zeros((4, 80), np.float32))


@all_losses
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_out_is_for_arrays(loss, reduction):
    message = f"out is for arrays, but reduction={reduction!r} returns a number"
    with raises(ValueError, message):
        loss(LOGITS, LABELS, reduction=reduction, out=np.zeros(4, np.float32))


@pytest.mark.parametrize("name", ["logits", "targets", "weight", "class_weight", "pos_weight"])
def test_out_shares_no_memory_with_an_argument(name):
    arguments = {
        "logits": np.zeros((4, 4), np.float32),
        "targets": np.zeros((4, 4), np.float32),
        "weight": np.zeros(4, np.float32),
        "class_weight": np.zeros(4, np.float32),
        "pos_weight": np.zeros(4, np.float32),
    }
    out = arguments[name][:, 0] if arguments[name].ndim == 2 else arguments[name]
    with raises(ValueError, f"out shares memory with {name}"):
        fx.sigmoid_cross_entropy(**arguments, out=out)
    arguments["weight"] = np.zeros((4, 4), np.float32)
    if name == "weight":
        out = arguments["weight"][1]
    with raises(ValueError, f"out shares memory with {name}"):
        fx.sigmoid_cross_entropy(**arguments, out=out)


def test_out_shares_no_memory_with_labels():
    memory = np.zeros(4, np.int32)
    with raises(ValueError, "out shares memory with targets"):
        fx.sigmoid_cross_entropy(LOGITS, memory, out=memory.view(np.float32))


def test_neighbours_in_memory_do_not_overlap():
    memory = np.zeros((4, 81), np.float32)
    out = memory[:, 80]
    assert fx.sigmoid_cross_entropy(memory[:, :80], LABELS, out=out) is out
    np.testing.assert_allclose(out, 80 * np.log(2), rtol=1e-6)


def test_overlap_that_is_too_hard_to_decide_counts_as_one(monkeypatch):
    """Whether sums of some of twelve strides meet two places, or each other, are knapsack problems.

    Merkle's and Hellman's strides have sums that differ.
    """
    strides = 3001 * 2 ** np.arange(12) % 4099
    memory = np.zeros(2 * strides.sum() + 10, np.float32)
    out = as_strided(memory, (2,) * 12, 8 * strides)
    places = memory[int(strides.sum()) | 1 :][:4:3]
    arguments = {
        "logits": np.zeros(out.shape, np.float32),
        "targets": np.zeros(out.shape[:-1], int),
        "weight": places.reshape((1,) * 11 + (2,)),
        "reduction": "none",
        "out": out,
    }
    assert fx.sigmoid_cross_entropy(**arguments) is out
    monkeypatch.setattr(_arguments, "_OVERLAP_WORK", 100)
    assert _arguments.overlap(out, places)
    with raises(ValueError, "out has elements that share memory with each other"):
        fx.sigmoid_cross_entropy(**arguments)


@pytest.mark.parametrize("score", [fx.sigmoid, fx.softmax])
def test_scores_in_place_are_exactly_in_place(score):
    memory = np.zeros((5, 4), np.float32)
    message = "out shares memory with logits, and is not the same array"
    for out in (memory[1:], memory[:4].T, memory[:4, ::-1], memory[:4][::-1]):
        with raises(ValueError, message):
            score(memory[:4], out=out)
    with raises(ValueError, message):
        fx.logsumexp(memory, out=memory[:, 0])


# --- and nothing is written ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"targets": [0, 0, 0, 80]},
        {"targets": np.full((4, 80), 2.0)},
        {"weight": np.ones(5)},
        {"class_weight": -np.ones(80)},
        {"label_smoothing": 2},
        {"ignore_index": 0.5},
        {"background_index": 99},
        {"num_threads": 0},
        {"normalizer": "positive"},
        {"backend": "cuda"},
        {"empty": "?"},
    ],
)
def test_an_error_leaves_out_untouched(options, backend):
    out = np.full(4, 7, np.float32)
    with pytest.raises((ValueError, TypeError)):
        fx.softmax_cross_entropy(**{"logits": LOGITS, "targets": LABELS, "out": out} | options)
    assert (out == 7).all()


def test_inputs_are_never_changed(backend):
    rng = np.random.default_rng(0)
    arguments = {
        "logits": rng.normal(size=(50, 6)),
        "targets": rng.random((50, 6)),
        "weight": rng.random((50, 6)),
        "class_weight": rng.random(6),
        "pos_weight": rng.random(6),
    }
    before = {name: array.copy() for name, array in arguments.items()}
    for array in arguments.values():
        array.flags.writeable = False
    for reduction in ("anchor", "none", "sum", "mean"):
        fx.sigmoid_cross_entropy(**arguments, reduction=reduction)
    for name, array in arguments.items():
        np.testing.assert_array_equal(array, before[name])
