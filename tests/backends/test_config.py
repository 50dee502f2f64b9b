"""Threads, backend and instruction set: what is said where, and who wins."""

import asyncio
import contextvars
import os
import re
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastxent as fx
from fastxent import _config, _cpus, native


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    """Start from the automatic choices, and leave no settings behind."""
    monkeypatch.setattr(_config, "_environment", _config._Settings())
    monkeypatch.setattr(_config, "_process", _config._Settings())


def run_python(code, **environment):
    """Run code in a fresh interpreter."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("FASTXENT_")}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
    )


# --- threads -------------------------------------------------------------------------------------


def test_who_decides_the_threads(monkeypatch):
    automatic = fx.get_num_threads()
    assert 1 <= automatic <= native.openmp_max_threads()
    monkeypatch.setattr(_config, "_environment", _config._Settings(threads=7))
    assert fx.get_num_threads() == 7
    fx.set_num_threads(5)
    assert fx.get_num_threads() == 5
    with fx.threads(3):
        assert fx.get_num_threads() == 3
        with fx.threads(2):
            assert fx.get_num_threads() == 2
            assert _config.thread_count(11) == 11
        assert fx.get_num_threads() == 3
        fx.set_num_threads(4)
        assert fx.get_num_threads() == 3
    assert fx.get_num_threads() == 4
    fx.set_num_threads(None)
    assert fx.get_num_threads() == 7
    monkeypatch.setattr(_config, "_environment", _config._Settings())
    assert fx.get_num_threads() == automatic


def test_automatic_threads_are_the_smallest_limit(monkeypatch):
    monkeypatch.setattr(_config, "_initial_cpus", 0)
    for openmp, cpus, expected in ((8, 4, 4), (2, 4, 2), (9999, 9999, 1024), (1, 64, 1)):
        monkeypatch.setattr(native, "openmp_max_threads", lambda openmp=openmp: openmp)
        monkeypatch.setattr(_cpus, "count_cpus", lambda cpus=cpus: cpus)
        assert fx.get_num_threads() == expected


def test_cpus_are_the_smallest_limit(monkeypatch):
    for affinity, quota, expected in ((4, 3, 3), (4, np.inf, 4), (2, 3, 2)):
        monkeypatch.setattr(_cpus, "_affinity", lambda mask, affinity=affinity: ("", affinity))
        monkeypatch.setattr(_cpus, "_quota", lambda quota=quota: quota)
        _cpus._count.cache_clear()
        assert _cpus.count_cpus() == expected
    _cpus._count.cache_clear()


def test_a_maximum_that_openmp_has_counted_itself_is_no_limit(monkeypatch):
    """It is the number of CPUs when the package was imported; there may be more now."""
    monkeypatch.setattr(_config, "_initial_cpus", 2)
    monkeypatch.setattr(_cpus, "count_cpus", lambda: 4)
    for openmp, expected in ((2, 4), (3, 3), (1, 1)):
        monkeypatch.setattr(native, "openmp_max_threads", lambda openmp=openmp: openmp)
        assert fx.get_num_threads() == expected


def test_threads_of_a_call_reach_the_backend(monkeypatch):
    seen = []
    module = _config.backend_module("numpy")
    evaluate_loss, evaluate_score = module.evaluate_loss, module.evaluate_score
    monkeypatch.setattr(
        module, "evaluate_loss", lambda r: (seen.append(r.threads), evaluate_loss(r))[1]
    )
    monkeypatch.setattr(
        module, "evaluate_score", lambda *a: (seen.append(a[-1]), evaluate_score(*a))[1]
    )
    with fx.backend("numpy"), fx.threads(6):
        fx.softmax_cross_entropy(np.zeros((2, 3)), [0, 1])
        fx.softmax_cross_entropy(np.zeros((2, 3)), [0, 1], num_threads=9)
        fx.sigmoid(0.0)
        fx.logsumexp([0.0], num_threads=np.int64(8))
    assert seen == [6, 9, 6, 8]


@pytest.mark.parametrize("value", [0, -1, 1025])
def test_number_of_threads_out_of_range(value):
    with pytest.raises(ValueError, match=rf"^n = {value} is not in 1\.\.1024$"):
        fx.set_num_threads(value)
    with pytest.raises(ValueError, match=rf"^n = {value} is not in 1\.\.1024$"), fx.threads(value):
        pass


@pytest.mark.parametrize("value", [True, 2.0, "2"])
def test_number_of_threads_is_an_integer(value):
    with pytest.raises(TypeError, match=rf"^n must be an integer, not {value!r}$"):
        fx.set_num_threads(value)
    with pytest.raises(TypeError, match=r"^n must be an integer"), fx.threads(value):
        pass


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs CPU affinity")
def test_affinity_limits_the_threads():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); import fastxent as fx;"
        "print(fx.get_num_threads())"
    )
    assert run_python(code, OMP_NUM_THREADS="4").stdout.strip() == "1"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_computes_alone_unless_told_otherwise():
    code = """
