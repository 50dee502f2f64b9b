"""Scores as users of SciPy call them: several class axes, integers, ``keepdims``, no classes."""

import math
import re

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special
from support.oracles import assert_accurate, exact_log_softmax, stated_ulps

import fastxent as fx
from fastxent._call import class_scores

INF, NAN = np.inf, np.nan
PEERS = {
    fx.softmax: special.softmax,
    fx.log_softmax: special.log_softmax,
    fx.logsumexp: special.logsumexp,
}
OF_ELEMENTS = {
    fx.sigmoid: special.expit,
    fx.log_sigmoid: special.log_expit,
    fx.softplus: lambda z: np.logaddexp(0, z),
    fx.logit: special.logit,
    fx.odds: lambda p: np.where((p < 0) | (p > 1), np.nan, p / (1 - p)),
}
over_classes = pytest.mark.parametrize("score", PEERS)
of_each_class = pytest.mark.parametrize("score", [fx.softmax, fx.log_softmax])
INTEGERS = ["?", "b", "B", "h", "H", "i", "I", "q", "Q"]

shapes = hnp.array_shapes(min_dims=1, max_dims=4, max_side=6)


@pytest.fixture
def small_parts(monkeypatch):
    """Make blocks and parts so small that the arrays of a test have several."""
    monkeypatch.setattr(class_scores, "BLOCK_SIZE", 20)
    monkeypatch.setattr(class_scores, "PART_SIZE", 14)
    monkeypatch.setattr(class_scores, "BLOCK_ANCHORS", 3)


def drawn_axes(data, ndim):
    """Draw what `axis` may be, and the axes as a tuple."""
    count = data.draw(st.integers(0, ndim), label="number of axes")
    if count == 0:
        return None, tuple(range(ndim))
    axes = data.draw(st.permutations(range(ndim)))[:count]
    axes = tuple(axis - ndim * data.draw(st.integers(0, 1)) for axis in axes)
    return axes, axes


def drawn_logits(data, shape, dtypes):
    """Draw logits with strides of any kind, all of them different."""
    dtype = np.dtype(data.draw(st.sampled_from(dtypes)))
    order = data.draw(st.permutations(range(len(shape))))
    wide = np.random.default_rng(7).normal(0, 5, [2 * shape[axis] for axis in order])
    wide = np.abs(wide) if dtype.kind == "u" else wide
    array = wide.astype(dtype).transpose(np.argsort(order))
    steps = [data.draw(st.sampled_from([1, 1, 2, -1, -2])) for _ in shape]
    array = array[tuple(slice(None, None, step) for step in steps)]
    return array[tuple(slice(length) for length in shape)]


def assert_close(result, expected, largest=0.0):
    """Compare with SciPy, which rounds small results of log_softmax to units of 1e-16.

    Errors of logsumexp are relative to the result or to the largest logit.
    """
    rtol = 2e-6 if result.dtype == np.float32 else 1e-12
    np.testing.assert_allclose(result, expected, rtol=rtol, atol=max(1e-15, rtol * largest))


# --- several class axes --------------------------------------------------------------------------


def check_axes(score, data, shape, dtypes):
    """Compare a call with SciPy's of the same arguments in float64."""
    logits = drawn_logits(data, shape, dtypes)
    axis, axes = drawn_axes(data, len(shape))
    keywords = {}
    if score is fx.logsumexp:
        keywords["keepdims"] = data.draw(st.booleans())
    expected = PEERS[score](logits.astype(float), axis=axes, **keywords)
    dtype = np.dtype(float if logits.dtype.kind in "biu" else np.result_type(logits, "f4"))
    out = None
    if data.draw(st.booleans()):
        out = np.full(np.shape(expected)[::-1], -77, dtype).T
    result = score(logits, axis=axis, out=out, num_threads=2, **keywords)
    assert np.shape(result) == np.shape(expected)
    assert result.dtype == dtype
    assert out is None or result is out
    largest = abs(logits.astype(float)).max() if score is fx.logsumexp else 0.0
    assert_close(result, expected, largest)


@over_classes
@given(data=st.data(), shape=shapes)
def test_any_axes(score, backend, data, shape):
    check_axes(score, data, shape, ["e", "f", "d"])


@over_classes
@given(data=st.data(), shape=shapes)
def test_any_axes_of_arrays_that_no_block_holds(score, small_parts, data, shape):
    check_axes(score, data, shape, ["e", "f", "d", *INTEGERS])


