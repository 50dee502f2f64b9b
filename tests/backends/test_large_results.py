"""Results too large for the caches, which are stored past them, line by line."""

import numpy as np
import pytest
from scipy import special

import fastxent as fx

#: So many results are more than enough: see STREAM_BYTES in fastxent/native/_elements.pxd.
RESULTS = 6_600_000
GUARD = 32


def within(memory, start):
    """A part of memory, so many numbers after a cache line begins."""
    start += GUARD + (-memory.ctypes.data % 64) // memory.itemsize
    return memory[start : start + RESULTS], np.r_[0:start, start + RESULTS : memory.size]


@pytest.mark.parametrize("offset", [0, 7])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_results_of_rows_among_other_columns(dtype, offset):
    """Logits lie in short rows, and results contiguously."""
    classes = 80
    logits = np.random.default_rng(32).normal(0, 4, (RESULTS // classes, 85)).astype(dtype)
    logits = logits[:, 5:]
    memory = np.full(RESULTS + 3 * GUARD, -77, np.result_type(dtype, np.float32))
    out, around = within(memory, offset)
    fx.sigmoid(logits, out=out.reshape(logits.shape))
    expected = special.expit(logits.astype(float))
    np.testing.assert_allclose(
        out.reshape(logits.shape), expected, rtol=4 * np.finfo(memory.dtype).eps
    )
    assert (memory[around] == -77).all()


@pytest.mark.parametrize("offset", [0, 4, 7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_within_a_larger_array(dtype, offset):
    """They begin on a cache line and off it; what is around them stays as it was."""
    logits = np.random.default_rng(31).normal(0, 4, RESULTS).astype(dtype)
    memory = np.full(RESULTS + 3 * GUARD, -77, dtype)
    out, around = within(memory, offset)
    fx.sigmoid(logits, out=out)
    expected = special.expit(logits.astype(float))
    np.testing.assert_allclose(out, expected, rtol=4 * np.finfo(dtype).eps)
    assert (memory[around] == -77).all()
