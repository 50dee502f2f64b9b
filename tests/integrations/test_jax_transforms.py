"""fastxent.jax under jit, vmap and their combinations: as if each example were called alone."""

import numpy as np
import pytest
from support import family, jax_versions

jax = pytest.importorskip("jax")

import fastxent as fx  # noqa: E402 - without JAX nothing of this is needed
import fastxent.jax as fxj  # noqa: E402
from fastxent._catalogue import LOSSES, SCORES  # noqa: E402

REDUCTIONS = ("anchor", "none", "sum", "mean")
BATCH = 3


@pytest.fixture(autouse=True)
def double_precision():
    """Let JAX have float64, whatever other tests have set."""
    with jax_versions.enable_x64(True):
        yield


def batch_of(name, shape=(BATCH, 2, 4)):
    rng = np.random.default_rng(11)
    values = family.values_for(name, rng, shape)
    return values, family.targets_for(name, rng, values)


def one_by_one(name, values, targets, **options):
    """Return losses and gradients of the reference, called for each example."""
    results = [
        getattr(fx, name)(*arrays, **options, return_grad=True, backend="numpy")
        for arrays in zip(values, *targets, strict=True)
    ]
    losses, gradients = zip(*results, strict=True)
    return np.stack(losses), np.stack(gradients)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", LOSSES)
def test_vmap_of_a_loss_and_of_its_gradient(name, reduction):
    values, targets = batch_of(name)

    def loss(z, *targets):
        return getattr(fxj, name)(z, *targets, reduction=reduction)

    losses, gradients = one_by_one(name, values, targets, reduction=reduction)
    np.testing.assert_allclose(jax.vmap(loss)(values, *targets), losses, 1e-12)
    slope = jax.grad(lambda *arrays: loss(*arrays).sum())
    result = jax.jit(jax.vmap(slope))(values, *targets)
    np.testing.assert_allclose(result, gradients, 1e-12, 1e-14)
    slope_of_all = jax.grad(lambda z, *targets: jax.vmap(loss)(z, *targets).sum())
    np.testing.assert_allclose(slope_of_all(values, *targets), gradients, 1e-12, 1e-14)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_vmap_over_some_arguments(reduction):
    values, (labels,) = batch_of("sigmoid_focal_loss")
    alone, label = values[0], labels[0]
    alphas = np.random.default_rng(2).uniform(0, 1, (BATCH, 4))

    def loss(z, y, alpha=0.25, weight=1.0):
        return fxj.sigmoid_focal_loss(z, y, alpha=alpha, weight=weight, reduction=reduction)

    def expected(z, y, alpha=0.25, weight=1.0):
        return fx.sigmoid_focal_loss(
            z, y, alpha=alpha, weight=weight, reduction=reduction, backend="numpy"
        )

    for axes, arrays in {
        (0, None): (values, label),
        (None, 0): (alone, labels),
        (None, None, 0): (alone, label, alphas),
        (0, None, None, 0): (values, label, alphas[0], np.arange(3.0)),
    }.items():
        result = jax.vmap(loss, axes)(*arrays)
        chosen = [
            tuple(x if axis is None else x[i] for x, axis in zip(arrays, axes, strict=True))
            for i in range(BATCH)
        ]
        np.testing.assert_allclose(result, [expected(*one) for one in chosen], 1e-12)


def test_vmap_of_vmap():
    values, (labels,) = batch_of("softmax_cross_entropy", (BATCH, 2, 5, 4))

    def loss(z, y):
        return fxj.softmax_cross_entropy(z, y, reduction="mean")

    outer = jax.vmap(jax.vmap(loss))(values, labels)
    flat = one_by_one(
        "softmax_cross_entropy",
        values.reshape(-1, 5, 4),
        (labels.reshape(-1, 5),),
        reduction="mean",
    )[0]
    np.testing.assert_allclose(outer, flat.reshape(BATCH, 2), 1e-12)


