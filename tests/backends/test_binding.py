"""The CPUs of a process, as its affinity says, whatever OpenMP has bound to some of them."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastxent as fx
from fastxent import _config, native

if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
    pytest.skip("needs two CPUs, and to choose among them", allow_module_level=True)
if fx.show_config().build["openmp"] == "none":
    pytest.skip("needs OpenMP", allow_module_level=True)

FIRST, SECOND = sorted(os.sched_getaffinity(0))[:2]
BOTH = {FIRST, SECOND}
BINDINGS = {
    "OMP_PROC_BIND": "close",
    "OMP_PLACES": f"{{{FIRST}}},{{{SECOND}}}",
    "GOMP_CPU_AFFINITY": f"{FIRST} {SECOND}",
}
IMPORTS = {
    "fastxent": "",
    "numpy": "import numpy",
    "torch": "import torch",
    # It brings an OpenMP of its own.
    "sklearn": "import sklearn.utils._openmp_helpers",
}
USED_CPUS = """
import os
def used_cpus():
    logits = numpy.zeros((50_000, 20), "float32")
    fastxent.softmax_cross_entropy(logits, numpy.zeros(50_000, int))
    return set().union(*(os.sched_getaffinity(int(task)) for task in os.listdir("/proc/self/task")))
"""


def run_python(code, cpus=BOTH, **environment):
    """Run code in a process that may use these CPUs."""
    limit = f"import os; os.sched_setaffinity(0, {cpus})\n"
    inherited = {
        k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "NUMBA_NUM"))
    }
    run = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", limit + code],
        # Threads of other pools would hide what the kernels' own may use.
        env={**inherited, "OPENBLAS_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split("\n")[:-1]


# --- binding --------------------------------------------------------------------------------------


@pytest.mark.exhaustive
@pytest.mark.parametrize("first", IMPORTS)
@pytest.mark.parametrize("variable", BINDINGS)
def test_binding_takes_no_threads_away(variable, first):
    """OpenMP binds the thread that imports it, but the process has as many CPUs as before."""
    if first in {"torch", "sklearn"}:
        pytest.importorskip(first)
    code = f"""
{IMPORTS[first]}
import fastxent, numpy
{USED_CPUS}
print(fastxent.get_num_threads())
print(sorted(used_cpus()))
"""
    binding = {variable: BINDINGS[variable]}
    assert run_python(code, **binding) == ["2", str(sorted(BOTH))]
    assert run_python(code, {FIRST}, **binding)[0] == "1"


@pytest.mark.exhaustive
@pytest.mark.parametrize("first", ["fastxent", "torch"])
def test_no_binding(first):
    pytest.importorskip(first)
    code = f"{IMPORTS[first]}\nimport fastxent; print(fastxent.show_config().threads_source)"
    code += "; print(fastxent.get_num_threads())"
    for environment in ({}, {"OMP_PROC_BIND": "false"}):
        assert run_python(code, **environment) == ["CPU affinity", "2"]
        assert run_python(code, {SECOND}, **environment) == ["CPU affinity", "1"]


def test_the_configuration_says_what_is_known_of_the_cpus():
    code = "import fastxent; c = fastxent.show_config(); print(c.threads, c.threads_source)"
    (text,) = run_python(code, OMP_PROC_BIND="close")
    assert text == "2 CPU affinity before OpenMP bound threads"
    (text,) = run_python(code, OMP_PLACES=f"{{{SECOND}}}")
    assert text == "1 OpenMP's places"
    # It may have been a user, or a parent that was bound: nothing tells.
    (text,) = run_python(code, {FIRST}, OMP_PROC_BIND="close")
    assert text == "1 CPU affinity, to which OpenMP may have bound a parent or a library"


def test_threads_of_python_inherit_the_place_of_their_creator():
    code = """
import threading, fastxent
thread = threading.Thread(target=lambda: print(fastxent.get_num_threads()))
thread.start()
thread.join()
"""
    assert run_python(code, OMP_PROC_BIND="close") == ["2"]


def test_spawned_processes():
    """Nothing bound the parent, which has not imported the package: the child has all CPUs."""
    code = """
import multiprocessing
{}
with multiprocessing.get_context("spawn").Pool(1) as pool:
    print(pool.apply(eval, ("__import__('fastxent').get_num_threads()",)))
    print(pool.apply(eval, ("__import__('fastxent').show_config().threads_source",)))
