"""Ctrl-C, or any signal whose handler raises, ends a long call within a second.

In processes of their own, whose calls would take many seconds: what they read is one element that
is everywhere.
"""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends signals by setitimer")

COMMON = """
import signal, threading, time
import numpy as np, fastxent as fx

def everywhere(value, *shape, dtype=np.float32):
    return np.broadcast_to(dtype(value), shape)

CALLS = {
    "loss": lambda: fx.softmax_cross_entropy(
        everywhere(0.5, 3 * 10**8, 80), everywhere(3, 3 * 10**8, dtype=np.int64), reduction="sum"),
    "labels": lambda: fx.softmax_cross_entropy(
        everywhere(0.5, 10**10, 2), everywhere(1, 10**10, dtype=np.int64), reduction="sum"),
    "dense": lambda: fx.sigmoid_cross_entropy(
        everywhere(0.5, 10**9, 80), everywhere(0.5, 10**9, 80), reduction="mean"),
    "score": lambda: fx.softplus(everywhere(0.5, 15 * 10**7, dtype=np.float64)),
    "class score": lambda: fx.logsumexp(everywhere(0.5, 2 * 10**7, 1000)),
    "one row": lambda: fx.logsumexp(everywhere(0.5, 10**10)),
    "candidates": lambda: fx.select_candidates(everywhere(-9, 1, 10**9, 80), score_threshold=0.5),
    "mining": lambda: fx.ohem(everywhere(1, 5 * 10**5, 1000), 10),
    "cost": lambda: fx.class_cost(
        everywhere(1, 2000, 5000, 80), np.zeros((2000, 1), int), kind="simota",
        objectness=everywhere(1, 2000, 5000)),
}
def interrupt(name, call):
    expected = fx.sigmoid_cross_entropy(logits, labels)
    def handle(number, frame):
        raise InterruptedError(name)
    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    start = time.monotonic()
    try:
        call()
        raise SystemExit(f"{name} has ended by itself after {time.monotonic() - start} s")
    except InterruptedError as error:
        assert str(error) == name
    taken = time.monotonic() - start
    assert taken < 1.3, (name, taken)
    assert np.array_equal(fx.sigmoid_cross_entropy(logits, labels), expected)

logits = np.random.default_rng(0).normal(size=(50_000, 20)).astype(np.float32)
labels = np.arange(len(logits)) % 21
"""


def run_python(code, *arguments):
    run = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", "-c", COMMON + code, *arguments],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("backend", ["native", "numba"])
def test_a_signal_ends_a_long_call(backend, threads):
    if backend == "numba":
        pytest.importorskip("numba")
    code = """
import sys
fx.set_backend(sys.argv[1])
fx.set_num_threads(int(sys.argv[2]))
names = CALLS if sys.argv[1] == "native" else ("loss", "class score")
if sys.argv[1] == "numba":  # compiled before
    fx.softmax_cross_entropy(everywhere(0.5, 5000, 80), np.zeros(5000, int), reduction="sum")
    fx.logsumexp(everywhere(0.5, 5000, 80))
for name in names:
    interrupt(name, CALLS[name])
"""
    run_python(code, backend, threads)


def test_ctrl_c():
    """The default handler; and what has been written of a result stays."""
    code = """
import os
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it in the background
out = np.full(5 * 10**7, -7, np.float32)
values = everywhere(0.5, len(out), 2000)
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    fx.softmax_cross_entropy(values, everywhere(1, len(out), dtype=np.int32), out=out)
except KeyboardInterrupt:
    print("interrupted", out[-1])
"""
    assert run_python(code) == ["interrupted", "-7.0"]


def test_other_threads_compute_on():
    """A signal is the main thread's, whose call ends; those of other threads do not."""
    code = """
def compute():
    values = everywhere(0.5, 4 * 10**6, 80)
    results.append(fx.softmax_cross_entropy(values, everywhere(3, len(values), dtype=np.int64)))
results = []
thread = threading.Thread(target=compute)
thread.start()
interrupt("loss", CALLS["loss"])
thread.join()
print(np.abs(results[0] - np.log(80)).max() < 1e-5)
"""
    assert run_python(code) == ["True"]


def test_in_a_forked_child():
    """Its main thread is the one that has forked."""
    code = """
import os
def fork():
    pid = os.fork()
    if pid == 0:
        try:
            interrupt("loss", CALLS["loss"])
        except BaseException as error:
            print(error, flush=True)
            os._exit(1)
        os._exit(0)
    statuses.append(os.waitpid(pid, 0)[1])
statuses = []
fork()
thread = threading.Thread(target=fork)
thread.start()
thread.join()
print(*statuses)
"""
    assert run_python(code) == ["0", "0"]


def test_a_handler_that_computes():
    """It runs in the middle of a call, and neither disturbs the other."""
    code = """
def handle(number, frame):
    found.append(fx.sigmoid_cross_entropy(logits, labels, num_threads=2))
expected, found = fx.sigmoid_cross_entropy(logits, labels), []
signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
values = everywhere(0.5, 2 * 10**7, 80)
targets = everywhere(3, len(values), dtype=np.int64)
total = fx.softmax_cross_entropy(values, targets, reduction="sum", num_threads=2)
signal.setitimer(signal.ITIMER_REAL, 0)
print(abs(total / len(values) - np.log(80)) < 1e-6, len(found) > 0,
      all(np.array_equal(expected, one) for one in found))
"""
    assert run_python(code) == ["True", "True", "True"]
