"""Logits in place of probabilities are refused, and not clipped; rounding errors are accepted."""

import re
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from support.family import PROBABILITY_LOSSES, public

import fastxent as fx

NAN, INF = np.nan, np.inf
TOLERANCES = {
    np.dtype(np.float16): "1e-3",
    np.dtype(ml_dtypes.bfloat16): "1e-2",
    np.dtype(np.float32): "1e-6",
    np.dtype(np.float64): "1e-6",
}

every_loss = pytest.mark.parametrize("name", PROBABILITY_LOSSES)
every_dtype = pytest.mark.parametrize("dtype", TOLERANCES, ids=str)


def wrong_values(name):
    """Return numbers that no rounding makes of probabilities."""
    return (-4.0, -INF, 3.0, INF) if name == "binary_cross_entropy" else (-4.0, -INF)


def message(name, position, value):
    if name == "binary_cross_entropy":
        return f"probs{position} = {value!s} is outside [0, 1] (sigmoid_cross_entropy takes logits)"
    return f"probs{position} = {value!s} is negative (softmax_cross_entropy takes logits)"


def refused(name, position, value):
    return pytest.raises(ValueError, match=f"^{re.escape(message(name, position, value))}$")


def test_logits(engine):
    """What people train with for days."""
    logits = np.float32([[3.2, -4.1], [-0.7, 0.3]])
    with refused("binary_cross_entropy", [0, 0], 3.2):
        fx.binary_cross_entropy(logits, [0, 1])
    with refused("categorical_cross_entropy", [0, 1], -4.1):
        fx.categorical_cross_entropy(logits, [0, 1])
    with refused("binary_cross_entropy", [1], -4.1):
        fx.binary_cross_entropy([0.5, -4.1, 7], [0, 1, 1], axis=None)
    with refused("binary_cross_entropy", "", 3.2):
        fx.binary_cross_entropy(3.2, 1, axis=None)


@every_dtype
@every_loss
def test_tolerance(name, dtype, engine):
    """The last number that is accepted and the first one that is not, on either side."""
    tolerance = Fraction(TOLERANCES[dtype])
    edges = [-tolerance] if name == "categorical_cross_entropy" else [-tolerance, 1 + tolerance]
    for edge in edges:
        nearest = dtype.type(float(edge))
        around = [np.nextafter(nearest, dtype.type(side)) for side in (-1, 2)]
        for value in (*around, nearest):
            probs = np.array([[value, 0.5]], dtype)
            if -tolerance < Fraction(float(value)) < 1 + tolerance:
                loss = public(name)(probs, [0])
                expected = -np.log(1 - 1e-7) if value > 0 else -np.log(1e-7)
                if name == "binary_cross_entropy":
                    expected = (expected + np.log(2)) / 2
                np.testing.assert_allclose(loss, [expected], rtol=1e-6)
            else:
                with refused(name, [0, 0], probs[0, 0]):
                    public(name)(probs, [0])


@every_dtype
def test_other_sums_than_one_are_not_refused(dtype, engine):
    loss = fx.categorical_cross_entropy(np.array([[3, 1], [INF, 1], [NAN, 1]], dtype), [1, 0, 1])
    np.testing.assert_allclose(loss, [np.log(4), NAN, NAN], rtol=1e-6)


def laid_out(probs, layout):
    """Return an equal array in memory of some order."""
    if layout == "fortran":
        return np.asfortranarray(probs)
    if layout == "backwards":
        return probs[::-1, ::-1].copy()[::-1, ::-1]
    if layout == "padded":
        wide = np.full((probs.shape[0], probs.shape[1] + 3), 9, probs.dtype)
        wide[:, :-3] = probs
        return wide[:, :-3]
    if layout == "every other":
        wide = np.full((probs.shape[0], 2 * probs.shape[1]), 9, probs.dtype)
        wide[:, ::2] = probs
        return wide[:, ::2]
    assert layout == "rows"
    return probs


def valid(name, rng, anchors, classes, dtype, *, dense=False):
    """Return probabilities, and labels or dense targets."""
    probs = rng.uniform(0.05, 0.95, (anchors, classes)).astype(dtype)
    labels = rng.integers(0, classes, anchors)
    return probs, np.eye(classes)[labels] if dense else labels