"""
    assert run_python(code.format("import numpy"), OMP_PROC_BIND="close")[0] == "2"
    # A parent that is bound passes on its one CPU.
    threads, source = run_python(code.format("import fastxent"), OMP_PROC_BIND="close")
    assert threads == "1"
    assert "bound a parent" in source


@pytest.mark.parametrize("variable", BINDINGS)
def test_forked_processes(variable):
    code = """
import os, numpy, fastxent
logits, labels = numpy.zeros((50_000, 20), "float32"), numpy.zeros(50_000, int)
expected = fastxent.softmax_cross_entropy(logits, labels)
pid = os.fork()
if pid == 0:
    print(fastxent.get_num_threads(), flush=True)
    fastxent.set_num_threads(2)
    print(fastxent.get_num_threads(), flush=True)
    losses = fastxent.softmax_cross_entropy(logits, labels)
    os._exit(not numpy.array_equal(losses, expected))
assert os.waitpid(pid, 0)[1] == 0
print(fastxent.get_num_threads())
"""
    assert run_python(code, **{variable: BINDINGS[variable]}) == ["1", "2", "2"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("layer", ["omp", "workqueue"])
@pytest.mark.parametrize("first", ["fastxent", "numba"])
def test_numba_has_threads_for_all_cpus(layer, first):
    """It counts the CPUs when it is imported, and its threads inherit those of their creator."""
    pytest.importorskip("numba")
    code = f"""
import {first}
import fastxent, numpy
fastxent.set_backend("numba")
{USED_CPUS}
print(sorted(used_cpus()))
import numba
print(numba.config.NUMBA_NUM_THREADS)
"""
    environment = {"NUMBA_THREADING_LAYER": layer, "OMP_PROC_BIND": "close"}
    assert run_python(code, **environment) == [str(sorted(BOTH)), "2"]


# --- changes of the affinity ----------------------------------------------------------------------


def test_calls_follow_the_affinity():
    """It is asked at every call that is long enough for several threads."""
    code = f"""
import os, fastxent, numpy
logits, labels = numpy.zeros((50_000, 20), "float32"), numpy.zeros(50_000, int)
def count_threads():
    fastxent.softmax_cross_entropy(logits, labels)
    return fastxent.get_num_threads(), len(os.listdir("/proc/self/task"))
os.sched_setaffinity(0, {{{SECOND}}})
print(*count_threads())
os.sched_setaffinity(0, {BOTH})
print(*count_threads())
os.sched_setaffinity(0, {{{FIRST}}})
print(count_threads()[0])
"""
    assert run_python(code) == ["1 1", "2 2", "1"]
    # More CPUs than at the start: OpenMP's maximum is the number that there was then.
    assert run_python(code, {FIRST}) == ["1 1", "2 2", "1"]
    assert run_python(code, {FIRST}, OMP_NUM_THREADS="1") == ["1 1", "1 1", "1"]


def test_each_thread_of_python_has_its_own_affinity():
    seen = []

    def work():
        os.sched_setaffinity(0, {SECOND})
        seen.append(fx.get_num_threads())

    automatic = fx.get_num_threads()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [1]
    assert fx.get_num_threads() == automatic


def test_more_cpus_than_openmp_has_places():
    """An affinity that is none of OpenMP's places was set by the user."""
    code = f"""
import os, fastxent
os.sched_setaffinity(0, {BOTH})
print(fastxent.get_num_threads(), fastxent.show_config().threads_source)
"""
    assert run_python(code, OMP_PROC_BIND="close") == ["2 CPU affinity"]


def test_short_calls_do_not_ask(request):
    """The answer would take a tenth of their time."""
    asked = []
    automatic = _config.automatic_threads
    request.addfinalizer(lambda: native.set_automatic_choice(automatic))
    native.set_automatic_choice(lambda: asked.append(1) or automatic())
    logits, labels = np.zeros((2_000, 30), np.float32), np.zeros(2_000, int)
    fx.softmax_cross_entropy(logits, labels)
    fx.softmax_cross_entropy(logits, labels, reduction="mean", return_grad=True)
    fx.softmax(logits)
    fx.sigmoid(logits)
    assert not asked
    fx.sigmoid(np.zeros(100_000))
    assert asked
