"""Arguments of ``hard_negatives`` and ``ohem`` that are refused."""

import numpy as np
import pytest

import fastxent as fx
from fastxent import native

INF, NAN = np.inf, np.nan
LOSSES = np.zeros((2, 3), np.float32)
CLASSES = np.array([[0, 1, 0], [0, 0, 2]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, 'background_index is missing: class labels need the one that means "no class"'),
        (
            {"labels": CLASSES > 0, "background_index": 0},
            "background_index is for class labels, but",
        ),
        ({"labels": CLASSES > 0, "ignore_index": 1}, "ignore_index = 1 cannot mark missing labels"),
        ({"labels": CLASSES[0]}, r"labels has shape \(3,\), expected that of losses, \(2, 3\)"),
        ({"background_index": 0, "ratio": -1}, "ratio = -1.0 is negative or NaN"),
        ({"background_index": 0, "ratio": NAN}, "ratio = nan is negative or NaN"),
        ({"background_index": 0, "min_negatives": -1}, "min_negatives = -1 is negative"),
        ({"background_index": 0, "batch_ndim": -1}, "batch_ndim = -1 is negative"),
        (
            {"background_index": 0, "batch_ndim": 2},
            (
                r"losses has shape \(2, 3\), of which batch_ndim=2 leaves no axis for the anchors: "
                "pass batch_ndim=1"
            ),
        ),
        (
            {"losses": LOSSES[0], "labels": CLASSES[0], "background_index": 0},
            (
                r"losses has shape \(3,\), of which batch_ndim=1 leaves no axis for the anchors: "
                "pass batch_ndim=0"
            ),
        ),
        (
            {"labels": CLASSES - 1, "background_index": 0},
            (
                r"labels\[0, 0\] = -1 is negative, and neither the background_index \(0\) nor an "
                r"ignore_index \(-100\)"
            ),
        ),
        (
            {"labels": np.array([[-1, 5, -9], [-1, -2, -3]]), "background_index": -1},
            r"labels\[0, 2\] = -9 is negative, and neither the background_index \(-1\)",
        ),
        (
            {"labels": np.array([[-1, 5, -9], [-1, -2, -3]]), "background_index": -1}
            | {"ignore_index": (-9, -3)},
            r"labels\[1, 1\] = -2 is negative, .* nor an ignore_index \(-9, -3\)",
        ),
    ],
)
def test_errors(options, message, engine):
    with pytest.raises(ValueError, match=f"^{message}"):
        fx.hard_negatives(**{"losses": LOSSES, "labels": CLASSES, **options})


def test_nothing_is_mined_before_an_error(monkeypatch):
    monkeypatch.setattr(native, "mark_largest", None)
    for labels in (np.array([[0, 0, 0], [0, 0, -1]]), CLASSES[:1], CLASSES.astype(float)):
        with pytest.raises((TypeError, ValueError), match=r"^labels"):
            fx.hard_negatives(LOSSES, labels, background_index=0, backend="native")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": -1}, "k = -1 is negative"),
        ({"k": np.array(-1)}, "k = -1 is negative"),
        ({"k": [1, -2]}, r"k\[1\] = -2 is negative"),
        ({"k": [1, 2, 3]}, r"k has shape \(3,\), expected an integer or .* images, \(2,\)"),
        ({"k": [1], "batch_ndim": 0}, r"k has shape \(1,\), expected an integer$"),
        ({"losses": np.float32(3)}, r"losses has shape \(\): expected one loss for each anchor"),
        ({"losses": LOSSES[0]}, r"losses has shape \(3,\), .*: pass batch_ndim=0"),
    ],
)
def test_errors_of_ohem(options, message, engine):
    with pytest.raises(ValueError, match=f"^{message}"):
        fx.ohem(**{"losses": LOSSES, "k": 1, **options})


@pytest.mark.parametrize("k", [1.5, True, "1", None, [1.0, 2.0], [True, False]])
def test_numbers_are_integers(k):
    with pytest.raises(TypeError, match=r"^k "):
        fx.ohem(LOSSES, k)


@pytest.mark.parametrize("labels", [CLASSES.astype(float), CLASSES.astype(np.float16)])
def test_labels_are_integers(labels):
    with pytest.raises(TypeError, match=r"^labels has dtype float"):
        fx.hard_negatives(LOSSES, labels, background_index=0)


def test_losses_are_floats():
    with pytest.raises(TypeError, match=r"^losses has dtype int64"):
        fx.hard_negatives(CLASSES, CLASSES, background_index=0)
