"""Zero anchors: labels of which nothing says that they are integers, as in `[]`."""

import ml_dtypes
import numpy as np
import pytest
from support.family import LOSSES, PER_CLASS, PROBABILITY_LOSSES, public

import fastxent as fx

NO_LABELS = [
    [],
    (),
    np.array([]),
    *(np.array([], dtype) for dtype in ("f2", "f4", "?", "u1", "i8", "U3", "O", "M8[s]", "c8")),
    np.array([], ml_dtypes.bfloat16),
    np.array([], "f4,i4"),
]
no_labels = pytest.mark.parametrize("labels", NO_LABELS, ids=lambda a: str(np.asarray(a).dtype))
all_losses = pytest.mark.parametrize("name", LOSSES)


def arguments_of(name, labels, **shapes):
    """Return the positional arguments of a loss of zero anchors."""
    values = np.zeros((0, 80), np.float32)
    return (values, labels, []) if name == "quality_focal_loss" else (values, labels)


@no_labels
@all_losses
def test_labels_of_zero_anchors(name, labels, backend):
    arguments = arguments_of(name, labels)
    result, grad = public(name)(*arguments, weight=[], grad_output=[], return_grad=True)
    assert (result.shape, result.dtype) == ((0,), np.float32)
    assert (grad.shape, grad.dtype) == ((0, 80), np.float32)
    assert public(name)(*arguments).shape == (0,)
    assert public(name)(*arguments, reduction="sum") == 0
    assert public(name)(*arguments, reduction="mean", empty=7) == 7
    assert public(name)(*arguments, ignore_index=(255, -1)).shape == (0,)


@no_labels
@pytest.mark.parametrize("name", PER_CLASS)
def test_options_of_labels(name, labels, backend):
    arguments = arguments_of(name, labels)
    assert public(name)(*arguments, background_index=0).shape == (0,)
    single = (np.zeros(0), *arguments[1:])
    options = {"axis": None, "ignore_index": 255, "background_index": 0}
    assert public(name)(*single, **options).shape == (0,)


@no_labels
@all_losses
def test_other_shapes_are_errors(name, labels):
    """They must be those of the labels, and other arguments remain what they are."""
    target = "labels" if name == "quality_focal_loss" else "targets"
    scores = [np.zeros(3)] if name == "quality_focal_loss" else []
    with pytest.raises(ValueError, match=rf"^{target} has shape \(0,\), expected \(3,\)"):
        public(name)(np.zeros((3, 80)), labels, *scores)
    shape = np.zeros((0, 4, 80)), np.reshape(labels, (0, 4))
    scores = [np.zeros((0, 4))] if scores else []
    assert public(name)(*shape, *scores).shape == (0, 4)
    with pytest.raises(ValueError, match=rf"^{target} has shape \(0,\), expected \(0, 4\)"):
        public(name)(shape[0], labels, *scores)
    values = "probs" if name in PROBABILITY_LOSSES else "logits"
    if np.asarray(labels).dtype.kind in "?uiUOMc":
        with pytest.raises(TypeError, match=f"^{values} has dtype "):
            public(name)(np.asarray(labels).reshape(0, 3), [], *([[]] if scores else []))


def test_labels_of_some_anchors_are_integers():
    for labels in (np.zeros(1), [False], np.array([None])):
        with pytest.raises(TypeError, match=r"^targets has dtype "):
            fx.softmax_cross_entropy(np.zeros((1, 3)), labels)


@no_labels
def test_recommend_loss(labels):
    for classes in (None, 3):
        with pytest.raises(ValueError, match=r"^targets has shape \(0,\): there is nothing"):
            fx.recommend_loss(labels, classes)


@no_labels
def test_custom_losses(labels):
    pytest.importorskip("numba")
    loss = fx.custom_loss(lambda logit, target: (logit - target) ** 2)
    assert loss(np.zeros((0, 80), np.float32), labels).shape == (0,)
