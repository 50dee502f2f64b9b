"""Forked workers compute; with libgomp left alone they would hang, or Numba would end them.

Everything runs in processes of its own, so that a hang is a failure of the test and not of the run.
"""

import functools
import multiprocessing
import os
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="needs fork"
)

COMMON = """
import numpy as np, fastxent as fx
fx.set_backend(BACKEND)
logits = np.random.default_rng(0).normal(size=(50_000, 20)).astype(np.float32)
labels = np.arange(len(logits)) % 20
def loss(threads=None):
    return fx.softmax_cross_entropy(logits, labels, reduction="sum", num_threads=threads).hex()
expected = loss(2)  # the parent's OpenMP threads exist from here on
"""


@pytest.fixture(params=["native", "numba"])
def run_python(request):
    """Return a function that runs code after COMMON, with this backend."""
    if request.param == "numba":
        pytest.importorskip("numba")
    return functools.partial(run_with_backend, request.param)


def run_with_backend(backend, code):
    program = f"BACKEND = {backend!r}\n" + COMMON + code
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environment = {**os.environ, "NUMBA_NUM_THREADS": "2"}  # even on one CPU
    process = subprocess.Popen(command, **pipes, text=True, start_new_session=True, env=environment)
    try:
        output, errors = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        # Forked children hold the pipes open: end them all.
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    assert process.returncode == 0, errors
    return output


def test_pool(run_python):
    code = """
import multiprocessing
for _ in range(3):
    with multiprocessing.get_context("fork").Pool(3) as pool:
        results = pool.map(loss, [None, 1, 2, 3, None, 4])
    assert set(results) == {expected}, results
    assert loss(2) == expected
print("done")
"""
    assert run_python(code) == "done\n"


def test_fork_while_other_threads_compute(run_python):
    code = """
import os, threading
stop = threading.Event()
def work():
    while not stop.is_set():
        loss(2)
threads = [threading.Thread(target=work, daemon=True) for _ in range(3)]
for thread in threads: thread.start()
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        os._exit(0 if loss(2) == expected else 1)
    assert os.waitpid(pid, 0)[1] == 0
stop.set()
for thread in threads: thread.join()
print("done")
"""
    assert run_python(code) == "done\n"


def test_grandchildren(run_python):
    code = """
import os
def descend(depth):
    assert loss(2) == expected
    if depth == 0:
        os._exit(0)
    pid = os.fork()
    if pid == 0:
        descend(depth - 1)
    assert os.waitpid(pid, 0)[1] == 0
    if depth < 3:
        os._exit(0)
descend(3)
print("done")
"""
    assert run_python(code) == "done\n"


@pytest.mark.exhaustive
def test_workers_of_a_data_loader(run_python):
    pytest.importorskip("torch")
    code = """
import torch
class Losses(torch.utils.data.Dataset):
    def __len__(self):
        return 12
    def __getitem__(self, index):
        return loss(index % 3 + 1) == expected
torch.randn(300, 300) @ torch.randn(300, 300)  # torch's own threads, of its own OpenMP
for workers in (0, 2, 3):
    loader = torch.utils.data.DataLoader(Losses(), num_workers=workers, batch_size=2)
    assert all(bool(batch.all()) for batch in loader)
print("done")
"""
    assert run_python(code) == "done\n"
