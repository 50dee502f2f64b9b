"""Scores, mining and candidates on arrays of dask: what one call on the whole arrays returns."""

import numpy as np
import pytest

import fastxent as fx
from fastxent._catalogue import SCORES

dask = pytest.importorskip("dask")
Delayed = pytest.importorskip("dask.delayed").Delayed
da = pytest.importorskip("dask.array")
from support import lazy  # noqa: E402

import fastxent.dask as fxd  # noqa: E402

# --- scores --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("dtype", ["f2", ">f4", "i2"])
def test_scores(name, dtype):
    values = np.random.default_rng(0).random((4, 7, 5)).astype(dtype)
    result = getattr(fxd, name)(lazy.chunked(values))
    (found,) = lazy.computed(result)
    expected = getattr(fx, name)(values)
    assert result.dtype == found.dtype == expected.dtype
    assert result.shape == found.shape
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("axis", [0, 1, -1, (0, 2), None])
def test_scores_over_other_axes(axis):
    values = np.random.default_rng(0).normal(size=(4, 7, 5)).astype(np.float32)
    for name, options in (("softmax", {}), ("logsumexp", {}), ("logsumexp", {"keepdims": True})):
        result = getattr(fxd, name)(lazy.chunked(values), axis=axis, **options)
        (found,) = lazy.computed(result)
        expected = getattr(fx, name)(values, axis=axis, **options)
        assert result.shape == found.shape == expected.shape
        np.testing.assert_array_equal(found, expected)


def test_scores_are_lazy_and_check_what_they_can():
    values = lazy.untouchable((4, 5))
    assert fxd.softmax(values).numblocks == (2, 1)
    with pytest.raises(ValueError, match="axis 3 is out of range"):
        fxd.softmax(values, axis=3)
    with pytest.raises(TypeError, match="logits must be an array of dask, not list"):
        fxd.sigmoid([1.0])


# --- mining --------------------------------------------------------------------------------------


def mined():
    rng = np.random.default_rng(0)
    losses = rng.random((5, 9, 4)).astype(np.float32).round(1)
    return losses, rng.integers(-1, 3, losses.shape) * (rng.random(losses.shape) < 0.3)


@pytest.mark.parametrize("batch_ndim", [0, 1, 2])
@pytest.mark.parametrize("is_lazy", [False, True])
def test_hard_negatives(batch_ndim, is_lazy):
    losses, labels = mined()
    options = {"background_index": 0, "ignore_index": -1, "batch_ndim": batch_ndim, "ratio": 2}
    others = lazy.chunked(labels, (2, 2, 3)) if is_lazy else labels
    mask = fxd.hard_negatives(lazy.chunked(losses, 2), others, **options)
    (found,) = lazy.computed(mask)
    assert mask.dtype == found.dtype == bool
    np.testing.assert_array_equal(found, fx.hard_negatives(losses, labels, **options))


@pytest.mark.parametrize("k", [3, np.arange(5)])
def test_the_hardest_of_all(k):
    losses, _ = mined()
    (found,) = lazy.computed(fxd.ohem(lazy.chunked(losses, 2), k))
    np.testing.assert_array_equal(found, fx.ohem(losses, k))


def test_errors_of_mining():
    losses, labels = mined()
    labels[4, 8, 1] = -7
    mask = fxd.hard_negatives(lazy.chunked(losses, 2), labels, background_index=0, ignore_index=-1)
    with pytest.raises(ValueError, match=r"labels\[4, 8, 1\] = -7 is negative"):
        lazy.computed(mask)
    with pytest.raises(ValueError, match="background_index is missing"):
        fxd.hard_negatives(lazy.untouchable((5, 9)), np.zeros((5, 9), int))
    with pytest.raises(ValueError, match=r"labels has shape \(5,\), expected that of losses"):
        fxd.hard_negatives(lazy.untouchable((5, 9)), np.zeros(5, int), background_index=0)


# --- candidates ----------------------------------------------------------------------------------


