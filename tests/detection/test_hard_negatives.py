"""Which losses are the largest: torch code of detectors, plain Python, and what never is chosen."""

import doctest
import math
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.oracles import dtype_named

import fastxent as fx
from fastxent import mining

INF, NAN = np.inf, np.nan
FLOATS = ("float16", "bfloat16", "float32", "float64")


def largest(losses, eligible, k):
    """Return the mask of one image's k largest losses, as a list would be sorted."""
    places = [i for i in range(len(losses)) if eligible[i] and not math.isnan(losses[i])]
    chosen = sorted(places, key=lambda i: (-float(losses[i]), i))[:k]
    return np.isin(np.arange(len(losses)), chosen)


def expected_negatives(losses, is_positive, is_negative, ratio, least):
    """Return the mask of some images, one after the other."""
    masks = []
    for x, positive, negative in zip(losses, is_positive, is_negative, strict=True):
        count = int(positive.sum())
        wanted = min(math.floor(ratio * count), len(x)) if count and ratio < INF else len(x)
        masks.append(largest(x, negative, max(wanted if count else 0, least)))
    return np.array(masks).reshape(np.shape(losses))


def head(images=6, anchors=500, seed=0, *, classes=20):
    """Return losses without ties, and labels of which 0 is the background."""
    rng = np.random.default_rng(seed)
    losses = rng.permuted(np.arange(images * anchors)).reshape(images, anchors) / 64
    labels = rng.integers(1, classes + 1, losses.shape) * (rng.random(losses.shape) < 0.03)
    return losses.astype(np.float32), labels


@pytest.mark.parametrize("module", [mining])
def test_examples(module, backend):
    results = doctest.testmod(module)
    assert (results.failed, results.attempted > 0) == (0, True)


# --- as detectors write it ------------------------------------------------------------------------


def test_two_sorts_of_torchvision(engine):
    """SSD.compute_loss, with the positives' losses at -inf."""
    torch = pytest.importorskip("torch")
    losses, labels = head()
    foreground = torch.as_tensor(labels) > 0
    negative_loss = torch.tensor(losses)
    negative_loss[foreground] = -INF
    _, order = negative_loss.sort(1, descending=True)
    _, rank = order.sort(1)
    expected = rank < 3 * foreground.sum(1, keepdim=True)
    mask = fx.hard_negatives(losses, labels, background_index=0)
    np.testing.assert_array_equal(mask, expected.numpy())
    np.testing.assert_array_equal(fx.hard_negatives(losses, labels > 0), expected.numpy())


def test_topk_of_mmdetection(engine):
    """SSDHead.loss_by_feat_single, with the background last and labels of -1 left out."""
    torch = pytest.importorskip("torch")
    losses, labels = head(seed=1)
    labels = np.where(labels == 0, 20, labels - 1)
    labels[:, ::7] = -1
    mask = fx.hard_negatives(losses, labels, background_index=20, ignore_index=-1)
    for image in range(len(losses)):
        x, y = torch.tensor(losses[image]), torch.tensor(labels[image])
        positives = ((y >= 0) & (y < 20)).nonzero(as_tuple=False).view(-1)
        negatives = (y == 20).nonzero(as_tuple=False).view(-1)
        count = min(3 * positives.size(0), negatives.size(0))
        _, places = x[negatives].topk(count)
        expected = np.isin(np.arange(len(x)), negatives[places].numpy())
        np.testing.assert_array_equal(mask[image], expected)


def test_more_than_all_anchors(engine):
    mask = fx.ohem(np.arange(8.0).reshape(2, 4), np.array([2**63, 1], np.uint64))
    np.testing.assert_array_equal(mask, [[True] * 4, [False, False, False, True]])


def test_topk_of_online_hard_example_mining(engine):
    torch = pytest.importorskip("torch")
    losses = head(seed=2)[0]
    for k in (0, 1, 7, 499, 500, 9999):
        mask = fx.ohem(losses, k)
        for x, chosen in zip(losses, mask, strict=True):
            top, _ = torch.tensor(x).topk(min(k, x.size))
            np.testing.assert_array_equal(np.sort(x[chosen])[::-1], top.numpy())


def test_real_size(engine):
    """SSD300 has 8,732 anchors; losses repeat, as they do for easy background."""
    rng = np.random.default_rng(3)
    losses = rng.gamma(0.5, 1, (5, 8732)).astype(np.float16).astype(np.float32)
    labels = rng.integers(1, 81, losses.shape) * (rng.random(losses.shape) < 0.006)
    labels[3] = 0
    expected = expected_negatives(losses, labels > 0, labels == 0, 3.0, 10)
    mask = fx.hard_negatives(losses, labels, min_negatives=10, background_index=0)
    np.testing.assert_array_equal(mask, expected)


