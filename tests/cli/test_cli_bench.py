"""fastxent bench: what is timed is right, takes turns, and is written down."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest
from support.cli import COMMAND, fails, run, table

import fastxent
from fastxent.cli import bench, bench_cases, machine, show, timing
from fastxent.cli.bench_cases import FUNCTIONS, Case, Head
from fastxent.cli.numpy_forms import NUMPY_FORMS, one_hot

TINY = ("--anchors", 40, "--classes", 5, "--rounds", 2)
OTHER_NAMES = {
    "custom_loss",
    "recommend_loss",
    "sigmoid_to_softmax_logits",
    "softmax_to_sigmoid_logit",
}


def bench_json(*arguments):
    """Run the command with --json - and return what it prints."""
    result = run("bench", *TINY, "--json", "-", *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


# --- the rounds -----------------------------------------------------------------------------------


def test_rounds_have_all_contenders(monkeypatch):
    monkeypatch.setattr(timing, "SHORTEST_TURN", 0)
    calls = []
    monkeypatch.setattr(Case, "call", lambda _, threads: calls.append(f"fastxent{threads}"))
    monkeypatch.setattr(Case, "read", lambda _, threads: calls.append(f"read{threads}"))
    monkeypatch.setattr(Case, "call_numpy", lambda _: calls.append("numpy"))
    monkeypatch.setattr(Case, "check", lambda _: calls.append("check") or 0.0)
    monkeypatch.setattr(Case, "check_numpy", lambda _: calls.append("check"))
    options = bench.BenchOptions(16, 3, (1, 2), "float32", ("sigmoid",), 2, 0, numpy=True)
    steps = []
    bench.run_bench(options, steps.append)
    checks = ["fastxent1", "check", "fastxent2", "check", "numpy", "check"]
    names = ["fastxent1", "read1", "fastxent2", "read2", "numpy"]
    warm_up = [name for name in names for _ in range(2)]
    assert calls == checks + warm_up + names + names[1:] + names[:1]
    assert sum(steps) == bench.count_steps(options) == 3


# --- what is timed -------------------------------------------------------------------------------


def test_every_loss_and_score_is_there():
    known = {name for name in fastxent.__all__ if name.endswith(("_loss", "_cross_entropy"))}
    known -= OTHER_NAMES
    assert known <= set(FUNCTIONS) == set(NUMPY_FORMS)
    assert set(FUNCTIONS) <= set(fastxent.__all__)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(300, 7), (3, 7, 100)])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_both_are_right(name, shape, dtype):
    head = Head(shape, np.dtype(dtype), seed=1)
    for gradient in (False, True)[: 1 + FUNCTIONS[name].is_loss]:
        case = Case(name, head, gradient)
        case.call(2)
        assert 0 <= case.check() < 0.02
        for out in case.outs:
            out.fill(7)
        case.call_numpy()
        case.check_numpy()
        case.read(2)


def test_heads_depend_on_the_seed_alone():
    first, again, other = (Head((50, 4), np.dtype(np.float32), seed) for seed in (1, 1, 2))
    assert first.positions.shape == (50,)  # made before the logits, which it does not change
    assert np.array_equal(first.logits, again.logits)
    assert not np.array_equal(first.logits, other.logits)


def test_dense_targets_are_the_qualities_of_labels():
    head = Head((2, 5, 30), np.dtype(np.float32), seed=0)
    expected = one_hot(head.labels, head.dense) * head.qualities[:, None]
    assert np.array_equal(head.dense, expected)
    assert 0 < np.count_nonzero(head.dense) < 60


@pytest.mark.parametrize("wrong", [1.00001, np.nan])
def test_wrong_results_end_with_status_1(wrong, monkeypatch):
    def broken(*arguments, backend=None, **options):
        result = fastxent.sigmoid(*arguments, backend=backend, **options)
        if backend is None:
            result *= np.float32(wrong)
        return result

    monkeypatch.setattr(bench_cases, "fastxent", SimpleNamespace(sigmoid=broken))
    result = run("bench", *TINY, "--functions", "sigmoid")
    assert result.exit_code == 1
    assert result.output.startswith("fastxent: sigmoid of 40 x 5 float32 has a relative error of ")
    assert result.output.count("\n") == 1


def test_wrong_numpy_ends_with_status_1(monkeypatch):
    monkeypatch.setitem(NUMPY_FORMS, "sigmoid", lambda logits: logits)
    result = run("bench", *TINY, "--functions", "sigmoid")
    assert result.exit_code == 1
    assert result.output == "fastxent: NumPy's sigmoid of 40 x 5 float32 is not the same\n"


# --- the machine ---------------------------------------------------------------------------------


def test_cpu_model(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel\t\t: 85\nmodel name\t: A CPU: fast\n\n")
    assert machine.cpu_model(cpuinfo) == "A CPU: fast"
    assert machine.cpu_model(tmp_path / "missing")


# --- the command ---------------------------------------------------------------------------------


def test_json_holds_everything():
    names = "softmax,sigmoid_cross_entropy"
    found = bench_json("--functions", names, "--threads", "1,2", "--threads", "1", "--seed", 3)
    config, described = fastxent.show_config(), found["machine"]
    for name in ("isa", "backend", "numpy", "threads", "build"):
        assert described[name] == getattr(config, name)
    assert described["fastxent"] == fastxent.__version__
    assert described["cpu"] == machine.cpu_model()
    assert found["options"] == {
        "anchors": 40,
        "classes": 5,
        "shapes": [[40, 5], [8, 5, 5]],
        "threads": [1, 2],
        "dtype": "float32",
        "functions": ["sigmoid_cross_entropy", "softmax"],
        "rounds": 2,
        "seed": 3,
        "numpy": True,
    }
    keys = ("shape", "function", "gradient", "threads")
    cases = [("sigmoid_cross_entropy", False), ("sigmoid_cross_entropy", True), ("softmax", False)]
    shapes = [[40, 5], [8, 5, 5]]
    expected = [[shape, *case, threads] for shape in shapes for case in cases for threads in (1, 2)]
    assert [[row[key] for key in keys] for row in found["results"]] == expected


def test_numbers_in_json_agree():
    for row in bench_json("--functions", "sigmoid,softmax_focal_loss", "--rounds", 3)["results"]:
        logits = np.prod(row["shape"])
        times = {name: row[name] for name in ("seconds", "read_seconds", "numpy_seconds")}
        assert {len(its_times) for its_times in times.values()} == {3}
        median = {name: sorted(its_times)[1] for name, its_times in times.items()}
        assert row["ns_per_logit"] == pytest.approx(median["seconds"] / logits * 1e9)
        assert row["read_ns_per_logit"] == pytest.approx(median["read_seconds"] / logits * 1e9)
        assert row["numpy_ns_per_logit"] == pytest.approx(median["numpy_seconds"] / logits * 1e9)
        assert row["read_share"] == pytest.approx(median["read_seconds"] / median["seconds"])
        assert row["numpy_ratio"] == pytest.approx(median["numpy_seconds"] / median["seconds"])
        assert 0 <= row["max_relative_error"] < 1e-5


def test_without_numpy(monkeypatch):
    monkeypatch.setattr(Case, "call_numpy", lambda _: pytest.fail("NumPy was called"))
    found = bench_json("--no-numpy", "--functions", "sigmoid")
    (row,) = found["results"]
    assert [row[name] for name in ("numpy_seconds", "numpy_ratio", "numpy_ns_per_logit")] == [
        None
    ] * 3
    assert "NumPy  faster" not in run("bench", *TINY, "--no-numpy", "--functions", "odds").output


def test_all_functions_and_all_threads():
    found = bench_json("--functions", "all", "--threads", "all", "--rounds", 1)
    assert {row["function"] for row in found["results"]} == set(FUNCTIONS)
    assert {row["threads"] for row in found["results"]} == {fastxent.get_num_threads()}


def test_default_heads():
    shapes = bench.BenchOptions(None, None, (1,), "float32", ("sigmoid",), 1, 0, numpy=True).shapes
    assert shapes == ((200_000, 80), (8, 81, 8732))


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_dtypes(dtype):
    found = bench_json("--dtype", dtype, "--functions", "sigmoid_focal_loss")
    assert found["options"]["dtype"] == dtype
    assert len(found["results"]) == 4


def test_tables_and_bars():
    result = run("bench", *TINY, "--threads", "1,2", "--functions", "softmax,sigmoid_focal_loss")
    assert result.exit_code == 0, result.output
    assert machine.cpu_model() in result.output
    rows = table(result.output, "40 x 5, class axis 1")
    labels = ["sigmoid_focal_loss", "sigmoid_focal_loss + grad", "softmax", "reading alone"]
    assert [row[:2] for row in rows] == [[label, n] for label in labels for n in "12"]
    assert [len(row) for row in rows] == [6] * 6 + [4] * 2
    bars = table(result.output, "8 x 5 x 5, ns/logit")
    assert [row[:2] for row in bars] == [[label, n] for label in labels[:3] for n in "12"]
    assert max(row[2].count("\u2588") + row[2].count("\u2592") for row in bars) == 30
    assert max(map(len, result.output.splitlines())) <= 84


def test_bars_without_unicode():
    command = [str(word) for word in (*COMMAND, "bench", *TINY, "--functions", "sigmoid")]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    result = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert b"= reading alone, # the rest" in result.stdout
    assert result.stderr == b""


def test_bars_are_never_longer_than_the_time_they_show():
    row = bench.Row("a", "a", False, (8, 2), 16, 1, 0.0, [1.0], [2.0], None)
    chart = show._bench_chart([row, replace(row, times=[0.001])], "=", "#")
    assert [str(cell) for cell in chart.columns[2].cells] == ["=" * 30, "="]


def test_json_file_beside_the_tables(tmp_path):
    path = tmp_path / "times.json"
    path.write_text("an older one")
    result = run("bench", *TINY, "--functions", "sigmoid", "--json", path)
    assert "reading alone" in result.output
    assert json.loads(path.read_text())["results"][0]["function"] == "sigmoid"
    assert [file.name for file in tmp_path.iterdir()] == ["times.json"]


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals of POSIX")
def test_progress_bar_on_a_terminal():
    leader, follower = os.openpty()
    command = [str(word) for word in (*COMMAND, "bench", *TINY, "--functions", "sigmoid")]
    environment = {**os.environ, "TERM": "xterm"}
    subprocess.run(command, stdout=subprocess.PIPE, stderr=follower, env=environment, check=True)
    os.set_blocking(leader, False)
    assert b"rounds" in os.read(leader, 10_000)
    os.close(follower)
    os.close(leader)


# --- errors --------------------------------------------------------------------------------------


@pytest.fixture
def no_work(monkeypatch):
    """Fail where the work would begin."""
    monkeypatch.setattr(Case, "call", lambda *_: pytest.fail("the work has begun"))


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--threads", "0"), '--threads 0 is neither in 1..1024 nor "all"'),
        (("--threads", "1,two"), '--threads two is neither in 1..1024 nor "all"'),
        (("--threads", ","), "--threads names none"),
        (("--functions", "sigmoid,softmx"), "--functions softmx is not one of all, sigmoid_cross"),
        (("--functions", ""), "--functions names none"),
        (("--json", "missing/times.json"), "--json missing/times.json: there is no folder missing"),
        (("--json", "."), "--json . is a folder"),
    ],
)
def test_bad_options(arguments, message):
    assert fails("bench", *arguments).startswith(message)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    "arguments",
    [("--anchors", 7), ("--classes", 1), ("--rounds", 0), ("--seed", -1), ("--dtype", "int8")],
)
def test_options_out_of_range(arguments):
    assert run("bench", *arguments).exit_code == 2


@pytest.mark.usefixtures("no_work")
def test_more_than_the_memory(monkeypatch):
    monkeypatch.setattr(machine, "memory_bytes", lambda: 8e9)
    message = fails("bench", "--anchors", 10**8)
    assert message == "this many logits need about 194 GB of memory, and this machine has 8"


@pytest.mark.usefixtures("no_work")
def test_bfloat16_without_ml_dtypes(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    message = fails("bench", "--dtype", "bfloat16")
    assert message == "--dtype bfloat16 needs ml_dtypes: pip install ml_dtypes"
