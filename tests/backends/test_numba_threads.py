"""Threads of Python that compute at once with backend "numba", on each of Numba's thread pools.

Everything runs in processes of its own: a pool that is used wrongly ends the process. Forks are in
test_fork.py.
"""

import os
import subprocess
import sys

import pytest

pytest.importorskip("numba")

COMMON = """
import threading
import numpy as np, fastxent as fx
from fastxent import _config
fx.set_backend("numba")
logits = np.random.default_rng(0).normal(size=(20_000, 20)).astype(np.float32)
labels = np.arange(len(logits)) % 20
def loss(threads=None):
    return fx.softmax_cross_entropy(logits, labels, reduction="sum", num_threads=threads).hex()
expected = fx.softmax_cross_entropy(
    logits, labels, reduction="sum", backend="native", num_threads=1).hex()
def together(work, count=4):
    errors = []
    def guarded():
        try:
            work()
        except BaseException as error:
            errors.append(error)
    threads = [threading.Thread(target=guarded) for _ in range(count)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert not errors, errors
"""


def run_python(code, **environment):
    run = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", COMMON + code],
        env={**os.environ, "NUMBA_NUM_THREADS": "2", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_calls_at_once(layer):
    """Left alone, "workqueue" ends the process: "Concurrent access has been detected"."""
    code = """
def work():
    for _ in range(50):
        assert loss(2) == expected
together(work)
import numba
print(numba.threading_layer())
"""
    assert run_python(code, NUMBA_THREADING_LAYER=layer) == layer + "\n"


@pytest.mark.exhaustive
def test_first_calls_at_once():
    """Both the import and the compilation are shared."""
    code = """
_config._import_backend.cache_clear()
together(lambda: loss(1) == expected or 1 / 0)
print("done")
"""
    assert run_python(code) == "done\n"


def test_a_pool_is_used_and_left_as_it_was():
    """More threads than the pool has are no error; the user's own number is kept."""
    code = """
import numba
from fastxent.numba import parallel
seen = []
compiled = parallel._parallel_runner()
def runner(*arguments):
    seen.append((arguments[-1], numba.get_num_threads()))
    compiled(*arguments)
parallel._parallel_runner = lambda: runner
numba.set_num_threads(1)
assert [loss(n) for n in (1, 2, 64)] == [expected] * 3
print(seen, numba.get_num_threads())
"""
    assert run_python(code) == "[(2, 2), (2, 2)] 1\n"


def test_a_call_that_comes_meanwhile_does_not_wait():
    code = """
from fastxent.numba import parallel
with parallel._turn:
    assert loss(2) == expected
print("done")
"""
    assert run_python(code) == "done\n"


@pytest.mark.exhaustive
def test_fork_during_compilation():
    """A child would wait for the compiler's lock for ever."""
    code = """
import os
import numba.core.caching
from fastxent.numba.simd.plan import Plan
from fastxent.numba import kernels
numba.core.caching.CacheImpl._locator_classes = []  # so that there is something to compile
loss(1)
started = threading.Event()
def compile():
    for score in ("sigmoid", "softplus", "log_sigmoid", "logit", "odds"):
        started.set()
        kernels.kernel_of(Plan("map_values", "float64", score, "float64"))
thread = threading.Thread(target=compile)
thread.start()
started.wait()
for _ in range(5):
    pid = os.fork()
    if pid == 0:
        fine = loss(2) == expected and fx.sigmoid(0.0) == 0.5
        os._exit(0 if fine else 1)
    assert os.waitpid(pid, 0)[1] == 0
thread.join()
print("done")
"""
    assert run_python(code) == "done\n"