import os, numpy as np, fastxent as fx
logits, labels = np.zeros((100_000, 3)), np.zeros(100_000, int)
fx.softmax_cross_entropy(logits, labels, num_threads=2)
def child(explicit):
    if pid := os.fork():
        assert os.waitpid(pid, 0)[1] == 0
        return
    if explicit:
        fx.set_num_threads(2)
    print(fx.get_num_threads(), fx.softmax_cross_entropy(logits, labels).sum().round(), flush=True)
    os._exit(0)
child(False); child(True)
"""
    run = run_python(code)
    assert run.stdout.split() == ["1", "109861.0", "2", "109861.0"], run.stderr


# --- backend -------------------------------------------------------------------------------------


def test_who_decides_the_backend(monkeypatch):
    assert fx.show_config().backend == "native"
    monkeypatch.setattr(_config, "_environment", _config._Settings(backend="numpy"))
    assert fx.show_config().backend == "numpy"
    fx.set_backend("native")
    assert fx.show_config().backend == "native"
    with fx.backend("numpy"):
        assert fx.show_config().backend == "numpy"
        assert _config.backend_module().__name__ == "fastxent.reference"
        assert _config.backend_module("native").__name__ == "fastxent.native"
    fx.set_backend(None)
    assert fx.show_config().backend == "numpy"


def test_backends_differ(monkeypatch):
    """The reference rounds once; so the two cannot be mistaken for each other."""
    called = []
    monkeypatch.setattr(native, "evaluate_score", lambda *arguments: called.append(arguments))
    fx.sigmoid(0.0, backend="numpy")
    assert called == []
    fx.sigmoid(0.0, backend="native")
    assert [arguments[0] for arguments in called] == ["sigmoid"]


def test_unknown_backend():
    message = "name = 'cuda' is not one of 'native', 'numba', 'numpy'"
    with pytest.raises(ValueError, match=message):
        fx.set_backend("cuda")
    with pytest.raises(ValueError, match=message), fx.backend("cuda"):
        pass
    with pytest.raises(TypeError, match=r"^name must be a string, not 3$"):
        fx.set_backend(3)
    with pytest.raises(TypeError, match=r"^name must be a string, not None$"), fx.backend(None):
        pass
    assert fx.show_config().backend == "native"


# --- context managers, threads and tasks ---------------------------------------------------------


def test_a_context_ends_with_an_error():
    automatic = fx.get_num_threads()
    with pytest.raises(KeyError), fx.threads(9), fx.backend("numpy"):
        raise KeyError
    assert fx.get_num_threads() == automatic
    assert fx.show_config().backend == "native"


def test_other_threads_are_not_concerned():
    inside, done, seen = threading.Event(), threading.Event(), []

    def work():
        with fx.threads(9), fx.backend("numpy"):
            inside.set()
            done.wait(10)
            seen.append((fx.get_num_threads(), fx.show_config().backend))

    automatic = fx.get_num_threads()
    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(10)
    assert fx.get_num_threads() == automatic
    assert fx.show_config().backend == "native"
    done.set()
    thread.join()
    assert seen == [(9, "numpy")]


def test_other_tasks_are_not_concerned():
    async def work(n):
        with fx.threads(n):
            await asyncio.sleep(0)
            return fx.get_num_threads()

    async def work_all():
        return await asyncio.gather(*map(work, range(1, 20)))

    assert asyncio.run(work_all()) == list(range(1, 20))


def test_contexts_can_be_copied():
    with fx.threads(9):
        context = contextvars.copy_context()
    assert context.run(fx.get_num_threads) == 9


# --- environment ---------------------------------------------------------------------------------


def test_environment():
    isa = native.available_isas()[-1]
    code = "import fastxent as fx; c = fx.show_config(); print(c.threads, c.backend, c.isa)"
    run = run_python(code, FASTXENT_NUM_THREADS="3", FASTXENT_BACKEND="numpy", FASTXENT_ISA=isa)
    assert run.stdout.split() == ["3", "numpy", isa], run.stderr
    run = run_python(code, FASTXENT_NUM_THREADS="", FASTXENT_BACKEND="", FASTXENT_ISA="")
    assert run.stdout.split()[1:] == ["native", native.available_isas()[0]], run.stderr


def test_omp_num_threads_is_respected():
    code = "import fastxent as fx; print(fx.get_num_threads())"
    assert run_python(code, OMP_NUM_THREADS="1").stdout.strip() == "1"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("NUM_THREADS", "0", "FASTXENT_NUM_THREADS = 0 is not in 1..1024"),
        ("NUM_THREADS", "two", "FASTXENT_NUM_THREADS = 'two' is not an integer in 1..1024"),
        ("NUM_THREADS", "-1", "FASTXENT_NUM_THREADS = '-1' is not an integer in 1..1024"),
        ("NUM_THREADS", "2.5", "FASTXENT_NUM_THREADS = '2.5' is not an integer in 1..1024"),
        ("BACKEND", "cuda", "FASTXENT_BACKEND = 'cuda' is not one of 'native', 'numba', 'numpy'"),
        ("ISA", "mmx", "FASTXENT_ISA = 'mmx' is not one of "),
    ],
)
def test_environment_that_makes_no_sense(variable, value, message):
    before = native.get_isa()
    with pytest.raises(ValueError, match=re.escape(message)):
        _config._apply_environment({f"FASTXENT_{variable}": value})
    assert native.get_isa() == before
    run = run_python("import fastxent", **{f"FASTXENT_{variable}": value})
    assert run.returncode == 1
    assert f"ValueError: {message}" in run.stderr


def test_the_isas_of_this_cpu_are_named_in_the_error():
    with pytest.raises(ValueError, match="is not one of") as error:
        _config._apply_environment({"FASTXENT_ISA": "mmx"})
    for isa in native.available_isas():
        assert repr(isa) in str(error.value)


# --- control groups ------------------------------------------------------------------------------


def control_groups(root, membership, files):
    (root / "membership").write_text(membership)
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return _cpus._cgroup_quota(root / "membership", root)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, np.inf),
        ({"cpu.max": "max 100000\n"}, np.inf),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"a/b/cpu.max": "300000 100000\n"}, 3.0),
        ({"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "max 100000\n"}, 2.0),
        ({"a/cpu.max": "max 100000\n", "a/b/cpu.max": "50000 100000\n"}, 0.5),
        ({"a/cpu.max": "garbage"}, np.inf),
    ],
)
def test_control_groups_of_version_2(files, expected, tmp_path):
    assert control_groups(tmp_path, "0::/a/b\n", files) == expected


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize(("quota", "expected"), [("-1", np.inf), ("250000", 2.5)])
def test_control_groups_of_version_1(mount, quota, expected, tmp_path):
    files = {f"{mount}/a/cpu.cfs_quota_us": quota, f"{mount}/a/cpu.cfs_period_us": "100000"}
    membership = "3:memory:/m\n2:cpu,cpuacct:/a\n0::/\n"
    assert control_groups(tmp_path, membership, files) == expected


def test_no_control_groups(tmp_path):
    assert _cpus._cgroup_quota(tmp_path / "missing", tmp_path) == np.inf


def test_a_quota_is_rounded_up(monkeypatch):
    for quota, expected in ((0.2, 1), (1.0, 1), (1.5, 2), (np.inf, None)):
        monkeypatch.setattr(_cpus, "_cgroup_quota", lambda *_, quota=quota: quota)
        _cpus._quota.cache_clear()
        assert _cpus.cpu_limits().get("cgroup quota") == expected
    _cpus._quota.cache_clear()


# --- show_config ---------------------------------------------------------------------------------


def test_show_config(monkeypatch):
    config = fx.show_config()
    assert config.version == fx.__version__
    assert config.numpy == np.__version__
    assert config.isa == native.get_isa()
    assert config.available_isas == native.available_isas()
    assert config.build == native.build_info()
    text = str(config)
    for part in (fx.__version__, "native", config.isa, np.__version__, *config.build.values()):
        assert part in text
    assert len(text.splitlines()) == 6 + len(config.build)


def test_source_of_the_threads(monkeypatch):
    limits = {"CPU affinity": 4, "cgroup quota": 3}
    monkeypatch.setattr(_cpus, "cpu_limits", lambda: limits)
    monkeypatch.setattr(_config, "_initial_cpus", 0)
    monkeypatch.setattr(native, "openmp_max_threads", lambda: 5)
    assert fx.show_config().threads_source == "cgroup quota"
    limits["CPU affinity"] = 2
    assert fx.show_config().threads_source == "CPU affinity"
    monkeypatch.setattr(native, "openmp_max_threads", lambda: 1)
    assert fx.show_config().threads_source == "OpenMP maximum"
    monkeypatch.setattr(_config, "_environment", _config._Settings(threads=7))
    assert fx.show_config().threads_source == "FASTXENT_NUM_THREADS"
    fx.set_num_threads(5)
    assert fx.show_config().threads_source == "set_num_threads"
    with fx.threads(3):
        assert fx.show_config().threads_source == "threads()"


# --- import --------------------------------------------------------------------------------------


def test_importing_loads_numpy_and_nothing_else():
    code = """
import sys, numpy
before = set(sys.modules)
import fastxent
new = {name.partition(".")[0] for name in set(sys.modules) - before}
# Cython's are made by the extension itself; Python 3.15 has one that it does not list.
others = ("_cython_", "cython_runtime", "_missing_stdlib_info")
new = {name for name in new if not name.startswith(others)}
print(*sorted(new - set(sys.stdlib_module_names) - {"fastxent", "numpy"}))
"""
    run = run_python(code)
    assert run.stdout.strip() == "", run.stderr
    assert run.returncode == 0


@pytest.mark.parametrize("maximum", [0, -1, -(2**31)])
def test_an_openmp_without_threads_leaves_one(maximum, monkeypatch):
    """LLVM's says so where OMP_NUM_THREADS is -1."""
    monkeypatch.setattr("fastxent._config.native.openmp_max_threads", lambda: maximum)
    assert _config.automatic_threads() >= 1
