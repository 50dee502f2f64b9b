"""Memory of large results that is kept for later ones: off by default, bounded, given back."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.family import LOSSES, public, targets_for, values_for

import fastxent as fx
from fastxent import _results, native

STEP = 2 << 20

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no cache on Windows")


@pytest.fixture
def cache():
    """A cache of 256 MiB, which is off again afterwards."""
    fx.set_result_cache(256 << 20)
    yield fx.show_config
    fx.set_result_cache(0)


@pytest.fixture
def small_results(cache, monkeypatch):
    """Results of any size are kept."""
    monkeypatch.setattr(_results, "LEAST_BYTES", 1)
    return cache


def large_logits():
    return np.linspace(-9, 9, (32 << 20) // 4, dtype=np.float32)


def address(array):
    return array.__array_interface__["data"][0]


def run_python(code, **environment):
    command = [sys.executable, "-c", code]
    environment = {**os.environ, **environment}
    found = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    return found.returncode, found.stdout.strip(), found.stderr.strip()


def test_it_is_off_by_default():
    assert fx.show_config().result_cache == 0
    result = fx.sigmoid(large_logits())
    assert result.flags.owndata
    del result
    assert fx.show_config().result_cache_held == 0


def test_a_result_takes_the_place_of_one_that_is_gone(cache):
    logits = large_logits()
    expected = 1 / (1 + np.exp(-logits.astype(np.float64)))
    first = fx.sigmoid(logits)
    place = address(first)
    assert not first.flags.owndata
    np.testing.assert_allclose(first, expected, rtol=1e-6)
    del first
    assert cache().result_cache_held == 32 << 20
    second = fx.sigmoid(logits)
    assert address(second) == place
    assert cache().result_cache_held == 0
    np.testing.assert_allclose(second, expected, rtol=1e-6)


def test_a_view_keeps_its_block(cache):
    view = fx.sigmoid(large_logits())[-3:]
    expected = view.copy()
    assert cache().result_cache_held == 0
    others = [fx.softplus(large_logits()) for _ in range(2)]
    assert all(address(other) != address(view.base) for other in others if view.base is not None)
    np.testing.assert_array_equal(view, expected)


def test_small_results_are_numpys(cache):
    assert fx.sigmoid(large_logits()[1:]).flags.owndata


@pytest.mark.parametrize("limit", [32 << 20, (32 << 20) - 1])
def test_what_is_larger_than_the_limit_is_numpys(limit):
    fx.set_result_cache(limit)
    try:
        assert fx.sigmoid(large_logits()).flags.owndata == (limit < 32 << 20)
    finally:
        fx.set_result_cache(0)


def test_blocks_are_bounded_in_number_and_size(small_results):
    results = [fx.sigmoid(np.zeros(1000)) for _ in range(7)]
    results.clear()
    assert small_results().result_cache_held == 4 * STEP
    fx.set_result_cache(3 * STEP)
    assert small_results().result_cache_held == 3 * STEP
    results = [fx.sigmoid(np.zeros(1000)) for _ in range(7)]
    results.clear()
    assert small_results().result_cache_held == 3 * STEP
    fx.clear_result_cache()
    assert small_results().result_cache_held == 0


def test_a_block_fits_what_is_not_much_smaller(small_results):
    large, small = np.zeros(5 * STEP, np.uint8).view(np.float32), np.zeros(1000, np.float32)
    del_me = fx.sigmoid(large)
    del del_me
    kept = fx.sigmoid(small)
    assert small_results().result_cache_held == 5 * STEP
    reused = fx.sigmoid(large[: 4 * STEP // 4])
    assert small_results().result_cache_held == 0
    del kept, reused


@pytest.mark.exhaustive
def test_what_is_not_used_is_given_back(small_results):
    fx.sigmoid(np.zeros(1000))
    assert small_results().result_cache_held == STEP
    time.sleep(11.5)
    assert small_results().result_cache_held == 0


def test_results_are_written_whole(small_results):
    """Kernels rely on nothing that was in the memory, for each loss with all its results."""
    rng = np.random.default_rng(3)
    for name in LOSSES:
        values = values_for(name, rng, (37, 11), np.float32)
        targets = targets_for(name, rng, values)
        if name != "distribution_focal_loss":
            targets[0][::5] = -100
        reductions = ("none", "anchor", "sum", "mean")
        for reduction in reductions:
            keywords = {"reduction": reduction, "return_grad": True}
            fx.set_result_cache(0)
            expected = public(name)(values, *targets, **keywords)
            fx.set_result_cache(64 << 20)
            for block in [_results.empty((STEP // 4,), np.float32) for _ in range(4)]:
                block.fill(np.nan)
            del block  # the next results will be there
            results = public(name)(values, *targets, **keywords)
            for found, wanted in zip(results, expected, strict=True):
                np.testing.assert_array_equal(found, wanted, err_msg=f"{name} {reduction}")


@given(
    st.lists(st.integers(0, 4), min_size=0, max_size=4),
    st.randoms(use_true_random=False),
    st.booleans(),
    st.sampled_from([None, np.float64, np.bool_]),
)
def test_arrays_are_laid_out_as_numpys(shape, random, sliced, dtype):
    axes = list(range(len(shape)))
    random.shuffle(axes)
    values = np.zeros([2 * n for n in shape], np.float32)[
        tuple(slice(None, None, 2) for _ in shape)
    ]
    values = (values if sliced else np.zeros(shape, np.float32)).transpose(axes)
    expected = np.empty_like(values, dtype=dtype)
    fx.set_result_cache(64 << 20)
    least, _results.LEAST_BYTES = _results.LEAST_BYTES, 1
    try:
        found = _results.empty_like(values, dtype)
    finally:
        _results.LEAST_BYTES = least
        fx.set_result_cache(0)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    if found.size:  # strides of single elements say nothing
        is_long = np.array(found.shape, int) > 1
        assert np.array_equal(np.array(found.strides)[is_long], np.array(expected.strides)[is_long])


def test_many_threads(small_results):
    sizes, errors = (3000, STEP // 4), []

    def work(seed):
        values = np.random.default_rng(seed).normal(size=sizes[seed % 2]).astype(np.float32)
        expected = fx.sigmoid(values, out=np.empty_like(values))
        results = (fx.sigmoid(values, num_threads=1) for _ in range(60))
        errors.extend(seed for result in results if not np.array_equal(result, expected))

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not errors
    assert small_results().result_cache_held <= 4 * STEP


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_finds_it_empty():
    code = """
