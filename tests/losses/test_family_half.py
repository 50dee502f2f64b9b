"""Half precision: the bits of the float32 result, and gradients of half the size."""

import ml_dtypes
import numpy as np
import pytest
from support.family import (
    HALVES,
    LOGIT_LOSSES,
    LOSSES,
    PER_CLASS,
    PROBABILITY_LOSSES,
    WITH_DENSE,
    public,
    targets_for,
    values_for,
)

import fastxent as fx

EVERY_PATTERN = np.arange(2**16, dtype=np.uint16)

every_loss = pytest.mark.parametrize("name", LOSSES)


@pytest.fixture(params=HALVES, ids=str)
def half(request):
    return request.param


def ordinals(array):
    """Return integers that are one apart for neighbours among the floats of 16 bits."""
    bits = np.ascontiguousarray(array).view(np.int16).astype(np.int32)
    return np.where(bits < 0, -(bits & 0x7FFF), bits)


def widened(array):
    """Return float64; NumPy reports the conversion of some NaNs as invalid."""
    with np.errstate(invalid="ignore"):
        return array.astype(float)


def assert_same_bits(result, expected):
    """Compare float32 arrays; NaNs may differ in their payloads."""
    assert result.dtype == expected.dtype == np.float32
    assert result.shape == expected.shape
    same = np.ascontiguousarray(result).view(np.uint32) == (
        np.ascontiguousarray(expected).view(np.uint32)
    )
    assert np.all(same | (np.isnan(result) & np.isnan(expected)))


def assert_rounded(gradient, expected):
    """Compare a gradient in half precision with one in float32, to a neighbour."""
    assert gradient.shape == expected.shape
    assert expected.dtype == np.float32
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = expected.astype(gradient.dtype)
    np.testing.assert_array_equal(np.isnan(widened(gradient)), np.isnan(expected))
    apart = np.abs(ordinals(gradient) - ordinals(rounded))[~np.isnan(expected)]
    assert apart.max(initial=0) <= 1
    assert (apart == 0).mean() > 0.98  # a neighbour only where two roundings differ from one


def check(name, values, targets, **options):
    """Compare a call on half precision with the same call on float32."""
    with np.errstate(invalid="ignore"):
        single = values.astype(np.float32)
    loss, gradient = public(name)(values, *targets, return_grad=True, **options)
    expected_loss, expected = public(name)(single, *targets, return_grad=True, **options)
    assert gradient.dtype == values.dtype
    if options.get("reduction") in {"sum", "mean"}:
        assert type(loss) is np.float64
        np.testing.assert_array_equal(loss, expected_loss)
    else:
        assert_same_bits(np.asarray(loss), np.asarray(expected_loss))
    assert_rounded(gradient, expected)
    without = public(name)(values, *targets, **options)
    expected_without = public(name)(single, *targets, **options)
    np.testing.assert_array_equal(without, expected_without)
    return loss, gradient


def accepted_values(name, half):
    """Return all numbers, NaN too; of probabilities those that rounding explains, of float32."""
    values = EVERY_PATTERN.view(half)
    if name not in PROBABILITY_LOSSES:
        return values
    highest = 1 if name == "binary_cross_entropy" else np.inf
    with np.errstate(invalid="ignore"):
        return values[~((widened(values) < -1e-6) | (widened(values) > highest))]


@every_loss
@pytest.mark.parametrize("classes", [2, 5, 21, 80])
@pytest.mark.parametrize("reduction", ["anchor", "none", "sum", "mean"])
def test_losses(name, reduction, classes, half, backend):
    rng = np.random.default_rng(classes)
    values = values_for(name, rng, (131, classes), np.float32).astype(half)
    check(name, values, targets_for(name, rng, values), reduction=reduction)
    if name in WITH_DENSE:
        dense = targets_for(name, rng, values, dense=True)
        check(name, values, dense, reduction=reduction)


