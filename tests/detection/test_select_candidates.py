"""``select_candidates`` against the same pairs, chosen one by one in Python."""

import dataclasses
import pickle

import hypothesis.extra.numpy as hnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.selection import check_selection, naive_selection

import fastxent as fx

SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 20.0, 30.0, 88.0, -104.0, 1.0])


def head(shape, seed=0, dtype=np.float32, special=0.05, step=0.25):
    """Return logits with ties, and some special values."""
    random = np.random.default_rng(seed)
    values = np.round(random.normal(-2, 2, shape) / step) * step
    is_special = random.random(shape) < special
    return np.where(is_special, random.choice(SPECIAL, shape), values).astype(dtype)


def scores_of(values, activation):
    if activation is None:
        return [value.astype(np.result_type(value, np.float32)) for value in values]
    with np.errstate(all="ignore"):
        if activation == "sigmoid":
            return [fx.sigmoid(value) for value in values]
        return [fx.softmax(value) for value in values]


def compare(levels, activation="sigmoid", objectness=None, **options):
    """Compare a call with the naive form; levels are (images, anchors, classes)."""
    given_objectness = objectness
    if objectness is not None and activation is not None:
        objectness = [fx.sigmoid(array) for array in objectness]
    expected = naive_selection(
        levels, scores_of(levels, activation), objectness=objectness, **options
    )
    result = fx.select_candidates(
        levels, activation=activation, objectness=given_objectness, **options
    )
    check_selection(result, expected)
    return result