@over_classes
@pytest.mark.parametrize("dtype", ["f", "d"])
def test_axes_that_memory_holds_as_one_are_exact_classes(score, dtype, isa):
    """The feature maps of a head whose classes come first: each map is one softmax."""
    logits = np.random.default_rng(5).normal(0, 5, (2, 3, 4, 5)).astype(dtype)
    rows = [exact_log_softmax(row) for row in logits.reshape(6, 20)]
    result = score(logits, axis=(3, -2))
    if score is fx.logsumexp:
        exact = [float(z[0]) - row[0] for z, row in zip(logits.reshape(6, 20), rows, strict=True)]
        assert_accurate(result, exact, 4 if dtype == "f" else 8, abs(logits.max()))
        return
    exact = np.array(rows)
    if score is fx.softmax:
        exact = np.array([mpmath.exp(value) for value in exact.flat])
    assert_accurate(result, exact, stated_ulps(score) if dtype == "f" else 16)


@of_each_class
@given(data=st.data(), shape=shapes)
def test_in_place(score, backend, data, shape):
    logits = drawn_logits(data, shape, ["f", "d"]).copy("K")
    axis, axes = drawn_axes(data, len(shape))
    expected = PEERS[score](logits.astype(float), axis=axes)
    assert score(logits, axis=axis, out=logits) is logits
    assert_close(logits, expected)


@of_each_class
@pytest.mark.parametrize("axis", [None, (0, 2), (2, 1)], ids=str)
def test_in_place_by_parts(score, axis, small_parts):
    wide = np.random.default_rng(6).normal(0, 3, (7, 9, 22))
    logits = wide[:, ::2, 1::2]
    expected = PEERS[score](logits.copy(), axis=axis)
    before = wide[:, 1::2].copy()
    assert score(logits, axis=axis, out=logits) is logits
    np.testing.assert_allclose(logits, expected, rtol=1e-12)
    np.testing.assert_array_equal(wide[:, 1::2], before)


@pytest.mark.parametrize("dtype", ["f", "d"])
def test_logsumexp_of_one_class_in_place(dtype, backend):
    logits = np.array([[INF], [NAN], [1.5], [-INF]] * 40, dtype)
    expected = logits.copy()
    assert fx.logsumexp(logits, keepdims=True, out=logits) is logits
    np.testing.assert_array_equal(logits, expected)


@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize(
    ("values", "softmax", "logsumexp"),
    [
        ([INF, 0, 1], [1, 0, 0], INF),
        ([INF, -INF, INF], [NAN] * 3, INF),
        ([-INF, 0, -INF], [0, 1, 0], 0),
        ([-INF, -INF, -INF], [NAN] * 3, -INF),
        ([NAN, 0, 0], [NAN] * 3, NAN),
        ([NAN, INF, 0], [NAN] * 3, NAN),
    ],
)
@pytest.mark.parametrize("dtype", ["e", "f", "d"])
def test_limits_over_several_axes(values, softmax, logsumexp, dtype, parts, backend, request):
    """Three logits of an anchor, apart from each other, among others of -inf."""
    if parts:
        request.getfixturevalue("small_parts")
    logits = np.full((5, 2, 16), -INF, dtype)[..., ::2]
    places = (np.array([0, 2, 4]), slice(None), np.array([1, 0, 7]))
    logits[places] = np.array(values)[:, None]
    logits[:, 1] = 1  # another anchor, of which nothing is to be seen
    result = fx.softmax(logits, axis=(0, 2))
    np.testing.assert_array_equal(result[places][:, 0], softmax)
    np.testing.assert_allclose(result[:, 1], 1 / 40, rtol=1e-6)
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(
            fx.log_softmax(logits, axis=(0, 2))[places][:, 0], np.log(softmax)
        )
    np.testing.assert_allclose(
        fx.logsumexp(logits, axis=(0, 2)), [logsumexp, 1 + math.log(40)], rtol=1e-6
    )


def test_bfloat16_over_several_axes(backend):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    logits = np.random.default_rng(4).normal(0, 3, (6, 7, 8)).astype(bfloat16)[:, ::2]
    for axis in (None, (0, 2), (1, 2), (0, 1)):
        for score, peer in PEERS.items():
            result = score(logits, axis=axis)
            assert result.dtype == np.float32
            np.testing.assert_allclose(result, peer(logits.astype(float), axis=axis), rtol=2e-6)


def test_an_array_without_dimensions(backend):
    for value, dtype in ((3.0, float), (np.float32(3), np.float32), (3, float), (True, float)):
        for score, expected in ((fx.softmax, 1), (fx.log_softmax, 0), (fx.logsumexp, value)):
            result = score(value, axis=None)
            assert type(result) is np.dtype(dtype).type
            assert result == expected
    assert fx.logsumexp(3.0, axis=None, keepdims=True) == 3


