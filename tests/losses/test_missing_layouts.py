"""Missing labels in memory of any order, in some blocks of many, on any number of threads."""

import gc

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import family

import fastxent as fx
from fastxent import native

NAN = np.nan
LAYOUTS = ["plain", "fortran", "reversed", "sliced"]
every_loss = pytest.mark.parametrize("name", family.WITH_DENSE)


def strided(array, layout):
    """Return the same values with other strides."""
    if layout == "fortran":
        return np.asfortranarray(array)
    if layout == "reversed":
        return np.flip(np.flip(array).copy())
    if layout == "sliced":
        wide = np.full([2 * n + 1 for n in array.shape], 99, array.dtype)
        view = wide[(slice(1, None, 2),) * array.ndim]
        view[...] = array
        return view
    return array


def labelled_classes(name, rng, shape, axis):
    """Return which classes have a label; all or none of an anchor, of softmaxes."""
    share = rng.choice([0, 0.5, 1], [1 if i == axis else n for i, n in enumerate(shape)])
    size = shape if name in family.PER_CLASS else share.shape
    return np.broadcast_to(rng.random(size) < share, shape)


@st.composite
def calls(draw):
    """Return the name of a loss, its arguments, and which of the classes have labels."""
    name = draw(st.sampled_from(family.WITH_DENSE))
    shape = draw(st.sampled_from([(3, 5), (70, 4), (9, 33), (2, 19, 21), (5, 3, 2, 4), (40, 130)]))
    axis = draw(st.integers(0, len(shape) - 1))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = draw(st.sampled_from([np.float32, np.float64, np.float16, ml_dtypes.bfloat16]))
    targets_dtype = draw(st.sampled_from([np.float32, np.float64, np.uint8, np.int32]))
    mark = draw(st.sampled_from([255, 100, 2]))
    values = family.values_for(name, rng, shape, dtype)
    targets = rng.integers(0, 2, shape).astype(targets_dtype)
    if targets.dtype.kind == "f":
        targets = (rng.integers(0, 9, shape) / 8).astype(targets_dtype)
    labelled = labelled_classes(name, rng, shape, axis)
    values[~labelled], targets[~labelled] = NAN, mark
    anchors = [n for i, n in enumerate(shape) if i != axis]
    options = {"axis": axis, "ignore_index": (7, mark), "num_threads": draw(st.integers(1, 2))}
    if draw(st.booleans()):
        options["class_weight"] = rng.random(shape[axis])
    weight = draw(st.sampled_from(["none", "anchors", "logits", "broadcast"]))
    if weight == "anchors" or (weight != "none" and name not in family.PER_CLASS):
        options["weight"] = rng.random(anchors)
    elif weight == "logits":
        options["weight"] = strided(np.where(labelled, rng.random(shape), NAN), "sliced")
    elif weight == "broadcast":
        options["weight"] = rng.random([n if i == axis else 1 for i, n in enumerate(shape)])
    reduction = draw(st.sampled_from(["anchor", "none", "sum", "mean"]))
    if reduction == "mean":
        options["normalizer"] = draw(st.sampled_from(["valid", "weight", "positive", "count"]))
    elif reduction == "none" and name in family.PER_CLASS:
        options["grad_output"] = np.where(labelled, rng.normal(size=shape), NAN)
    elif reduction == "anchor":
        options["grad_output"] = rng.normal(size=anchors)
    options["reduction"] = reduction
    layouts = st.sampled_from(LAYOUTS)
    return name, strided(values, draw(layouts)), strided(targets, draw(layouts)), options, labelled


def check(call, backend):
    name, values, targets, options, labelled = call
    wide = values.astype(np.float64)
    expected = family.public(name)(wide, targets, return_grad=True, backend="numpy", **options)
    with fx.backend(backend):
        loss, gradient = family.public(name)(values, targets, return_grad=True, **options)
        options.pop("grad_output", None)
        alone = family.public(name)(values, targets, **options)
    rtol = 1e-12 if values.dtype == np.float64 else 2e-5
    family.assert_near(alone, expected[0], rtol)
    family.assert_near(loss, expected[0], rtol)
    if values.dtype.itemsize == 2:
        rtol = 2e-2
    assert gradient.dtype == values.dtype
    family.assert_near(gradient, expected[1], rtol)
    assert not gradient[~labelled].any()


@pytest.mark.parametrize("isa", native.available_isas(), indirect=True)
@settings(max_examples=150)
@given(calls())
def test_any_call(isa, call):
    check(call, "native")


