"""The losses against PyTorch's, in every combination of the parameters that both have."""

import numpy as np
import pytest

import fastxent as fx

torch = pytest.importorskip("torch")
F = pytest.importorskip("torch.nn.functional")

RTOL = 5e-7  # float32 against float64: some ULP
CLASSES = 7


def double(array):
    return None if array is None else torch.from_numpy(np.asarray(array)).double()


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("ignore_index", [-100, 2])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(50, CLASSES), (3, CLASSES, 20), (2, CLASSES, 5, 6)])
def test_cross_entropy_of_labels(
    shape, weighted, label_smoothing, ignore_index, reduction, backend
):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, shape).astype(np.float32)
    labels = rng.integers(0, CLASSES, (shape[0], *shape[2:]))
    labels[0] = ignore_index
    class_weight = rng.random(CLASSES).astype(np.float32) if weighted else None
    expected = F.cross_entropy(
        double(logits),
        torch.from_numpy(labels),
        weight=double(class_weight),
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        reduction=reduction,
    )
    result = fx.softmax_cross_entropy(
        logits,
        labels,
        axis=1,
        class_weight=class_weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        reduction=reduction,
        **({"normalizer": "weight"} if reduction == "mean" else {}),
    )
    assert np.shape(result) == tuple(expected.shape)
    np.testing.assert_allclose(result, expected.numpy(), rtol=RTOL)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(50, CLASSES), (3, CLASSES, 20)])
def test_cross_entropy_of_dense_targets(shape, weighted, label_smoothing, reduction, backend):
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 3, shape).astype(np.float32)
    targets = rng.random(shape).astype(np.float32)
    targets /= targets.sum(axis=1, keepdims=True)
    class_weight = rng.random(CLASSES).astype(np.float32) if weighted else None
    expected = F.cross_entropy(
        double(logits),
        double(targets),
        weight=double(class_weight),
        label_smoothing=label_smoothing,
        reduction=reduction,
    )
    result = fx.softmax_cross_entropy(
        logits,
        targets,
        axis=1,
        class_weight=class_weight,
        label_smoothing=label_smoothing,
        reduction=reduction,
    )
    np.testing.assert_allclose(result, expected.numpy(), rtol=RTOL)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("pos_weight", [None, 2.5, "per class"])
@pytest.mark.parametrize("weight", [None, "per anchor", "per class", "per logit"])
@pytest.mark.parametrize("axis", [-1, 0])
def test_binary_cross_entropy_with_logits(axis, weight, pos_weight, reduction, backend):
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 3, (30, CLASSES)).astype(np.float32)
    targets = rng.random((30, CLASSES)).astype(np.float32)
    if pos_weight == "per class":
        pos_weight = rng.random(CLASSES).astype(np.float32)
    shapes = {"per anchor": (30, 1), "per class": (1, CLASSES), "per logit": (30, CLASSES)}
    weight = rng.random(shapes[weight]).astype(np.float32) if weight else None
    arguments = {"weight": double(weight), "reduction": reduction}
    if pos_weight is not None:
        arguments["pos_weight"] = double(pos_weight)
    expected = F.binary_cross_entropy_with_logits(double(logits), double(targets), **arguments)
    if axis == 0:  # the same, turned
        logits, targets = logits.T, targets.T
        weight = None if weight is None else weight.T
        expected = expected.T if reduction == "none" else expected
    result = fx.sigmoid_cross_entropy(
        logits,
        targets,
        weight=weight,
        pos_weight=pos_weight,
        axis=axis,
        reduction=reduction,
        **({"normalizer": logits.size} if reduction == "mean" else {}),
    )
    assert np.shape(result) == tuple(expected.shape)
    np.testing.assert_allclose(result, expected.numpy(), rtol=RTOL)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("pos_weight", [None, 2.5])
@pytest.mark.parametrize("weight", [None, (), (30, 5), (5,), (30, 1)])
@pytest.mark.parametrize("dtype", [np.int64, np.bool_, np.float32])
def test_binary_cross_entropy_with_logits_of_one_class(
    dtype, weight, pos_weight, reduction, backend
):
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 3, (30, 5)).astype(np.float32)
    targets = rng.integers(0, 2, (30, 5)).astype(dtype)
    weight = None if weight is None else np.asarray(rng.random(weight), dtype=np.float32)
    expected = F.binary_cross_entropy_with_logits(
        double(logits),
        double(targets),
        weight=double(weight),
        pos_weight=double(pos_weight),
        reduction=reduction,
    )
    result = fx.sigmoid_cross_entropy(
        logits, targets, weight=weight, pos_weight=pos_weight, axis=None, reduction=reduction
    )
    assert np.shape(result) == tuple(expected.shape)
    np.testing.assert_allclose(result, expected.numpy(), rtol=RTOL)


def test_binary_cross_entropy(backend):
    rng = np.random.default_rng(3)
    probs = rng.uniform(0.01, 0.99, (40, CLASSES)).astype(np.float32)
    targets = rng.random((40, CLASSES)).astype(np.float32)
    expected = F.binary_cross_entropy(double(probs), double(targets), reduction="none").mean(1)
    np.testing.assert_allclose(fx.binary_cross_entropy(probs, targets), expected, rtol=RTOL)


@pytest.mark.parametrize("name", ["sigmoid", "softplus", "logit", "softmax", "log_softmax"])
def test_scores(name, backend):
    values = torch.rand(20, CLASSES, generator=torch.Generator().manual_seed(0))
    arguments = {"dim": 0} if "softmax" in name else {}
    peer = getattr(torch, name, None) or getattr(F, name)
    expected = peer(values.double(), **arguments)
    result = getattr(fx, name)(values.numpy(), **({"axis": 0} if arguments else {}))
    np.testing.assert_allclose(result, expected.numpy(), rtol=1e-6)


def test_tensors_are_read_where_they_are(backend):
    logits = torch.randn(10, CLASSES)
    labels = torch.randint(0, CLASSES, (10,))
    out = np.empty(10, dtype=np.float32)
    result = fx.softmax_cross_entropy(logits, labels, out=out)
    expected = F.cross_entropy(logits.double(), labels, reduction="none")
    np.testing.assert_allclose(result, expected.numpy(), rtol=RTOL)
    with pytest.raises(ValueError, match="out shares memory with logits"):
        fx.softmax_cross_entropy(logits, labels, out=logits.numpy()[:, 0])