OPTIONS = [
    {},
    {"return_grad": True},
    {"reduction": "none"},
    {"reduction": "sum"},
    {"reduction": "mean", "return_grad": True},
    {"label_smoothing": 0.1},
    {"class_weight": True},
    {"eps": 1e-45},
    {"eps": 1e-320, "return_grad": True},
    {"weight": 0},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("classes", [2, 5, 16, 19, 40, 300])
@every_loss
def test_every_kernel(name, classes, options, engine):
    """In the first and last class and anchor, and in some between them."""
    options = options | {"class_weight": np.ones(classes)} if "class_weight" in options else options
    rng = np.random.default_rng(classes)
    for dtype in (np.float32, np.float64, ml_dtypes.bfloat16):
        for dense in (False, True):
            probs, targets = valid(name, rng, 37, classes, dtype, dense=dense)
            public(name)(probs, targets, **options)
            for row, column in ((0, 0), (36, classes - 1), (17, classes // 2), (31, 0)):
                for value in wrong_values(name):
                    wrong = probs.copy()
                    wrong[row, column] = value
                    with refused(name, [row, column], wrong[row, column]):
                        public(name)(wrong, targets, **options)


@pytest.mark.parametrize("layout", ["rows", "fortran", "backwards", "padded", "every other"])
@pytest.mark.parametrize("classes", [3, 40])
@every_dtype
@every_loss
def test_layouts(name, dtype, classes, layout, engine):
    rng = np.random.default_rng(1)
    probs, labels = valid(name, rng, 41, classes, dtype)
    for row, column in ((0, 1), (20, classes - 1), (40, 0)):
        wrong = probs.copy()
        wrong[row, column] = -2
        with refused(name, [row, column], wrong[row, column]):
            public(name)(laid_out(wrong, layout), labels)


@every_loss
def test_the_first_one_is_named(name, engine):
    """In the order of the user's axes, wherever the classes are."""
    rng = np.random.default_rng(2)
    probs, labels = valid(name, rng, 60, 30, np.float32)
    probs[3, 7], probs[5, 2] = -2, -3
    with refused(name, [3, 7], "-2.0"):
        public(name)(probs, labels)
    with refused(name, [2, 5], "-3.0"):
        public(name)(probs.T, labels, axis=0)
    cube, of_cube = probs.T.reshape(30, 6, 10).transpose(1, 0, 2), labels.reshape(6, 10)
    with refused(name, [0, 2, 5], "-3.0"):
        public(name)(cube, of_cube, axis=1)
    with refused(name, [0, 2, 5], "-3.0"):
        public(name)(cube, np.moveaxis(np.eye(30)[of_cube], -1, 1), axis=1)


@pytest.mark.parametrize("threads", [1, 2])
@every_loss
def test_large_calls(name, threads):
    """Several blocks for the kernels, and for the search."""
    rng = np.random.default_rng(3)
    for anchors, classes in ((9000, 30), (3, 100_000), (200_000, 2)):
        probs = rng.random((anchors, classes), np.float32)
        labels = rng.integers(0, classes, anchors)
        for row in (0, anchors // 2, anchors - 1):
            probs[row, 1] = -2
            with refused(name, [row, 1], "-2.0"):
                public(name)(probs, labels, num_threads=threads)
            with refused(name, [1, row], "-2.0"):
                public(name)(probs.T, labels, axis=0, num_threads=threads)
            probs[row, 1] = 0.5


@pytest.mark.parametrize("size", [1, 33, 575])
@every_dtype
@every_loss
def test_every_position_of_a_search(name, dtype, size, engine):
    """What is written into given arrays is searched for beforehand, packed vectors at a time."""
    rng = np.random.default_rng(size)
    probs = np.array(rng.uniform(0.05, 0.95, (size, 1)), dtype)
    probs = np.concatenate([probs, probs], axis=1)
    grad = np.full(probs.shape, 7, dtype)
    options = {"return_grad": True, "grad_out": grad}
    rows = {0, size // 3, size // 2, size - 1, *range(max(0, size - 5), size)}
    for row, value in ((row, value) for row in rows for value in wrong_values(name)):
        wrong = probs.copy()
        wrong[row, 1] = value
        with refused(name, [row, 1], wrong[row, 1]):
            public(name)(wrong, np.zeros(size, int), **options)
    assert (grad == 7).all()


@pytest.mark.parametrize("classes", [2, 130])
@every_dtype
@every_loss
def test_signs_of_nothing(name, dtype, classes, engine):
    """-0 is no negative number, and neither is a NaN with a sign, which stays in its anchor."""
    rng = np.random.default_rng(classes)
    probs, labels = valid(name, rng, 70, classes, dtype)
    probs[3, 0] = 0.0
    signed = probs.copy()
    signed[3, 0] = -0.0
    signed[5, classes - 1], signed[68, 0] = -NAN, NAN
    for grad_out in (None, np.empty_like(probs)):
        loss, grad = public(name)(signed, labels, return_grad=True, grad_out=grad_out)
        expected, expected_grad = public(name)(probs, labels, return_grad=True)
        undefined = np.isin(np.arange(70), (5, 68))
        assert np.isnan(loss[undefined]).all()
        np.testing.assert_array_equal(loss[~undefined], expected[~undefined])
        np.testing.assert_array_equal(grad[~undefined], expected_grad[~undefined])
        assert np.isnan(grad[5, classes - 1])
        assert np.isnan(grad[68, 0])


# --- what is not looked at -----------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 16, 40])
@every_dtype
@every_loss
def test_ignored_anchors(name, dtype, classes, engine):
    rng = np.random.default_rng(4)
    probs, labels = valid(name, rng, 50, classes, dtype)
    labels[3::7], labels[5] = -100, -1
    ignored = np.isin(labels, (-100, -1))
    other = probs.copy()
    other[ignored] = np.resize([-4, 3, NAN, INF], (ignored.sum(), classes))
    for axis in (1, 0):
        for options in ({}, {"return_grad": True}, {"reduction": "sum"}):
            options |= {"ignore_index": (-100, -1), "axis": axis}
            result, expected = (
                public(name)(given if axis else given.T.copy(), labels, **options)
                for given in (other, probs)
            )
            if "return_grad" not in options:
                result, expected = [result], [expected]
            for values, expected_values in zip(result, expected, strict=True):
                np.testing.assert_array_equal(values, expected_values)
    wrong = other.copy()
    wrong[30] = -2
    with refused(name, [30, 0], wrong[30, 0]):
        public(name)(wrong, labels, ignore_index=(-100, -1))


@pytest.mark.parametrize("classes", [2, 40])
@every_loss
def test_missing_labels(name, classes, engine):
    """Single classes of a binary cross-entropy, whole anchors of a categorical one."""
    rng = np.random.default_rng(5)
    probs, targets = valid(name, rng, 50, classes, np.float32, dense=True)
    missing = rng.random(targets.shape) < 0.2
    missing[7] = True
    if name == "categorical_cross_entropy":
        missing[:] = missing[:, :1]
    targets[missing] = -100
    other = probs.copy()
    other[missing] = np.resize([-4, 3, NAN, INF], missing.sum())
    for grad_out in (None, np.empty_like(probs)):
        options = {"return_grad": True, "grad_out": grad_out}
        loss, gradient = public(name)(other, targets, **options)
        expected = public(name)(probs, targets, return_grad=True)
        np.testing.assert_array_equal(loss, expected[0])
        np.testing.assert_array_equal(gradient, expected[1])
    row, column = np.argwhere(~missing)[-1].tolist()
    other[row, column] = -2
    with refused(name, [row, column], "-2.0"):
        public(name)(other, targets)


@pytest.mark.parametrize("axis", [0, 1])
def test_missing_labels_of_single_classes(axis, engine):
    probs = np.float32([[0.5, 7], [-3, 0.5]])
    loss = fx.binary_cross_entropy(probs, [[1, -100], [-100, 0]], axis=None)
    np.testing.assert_allclose(loss, [[np.log(2), 0], [0, np.log(2)]], rtol=1e-6)
    loss = fx.binary_cross_entropy(probs, [[1, -100], [-100, 0.0]], axis=axis)
    np.testing.assert_allclose(loss, [np.log(2), np.log(2)], rtol=1e-6)


# --- nothing is written --------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [3, 40])
@pytest.mark.parametrize("reduction", ["anchor", "none"])
@pytest.mark.parametrize("names", [["out"], ["out", "grad_out"], ["grad_out"]])
@every_loss
def test_results_are_untouched(name, names, reduction, classes, engine):
    if reduction == "none" and name == "categorical_cross_entropy":
        reduction = "anchor"
    rng = np.random.default_rng(6)
    for dense in (False, True):
        probs, targets = valid(name, rng, 50, classes, np.float32, dense=dense)
        probs[-1, -1] = -2
        arrays = {
            "out": np.full(probs.shape if reduction == "none" else 50, 7, np.float32),
            "grad_out": np.full(probs.shape, 7, np.float32),
        }
        options = {key: arrays[key] for key in names}
        options |= {"return_grad": "grad_out" in names, "reduction": reduction}
        with refused(name, [49, classes - 1], "-2.0"):
            public(name)(probs, targets, **options)
        assert all((array == 7).all() for array in arrays.values())
        probs[-1, -1] = 0.5
        public(name)(probs, targets, **options)
        assert all((arrays[key] != 7).all() for key in names)


@every_loss
def test_nothing_to_average_over_is_checked_all_the_same(name, engine):
    """No anchor has a class that counts, so the mean would be `empty` without a look at any."""
    probs = np.full((5, 20), 0.5, np.float32)
    probs[2, 3] = -2
    options = (
        {"background_index": 20} if name == "binary_cross_entropy" else {"background_index": 0}
    )
    labels = np.full(5, options["background_index"])
    options |= {"reduction": "mean", "normalizer": "positive", "return_grad": True}
    with refused(name, [2, 3], "-2.0"):
        public(name)(probs, labels, **options)


@every_loss
def test_targets_come_first(name, engine):
    probs, targets = np.full((5, 20), -2, np.float32), np.full((5, 20), 3.0)
    with pytest.raises(ValueError, match=r"^targets\[0, 0\] = 3.0 is outside \[0, 1\]$"):
        public(name)(probs, targets)