OPTIONS = [
    {},
    {"top_k": 7},
    {"top_k": 0},
    {"top_k": None, "score_threshold": None},
    {"top_k": 3, "top_k_per": "level"},
    {"top_k": 2, "top_k_per": "class", "background_index": 0},
    {"background_index": -1, "multi_label": False, "score_threshold": 0.3},
    {"classes": [4, 1], "top_k": 5},
    {"classes": [4, 1], "multi_label": False},
    {"classes": []},
    {"classes": [False, True, True, False, False, True], "score_threshold": None, "top_k": 4},
    {"score_threshold": [0.0, 1.0, 0.5, 0.25, 0.05, 0.9]},
    {"score_threshold": 0.0, "top_k": None},
    {"score_threshold": 1.0},
    {"score_threshold": 0.5, "multi_label": False, "top_k_per": "class", "top_k": 1},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_options(activation, options, engine):
    levels = [head((2, 30, 6)), head((2, 1, 6), 1), head((2, 0, 6)), head((2, 9, 6), 2)]
    compare(levels, activation, **options)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("combine", ["product", "sqrt"])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_objectness(activation, combine, options, engine):
    levels = [head((2, 30, 6)), head((2, 9, 6), 2)]
    objectness = [head((2, 30), 3), head((2, 9), 4)]
    compare(levels, activation, objectness, combine=combine, **options)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("objectness", [None, "product", "sqrt"])
def test_scores(objectness, options, engine):
    random = np.random.default_rng(5)
    levels = [np.round(random.random((2, size, 6)), 1).astype("f") for size in (30, 9)]
    levels[0][0, 3:5, 2] = np.nan
    levels[0][1, 3, 2] = -0.0
    if objectness is None:
        compare(levels, None, **options)
        return
    given_scores = [np.round(random.random((2, size)), 1).astype("f") for size in (30, 9)]
    given_scores[0][1, 4] = np.nan
    compare(levels, None, given_scores, combine=objectness, **options)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax", None])
def test_dtypes(dtype, activation, engine):
    levels = [head((3, 40, 5), 7, dtype)]
    if activation is None:
        levels = [fx.sigmoid(levels[0]).astype(dtype)]
    for other in (np.float16, np.float32, np.float64):
        objectness = [head((3, 40), 8, other)]
        if activation is None:
            objectness = [fx.sigmoid(objectness[0]).astype(other)]
        result = compare(levels, activation, objectness, top_k=20)
        assert result.score.dtype == (np.float64 if dtype == np.float64 else np.float32)
    compare(levels, activation, top_k=20)


logits = hnp.arrays(
    np.float32,
    st.tuples(st.integers(0, 2), st.integers(0, 6), st.integers(1, 5)),
    elements=st.sampled_from([*SPECIAL.tolist(), -3.0, 0.5, 0.75, float(np.float32(-2.9444))]),
)
thresholds = st.sampled_from([None, 0.0, 1e-30, 0.05, 0.5, 1 - 2**-24, 1.0])


@given(
    logits,
    thresholds,
    st.sampled_from([None, 0, 1, 2, 100]),
    st.sampled_from(["image", "level", "class"]),
    st.booleans(),
    st.sampled_from([None, 0, -1]),
    st.sampled_from(["sigmoid", "softmax"]),
)
def test_ties_and_thresholds(
    values, threshold, top_k, top_k_per, multi_label, background, activation
):
    for backend in ("native", "numpy"):
        with fx.backend(backend):
            compare(
                [values, values[:, :2]],
                activation,
                score_threshold=threshold,
                top_k=top_k,
                top_k_per=top_k_per,
                multi_label=multi_label,
                background_index=background,
            )


@pytest.mark.parametrize("value", [0.0, -30.0, 40.0, -0.0])
@pytest.mark.parametrize("top_k", [3, 500])
def test_constant_logits(value, top_k, engine):
    """An untrained head: everything ties, and the first anchors and classes are taken."""
    values = np.full((2, 100, 8), value, np.float32)
    result = fx.select_candidates(values, score_threshold=0, top_k=top_k)
    order = np.tile(np.arange(top_k), 2)
    np.testing.assert_array_equal(result.anchor * 8 + result.label, order)
    np.testing.assert_array_equal(result.found, [800, 800])


def test_saturated_scores_are_in_the_order_of_their_logits(engine):
    """Above 17 all scores are 1 in float32."""
    values = np.random.default_rng(0).permutation(np.arange(20, 80)).astype("f")
    result = fx.select_candidates(values[None], axis=None, top_k=10)
    np.testing.assert_array_equal(values[result.anchor], np.arange(79, 69, -1))
    np.testing.assert_array_equal(result.score, 1)
    np.testing.assert_array_equal(result.label, 0)


def test_more_saturated_scores_than_are_kept(engine):
    """Where the best k all have the score 1, a larger logit is among them nevertheless."""
    values = np.arange(20, 6020, dtype=np.float32)
    for logits, last in ((values, 5999), (values[::-1], 0)):
        result = fx.select_candidates(logits[None], axis=None, top_k=10)
        np.testing.assert_array_equal(result.anchor, np.abs(last - np.arange(10)))
        assert result.found == 6000


# --- layouts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_layouts(activation, engine):
    """The same values, whatever their strides are."""
    values = head((2, 3, 5, 4, 6), 3, special=0)  # images, anchors a cell, height, width, classes
    if activation is None:
        values = fx.sigmoid(values)
    as_rows = values.transpose(0, 2, 3, 1, 4).reshape(2, -1, 6).copy()
    expected = fx.select_candidates(as_rows, activation=activation, top_k=50)
    channels_first = values.transpose(0, 1, 4, 2, 3).reshape(2, 18, 5, 4).copy()
    detectron = np.moveaxis(channels_first.reshape(2, 3, 6, 5, 4), 1, -1)
    assert np.shares_memory(detectron, channels_first)
    layouts = [
        (detectron, 1),
        (as_rows[:, ::-1][:, ::-1], -1),
        (np.asfortranarray(as_rows), -1),
        (as_rows.transpose(2, 1, 0).copy().transpose(2, 0, 1), 1),
        (np.repeat(as_rows, 3, axis=2)[..., ::3], 2),
        (np.repeat(as_rows, 2, axis=1)[:, 1::2], 2),
        (as_rows.astype(as_rows.dtype.newbyteorder(">")), 2),
    ]
    for array, axis in layouts:
        result = fx.select_candidates(array, activation=activation, axis=axis, top_k=50)
        for field in dataclasses.fields(result):
            if field.name != "level_sizes":
                same = getattr(result, field.name), getattr(expected, field.name)
                np.testing.assert_array_equal(*same)


def test_broadcast_images(engine):
    values = head((1, 20, 3), 3)
    result = fx.select_candidates(np.broadcast_to(values, (4, 20, 3)), top_k=5)
    one = fx.select_candidates(values, top_k=5)
    np.testing.assert_array_equal(result.anchor, np.tile(one.anchor, 4))
    np.testing.assert_array_equal(result.image, np.repeat(np.arange(4), len(one)))


@pytest.mark.parametrize("shape", [(0, 4, 3), (2, 0, 3), (0, 0, 3), (2, 3, 0, 3)])
def test_nothing_there(shape, engine):
    result = fx.select_candidates(np.zeros(shape, np.float64))
    check_selection(result, ([], [0] * shape[0], [0] * shape[0]))
    assert result.score.dtype == np.float64
    assert len(result) == 0


def test_batches_of_other_shapes(engine):
    """Two batch axes, or none."""
    values = head((2, 3, 10, 4), 9)
    expected = fx.select_candidates(values.reshape(6, 10, 4), top_k=4)
    result = fx.select_candidates(values, batch_ndim=2, top_k=4)
    np.testing.assert_array_equal(result.offsets, expected.offsets)
    np.testing.assert_array_equal(result.anchor, expected.anchor)
    one = fx.select_candidates(values[1, 2], batch_ndim=0, top_k=4)
    np.testing.assert_array_equal(one.anchor, expected.per_image(5).anchor)
    np.testing.assert_array_equal(one.offsets, [0, len(one)])
    cells = fx.select_candidates(values.reshape(6, 2, 5, 4), top_k=4)
    np.testing.assert_array_equal(cells.anchor, expected.anchor)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_threads(threads, engine):
    levels = [head((2, 3000, 7), 1), head((2, 100, 7), 2)]
    for options in ({"top_k": 50}, {"top_k_per": "class", "top_k": 9}, {"multi_label": False}):
        expected = fx.select_candidates(levels, num_threads=1, **options)
        result = fx.select_candidates(levels, num_threads=threads, **options)
        for field in ("image", "anchor", "label", "score", "offsets", "found", "nan"):
            np.testing.assert_array_equal(getattr(result, field), getattr(expected, field))


# --- the result ----------------------------------------------------------------------------------


def test_levels_and_indices():
    levels = [head((2, size, 4), size) for size in (0, 12, 0, 5, 1, 0)]
    result = fx.select_candidates(levels, score_threshold=0.01)
    assert result.level_sizes == (0, 12, 0, 5, 1, 0)
    assert set(result.level) == {1, 3, 4}
    where = zip(result.image, result.level, result.index, result.label, strict=True)
    scores = [fx.sigmoid(levels[level][image, index, c]) for image, level, index, c in where]
    np.testing.assert_array_equal(result.score, scores)


def test_per_image():
    result = fx.select_candidates(head((3, 20, 4)), top_k=6)
    np.testing.assert_array_equal(result.counts, [6, 6, 6])
    for number in range(3):
        one = result.per_image(number)
        assert type(one) is fx.Candidates
        assert len(one) == 6
        np.testing.assert_array_equal(one.image, [number] * 6)
        np.testing.assert_array_equal(one.score, result.score[6 * number : 6 * number + 6])
        np.testing.assert_array_equal(one.offsets, [0, 6])
        np.testing.assert_array_equal(one.found, result.found[number : number + 1])
        np.testing.assert_array_equal(one.nan, result.nan[number : number + 1])
        np.testing.assert_array_equal(result.per_image(number - 3).anchor, one.anchor)
    for number in (3, -4):
        with pytest.raises(IndexError, match=f"^i = {number} is out of range for 3 images$"):
            result.per_image(number)


def test_candidates_are_frozen_and_picklable():
    result = fx.select_candidates(head((2, 20, 4)), top_k=6)
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.score = None
    assert not hasattr(result, "__dict__")
    assert result == result  # noqa: PLR0124 - by identity, for arrays have no truth value
    copy = pickle.loads(pickle.dumps(result))
    assert copy != result
    for field in dataclasses.fields(result):
        np.testing.assert_array_equal(getattr(copy, field.name), getattr(result, field.name))
    assert copy.score.dtype == result.score.dtype
