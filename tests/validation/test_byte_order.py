"""Dtypes that spell out their byte order, as those of Zarr do, and arrays of foreign byte order."""

import re
import sys

import ml_dtypes
import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided
from scipy import special
from support.family import (
    LOSSES,
    PER_CLASS,
    PROBABILITY_LOSSES,
    WITH_DENSE,
    other_backend,
    public,
)

import fastxent as fx
from fastxent import native

NATIVE, FOREIGN = "<>" if sys.byteorder == "little" else "><"
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOATS = [np.dtype(code) for code in "efd"] + [BFLOAT16]
SCORES = {
    "sigmoid": special.expit,
    "log_sigmoid": special.log_expit,
    "softplus": lambda z: -special.log_expit(-z),
    "logit": special.logit,
    "odds": lambda p: p / (1 - p),
    "softmax": lambda z: special.softmax(z, -1),
    "log_softmax": lambda z: special.log_softmax(z, -1),
    "logsumexp": lambda z: special.logsumexp(z, -1),
}
all_losses = pytest.mark.parametrize("name", LOSSES)
all_scores = pytest.mark.parametrize("name", SCORES)
floats = pytest.mark.parametrize("dtype", FLOATS, ids=str)


def ordered(array, order):
    """Return the same numbers with a dtype that spells out its byte order."""
    dtype = array.dtype.newbyteorder(order)
    result = array.byteswap().view(dtype) if order == FOREIGN else array.view(dtype)
    assert result.dtype.byteorder == (order if array.itemsize > 1 else "|")
    return result


def arguments_of(name, dtype, *, dense=False):
    """Return arrays for all arguments that take one."""
    rng = np.random.default_rng(17)
    anchors, classes = 40, 21
    values = rng.normal(0, 3, (anchors, classes))
    if name in PROBABILITY_LOSSES:
        values = special.expit(values)
    arguments = {
        "values": values.astype(dtype),
        "weight": rng.uniform(0, 2, anchors).astype(np.float32),
        "grad_output": rng.uniform(0, 2, anchors).astype(np.float16),
        "class_weight": rng.uniform(0, 2, classes),
        "targets": rng.integers(0, classes, anchors).astype(np.int32),
    }
    if name == "distribution_focal_loss":
        del arguments["class_weight"]
        arguments["targets"] = rng.uniform(0, classes - 1, anchors).astype(np.float32)
    if name == "quality_focal_loss":
        arguments["scores"] = rng.random(anchors, np.float32)
    if name in {"sigmoid_focal_loss", "varifocal_loss", "softmax_focal_loss"}:
        arguments["alpha"] = rng.random(classes, np.float32)
    if name == "sigmoid_cross_entropy":
        arguments["pos_weight"] = rng.random(classes, np.float32)
    if dense:
        arguments["targets"] = rng.random((anchors, classes), np.float32)
    return arguments


def evaluate(name, arguments, **options):
    """Call a loss, whose first arguments go by position."""
    named = dict(arguments)
    positional = [named.pop(key) for key in ("values", "targets", "scores") if key in named]
    return public(name)(*positional, return_grad=True, **named, **options)


def assert_as_plain(name, results, arguments, backend):
    """Compare with what another backend computes in float64, of plain arrays."""
    plain = {key: np.asarray(array, np.float64) for key, array in arguments.items()}
    if arguments["targets"].dtype.kind == "i":
        plain["targets"] = arguments["targets"].astype(np.int64)
    expected = evaluate(name, plain, backend=other_backend(backend))
    is_half = arguments["values"].dtype.itemsize == 2
    np.testing.assert_allclose(results[0], expected[0], rtol=1e-5)
    grad = results[1].astype(np.float64)
    np.testing.assert_allclose(grad, expected[1], rtol=1e-2 if is_half else 1e-4, atol=1e-6)


