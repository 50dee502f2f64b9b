"""Which loss fits: hand-made targets, and that what is said about both losses is true."""

import dataclasses
import doctest
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fastxent as fx
from fastxent import detection

INF, NAN = np.inf, np.nan
SIGMOID, SOFTMAX = "sigmoid_cross_entropy", "softmax_cross_entropy"
LOSS_OF_KIND = {"single-class": SIGMOID, "multi-class": SOFTMAX, "multi-label": SIGMOID}

DENSE = {
    "one-hot": ([[1.0, 0, 0], [0, 0, 1]], "multi-class"),
    "one-hot bool": (np.eye(4, dtype=bool), "multi-class"),
    "two classes": ([[0.0, 1], [1, 0]], "multi-class"),
    "one anchor": ([False, True, False], "multi-class"),
    "soft": ([[0.5, 0.25, 0.25], [0, 1, 0]], "multi-class"),
    "smoothed": (np.eye(3) * 0.9 + 0.1 / 3, "multi-class"),
    "rounded": (np.full((5, 6), 0.1667), "multi-class"),
    "several": ([[1.0, 0, 1], [0, 0, 1]], "multi-label"),
    "several in one anchor": ([True, True, False], "multi-label"),
    "several and none": ([[True, True], [False, False]], "multi-label"),
    "none": ([[1.0, 0, 0], [0, 0, 0]], "multi-label"),
    "none at all": (np.zeros((2, 3)), "multi-label"),
    "soft and none": ([[0.5, 0.5], [0, 0]], "multi-label"),
    "quality": ([[0.7, 0, 0], [0, 0, 0]], "multi-label"),
    "soft, no distribution": ([[0.5, 0.5, 0.5]], "multi-label"),
    "single": ([[1.0], [0.0]], "single-class"),
    "single and soft": ([[0.4], [1.0]], "single-class"),
}
LABELS = {
    "without n_classes": ([0, 2, 1], None, "multi-class"),
    "single label": (5, None, "multi-class"),
    "n_classes": ([0, 2, 1], 3, "multi-class"),
    "more classes than seen": ([0, 2, 1], 80, "multi-class"),
    "ignored": ([0, -100, 1], 3, "multi-class"),
    "background": ([0, 3, 1], 3, "multi-label"),
    "background only": ([3, 3, 3], 3, "multi-label"),
    "background and ignored": ([[-100, 3], [0, 0]], 3, "multi-label"),
    "single-class": ([0, 1, 1], 1, "single-class"),
    "single-class, ignored": ([0, 1, -100], 1, "single-class"),
    "single-class mask": ([[0, 1], [1, 1]], 1, "single-class"),
}


def test_examples():
    assert doctest.testmod(detection).failed == 0


def check(advice, kind):
    assert (advice.kind, advice.loss) == (kind, LOSS_OF_KIND[kind])
    axis = ", axis=None" if kind == "single-class" else ""
    assert advice.call == f"{advice.loss}(logits, targets{axis})"
    assert callable(getattr(fx, advice.loss))
    assert advice.reason
    other = SOFTMAX if advice.loss == SIGMOID else SIGMOID
    assert advice.warning.startswith(other)


@pytest.mark.parametrize("name", DENSE)
def test_dense(name):
    targets, kind = DENSE[name]
    advice = fx.recommend_loss(targets)
    check(advice, kind)
    assert advice.targets.startswith("dense")
    check(fx.recommend_loss(targets, n_classes=np.shape(targets)[-1]), kind)


@pytest.mark.parametrize("name", LABELS)
def test_labels(name):
    targets, classes, kind = LABELS[name]
    advice = fx.recommend_loss(targets, classes)
    check(advice, kind)
    assert advice.targets.startswith("class labels")
    assert (", 1 of them ignored" in advice.targets) == (-100 in np.ravel(targets))


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint64, np.float32])
def test_single_class_of_any_shape(dtype):
    for shape in [(5,), (5, 1), (2, 3, 4), ()]:
        check(fx.recommend_loss(np.ones(shape, dtype), n_classes=1), "single-class")


# --- integers, which can be either ---------------------------------------------------------------


