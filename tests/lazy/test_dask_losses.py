"""Losses on arrays of dask: what one call on the whole arrays returns."""

import inspect
import math
import subprocess
import sys
import time

import numpy as np
import pytest
from support.family import LOSSES, PER_CLASS, WITH_DENSE

import fastxent as fx
from fastxent._call.parts import PartTotals, add_totals, sum_with_rest

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
from support import lazy  # noqa: E402

import fastxent.dask as fxd  # noqa: E402

NORMALIZERS = ("valid", "weight", "positive", "count", 2.5)


def check(name, values, others, lazy_values=None, lazy_others=None, **options):
    """Compare with the function of the package on whole arrays: bits of arrays, ULP of numbers."""
    expected = lazy.as_tuple(getattr(fx, name)(values, *others, **options))
    arrays = lazy.chunked(values) if lazy_values is None else lazy_values
    result = getattr(fxd, name)(
        arrays, *(others if lazy_others is None else lazy_others), **options
    )
    result = lazy.as_tuple(result)
    assert len(result) == len(expected)
    for promised, found, wanted in zip(result, lazy.computed(result), expected, strict=True):
        wanted_array = np.asarray(wanted)
        assert promised.shape == np.shape(found) == wanted_array.shape
        assert promised.dtype == np.asarray(found).dtype == wanted_array.dtype
        if wanted_array.ndim:
            np.testing.assert_array_equal(found, wanted)
        else:
            assert lazy.ulps_apart(found, wanted) <= 4  # sums of one call are rounded as they grow


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("reduction", ["anchor", "none", "sum", "mean"])
@pytest.mark.parametrize("return_grad", [False, True])
def test_every_reduction(name, reduction, return_grad):
    values, others = lazy.inputs(name)
    check(name, values, others, reduction=reduction, return_grad=return_grad)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("normalizer", NORMALIZERS)
@pytest.mark.parametrize("return_grad", [False, True])
def test_every_normalizer(name, normalizer, return_grad):
    values, others = lazy.inputs(name)
    weight = np.random.default_rng(1).random(values.shape[:-1])
    options = {"normalizer": normalizer, "weight": weight, "return_grad": return_grad}
    check(name, values, others, reduction="mean", **options)


@pytest.mark.parametrize("name", WITH_DENSE)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_class_axes_and_dense_targets(name, axis, dense, reduction):
    values, others = lazy.inputs(name, axis=axis, dense=dense)
    check(name, values, others, axis=axis, reduction=reduction, return_grad=True)


@pytest.mark.parametrize("name", PER_CLASS)
@pytest.mark.parametrize("reduction", ["anchor", "mean"])
def test_a_single_class(name, reduction):
    values, others = lazy.inputs(name, axis=None)
    weight = np.random.default_rng(1).random((7, 1))
    check(name, values, others, axis=None, reduction=reduction, weight=weight)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", ">f4"])
def test_dtypes(dtype):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    dtype = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    values, others = lazy.inputs("softmax_focal_loss", dtype=dtype)
    for reduction in ("anchor", "mean"):
        options = {"reduction": reduction, "return_grad": True}
        check("softmax_focal_loss", values, others, **options)


def test_the_expectation():
    values, others = lazy.inputs("distribution_focal_loss")
    for reduction in ("anchor", "mean"):
        options = {"reduction": reduction, "return_expectation": True, "return_grad": True}
        check("distribution_focal_loss", values, others, **options)


@pytest.mark.parametrize("shape", [(4, 1, 5), (1, 7, 1), (4, 7, 5)])
def test_weights_of_logits(shape):
    values, others = lazy.inputs("sigmoid_cross_entropy")
    weight = np.random.default_rng(1).random(shape)
    for given in (weight, lazy.chunked(weight, 2)):
        arrays = lazy.chunked(values)
        options = {"reduction": "mean", "normalizer": "weight", "return_grad": True}
        expected = fx.sigmoid_cross_entropy(values, *others, weight=weight, **options)
        result = fxd.sigmoid_cross_entropy(arrays, *others, weight=given, **options)
        found = lazy.computed(result)
        assert lazy.ulps_apart(found[0], expected[0]) <= 1
        np.testing.assert_array_equal(found[1], expected[1])