@floats
@all_losses
@pytest.mark.parametrize("order", [NATIVE, FOREIGN])
def test_arguments_of_losses(name, dtype, order, backend):
    arguments = arguments_of(name, dtype)
    results = evaluate(name, {key: ordered(a, order) for key, a in arguments.items()})
    assert_as_plain(name, results, arguments, backend)
    # What the call makes itself has NumPy's own dtype.
    assert [result.dtype.byteorder for result in results] == ["=", "="]
    assert results[1].dtype == dtype


@pytest.mark.parametrize("name", WITH_DENSE)
@pytest.mark.parametrize("order", [NATIVE, FOREIGN])
def test_dense_targets(name, order, backend):
    arguments = arguments_of(name, np.float32, dense=True)
    results = evaluate(name, {key: ordered(a, order) for key, a in arguments.items()})
    assert_as_plain(name, results, arguments, backend)


@pytest.mark.parametrize("name", PER_CLASS)
def test_arrays_of_the_logits_shape(name, backend):
    arguments = arguments_of(name, np.float32)
    shape, rng = arguments["values"].shape, np.random.default_rng(5)
    arguments["weight"] = rng.random(shape, np.float32)
    arguments["grad_output"] = rng.random(shape)
    spelled = {key: ordered(a, NATIVE) for key, a in arguments.items()}
    losses = evaluate(name, spelled, reduction="none")
    expected = evaluate(name, arguments, reduction="none", backend=other_backend(backend))
    for result, reference in zip(losses, expected, strict=True):
        np.testing.assert_allclose(result, reference, rtol=1e-4, atol=1e-6)


@floats
@all_losses
def test_results_of_losses(name, dtype, backend):
    arguments = arguments_of(name, dtype)
    precision = np.float64 if dtype == np.float64 else np.float32
    out = ordered(np.zeros(len(arguments["values"]), precision), NATIVE)
    grad_out = ordered(np.zeros_like(arguments["values"]), NATIVE)
    results = evaluate(name, arguments, out=out, grad_out=grad_out)
    assert results[0] is out
    assert results[1] is grad_out
    assert_as_plain(name, results, arguments, backend)


@pytest.mark.parametrize("labels", "bhilqBHILQ")
def test_labels_of_every_dtype(labels, backend):
    values = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    expected = -special.log_softmax(values.astype(float), -1)[np.arange(6), [0, 1, 2, 3, 4, 0]]
    for order in (NATIVE, FOREIGN):
        targets = ordered(np.array([0, 1, 2, 3, 4, 0], labels), order)
        result = fx.softmax_cross_entropy(values, targets)
        np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_expectation(backend):
    values = np.random.default_rng(0).normal(size=(6, 5))
    expected = special.softmax(values, -1) @ np.arange(5)
    _, result = fx.distribution_focal_loss(
        ordered(values, NATIVE), np.zeros(6), return_expectation=True
    )
    np.testing.assert_allclose(result, expected, rtol=1e-5)
    assert result.dtype.byteorder == "="


@floats
@all_scores
@pytest.mark.parametrize("order", [NATIVE, FOREIGN])
def test_scores(name, dtype, order, backend):
    rng = np.random.default_rng(3)
    values = rng.uniform(0, 0.9, (9, 33)) if name in {"logit", "odds"} else rng.normal(size=(9, 33))
    values = values.astype(dtype)
    score, expected = getattr(fx, name), SCORES[name](values.astype(float))
    result = score(ordered(values, order))
    assert result.dtype.byteorder == "="
    np.testing.assert_allclose(result, expected, rtol=1e-5)
    out = ordered(np.zeros_like(result), NATIVE)
    assert score(ordered(values, order), out=out) is out
    np.testing.assert_allclose(out, expected, rtol=1e-5)


@all_scores
def test_scores_in_place(name, backend):
    values = ordered(np.random.default_rng(3).random((9, 33), np.float32), NATIVE)
    expected = SCORES[name](values.astype(float))
    if name != "logsumexp":
        assert getattr(fx, name)(values, out=values) is values
        np.testing.assert_allclose(values, expected, rtol=1e-5)


