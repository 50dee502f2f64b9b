"""Threads that call without a lock around them: free-threaded Python, and any other one."""

import subprocess
import sys
import sysconfig

import pytest

IS_FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

#: Eight threads make the first calls of a process at once, and change its settings meanwhile.
FIRST_CALLS = """
import sys, threading
import numpy as np
import fastxent as fx

THREADS, ROUNDS = 8, 12
rng = np.random.default_rng(1)
logits = rng.normal(size=(20_000, 11)).astype("f4") * 3
labels = rng.integers(0, 11, 20_000)
targets = (rng.random(logits.shape) < 0.1).astype("f4")
losses = np.abs(logits[:, 0])
lines = np.arange(9_000_000, dtype="f4") % 7 - 3  # a result of 34 MiB, which the cache keeps

def pair(function, *arguments, **options):
    return lambda **more: function(*arguments, **options, **more)

CALLS = [
    pair(fx.sigmoid_cross_entropy, logits, labels),
    pair(fx.sigmoid_cross_entropy, logits, targets, reduction="mean", return_grad=True),
    pair(fx.softmax_cross_entropy, logits, labels, return_grad=True),
    pair(fx.softmax_cross_entropy, logits[:100], labels[:100]),
    pair(fx.sigmoid_focal_loss, logits, targets, weight=np.ones((1, 11))),
    pair(fx.softmax, logits),
    pair(fx.sigmoid, lines),
]

def parts_of(candidates):
    return tuple(getattr(candidates, name) for name in ("score", "label", "anchor"))

barrier = threading.Barrier(THREADS)
results = [None] * THREADS

def work(number):
    found = []
    barrier.wait()
    for turn in range(ROUNDS):
        fx.set_result_cache((turn + number) % 2 * (64 << 20))
        fx.set_num_threads(None if number % 2 else 2)
        for call in CALLS if turn == 0 else CALLS[:-1]:
            found.append(call())
        found.append(parts_of(fx.select_candidates(logits[None], top_k=50)))
        found.append(fx.hard_negatives(losses, labels, background_index=10, batch_ndim=0))
    results[number] = found

sys.setswitchinterval(1e-5)
threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()

def flat(value):
    return [np.asarray(each) for each in (value if isinstance(value, tuple) else (value,))]

expected = [flat(call(backend="numpy")) for call in CALLS]
for found in results:
    assert len(found) == ROUNDS * (len(CALLS) + 1) + 1
    for value, reference in zip(found, expected):
        for one, other in zip(flat(value), reference, strict=True):
            np.testing.assert_allclose(one, other, rtol=3e-6, atol=1e-7)
    for value, first in zip(found, results[0], strict=True):
        for one, other in zip(flat(value), flat(first), strict=True):
            assert one.tobytes() == other.tobytes()
print("calls", sum(map(len, results)))
"""


def run_python(code):
    """Run code in a fresh interpreter whose warnings are errors; return what it prints."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_first_calls_of_many_threads_at_once():
    assert run_python(FIRST_CALLS).split()[0] == "calls"


@pytest.mark.skipif(not IS_FREE_THREADED, reason="Python has a global lock")
def test_the_extension_needs_no_global_lock():
    """One that does not say so turns the lock on when it is imported, with a warning."""
    code = "import sys, fastxent; print(sys._is_gil_enabled())"
    assert run_python(code).strip() == "False"
