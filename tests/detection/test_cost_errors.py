"""Arguments of ``class_cost`` that are refused."""

import numpy as np
import pytest

import fastxent as fx
from fastxent import native

INF, NAN = np.inf, np.nan
LOGITS = np.zeros((2, 3, 4), np.float32)
OBJECTNESS = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": [[0, 4], [1]]}, r"labels\[0\]\[1\] = 4 is not a class label: expected 0\.\.3$"),
        ({"labels": [[0], [], [1]]}, "labels has 3 sequences, but logits has 2 images$"),
        ({"labels": [[0], [1, 2, -1]]}, r"labels\[1\]\[2\] = -1 is not a class label"),
        (
            {"labels": [[], np.uint64([2**64 - 1])]},
            r"labels\[1\]\[0\] = 18446744073709551615 is not",
        ),
        ({"labels": [0, 1]}, r"labels\[0\] has shape \(\), expected one axis; batch_ndim=0 is for"),
        ({"labels": [[[0]], [[1]]]}, r"labels\[0\] has shape \(1, 1\), expected one axis$"),
        ({"labels": np.array([[0, 1], [2, 9]])}, r"labels\[1, 1\] = 9 is not a class label"),
        (
            {"labels": np.array([0, 1])},
            r"labels has shape \(2,\), expected \(2, T\), or a list of one sequence for each image",
        ),
        ({"labels": np.zeros((3, 1), int)}, r"labels has shape \(3, 1\), expected \(2, T\)"),
        ({"kind": "giou"}, "kind = 'giou' is not one of 'focal', 'softmax', 'sigmoid', 'simota'"),
        ({"kind": "simota"}, "objectness is missing: kind='simota' needs its logits"),
        ({"objectness": OBJECTNESS}, "objectness is for kind='simota', not for 'focal'"),
        (
            {"kind": "simota", "objectness": OBJECTNESS[0]},
            r"objectness has shape \(3,\), expected \(2, 3\), that of logits without the class",
        ),
        ({"kind": "softmax", "alpha": 0.5}, "alpha is for kind='focal', not for 'softmax'"),
        ({"kind": "sigmoid", "alpha": None}, "alpha is for kind='focal', not for 'sigmoid'"),
        ({"kind": "sigmoid", "gamma": 1}, "gamma is for kind='focal', not for 'sigmoid'"),
        ({"alpha": 1.5}, r"alpha = 1.5 is outside \[0, 1\]"),
        ({"alpha": NAN}, r"alpha = nan is outside \[0, 1\]"),
        ({"gamma": -1}, "gamma = -1.0 is negative or not finite"),
        ({"gamma": INF}, "gamma = inf is negative or not finite"),
        ({"axis": 3}, "axis 3 is out of range for logits with 3 dimensions"),
        ({"axis": 0}, "axis 0 of logits with batch_ndim=1 is one of images, not of classes"),
        ({"batch_ndim": -1}, "batch_ndim = -1 is negative"),
        (
            {"logits": LOGITS[0]},
            (
                r"logits has shape \(3, 4\), of which batch_ndim=1 leaves no axis for the queries: "
                r"pass batch_ndim=0 for a single image, or logits\[None\]$"
            ),
        ),
        (
            {"batch_ndim": 2},
            r"logits has shape \(2, 3, 4\), of which batch_ndim=2 leaves .*: pass batch_ndim=1$",
        ),
        (
            {"logits": LOGITS[0, 0], "batch_ndim": 0},
            r"logits has shape \(4,\), of which batch_ndim=0 leaves .*: expected \(images, queries",
        ),
        ({"logits": LOGITS[..., :0]}, r"logits has shape \(2, 3, 0\): no classes on axis 2"),
    ],
)
def test_errors(options, message, engine):
    with pytest.raises(ValueError, match=f"^{message}"):
        fx.class_cost(**{"logits": LOGITS, "labels": [[0], [1]], **options})


def test_nothing_is_computed_before_an_error(monkeypatch):
    monkeypatch.setattr(native, "evaluate_cost", None)
    for labels in ([[0, 1], [2, 4]], np.array([[0], [-1]]), [[0], [1.5]]):
        with pytest.raises((TypeError, ValueError), match=r"^labels\[?.* class labels? ?"):
            fx.class_cost(LOGITS, labels, backend="native")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[0.0], [1]], r"labels\[0\] has dtype float64, but class labels are integers"),
        ([[1], [True]], r"labels\[1\] has dtype bool, but class labels are integers"),
        (np.zeros((2, 1)), "labels has dtype float64, but class labels are integers"),
        ([[0], None], r"labels\[1\] has dtype object"),
    ],
)
def test_labels_are_integers(labels, message, engine):
    with pytest.raises(TypeError, match=f"^{message}"):
        fx.class_cost(LOGITS, labels)