@pytest.mark.parametrize("loss", [fx.sigmoid_cross_entropy, fx.softmax_cross_entropy])
def test_short_calls_take_them(loss, monkeypatch):
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(100, 80)).astype(np.float32), rng.integers(0, 80, 100)
    short, answers = native.evaluate_short_call, []
    monkeypatch.setattr(
        native, "evaluate_short_call", lambda *args: answers.append(short(*args)) or answers[-1]
    )
    result = loss(ordered(logits, NATIVE), ordered(labels, NATIVE), backend="native")
    assert answers == [True]
    expected = loss(logits.astype(float), labels, backend="numpy")
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    # Arrays out of alignment spell it out, too, and are no such call's.
    memory = np.zeros(logits.nbytes + 1, np.uint8)
    unaligned = memory[1:].view(np.float32).reshape(logits.shape)
    unaligned[...] = logits
    np.testing.assert_array_equal(loss(unaligned, labels, backend="native"), result)
    assert answers == [True, False]


def test_heads():
    values = np.array([-1.5, 0.25, 3.0], np.float32)
    for order in (NATIVE, FOREIGN):
        pairs = fx.sigmoid_to_softmax_logits(ordered(values, order))
        np.testing.assert_array_equal(pairs, [[0.75, -0.75], [-0.125, 0.125], [-1.5, 1.5]])
        out = ordered(np.zeros(3, np.float32), NATIVE)
        assert fx.softmax_to_sigmoid_logit(ordered(pairs, order), out=out) is out
        np.testing.assert_array_equal(out, values)


def test_recommend_loss():
    for order in (NATIVE, FOREIGN):
        advice = fx.recommend_loss(ordered(np.array([0, 3, 1, -100]), order), n_classes=3)
        assert advice.kind == "multi-label"


@all_losses
def test_results_of_foreign_order_are_refused(name, backend):
    arguments = arguments_of(name, np.float32)
    for key, shape in (("out", (40,)), ("grad_out", (40, 21))):
        array = ordered(np.zeros(shape, np.float32), FOREIGN)
        message = f"{key} has dtype {array.dtype} of foreign byte order, expected float32"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            evaluate(name, arguments, **{key: array})
        assert not array.any()


def test_scores_of_foreign_order_are_refused():
    message = "^out has dtype .*f4 of foreign byte order, expected float32$"
    for name in SCORES:
        shape = () if name == "logsumexp" else (3,)
        out = as_strided(ordered(np.zeros(3, np.float32), FOREIGN), shape)
        with pytest.raises(ValueError, match=message):
            getattr(fx, name)(np.float32([0.1, 0.2, 0.3]), out=out)
    with pytest.raises(ValueError, match=message):
        fx.softmax_to_sigmoid_logit(np.zeros((3, 2)).astype("f4"), out=np.zeros(3, f"{FOREIGN}f4"))
    grad_out = ordered(np.zeros((2, 3), BFLOAT16), FOREIGN)
    with pytest.raises(ValueError, match=r"^grad_out has dtype .* of foreign byte order, expected"):
        fx.softmax_cross_entropy(
            np.zeros((2, 3), BFLOAT16), [0, 1], return_grad=True, grad_out=grad_out
        )


def test_arrays_of_zarr(backend):
    zarr = pytest.importorskip("zarr", minversion="3")
    rng = np.random.default_rng(8)
    group = zarr.create_group(store=zarr.storage.MemoryStore())
    for name, array in {
        "logits": rng.normal(size=(20, 7)).astype(np.float32),
        "labels": rng.integers(0, 7, 20),
        "weights": rng.random(20),
    }.items():
        group.create_array(name, data=array)
    logits, labels, weights = group["logits"][:], group["labels"][:], group["weights"][:]
    expected = -weights * special.log_softmax(logits.astype(float), -1)[np.arange(20), labels]
    np.testing.assert_allclose(
        fx.softmax_cross_entropy(logits, labels, weight=weights), expected, rtol=1e-5
    )
    np.testing.assert_allclose(fx.sigmoid(group["logits"]), special.expit(logits), rtol=1e-5)
