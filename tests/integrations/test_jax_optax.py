"""optax: its values, its derivatives, and its own tests of the losses that both have."""

import types
import unittest
from functools import partial

import numpy as np
import pytest
from support import jax_versions

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")
cases = pytest.importorskip("optax.losses._classification_test")

import fastxent.jax as fxj  # noqa: E402 - without JAX nothing of this is needed

#: Ours in place of optax's, which has no reduction over classes where they are independent.
REPLACED = {
    "softmax_cross_entropy": fxj.softmax_cross_entropy,
    "softmax_cross_entropy_with_integer_labels": fxj.softmax_cross_entropy,
    "sigmoid_binary_cross_entropy": lambda logits, labels: fxj.sigmoid_cross_entropy(
        logits, labels, axis=None
    ),
    "sigmoid_focal_loss": lambda logits, labels, alpha=None, gamma=2.0: fxj.sigmoid_focal_loss(
        logits, labels, alpha=alpha, gamma=gamma, axis=None
    ),
    "poly_loss_cross_entropy": lambda logits, labels, epsilon=2.0, axis=-1: fxj.poly1_cross_entropy(
        logits, labels, epsilon=epsilon, axis=axis
    ),
}
CLASSES = (
    "SoftmaxCrossEntropyTest",
    "SoftmaxCrossEntropyWithIntegerLabelsTest",
    "SigmoidCrossEntropyTest",
    "PolyLossTest",
    "SigmoidFocalLossTest",
)
#: Tests of what we have not: masks by `where`, several class axes, derivatives by targets, in
#: forward mode (test_gradient) and of second order (test_extreme_...).
OTHERS = {
    "test_per_logit_mask",
    "test_mask",
    "test_axes",
    "test_gradient",
    "test_extreme_logits_finite_gradients",
}


class WithStaticOptions:
    """JAX, with a jit to which all keywords are static: our options are no arrays."""

    def __getattr__(self, name):
        return getattr(jax, name)

    def jit(self, function):
        return lambda *arrays, **options: jax.jit(partial(function, **options))(*arrays)


@pytest.fixture(autouse=True)
def single_precision():
    with jax_versions.enable_x64(False):
        yield


@pytest.mark.parametrize("name", CLASSES)
def test_its_own_tests(name, monkeypatch):
    monkeypatch.setattr(cases, "_classification", types.SimpleNamespace(**REPLACED))
    monkeypatch.setattr(cases, "jax", WithStaticOptions())
    suite = unittest.TestSuite(
        test
        for test in unittest.defaultTestLoader.loadTestsFromTestCase(getattr(cases, name))
        if test._testMethodName.rstrip("0123456789") not in OTHERS
    )
    result = unittest.TextTestRunner(verbosity=0).run(suite)
    assert result.testsRun >= 4
    assert not result.failures, result.failures[0][1]
    assert not result.errors, result.errors[0][1]


PAIRS = {
    "sigmoid cross-entropy": (
        lambda z, y: fxj.sigmoid_cross_entropy(z, y, reduction="sum"),
        lambda z, y: optax.sigmoid_binary_cross_entropy(z, jax.nn.one_hot(y, 6)).sum(),
    ),
    "softmax cross-entropy": (
        lambda z, y: fxj.softmax_cross_entropy(z, y % 6).mean(),
        lambda z, y: optax.softmax_cross_entropy_with_integer_labels(z, y % 6).mean(),
    ),
    "sigmoid focal loss": (
        lambda z, y: fxj.sigmoid_focal_loss(z, y, alpha=0.3, gamma=1.5, reduction="sum"),
        lambda z, y: optax.sigmoid_focal_loss(z, jax.nn.one_hot(y, 6), alpha=0.3, gamma=1.5).sum(),
    ),
    "smoothed labels": (
        lambda z, y: fxj.softmax_cross_entropy(z, y % 6, label_smoothing=0.1).sum(),
        lambda z, y: optax.softmax_cross_entropy(
            z, optax.smooth_labels(jax.nn.one_hot(y % 6, 6), 0.1)
        ).sum(),
    ),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_values_and_gradients(pair):
    rng = np.random.default_rng(4)
    with jax_versions.enable_x64(True):
        logits, labels = rng.normal(0, 3, (50, 6)), rng.integers(0, 7, 50)
        ours, expected = (
            jax.jit(jax.value_and_grad(function))(logits, labels) for function in PAIRS[pair]
        )
        np.testing.assert_allclose(ours[0], expected[0], 1e-12)
        np.testing.assert_allclose(ours[1], expected[1], 1e-10, 1e-13)
