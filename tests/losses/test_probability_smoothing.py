"""Label smoothing of the losses of probabilities: what Keras makes of it, and torch."""

import ml_dtypes
import numpy as np
import pytest
from support import family_oracles as exact
from support.family import PROBABILITY_LOSSES, public
from support.oracles import assert_accurate, one_hot

import fastxent as fx
from fastxent import _catalogue

ANCHORS, CLASSES = 50, 21
RNG = np.random.default_rng(16)


def probabilities(name, classes=CLASSES, dtype=np.float64):
    """Return probabilities of all magnitudes, some of them clipped."""
    probs = RNG.random((ANCHORS, classes)) ** RNG.choice([0.1, 1, 9], (ANCHORS, 1))
    probs[::7, 0], probs[::5, 1] = 0, 1
    if name == "categorical_cross_entropy":
        probs[::2] /= probs[::2].sum(axis=1, keepdims=True)
        probs[3] = np.arange(classes) == 1
    return probs.astype(dtype)


def keras_loss(name, targets, probs, smoothing, eps=1e-7):
    """Return what ``keras.losses`` computes, smoothing before clipping; terms of the classes."""
    targets, probs = np.asarray(targets, float), np.asarray(probs, float)
    if name == "binary_cross_entropy":
        targets = targets * (1 - smoothing) + 0.5 * smoothing
        output = np.clip(probs, eps, 1 - eps)
        return -(targets * np.log(output) + (1 - targets) * np.log(1 - output)) / probs.shape[1]
    targets = targets * (1 - smoothing) + smoothing / probs.shape[1]
    output = np.clip(probs / probs.sum(axis=1, keepdims=True), eps, 1 - eps)
    return -targets * np.log(output)


@pytest.mark.parametrize("smoothing", [0, 0.1, 0.75, 1])
@pytest.mark.parametrize("name", PROBABILITY_LOSSES)
def test_keras(name, smoothing, backend):
    probs, labels = probabilities(name), RNG.integers(0, CLASSES, ANCHORS)
    soft = RNG.random(probs.shape)
    for targets, dense in ((labels, one_hot(labels, CLASSES)), (soft, soft)):
        expected = keras_loss(name, dense, probs, smoothing).sum(axis=1)
        result = public(name)(probs, targets, label_smoothing=smoothing)
        np.testing.assert_allclose(result, expected, rtol=1e-9)
        for layout in (probs.T.copy().T, np.repeat(probs, 2, axis=1)[:, ::2]):
            result = public(name)(layout, targets, label_smoothing=smoothing)
            np.testing.assert_allclose(result, expected, rtol=1e-9)


@pytest.mark.parametrize("smoothing", [0.125, 0.5])
@pytest.mark.parametrize("classes", [2, 5, 40])
@pytest.mark.parametrize("name", PROBABILITY_LOSSES)
def test_exact(name, classes, smoothing, engine):
    probs = probabilities(name, classes, np.float32)
    labels = RNG.integers(0, classes, ANCHORS)
    weights = RNG.integers(0, 9, classes) / 4
    options = {"label_smoothing": smoothing, "class_weight": weights}
    result = public(name)(probs, labels, return_grad=True, **options)
    anchors = [
        exact.exact_anchor(name, p, y, **options)
        for p, y in zip(probs, one_hot(labels, classes), strict=True)
    ]
    bounds = (0.51, 0.51) if engine == "numpy" else _catalogue.LOSSES[name].bounds.of(0)
    assert_accurate(result[0], [anchor.loss for anchor in anchors], bounds[0])
    scale = [[float(size) for size in anchor.scale] for anchor in anchors]
    slopes = [slope for anchor in anchors for slope in anchor.gradient]
    assert_accurate(result[1], slopes, bounds[1], np.array(scale))


