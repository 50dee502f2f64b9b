"""Labels, weights, reductions and normalizers, against formulas written out here."""

import numpy as np
import pytest
from support.oracles import one_hot, plain_sigmoid_cross_entropy, plain_softmax_cross_entropy

import fastxent as fx

ANCHORS, CLASSES = 60, 6
RTOL = 1e-12

LOSSES = {
    fx.sigmoid_cross_entropy: plain_sigmoid_cross_entropy,
    fx.softmax_cross_entropy: plain_softmax_cross_entropy,
}


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def logits(rng):
    return rng.normal(0, 4, (ANCHORS, CLASSES))


@pytest.fixture
def labels(rng):
    return rng.integers(0, CLASSES, ANCHORS)


# --- formats of labels ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("background", "classes"),
    [
        (None, [0, 1, 2, 3, 4, 5, -1]),
        (CLASSES, [0, 1, 2, 3, 4, 5, -1]),
        (0, [-1, 0, 1, 2, 3, 4, 5]),
        (3, [0, 1, 2, -1, 3, 4, 5]),
        (-1, [0, 1, 2, 3, 4, 5]),
        (255, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_sigmoid_background(background, classes, logits, rng, backend):
    """`classes` holds the column of each label from 0 on; -1 is "no class"."""
    labels = rng.integers(0, len(classes), ANCHORS)
    columns = np.array(classes)[labels]
    if background in {-1, 255}:
        labels[:9], columns[:9] = background, -1
    result = fx.sigmoid_cross_entropy(logits, labels, background_index=background)
    expected = plain_sigmoid_cross_entropy(logits, one_hot(columns, CLASSES)).sum(axis=1)
    np.testing.assert_allclose(result, expected, rtol=RTOL)
    probs = fx.sigmoid(logits)
    result = fx.binary_cross_entropy(probs, labels, background_index=background, eps=1e-15)
    np.testing.assert_allclose(result, expected / CLASSES, rtol=1e-9)
    positive = fx.sigmoid_cross_entropy(
        logits, labels, background_index=background, reduction="mean", normalizer="positive"
    )
    assert positive == pytest.approx(expected.sum() / (columns >= 0).sum(), rel=RTOL)


@pytest.mark.parametrize("background", [None, 0, 4])
def test_softmax_background_counts_for_the_normalizer_alone(background, logits, labels, backend):
    total = fx.softmax_cross_entropy(logits, labels, reduction="sum")
    arguments = {"background_index": background, "reduction": "mean", "normalizer": "positive"}
    positive = ANCHORS if background is None else (labels != background).sum()
    result = fx.softmax_cross_entropy(logits, labels, **arguments)
    assert result == pytest.approx(total / positive, rel=RTOL)
    dense = one_hot(labels, CLASSES)
    dense[:5] = 0
    total = fx.softmax_cross_entropy(logits, dense, reduction="sum")
    positive = (np.delete(dense, [] if background is None else background, 1) > 0).any(1).sum()
    result = fx.softmax_cross_entropy(logits, dense, **arguments)
    assert result == pytest.approx(total / positive, rel=RTOL)


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("classes", [2, 12, 16, 40])
def test_anchors_with_positive_targets_are_counted(classes, axis, rng, isa):
    logits = rng.normal(0, 4, (150, classes)).astype(np.float32)
    dense = np.float32(rng.random(logits.shape) < 0.7 / classes)
    dense[:2] = 0
    dense[0, -1] = dense[1, 0] = 1e-3

    def counted(loss, **options):
        arrays = (logits, dense) if axis == -1 else (logits.T, dense.T)
        total = loss(*arrays, axis=axis, reduction="sum")
        mean = loss(*arrays, axis=axis, reduction="mean", normalizer="positive", **options)
        return total / mean

    is_positive = dense > 0
    assert counted(fx.sigmoid_cross_entropy) == pytest.approx(is_positive.any(1).sum())
    positive = is_positive[:, :-1].any(1).sum()
    counts = counted(fx.softmax_cross_entropy, background_index=classes - 1)
    assert counts == pytest.approx(positive)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("ignore", [-100, 2, 255, (2, 4, -1), ()])
def test_ignored_anchors_contribute_nothing(loss, ignore, logits, labels, backend):
    ignored_labels = ignore if isinstance(ignore, tuple) else (ignore,)
    labels[::7] = ignored_labels[-1] if ignored_labels else 0
    ignored = np.isin(labels, ignored_labels)
    expected = LOSSES[loss](logits, one_hot(labels, CLASSES)).sum(axis=1)
    logits[ignored] = np.nan
    weight = np.where(ignored, np.nan, 1.0)
    result = loss(logits, labels, ignore_index=ignore, weight=weight)
    np.testing.assert_allclose(result[~ignored], expected[~ignored], rtol=RTOL)
    assert (result[ignored] == 0).all()
    arguments = {"ignore_index": ignore, "weight": weight, "reduction": "mean"}
    for normalizer in ("valid", "weight", "positive"):
        mean = loss(logits, labels, normalizer=normalizer, **arguments)
        assert mean == pytest.approx(expected[~ignored].mean(), rel=RTOL)
    mean = loss(logits, labels, normalizer="count", **arguments)
    assert mean == pytest.approx(expected[~ignored].sum() / ANCHORS, rel=RTOL)


def test_ignored_logits_are_zero_without_reduction(logits, labels, backend):
    expected = plain_sigmoid_cross_entropy(logits, one_hot(labels, CLASSES))
    logits[labels == 2] = np.nan
    result = fx.sigmoid_cross_entropy(logits, labels, ignore_index=2, reduction="none")
    np.testing.assert_allclose(result[labels != 2], expected[labels != 2], rtol=RTOL)
    assert (result[labels == 2] == 0).all()


def test_ignoring_takes_precedence_over_the_background(logits, backend):
    labels = np.full(ANCHORS, 3)
    arguments = {"background_index": 3, "ignore_index": 3}
    assert (fx.sigmoid_cross_entropy(logits, labels, **arguments) == 0).all()


def test_labels_of_a_single_class(rng, backend):
    logits, labels = rng.normal(size=(5, 4)), rng.integers(0, 2, (5, 4))
    expected = plain_sigmoid_cross_entropy(logits, labels)
    labels[0], expected[0] = 255, 0
    arguments = {"axis": None, "ignore_index": 255}
    result = fx.sigmoid_cross_entropy(logits, labels, **arguments)
    np.testing.assert_allclose(result, expected, rtol=RTOL)
    mean = fx.sigmoid_cross_entropy(
        logits, labels, reduction="mean", normalizer="positive", **arguments
    )
    assert mean == pytest.approx(expected.sum() / (labels == 1).sum(), rel=RTOL)


# --- weights -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("loss", LOSSES)
def test_weight_of_anchors(loss, dtype, logits, labels, rng, backend):
    weight = rng.integers(0, 4, ANCHORS).astype(dtype)
    expected = LOSSES[loss](logits, one_hot(labels, CLASSES)).sum(axis=1) * weight
    np.testing.assert_allclose(loss(logits, labels, weight=weight), expected, rtol=RTOL)
    mean = loss(logits, labels, weight=weight, reduction="mean", normalizer="weight")
    assert mean == pytest.approx(expected.sum() / weight.sum(dtype=float), rel=RTOL)


@pytest.mark.parametrize("shape", [(1, 1), (ANCHORS, 1), (1, CLASSES), (ANCHORS, CLASSES)])
def test_weight_of_logits(shape, logits, labels, rng, backend):
    weight = rng.random(shape)
    class_weight = rng.random(CLASSES)
    terms = plain_sigmoid_cross_entropy(logits, one_hot(labels, CLASSES)) * weight * class_weight
    arguments = {"weight": weight, "class_weight": class_weight}
    result = fx.sigmoid_cross_entropy(logits, labels, **arguments)
    np.testing.assert_allclose(result, terms.sum(axis=1), rtol=RTOL)
    result = fx.sigmoid_cross_entropy(logits, labels, reduction="none", **arguments)
    np.testing.assert_allclose(result, terms, rtol=RTOL)
    mean = fx.sigmoid_cross_entropy(
        logits, labels, reduction="mean", normalizer="weight", **arguments
    )
    applied = np.broadcast_to(weight * class_weight, logits.shape).mean(axis=1).sum()
    assert mean == pytest.approx(terms.sum() / applied, rel=RTOL)


@pytest.mark.parametrize("loss", LOSSES)
def test_weight_of_the_call(loss, logits, labels, backend):
    expected = LOSSES[loss](logits, one_hot(labels, CLASSES)).sum(axis=1) * 2.5
    for weight in (2.5, np.float32(2.5), np.array(2.5)):
        np.testing.assert_allclose(loss(logits, labels, weight=weight), expected, rtol=RTOL)
    assert np.isnan(loss(logits, labels, weight=np.nan)).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_every_option_at_once(loss, logits, rng, backend):
    """Smoothing, class weights, anchor weights and ignored anchors, dense and by label."""
    labels = rng.integers(0, CLASSES, ANCHORS)
    labels[:4] = -100
    class_weight, weight = rng.random(CLASSES), rng.random(ANCHORS)
    smoothed = one_hot(labels, CLASSES) * 0.8
    smoothed += 0.2 / (2 if loss is fx.sigmoid_cross_entropy else CLASSES)
    terms = LOSSES[loss](logits, smoothed) * class_weight * weight[:, None]
    expected = np.where(labels == -100, 0, terms.sum(axis=1))
    arguments = {"class_weight": class_weight, "label_smoothing": 0.2}
    result = loss(logits, labels, weight=weight, **arguments)
    np.testing.assert_allclose(result, expected, rtol=RTOL)
    dense_weight = np.where(labels == -100, 0, weight)
    result = loss(logits, one_hot(labels, CLASSES), weight=dense_weight, **arguments)
    np.testing.assert_allclose(result, expected, rtol=RTOL)


# --- reductions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
def test_reductions(loss, logits, labels, backend):
    terms = LOSSES[loss](logits, one_hot(labels, CLASSES))
    anchors = terms.sum(axis=1)
    np.testing.assert_allclose(loss(logits, labels, reduction="anchor"), anchors, rtol=RTOL)
    none = terms if loss is fx.sigmoid_cross_entropy else anchors
    np.testing.assert_allclose(loss(logits, labels, reduction="none"), none, rtol=RTOL)
    for dtype, rtol in ((np.float64, RTOL), (np.float32, 1e-6)):
        total = loss(logits.astype(dtype), labels, reduction="sum")
        mean = loss(logits.astype(dtype), labels, reduction="mean")
        assert type(total) is type(mean) is np.float64
        assert total == pytest.approx(anchors.sum(), rel=rtol)
        assert mean == pytest.approx(anchors.mean(), rel=rtol)
    given = loss(logits, labels, reduction="mean", normalizer=12.5)
    assert given == pytest.approx(anchors.sum() / 12.5, rel=RTOL)


def test_sums_are_accumulated_in_float64(backend):
    """A float32 sum would stop growing at 2^24."""
    logits = np.zeros((2**25 + 7, 1), dtype=np.float32)
    total = fx.sigmoid_cross_entropy(logits[:, 0], logits[:, 0], axis=None, reduction="sum")
    assert total == pytest.approx(len(logits) * float(np.float32(np.log(2))), rel=1e-7)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("normalizer", ["valid", "weight", "positive", 0, 0.0])
def test_nothing_to_average_over(loss, normalizer, logits, backend):
    labels = np.full(ANCHORS, -100)
    arguments = {"reduction": "mean", "normalizer": normalizer}
    assert loss(logits, labels, **arguments) == 0.0
    assert loss(logits, labels, empty=-1, **arguments) == -1.0
    assert np.isnan(loss(logits, labels, empty=np.nan, **arguments))
    with pytest.raises(ValueError, match=f"nothing to average over: normalizer = {normalizer!r}"):
        loss(logits, labels, empty="raise", **arguments)


@pytest.mark.parametrize("loss", [*LOSSES, fx.binary_cross_entropy, fx.categorical_cross_entropy])
@pytest.mark.parametrize("shape", [(0, 5), (4, 0, 5), (0, 0, 5)])
def test_no_anchors(loss, shape, backend):
    values = np.empty(shape, dtype=np.float32)
    labels = np.empty(shape[:-1], dtype=np.int64)
    for targets in (labels, values):
        result = loss(values, targets)
        assert result.shape == shape[:-1]
        assert result.dtype == np.float32
        assert loss(values, targets, reduction="sum") == 0.0
        assert loss(values, targets, reduction="mean") == 0.0
        assert loss(values, targets, reduction="mean", normalizer="count", empty=7) == 7.0


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_sums_have_the_same_bits_for_any_number_of_threads(loss, reduction, backend):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (30_011, 21)).astype(np.float32)
    labels = rng.integers(0, 21, len(logits))
    weight = rng.random(len(logits))
    results = {
        loss(
            logits,
            labels,
            weight=weight,
            reduction=reduction,
            normalizer="weight" if reduction == "mean" else "valid",
            num_threads=threads,
        ).hex()
        for threads in (1, 2, 3, 5, 8, 1, 2)
    }
    assert len(results) == 1