@settings(max_examples=25)
@given(calls())
def test_any_call_of_numba(call):
    pytest.importorskip("numba")
    check(call, "numba")


# --- blocks ---------------------------------------------------------------------------------------


def large_case(name, dtype=np.float32, classes=21, *, is_turned=False):
    """Return anchors of several blocks, of which some have missing labels, and then most."""
    rng = np.random.default_rng(3)
    shape = (9000, classes)
    values = family.values_for(name, rng, shape, dtype)
    targets = (rng.integers(0, 9, shape) / 8).astype(np.float32)
    labelled = np.ones(shape, bool)
    labelled[4000:4003] = labelled[8000] = False
    if name in family.PER_CLASS:
        labelled[5000, 3:5] = False
        labelled[6500:] &= rng.random((2500, classes)) < 0.5
    else:
        labelled[6500:] &= rng.random((2500, 1)) < 0.5
    targets[~labelled], values[~labelled] = -1, NAN
    if is_turned:
        return values.T.copy().T, targets.T.copy().T, labelled
    return values, targets, labelled


@every_loss
@pytest.mark.parametrize("is_turned", [False, True])
def test_some_blocks(name, is_turned, isa):
    values, targets, labelled = large_case(name, is_turned=is_turned)
    function, arguments = family.public(name), {"ignore_index": -1, "return_grad": True}
    loss, gradient = function(values, targets, **arguments)
    expected, slopes = function(values, targets, backend="numpy", **arguments)
    np.testing.assert_allclose(loss, expected, rtol=5e-6)
    family.assert_near(gradient, slopes, 5e-6)
    # An anchor of a block that has no missing labels does not notice those of others.
    complete = labelled[:3000].all(axis=1)
    assert complete.all()
    before, slopes = function(values[:3000], targets[:3000], **arguments)
    np.testing.assert_array_equal(loss[:2000], before[:2000])
    np.testing.assert_array_equal(gradient[:2000], slopes[:2000])
    # Where targets are checked before, and written to, there are the same bits.
    out, grad_out = np.empty_like(loss), np.empty_like(gradient)
    function(values, targets, out=out, grad_out=grad_out, **arguments)
    np.testing.assert_array_equal(out, loss)
    np.testing.assert_array_equal(grad_out, gradient)


@every_loss
def test_threads(name, isa):
    values, targets, _ = large_case(name)
    for options in ({}, {"reduction": "sum"}, {"reduction": "mean", "normalizer": "weight"}):
        results = [
            family.public(name)(
                values, targets, ignore_index=-1, return_grad=True, num_threads=n, **options
            )
            for n in (1, 2, 3)
        ]
        for loss, gradient in results[1:]:
            np.testing.assert_array_equal(loss, results[0][0])
            np.testing.assert_array_equal(gradient, results[0][1])


@pytest.mark.skipif(native.get_isa() == "baseline", reason="it has no fused multiply-add")
@every_loss
@pytest.mark.parametrize("classes", [1, 3, 21, 113])
def test_numba_has_the_same_bits(name, classes):
    pytest.importorskip("numba")
    if classes == 1 and name not in family.PER_CLASS:
        return
    values, targets, _ = large_case(name, classes=classes)
    if name in family.LOGIT_LOSSES:
        values[::5, 0] = np.inf  # repaired in double
    options = [{}, {"return_grad": True}, {"reduction": "mean", "normalizer": "weight"}]
    if name in family.PER_CLASS:
        options.append({"reduction": "none", "return_grad": True, "class_weight": np.ones(classes)})
    for arguments in options:
        results = [
            family.public(name)(values, targets, ignore_index=-1, backend=backend, **arguments)
            for backend in ("native", "numba")
        ]
        pairs = zip(*[r if isinstance(r, tuple) else (r,) for r in results], strict=True)
        for native_result, numba_result in pairs:
            np.testing.assert_array_equal(native_result, numba_result)


@pytest.mark.exhaustive
@pytest.mark.parametrize("missing", [False, True])
def test_arrays_do_not_outlive_a_call(missing):
    """Nothing refers to itself: gradients are given back when their last user forgets them."""
    targets = np.full((100, 30), -100 if missing else 0, np.float32)
    gc.collect()
    gc.disable()
    try:
        for loss in (fx.sigmoid_cross_entropy, fx.softmax_cross_entropy):
            loss(np.zeros((100, 30), np.float32), targets, return_grad=True)
        assert gc.collect() == 0
    finally:
        gc.enable()