import os, numpy as np, fastxent as fx
z = np.zeros((32 << 20) // 4, np.float32)
fx.sigmoid(z)
held = [fx.show_config().result_cache_held]
child = os.fork()
held.append(fx.show_config().result_cache_held)
fx.sigmoid(z)
held.append(fx.show_config().result_cache_held)
if child == 0:
    os._exit(held != [32 << 20, 0, 32 << 20])
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), *held)
"""
    assert run_python(code, FASTXENT_RESULT_CACHE="64M")[:2] == (0, "0 33554432 0 33554432")


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_AS")
def test_memory_is_given_back_before_an_allocation_fails():
    code = """
import resource, numpy as np, fastxent as fx
fx.set_num_threads(1)
z = np.zeros((32 << 20) // 4, np.float32)
fx.sigmoid(z)
assert fx.show_config().result_cache_held == 32 << 20
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + (40 << 20),) * 2)
wide = np.broadcast_to(np.float32(0), ((64 << 20) // 4,))
result = fx.sigmoid(wide)
print(result[-1], fx.show_config().result_cache_held)
"""
    # A limit below the size of the second result: NumPy allocates it.
    for size in ("48M", "1G"):
        assert run_python(code, FASTXENT_RESULT_CACHE=size) == (0, "0.5 0", "")


@pytest.mark.parametrize(
    ("text", "limit"), [("256M", 256 << 20), ("1g", 1 << 30), (" 64 K", 65536)]
)
def test_the_environment_sets_it(text, limit):
    code = "import fastxent; print(fastxent.show_config().result_cache)"
    assert run_python(code, FASTXENT_RESULT_CACHE=text)[:2] == (0, str(limit))


@pytest.mark.parametrize("text", ["much", "-1", "1.5G", "1T"])
def test_the_environment_says_what_is_wrong(text):
    status, _, message = run_python("import fastxent", FASTXENT_RESULT_CACHE=text)
    assert status == 1
    expected = f"FASTXENT_RESULT_CACHE = {text!r} is not a number of bytes, like 256M, 1G or 0"
    assert message.endswith(expected)


@pytest.mark.parametrize(
    ("limit", "error", "message"),
    [
        (-1, ValueError, "limit = -1 is not in 0.."),
        (1 << 63, ValueError, "limit = 9223372036854775808 does not fit into 64 bits"),
        (1.5, TypeError, "limit must be an integer"),
        ("256M", TypeError, "limit must be an integer"),
    ],
)
def test_bad_limits(limit, error, message):
    with pytest.raises(error, match=message):
        fx.set_result_cache(limit)
    assert fx.show_config().result_cache == 0


def test_configuration_shows_it(cache):
    text = repr(cache())
    assert "result cache  0 of 268,435,456 bytes" in text


def test_memory_is_aligned_to_huge_pages(small_results):
    assert address(fx.sigmoid(np.zeros(1000))) % STEP == 0
    assert native.held_by_result_cache() == STEP
