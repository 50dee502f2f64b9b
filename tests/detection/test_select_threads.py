"""Threads that a selection wakes, forks after it, and images of more pairs than 32 bits number."""

import os
import subprocess
import sys

import numpy as np
import pytest

import fastxent as fx

COUNT = """
import os
import numpy as np
import fastxent as fx

def threads():
    return len(os.listdir("/proc/self/task"))

logits = np.full((1, 8400, 80), -9, np.float32)
logits[0, ::100, 3] = 1
before = threads()
for options in ({}, {"num_threads": 2}, {"multi_label": False}):
    assert len(fx.select_candidates(logits, **options)) == 84
    assert threads() == before
several = np.broadcast_to(logits, (8, 8400, 80))
expected = fx.select_candidates(several, num_threads=1)
assert threads() == before
result = fx.select_candidates(several, num_threads=2)
assert threads() == before + 1
np.testing.assert_array_equal(result.anchor, expected.anchor)
child = os.fork()
if child == 0:
    result = fx.select_candidates(several, num_threads=2)
    os._exit(not (result.anchor == expected.anchor).all())
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/task")
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="there is one CPU")
def test_one_image_wakes_no_thread():
    subprocess.run([sys.executable, "-c", COUNT], check=True, timeout=120)


def test_one_more_of_a_class_than_is_wanted():
    """Two threads have one each, which alone would be all of its thread."""
    logits = np.full((1, 110_000, 21), -9, np.float32)
    logits[0, 0, :], logits[0, -1, ::2], logits[0, -1, 1::2] = 1, 0.5, 1.5
    for threads in (1, 2, 3):
        result = fx.select_candidates(logits, top_k=1, top_k_per="class", num_threads=threads)
        np.testing.assert_array_equal(result.label, [*range(1, 21, 2), *range(0, 21, 2)])
        np.testing.assert_array_equal(result.anchor, [109_999] * 10 + [0] * 11)
        assert result.found == 42


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"axis": 1},
        {"top_k": 30_000},
        {"top_k": 70, "top_k_per": "class"},
        {"multi_label": False, "score_threshold": 0.2},
        {"activation": "softmax", "background_index": 3},
        {"score_threshold": np.linspace(0.01, 0.5, 21)},
    ],
    ids=str,
)
def test_long_calls_of_several_threads(options, images):
    """More than a million elements a thread."""
    random = np.random.default_rng(1)
    logits = random.normal(-3, 1.5, (images, 110_000, 21)).astype(np.float32)
    if options.get("axis") == 1:
        logits = np.ascontiguousarray(logits.swapaxes(1, 2))
    expected = fx.select_candidates(logits, num_threads=1, **options)
    assert len(expected)
    for threads in (2, 3, 5):
        result = fx.select_candidates(logits, num_threads=threads, **options)
        for name in ("image", "anchor", "label", "score", "offsets", "found", "nan"):
            np.testing.assert_array_equal(getattr(result, name), getattr(expected, name))


@pytest.mark.large
@pytest.mark.skipif(
    not os.environ.get("FASTXENT_TEST_LARGE"), reason="needs a minute and FASTXENT_TEST_LARGE=1"
)
def test_more_pairs_than_32_bits_number():
    """Of which the most share memory; the last level has the candidates."""
    before = np.broadcast_to(np.float32(-9), (1, 2**26, 80))
    last = np.full((1, 1000, 80), -9, np.float32)
    last[0, 7:50:3, 11] = np.arange(15)
    last[0, 999, 79] = np.nan
    result = fx.select_candidates([before, last])
    np.testing.assert_array_equal(result.anchor, 2**26 + np.arange(7, 50, 3)[::-1])
    np.testing.assert_array_equal(result.label, 11)
    np.testing.assert_array_equal(result.level, 1)
    assert (result.found, result.nan) == (15, 1)
