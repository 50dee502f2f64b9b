"""Scores against exact ones; their limits, layouts and ``out=``."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special
from support.oracles import assert_accurate, exact_log_softmax, exact_softplus, stated_ulps

import fastxent as fx

INF, NAN = np.inf, np.nan
FLOAT32 = np.finfo(np.float32)

OF_LOGITS = {
    fx.sigmoid: lambda z: 1 / (1 + mpmath.exp(-z)),
    fx.log_sigmoid: lambda z: -exact_softplus(-z),
    fx.softplus: exact_softplus,
}
OF_PROBS = {
    fx.logit: lambda p: mpmath.log(p) - mpmath.log(1 - p),
    fx.odds: lambda p: p / (1 - p),
}
OVER_CLASSES = {
    fx.softmax: special.softmax,
    fx.log_softmax: special.log_softmax,
    fx.logsumexp: special.logsumexp,
}
of_logits = pytest.mark.parametrize("score", OF_LOGITS)
of_probs = pytest.mark.parametrize("score", OF_PROBS)
of_elements = pytest.mark.parametrize("score", [*OF_LOGITS, *OF_PROBS])
over_classes = pytest.mark.parametrize("score", OVER_CLASSES)


def exact_values(score, values):
    formula = (OF_LOGITS | OF_PROBS)[score]
    return np.array([formula(mpmath.mpf(float(value))) for value in values.flat])


def exact_rows(score, logits):
    log_q = [exact_log_softmax(row) for row in logits]
    if score is fx.log_softmax:
        return np.array(log_q)
    if score is fx.softmax:
        return np.array([[mpmath.exp(value) for value in row] for row in log_q])
    return np.array(
        [mpmath.mpf(float(z[0])) - row[0] for z, row in zip(logits, log_q, strict=True)]
    )


# --- accuracy ------------------------------------------------------------------------------------


@of_logits
def test_logits_of_any_size(score, isa):
    magnitudes = np.geomspace(1e-44, FLOAT32.max, 1000)
    near = np.linspace(-110, 110, 1001)
    values = np.concatenate([magnitudes, -magnitudes, near]).astype(np.float32)
    assert_accurate(score(values), exact_values(score, values), stated_ulps(score))


@of_probs
def test_probabilities_of_any_size(score, isa):
    small = np.geomspace(1e-45, 0.499, 1000).astype(np.float32)
    near_half = np.float32(0.5) + np.arange(-50, 51).astype(np.float32) * np.float32(2**-24)
    values = np.concatenate([small, near_half, np.float32(1) - small[small > 2**-24]])
    assert_accurate(score(values), exact_values(score, values), stated_ulps(score))


@of_elements
def test_elements_of_the_reference(score):
    values = np.geomspace(1e-44, 0.499, 500).astype(np.float32)
    if score in OF_PROBS:
        values = np.concatenate([values, 1 - values[values > 2**-24]])
    else:
        values = np.concatenate([values * 200, values * -200])
    result = score(values, backend="numpy")
    assert_accurate(result, exact_values(score, values), 0.51)


@of_elements
def test_elements_in_float64(score, isa):
    values = np.random.default_rng(0).normal(0, 20, 500)
    if score in OF_PROBS:
        values = special.expit(values / 4)
    assert_accurate(score(values), exact_values(score, values), 8)


@over_classes
@pytest.mark.parametrize("classes", [1, 2, 3, 16, 21, 33, 80, 700])
@pytest.mark.parametrize("spread", [0.1, 5.0, 60.0])
def test_classes(score, classes, spread, isa):
    rng = np.random.default_rng([classes, int(10 * spread)])
    logits = rng.normal(0, spread, (max(3, 200 // classes), classes)).astype(np.float32)
    scale = abs(logits.max(axis=1)) if score is fx.logsumexp else 0.0
    assert_accurate(score(logits), exact_rows(score, logits), stated_ulps(score), scale)


@over_classes
def test_classes_of_extreme_logits(score, isa):
    logits = np.array(
        [[88, -88, 0], [104, 0, -104], [1e30, -1e30, 0], [3e38, 2e38, 0], [-1e4, -1e4, -1e4]],
        dtype=np.float32,
    )
    scale = abs(logits.max(axis=1)) if score is fx.logsumexp else 0.0
    assert_accurate(score(logits), exact_rows(score, logits), stated_ulps(score), scale)


# --- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("score", "values", "expected"),
    [
        (fx.sigmoid, [-INF, -1e30, 1e30, INF, NAN], [0, 0, 1, 1, NAN]),
        (fx.log_sigmoid, [-INF, INF, NAN], [-INF, 0, NAN]),
        (fx.softplus, [-INF, INF, NAN], [0, INF, NAN]),
        (fx.logit, [0, -0.0, 0.5, 1, -1e-9, 1.5, INF, -INF, NAN], [-INF, -INF, 0, INF] + [NAN] * 5),
        (fx.odds, [0, -0.0, 0.5, 1, -1e-9, 1.5, INF, -INF, NAN], [0, 0, 1, INF] + [NAN] * 5),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_limits_of_elements(score, values, expected, dtype, backend):
    np.testing.assert_array_equal(score(np.array(values, dtype)), expected)


@pytest.mark.parametrize(
    ("logits", "softmax", "logsumexp"),
    [
        ([INF, 0, 1], [1, 0, 0], INF),
        ([INF, -INF, 1], [1, 0, 0], INF),
        ([INF, INF, 1], [NAN] * 3, INF),
        ([-INF, 0, -INF], [0, 1, 0], 0),
        ([-INF, -INF, -INF], [NAN] * 3, -INF),
        ([NAN, 0, 0], [NAN] * 3, NAN),
        ([NAN, INF, 0], [NAN] * 3, NAN),
    ],
)
@pytest.mark.parametrize("width", [3, 40])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_limits_over_classes(logits, softmax, logsumexp, width, dtype, backend):
    """Classes of -inf are added up to `width`: kernels differ for few classes and many."""
    row = np.full((1, width), -INF, dtype)
    row[0, :3] = logits
    np.testing.assert_array_equal(fx.softmax(row)[0, :3], softmax)
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(fx.log_softmax(row)[0, :3], np.log(softmax))
    np.testing.assert_array_equal(fx.logsumexp(row), [logsumexp])


def test_a_single_class(backend):
    logits = np.array([[3.0], [-INF], [INF]])
    np.testing.assert_array_equal(fx.softmax(logits), [[1], [NAN], [1]])
    np.testing.assert_array_equal(fx.logsumexp(logits), [3, -INF, INF])


# --- layouts -------------------------------------------------------------------------------------

SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, max_side=9)


def drawn(data, shape):
    """Draw an array of a shape with strides of any kind."""
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    order = data.draw(st.permutations(range(len(shape))))
    steps = [data.draw(st.sampled_from([1, 2, -1, -2])) for _ in shape]
    wide = np.random.default_rng(1).random([2 * shape[axis] for axis in order]).astype(dtype)
    array = wide.transpose(np.argsort(order))
    array = array[tuple(slice(None, None, step) for step in steps)]
    return array[tuple(slice(length) for length in shape)]


@of_elements
@given(data=st.data(), shape=SHAPES)
def test_elements_of_any_layout(score, backend, data, shape):
    values = drawn(data, shape)
    peers = {
        fx.sigmoid: special.expit,
        fx.log_sigmoid: special.log_expit,
        fx.softplus: lambda z: np.logaddexp(0, z),
        fx.logit: special.logit,
        fx.odds: lambda p: p / (1 - p),
    }
    expected = peers[score](values.astype(float))
    out = None if data.draw(st.booleans()) else np.empty(shape[::-1], values.dtype).T
    result = score(values, out=out)
    assert result.dtype == values.dtype
    assert out is None or result is out
    np.testing.assert_allclose(result, expected, rtol=1e-12 if values.dtype == float else 1e-6)


@pytest.mark.parametrize("dtype", [np.float16, "bfloat16", np.float32, np.float64])
@pytest.mark.parametrize(
    "columns", [slice(5, None), slice(4), slice(4, 5), slice(None, None, -2)], ids=str
)
@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 1, 0), (1, 0, 2)], ids=str)
def test_elements_among_other_columns(dtype, columns, axes, backend):
    """Runs that are longer and shorter than what is taken at a time, over several such times."""
    dtype = np.dtype(dtype) if dtype != "bfloat16" else pytest.importorskip("ml_dtypes").bfloat16
    logits = np.random.default_rng(8).normal(0, 4, (3, 1700, 85)).astype(dtype)
    logits = logits[..., columns].transpose(axes)
    expected = special.expit(logits.astype(float))
    memory = np.full((*logits.shape[:-1], logits.shape[-1] + 2), -77, np.result_type(dtype, "f4"))
    for out in (None, memory[..., 1:-1], np.empty(logits.shape, memory.dtype)):
        result = fx.sigmoid(logits, out=out, num_threads=2)
        assert result.dtype == memory.dtype
        np.testing.assert_allclose(result, expected, rtol=4 * np.finfo(memory.dtype).eps)
    assert (memory[..., [0, -1]] == -77).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    "shape", [(300, 50), (50, 300), (3, 4000), (4000, 3), (1500, 2), (20, 3), (2, 900, 5)], ids=str
)
def test_elements_into_another_order(dtype, shape, isa):
    """Results whose neighbours are no neighbours among the logits, fewer and more than a vector."""
    logits = np.random.default_rng(9).normal(0, 4, shape).astype(dtype)
    expected = special.expit(logits.astype(float))
    eps = np.finfo(np.result_type(dtype, "f4")).eps
    for values in (logits, np.asfortranarray(logits)):
        for order in "CF":
            out = np.empty(shape, np.result_type(dtype, "f4"), order=order)
            np.testing.assert_allclose(fx.sigmoid(values, out=out), expected, rtol=4 * eps)


@over_classes
@given(data=st.data(), shape=SHAPES)
def test_classes_of_any_layout(score, backend, data, shape):
    logits = drawn(data, shape)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    expected = OVER_CLASSES[score](logits.astype(float), axis=axis)
    out = None
    if data.draw(st.booleans()):
        out = np.empty(expected.shape[::-1], logits.dtype).T
    result = score(logits, axis=axis, out=out)
    assert np.shape(result) == expected.shape
    assert result.dtype == logits.dtype
    assert out is None or result is out
    np.testing.assert_allclose(result, expected, rtol=1e-12 if logits.dtype == float else 2e-6)


@of_elements
def test_elements_in_place(score, backend):
    values = np.random.default_rng(0).random((30, 40))[::2, ::-3]
    expected = score(values.copy())
    assert score(values, out=values) is values
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0, 1, 5])
def test_results_that_no_cache_holds(dtype, offset, isa):
    size = 2**25 // np.dtype(dtype).itemsize + 3
    values = np.random.default_rng(0).normal(scale=4, size=size).astype(dtype)
    memory = np.full(size + offset + 1, np.nan, dtype)
    out = memory[offset : offset + size]
    assert fx.sigmoid(values, out=out, num_threads=2) is out
    np.testing.assert_allclose(out, special.expit(values), rtol=1e-6)
    assert np.isnan(memory[:offset]).all()
    assert np.isnan(memory[-1])


@pytest.mark.parametrize("score", [fx.softmax, fx.log_softmax])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("classes", [3, 50])
@pytest.mark.parametrize("scale", [1, 100])
def test_classes_in_place(score, axis, classes, scale, backend):
    shape = [70, 70, 70]
    shape[axis] = classes
    logits = np.random.default_rng(0).normal(scale=scale, size=shape).astype(np.float32)
    # Sums that have to be made again, from logits that must still be there.
    logits[2] *= 1e3
    logits[1, 2, 2] = np.inf
    expected = score(logits.copy(), axis=axis)
    assert score(logits, axis=axis, out=logits) is logits
    np.testing.assert_array_equal(logits, expected)


@pytest.mark.parametrize("score", [*OF_LOGITS, *OF_PROBS, *OVER_CLASSES])
def test_no_elements(score, backend):
    for shape in ((0, 3), (2, 0, 3)):
        result = score(np.empty(shape, np.float32))
        assert result.shape == (shape[:-1] if score is fx.logsumexp else shape)


@pytest.mark.parametrize("score", [*OF_LOGITS, *OF_PROBS, *OVER_CLASSES])
def test_bits_do_not_depend_on_threads(score, backend):
    values = np.random.default_rng(0).random((5000, 40)).astype(np.float32)
    results = {score(values, num_threads=threads).tobytes() for threads in (1, 2, 3, 7)}
    assert len(results) == 1


def test_scalars(backend):
    assert type(fx.sigmoid(np.float32(0))) is np.float32
    assert type(fx.sigmoid(0.0)) is np.float64
    assert type(fx.logsumexp([0.0, 0.0])) is np.float64
    out = np.empty(())
    assert fx.softplus(0.0, out=out) is out
    assert out == pytest.approx(np.log(2))
