"""Which loss fits targets with ignored anchors and missing labels."""

import numpy as np
import pytest

import fastxent as fx

SIGMOID, SOFTMAX = "sigmoid_cross_entropy", "softmax_cross_entropy"
LOSS_OF_KIND = {"single-class": SIGMOID, "multi-class": SOFTMAX, "multi-label": SIGMOID}

M = 255
MISSING = {
    "labels": ([0, M, 1], None, "multi-class", "class labels of 3 anchors, 1 of them ignored"),
    "highest label": ([0, M, 2], 3, "multi-class", "class labels of 3 anchors, 1 of them ignored"),
    "no class": ([0, M, 3], 3, "multi-label", "class labels of 3 anchors, 1 of them ignored"),
    "label map": ([[0, 17], [M, 20]], 21, "multi-class", "class labels of 4 anchors, 1 of them"),
    "mask": ([[0, 1], [M, 1]], 1, "single-class", "class labels of 4 anchors, 1 of them ignored"),
    "soft mask": ([[0, 0.5], [M, 1]], 1, "single-class", "dense, 4 anchors of a single class, 1"),
    "column": ([[0.0], [M]], None, "single-class", "dense, 2 anchors of a single class, 1 of"),
    "rows": ([[0, 1, 0], [M, M, M]], 3, "multi-class", "dense, 2 anchors x 3 classes, 1 of them"),
    "soft rows": ([[0, 0.5, 0.5], [M] * 3], None, "multi-class", "dense, 2 anchors x 3 classes, 1"),
    "background": ([[0, 0, 0.0], [M] * 3], None, "multi-label", "dense, 2 anchors x 3 classes, 1"),
    "some": ([[0, 1, 0], [M, 1, 0]], 3, "multi-label", "dense, 2 anchors x 3 classes"),
    "all but one": ([[M, 1.0, M]], None, "multi-label", "dense, 1 anchor x 3 classes"),
}


@pytest.mark.parametrize("name", MISSING)
@pytest.mark.parametrize("ignore", [M, (-3, M)])
def test_ignore_index(name, ignore):
    targets, classes, kind, read = MISSING[name]
    advice = fx.recommend_loss(targets, classes, ignore_index=ignore)
    assert (advice.kind, advice.loss) == (kind, LOSS_OF_KIND[kind])
    assert advice.targets.startswith(read)
    # The call that is recommended takes the targets, and the other one what it was warned of.
    shape = np.shape(targets)
    if read.startswith("class labels") and kind != "single-class":
        shape = (*shape, classes or 3)
    logits = np.zeros(shape)
    names = {"logits": logits, "targets": np.array(targets)}
    loss = eval(f"fx.{advice.call}", {"fx": fx}, names)
    assert np.isfinite(loss).all()
    if name in {"some", "all but one"}:
        with pytest.raises(ValueError, match="takes the labels of all classes or of none"):
            fx.softmax_cross_entropy(logits, targets, ignore_index=ignore)
        assert advice.reason.startswith("1 of")
        assert f"targets[{len(targets) - 1}]" in advice.reason


@pytest.mark.parametrize(
    ("targets", "classes", "ignore", "message"),
    [
        ([255, 255], 3, 255, "targets has 2 labels, all 255 (ignored)"),
        ([[255, 255], [254, 254]], None, (254, 255), "targets has 4 labels, all 254 or 255"),
        ([[255.0, 255]], None, 255, "targets has 1 anchor, all 255 (ignored)"),
        ([255.0, 255], 1, 255, "targets has 2 anchors, all 255 (ignored)"),
        ([0, -100], 3, 255, "targets[1] = -100 is not a class label: expected 0..2, 3 for"),
        ([0, 9], 3, (255, -1), '3 for "no class", or 255 or -1 for ignored'),
        ([0, 9], 3, (), "targets[1] = 9 is not a class label: expected 0..2, 3 for"),
        ([[0.0, 254]], 2, 255, "targets[0, 1] = 254.0 is outside [0, 1]"),
        ([[0.0, 1]], 2, 0, "ignore_index = 0 cannot mark missing labels"),
    ],
)
def test_wrong_ignore_index(targets, classes, ignore, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
        fx.recommend_loss(targets, classes, ignore_index=ignore)
    assert message in str(caught.value)


def test_a_label_may_be_ignored():
    advice = fx.recommend_loss([3, 0, 1], 3, ignore_index=3)
    assert advice.kind == "multi-class"
    assert advice.call == "softmax_cross_entropy(logits, targets, ignore_index=3)"