# --- anything -------------------------------------------------------------------------------------


@st.composite
def batches(draw):
    """Losses with ties, NaN and infinities, and labels with ignored ones, in any layout."""
    images, anchors = draw(st.integers(0, 4)), draw(st.integers(1, 70))
    dtype = dtype_named(draw(st.sampled_from(FLOATS)))
    some = st.sampled_from([0.0, -0.0, 1.0, 2.0, 0.5, 3.25, -1.0, INF, -INF, NAN])
    losses = draw(hnp.arrays(np.float64, (images, anchors), elements=some)).astype(dtype)
    background = draw(st.sampled_from([0, 5, -1, 100]))
    kinds = st.sampled_from([background, background, background, 1, 2, -100, -7])
    label_dtype = draw(st.sampled_from([np.int8, np.int16, np.int32, np.int64]))
    labels = draw(hnp.arrays(label_dtype, (images, anchors), elements=kinds))
    layout = draw(st.sampled_from(["C", "F", "reversed", "every second"]))
    return arranged(losses, layout), arranged(labels, layout), background


def arranged(array, layout):
    """Return an equal array that lies in memory in another way."""
    if layout == "F":
        return np.asfortranarray(array)
    if layout == "reversed":
        return np.ascontiguousarray(array[:, ::-1])[:, ::-1]
    if layout == "every second":
        return np.repeat(array, 2, axis=1)[:, ::2]
    return array


RATIOS = st.sampled_from([0.0, 0.3, 1.0, 3.0, 1e300, INF])


@given(batch=batches(), ratio=RATIOS, least=st.integers(0, 80), threads=st.integers(1, 3))
def test_any_batch(batch, ratio, least, threads, engine):
    losses, labels, background = batch
    options = {"ratio": ratio, "min_negatives": least, "background_index": background}
    mask = fx.hard_negatives(
        losses, labels, **options, ignore_index=(-100, -7), num_threads=threads
    )
    is_negative = labels == background
    is_positive = ~is_negative & (labels != -100) & (labels != -7)
    expected = expected_negatives(losses, is_positive, is_negative, ratio, least)
    assert (mask.shape, mask.dtype) == (losses.shape, np.bool_)
    np.testing.assert_array_equal(mask, expected)


@given(batch=batches(), data=st.data())
def test_any_numbers(batch, data, engine):
    losses = batch[0]
    counts = data.draw(hnp.arrays(np.int32, len(losses), elements=st.integers(0, 80)))
    expected = [largest(x, np.ones(x.shape, bool), k) for x, k in zip(losses, counts, strict=True)]
    expected = np.array(expected, bool).reshape(losses.shape)
    np.testing.assert_array_equal(fx.ohem(losses, counts), expected)
    np.testing.assert_array_equal(fx.ohem(losses, counts.tolist()), expected)


@pytest.mark.parametrize("dtype", FLOATS)
def test_all_losses_equal(dtype, engine):
    """The first ones it is, however many there are."""
    for value in (0, -0.0, 7, INF, -INF):
        losses = np.full((2, 20000), value).astype(dtype_named(dtype))
        losses[0, ::2] = -losses[0, ::2] if value == 0 else losses[0, ::2]
        for k in (1, 255, 5000, 20000):
            np.testing.assert_array_equal(
                fx.ohem(losses, k), [[True] * k + [False] * (20000 - k)] * 2
            )


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("dtype", FLOATS)
def test_sorted_losses(dtype, order, engine):
    """The worst for a search that raises a bar as it goes, and the best."""
    losses = np.arange(30000).astype(dtype_named(dtype))[None, ::order]
    for k in (1, 100, 29000):
        expected = largest(losses[0], np.ones(30000, bool), k)
        np.testing.assert_array_equal(fx.ohem(losses, k)[0], expected)


def test_a_sample_that_misleads(engine):
    """Large losses at one end, or at even distances, or small ones there."""
    rng = np.random.default_rng(4)
    quiet = rng.random(8192).astype(np.float32)
    for places in (slice(0, 300), slice(-300, None), slice(None, None, 64), slice(1, None, 64)):
        for change in (10, -10):
            losses = quiet.copy()
            losses[places] += change
            for k in (1, 50, 200, 1000):
                expected = largest(losses, np.ones(8192, bool), k)
                np.testing.assert_array_equal(fx.ohem(losses, k, batch_ndim=0), expected)


