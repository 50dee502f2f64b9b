"""A sigmoid is a softmax of two classes, and is not one of three or more."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special

import fastxent as fx
from fastxent import heads

INF, NAN = np.inf, np.nan
FLOAT32 = np.finfo(np.float32)
LOGITS = np.concatenate([np.linspace(-30, 30, 241), [-700.0, -88.0, 1e-9, 88.0, 700.0]])

finite32 = hnp.arrays(np.float32, hnp.array_shapes(max_dims=3), elements=st.floats(width=32))


def test_examples():
    assert doctest.testmod(heads).failed == 0


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pairs(dtype):
    pairs = fx.sigmoid_to_softmax_logits(np.array([[4, -2, 1]], dtype))
    assert pairs.dtype == dtype
    np.testing.assert_array_equal(pairs, [[[-2, 2], [1, -1], [-0.5, 0.5]]])
    difference = fx.softmax_to_sigmoid_logit(np.array([[1, 4], [2.5, -1]], dtype))
    assert difference.dtype == dtype
    np.testing.assert_array_equal(difference, [3, -3.5])


def test_single_logit():
    pair = fx.sigmoid_to_softmax_logits(3.0)
    np.testing.assert_array_equal(pair, [-1.5, 1.5])
    logit = fx.softmax_to_sigmoid_logit(pair)
    assert isinstance(logit, np.float64)
    assert logit == 3


@given(finite32)
def test_there_and_back_is_exact(logits):
    back = fx.softmax_to_sigmoid_logit(fx.sigmoid_to_softmax_logits(logits))
    subnormal = np.abs(logits) < 2 * FLOAT32.smallest_normal
    # A half of a subnormal number is a multiple of the smallest one, so a whole one may be lost.
    tolerance = np.where(subnormal, 2 * FLOAT32.smallest_subnormal, 0)
    with np.errstate(invalid="ignore"):
        close = np.abs(back.astype(float) - logits.astype(float)) <= tolerance
    same = (back == logits) | (np.isnan(back) & np.isnan(logits))
    assert np.all(close | same)


def test_special_values():
    np.testing.assert_array_equal(
        fx.sigmoid_to_softmax_logits([INF, -INF, NAN]), [[-INF, INF], [INF, -INF], [NAN, NAN]]
    )
    pairs = [[0, INF], [INF, 0], [0, -INF], [-INF, 0], [-INF, INF], [INF, INF], [-INF, -INF]]
    np.testing.assert_array_equal(
        fx.softmax_to_sigmoid_logit(pairs), [INF, -INF, -INF, INF, INF, NAN, NAN]
    )
    assert np.isnan(fx.softmax_to_sigmoid_logit([NAN, 1.0]))


def test_nothing_overflows_but_a_difference_that_is_too_large():
    largest = np.array([FLOAT32.max, -FLOAT32.max])
    with np.errstate(all="raise"):
        pairs = fx.sigmoid_to_softmax_logits(largest)
        np.testing.assert_array_equal(fx.softmax_to_sigmoid_logit(pairs), largest)
        beyond = fx.softmax_to_sigmoid_logit(np.array([largest, largest[::-1]]))
        assert fx.sigmoid_to_softmax_logits(FLOAT32.smallest_subnormal)[1] == 0
    np.testing.assert_array_equal(beyond, [-INF, INF])


@given(hnp.arrays(np.float32, (5, 2), elements=st.floats(width=32, allow_nan=False)))
def test_difference_is_rounded_once(logits):
    with np.errstate(all="ignore"):
        exact = logits[:, 1].astype(float) - logits[:, 0].astype(float)
        np.testing.assert_array_equal(fx.softmax_to_sigmoid_logit(logits), exact.astype(np.float32))


# --- what is true: two classes -------------------------------------------------------------------


def test_probabilities_are_equal():
    positive = special.expit(LOGITS)
    expected = np.stack([special.expit(-LOGITS), positive], axis=-1)
    pairs = fx.sigmoid_to_softmax_logits(LOGITS)
    np.testing.assert_allclose(fx.softmax(pairs), expected, rtol=1e-13)
    np.testing.assert_allclose(fx.sigmoid(fx.softmax_to_sigmoid_logit(pairs)), positive, rtol=1e-13)


def test_probabilities_do_not_depend_on_a_common_constant():
    pairs = np.random.default_rng(0).normal(0, 5, (100, 2))
    expected = special.softmax(pairs, axis=-1)[:, 1]
    for constant in (0, -20, 7.5):
        logits = fx.softmax_to_sigmoid_logit(pairs + constant)
        np.testing.assert_allclose(fx.sigmoid(logits), expected, rtol=1e-12)


@pytest.mark.parametrize("label", [0, 1])
def test_losses_are_equal(label, backend):
    labels = np.full(LOGITS.shape, label)
    expected = np.logaddexp(0, -LOGITS if label else LOGITS)
    pairs = fx.sigmoid_to_softmax_logits(LOGITS)
    of_pairs = fx.softmax_cross_entropy(pairs, labels)
    of_logits = fx.sigmoid_cross_entropy(LOGITS, labels, axis=None)
    np.testing.assert_allclose(of_pairs, expected, rtol=1e-13)
    np.testing.assert_allclose(of_logits, expected, rtol=1e-13)


@given(st.floats(-50, 50), st.floats(0, 1))
def test_losses_are_equal_for_soft_targets(z, target):
    of_pair = fx.softmax_cross_entropy(fx.sigmoid_to_softmax_logits(z), [1 - target, target])
    of_logit = fx.sigmoid_cross_entropy(z, target, axis=None)
    np.testing.assert_allclose(of_pair, of_logit, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("target", [0.0, 0.3, 1.0])
def test_gradients_are_equal(target):
    """The gradient of both losses with respect to z is sigmoid(z) - y."""
    z, step = np.linspace(-8, 8, 65), 1e-5
    dense = np.broadcast_to([1 - target, target], (*z.shape, 2))

    def softmax_loss(logits):
        return fx.softmax_cross_entropy(fx.sigmoid_to_softmax_logits(logits), dense)

    def sigmoid_loss(logits):
        return fx.sigmoid_cross_entropy(logits, np.full_like(logits, target), axis=None)

    for loss in (softmax_loss, sigmoid_loss):
        gradient = (loss(z + step) - loss(z - step)) / (2 * step)
        np.testing.assert_allclose(gradient, special.expit(z) - target, atol=1e-9)


# --- what is not true: three classes and more ----------------------------------------------------


def test_three_sigmoids_are_no_softmax():
    logits = np.array([2.0, 2.0, 2.0])
    np.testing.assert_allclose(fx.softmax(logits), 1 / 3)
    np.testing.assert_allclose(fx.sigmoid(logits), 1 / (1 + np.exp(-2)))
    np.testing.assert_allclose(fx.softmax_cross_entropy(logits, 0), np.log(3))
    wrong, right = np.log1p(np.exp(2)), np.log1p(np.exp(-2))
    np.testing.assert_allclose(fx.sigmoid_cross_entropy(logits, 0), right + 2 * wrong)


def test_probabilities_of_sigmoids_are_no_function_of_those_of_a_softmax():
    logits = np.array([1.0, 0.0, -2.0])
    np.testing.assert_allclose(fx.softmax(logits), fx.softmax(logits + 3), rtol=1e-14)
    assert np.all(fx.sigmoid(logits + 3) - fx.sigmoid(logits) > 0.2)


def test_sigmoids_and_softmax_rank_anchors_differently():
    logits = np.array([[3.0, 3.0, 0.0], [2.0, -1.0, -1.0]])
    by_sigmoid, by_softmax = fx.sigmoid(logits).max(axis=1), fx.softmax(logits).max(axis=1)
    assert by_sigmoid[0] > by_sigmoid[1]
    assert by_softmax[0] < by_softmax[1]


def test_sigmoids_with_the_probabilities_of_a_softmax_have_another_loss():
    logits = np.array([1.0, 0.5, -1.0, 0.0])
    others = [special.logsumexp(np.delete(logits, c)) for c in range(4)]
    one_against_rest = logits - others
    np.testing.assert_allclose(fx.sigmoid(one_against_rest), special.softmax(logits), rtol=1e-13)
    for label in range(4):
        sigmoid_loss = fx.sigmoid_cross_entropy(one_against_rest, label)
        assert sigmoid_loss > 1.2 * fx.softmax_cross_entropy(logits, label)


def test_three_logits_become_three_softmaxes_of_two_classes():
    logits = np.random.default_rng(0).normal(0, 3, (50, 3))
    labels = np.random.default_rng(1).integers(0, 4, 50)
    pairs = fx.sigmoid_to_softmax_logits(logits)
    answers = (labels[:, None] == np.arange(3)).astype(int)
    np.testing.assert_allclose(
        fx.softmax_cross_entropy(pairs, answers).sum(axis=1),
        fx.sigmoid_cross_entropy(logits, labels),
        rtol=1e-12,
    )


# --- arguments -----------------------------------------------------------------------------------


def test_out():
    logits = np.arange(6, dtype=np.float32).reshape(2, 3)
    out = np.full((4, 3, 2), NAN, np.float32)[::2]
    assert fx.sigmoid_to_softmax_logits(logits, out=out) is out
    np.testing.assert_array_equal(out[..., 1], logits / 2)
    single = np.empty((2, 3), np.float32)
    assert fx.softmax_to_sigmoid_logit(out, out=single) is single
    np.testing.assert_array_equal(single, logits)
    number = np.empty((), np.float32)
    assert fx.softmax_to_sigmoid_logit(out[0, 1], out=number) is number
    assert number == 1


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.empty((3, 3)), ValueError, r"out has shape \(3, 3\), expected \(3, 2\)"),
        (np.empty((3, 2), np.float32), ValueError, "out has dtype float32, expected float64"),
        (np.broadcast_to(0.0, (3, 2)), ValueError, "out is read-only"),
        ([0.0], TypeError, "out must be a NumPy array, not list"),
    ],
)
def test_wrong_out(out, error, message):
    with pytest.raises(error, match=message):
        fx.sigmoid_to_softmax_logits(np.zeros(3), out=out)


def test_out_may_not_share_memory():
    pairs = np.zeros((3, 2))
    for name in ("sigmoid_to_softmax_logits", "softmax_to_sigmoid_logit"):
        logits, out = (pairs, pairs[:, 1]) if name[:3] == "sof" else (pairs[:, 1], pairs)
        with pytest.raises(ValueError, match="out shares memory with logits"):
            getattr(fx, name)(logits, out=out)


@pytest.mark.parametrize("shape", [(), (2, 3), (2, 1), (2, 0)])
def test_softmax_needs_two_classes(shape):
    message = r"logits has shape \(.*\), expected \(\.\.\., 2\): two classes"
    with pytest.raises(ValueError, match=message):
        fx.softmax_to_sigmoid_logit(np.zeros(shape))


@pytest.mark.parametrize("function", [fx.sigmoid_to_softmax_logits, fx.softmax_to_sigmoid_logit])
def test_wrong_dtype(function):
    with pytest.raises(TypeError, match="logits has dtype complex128, expected bool, integer, "):
        function(np.array([1j, 2]))
    with pytest.raises(TypeError, match="logits is a masked array"):
        function(np.ma.array([1.0, 2.0]))


def test_inputs_stay_as_they_are_and_empty_ones_work():
    logits = np.ones((3, 2), np.float32)[::-1]
    fx.softmax_to_sigmoid_logit(logits)
    fx.sigmoid_to_softmax_logits(logits)
    np.testing.assert_array_equal(logits, 1)
    assert fx.sigmoid_to_softmax_logits(np.empty((0, 4))).shape == (0, 4, 2)
    assert fx.softmax_to_sigmoid_logit(np.empty((0, 2))).shape == (0,)
