"""``out`` and ``grad_out`` whose elements share memory with each other."""

import itertools

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies
from numpy.lib.stride_tricks import as_strided
from scipy import special
from support.family import HALVES, LOSSES, public, targets_for, values_for

import fastxent as fx
from fastxent._arguments import check_out

SCORES = ["sigmoid", "log_sigmoid", "softplus", "logit", "odds", "softmax", "log_softmax"]


def overlapping(kind, shape, dtype=np.float32):
    """Return an array of zeros that can be written to, and of which elements share memory."""
    size = np.dtype(dtype).itemsize
    memory = np.zeros(1000, dtype)
    strides = [size * int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]
    if kind == "broadcast":
        strides[0] = 0
    elif kind == "windows":
        strides = [size] * len(shape)
    elif kind == "rows too close":
        strides[0] -= size
    elif kind == "reversed":
        memory, strides[0] = memory[500:], -size
    return as_strided(memory, shape, strides)


two_dimensional = pytest.mark.parametrize(
    "kind", ["broadcast", "windows", "rows too close", "reversed"]
)


def refused(name):
    return pytest.raises(
        ValueError, match=f"^{name} has elements that share memory with each other$"
    )


@two_dimensional
@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name, kind, backend):
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64, *HALVES):
        values = values_for(name, rng, (6, 5), dtype)
        grad_out = overlapping(kind, (6, 5), dtype)
        with refused("grad_out"):
            public(name)(
                values, *targets_for(name, rng, values), return_grad=True, grad_out=grad_out
            )
        assert not grad_out.astype(float).any()


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name, backend):
    rng = np.random.default_rng(0)
    for shape, kind in (((6,), "broadcast"), ((6, 3), "windows"), ((6, 3), "reversed")):
        values = values_for(name, rng, (*shape, 5), np.float32)
        out = overlapping(kind, shape)
        with refused("out"):
            public(name)(values, *targets_for(name, rng, values), out=out)
        assert not out.any()


@two_dimensional
def test_losses_of_each_logit(kind, backend):
    out = overlapping(kind, (6, 5))
    for targets in (np.zeros(6, int), np.zeros((6, 5))):
        with refused("out"):
            fx.sigmoid_cross_entropy(np.ones((6, 5), "f4"), targets, reduction="none", out=out)
    with refused("out"):
        fx.sigmoid_cross_entropy(np.ones((6, 5), "f4"), np.zeros((6, 5)), axis=None, out=out)
    assert not out.any()


@two_dimensional
@pytest.mark.parametrize("name", SCORES)
def test_scores(name, kind, backend):
    out = overlapping(kind, (6, 5))
    with refused("out"):
        getattr(fx, name)(np.full((6, 5), 0.5, np.float32), out=out)
    with refused("out"):
        getattr(fx, name)(out, out=out)  # in place
    assert not out.any()
    if name == "softmax":
        with refused("out"):
            fx.softmax(out.T, axis=0, out=out.T)
        with refused("out"):
            fx.logsumexp(np.ones((6, 5, 4), np.float32), out=out)
        with refused("out"):
            fx.softmax_to_sigmoid_logit(np.ones((6, 5, 2), np.float32), out=out)
        with refused("out"):
            fx.sigmoid_to_softmax_logits(np.ones(6, np.float32), out=overlapping(kind, (6, 2)))


def test_strides_that_are_no_overlap(backend):
    """Dimensions in any order, gaps, negative steps, rows that interleave, lengths of one."""
    logits = np.linspace(-3, 3, 24, dtype=np.float32).reshape(2, 3, 4)
    expected = special.expit(logits.astype(float))
    memory = np.zeros(1000, np.float32)
    for strides in (
        (48, 16, 4),
        (4, 8, 24),
        (400, 4, 40),
        (-48, -16, -4),
        (4, 32, 8),
        (4, 12, 48),  # 0 and 1, and three steps further on, four times
        (8, 24, 100),
    ):
        out = as_strided(memory[200:], logits.shape, strides)
        assert fx.sigmoid(logits, out=out) is out
        np.testing.assert_allclose(out, expected, rtol=1e-6)
    row = as_strided(memory, (1, 5, 1), (0, 4, 0))
    np.testing.assert_allclose(fx.sigmoid(np.zeros((1, 5, 1), np.float32), out=row), 0.5)
    nothing = as_strided(memory, (3, 0), (0, 0))
    assert fx.sigmoid(np.zeros((3, 0), np.float32), out=nothing) is nothing


small = strategies.integers(1, 4)


@hypothesis.given(
    strategies.lists(strategies.tuples(small, strategies.integers(-12, 12)), min_size=1, max_size=4)
)
def test_every_overlap_is_found_and_no_other(dimensions):
    shape, steps = zip(*dimensions, strict=True)
    array = as_strided(np.zeros(400, np.float32)[200:], shape, [4 * step for step in steps])
    places = [
        sum(index * step for index, step in zip(indices, steps, strict=True))
        for indices in itertools.product(*map(range, shape))
    ]
    if len(set(places)) == len(places):
        assert check_out(array, shape, array.dtype) is not None
    else:
        with refused("out"):
            check_out(array, shape, array.dtype)