def test_a_sample_of_nan(engine):
    """What a first guess is made of may be NaN in half of its places, or in all."""
    quiet = np.random.default_rng(5).random(8192).astype(np.float32)
    for places in (slice(None, None, 64), slice(None, None, 32), slice(0, 8000)):
        losses = quiet.copy()
        losses[places] = NAN
        for k in (1, 50, 200, 1000):
            expected = largest(losses, np.ones(8192, bool), k)
            np.testing.assert_array_equal(fx.ohem(losses, k, batch_ndim=0), expected)


# --- what is never chosen, and how many there are -------------------------------------------------


def test_neither_positives_nor_ignored_nor_nan(engine):
    losses = np.float32([[9, 8, NAN, 7, INF, 1, -INF]])
    labels = np.array([[3, -100, 0, 0, 2, 0, 0]])
    mask = fx.hard_negatives(losses, labels, ratio=INF, background_index=0)
    np.testing.assert_array_equal(mask, [[0, 0, 0, 1, 0, 1, 1]])
    np.testing.assert_array_equal(fx.ohem(losses, 99), [[1, 1, 0, 1, 1, 1, 1]])


def test_an_image_without_objects(engine):
    losses = np.float32([[1, 3, 2, 0]])
    labels = np.zeros((1, 4), bool)
    for ratio in (0, 3.0, INF):
        assert not fx.hard_negatives(losses, labels, ratio=ratio).any()
        mask = fx.hard_negatives(losses, labels, ratio=ratio, min_negatives=2)
        np.testing.assert_array_equal(mask, [[0, 1, 1, 0]])


def test_the_product_is_rounded_down(engine):
    losses = np.arange(400, dtype=np.float32)[None]
    labels = losses < 100
    counts = {0.29: 28, 1.5: 150, 0.009: 0, 0.01: 1, 2.999: 299, 3: 300, 3.5: 300}
    for ratio, count in counts.items():
        assert fx.hard_negatives(losses, labels, ratio=ratio).sum() == count
    assert fx.hard_negatives(losses, labels, ratio=0.29, min_negatives=50).sum() == 50
    assert fx.hard_negatives(losses, labels, ratio=1, min_negatives=50).sum() == 100


def test_across_the_batch(engine):
    losses, labels = head(seed=5)
    mask = fx.hard_negatives(losses, labels, batch_ndim=0, background_index=0)
    flat = fx.hard_negatives(losses.reshape(1, -1), labels.reshape(1, -1), background_index=0)
    np.testing.assert_array_equal(mask.ravel(), flat.ravel())
    expected = expected_negatives(
        [losses.ravel()], [labels.ravel() > 0], [labels.ravel() == 0], 3, 0
    )
    np.testing.assert_array_equal(mask.ravel(), expected[0])


def test_several_axes_of_images_and_of_anchors(engine):
    losses, labels = head(6, 480, seed=6)
    expected = fx.hard_negatives(losses, labels, background_index=0)
    shape = (2, 3, 20, 24)
    mask = fx.hard_negatives(
        losses.reshape(shape), labels.reshape(shape), batch_ndim=2, background_index=0
    )
    np.testing.assert_array_equal(mask, expected.reshape(shape))
    # Losses of (images, rows, columns), in memory with the columns first.
    moved = np.moveaxis(np.ascontiguousarray(np.moveaxis(losses.reshape(6, 20, 24), 2, 0)), 0, 2)
    mask = fx.hard_negatives(moved, labels.reshape(6, 20, 24), background_index=0)
    np.testing.assert_array_equal(mask.reshape(6, 480), expected)
    k = np.array([[1, 2, 3], [0, 4, 9999]])
    np.testing.assert_array_equal(
        fx.ohem(losses.reshape(shape), k, batch_ndim=2).reshape(6, 480), fx.ohem(losses, k.ravel())
    )


@pytest.mark.parametrize("background", [0, 20, -1, -(2**63), 2**63 - 1])
def test_the_background_is_taken_literally(background, engine):
    losses, labels = head(seed=7)
    expected = fx.hard_negatives(losses, labels > 0)
    numbers = np.where(labels > 0, labels + 20, background)
    mask = fx.hard_negatives(losses, numbers, background_index=background)
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("dtype", "bhilqBHILQ")
def test_every_integer_type(dtype, engine):
    losses, labels = head(seed=8)
    expected = fx.hard_negatives(losses, labels > 0, ratio=2)
    mask = fx.hard_negatives(losses, labels.astype(dtype), ratio=2, background_index=0)
    np.testing.assert_array_equal(mask, expected)


