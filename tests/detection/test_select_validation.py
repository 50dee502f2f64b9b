"""What ``select_candidates`` refuses, and in which words."""

import re

import numpy as np
import pytest

import fastxent as fx

HEAD = np.zeros((2, 4, 3), np.float32)

REFUSED = [
    # Shapes
    ({"logits": HEAD[0]}, "logits has shape (4, 3), and no axis of anchors"),
    ({"logits": HEAD[0]}, "if it is one image: batch_ndim=0, or logits[None]"),
    ({"logits": HEAD[0, 0], "batch_ndim": 0}, "one anchor of an image: logits[None]"),
    ({"logits": HEAD[0, 0], "axis": None}, "batch_ndim=0, or logits[None]"),
    ({"logits": np.float32(1), "batch_ndim": 0, "axis": None}, "logits has shape ()"),
    ({"axis": 0}, "axis 0 of logits, with shape (2, 4, 3), is one of the first batch_ndim = 1"),
    ({"axis": -2, "batch_ndim": 2}, "axis -2 of logits"),
    ({"axis": 3}, "axis 3 is out of range for logits with 3 dimensions"),
    ({"batch_ndim": 4}, "batch_ndim = 4 is out of range for logits with 3 dimensions"),
    ({"batch_ndim": -1}, "batch_ndim = -1 is out of range"),
    ({"logits": np.zeros((2, 4, 0))}, "logits has shape (2, 4, 0): no classes on axis -1"),
    ({"logits": np.broadcast_to(np.float32(0), (1, 1, 2**24 + 1))}, "more than 16,777,216 classes"),
    ({"logits": []}, "logits is an empty list: it has no levels"),
    ({"logits": ()}, "logits is an empty tuple: it has no levels"),
    ({"logits": [HEAD, HEAD[:1]]}, "logits[1] has images of shape (1,), but logits[0] of (2,)"),
    ({"logits": [HEAD, HEAD[..., :2]]}, "logits[1] has 2 classes, but logits[0] has 3"),
    ({"logits": [HEAD, HEAD[0]]}, "logits[1] has shape (4, 3), and no axis of anchors"),
    # Options
    ({"activation": "relu"}, "activation = 'relu' is not one of 'sigmoid', 'softmax' or None"),
    ({"top_k_per": "anchor"}, "top_k_per = 'anchor' is not one of 'image', 'level', 'class'"),
    ({"combine": "mean", "objectness": HEAD[..., 0]}, "combine = 'mean' is not one of"),
    ({"combine": "sqrt"}, "combine = 'sqrt' is for scores with objectness"),
    ({"activation": "softmax", "axis": None}, "a softmax needs classes"),
    ({"top_k": -1}, "top_k = -1 is negative"),
    ({"background_index": 3}, "background_index = 3 is not a class of the 3"),
    ({"background_index": -4}, "background_index = -4 is not a class of the 3"),
    # Thresholds
    ({"score_threshold": -0.1}, "score_threshold = -0.1 is outside [0, 1]"),
    ({"score_threshold": 1.5}, "score_threshold = 1.5 is outside [0, 1]"),
    ({"score_threshold": np.nan}, "score_threshold = nan is outside [0, 1]"),
    ({"score_threshold": np.array(2)}, "score_threshold = 2.0 is outside [0, 1]"),
    ({"score_threshold": [0.1, 0.2]}, "score_threshold has shape (2,), expected a number or (3,)"),
    ({"score_threshold": [0.1, np.nan, 2]}, "score_threshold[1] = nan is outside [0, 1]"),
    ({"score_threshold": [9, 0, 2], "background_index": 0}, "score_threshold[2] = 2 is outside"),
    # Classes
    ({"classes": [0, 3]}, "classes[1] = 3 is not in 0..2"),
    ({"classes": [-1]}, "classes[0] = -1 is not in 0..2"),
    ({"classes": [2, 0, 2]}, "classes[2] = 2 is there twice"),
    ({"classes": [True, False]}, "classes has shape (2,), expected a bool mask (3,)"),
    ({"classes": [[0]]}, "classes has shape (1, 1), expected class numbers"),
    ({"classes": 1}, "classes has shape (), expected class numbers"),
    # Objectness
    ({"objectness": HEAD}, "objectness has shape (2, 4, 3), expected (2, 4)"),
    ({"objectness": [HEAD[..., 0]]}, "objectness is a list of 1 level, but logits is one array"),
    (
        {"logits": [HEAD, HEAD], "objectness": [HEAD[..., 0]]},
        "objectness is a list of 1 level, but logits is a list of 2 levels",
    ),
    ({"logits": [HEAD], "objectness": HEAD[..., 0]}, "objectness is one array, but logits is a"),
    (
        {"logits": [HEAD, HEAD], "objectness": [HEAD[..., 0], HEAD]},
        "objectness[1] has shape (2, 4, 3), expected (2, 4)",
    ),
]
WRONG_TYPES = [
    ({"logits": HEAD.astype(int)}, "logits has dtype int64, expected float16"),
    ({"logits": [HEAD, HEAD.astype("d")]}, "logits[1] has dtype float64, but logits[0] float32"),
    ({"logits": [HEAD, HEAD.astype(int)]}, "logits[1] has dtype int64"),
    ({"logits": [[1.0, 2.0]]}, "logits[0] is [1.0, 2.0]: the elements of a list are levels"),
    ({"logits": [1.0, 2.0]}, "logits[0] is 1.0: the elements of a list are levels"),
    ({"logits": [HEAD, np.ma.zeros((2, 4, 3))]}, "logits[1] is a masked array"),
    ({"classes": [0.0, 1.0]}, "classes has dtype float64, expected integers or bool"),
    ({"score_threshold": True}, "score_threshold must be a number, not True"),
    ({"score_threshold": [True] * 3}, "score_threshold has dtype bool, expected numbers"),
    ({"top_k": 2.0}, "top_k must be an integer or None, not 2.0"),
    ({"multi_label": 1}, "multi_label must be True or False, not 1"),
    ({"objectness": HEAD[..., 0].astype(int)}, "objectness has dtype int64"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=str)
def test_values(arguments, message, backend):
    with pytest.raises(ValueError, match=re.escape(message)):
        fx.select_candidates(**{"logits": HEAD, **arguments})


@pytest.mark.parametrize(("arguments", "message"), WRONG_TYPES, ids=str)
def test_types(arguments, message, backend):
    with pytest.raises(TypeError, match=re.escape(message)):
        fx.select_candidates(**{"logits": HEAD, **arguments})


def test_the_threshold_of_the_background_does_not_matter(engine):
    for anything in (np.nan, -3, 7):
        thresholds = [0.4, anything, 0.6]
        result = fx.select_candidates(HEAD, score_threshold=thresholds, background_index=1)
        assert set(result.label) == {0}


# --- scores outside [0, 1] -----------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [-0.1, 1.1, np.inf, -np.inf, -1e-5, 1 + 1e-5])
def test_no_scores(wrong, engine):
    """The first in C order of the array that the user has."""
    scores = np.full((2, 5, 300, 3), 0.5, np.float32)
    scores[1, 2, 7, 0] = scores[1, 1, 299, 2] = scores[1, 1, 299, 1] = wrong
    for options in ({}, {"top_k": 0}, {"classes": []}, {"multi_label": False}):
        with pytest.raises(ValueError, match=r"^logits\[1, 1, 299, 1\] = .* is outside \[0, 1\]"):
            fx.select_candidates(scores, activation=None, **options)
        swapped = np.moveaxis(scores, -1, 1)
        with pytest.raises(ValueError, match=r"^logits\[1, 0, 2, 7\] = "):
            fx.select_candidates(swapped, activation=None, axis=1, **options)
        with pytest.raises(ValueError, match=r"^logits\[1\]\[1, 1, 299, 1\] = "):
            fx.select_candidates([scores[:, :0], scores], activation=None, **options)
    with pytest.raises(ValueError, match=r"^logits\[1, 1, 299, 1\] = "):
        fx.select_candidates(scores, activation=None, axis=None, batch_ndim=3)
    fx.select_candidates(scores)  # as logits


def test_scores_that_do_not_matter(engine):
    """The background's, and those of anchors that objectness rules out; NaN is none of both."""
    scores = np.full((1, 4, 3), 0.5, np.float32)
    scores[0, 1, 2] = 3
    scores[0, 2, 0] = np.nan
    result = fx.select_candidates(scores, activation=None, background_index=2)
    assert len(result) == 7
    assert result.nan == 1
    objectness = np.float32([[0.9, 0.01, 0.9, 0.9]])
    result = fx.select_candidates(scores, activation=None, objectness=objectness)
    np.testing.assert_array_equal(np.unique(result.anchor), [0, 2, 3])
    objectness[0, 1] = 0.9
    with pytest.raises(ValueError, match=r"^logits\[0, 1, 2\] = 3\.0 is outside"):
        fx.select_candidates(scores, activation=None, objectness=objectness)


@pytest.mark.parametrize("wrong", [-0.1, 1.1])
def test_no_objectness(wrong, engine):
    scores = np.full((1, 4, 3), 0.5, np.float32)
    objectness = np.float64([[0.5, np.nan, wrong, wrong]])
    with pytest.raises(ValueError, match=rf"^objectness\[0, 2\] = {wrong} is outside \[0, 1\]"):
        fx.select_candidates(scores, activation=None, objectness=objectness)


@pytest.mark.parametrize(
    ("dtype", "margin"), [("e", 1e-3), ("bfloat16", 1e-2), ("f", 1e-6), ("d", 1e-6)]
)
def test_rounding_is_no_error(dtype, margin, engine):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    dtype = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    for value in (-0.9 * margin, 1 + 0.9 * margin):
        scores = np.full((1, 2, 1), value, dtype)
        assert len(fx.select_candidates(scores, activation=None)) == 2 * (value > 0)
    for value in (-1.5 * margin, 1 + 2.5 * margin):
        scores = np.full((1, 2, 1), value, dtype)
        with pytest.raises(ValueError, match=r"^logits\[0, 0, 0\] = "):
            fx.select_candidates(scores, activation=None)