def test_integers_read_as_dense():
    one_hot = [[1, 0, 0], [0, 0, 1]]
    for classes in (None, 3):
        advice = fx.recommend_loss(one_hot, classes)
        check(advice, "multi-class")
        assert advice.targets == "dense, 2 anchors x 3 classes"
        doubted = "If the integers are class labels: targets.ravel()" in advice.alternative
        assert doubted == (classes is None)


@pytest.mark.parametrize(
    ("targets", "classes"),
    [
        ([[1, 0, 0], [0, 0, 1]], 4),  # another number of classes
        ([[1, 0, 0], [0, 0, 2]], 3),  # a 2
        ([[1, 0, 0], [0, 0, -100]], None),
        ([1, 0, 0], 3),  # one dimension
        ([1, 0, 0], None),
    ],
)
def test_integers_read_as_labels(targets, classes):
    advice = fx.recommend_loss(targets, classes)
    check(advice, "multi-class")
    assert advice.targets.startswith("class labels")


def test_what_cannot_be_told():
    def alternative(targets, classes=None):
        return fx.recommend_loss(targets, classes).alternative

    assert 'If the label 7 means "no class": n_classes=7.' in alternative([3, 7])
    assert "If the head has a single class" in alternative([0, 1])
    assert "There is only label 0" in alternative([0, -100])
    assert "If these are 3 anchors of a single class: n_classes=1." in alternative([1.0, 0, 0])
    assert not alternative([3, 7], 8)
    assert "softmax_to_sigmoid_logit" in alternative([0, 1], 2)


# --- what is said --------------------------------------------------------------------------------


def test_first_anchor_that_decides():
    targets = np.zeros((2, 3, 4))
    targets[..., 0] = 1
    targets[1, 0, 0] = targets[1, 2, 0] = 0
    reason = fx.recommend_loss(targets).reason
    assert reason.startswith("2 of 6 anchors have no class; the first is targets[1, 0].")
    targets[0, 2] = 0.375
    reason = fx.recommend_loss(targets).reason
    assert "1 of 6 anchors has targets that do not add up to 1" in reason
    assert "the first is targets[0, 2] with 1.5." in reason
    targets[1, 1] = [0, 1, 1, 1]
    reason = fx.recommend_loss(targets).reason
    assert reason == "1 of 6 anchors has several classes; the first is targets[1, 1] with 3."
    reason = fx.recommend_loss([[0, 80], [-100, 80]], 80).reason
    assert reason.startswith("2 of 3 anchors have the label 80")
    assert "targets[0, 1]" in reason


@pytest.mark.parametrize(("row", "total"), [([0.7, 0, 0], "0.7"), ([1, 0.5, 0.75], "2.25")])
def test_soft_targets_are_not_called_several_classes(row, total):
    reason = fx.recommend_loss([[0, 1, 0], row]).reason
    first = (
        f"1 of 2 anchors has targets that do not add up to 1; the first is targets[1] with {total}."
    )
    assert reason.startswith(first)


def test_prints_well():
    text = str(fx.recommend_loss([0, 80, -100], n_classes=80))
    lines = text.splitlines()
    assert lines[0] == "multi-label: sigmoid_cross_entropy(logits, targets)"
    assert [line.split()[0] for line in lines if line[:3] != "   "] == [
        "multi-label:",
        "targets",
        "reason",
        "warning",
        "alternative",
    ]
    assert max(map(len, lines)) <= 96
    assert "alternative" not in str(fx.recommend_loss([0], n_classes=3))


def test_result_is_frozen():
    advice = fx.recommend_loss([0, 1])
    with pytest.raises(dataclasses.FrozenInstanceError):
        advice.kind = "multi-label"
    assert advice == fx.recommend_loss([0, 1])


