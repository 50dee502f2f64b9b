"""Any shape, any strides, any axis, any dtype: the result is that of the plain formula."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.oracles import one_hot, plain_sigmoid_cross_entropy, plain_softmax_cross_entropy

import fastxent as fx

LABEL_DTYPES = "bhilqBHILQ"
DENSE_DTYPES = "?bBiqfd"

RTOL = {np.dtype(np.float32): 2e-6, np.dtype(np.float64): 1e-12}

LOSSES = {
    fx.sigmoid_cross_entropy: plain_sigmoid_cross_entropy,
    fx.softmax_cross_entropy: plain_softmax_cross_entropy,
}
losses = pytest.mark.parametrize("loss", LOSSES)


def strided(array, layout):
    """Return the same values with other strides."""
    if array.ndim == 0:
        return np.asarray(array)
    if layout == "fortran":
        return np.asfortranarray(array)
    if layout == "reversed":
        return np.flip(np.flip(array).copy())
    if layout == "sliced":
        wide = np.full([2 * n + 1 for n in array.shape], 99, dtype=array.dtype)
        view = wide[(slice(1, None, 2),) * array.ndim]
        view[...] = array
        return view
    if layout == "turned":
        return array.T.copy().T
    if layout == "unaligned":
        raw = np.empty(array.nbytes + 1, dtype=np.uint8)
        view = raw[1:].view(array.dtype).reshape(array.shape)
        view[...] = array
        return view
    if layout == "swapped":
        return array.astype(array.dtype.newbyteorder())
    if layout == "read-only":
        array = array.copy()
        array.flags.writeable = False
        return array
    return array


LAYOUTS = st.sampled_from(
    ["plain", "fortran", "reversed", "sliced", "turned", "unaligned", "swapped", "read-only"]
)


@st.composite
def heads(draw):
    """Draw logits, the axis of their classes, and a generator for what goes with them."""
    shape = draw(hnp.array_shapes(max_dims=4, max_side=7))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    shape = list(shape)
    shape[axis] = draw(st.sampled_from([2, 3, 5, 16, 33, 70]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    logits = rng.normal(0, 4, shape).astype(dtype)
    return strided(logits, draw(LAYOUTS)), axis, rng


def assert_close(result, expected, dtype):
    assert np.shape(result) == expected.shape
    assert result.dtype == dtype.newbyteorder("=")
    tolerance = RTOL[dtype.newbyteorder("=")]
    # The plain formulas cancel for small losses.
    np.testing.assert_allclose(result, expected, rtol=tolerance, atol=1e-14)


@losses
@given(
    head=heads(),
    label_dtype=st.sampled_from(LABEL_DTYPES),
    layout=LAYOUTS,
    ignore=st.sampled_from([-100, 1, (0, 127)]),
)
def test_labels(loss, backend, head, label_dtype, layout, ignore):
    logits, axis, rng = head
    last = np.moveaxis(logits, axis, -1)
    classes = last.shape[-1]
    valid = classes + 1 if loss is fx.sigmoid_cross_entropy else classes
    labels = rng.integers(0, valid, last.shape[:-1]).astype(label_dtype)
    ignored = np.isin(labels.astype(np.int64), ignore)
    expected = LOSSES[loss](last, one_hot(labels, classes)).sum(axis=-1)
    result = loss(logits, strided(labels, layout), axis=axis, ignore_index=ignore)
    assert_close(result, np.where(ignored, 0, expected), logits.dtype)


@losses
@given(
    head=heads(),
    dense_dtype=st.sampled_from(DENSE_DTYPES),
    layout=LAYOUTS,
    smoothing=st.sampled_from([0, 0.25]),
)
def test_dense_targets(loss, backend, head, dense_dtype, layout, smoothing):
    logits, axis, rng = head
    last = np.moveaxis(logits, axis, -1)
    targets = (rng.integers(0, 5, logits.shape) / 4).astype(dense_dtype)
    smooth = np.moveaxis(targets, axis, -1).astype(float) * (1 - smoothing)
    smooth += smoothing / (2 if loss is fx.sigmoid_cross_entropy else last.shape[-1])
    expected = LOSSES[loss](last, smooth).sum(axis=-1)
    result = loss(logits, strided(targets, layout), axis=axis, label_smoothing=smoothing)
    assert_close(result, expected, logits.dtype)


@given(head=heads(), layout=LAYOUTS, weight_layout=LAYOUTS, out_layout=LAYOUTS, data=st.data())
def test_losses_of_logits(backend, head, layout, weight_layout, out_layout, data):
    """reduction="none", with weights that broadcast, into an array of any strides."""
    logits, axis, rng = head
    labelled = data.draw(st.booleans())
    weight_shape = [n if data.draw(st.booleans()) else 1 for n in logits.shape]
    weight = rng.integers(0, 5, weight_shape).astype(data.draw(st.sampled_from(DENSE_DTYPES)))
    classes = logits.shape[axis]
    labels = rng.integers(0, classes + 1, np.moveaxis(logits, axis, -1).shape[:-1])
    dense = np.moveaxis(one_hot(labels, classes), -1, axis)
    if out_layout in {"unaligned", "swapped", "read-only"}:
        out_layout = "plain"
    out = strided(np.zeros(logits.shape, logits.dtype.newbyteorder("=")), out_layout)
    result = fx.sigmoid_cross_entropy(
        logits,
        strided(labels if labelled else dense, layout),
        weight=strided(weight, weight_layout),
        axis=axis,
        reduction="none",
        out=out,
    )
    assert result is out
    assert_close(result, plain_sigmoid_cross_entropy(logits, dense) * weight, logits.dtype)


@losses
@given(head=heads(), out_layout=st.sampled_from(["plain", "fortran", "reversed", "sliced"]))
def test_losses_of_anchors_into_any_strides(loss, backend, head, out_layout):
    logits, axis, rng = head
    last = np.moveaxis(logits, axis, -1)
    labels = rng.integers(0, last.shape[-1], last.shape[:-1])
    out = strided(np.zeros(labels.shape, logits.dtype.newbyteorder("=")), out_layout)
    surroundings = out.base.copy() if out_layout == "sliced" and out.ndim > 0 else None
    result = loss(logits, labels, axis=axis, out=out)
    assert result is out
    expected = LOSSES[loss](last, one_hot(labels, last.shape[-1])).sum(axis=-1)
    assert_close(result, expected, logits.dtype)
    if surroundings is not None:
        surroundings[(slice(1, None, 2),) * out.ndim] = out
        np.testing.assert_array_equal(out.base, surroundings)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_broadcast_logits(axis, backend):
    """Arrays whose strides are zero are read like any other."""
    row = np.random.default_rng(0).normal(size=(1, 6, 1)).astype(np.float32)
    logits = np.broadcast_to(row, (4, 6, 5))
    labels = np.broadcast_to(1, np.delete(logits.shape, axis))
    last = np.moveaxis(logits, axis, -1)
    expected = plain_softmax_cross_entropy(last, one_hot(labels, last.shape[-1])).sum(-1)
    result = fx.softmax_cross_entropy(logits, labels, axis=axis)
    np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_results_of_logits_keep_the_memory_order(backend):
    for logits in (np.zeros((3, 4, 5)), np.zeros((3, 4, 5), order="F")):
        targets = np.zeros(logits.shape)
        result = fx.sigmoid_cross_entropy(logits, targets, reduction="none", axis=1)
        assert result.strides == logits.strides


@losses
def test_many_dimensions(loss, backend):
    """NumPy 1 has 32, NumPy 2 has 64; a class axis more must not break that."""
    logits = np.zeros((1,) * 30 + (3,))
    result = loss(logits, np.zeros((1,) * 30, dtype=int))
    assert result.shape == (1,) * 30


def test_buffers_lists_and_dlpack(backend):
    class OnlyDLPack:
        def __init__(self, array):
            self._array = array

        def __dlpack__(self, **options):
            return self._array.__dlpack__(**options)

        def __dlpack_device__(self):
            return self._array.__dlpack_device__()

    logits = np.array([[1.0, 2.0, 4.0], [3.0, -1.0, 0.0]])
    labels = np.array([2, 0])
    expected = plain_softmax_cross_entropy(logits, one_hot(labels, 3)).sum(axis=1)
    for values, targets in (
        (logits.tolist(), labels.tolist()),
        (memoryview(logits), memoryview(labels)),
        (OnlyDLPack(logits), OnlyDLPack(labels)),
    ):
        result = fx.softmax_cross_entropy(values, targets)
        np.testing.assert_allclose(result, expected, rtol=1e-14)
        assert type(result) is np.ndarray


def test_a_single_anchor_is_a_scalar(backend):
    result = fx.softmax_cross_entropy(np.float32([1, 2, 3]), 2)
    assert type(result) is np.float32
    assert result == pytest.approx(0.40760595)
    result = fx.sigmoid_cross_entropy(np.float64(0.0), True, axis=None)
    assert type(result) is np.float64
    out = np.empty((), dtype=np.float32)
    assert fx.softmax_cross_entropy(np.float32([1, 2, 3]), 2, out=out) is out
    assert out == pytest.approx(0.40760595)
