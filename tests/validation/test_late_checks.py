"""Dense targets that native kernels check as they read them are refused as if checked first."""

import numpy as np
import pytest

import fastxent as fx

ANCHORS, CLASSES = 5000, 30  # several blocks of logits
LOSSES = [fx.sigmoid_cross_entropy, fx.sigmoid_focal_loss, fx.softmax_cross_entropy]
RNG = np.random.default_rng(3)


def dense_targets(layout, dtype):
    """Return targets (ANCHORS, CLASSES) in memory of some order, with room around them."""
    if layout == "rows":
        return np.zeros((ANCHORS, CLASSES), dtype)
    if layout == "padded rows":
        return np.full((ANCHORS, CLASSES + 3), 7, dtype)[:, :CLASSES]
    if layout == "class axis first":
        return np.zeros((CLASSES, ANCHORS), dtype).T
    if layout == "every other class":
        return np.full((ANCHORS, 2 * CLASSES), 7, dtype)[:, ::2]
    assert layout == "backwards"
    return np.zeros((ANCHORS, CLASSES), dtype)[::-1, ::-1]


LAYOUTS = ["rows", "padded rows", "class axis first", "every other class", "backwards"]
PLACES = [(0, 0), (ANCHORS - 1, CLASSES - 1), (2184, 7), (3001, CLASSES - 1)]


def refused(function, targets, place, value, **options):
    """Check that a call refuses the target at a place, and no other one before it."""
    targets[...] = 0
    targets[place] = value
    targets[place[0] + 1 :, 0] = 3  # invalid, too, but later
    logits = RNG.normal(size=targets.shape).astype(np.float32)
    with pytest.raises(ValueError, match=r"is outside \[0, 1\]") as error:
        function(logits, targets, **options)
    assert str(error.value).startswith(f"targets[{place[0]}, {place[1]}] = ")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("function", LOSSES)
def test_layouts(function, layout, place):
    for dtype, value in [(np.float32, np.nan), (np.float64, -1e-9), (np.int8, 2)]:
        refused(function, dense_targets(layout, dtype), place, value)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("reduction", ["anchor", "none", "sum", "mean"])
@pytest.mark.parametrize("return_grad", [False, True])
def test_reductions(reduction, return_grad, threads):
    options = {"reduction": reduction, "return_grad": return_grad, "num_threads": threads}
    for normalizer in ["valid", "positive"] if reduction == "mean" else ["valid"]:
        targets = dense_targets("rows", np.float32)
        refused(LOSSES[0], targets, PLACES[2], 1.5, normalizer=normalizer, **options)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("reduction", ["anchor", "none"])
@pytest.mark.parametrize("names", [["out"], ["out", "grad_out"], ["grad_out"]])
def test_nothing_is_written(names, reduction, layout):
    shape = (ANCHORS, CLASSES)
    arrays = {
        "out": np.full(shape if reduction == "none" else ANCHORS, 7, np.float32),
        "grad_out": np.full(shape, 7, np.float32),
    }
    options = {name: arrays[name] for name in names}
    options |= {"return_grad": "grad_out" in names, "reduction": reduction}
    refused(LOSSES[0], dense_targets(layout, np.float32), PLACES[3], 1.5, **options)
    for array in arrays.values():
        assert (array == 7).all()


def test_nothing_to_average_over_is_checked_all_the_same():
    """No target is above 0, so the mean would be `empty` without a look at any loss."""
    targets = np.zeros((ANCHORS, CLASSES), np.float32)
    targets[-1, -1] = -2
    options = {"reduction": "mean", "normalizer": "positive", "return_grad": True}
    with pytest.raises(ValueError, match=r"targets\[4999, 29\] = -2.0 is outside"):
        fx.sigmoid_cross_entropy(np.zeros_like(targets), targets, **options)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_out_is_filled_and_returned(layout):
    targets = dense_targets(layout, np.float32)
    targets[...] = RNG.random(targets.shape)
    logits = RNG.normal(size=targets.shape).astype(np.float32)
    out = np.empty(2 * ANCHORS, np.float32)[::2]
    assert fx.sigmoid_cross_entropy(logits, targets, out=out) is out
    terms = np.logaddexp(0, logits.astype(float)) - logits * targets.astype(float)
    np.testing.assert_allclose(out, terms.sum(axis=1), rtol=1e-6)