def test_the_other_loss_goes_wrong_as_said():
    logits = np.random.default_rng(0).normal(0, 3, (20, 4))
    # no class: nothing to learn; sigmoids have something to say
    assert np.all(fx.softmax_cross_entropy(logits, np.zeros_like(logits)) == 0)
    assert np.all(fx.sigmoid_cross_entropy(logits, np.zeros_like(logits)) > 0)
    with pytest.raises(ValueError, match=r"targets\[0\] = 4 is not a class label"):
        fx.softmax_cross_entropy(logits, np.full(20, 4))
    # the alternative to it
    assert fx.softmax_cross_entropy(np.zeros(5), 4, background_index=4) == np.log(5)
    # one class: always 0
    assert np.all(fx.softmax_cross_entropy(logits[:, :1], np.ones((20, 1))) == 0)
    # several classes: never below k log(k), which is reached at 1/k
    several = np.array([1.0, 1, 0, 0])
    losses = fx.softmax_cross_entropy(logits, np.broadcast_to(several, logits.shape))
    assert losses.min() > 2 * np.log(2)
    lowest = fx.softmax_cross_entropy(np.array([0, 0, -INF, -INF]), several)
    np.testing.assert_allclose(lowest, 2 * np.log(2))
    # soft targets: only the shares count, the sum is a weight
    quality = np.array([0.6, 0, 0.2, 0])
    np.testing.assert_allclose(
        fx.softmax_cross_entropy(logits[0], quality),
        0.8 * fx.softmax_cross_entropy(logits[0], quality / 0.8),
    )


# --- wrong input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("targets", "classes", "error", "message"),
    [
        ([], None, ValueError, "targets has shape (0,): there is nothing to look at"),
        (np.empty((0, 80)), 80, ValueError, "targets has shape (0, 80): there is nothing to look"),
        (np.empty((4, 0)), None, ValueError, "targets has shape (4, 0): there is nothing to look"),
        ([-100, -100], 3, ValueError, "targets has 2 labels, all -100 (ignored)"),
        ([-100], 1, ValueError, "targets has 1 label, all -100 (ignored)"),
        ([[1, 4], [0, 0]], 3, ValueError, "targets[0, 1] = 4 is not a class label: expected 0..2"),
        ([0, 255], 80, ValueError, "targets[1] = 255 is not a class label: expected 0..79, 80 for"),
        ([0, -1], None, ValueError, "targets[1] = -1 is not a class label: expected 0 or more, or"),
        ([0, 2], 1, ValueError, "targets[1] = 2 is not a class label: expected 0 or 1, or -100"),
        (np.uint64([2**63]), 3, ValueError, "targets[0] = 9223372036854775808 is not a class"),
        ([[0.0, 0], [0, 1.5]], None, ValueError, "targets[1, 1] = 1.5 is outside [0, 1]"),
        ([[0.0, NAN]], 2, ValueError, "targets[0, 1] = nan is outside [0, 1]"),
        ([0.5, -0.5], 1, ValueError, "targets[1] = -0.5 is outside [0, 1]"),
        ([[0.5, 0.5]], 3, ValueError, "targets has shape (1, 2), expected (..., 3) for dense"),
        (0.5, None, ValueError, "targets has shape (), expected (..., C) for dense targets"),
        (True, 3, ValueError, "targets has shape (), expected (..., 3) for dense targets"),
        ([0, 1], 0, ValueError, "n_classes = 0 is not a number of classes"),
        ([0, 1], 3.0, TypeError, "n_classes must be an integer, not 3.0"),
        ([0, 1], True, TypeError, "n_classes must be an integer, not True"),
        (["car"], None, TypeError, "targets has dtype <U3"),
        ([1j], None, TypeError, "targets has dtype complex128"),
        (np.ma.array([1]), None, TypeError, "targets is a masked array"),
    ],
)
def test_wrong_input(targets, classes, error, message):
    with pytest.raises(error) as caught:
        fx.recommend_loss(targets, classes)
    assert message in str(caught.value)


# --- large, strided, random ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dense", "two classes", "labels", "one long row"])
def test_memory(kind):
    if kind == "dense":
        targets, classes = np.broadcast_to(np.eye(80, dtype=np.float32), (5_000, 80, 80)), None
    elif kind == "two classes":
        targets, classes = np.broadcast_to([0.5, 0.5], (1_000_000, 2)), None
    elif kind == "labels":
        targets, classes = np.broadcast_to(np.arange(80), (50_000, 80)), 80
    else:
        targets, classes = np.broadcast_to(np.float32(1), (1, 30_000_000)), None
    fx.recommend_loss(targets[:1], classes)
    tracemalloc.start()
    try:
        fx.recommend_loss(targets, classes)
        assert tracemalloc.get_traced_memory()[1] < 2e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("classes", [3, 80, 70_000])