def test_normalizer_of_each_example():
    values, (labels,) = batch_of("sigmoid_focal_loss")
    numbers = np.array([2.0, 0.0, 5.0])

    def loss(z, y, normalizer):
        return fxj.sigmoid_focal_loss(z, y, reduction="mean", normalizer=normalizer, empty=-1.0)

    result = jax.vmap(jax.value_and_grad(loss))(values, labels, numbers)
    for i, number in enumerate(numbers):
        expected = fx.sigmoid_focal_loss(
            values[i],
            labels[i],
            reduction="mean",
            normalizer=number,
            empty=-1.0,
            return_grad=True,
            backend="numpy",
        )
        np.testing.assert_allclose(result[0][i], expected[0], 1e-12)
        np.testing.assert_allclose(result[1][i], expected[1], 1e-12)


def test_vmap_over_other_axes():
    values, (labels,) = batch_of("softmax_cross_entropy", (2, 4, BATCH))
    labels = labels[:, 0] % BATCH
    loss = jax.vmap(lambda z: fxj.softmax_cross_entropy(z, labels), in_axes=1, out_axes=1)
    expected = fx.softmax_cross_entropy(
        values, np.broadcast_to(labels[:, None], (2, 4)), backend="numpy"
    )
    np.testing.assert_allclose(loss(values), expected, 1e-12)


@pytest.mark.parametrize("name", SCORES)
def test_vmap_of_scores(name):
    values = np.random.default_rng(0).uniform(0.1, 0.9, (BATCH, 4, 5))
    options = {"axis": 0} if SCORES[name].over_classes else {}
    result = jax.vmap(lambda z: getattr(fxj, name)(z, **options))(values)
    expected = [getattr(fx, name)(z, **options, backend="numpy") for z in values]
    np.testing.assert_allclose(result, expected, 1e-12)


def test_inside_of_control_flow():
    """Scan and remat, with a derivative through both, and a step of gradient descent."""
    values, (labels,) = batch_of("softmax_cross_entropy")
    weights = np.ones(4)

    def total(w):
        @jax.checkpoint
        def body(carry, batch):
            z, y = batch
            return carry + fxj.softmax_cross_entropy(z * w, y, reduction="sum"), None

        return jax.lax.scan(body, 0.0, (values, labels))[0]

    loss, slope = jax.jit(jax.value_and_grad(total))(weights)
    expected, gradient = fx.softmax_cross_entropy(
        values, labels, reduction="sum", return_grad=True, backend="numpy"
    )
    np.testing.assert_allclose(loss, expected, 1e-12)
    np.testing.assert_allclose(slope, (gradient * values).sum((0, 1)), 1e-12)


def test_many_small_examples_are_one_call():
    """The loss of each anchor alone, as JAX is often written, takes no call for each of them."""
    values, (labels,) = batch_of("sigmoid_cross_entropy", (50_000, 4))
    loss = jax.jit(jax.vmap(fxj.sigmoid_cross_entropy))
    text = loss.lower(values, labels).as_text()
    assert text.count("stablehlo.custom_call") == 1
    expected = fx.sigmoid_cross_entropy(values, labels, backend="numpy")
    np.testing.assert_allclose(loss(values, labels), expected, 1e-12)


@pytest.mark.parametrize("threads", [None, 1, 2])
def test_threads_do_not_change_results(threads):
    rng = np.random.default_rng(0)
    values = rng.normal(0, 3, (20_000, 80)).astype(np.float32)
    labels = rng.integers(0, 81, len(values))
    loss = jax.jit(
        jax.value_and_grad(
            lambda z: fxj.sigmoid_focal_loss(z, labels, reduction="sum", num_threads=threads)
        )
    )
    expected = fx.sigmoid_focal_loss(
        values, labels, reduction="sum", return_grad=True, num_threads=2, backend="native"
    )
    result = loss(values)
    assert result[0] == np.float32(expected[0])
    np.testing.assert_array_equal(result[1], expected[1])