def test_other_chunks_and_numpy_arrays():
    name = "quality_focal_loss"
    values, others = lazy.inputs(name)
    arrays = lazy.chunked(values, (2, 4, 2))
    lazy_others = others[0], lazy.chunked(others[1], (5, 7))
    grad_output = np.random.default_rng(1).random(values.shape[:-1])
    options = {"return_grad": True, "grad_output": grad_output, "class_weight": [1, 2, 3, 4, 5]}
    check(name, values, others, arrays, lazy_others, **options)


def test_a_number_as_grad_output():
    values, others = lazy.inputs("softmax_cross_entropy")
    for reduction in ("anchor", "sum", "mean"):
        options = {"reduction": reduction, "return_grad": True, "grad_output": 0.25}
        check("softmax_cross_entropy", values, others, **options)


def test_all_options_at_once():
    values, (labels,) = lazy.inputs("sigmoid_focal_loss")
    labels[labels == 2] = 255
    options = {"gamma": 1.5, "alpha": np.linspace(0.1, 0.9, 5), "ignore_index": (255, -1)}
    options |= {"background_index": 0, "weight": 3, "class_weight": np.arange(5.0)}
    labels[labels == 5] = 1
    check("sigmoid_focal_loss", values, (labels,), reduction="mean", return_grad=True, **options)


@pytest.mark.parametrize("return_grad", [False, True])
def test_nothing_to_average_over(return_grad):
    values = np.zeros((6, 3), np.float32)
    labels = np.full(6, -100)
    options = {"reduction": "mean", "return_grad": return_grad}
    check("softmax_cross_entropy", values, (labels,), empty=7.5, **options)
    arrays = lazy.chunked(values, 2)
    result = fxd.softmax_cross_entropy(arrays, labels, empty="raise", **options)
    with pytest.raises(ValueError, match="nothing to average over: normalizer = 'valid' is zero"):
        lazy.computed(result)


def test_one_anchor_and_none():
    for shape in ((5,), (0, 5), (3, 0, 5)):
        values, labels = np.ones(shape, np.float32), np.zeros(shape[:-1], int)
        for reduction in ("anchor", "sum", "mean"):
            options = {"reduction": reduction, "return_grad": True}
            check("softmax_cross_entropy", values, (labels,), **options)


# --- laziness ------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["anchor", "mean"])
def test_nothing_is_computed_before_compute(reduction):
    values = lazy.untouchable((6, 4, 5))
    labels = lazy.untouchable((6, 4), np.int64, 2)
    options = {"reduction": reduction, "weight": lazy.untouchable((6, 4))}
    loss, grad = fxd.sigmoid_focal_loss(values, labels, return_grad=True, **options)
    assert grad.shape == (6, 4, 5)
    assert grad.numblocks == (2, 2, 1)
    assert loss.shape == ((6, 4) if reduction == "anchor" else ())
    with pytest.raises(AssertionError, match="was computed"):
        lazy.computed(loss)


def test_tasks_of_a_chunk():
    values = da.zeros((1000, 5), chunks=(10, 5), dtype=np.float32)
    labels = da.zeros(1000, chunks=10, dtype=int)
    loss = fxd.softmax_cross_entropy(values, labels)
    # The chunks of both inputs, and one task for each of the result.
    assert len(dict(loss.__dask_graph__())) == 300


def test_many_chunks_are_described_at_once():
    values = da.zeros((5000, 4, 5), chunks=(1, 4, 5), dtype=np.float32)
    labels = da.zeros((5000, 4), chunks=(1, 4), dtype=int)
    start = time.process_time()
    mean = fxd.softmax_cross_entropy(values, labels, reduction="mean")
    selected = fxd.select_candidates(values)
    assert time.process_time() - start < 5  # a tenth of a second, but minutes if it were quadratic
    # Chunks of both inputs, a task and a count for each, and two trees.
    nodes = sum(len(tree) for tree in ([*range(0, 5000, 16)], [*range(0, 313, 16)], [0, 16], [0]))
    assert len(dict(mean.__dask_graph__())) == 4 * 5000 + 2 * nodes + 2
    assert len(dict(selected.__dask_graph__())) < 5000 * 3.1