@pytest.mark.parametrize("where", [0, 777, -1])
def test_one_anchor_among_many_blocks(classes, where):
    anchors = 200_000 // classes + 1
    where = where % anchors
    targets = np.zeros((anchors, classes), np.float32)
    targets[:, -1] = 1
    check(fx.recommend_loss(targets), "multi-class")
    targets[where, 0] = 1
    advice = fx.recommend_loss(targets)
    check(advice, "multi-label")
    assert f"1 of {anchors:,} anchors has several classes; the first is" in advice.reason
    assert f"targets[{where}] with 2." in advice.reason


def test_the_first_of_two_blocks_is_named():
    targets = np.tile(np.float32([1, 0]), (100_000, 1))
    targets[[7, 99_999]] = 1
    reason = fx.recommend_loss(targets).reason
    assert reason.startswith("2 of 100,000 anchors have several classes; the first is targets[7]")


def test_background_among_many_blocks():
    labels = np.zeros((400, 500), np.int32)
    labels[300, 7] = labels[399, 499] = 9
    reason = fx.recommend_loss(labels.T, 9).reason
    assert "2 of 200,000 anchors have" in reason
    assert "targets[7, 300]" in reason


def kind_of_rows(rows):
    """Return the kind of dense targets, by the definitions, row by row."""
    if len(rows[0]) == 1:
        return "single-class"
    one_class = all(abs(sum(map(float, row)) - 1) < 1e-3 for row in rows)
    return "multi-class" if one_class else "multi-label"


dense_shapes = hnp.array_shapes(min_dims=2, max_dims=3, max_side=5)


@given(
    st.one_of(
        hnp.arrays(bool, dense_shapes),
        hnp.arrays(np.float64, dense_shapes, elements=st.sampled_from([0.0, 0.25, 0.5, 1.0])),
        hnp.arrays(np.int8, dense_shapes, elements=st.integers(0, 1)),
    )
)
def test_random_dense_targets(targets):
    kind = kind_of_rows(targets.reshape(-1, targets.shape[-1]).tolist())
    for view in (targets, targets[::-1], np.asfortranarray(targets)):
        check(fx.recommend_loss(view), kind)
        check(fx.recommend_loss(view, targets.shape[-1]), kind)


@given(
    hnp.arrays(np.int64, hnp.array_shapes(max_side=5), elements=st.sampled_from([-100, 0, 2, 5])),
    st.sampled_from([5, 6, 7]),
)
def test_random_labels(labels, classes):
    if np.all(labels == -100):
        with pytest.raises(ValueError, match=r"targets has .* all -100"):
            fx.recommend_loss(labels, classes)
        return
    if labels.ndim > 1 and labels.shape[-1] == classes and not labels.any():
        return  # all zeros of that shape are read as dense
    kind = "multi-label" if classes in labels else "multi-class"
    for view in (labels, labels[::-1], np.asfortranarray(labels)):
        check(fx.recommend_loss(view, classes), kind)


@given(hnp.arrays(np.float32, (4, 3), elements=st.floats(0, 1, width=32)))
def test_a_distribution_is_recognised(targets):
    targets[:, 0] += np.float32(0.01)
    rows = targets / targets.sum(axis=1, keepdims=True)
    check(fx.recommend_loss(rows), "multi-class")


@given(st.integers(1, 6), st.integers(1, 4), st.data())
def test_labels_and_their_dense_targets_agree(anchors, classes, data):
    labels = np.array(
        data.draw(st.lists(st.integers(0, classes), min_size=anchors, max_size=anchors))
    )
    if classes == 1:
        labels = 1 - labels  # with a single class, 1 is the class and 0 none
    dense = labels[:, None] == (np.arange(classes) if classes > 1 else [1])
    of_labels = fx.recommend_loss(labels, classes)
    of_dense = fx.recommend_loss(dense, classes)
    assert (of_labels.kind, of_labels.call) == (of_dense.kind, of_dense.call)
