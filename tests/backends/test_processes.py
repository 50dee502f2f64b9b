"""Every kind of call in worker processes and threads, at the end of a process, with neighbours.

Everything runs in processes of its own, with time limits: a hang is a failure of the test and not
of the run.
"""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
BACKENDS = ["native", "numba"]

COMMON = """
import os, sys, threading
import fastxent as fx
from support import every_call
from support.every_call import CALLS, LOSSES_AND_SCORES, digest, digest_all

BACKEND = os.environ.get("TESTED_BACKEND", "native")
fx.set_backend(BACKEND)
NAMES = tuple(CALLS if BACKEND == "native" else LOSSES_AND_SCORES)
"""


def run_python(tmp_path, code, *, timeout=120, common=COMMON, **environment):
    """Run a program in a file, which workers that are spawned import; return what it prints."""
    program = tmp_path / "program.py"
    program.write_text(common + code)
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", str(program)],
        env={**os.environ, "NUMBA_NUM_THREADS": "2", "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


def need(backend):
    if backend == "numba":
        pytest.importorskip("numba")


# --- worker processes ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
@pytest.mark.parametrize("backend", BACKENDS)
def test_worker_processes(backend, method, tmp_path):
    """Of a pool, and of concurrent.futures; the parent has threads, and computes meanwhile."""
    need(backend)
    code = f"""
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

def compute(threads):
    return digest_all(threads, NAMES)

if __name__ == "__main__":
    expected = compute(2)
    context = multiprocessing.get_context({method!r})
    with context.Pool(2) as pool:
        pending = pool.map_async(compute, [None, 1, 2, 3])
        assert compute(2) == expected
        assert pending.get(100) == [expected] * 4
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        assert list(executor.map(compute, [2, 1, None], timeout=100)) == [expected] * 3
    print("done")
"""
    assert run_python(tmp_path, code, TESTED_BACKEND=backend) == ["done"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("backend", BACKENDS)
def test_forks_while_others_compute(backend, tmp_path):
    """Whatever the others are in the middle of: the child computes, and the parent goes on."""
    need(backend)
    code = """
stop, wrong = threading.Event(), []
expected = digest_all(2, NAMES)

def compute():
    while not stop.is_set():
        if digest_all(2, NAMES) != expected:
            wrong.append(1)

threads = [threading.Thread(target=compute) for _ in range(2)]
for thread in threads: thread.start()
for _ in range(10):
    pid = os.fork()
    if pid == 0:
        os._exit(digest_all(2, NAMES) != expected)
    assert os.waitpid(pid, 0)[1] == 0
stop.set()
for thread in threads: thread.join()
print(len(wrong))
"""
    found = run_python(tmp_path, code, TESTED_BACKEND=backend, FASTXENT_RESULT_CACHE="64M")
    assert found == ["0"]


# --- threads -------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_eight_threads_a_thousand_calls_each(backend, tmp_path):
    """Every result is compared; each thread with other numbers of threads of its own."""
    need(backend)
    code = """
from concurrent.futures import ThreadPoolExecutor
expected = dict(zip(NAMES, digest_all(2, NAMES)))

def compute(seed):
    wrong = 0
    for number in range(125 if BACKEND == "numba" else 1000):
        name = NAMES[(number + seed) % len(NAMES)]
        wrong += digest(name, 1 + (number // 7 + seed) % 3) != expected[name]
    return wrong

with ThreadPoolExecutor(8) as executor:
    print(sum(executor.map(compute, range(8))))
"""
    assert run_python(tmp_path, code, TESTED_BACKEND=backend, timeout=250) == ["0"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_end_of_a_process_with_daemon_threads(backend, tmp_path):
    """They are in the middle of calls when the interpreter goes away."""
    need(backend)
    code = """
import atexit, time
def compute():
    while True:
        digest_all(2, NAMES)
digest_all(2, NAMES)
for _ in range(3):
    threading.Thread(target=compute, daemon=True).start()
atexit.register(lambda: (digest_all(2, NAMES), print("computed at exit", flush=True)))
time.sleep(0.2)
"""
    for _ in range(3):
        assert run_python(tmp_path, code, TESTED_BACKEND=backend) == ["computed", "at", "exit"]


# --- OpenMP's variables, and other users of it ----------------------------------------------------

VARIABLES = [
    {"OMP_NUM_THREADS": "1"},
    {"OMP_NUM_THREADS": "3,2"},
    {"OMP_THREAD_LIMIT": "1"},
    {"OMP_THREAD_LIMIT": "2"},
    {"OMP_MAX_ACTIVE_LEVELS": "0"},
    {"OMP_MAX_ACTIVE_LEVELS": "3", "OMP_NESTED": "true"},
    {"OMP_DYNAMIC": "true"},
    {"OMP_SCHEDULE": "static,1", "OMP_CANCELLATION": "true"},
    {"OMP_WAIT_POLICY": "active"},
    {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"},
    {"OMP_PROC_BIND": "close", "OMP_PLACES": "threads"},
    {"OMP_STACKSIZE": "64k"},
    {"OMP_STACKSIZE": "nonsense", "OMP_NUM_THREADS": "0"},
]


@pytest.mark.parametrize("variables", VARIABLES, ids=lambda variables: " ".join(variables.values()))
def test_variables_of_openmp(variables, tmp_path):
    # OpenMP says what is nonsense, on stderr.
    code = "print(*digest_all(), *digest_all(3), sep='\\n')"
    digests = run_python(tmp_path, code, **variables)
    half = len(digests) // 2
    assert digests[:half] == digests[half:] == run_python(tmp_path, "print(*digest_all(1))")


#: Of each two, either comes first in one of these; and of all four, each comes first in one.
ORDERS = [
    ("torch", "onnxruntime", "sklearn", "fastxent"),
    ("fastxent", "sklearn", "onnxruntime", "torch"),
    ("onnxruntime", "fastxent", "torch", "sklearn"),
    ("sklearn", "torch", "fastxent", "onnxruntime"),
]


@pytest.mark.exhaustive
@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
def test_orders_of_imports(order, tmp_path):
    """Each computes in parallel, in turns and at once; results are those of fastxent alone."""
    for name in (*order, "onnx"):
        pytest.importorskip(name)
    code = """
import threading
import numpy as np, onnxruntime, torch
from sklearn.cluster import KMeans
from onnx import TensorProto, helper
from support.every_call import digest_all

def session():
    node = helper.make_node("Softmax", ["x"], ["y"])
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [500, 400]) for n in "xy"]
    graph = helper.make_graph([node], "graph", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=providers)

x = np.random.default_rng(0).normal(size=(500, 400)).astype(np.float32)
softmax = session()

def compute_others():
    y = torch.softmax(torch.from_numpy(x), 1).numpy()
    np.testing.assert_allclose(softmax.run(None, {"x": x})[0], y, rtol=1e-5)
    KMeans(4, n_init=1, max_iter=5, random_state=0).fit(x)
    (torch.from_numpy(x) @ torch.from_numpy(x).T).sum()

found = [digest_all(2)]
compute_others()
found.append(digest_all(2))
other = threading.Thread(target=compute_others)
other.start()
found.append(digest_all(2))
other.join()
for digests in found:
    assert digests == found[0]
print(*found[0])
"""
    imports = "".join(f"import {name}\n" for name in order)
    alone = run_python(tmp_path, "print(*digest_all(1))")
    assert run_python(tmp_path, code, common=imports, timeout=250) == alone