def test_a_task_uses_one_thread_and_the_backend_of_the_caller(monkeypatch):
    seen = []
    original = fx.softmax_cross_entropy

    def record(*args, **kwargs):
        if args[0].size:
            seen.append((kwargs["num_threads"], kwargs["backend"]))
        return original(*args, **kwargs)

    monkeypatch.setattr(fx, "softmax_cross_entropy", record)
    values, labels = lazy.inputs("softmax_cross_entropy")
    with fx.backend("numpy"), fx.threads(4):
        result = fxd.softmax_cross_entropy(lazy.chunked(values), *labels)
    explicit = fxd.softmax_cross_entropy(lazy.chunked(values), *labels, num_threads=3)
    lazy.computed(result)
    assert set(seen) == {(1, "numpy")}
    seen.clear()
    lazy.computed(explicit)
    assert set(seen) == {(3, "native")}


def test_the_package_does_not_load_dask():
    code = "import fastxent, sys; print([n for n in ('dask', 'xarray') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_without_dask_one_line_names_the_extra():
    code = "import sys; sys.modules['dask'] = None; import fastxent.dask"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        "ImportError: fastxent.dask needs dask, which is not installed: "
        'pip install "fastxent[dask]"'
    )


def test_signatures_are_those_of_the_package():
    for name in (*LOSSES, "hard_negatives", "ohem", "select_candidates"):
        mine = inspect.signature(getattr(fxd, name)).parameters
        wanted = inspect.signature(getattr(fx, name)).parameters
        assert list(mine) == [n for n in wanted if n not in {"out", "grad_out"}]
        assert all(mine[n].default == wanted[n].default for n in mine)
    assert {*LOSSES} < {*fxd.__all__}


# --- sums ----------------------------------------------------------------------------------------


def trained_head():
    """Return logits of a trained head, whose losses range from 1e-12 to 14, and labels."""
    rng = np.random.default_rng(5)
    values = rng.normal(-14, 5, (20_000, 10)).astype(np.float32)
    return values, rng.integers(0, 11, 20_000)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_sums_are_those_of_exact_arithmetic(reduction):
    values, labels = trained_head()
    losses = fx.sigmoid_focal_loss(values, labels)
    weight = np.random.default_rng(1).random(len(labels), np.float32)
    expected = math.fsum(losses.tolist())
    weighted = math.fsum(fx.sigmoid_focal_loss(values, labels, weight=weight).tolist())
    if reduction == "mean":
        expected /= len(labels)
        weighted /= math.fsum(weight.tolist())
    for size in (501, 1000, 4000, 7777, 20_000):
        arrays = da.from_array(values, chunks=(size, -1))
        loss = fxd.sigmoid_focal_loss(arrays, labels, reduction=reduction)
        assert loss.compute(scheduler="synchronous") == expected
        options = {"weight": weight, "reduction": reduction}
        if reduction == "mean":
            options["normalizer"] = "weight"
        loss = fxd.sigmoid_focal_loss(arrays, labels, **options)
        assert lazy.ulps_apart(loss.compute(scheduler="synchronous"), weighted) <= 1


@pytest.mark.parametrize("seed", range(5))
def test_a_sum_keeps_what_rounding_would_lose(seed):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(1001) * 10.0 ** rng.integers(-12, 12, 1001)
    total, rest = sum_with_rest(values)
    assert total == math.fsum(values)
    assert rest == pytest.approx(math.fsum([*values, -total]), rel=1e-3)
    rows = [PartTotals(*sum_with_rest(part)) for part in np.array_split(values, 37)]
    assert add_totals(rows).loss == math.fsum(values)


def test_sums_of_infinities_and_nan():
    for values in ([1.0, np.inf], [np.inf, -np.inf], [np.nan, 1.0], [1e308, 1e308], []):
        total, rest = sum_with_rest(np.array(values))
        np.testing.assert_equal(total, sum(values))
        assert rest == 0
        rows = [PartTotals(loss=float(value)) for value in values]
        np.testing.assert_equal(add_totals(rows).loss, float(sum(values)))