@pytest.mark.parametrize("name", PROBABILITY_LOSSES)
def test_other_options(name, backend):
    """Ignored anchors, weights and reductions: as with the targets smoothed before."""
    loss, smoothing = public(name), 0.2
    probs, labels = probabilities(name), RNG.integers(0, CLASSES, ANCHORS)
    labels[::6] = -100
    weight, class_weight = RNG.random(ANCHORS), RNG.random(CLASSES)
    kept = labels != -100
    terms = keras_loss(name, one_hot(labels, CLASSES), probs, smoothing) * class_weight
    expected = np.where(kept, terms.sum(axis=1) * weight, 0)
    options = {"label_smoothing": smoothing, "weight": weight, "class_weight": class_weight}
    result, gradient = loss(probs, labels, return_grad=True, **options)
    np.testing.assert_allclose(result, expected, rtol=1e-9)
    assert (gradient[~kept] == 0).all()
    # One-hot probabilities are clipped.
    assert (gradient[4:][kept[4:]] != 0).any(axis=1).all()
    mean = loss(probs, labels, reduction="mean", **options)
    np.testing.assert_allclose(mean, expected.sum() / kept.sum(), rtol=1e-9)
    if name == "binary_cross_entropy":
        result = loss(probs, labels, reduction="none", **options)
        expected = np.where(kept[:, None], terms * CLASSES * weight[:, None], 0)
        np.testing.assert_allclose(result, expected, rtol=1e-9)


@pytest.mark.parametrize("name", PROBABILITY_LOSSES)
def test_the_normalizer_counts_weights_as_the_other_cross_entropies_do(name, backend):
    """Smoothing changes no weight: that of an anchor is its label's, or the mean of its classes."""
    probs = fx.softmax(RNG.normal(size=(ANCHORS, CLASSES)))
    labels = RNG.integers(0, CLASSES, ANCHORS)
    class_weight = RNG.random(CLASSES)
    options = {"label_smoothing": 0.3, "class_weight": class_weight}
    total = public(name)(probs, labels, reduction="sum", **options)
    mean = public(name)(probs, labels, reduction="mean", normalizer="weight", **options)
    is_binary = name == "binary_cross_entropy"
    counted = np.full(ANCHORS, class_weight.mean()) if is_binary else class_weight[labels]
    np.testing.assert_allclose(mean, total / counted.sum(), rtol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_torch(weighted, backend):
    """With logarithms of probabilities for logits, its cross-entropy is that of probabilities."""
    torch = pytest.importorskip("torch")
    probs = fx.softmax(RNG.normal(size=(ANCHORS, CLASSES)))
    labels = RNG.integers(0, CLASSES, ANCHORS)
    class_weight = RNG.random(CLASSES) if weighted else None
    p = torch.tensor(probs, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(
        torch.log(p),
        torch.tensor(labels),
        weight=None if class_weight is None else torch.tensor(class_weight),
        label_smoothing=0.1,
        reduction="none",
    )
    expected.sum().backward()
    result = fx.categorical_cross_entropy(
        probs, labels, label_smoothing=0.1, class_weight=class_weight, return_grad=True
    )
    np.testing.assert_allclose(result[0], expected.detach(), rtol=1e-9)
    np.testing.assert_allclose(result[1], p.grad, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("half", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("name", PROBABILITY_LOSSES)
def test_halves(name, half, backend):
    probs, labels = probabilities(name, 40, half), RNG.integers(0, 40, ANCHORS)
    expected = keras_loss(name, one_hot(labels, 40), probs, 0.1).sum(axis=1)
    result = public(name)(probs, labels, label_smoothing=0.1)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=1e-6)


@pytest.mark.parametrize("targets", [1, 0])
def test_single_class_head(targets, backend):
    """As in Keras: 1 becomes 0.9 and 0 becomes 0.1."""
    y = 0.9 if targets else 0.1
    result = fx.binary_cross_entropy(np.float64([0.3]), [targets], axis=None, label_smoothing=0.2)
    np.testing.assert_allclose(result, [-y * np.log(0.3) - (1 - y) * np.log(0.7)], rtol=1e-12)


@pytest.mark.parametrize("name", PROBABILITY_LOSSES)
def test_out_of_range(name):
    for value in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=r"label_smoothing = .* is outside"):
            public(name)([[0.5, 0.5]], [0], label_smoothing=value)
