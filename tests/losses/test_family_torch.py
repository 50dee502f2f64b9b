"""The loss family against the formulas of torchvision and mmdetection, with autograd.

The references are written out from those formulas in float64, where PyTorch computes the gradients.
Every parameter that PyTorch's own losses share with ours is crossed with every other.
"""

import numpy as np
import pytest
from support.family import assert_near, dense_of_labels, public

import fastxent as fx

torch = pytest.importorskip("torch")
F = pytest.importorskip("torch.nn.functional")

CLASSES = 7
#: Of the largest number, for the references subtract from 1 and cancel.
RTOL = {np.float64: 1e-13, np.float32: 2e-6}
both_dtypes = pytest.mark.parametrize("dtype", RTOL)


def tensor(array):
    return None if array is None else torch.from_numpy(np.array(array, dtype=float))


def compare(reference, logits, result, grad_output=None):
    """Compare a loss and its gradient with those of `reference`, a function of a tensor."""
    leaf = tensor(logits).requires_grad_()
    expected = reference(leaf)
    output = torch.ones_like(expected) if grad_output is None else tensor(grad_output)
    expected.backward(output.expand_as(expected))
    loss, gradient = result
    rtol = RTOL[logits.dtype.type]
    assert_near(loss, expected.detach().numpy(), rtol)
    assert gradient.dtype == logits.dtype
    assert_near(gradient, leaf.grad.numpy(), rtol)


# --- the formulas: (logits, dense targets) -> one loss per logit ----------------------------------


def torchvision_focal(z, y, alpha=0.25, gamma=2.0):
    p = torch.sigmoid(z)
    ce = F.binary_cross_entropy_with_logits(z, y, reduction="none")
    p_t = p * y + (1 - p) * (1 - y)
    loss = ce * (1 - p_t) ** gamma
    return loss if alpha is None else (alpha * y + (1 - alpha) * (1 - y)) * loss


def mmdetection_quality(z, y, beta=2.0):
    """All classes count as negatives first; then the label's entries are replaced."""
    p = torch.sigmoid(z)
    negative = (
        F.binary_cross_entropy_with_logits(z, torch.zeros_like(z), reduction="none") * p**beta
    )
    positive = F.binary_cross_entropy_with_logits(z, y, reduction="none") * (y - p).abs() ** beta
    return torch.where(y > 0, positive, negative)


def mmdetection_varifocal(z, y, alpha=0.75, gamma=2.0, iou_weighted=True):
    p, positive = torch.sigmoid(z), y > 0
    negative_weight = alpha * (p - y).abs() ** gamma * ~positive
    weight = (y if iou_weighted else 1.0) * positive + negative_weight
    return F.binary_cross_entropy_with_logits(z, y, reduction="none") * weight


def ridnik_asymmetric(z, y, gamma_neg=4.0, gamma_pos=1.0, clip=0.05):
    """Asymmetric loss of hard targets."""
    p = torch.sigmoid(z)
    kept = (1 - p + clip).clamp(max=1)
    log_likelihood = y * torch.log(p) + (1 - y) * torch.log(kept)
    p_t = p * y + kept * (1 - y)
    return -log_likelihood * (1 - p_t) ** (gamma_pos * y + gamma_neg * (1 - y))


def fvcore_focal_star(z, y, alpha=None, gamma=2.0, beta=0.0):
    """The loss of hard targets, times each side's factor."""
    x = z * (2 * y - 1)
    loss = -F.logsigmoid(gamma * x + beta) / gamma
    return loss if alpha is None else loss * (alpha * y + (1 - alpha) * (1 - y))


def softmax_focal(z, y, alpha=1.0, gamma=2.0):
    log_p = torch.log_softmax(z, 1)
    return -alpha * y * (1 - log_p.exp()) ** gamma * log_p


def poly1(z, y, epsilon=1.0):
    return F.cross_entropy(z, y, reduction="none") + epsilon * (1 - (y * z.softmax(1)).sum(1))


def mmdetection_distribution(z, t):
    left = t.long()
    right = (left + 1).clamp(max=z.shape[1] - 1)
    return F.cross_entropy(z, left, reduction="none") * (left + 1 - t) + F.cross_entropy(
        z, right, reduction="none"
    ) * (t - left)