def test_labels_beyond_63_bits(engine):
    """As signed numbers they would be negative: the background -1, or no labels at all."""
    losses = np.arange(8, dtype=np.float32)[None]
    labels = np.array([[2**64 - 1, 2**63, 0, 0, 0, 0, 2**64 - 100, 7]], np.uint64)
    mask = fx.hard_negatives(losses, labels, ratio=1, background_index=0)
    np.testing.assert_array_equal(mask, [[0, 0, 1, 1, 1, 1, 0, 0]])
    mask = fx.hard_negatives(losses, labels, ratio=1, min_negatives=8, background_index=-1)
    assert not mask.any()


def test_ignored_wins_over_the_background(engine):
    losses, labels = head(seed=9)
    options = {"background_index": 0, "min_negatives": 5}
    assert not fx.hard_negatives(losses, labels, ignore_index=0, **options).any()
    assert not fx.hard_negatives(losses, labels, ignore_index=(3, 0), **options).any()
    assert fx.hard_negatives(losses, labels, ignore_index=(), **options).any()


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0, 0), (0,), (2, 0, 4)])
def test_nothing_to_choose_from(shape, engine):
    losses = np.zeros(shape, np.float32)
    axes = min(1, len(shape) - 1)
    for labels in (np.zeros(shape, bool), np.zeros(shape)):
        mask = fx.hard_negatives(losses, labels, batch_ndim=axes, min_negatives=3)
        assert (mask.shape, mask.dtype) == (shape, np.bool_)
    mask = fx.hard_negatives(
        losses, np.zeros(shape, int), batch_ndim=axes, background_index=0, ratio=INF
    )
    assert mask.shape == shape
    assert fx.ohem(losses, 3, batch_ndim=axes).shape == shape


def test_the_same_for_any_number_of_threads(engine):
    rng = np.random.default_rng(10)
    losses = rng.integers(0, 50, (16, 3000)).astype(np.float32)
    labels = rng.random(losses.shape) < 0.05
    masks = [fx.hard_negatives(losses, labels, num_threads=threads) for threads in (1, 2, 5)]
    np.testing.assert_array_equal(masks[0], masks[1])
    np.testing.assert_array_equal(masks[0], masks[2])


@pytest.mark.large
@pytest.mark.skipif(
    not os.environ.get("FASTXENT_TEST_LARGE"),
    reason="needs 13 GB of memory and FASTXENT_TEST_LARGE=1",
)
def test_places_beyond_32_bits():
    losses = np.zeros(2**32 + 100, np.float32)  # of which memory holds what is not zero
    losses[[5, 2**32 - 1, 2**32 + 7]] = 1, 2, 1
    mask = fx.ohem(losses, 2, batch_ndim=0)
    np.testing.assert_array_equal(np.flatnonzero(mask), [5, 2**32 - 1])
    mask = fx.ohem(losses, 4, batch_ndim=0)
    np.testing.assert_array_equal(np.flatnonzero(mask), [0, 5, 2**32 - 1, 2**32 + 7])


def test_bool_of_any_byte(engine):
    """Whatever is not zero is true."""
    losses = np.arange(400, dtype=np.float32)[None]
    labels = np.where(losses < 100, 2, 0).astype(np.uint8).view(bool)
    assert fx.hard_negatives(losses, labels).sum() == 300
    assert not fx.hard_negatives(losses, labels)[labels.view(np.uint8) == 2].any()


def test_tensors_and_lists(engine):
    torch = pytest.importorskip("torch")
    losses, labels = head(3, 200, seed=12)
    expected = fx.hard_negatives(losses, labels, background_index=0)
    mask = fx.hard_negatives(torch.tensor(losses), torch.tensor(labels), background_index=0)
    np.testing.assert_array_equal(mask, expected)
    mask = fx.hard_negatives(losses.tolist(), labels.tolist(), background_index=0)
    np.testing.assert_array_equal(mask, expected)
    halves = torch.tensor(losses).bfloat16()
    mask = fx.hard_negatives(halves, torch.tensor(labels) > 0)
    np.testing.assert_array_equal(mask, fx.hard_negatives(halves.float(), labels > 0))
    k = torch.tensor([3, 0, 7])
    np.testing.assert_array_equal(fx.ohem(losses, k).sum(axis=1), k)


def test_arguments_are_left_alone(engine):
    losses, labels = head(seed=11)
    before = losses.copy(), labels.copy()
    losses.flags.writeable = labels.flags.writeable = False
    fx.hard_negatives(losses, labels, background_index=0)
    fx.ohem(losses, 5)
    np.testing.assert_array_equal(losses, before[0])
    np.testing.assert_array_equal(labels, before[1])