def test_several_axes_are_as_accurate_as_one(backend):
    """One large logit: the others' sum is tiny, and log_softmax there minus the sum."""
    logits = np.full((40, 9, 60), -18, np.float32)[:, :, ::2]
    logits[3, :, 4] = 0
    for axis in ((0, 2), (2, 0)):
        exact = -np.log1p(np.exp(-18.0) * 1199)
        result = fx.log_softmax(logits, axis=axis)
        np.testing.assert_allclose(result[3, :, 4], exact, rtol=5e-7)
        np.testing.assert_allclose(fx.logsumexp(logits, axis=axis), -exact, rtol=5e-7)


# --- wrong axes ----------------------------------------------------------------------------------


@over_classes
@pytest.mark.parametrize(
    ("axis", "error", "message"),
    [
        ((), ValueError, "axis is an empty tuple: it names no axis (None: all of them)"),
        ((0, 0), ValueError, "axis = (0, 0) names axis 0 of logits twice"),
        ((1, 0, -2), ValueError, "axis = (1, 0, -2) names axis 1 of logits twice"),
        ((0, 3), ValueError, "axis 3 is out of range for logits with 3 dimensions"),
        (-4, ValueError, "axis -4 is out of range for logits with 3 dimensions"),
        ((0, True), TypeError, "axis must be an integer, not True"),
        ((0, None), TypeError, "axis must be an integer, not None"),
        ((0, 1.0), TypeError, "axis must be an integer, not 1.0"),
        ([0, 1], TypeError, "axis must be an integer, a tuple of integers or None, not [0, 1]"),
        ("0", TypeError, "axis must be an integer, a tuple of integers or None, not '0'"),
        (1.0, TypeError, "axis must be an integer, a tuple of integers or None, not 1.0"),
        (True, TypeError, "axis must be an integer, a tuple of integers or None, not True"),
        # NumPy 1.26 calls it True.
        (
            np.True_,
            TypeError,
            f"axis must be an integer, a tuple of integers or None, not {np.True_!r}",
        ),
    ],
    ids=str,
)
def test_wrong_axes(score, axis, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        score(np.zeros((2, 3, 4)), axis=axis)


@over_classes
def test_no_axis_of_an_array_without_dimensions(score):
    with pytest.raises(ValueError, match="axis -1 is out of range for logits with 0 dimensions"):
        score(1.0)


@pytest.mark.parametrize("keepdims", [1, None, "yes", np.int64(1), np.array([True])])
def test_keepdims_is_a_flag(keepdims):
    with pytest.raises(TypeError, match="keepdims must be True or False, not "):
        fx.logsumexp([[0.0]], keepdims=keepdims)
    assert fx.logsumexp([[0.0]], keepdims=np.True_).shape == (1, 1)


def test_axes_of_any_integer_type():
    logits = np.arange(24.0).reshape(2, 3, 4)
    expected = special.logsumexp(logits, axis=(0, 2))
    result = fx.logsumexp(logits, axis=(np.int8(0), np.uint64(2)))
    np.testing.assert_allclose(result, expected, rtol=1e-14)
    assert fx.logsumexp(logits, axis=np.int64(1)).shape == (2, 4)


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((2, 3, 4), float, "out has shape (2, 3, 4), expected (1, 3, 1)"),
        ((3,), float, "out has shape (3,), expected (1, 3, 1)"),
        ((1, 3, 1), np.float32, "out has dtype float32, expected float64"),
    ],
)
def test_out_with_keepdims(shape, dtype, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        fx.logsumexp(np.zeros((2, 3, 4)), axis=(0, 2), keepdims=True, out=np.empty(shape, dtype))
    out = np.empty((3, 1, 1)).transpose(1, 0, 2)
    assert fx.logsumexp(np.zeros((2, 3, 4)), axis=(0, 2), keepdims=True, out=out) is out
    np.testing.assert_allclose(out, math.log(8), rtol=1e-15)


# --- integers and bool ---------------------------------------------------------------------------


@pytest.mark.parametrize("score", OF_ELEMENTS)
@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("shape", [(), (7,), (3, 5)], ids=str)
def test_integers_of_single_values(score, dtype, shape, backend):
    low, high = (0, 2) if score in {fx.logit, fx.odds} else (0, 100)
    if np.dtype(dtype).kind == "i":
        low -= 50
    values = np.asarray(np.random.default_rng(1).integers(low, high, shape)).astype(dtype)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = OF_ELEMENTS[score](values.astype(float))
    for layout in (values, values[..., ::-1][..., ::-1] if shape else values, values.T.copy().T):
        result = score(layout)
        assert result.dtype == np.float64
        np.testing.assert_allclose(result, expected, rtol=1e-14)
    out = np.full(shape[::-1], -77.0).T
    assert score(values, out=out) is out
    np.testing.assert_allclose(out, expected, rtol=1e-14)


@over_classes
@given(data=st.data(), shape=shapes)
def test_integers_over_classes(score, backend, data, shape):
    check_axes(score, data, shape, INTEGERS)


@pytest.mark.parametrize("score", [*OF_ELEMENTS, *PEERS])
def test_python_numbers(score, backend):
    for values in ([1, 0], [True, False], [[1, 0], [1, 1]]):
        result, expected = score(values), score(np.array(values, float))
        assert result.dtype == np.float64
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("score", [*OF_ELEMENTS, *PEERS])
@pytest.mark.parametrize("dtype", ["?", "b", "i", "Q"])
def test_results_of_integers_are_float64(score, dtype):
    values = np.ones((2, 3), dtype)
    shape = (2,) if score is fx.logsumexp else (2, 3)
    for wrong in ("f", dtype):
        with pytest.raises(ValueError, match=f"out has dtype {np.dtype(wrong)}, expected float64"):
            score(values, out=np.empty(shape, wrong))
    if np.dtype(dtype).itemsize == 8:
        name = "probs" if score in {fx.logit, fx.odds} else "logits"
        message = f"out shares memory with {name}, and is not the same array"
        with pytest.raises(ValueError, match=message):
            score(values, out=values.reshape(-1).view(float)[: math.prod(shape)].reshape(shape))
    assert (values == 1).all()


def test_integers_of_two_heads():
    logits = np.array([[3, -2], [0, 2**40]])
    np.testing.assert_array_equal(
        fx.sigmoid_to_softmax_logits(logits), np.stack([logits / -2, logits / 2], axis=-1)
    )
    np.testing.assert_array_equal(fx.softmax_to_sigmoid_logit(logits), [-5, 2**40])
    unsigned = np.array([[3, 1], [0, 200]], np.uint8)
    np.testing.assert_array_equal(fx.softmax_to_sigmoid_logit(unsigned), [-2, 200])
    flags = np.array([[True, False], [False, True]])
    np.testing.assert_array_equal(fx.softmax_to_sigmoid_logit(flags), [-1, 1])
    for function in (fx.sigmoid_to_softmax_logits, fx.softmax_to_sigmoid_logit):
        assert function(logits).dtype == function(flags).dtype == np.float64


# --- no classes ----------------------------------------------------------------------------------

EMPTY = [(0,), (3, 0), (0, 3), (2, 0, 4), (0, 0), (2, 3, 0)]


@pytest.mark.parametrize("shape", EMPTY, ids=str)
@pytest.mark.parametrize("dtype", ["e", "f", "d", "q", "?"])
def test_empty_arrays_as_in_torch(shape, dtype, backend):
    torch = pytest.importorskip("torch")
    logits = np.empty(shape, dtype)
    tensor = torch.empty(shape)
    for axis in range(-len(shape), len(shape)):
        for keepdims in (False, True):
            expected = torch.logsumexp(tensor, axis, keepdim=keepdims).numpy()
            np.testing.assert_array_equal(
                fx.logsumexp(logits, axis=axis, keepdims=keepdims), expected
            )
            assert fx.logsumexp(logits, axis=axis, keepdims=keepdims).shape == expected.shape
        assert fx.softmax(logits, axis=axis).shape == torch.softmax(tensor, axis).shape
        assert fx.log_softmax(logits, axis=axis).shape == torch.log_softmax(tensor, axis).shape
    everything = tuple(range(len(shape)))
    for axis in (None, everything):
        result = fx.logsumexp(logits, axis=axis)
        assert result == -INF
        assert result == torch.logsumexp(tensor, everything).item()
        assert type(result) is (np.float32 if dtype in "ef" else np.float64)
        assert fx.softmax(logits, axis=axis).shape == shape


@pytest.mark.parametrize("shape", EMPTY, ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
def test_empty_arrays_as_in_scipy(shape, keepdims, backend):
    for axis in range(len(shape)):  # of several axes, SciPy 1.17 raises an IndexError
        expected = special.logsumexp(np.empty(shape), axis=axis, keepdims=keepdims)
        result = fx.logsumexp(np.empty(shape), axis=axis, keepdims=keepdims)
        assert np.shape(result) == np.shape(expected)
        np.testing.assert_array_equal(result, expected)


def test_empty_arrays_with_out(backend):
    out = np.zeros(3, np.float32)
    assert fx.logsumexp(np.empty((3, 0), np.float32), out=out) is out
    np.testing.assert_array_equal(out, -INF)
    out = np.zeros((2, 1, 4))
    assert fx.logsumexp(np.empty((2, 0, 4)), axis=1, keepdims=True, out=out) is out
    np.testing.assert_array_equal(out, -INF)
    logits = np.empty((2, 0, 4))
    assert fx.softmax(logits, axis=1, out=logits) is logits
