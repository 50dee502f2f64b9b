"""fastxent.jax computes what NumPy's reference computes, and its derivatives."""

import functools

import numpy as np
import pytest
from support import family, jax_versions

jax = pytest.importorskip("jax")

import fastxent as fx  # noqa: E402 - without JAX nothing of this is needed
import fastxent.jax as fxj  # noqa: E402
from fastxent._catalogue import ARGUMENTS, LOSSES, SCORES  # noqa: E402

REDUCTIONS = ("anchor", "none", "sum", "mean")
HALVES = {"float16": np.dtype(np.float16), "bfloat16": family.HALVES[1]}
SHAPE = (3, 4, 5)


@pytest.fixture(autouse=True)
def double_precision():
    """Let JAX have float64, whatever other tests have set."""
    with jax_versions.enable_x64(True):
        yield


def case_of(name, shape=SHAPE, axis=1, dtype=np.float64, *, dense=False):
    rng = np.random.default_rng(7)
    values = family.values_for(name, rng, shape, dtype)
    return values, family.targets_for(name, rng, values, axis, dense=dense)


def assert_same_as_reference(name, values, targets, rtol=1e-12, **options):
    """Compare a loss and its derivative, along a random cotangent, with backend "numpy"."""
    loss, backward = jax.vjp(
        lambda z: getattr(fxj, name)(z, *targets, **options), jax.numpy.asarray(values)
    )
    factor = np.random.default_rng(3).normal(size=loss.shape)
    (gradient,) = backward(jax.numpy.asarray(factor, loss.dtype))
    expected, expected_gradient = getattr(fx, name)(
        values, *targets, **options, return_grad=True, grad_output=factor, backend="numpy"
    )
    np.testing.assert_allclose(loss, expected, rtol, rtol)
    np.testing.assert_allclose(gradient, expected_gradient, rtol, rtol)
    assert gradient.dtype == values.dtype


@pytest.mark.parametrize(("axis", "reduction"), [*zip([0, 1, -1, 1], REDUCTIONS, strict=True)])
@pytest.mark.parametrize("name", LOSSES)
def test_labels(name, axis, reduction):
    values, targets = case_of(name, axis=axis)
    assert_same_as_reference(name, values, targets, axis=axis, reduction=reduction)


@pytest.mark.parametrize("reduction", ["anchor", "mean"])
@pytest.mark.parametrize("name", family.WITH_DENSE)
def test_dense_targets(name, reduction):
    values, targets = case_of(name, dense=True)
    assert_same_as_reference(name, values, targets, axis=1, reduction=reduction)


@pytest.mark.parametrize("reduction", ["anchor", "mean"])
@pytest.mark.parametrize("name", family.PER_CLASS)
def test_heads_of_one_class(name, reduction):
    values, targets = case_of(name, axis=None)
    assert_same_as_reference(name, values, targets, axis=None, reduction=reduction)


@pytest.mark.parametrize("normalizer", ["valid", "weight", "positive", "count", 7.5])
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("name", ["sigmoid_focal_loss", "softmax_focal_loss"])
def test_normalizers_and_weights(name, dense, normalizer):
    values, (targets,) = case_of(name, dense=dense)
    missing = (slice(None), slice(None), 2) if dense else (1, 2)
    targets = targets.astype(float) if dense else targets
    targets[missing] = -100
    weight = np.random.default_rng(5).uniform(0, 2, (3, 5))
    assert_same_as_reference(
        name,
        values,
        (targets,),
        axis=1,
        reduction="mean",
        normalizer=normalizer,
        weight=weight,
        class_weight=np.array([0.5, 1, 2, 0.25]),
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["sigmoid_focal_loss", "softmax_cross_entropy"])
def test_weights_of_anchors_and_ignored_labels(name, reduction):
    """Of a loss of each logit, backward computes the gradient alone."""
    values, (labels,) = case_of(name)
    labels[1, 2] = -100
    weight = np.random.default_rng(5).uniform(0, 2, (3, 5))
    assert_same_as_reference(name, values, (labels,), axis=1, reduction=reduction, weight=weight)


@pytest.mark.parametrize("reduction", ["none", "sum"])
@pytest.mark.parametrize("name", family.PER_CLASS)
def test_weights_of_logits(name, reduction):
    values, targets = case_of(name)
    weight = np.random.default_rng(5).uniform(0, 2, (3, 1, 5))
    assert_same_as_reference(name, values, targets, axis=1, reduction=reduction, weight=weight)


