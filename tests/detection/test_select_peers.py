"""The same pairs as other libraries select, on random heads with ties and on a real one."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from support import peer_selections as peers  # noqa: E402

import fastxent as fx  # noqa: E402
from fastxent.data import load_sample  # noqa: E402

#: The anchors of the sample's levels.
SAMPLE_LEVELS = (7600, 1900, 475, 130)


def by_image(image, anchor, label):
    return image


def by_class(image, anchor, label):
    return image, label


def by_level_of(sizes):
    starts = np.cumsum([0, *sizes])[:-1]
    return lambda image, anchor, label: (
        image,
        int(np.searchsorted(starts, anchor, side="right")),
    )


def head(shape, seed, *, infinite=(np.inf, -np.inf), nan=False):
    """Return logits with ties; with infinities, and maybe NaN."""
    random = np.random.default_rng(seed)
    values = np.round(random.normal(-2.5, 2, shape) * 4) / 4
    special = [*infinite, *([np.nan] if nan else [])]
    if special:
        places = random.random(shape) < 0.02
        values = np.where(places, random.choice(special, shape), values)
    return values.astype(np.float32)


def sample_levels():
    logits = load_sample().logits
    return [part[None] for part in np.split(logits, np.cumsum(SAMPLE_LEVELS)[:-1])]


CASES = [
    (seed, threshold, k) for seed in range(3) for threshold in (0.05, 0.2, 0.5) for k in (9, 999)
]
cases = pytest.mark.parametrize(("seed", "threshold", "k"), CASES)


def random_levels(seed, sizes=(60, 30, 0, 7), classes=6, **options):
    return [head((2, size, classes), seed + size, **options) for size in sizes]


def check_retinanet(levels, threshold, k):
    sizes = [level.shape[1] for level in levels]
    result = fx.select_candidates(levels, score_threshold=threshold, top_k=k, top_k_per="level")
    expected = peers.retinanet(levels, threshold, k)
    assert expected
    peers.check_same_pairs(result, expected, by_level_of(sizes))


@cases
def test_retinanet(seed, threshold, k, backend):
    check_retinanet(random_levels(seed, nan=True), threshold, k)


@pytest.mark.parametrize("threshold", [0.01, 0.05, 0.25, 0.4])
@pytest.mark.parametrize("k", [20, 1000])
def test_retinanet_on_a_real_head(threshold, k, backend):
    check_retinanet(sample_levels(), threshold, k)


@cases
def test_fcos(seed, threshold, k, backend):
    levels = random_levels(seed, nan=True)
    centerness = [head((*level.shape[:2], 1), seed + 9, nan=True) for level in levels]
    result = fx.select_candidates(
        levels,
        objectness=[c[..., 0] for c in centerness],
        combine="sqrt",
        score_threshold=threshold,
        top_k=k,
        top_k_per="level",
    )
    sizes = [level.shape[1] for level in levels]
    expected = peers.fcos(levels, centerness, threshold, k)
    assert expected
    peers.check_same_pairs(result, expected, by_level_of(sizes))


@cases
@pytest.mark.parametrize("classes", [5, 33])
def test_ssd(seed, threshold, k, classes, backend):
    logits = head((2, 90, classes), seed, infinite=(-np.inf,), nan=True)
    result = fx.select_candidates(
        logits,
        activation="softmax",
        background_index=0,
        score_threshold=threshold,
        top_k=k,
        top_k_per="class",
    )
    expected = peers.ssd(logits, threshold, k)
    assert expected
    peers.check_same_pairs(result, expected, by_class)


@cases
def test_detectron2(seed, threshold, k, backend):
    anchors, classes = 3, 5
    shapes = ((6, 4), (3, 2), (1, 1))
    levels = [
        head((2, anchors * classes, *shape), seed + number, nan=True)
        for number, shape in enumerate(shapes)
    ]
    views = [
        np.moveaxis(level.reshape(2, anchors, classes, *level.shape[2:]), 1, -1) for level in levels
    ]
    assert all(np.shares_memory(*pair) for pair in zip(views, levels, strict=True))
    result = fx.select_candidates(
        views, axis=1, score_threshold=threshold, top_k=k, top_k_per="level"
    )
    expected = peers.detectron2_retinanet(levels, anchors, threshold, k)
    assert expected
    peers.check_same_pairs(result, expected, by_level_of(result.level_sizes))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("classes", [4, 92])
def test_detr(seed, classes, backend):
    logits = head((2, 100, classes), seed, infinite=(-np.inf,))
    result = fx.select_candidates(
        logits,
        activation="softmax",
        background_index=-1,
        multi_label=False,
        score_threshold=None,
        top_k=None,
    )
    np.testing.assert_array_equal(result.counts, 100)
    peers.check_same_pairs(result, peers.detr(logits), by_image)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("k", [1, 100, 300])
def test_deformable_detr(seed, k, backend):
    logits = head((2, 60, 7), seed)
    result = fx.select_candidates(logits, score_threshold=None, top_k=k)
    np.testing.assert_array_equal(result.counts, k)
    peers.check_same_pairs(result, peers.deformable_detr(logits, k), by_image)


@cases
@pytest.mark.parametrize("classes", [None, [0, 3]])
@pytest.mark.parametrize("multi_label", [False, True])
def test_ultralytics(seed, threshold, k, classes, multi_label, backend):
    logits = head((2, 10, 80), seed)
    prediction = torch.sigmoid(torch.from_numpy(logits)).numpy()
    result = fx.select_candidates(
        prediction[:, 4:],
        activation=None,
        axis=1,
        multi_label=multi_label,
        score_threshold=threshold,
        top_k=k,
        classes=classes,
    )
    expected = peers.ultralytics(prediction, threshold, k, multi_label=multi_label, classes=classes)
    assert expected
    peers.check_same_pairs(result, expected, by_image)


@cases
def test_yolox(seed, threshold, k, backend):
    prediction = torch.sigmoid(torch.from_numpy(head((2, 150, 11), seed) + 1)).numpy()
    result = fx.select_candidates(
        prediction[..., 5:],
        activation=None,
        objectness=prediction[..., 4],
        multi_label=False,
        score_threshold=threshold,
        top_k=None,
    )
    expected = peers.yolox(prediction, threshold)
    assert expected
    peers.check_same_pairs(result, expected, by_image)
    kept = fx.select_candidates(
        prediction[..., 5:],
        activation=None,
        objectness=prediction[..., 4],
        multi_label=False,
        score_threshold=threshold,
        top_k=k,
    )
    np.testing.assert_array_equal(kept.found, result.counts)
    np.testing.assert_array_equal(kept.counts, np.minimum(result.counts, k))


@pytest.mark.parametrize("threshold", [0.05, 0.1, 0.25, 0.4, 0.5])
def test_counts_of_the_real_head(threshold, backend):
    levels = sample_levels()
    result = fx.select_candidates(levels, score_threshold=threshold)
    cut = np.log(threshold / (1 - threshold))
    counts = [np.count_nonzero(level > cut) for level in levels]
    np.testing.assert_array_equal(np.bincount(result.level, minlength=4), counts)
    assert result.found == sum(counts) > 0
    channels_first = [
        np.ascontiguousarray(level[0].T).reshape(1, 10, *shape)
        for level, shape in zip(levels, ((100, 76), (50, 38), (25, 19), (13, 10)), strict=True)
    ]
    again = fx.select_candidates(channels_first, axis=1, score_threshold=threshold)
    np.testing.assert_array_equal(again.anchor, result.anchor)
    np.testing.assert_array_equal(again.label, result.label)
    np.testing.assert_array_equal(again.score, result.score)