SIGMOID_CASES = [
    ("sigmoid_focal_loss", torchvision_focal, {}),
    ("sigmoid_focal_loss", torchvision_focal, {"alpha": None, "gamma": 1.5}),
    ("sigmoid_focal_loss", torchvision_focal, {"alpha": 0.9, "gamma": 0.0}),
    ("varifocal_loss", mmdetection_varifocal, {}),
    ("varifocal_loss", mmdetection_varifocal, {"iou_weighted": False, "alpha": 1.5}),
    ("varifocal_loss", mmdetection_varifocal, {"gamma": 3.0}),
    ("sigmoid_focal_loss_star", fvcore_focal_star, {}),
    ("sigmoid_focal_loss_star", fvcore_focal_star, {"alpha": 0.25, "gamma": 4.0, "beta": 0.5}),
    ("asymmetric_loss", ridnik_asymmetric, {}),
    ("asymmetric_loss", ridnik_asymmetric, {"gamma_neg": 1.5, "gamma_pos": 0.0, "clip": 0.3}),
    ("asymmetric_loss", ridnik_asymmetric, {"gamma_neg": 2.0, "gamma_pos": 2.0, "clip": 0.0}),
]
#: Whose formulas here know no others.
OF_HARD_TARGETS = {"asymmetric_loss", "sigmoid_focal_loss_star"}
sigmoid_cases = pytest.mark.parametrize(("name", "formula", "options"), SIGMOID_CASES)


@sigmoid_cases
@both_dtypes
@pytest.mark.parametrize("shape", [(50, CLASSES), (3, CLASSES, 4, 5)])
@pytest.mark.parametrize("reduction", ["none", "anchor", "sum", "mean"])
def test_sigmoid_losses_of_labels(name, formula, options, reduction, shape, dtype, backend):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, shape).astype(dtype)
    labels = rng.integers(0, CLASSES + 1, (shape[0], *shape[2:]))
    dense = tensor(dense_of_labels(name, labels, CLASSES, 1))
    reduce = {
        "none": lambda terms: terms,
        "anchor": lambda terms: terms.sum(1),
        "sum": lambda terms: terms.sum(),
        "mean": lambda terms: terms.sum() / labels.size,
    }[reduction]
    result = public(name)(logits, labels, axis=1, reduction=reduction, return_grad=True, **options)
    compare(lambda z: reduce(formula(z, dense, **options)), logits, result)


@pytest.mark.parametrize(
    ("name", "formula", "options"),
    [case for case in SIGMOID_CASES if case[0] not in OF_HARD_TARGETS],
)
@both_dtypes
def test_sigmoid_losses_of_soft_targets(name, formula, options, dtype, backend):
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 3, (40, CLASSES)).astype(dtype)
    soft = rng.random(logits.shape) * (rng.random(logits.shape) < 0.5)
    soft = soft.astype(np.float32)
    result = public(name)(logits, soft, return_grad=True, **options)
    compare(lambda z: formula(z, tensor(soft), **options).sum(1), logits, result)


@sigmoid_cases
@both_dtypes
def test_sigmoid_losses_of_a_single_class(name, formula, options, dtype, backend):
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 3, (6, 20)).astype(dtype)
    targets = rng.integers(0, 2, logits.shape)
    result = public(name)(logits, targets, axis=None, return_grad=True, **options)
    compare(lambda z: formula(z, tensor(targets), **options), logits, result)


@both_dtypes
def test_alpha_of_each_class(dtype, backend):
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 3, (40, CLASSES)).astype(dtype)
    labels = rng.integers(0, CLASSES, 40)
    dense = tensor(dense_of_labels("sigmoid_focal_loss", labels, CLASSES, 1))
    alpha = rng.random(CLASSES)
    for name, formula in (
        ("sigmoid_focal_loss", torchvision_focal),
        ("varifocal_loss", mmdetection_varifocal),
        ("softmax_focal_loss", softmax_focal),
    ):
        result = public(name)(logits, labels, alpha=alpha, return_grad=True)
        compare(lambda z, f=formula: f(z, dense, alpha=tensor(alpha)).sum(1), logits, result)