OPTIONS = {
    "sigmoid_cross_entropy": [
        {"pos_weight": 2.5},
        {"pos_weight": np.array([1.0, 2, 3, 4]), "label_smoothing": 0.1},
        {"background_index": 0},
        {"background_index": -3, "ignore_index": (1, 2)},
    ],
    "sigmoid_focal_loss": [
        {"alpha": None, "gamma": 1.5},
        {"alpha": np.array([0.1, 0.2, 0.3, 1.0]), "gamma": 0.0},
    ],
    "sigmoid_focal_loss_star": [{"alpha": 0.3, "gamma": 3.0, "beta": 1.0}],
    "softmax_focal_loss": [
        {"alpha": np.array([0.1, 0.2, 0.3, 1.0]), "gamma": 0.5},
        {"alpha": 0.7, "class_weight": np.array([0.5, 1, 2, 0.25])},
    ],
    "softmax_cross_entropy": [{"label_smoothing": 0.2}, {"background_index": 2}],
    "quality_focal_loss": [{"beta": 1.5}],
    "varifocal_loss": [{"alpha": 0.5, "gamma": 1.0, "iou_weighted": False}],
    "asymmetric_loss": [{"gamma_neg": 2.0, "gamma_pos": 0.5, "clip": 0.1}],
    "poly1_cross_entropy": [{"epsilon": -0.5}],
    "distribution_focal_loss": [{"weight": 3.0}],
    "binary_cross_entropy": [{"eps": 0.2, "label_smoothing": 0.1}],
    "categorical_cross_entropy": [{"eps": 0.2, "label_smoothing": 0.1}],
}


@pytest.mark.parametrize("reduction", ["anchor", "mean"])
@pytest.mark.parametrize(
    ("name", "options"), [(name, options) for name, those in OPTIONS.items() for options in those]
)
def test_options(name, options, reduction):
    values, targets = case_of(name)
    if options.get("background_index") == -3:
        targets = (np.where(targets[0] == 4, -3, targets[0]),)
    assert_same_as_reference(name, values, targets, axis=1, reduction=reduction, **options)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
@pytest.mark.parametrize("name", ["sigmoid_focal_loss", "softmax_cross_entropy"])
def test_types_of_labels(name, dtype):
    values, (labels,) = case_of(name)
    assert_same_as_reference(name, values, (labels.astype(dtype),), axis=1)


@pytest.mark.parametrize(
    ("dtype", "reduction"),
    [*zip(["float32", "float16", "bfloat16", "float32"], REDUCTIONS, strict=True)],
)
@pytest.mark.parametrize("name", LOSSES)
def test_bits_are_those_of_the_native_backend(name, dtype, reduction):
    dtype = HALVES.get(dtype, np.dtype(dtype))
    values, targets = case_of(name, (40, 21), -1, dtype)
    function = functools.partial(
        getattr(fx, name), values, *targets, reduction=reduction, backend="native"
    )
    loss, gradient = function(return_grad=True)
    if reduction in {"anchor", "none"}:  # computed without the gradient
        loss = function()
    result, backward = jax.vjp(
        lambda z: getattr(fxj, name)(z, *targets, reduction=reduction), jax.numpy.asarray(values)
    )
    np.testing.assert_array_equal(result, np.float32(loss))
    (derivative,) = backward(jax.numpy.ones_like(result))
    np.testing.assert_array_equal(derivative, gradient)
    assert (result.dtype, derivative.dtype) == (np.float32, dtype)


@pytest.mark.parametrize("name", ["sigmoid_focal_loss", "softmax_cross_entropy"])
def test_sums_are_float32_without_x64(name):
    values, targets = case_of(name)
    with jax_versions.enable_x64(False):
        loss, gradient = jax.value_and_grad(getattr(fxj, name))(
            jax.numpy.asarray(values), *targets, axis=1, reduction="sum"
        )
    assert (loss.dtype, gradient.dtype) == (np.float32, np.float32)


def test_number_that_is_known_later_as_normalizer():
    values, targets = case_of("sigmoid_focal_loss")

    @jax.jit
    def mean(z, normalizer):
        return fxj.sigmoid_focal_loss(
            z, *targets, axis=1, reduction="mean", normalizer=normalizer, empty=5.0
        )

    for number in (3.0, 0.0):
        loss, gradient = jax.value_and_grad(mean)(values, number)
        expected = fx.sigmoid_focal_loss(
            values,
            *targets,
            axis=1,
            reduction="mean",
            normalizer=number,
            empty=5.0,
            return_grad=True,
            backend="numpy",
        )
        np.testing.assert_allclose(loss, expected[0], 1e-12)
        np.testing.assert_allclose(gradient, expected[1], 1e-12)


