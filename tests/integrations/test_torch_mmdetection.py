"""The losses of fastxent.torch.mmdetection against the formulas of mmdetection 3.3."""

import pytest

torch = pytest.importorskip("torch")

from support import mmdetection_formulas as formulas  # noqa: E402

from fastxent.torch import mmdetection  # noqa: E402

ANCHORS, CLASSES = 12, 5
CALLS = [
    {},
    {"weight": "anchor"},
    {"avg_factor": 3.0},
    {"avg_factor": "tensor", "weight": "anchor"},
    {"avg_factor": 0.0},
    {"reduction_override": "sum"},
    {"reduction_override": "none", "weight": "anchor"},
    {"reduction_override": "none", "avg_factor": 2.0},
]


def labels(classes=CLASSES):
    return torch.randint(0, classes + 1, (ANCHORS,), generator=torch.Generator().manual_seed(1))


def soft(classes=CLASSES):
    targets = torch.rand(ANCHORS, classes, generator=torch.Generator().manual_seed(2))
    return targets * (targets > 0.6)


def scores():
    return torch.rand(ANCHORS, generator=torch.Generator().manual_seed(3))


def check(loss, formula, target, call, *, loss_weight=1.0, classes=CLASSES, **options):
    """Compare values and gradients of one call."""
    torch.manual_seed(0)
    pred = (torch.randn(ANCHORS, classes) * 2).requires_grad_()
    weight = {
        "anchor": lambda: torch.rand(ANCHORS),
        "column": lambda: torch.rand(ANCHORS, 1),
        "element": lambda: torch.rand(ANCHORS, classes),
        "flat": lambda: torch.rand(ANCHORS * classes),
    }.get(call.get("weight"), lambda: None)()
    avg_factor = call.get("avg_factor")
    avg_factor = torch.tensor(4.0) if avg_factor == "tensor" else avg_factor
    reduction = call.get("reduction_override")
    result = loss(pred, target, weight, avg_factor=avg_factor, reduction_override=reduction)
    factors = torch.rand_like(result)
    (grad,) = torch.autograd.grad(result, pred, factors)
    expected = loss_weight * formula(
        pred, target, weight, reduction or "mean", avg_factor, **options
    )
    (expected_grad,) = torch.autograd.grad(expected, pred, factors)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-5, atol=1e-6 * max(1, grad.abs().max()))


@pytest.mark.parametrize("call", [*CALLS, {"weight": "element"}, {"weight": "flat"}])
@pytest.mark.parametrize("kind", ["labels", "dense", "single"])
def test_focal_loss(kind, call):
    classes = 1 if kind == "single" else CLASSES
    target = soft() if kind == "dense" else labels(classes)
    options = {"gamma": 1.5, "alpha": 0.3}
    loss = mmdetection.FocalLoss(loss_weight=2.0, **options)
    check(loss, formulas.focal, target, call, loss_weight=2.0, classes=classes, **options)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", ["labels", "dense", "single"])
def test_quality_focal_loss(kind, call):
    classes = 1 if kind == "single" else CLASSES
    target = soft() if kind == "dense" else (labels(classes), scores())
    loss = mmdetection.QualityFocalLoss(beta=1.5, loss_weight=0.5)
    check(loss, formulas.quality, target, call, loss_weight=0.5, classes=classes, beta=1.5)


@pytest.mark.parametrize("iou_weighted", [True, False])
@pytest.mark.parametrize("call", [*CALLS[:1], *CALLS[2:3], *CALLS[4:6], {"weight": "element"}])
def test_varifocal_loss(call, iou_weighted):
    options = {"alpha": 0.6, "gamma": 1.5, "iou_weighted": iou_weighted}
    loss = mmdetection.VarifocalLoss(**options)
    check(loss, formulas.varifocal, soft(), call, **options)


@pytest.mark.parametrize("call", CALLS)
def test_distribution_focal_loss(call):
    target = scores() * (CLASSES - 1)
    loss = mmdetection.DistributionFocalLoss(loss_weight=0.25)
    check(loss, formulas.distribution, target, call, loss_weight=0.25)


