"""What is recorded of commits: complete, for commits of any age, and the same in every run."""

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support import requirements

import fastxent as fx
from fastxent._catalogue import LOSSES, SCORES
from fastxent._config import BACKENDS

ROOT = Path(__file__).parents[2]
ASV_BENCH = ROOT / "asv_bench"
if not ASV_BENCH.is_dir():
    pytest.skip("only in the source tree", allow_module_level=True)
sys.path.append(str(ASV_BENCH))

import recorder  # noqa: E402
from suite import counting, package, rows, turns  # noqa: E402

FEW_LOGITS = 1_600
BY_NAME = {f"{row.group} {row.name}": row for row in rows.ROWS}


# --- complete -------------------------------------------------------------------------------------


def test_the_registry_is_that_of_the_package():
    assert set(package.LOSSES) == set(LOSSES)
    assert set(package.SCORES) == set(SCORES)
    assert set(package.BACKENDS) == set(BACKENDS)


@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_has_each_layout(loss):
    for group in (loss, f"{loss}_gradient"):
        layouts = {row.name for row in rows.GROUPS[group]}
        has_one_class = LOSSES[loss].sigmoid and loss != "quality_focal_loss"
        assert layouts == set(rows.LAYOUTS) - (set() if has_one_class else {"one class"})
        assert all(row.is_counted for row in rows.GROUPS[group])


def test_each_score_and_function_of_detection_is_there():
    for score in SCORES:
        assert "80 classes" in {row.name for row in rows.GROUPS[score]}
    for module in ("heads", "mining"):
        assert {row.name for row in rows.GROUPS[module]} == set(package.public_functions(module))
    for module, group in {
        "candidates": "select_candidates",
        "matching": "class_cost",
        "detection": "recommend_loss",
    }.items():
        assert package.public_functions(module) == (group,)
        assert group in rows.GROUPS


def test_variations_cover_what_can_differ():
    layouts = [*rows.LAYOUTS.values(), *rows.VARIATIONS.values()]
    assert {layout.threads for layout in layouts} == {1, 2}
    assert {layout.dtype for layout in layouts} == {"float32", "float64", "bfloat16"}
    assert {layout.backend for layout in layouts} == set(BACKENDS) - {"numpy"}
    assert {layout.shape.axis for layout in layouts} == {-1, 1, None}


@pytest.mark.parametrize("name", BY_NAME)
def test_every_row_can_be_called(name):
    if name.startswith("numba"):
        pytest.importorskip("numba")
    call = rows.make_call(BY_NAME[name], FEW_LOGITS)
    assert call is not None
    expected = 8_000 if name.startswith("short_calls") else FEW_LOGITS
    assert call.logits == pytest.approx(expected, rel=0.05)


def test_masked_logits_and_columns_among_others():
    values = {}
    for variation in ("masked", "among other columns"):
        call = rows.make_call(BY_NAME[f"{variation.replace(' ', '_')} softmax"], FEW_LOGITS)
        values[variation] = call.run.args[0]
    assert 0.05 < np.mean(values["masked"] == rows.MASK) < 0.2
    assert values["among other columns"].strides == (85 * 4, 4)


# --- of commits of any age ------------------------------------------------------------------------


def test_what_a_commit_does_not_have_is_none(monkeypatch):
    def without_gradients(logits, targets, *, num_threads, out=None):
        return out

    monkeypatch.setattr(fx, "sigmoid_cross_entropy", without_gradients)
    monkeypatch.delattr(fx, "softmax")
    assert rows.make_call(BY_NAME["sigmoid_cross_entropy 80 classes"], FEW_LOGITS)
    for name in ("sigmoid_cross_entropy_gradient 80 classes", "softmax 80 classes"):
        assert rows.make_call(BY_NAME[name], FEW_LOGITS) is None


def test_a_benchmark_has_all_of_its_figures_or_none():
    benchmark = recorder.Benchmark("time.a", "x", {"row": ["one", "two"]})
    one, two = recorder.Figure(1.0, 0.9, 1.1), recorder.Figure(2.0, 1.9, 2.1)
    assert benchmark.result({("one",): one}) is None
    complete = benchmark.result({("two",): two, ("one",): one})
    assert complete == [[1.0, 2.0], [["'one'", "'two'"]], "1", [0.9, 1.9], [1.1, 2.1]]


