"""Where no more threads can be created, calls use fewer: left alone, OpenMP ends the process.

Limits are set in processes of their own, after the import.
"""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")

COMMON = """
import ctypes, os, resource, threading
import numpy as np, fastxent as fx

logits = np.random.default_rng(0).normal(size=(30_000, 20)).astype(np.float32)
labels = np.arange(len(logits)) % 21
expected = fx.sigmoid_cross_entropy(logits, labels, num_threads=1)
MEGABYTE = 2**20

def count_threads():
    return len(os.listdir("/proc/self/task"))

def allow_processes(more):
    if os.getuid() == 0:  # who is above such limits, but may read what is still to be imported
        os.setresuid(65534, 65534, 0)
        ctypes.CDLL(None).setfsuid(0)
    most = count_threads() + more
    resource.setrlimit(resource.RLIMIT_NPROC, (most, most))

def allow_memory(more):
    pages = int(open("/proc/self/statm").read().split()[0])
    most = pages * resource.getpagesize() + more * MEGABYTE
    resource.setrlimit(resource.RLIMIT_AS, (most, most))

def check(threads, out=None):
    losses = fx.sigmoid_cross_entropy(logits, labels, num_threads=threads, out=out)
    assert np.array_equal(losses, expected)
"""


def run_python(code, **environment):
    run = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", COMMON + code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    return run.stdout.split()


@pytest.mark.parametrize("more", [0, 1, 3])
def test_a_limit_on_processes(more):
    """RLIMIT_NPROC, and so a container's limit, leaves a call as many threads as there may be."""
    code = f"""
before = count_threads()
allow_processes({more})
for threads in (8, 2, 8, 4, 16):
    check(threads)
    check(threads)
check(8)
print(count_threads() - before)
"""
    (threads,) = run_python(code)
    # The limit is on all processes of the user, of which root has changed to one without any.
    assert int(threads) == more or (int(threads) < more and os.getuid() != 0)


@pytest.mark.parametrize("more", [14, 30])
def test_a_limit_on_memory(more):
    """RLIMIT_AS: a thread has a stack of eight megabytes."""
    code = f"""
out = np.empty_like(expected)
before = count_threads()
allow_memory({more})
for threads in (8, 2, 8):
    check(threads, out)
print(count_threads() - before)
"""
    (threads,) = run_python(code, OMP_STACKSIZE="8M")
    # What else the process allocates in the meantime may take the place of one.
    assert more // 8 - 1 <= int(threads) <= more // 8


def test_stacks_are_as_large_as_openmp_makes_them():
    """Where OMP_STACKSIZE asks for less, more threads fit."""
    code = """
out = np.empty_like(expected)
before = count_threads()
allow_memory(14)
check(8, out)
print(count_threads() - before)
"""
    assert run_python(code, OMP_STACKSIZE="512") == ["7"]
    assert run_python(code, OMP_STACKSIZE="1 m") == ["7"]
    assert run_python(code, OMP_STACKSIZE="64M") == ["0"]


@pytest.mark.parametrize(
    "call",
    [
        "fx.sigmoid(logits, num_threads=8)",
        "fx.softmax(logits, num_threads=8)",
        "fx.logsumexp(logits, num_threads=8)",
        "fx.sigmoid_cross_entropy(logits, (logits > 0).astype(float), num_threads=8)",
        "fx.softmax_cross_entropy(logits, labels % 20, return_grad=True, num_threads=8)",
        "fx.softmax_cross_entropy(logits, labels % 20, reduction='mean', num_threads=8)",
        "fx.recommend_loss(labels[:, None] == np.arange(20))",
    ],
)
def test_all_that_computes_in_parallel(call):
    run_python(f"allow_processes(1)\nfx.set_num_threads(8)\n{call}")


def test_threads_of_python_that_compute_at_once():
    """Each has a pool of its own; they create their threads one after the other."""
    code = """
def work():
    start.wait()
    for threads in (8, 2, 5, 8, 3, 16) * 5:
        try:
            check(threads)
        except BaseException as error:
            errors.append(error)
errors, start = [], threading.Barrier(4)
workers = [threading.Thread(target=work) for _ in range(3)]
for worker in workers: worker.start()
allow_processes(4)
start.wait()
for worker in workers: worker.join()
assert not errors, errors
"""
    run_python(code)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_around_a_fork():
    """A fork gives up the parent's threads; afterwards there may be no more of them."""
    code = """
check(8)
pid = os.fork()
if pid == 0:
    allow_processes(0)
    check(8)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
allow_processes(0)
check(8)
"""
    run_python(code)


def test_a_pool_that_another_library_made_smaller():
    """libgomp keeps the threads of a thread's last region, whose ever that was."""
    pytest.importorskip("torch")
    code = """
import torch
check(8)
torch.set_num_threads(2)
ones = torch.ones(2_000_000)
assert (ones + ones).sum() == 4_000_000
import time; time.sleep(0.1)  # threads that are no longer needed have ended
allow_processes(0)
check(8)
"""
    run_python(code)


@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_threads_of_numba(layer):
    """OpenMP would end the process, and the other kind wait for ever for what is missing."""
    pytest.importorskip("numba")
    code = """
fx.set_backend("numba")
check(1)
before = count_threads()
allow_processes(1)
for threads in (3, 2, 3):
    check(threads)
print(count_threads() - before)
"""
    (threads,) = run_python(code, NUMBA_NUM_THREADS="3", NUMBA_THREADING_LAYER=layer)
    assert int(threads) <= 1


def test_threads_that_numba_no_longer_has():
    """Its OpenMP, too, keeps the threads of the last call alone."""
    pytest.importorskip("numba")
    code = """
import time
fx.set_backend("numba")
for threads in (3, 2):
    check(threads)
time.sleep(0.1)  # threads that are not needed any more have ended
allow_processes(0)
check(3)
"""
    run_python(code, NUMBA_NUM_THREADS="3")