@pytest.mark.parametrize("avg_non_ignore", [False, True])
@pytest.mark.parametrize("class_weight", [None, [0.5, 2.0, 1.0, 0.0, 3.0]])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", ["softmax", "labels", "dense", "single"])
def test_cross_entropy_loss(kind, call, class_weight, avg_non_ignore):
    target, classes = labels(), CLASSES
    if kind == "softmax":
        target = target % CLASSES
    elif kind == "dense":
        target = soft()
        if call.get("weight"):
            call = call | {"weight": "column"}
    elif kind == "single":
        target, classes = labels(1), 1
        class_weight = class_weight and class_weight[:1]
    if kind != "dense":
        target[2:5] = 255
        target[7] = 255 if kind == "softmax" else -1
    loss = mmdetection.CrossEntropyLoss(
        use_sigmoid=kind != "softmax",
        class_weight=class_weight,
        ignore_index=255 if kind != "dense" else -100,
        avg_non_ignore=avg_non_ignore,
    )
    formula = formulas.softmax if kind == "softmax" else formulas.sigmoid
    options = {
        "class_weight": class_weight and torch.tensor(class_weight),
        "ignore_index": loss.ignore_index,
        "avg_non_ignore": avg_non_ignore,
    }
    check(loss, formula, target, call, classes=classes, **options)


def test_segmentation():
    logits, target = torch.randn(2, 5, 4, 4), torch.randint(0, 5, (2, 4, 4))
    target[0] = 255
    loss = mmdetection.CrossEntropyLoss(ignore_index=255, avg_non_ignore=True)
    expected = torch.nn.functional.cross_entropy(logits, target, ignore_index=255)
    torch.testing.assert_close(loss(logits, target), expected)


def test_no_anchors():
    pred, target = torch.zeros(0, 5, requires_grad=True), torch.zeros(0, dtype=torch.int64)
    loss = mmdetection.FocalLoss()
    assert loss(pred, target, avg_factor=0.0) == 0
    assert loss(pred, target).isnan()


def test_a_loss_weight_of_zero():
    pred = torch.randn(ANCHORS, CLASSES, requires_grad=True)
    loss = mmdetection.FocalLoss(loss_weight=0.0)(pred, labels(), avg_factor=2.0)
    loss.backward()
    assert loss == 0
    assert not pred.grad.any()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("FocalLoss", {"use_sigmoid": False}),
        ("FocalLoss", {"activated": True}),
        ("QualityFocalLoss", {"activated": True}),
        ("VarifocalLoss", {"use_sigmoid": False}),
        ("CrossEntropyLoss", {"use_mask": True}),
    ],
)
def test_what_is_not_supported(name, options):
    (option,) = options
    with pytest.raises(NotImplementedError, match=f"{name} supports {option}="):
        getattr(mmdetection, name)(**options)


def test_wrong_calls():
    pred = torch.randn(ANCHORS, CLASSES)
    loss = mmdetection.FocalLoss()
    with pytest.raises(ValueError, match="avg_factor is for the reduction 'mean'"):
        loss(pred, labels(), avg_factor=1.0, reduction_override="sum")
    with pytest.raises(ValueError, match="reduction_override = 'max'"):
        loss(pred, labels(), reduction_override="max")
    with pytest.raises(ValueError, match="reduction = 'max'"):
        mmdetection.FocalLoss(reduction="max")
    with pytest.raises(ValueError, match="target has shape"):
        mmdetection.VarifocalLoss()(pred, labels())
    with pytest.raises(ValueError, match=r"targets\[0\] = -1 is not a class label"):
        loss(pred, labels() * 0 - 1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled():
    loss = mmdetection.FocalLoss(loss_weight=2.0)
    pred, target = torch.randn(ANCHORS, CLASSES), labels()

    def head(pred, avg_factor):
        return loss(pred * 2, target, avg_factor=avg_factor)

    compiled = torch.compile(head, fullgraph=True, backend="aot_eager")
    avg_factor = torch.tensor(3.0)
    torch.testing.assert_close(compiled(pred, avg_factor), head(pred, avg_factor))
    torch._dynamo.reset()