@pytest.mark.parametrize("name", PER_CLASS)
def test_every_value(name, half, backend):
    """All finite and infinite numbers, subnormal ones, and all that are none."""
    values = accepted_values(name, half)
    rng = np.random.default_rng(0)
    targets = targets_for(name, rng, values, axis=None)
    check(name, values, targets, axis=None)
    rows = values[: len(values) // 32 * 32].reshape(-1, 32)
    check(name, rows, targets_for(name, rng, rows))


@pytest.mark.parametrize("name", sorted(set(LOSSES) - set(PER_CLASS)))
@pytest.mark.parametrize("classes", [4, 64])
def test_every_value_in_rows(name, classes, half, backend):
    values = accepted_values(name, half)
    rng = np.random.default_rng(0)
    rows = rng.permutation(values)[: len(values) // classes * classes].reshape(-1, classes)
    check(name, rows, targets_for(name, rng, rows))
    # Shuffled rows of many classes nearly all have a NaN or an infinity: here, none do.
    finite = values[np.isfinite(widened(values))]
    rows = finite[: len(finite) // classes * classes].reshape(-1, classes)
    loss, gradient = check(name, rows, targets_for(name, rng, rows))
    if name in LOGIT_LOSSES:
        assert np.isfinite(loss).all()
        assert np.isfinite(widened(gradient)).all()


def test_limits(half, backend):
    """What the values are, from their definition, so that both ways are not wrong alike."""
    largest = float(np.float32(ml_dtypes.finfo(half).max))
    tiny = float(np.float32(ml_dtypes.finfo(half).smallest_subnormal))
    logits = np.array([0, -0.0, 1, largest, -largest, tiny, np.inf, -np.inf, np.nan], half)
    loss, gradient = fx.sigmoid_cross_entropy(logits, np.zeros(9), axis=None, return_grad=True)
    ln2 = np.log(2)
    expected = [ln2, ln2, np.log1p(np.e), largest, 0, ln2 + tiny / 2, np.inf, 0, np.nan]
    np.testing.assert_allclose(loss, expected, rtol=3e-7)
    slopes = [0.5, 0.5, 0.7310586, 1, 0, 0.5, 1, 0, np.nan]
    eps = float(ml_dtypes.finfo(half).eps)
    np.testing.assert_allclose(widened(gradient), slopes, rtol=eps)
    loss, gradient = fx.softmax_cross_entropy(
        np.array([[largest, 0], [0, largest], [1, 1]], half), [0, 0, 0], return_grad=True
    )
    np.testing.assert_allclose(loss, [0, largest, ln2], rtol=3e-7)
    np.testing.assert_array_equal(widened(gradient), [[0, 0], [-1, 1], [-0.5, 0.5]])


@every_loss
@pytest.mark.parametrize(
    ("shape", "axis"), [((3, 21, 50), 1), ((40, 7), 0), ((2, 3, 33, 5), 2), ((30, 80), -1)]
)
@pytest.mark.parametrize("layout", ["plain", "fortran", "reversed", "sliced", "unaligned"])
def test_strided_halves(name, shape, axis, layout, half, backend):
    rng = np.random.default_rng(1)
    plain = values_for(name, rng, shape, np.float32).astype(half)
    targets = targets_for(name, rng, plain, axis)
    values = plain
    if layout == "fortran":
        values = np.asfortranarray(plain)
    elif layout == "reversed":
        values = np.flip(np.flip(plain).copy())
    elif layout == "sliced":
        wide = np.zeros([2 * n for n in shape], half)
        values = wide[(slice(1, None, 2),) * len(shape)]
        values[...] = plain
    elif layout == "unaligned":
        raw = np.empty(plain.nbytes + 1, np.uint8)
        values = raw[1:].view(half).reshape(shape)
        values[...] = plain
    loss, gradient = public(name)(values, *targets, axis=axis, return_grad=True)
    expected_loss, expected = public(name)(
        plain.astype(np.float32), *targets, axis=axis, return_grad=True
    )
    # Different strides may mean another kernel.
    np.testing.assert_allclose(loss, expected_loss, rtol=3e-6)
    assert gradient.dtype == half
    eps = float(ml_dtypes.finfo(half).eps)
    np.testing.assert_allclose(widened(gradient), expected, rtol=eps, atol=2e-7)
    if layout == "fortran":
        assert gradient.strides == values.strides


@every_loss
def test_given_results(name, half, backend):
    """`out` is float32 and `grad_out` has the dtype of the logits."""
    rng = np.random.default_rng(2)
    values = values_for(name, rng, (40, 9), np.float32).astype(half)
    targets = targets_for(name, rng, values)
    out, grad_out = np.empty(40, np.float32), np.empty((40, 9), half)
    loss, gradient = public(name)(values, *targets, return_grad=True, out=out, grad_out=grad_out)
    assert loss is out
    assert gradient is grad_out
    expected = public(name)(values.astype(np.float32), *targets, return_grad=True)
    assert_same_bits(out, expected[0])
    assert_rounded(grad_out, expected[1])
    with pytest.raises((ValueError, TypeError), match="grad_out"):
        public(name)(values, *targets, return_grad=True, grad_out=np.empty((40, 9), np.float32))
    with pytest.raises((ValueError, TypeError), match="out"):
        public(name)(values, *targets, out=np.empty(40, half))


@every_loss
def test_what_goes_with_the_logits_may_be_half_too(name, half, backend):
    rng = np.random.default_rng(3)
    values = values_for(name, rng, (40, 9), np.float32).astype(half)
    dense = name in WITH_DENSE
    targets = targets_for(name, rng, values, dense=dense)
    weight, factor = rng.random(40).astype(half), rng.normal(size=40).astype(half)
    if dense or name == "distribution_focal_loss":
        targets = (targets[0].astype(half),)
    elif name == "quality_focal_loss":
        targets = (targets[0], targets[1].astype(half))
    halved = public(name)(values, *targets, weight=weight, grad_output=factor, return_grad=True)
    wide = [t.astype(np.float32) if t.dtype == half else t for t in (*targets, weight, factor)]
    expected = public(name)(
        values.astype(np.float32),
        *wide[:-2],
        weight=wide[-2],
        grad_output=wide[-1],
        return_grad=True,
    )
    assert_same_bits(halved[0], expected[0])
    assert_rounded(halved[1], expected[1])


def test_expectation(half, backend):
    rng = np.random.default_rng(4)
    logits, positions = rng.normal(0, 3, (60, 17)).astype(half), rng.uniform(0, 16, 60)
    _, result = fx.distribution_focal_loss(logits, positions, return_expectation=True)
    _, expected = fx.distribution_focal_loss(
        logits.astype(np.float32), positions, return_expectation=True
    )
    assert_same_bits(result, expected)


@pytest.mark.parametrize("score", [fx.sigmoid, fx.log_sigmoid, fx.softplus, fx.logit, fx.odds])
def test_scores_of_every_value(score, half, backend):
    values = EVERY_PATTERN.view(half)
    assert_same_bits(score(values), score(values.astype(np.float32)))
    out = np.empty(len(values), np.float32)
    assert score(values[::-1], out=out) is out
    assert_same_bits(out, score(values[::-1].astype(np.float32)))


@pytest.mark.parametrize("score", [fx.softmax, fx.log_softmax, fx.logsumexp])
@pytest.mark.parametrize(("shape", "axis"), [((2048, 32), 1), ((16, 4096), 0), ((4, 64, 256), 1)])
def test_scores_of_classes(score, shape, axis, half, backend):
    values = EVERY_PATTERN.view(half).reshape(shape)
    assert_same_bits(score(values, axis=axis), score(values.astype(np.float32), axis=axis))


@pytest.mark.parametrize("name", PROBABILITY_LOSSES)
def test_clipping_at_one(name, half, backend):
    """In half precision 1 - 1e-7 is 1, which must not make its logarithm infinite."""
    probs = np.array([[0, 1], [1, 0], [0.5, 0.5]], half)
    loss, gradient = public(name)(probs, [1, 1, 1], return_grad=True)
    low, high = -np.log(1e-7), -np.log1p(-1e-7)
    np.testing.assert_allclose(loss, [high, low, np.log(2)], rtol=1e-6)
    assert (widened(gradient[:2]) == 0).all()
    slope = 1 if name == "binary_cross_entropy" else 0.5 / 0.5
    np.testing.assert_array_equal(widened(gradient[2]), [slope, -slope])
