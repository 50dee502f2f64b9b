"""Errors about an element carry its position: part of an array, and a place in the whole."""

import pickle

import numpy as np
import pytest

import fastxent as fx
from fastxent._arguments import ElementError

LOGITS = np.zeros((4, 5, 3), np.float32)
LABELS = np.zeros((4, 5), np.int64)
WHERE = (2, 3)


def with_value(array, position, value):
    changed = array.copy()
    changed[position] = value
    return changed


CASES = {
    "labels": (
        "targets",
        WHERE,
        "= 9 is not a class label: expected 0..2, or an ignore_index (-100)",
        lambda: fx.softmax_cross_entropy(LOGITS, with_value(LABELS, WHERE, 9)),
    ),
    "labels of axis 1": (
        "labels",
        WHERE,
        '= 9 is not a class label: expected 0..2, 3 for "no class", or an ignore_index (-100)',
        lambda: fx.quality_focal_loss(
            np.moveaxis(LOGITS, -1, 1), with_value(LABELS, WHERE, 9), np.ones((4, 5)), axis=1
        ),
    ),
    "scores": (
        "scores",
        WHERE,
        "= 1.5 is outside [0, 1]",
        lambda: fx.quality_focal_loss(LOGITS, LABELS, with_value(np.ones((4, 5)), WHERE, 1.5)),
    ),
    "dense": (
        "targets",
        (2, 3, 1),
        "= nan is outside [0, 1]",
        lambda: fx.sigmoid_cross_entropy(LOGITS, with_value(LOGITS, (2, 3, 1), np.nan)),
    ),
    "dense, class axis in the middle": (
        "targets",
        (2, 3, 1),
        "= 2.0 is outside [0, 1]",
        lambda: fx.softmax_cross_entropy(LOGITS, with_value(LOGITS, (2, 3, 1), 2), axis=-2),
    ),
    "dense, single class": (
        "targets",
        (2, 3, 1),
        "= 2.0 is outside [0, 1]",
        lambda: fx.varifocal_loss(LOGITS, with_value(LOGITS, (2, 3, 1), 2), axis=None),
    ),
    "positions": (
        "targets",
        WHERE,
        "= 2.5 is outside [0, 2], or an ignore_index (-100)",
        lambda: fx.distribution_focal_loss(LOGITS, with_value(np.zeros((4, 5)), WHERE, 2.5)),
    ),
    "no dimensions": (
        "targets",
        (),
        "= 9 is not a class label: expected 0..1, or an ignore_index (-100)",
        lambda: fx.softmax_cross_entropy([0.0, 1.0], 9),
    ),
    "what is no score of a candidate": (
        "logits",
        (2, 3, 1),
        (
            "= 2.0 is outside [0, 1], and activation=None is for scores; logits take "
            "activation='sigmoid' or 'softmax'"
        ),
        lambda: fx.select_candidates(with_value(LOGITS * 0, (2, 3, 1), 2), activation=None),
    ),
    "recommended for labels": (
        "targets",
        WHERE,
        '= 9 is not a class label: expected 0..2, 3 for "no class", or -100 for ignored',
        lambda: fx.recommend_loss(with_value(LABELS, WHERE, 9), 3),
    ),
    "recommended for dense targets": (
        "targets",
        (2, 3, 1),
        "= 2.0 is outside [0, 1]",
        lambda: fx.recommend_loss(with_value(LOGITS, (2, 3, 1), 2)),
    ),
}


@pytest.mark.parametrize(("argument", "position", "problem", "call"), CASES.values(), ids=CASES)
def test_position_is_an_attribute(argument, position, problem, call):
    with pytest.raises(ValueError, match="=") as caught:
        call()
    error = caught.value
    assert isinstance(error, ElementError)
    assert (error.argument, error.position, error.problem) == (argument, position, problem)
    place = f"{argument}{list(position)}" if position else argument
    assert str(error) == error.args[0] == f"{place} {problem}"


def test_late_checks_have_it_too():
    targets = with_value(np.zeros((3000, 40), np.float32), (2999, 7), -1)
    with pytest.raises(ElementError) as caught:
        fx.sigmoid_cross_entropy(np.zeros((3000, 40), np.float32), targets, reduction="sum")
    assert caught.value.position == (2999, 7)


def test_shifted_error_names_the_place_in_the_whole():
    error = ElementError("targets", (1, 2), "= 9 is wrong").shifted((10, 200))
    assert str(error) == "targets[11, 202] = 9 is wrong"
    assert str(ElementError("targets", (), "= 9 is wrong").shifted(())) == "targets = 9 is wrong"


def test_error_passes_between_processes():
    error = pickle.loads(pickle.dumps(ElementError("scores", (4,), "= 2.0 is wrong")))
    assert (str(error), error.position) == ("scores[4] = 2.0 is wrong", (4,))