@both_dtypes
@pytest.mark.parametrize("beta", [0.0, 1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_quality_focal_loss(beta, weighted, dtype, backend):
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 3, (2, CLASSES, 6, 5)).astype(dtype)
    labels = rng.integers(0, CLASSES + 1, (2, 6, 5))
    scores = rng.random(labels.shape).astype(np.float32)
    weight = rng.random(labels.shape).astype(np.float32) if weighted else None
    dense = dense_of_labels("quality_focal_loss", labels, CLASSES, 1) * scores[:, None]
    result = fx.quality_focal_loss(
        logits, labels, scores, beta=beta, axis=1, weight=weight, return_grad=True
    )
    factor = 1 if weight is None else tensor(weight)
    compare(lambda z: mmdetection_quality(z, tensor(dense), beta).sum(1) * factor, logits, result)


@both_dtypes
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("alpha", [None, 0.25])
@pytest.mark.parametrize("dense", [False, True])
def test_softmax_focal_loss(dense, alpha, gamma, dtype, backend):
    rng = np.random.default_rng(5)
    logits = rng.normal(0, 3, (4, CLASSES, 11)).astype(dtype)
    targets = rng.integers(0, CLASSES, (4, 11))
    y = dense_of_labels("softmax_focal_loss", targets, CLASSES, 1)
    if dense:
        targets = y = rng.random(logits.shape).astype(np.float32)
    result = fx.softmax_focal_loss(
        logits, targets, alpha=alpha, gamma=gamma, axis=1, return_grad=True
    )
    factor = 1 if alpha is None else alpha
    compare(lambda z: softmax_focal(z, tensor(y), factor, gamma).sum(1), logits, result)


@both_dtypes
@pytest.mark.parametrize("epsilon", [1.0, 0.0, 2.5, -1.0])
def test_poly1_cross_entropy(epsilon, dtype, backend):
    rng = np.random.default_rng(6)
    logits = rng.normal(0, 3, (40, CLASSES)).astype(dtype)
    labels = rng.integers(0, CLASSES, 40)
    y = tensor(dense_of_labels("poly1_cross_entropy", labels, CLASSES, 1))
    result = fx.poly1_cross_entropy(logits, labels, epsilon=epsilon, return_grad=True)
    compare(lambda z: poly1(z, y, epsilon), logits, result)


@both_dtypes
@pytest.mark.parametrize("reduction", ["anchor", "sum"])
def test_distribution_focal_loss(reduction, dtype, backend):
    rng = np.random.default_rng(7)
    logits = rng.normal(0, 3, (30, 4, 17)).astype(dtype)
    positions = rng.uniform(0, 16, (30, 4)).astype(np.float32)
    positions[:3] = [[0, 16, 3, 15.5]] * 3
    *result, expectation = fx.distribution_focal_loss(
        logits, positions, reduction=reduction, return_grad=True, return_expectation=True
    )

    def reference(z):
        losses = mmdetection_distribution(z.reshape(-1, 17), tensor(positions).reshape(-1))
        return losses.sum() if reduction == "sum" else losses.reshape(30, 4)

    compare(reference, logits, result)
    means = tensor(logits).softmax(-1) @ torch.arange(17.0, dtype=torch.float64)
    assert_near(expectation, means.numpy(), RTOL[dtype])


# --- PyTorch's own losses -------------------------------------------------------------------------


@both_dtypes
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("ignore_index", [-100, 2])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("axis", [1, -1])
def test_cross_entropy(axis, weighted, label_smoothing, ignore_index, reduction, dtype, backend):
    rng = np.random.default_rng(8)
    logits = rng.normal(0, 3, (3, CLASSES, 5) if axis == 1 else (3, 5, CLASSES)).astype(dtype)
    labels = rng.integers(0, CLASSES, (3, 5))
    labels[0, :2] = ignore_index
    class_weight = rng.random(CLASSES).astype(np.float32) if weighted else None
    grad_output = rng.normal(0, 1, (3, 5)) if reduction == "none" else 1.75
    result = fx.softmax_cross_entropy(
        logits,
        labels,
        axis=axis,
        class_weight=class_weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        reduction=reduction,
        normalizer="weight" if reduction == "mean" else "valid",
        return_grad=True,
        grad_output=grad_output,
    )

    def reference(z):
        return F.cross_entropy(
            z.movedim(axis, 1),
            torch.from_numpy(labels),
            weight=tensor(class_weight),
            ignore_index=ignore_index,
            label_smoothing=label_smoothing,
            reduction=reduction,
        )

    compare(reference, logits, result, grad_output)
    ignored = np.moveaxis(result[1], axis, -1)[labels == ignore_index]
    assert (ignored == 0).all()


@both_dtypes
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_of_dense_targets(weighted, label_smoothing, reduction, dtype, backend):
    rng = np.random.default_rng(9)
    logits = rng.normal(0, 3, (4, CLASSES, 9)).astype(dtype)
    targets = rng.random(logits.shape).astype(np.float32)
    class_weight = rng.random(CLASSES).astype(np.float32) if weighted else None
    arguments = {"label_smoothing": label_smoothing, "reduction": reduction}
    grad_output = rng.normal(0, 1, (4, 9)) if reduction == "none" else -0.5
    result = fx.softmax_cross_entropy(
        logits,
        targets,
        axis=1,
        class_weight=class_weight,
        return_grad=True,
        grad_output=grad_output,
        **arguments,
    )
    weight = tensor(class_weight)
    compare(
        lambda z: F.cross_entropy(z, tensor(targets), weight=weight, **arguments),
        logits,
        result,
        grad_output,
    )


@both_dtypes
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("pos_weight", [None, 2.5, "per class"])
@pytest.mark.parametrize("weight", [None, "per anchor", "per class", "per logit"])
@pytest.mark.parametrize("axis", [-1, 0, None])
def test_binary_cross_entropy_with_logits(axis, weight, pos_weight, reduction, dtype, backend):
    if axis is None and pos_weight == "per class":
        pytest.skip("there is one class")
    rng = np.random.default_rng(10)
    logits = rng.normal(0, 3, (30, CLASSES)).astype(dtype)
    targets = rng.random((30, CLASSES)).astype(np.float32)
    if pos_weight == "per class":
        pos_weight = rng.random(CLASSES).astype(np.float32)
    shapes = {"per anchor": (30, 1), "per class": (1, CLASSES), "per logit": (30, CLASSES)}
    weight = rng.random(shapes[weight]).astype(np.float32) if weight else None
    grad_output = rng.normal(0, 1, logits.shape) if reduction == "none" else 3.0
    turned = (lambda array: array.T) if axis == 0 else (lambda array: array)
    loss, gradient = fx.sigmoid_cross_entropy(
        turned(logits),
        turned(targets),
        weight=None if weight is None else turned(weight),
        pos_weight=pos_weight,
        axis=axis,
        reduction=reduction,
        normalizer=logits.size if reduction == "mean" else "valid",
        return_grad=True,
        grad_output=turned(grad_output) if reduction == "none" else grad_output,
    )
    result = (turned(loss) if reduction == "none" else loss), turned(gradient)

    def reference(z):
        return F.binary_cross_entropy_with_logits(
            z,
            tensor(targets),
            weight=tensor(weight),
            pos_weight=tensor(pos_weight),
            reduction=reduction,
        )

    compare(reference, logits, result, grad_output)


@both_dtypes
@pytest.mark.parametrize("reduction", ["anchor", "sum"])
def test_binary_cross_entropy(reduction, dtype, backend):
    rng = np.random.default_rng(11)
    probs = rng.uniform(0.01, 0.99, (40, CLASSES)).astype(dtype)
    targets = rng.random((40, CLASSES)).astype(np.float32)
    result = fx.binary_cross_entropy(probs, targets, reduction=reduction, return_grad=True)

    def reference(p):
        losses = F.binary_cross_entropy(p, tensor(targets), reduction="none").mean(1)
        return losses.sum() if reduction == "sum" else losses

    compare(reference, probs, result)


@both_dtypes
@pytest.mark.parametrize("classes", [CLASSES, 40, 300])
def test_categorical_cross_entropy(classes, dtype, backend):
    rng = np.random.default_rng(12)
    probs = rng.uniform(0.01, 3, (40, classes)).astype(dtype)
    labels = rng.integers(0, classes, 40)
    result = fx.categorical_cross_entropy(probs, labels, return_grad=True)

    def reference(p):
        shares = (p / p.sum(1, keepdim=True)).clamp(1e-7, 1 - 1e-7)
        return F.nll_loss(torch.log(shares), torch.from_numpy(labels), reduction="none")

    compare(reference, probs, result)