# --- counts ---------------------------------------------------------------------------------------

without_valgrind = requirements.absence("valgrind")
needs_valgrind = pytest.mark.skipif(bool(without_valgrind), reason=without_valgrind)


@pytest.mark.exhaustive
@needs_valgrind
def test_instructions_repeat():
    groups = ("odds", "sigmoid_cross_entropy")
    counts = counting.count("avx2", groups)
    assert set(counts) == {(row.group, row.name) for g in groups for row in rows.GROUPS[g]}
    # A vector of eight: one load, one store, the loop, and what p / (1 - p) takes.
    assert 4 / 8 < counts["odds", "80 classes"].instructions < 16 / 8
    for count in counts.values():
        # Not every instruction waits for memory.
        assert count.instructions / 2 < count.cycles < 3 * count.instructions
    again = counting.count("avx2", groups, with_cycles=False)
    for row, count in again.items():
        assert count.instructions == pytest.approx(counts[row].instructions, abs=0.02), row


def test_cycles_are_those_of_kcachegrind():
    #         Ir Dr Dw I1 D1r D1w IL DLr DLw Bc Bcm Bi Bim
    events = [50, 9, 9, 1, 2, 3, 0.1, 0.2, 0.3, 9, 1, 9, 2]
    assert counting._cycles(events) == 50 + 10 * 6 + 100 * 0.6 + 10 * 3
    assert counting._cycles([50]) == 0


# --- times ----------------------------------------------------------------------------------------


def test_turns_alternate_and_have_as_many_calls():
    log = []
    workers = [
        SimpleNamespace(take=lambda calls, name=name: log.append((name, calls)) or float(len(log)))
        for name in ("base", "head")
    ]
    taken = list(turns._take_turns(workers, 3))
    assert len(taken) == turns.ROUNDS
    assert log[:4] == [("base", 3), ("head", 3), ("head", 3), ("base", 3)]
    assert taken[:2] == [(1.0, 2.0), (4.0, 3.0)]


def test_one_thread_is_timed_by_its_own_clock():
    call = rows.Call(lambda: time.sleep(0.01), 1)
    assert turns._seconds(call, time.thread_time, 2) < 0.01
    assert turns._seconds(call, time.perf_counter, 2) > 0.02
    others = {row.group for row in rows.ROWS if row.clock is not time.thread_time}
    assert others == {"two_threads", "start"}
    before = rows._time_of_children()
    assert turns._seconds(rows.make_call(BY_NAME["start import"], 1), rows._time_of_children, 1) < 1
    assert rows._time_of_children() > before


def test_a_worker_has_the_package_that_it_is_told(tmp_path):
    (tmp_path / "fastxent").symlink_to(ROOT / "fastxent")
    with pytest.raises(RuntimeError, match="was loaded, and not what is in"):
        turns.Worker(tmp_path / "elsewhere").__enter__()


def ratio(median, spread=0.1):
    return turns.Ratio(median, spread, median)


def test_times_are_confirmed_by_a_second_recording():
    assert recorder.confirmed([ratio(1.0), ratio(1.2)]) is None
    # The two that are closest, whatever came first.
    figure = recorder.confirmed([ratio(1.0), ratio(1.2), ratio(1.22)])
    assert figure == recorder.Figure(1.21, 1.16, 1.26)


def test_times_that_differ_are_recorded_again(monkeypatch):
    row = BY_NAME["start import"]
    medians = iter([1.0, 1.2, 1.01, 9.0])
    monkeypatch.setattr(turns, "measure", lambda *_: {(row.group, row.name): ratio(next(medians))})
    results = recorder.record_times(None, None, [row])
    assert results["time.start"][0] == [1.0]
    assert next(medians) == 9.0


def test_a_worker_measures_memory():
    with turns.Worker(None) as worker:
        assert worker.prepare(BY_NAME["sigmoid 80 classes"]) > 0
        bytes_of_logits = 4 * turns.LOGITS
        assert 2 * bytes_of_logits < worker.peak_bytes() < 2**29


def test_what_is_imported_is_the_standard_library_and_benchmarks():
    program = "import sys; sys.path.insert(0, sys.argv[1]); from suite import rows; "
    program += "print('torch' in sys.modules or 'asv' in sys.modules)"
    command = [sys.executable, "-c", program, str(ASV_BENCH)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
