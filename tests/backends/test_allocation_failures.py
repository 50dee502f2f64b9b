"""Where memory runs out in the middle of a call, that is a MemoryError, and nothing else.

An allocator is preloaded that refuses the extension's n-th allocation, for every n that there is,
and counts what the extension has not freed.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
COMPILER = shlex.split(os.environ.get("CC", "cc"))

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which(COMPILER[0]) is None,
    reason="preloads an allocator, which a C compiler has to make",
)

PROGRAM = """
import ctypes, sys
import numpy as np, fastxent as fx

allocator = ctypes.CDLL(None)
allocator.end_watch.restype = ctypes.c_long
allocator.watch_allocations.argtypes = [ctypes.c_long]
rng = np.random.default_rng(0)
z = rng.normal(0, 3, (2, 6000, 20)).astype(np.float32)
y = rng.integers(0, 20, (2, 6000))
p = rng.uniform(0.1, 0.9, z.shape)
t = (p > 0.5).astype(np.float16)
few = rng.integers(0, 20, (2, 5))
NUMBA = sys.argv[1] == "numba"
CALLS = {
    "labels": lambda: fx.softmax_cross_entropy(z, y, ignore_index=(3, 4), return_grad=True),
    "short": lambda: fx.sigmoid_cross_entropy(z[0, :50], y[0, :50]),
    "dense": lambda: fx.sigmoid_focal_loss(z, t, alpha=p[0, 0], reduction="mean",
                                           normalizer="positive", return_grad=True),
    "probabilities": lambda: fx.binary_cross_entropy(p, y),
    "softmax": lambda: fx.softmax(z),
    "sigmoid": lambda: fx.sigmoid(z[:, ::2]),
    "logsumexp": lambda: fx.logsumexp(p, axis=(0, 1)),
} | ({} if NUMBA else {
    "all": lambda: fx.select_candidates(z, score_threshold=0.5, top_k=None),
    "best": lambda: fx.select_candidates(z, top_k=300),
    "per class": lambda: fx.select_candidates(p, activation=None, top_k_per="class", top_k=200,
                                              objectness=p[..., 0]),
    "softmaxes": lambda: fx.select_candidates([z, z[:, ::2]], activation="softmax", top_k=10_000,
                                              top_k_per="level", score_threshold=None),
    "mining": lambda: fx.hard_negatives(p[..., 0], y, background_index=0),
    "ohem": lambda: fx.ohem(z[..., 0], 100),
    "cost": lambda: fx.class_cost(z, few),
    "simota": lambda: fx.class_cost(z, few, kind="simota", objectness=z[..., 0]),
})

def values_of(result):
    if isinstance(result, fx.Candidates):
        result = [getattr(result, name) for name in ("image", "anchor", "label", "score", "found")]
    return [np.array(one) for one in (result if isinstance(result, (tuple, list)) else [result])]

fx.set_backend(sys.argv[1])
failures = 0
for name, call in CALLS.items():
    for threads in (1, 3):
        with fx.threads(threads):
            expected = values_of(call())
            for number in range(1, 500):
                allocator.watch_allocations(number)
                try:
                    result = call()
                except MemoryError:
                    result = None
                left = allocator.end_watch()
                if result is None:
                    assert left == 0, (name, threads, number, left)
                    failures += 1
                assert all(map(np.array_equal, values_of(call()), expected)), (name, number)
                if left < 0:  # no allocation has this number
                    assert result is not None
                    break
                # A call of whatever finds another way is right, too.
                if result is not None:
                    assert all(map(np.array_equal, values_of(result), expected)), (name, number)
            else:
                raise SystemExit(f"{name} has no end")
print(failures)
"""


@pytest.fixture(scope="module")
def allocator(tmp_path_factory):
    library = tmp_path_factory.mktemp("allocator") / "failing_allocator.so"
    source = TESTS / "support" / "failing_allocator.c"
    options = ["-O1", "-shared", "-fPIC", "-Wall", "-Werror"]
    subprocess.run([*COMPILER, *options, source, "-o", library, "-ldl"], check=True, timeout=120)
    return library


@pytest.mark.parametrize("backend", ["native", "numba"])
def test_every_allocation_may_fail(backend, allocator):
    if backend == "numba":
        pytest.importorskip("numba")
    run = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", "-c", PROGRAM, backend],
        env={**os.environ, "LD_PRELOAD": str(allocator)},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) > (20 if backend == "numba" else 60)
