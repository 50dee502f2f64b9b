"""Results too large for the caches, which are stored past them, line by line."""

import numpy as np
import pytest
from scipy import special

import fastxent as fx

#: So many results are more than enough: see STREAM_BYTES in fastxent/native/_elements.pxd.
RESULTS = 6_600_000
GUARD = 32


@pytest.mark.parametrize("offset", [0, 4, 7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_within_a_larger_array(dtype, offset):
    """They begin on a cache line and off it; what is around them stays as it was."""
    logits = np.random.default_rng(31).normal(0, 4, RESULTS).astype(dtype)
    memory = np.full(RESULTS + 3 * GUARD, -77, dtype)
    start = GUARD + (-memory.ctypes.data % 64) // memory.itemsize + offset
    out = memory[start : start + RESULTS]
    fx.sigmoid(logits, out=out)
    expected = special.expit(logits.astype(float))
    np.testing.assert_allclose(out, expected, rtol=4 * np.finfo(dtype).eps)
    assert (memory[:start] == -77).all()
    assert (memory[start + RESULTS :] == -77).all()