def levels_of(activation, axis, seed=0):
    """Return two levels with many equal scores, some of which saturate."""
    rng = np.random.default_rng(seed)
    levels = []
    for shape in ((5, 6, 7, 9), (5, 3, 4, 9)):
        logits = np.round(rng.normal(0, 3, shape) * 2).astype(np.float32) / 2
        logits[1, 1, 2, 4], logits[1, 2, 2, 4:6] = 20, 40
        if activation == "sigmoid":
            logits[0, 0, 0, 3] = np.nan
        if activation is None:
            logits = np.clip(np.abs(logits) / 8, 0, 1)
        levels.append(np.ascontiguousarray(np.moveaxis(logits, -1, axis)))
    return levels


def assert_same(found, expected):
    for name in ("image", "anchor", "label", "score", "offsets", "found", "nan"):
        mine, other = getattr(found, name), getattr(expected, name)
        assert mine.dtype == other.dtype
        np.testing.assert_array_equal(mine, other, err_msg=name)
    assert found.level_sizes == expected.level_sizes
    np.testing.assert_array_equal(found.level, expected.level)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax", None])
@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("top_k_per", ["image", "level", "class"])
@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("top_k", [None, 7])
def test_candidates_ties_included(activation, axis, top_k_per, multi_label, top_k):
    levels = levels_of(activation, axis)
    options = {"activation": activation, "axis": axis, "top_k_per": top_k_per, "top_k": top_k}
    options |= {"multi_label": multi_label, "score_threshold": 0.2, "background_index": 2}
    # Chunks of the second level that are cut along the images in other places.
    arrays = [lazy.chunked(levels[0], (2, 5, 2, 4)), lazy.chunked(levels[1], (3, 2, 5, 5))]
    (found,) = lazy.computed(fxd.select_candidates(arrays, **options))
    assert_same(found, fx.select_candidates(levels, **options))


@pytest.mark.parametrize(("combine", "top_k"), [("product", 20), ("sqrt", 0)])
def test_objectness(combine, top_k):
    levels = levels_of("sigmoid", -1)
    objects = [np.random.default_rng(1).normal(size=x.shape[:-1]).astype("f4") for x in levels]
    arrays = list(map(lazy.chunked, levels))
    options = {"combine": combine, "top_k": top_k, "classes": [1, 5, 8]}
    result = fxd.select_candidates(
        arrays, objectness=[objects[0], lazy.chunked(objects[1], 2)], **options
    )
    expected = fx.select_candidates(levels, objectness=objects, **options)
    assert_same(*lazy.computed(result), expected)


@pytest.mark.parametrize("shape", [(4, 3, 50, 9), (0, 5, 4, 3), (2, 0, 4, 3), (300, 2, 2, 3)])
@pytest.mark.parametrize("batch_ndim", [0, 1, 2])
def test_batches(shape, batch_ndim):
    logits = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    result = fxd.select_candidates(lazy.chunked(logits, (3, 2, 20, 4)), batch_ndim=batch_ndim)
    assert_same(*lazy.computed(result), fx.select_candidates(logits, batch_ndim=batch_ndim))


def test_each_element_an_anchor():
    logits = np.random.default_rng(0).normal(size=(4, 30)).astype(np.float64)
    result = fxd.select_candidates(lazy.chunked(logits, 7), axis=None, score_threshold=None)
    assert_same(
        *lazy.computed(result), fx.select_candidates(logits, axis=None, score_threshold=None)
    )


def test_candidates_are_lazy_and_errors_name_their_place():
    arrays = [lazy.untouchable((2, 4, 5)), lazy.untouchable((2, 3, 5))]
    assert isinstance(fxd.select_candidates(arrays), Delayed)
    with pytest.raises(ValueError, match=r"logits has shape .* no axis of anchors"):
        fxd.select_candidates(lazy.untouchable((4, 5)))
    scores = np.zeros((4, 6, 5), np.float32)
    scores[3, 4, 2] = 1.5
    result = fxd.select_candidates([lazy.chunked(scores), lazy.chunked(scores)], activation=None)
    with pytest.raises(ValueError, match=r"logits\[[01]\]\[3, 4, 2\] = 1.5 is outside"):
        lazy.computed(result)
    objectness = np.zeros((4, 6), np.float32)
    objectness[2, 5] = -1
    options = {"activation": None, "objectness": objectness}
    result = fxd.select_candidates(lazy.chunked(np.zeros((4, 6, 5), np.float32)), **options)
    with pytest.raises(ValueError, match=r"objectness\[2, 5\] = -1.0 is outside"):
        lazy.computed(result)