def test_weight_that_is_known_later():
    values, targets = case_of("softmax_cross_entropy")
    loss = jax.jit(lambda w: fxj.softmax_cross_entropy(values, *targets, axis=1, weight=w))(0.25)
    expected = fx.softmax_cross_entropy(values, *targets, axis=1, weight=0.25, backend="numpy")
    np.testing.assert_allclose(loss, expected, 1e-12)


@pytest.mark.parametrize("reduction", ["anchor", "mean"])
def test_expectation_of_bins(reduction):
    values, targets = case_of("distribution_focal_loss")
    options = {"axis": 1, "return_expectation": True, "reduction": reduction}
    loss, expectation = fxj.distribution_focal_loss(values, *targets, **options)
    expected = fx.distribution_focal_loss(values, *targets, **options, backend="numpy")
    np.testing.assert_allclose(loss, expected[0], 1e-12)
    np.testing.assert_allclose(expectation, expected[1], 1e-12)
    derivative = jax.grad(lambda z: fxj.distribution_focal_loss(z, *targets, **options)[1].sum())(
        values
    )
    p = np.exp(values) / np.exp(values).sum(1, keepdims=True)
    bins = np.arange(4.0).reshape(4, 1)
    np.testing.assert_allclose(
        derivative, p * (bins - (p * bins).sum(1, keepdims=True)), 1e-12, 1e-13
    )


# --- scores --------------------------------------------------------------------------------------

#: The derivatives in closed form, by values and results.
SLOPES = {
    "sigmoid": lambda z, y: y * (1 - y),
    "log_sigmoid": lambda z, y: 1 - np.exp(y),
    "softplus": lambda z, y: 1 - np.exp(-y),
    "logit": lambda z, y: 1 / (z * (1 - z)),
    "odds": lambda z, y: 1 / (1 - z) ** 2,
}


@pytest.mark.parametrize("name", SLOPES)
def test_scores_of_single_values(name):
    values = np.random.default_rng(1).uniform(0.05, 0.95, SHAPE)
    values = values if SCORES[name].values == "probs" else 8 * values - 4
    expected = getattr(fx, name)(values, backend="numpy")
    np.testing.assert_allclose(getattr(fxj, name)(values), expected, 1e-12)
    slope = jax.grad(lambda z: getattr(fxj, name)(z).sum())(values)
    np.testing.assert_allclose(slope, SLOPES[name](values, expected), 1e-11)


@pytest.mark.parametrize("axis", [0, (2, 1), None])
@pytest.mark.parametrize("name", [name for name, score in SCORES.items() if score.over_classes])
def test_scores_over_classes(name, axis):
    values = np.random.default_rng(1).normal(0, 3, SHAPE)
    expected = getattr(fx, name)(values, axis=axis, backend="numpy")
    result = getattr(fxj, name)(values, axis=axis)
    np.testing.assert_allclose(result, expected, 1e-12)
    factor = np.random.default_rng(2).normal(size=expected.shape)
    reference = getattr(jax.nn, name)
    slopes = [
        jax.grad(lambda z, f=f: (f(z, axis=axis) * factor).sum())(values)
        for f in (getattr(fxj, name), reference)
    ]
    np.testing.assert_allclose(*slopes, 1e-11, 1e-13)
    if name == "logsumexp":
        kept = fxj.logsumexp(values, axis=axis, keepdims=True)
        expected = fx.logsumexp(values, axis=axis, keepdims=True, backend="numpy")
        np.testing.assert_allclose(kept, expected, 1e-12)


@pytest.mark.parametrize("name", SCORES)
def test_second_derivatives_of_scores(name):
    values = np.random.default_rng(1).uniform(0.05, 0.95, 6)

    def slope(z):
        return jax.jvp(lambda z: getattr(fxj, name)(z).sum() ** 2, (z,), (np.ones(6),))[1]

    step = 1e-6
    numeric = (slope(values + step) - slope(values - step)) / (2 * step)
    exact = jax.jvp(slope, (values,), (np.ones(6),))[1]
    np.testing.assert_allclose(exact, numeric, 1e-6, 1e-6)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_half_precision_scores_and_losses_of_no_anchors(name):
    values = np.empty((0, 4), HALVES["bfloat16"])
    targets = case_of(name, (0, 4), -1)[1] if name in LOSSES else ()
    result = getattr(fxj, name)(values, *targets)
    assert result.dtype == np.float32
    assert result.size == 0


def test_logsumexp_of_no_classes():
    np.testing.assert_array_equal(fxj.logsumexp(np.empty((3, 0))), np.full(3, -np.inf))


def test_integers():
    np.testing.assert_allclose(fxj.sigmoid(3), 1 / (1 + np.exp(-3.0)), 1e-15)