def test_counts_add_up():
    rows = [PartTotals(1.0, 0.0, 2, 3.0, 0.0, 4)] * 33
    assert add_totals(rows) == (33.0, 0.0, 66, 99.0, 0.0, 132)


def test_the_same_bits_whatever_runs_the_tasks():
    values, labels = trained_head()
    arrays = da.from_array(values, chunks=(777, -1))
    loss, grad = fxd.sigmoid_focal_loss(
        arrays, labels, reduction="mean", normalizer="positive", return_grad=True
    )
    once = dask.compute(loss, grad, scheduler="synchronous")
    for workers in (1, 2, 5):
        again = dask.compute(loss, grad, scheduler="threads", num_workers=workers)
        assert again[0] == once[0]
        np.testing.assert_array_equal(again[1], once[1])


# --- errors --------------------------------------------------------------------------------------


def raises(message, name, *arrays, **options):
    result = getattr(fxd, name)(*arrays, **options)
    with pytest.raises(ValueError, match=message):
        lazy.computed(result)


@pytest.mark.parametrize("reduction", ["anchor", "mean"])
@pytest.mark.parametrize("return_grad", [False, True])
def test_errors_of_targets_name_the_place_in_the_whole(reduction, return_grad):
    options = {"axis": 1, "reduction": reduction, "return_grad": return_grad}
    values = lazy.chunked(np.zeros((7, 5, 11), np.float32))
    labels = np.zeros((7, 11), int)
    labels[5, 9] = 17
    raises(
        r"targets\[5, 9\] = 17 is not a class label",
        "softmax_cross_entropy",
        values,
        labels,
        **options,
    )
    dense = np.zeros((7, 5, 11))
    dense[4, 3, 10] = 1.5
    raises(r"targets\[4, 3, 10\] = 1.5 is outside", "sigmoid_focal_loss", values, dense, **options)


def test_errors_of_other_arrays_name_their_place():
    values = lazy.chunked(np.full((7, 5), 0.5, np.float32))
    labels, scores = np.zeros(7, int), np.zeros(7)
    scores[6] = -1
    raises(r"scores\[6\] = -1.0 is outside", "quality_focal_loss", values, labels, scores)
    probabilities = np.full((7, 5), 0.5)
    probabilities[5, 4] = 2
    arrays = lazy.chunked(probabilities), labels
    raises(r"probs\[5, 4\] = 2.0 is outside", "binary_cross_entropy", *arrays)


def test_errors_that_need_no_data_come_at_once():
    values, labels = lazy.chunked(np.zeros((7, 5), np.float32)), np.zeros(7, int)
    call = fxd.sigmoid_cross_entropy
    with pytest.raises(ValueError, match=r"targets has shape \(6,\), expected \(7,\) for class "):
        call(values, labels[:6])
    with pytest.raises(ValueError, match=r"weight has shape \(2,\), expected a number or \(7,\)"):
        call(values, labels, weight=[1, 2])
    with pytest.raises(ValueError, match=r"label_smoothing = 2.0 is outside"):
        call(values, labels, label_smoothing=2.0)
    with pytest.raises(ValueError, match="axis 2 is out of range for logits with 2 dimensions"):
        call(values, labels, axis=2)
    with pytest.raises(ValueError, match=r"grad_output has shape \(7,\), expected a number"):
        call(values, labels, reduction="sum", return_grad=True, grad_output=np.ones(7))
    with pytest.raises(TypeError, match="unexpected keyword argument 'out'"):
        call(values, labels, out=None)
    with pytest.raises(
        TypeError, match=r"logits must be an array of dask, not ndarray: .*from_array"
    ):
        call(np.zeros((7, 5), np.float32), labels)
    with pytest.raises(ValueError, match="logits has chunks of unknown sizes"):
        call(values[lazy.chunked(labels) == 0], labels)
    with pytest.raises(ValueError, match="nothing to average over"):
        call(values, labels, reduction="mean", normalizer=0, empty="raise")
