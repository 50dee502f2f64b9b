"""The benchmarks over commits: complete, for commits of any age, and right about time."""

import json
import subprocess
import sys
import time
from pathlib import Path

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
for folder in (ROOT, ASV_BENCH):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

from suite import _cases, _measure, _package, instructions, scores, start  # noqa: E402

from benchmarks.shapes import Shape  # noqa: E402

SMALL = _cases.Condition("small", Shape((64, 80)))


# --- complete -------------------------------------------------------------------------------------


def test_the_registry_is_that_of_the_package():
    assert set(_package.LOSSES) == set(LOSSES)
    assert set(_package.SCORES) == set(SCORES)
    assert set(_package.BACKENDS) == set(BACKENDS)


@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_is_in_the_module_of_its_name(loss):
    package_module = getattr(fx, loss).__module__.removeprefix("fastxent.")
    module = __import__(f"suite.{package_module}", fromlist=["Loss"])
    for kind in (module.Loss, module.Gradient):
        functions, cases = kind.params
        assert loss in functions
        assert cases == tuple(_cases.CONDITIONS)


def test_each_score_head_and_function_of_detection_is_there():
    from suite import candidates, detection, heads, matching, mining

    for module in (candidates, matching, mining):
        name = module.__name__.removeprefix("suite.")
        assert set(module.FUNCTIONS) == set(_package.public_functions(name))
    assert set(detection.FUNCTIONS) == set(_package.public_functions("detection"))
    assert set(scores.Score.params[0]) == set(SCORES)
    assert set(heads.FUNCTIONS) == {"sigmoid_to_softmax_logits", "softmax_to_sigmoid_logit"}


def test_conditions_cover_what_can_differ():
    conditions = _cases.CONDITIONS.values()
    assert {condition.threads for condition in conditions} == {1, 2}
    assert {condition.dtype for condition in conditions} == {"float32", "float64", "bfloat16"}
    assert {condition.backend for condition in conditions} == set(BACKENDS)
    assert {condition.shape.axis for condition in conditions} == {-1, 1, None}
    assert any(condition.foreign_columns for condition in conditions)


def test_asv_finds_all_of_them_and_nothing_else(tmp_path):
    pytest.importorskip("asv_runner", reason="the extra asv is not installed")
    found = tmp_path / "found.json"
    program = "import sys; from asv_runner.discovery import _discover; _discover(sys.argv[1:])"
    command = [sys.executable, "-c", program, str(ASV_BENCH / "suite"), str(found)]
    subprocess.run(command, check=True, cwd=tmp_path)
    benchmarks = {each["name"]: each for each in json.loads(found.read_text())}
    names = {"calls.Call.time_call", "memory.Peak.peakmem_call", "memory.GradientPeak.peakmem_call"}
    names |= {"size.Size.track_wheel", "size.Size.track_extension", "start.FirstCall.track_seconds"}
    names |= {"start.timeraw_import", "start.timeraw_import_after_numpy"}
    names |= {"instructions.Instructions.track_avx2_per_logit"}
    for kinds in (
        *(f"{module}.{kind}" for module in loss_modules() for kind in ("Loss", "Gradient")),
        "scores.Score",
        "heads.Head",
        "detection.Recommendation",
        "candidates.Selection",
        "mining.Mining",
        "matching.Cost",
    ):
        names |= {f"{kinds}.track_over_read", f"{kinds}.track_ns_per_logit"}
    assert set(benchmarks) == names
    assert all(len(each["version"]) < 3 for each in benchmarks.values()), "a hash of the source"


def loss_modules():
    return {getattr(fx, loss).__module__.removeprefix("fastxent.") for loss in LOSSES}


# --- right ----------------------------------------------------------------------------------------


def test_figures_are_times_and_ratios():
    read, call = 0.02, 0.06
    runs = {"loss": lambda: time.sleep(call)}
    figures = _measure.figures_in_turns(runs, lambda: time.sleep(read), elements=1000)
    assert figures["loss"].over_read == pytest.approx(call / read, rel=0.25)
    assert figures["loss"].ns_per_logit == pytest.approx(call * 1e9 / 1000, rel=0.25)


def test_every_function_is_measured():
    figures = _measure.measure(_package.LOSSES + _package.SCORES, [SMALL])
    expected = {(kind, loss, "small") for kind in ("loss", "gradient") for loss in LOSSES}
    expected |= {("score", score, "small") for score in ("softmax", "log_softmax", "logsumexp")}
    assert set(figures) == expected
    assert all(figure.ns_per_logit > 0 < figure.over_read for figure in figures.values())


@pytest.mark.parametrize("name", _cases.CONDITIONS)
def test_every_condition_can_be_measured(name, monkeypatch):
    monkeypatch.setattr(_measure, "SCALE", 0.0005)
    condition = _cases.CONDITIONS[name]
    if not _measure.can_run(condition):
        pytest.skip("needs more CPUs or packages than there are here")
    figures = _measure.measure(["sigmoid_cross_entropy"], [condition])
    assert all(isinstance(figure, _measure.Figure) for figure in figures.values()), figures
    assert len(figures) == 2


def test_columns_among_others_hold_the_same_values():
    values = np.arange(12.0).reshape(3, 4)
    view = _measure._among_columns(values, 5)
    assert view.strides == (9 * 8, 8)
    assert (view == values).all()


# --- commits of any age ---------------------------------------------------------------------------


def test_what_a_commit_does_not_have_is_absent(monkeypatch):
    def without_gradients(logits, targets, *, num_threads, backend, out=None):
        return out

    monkeypatch.setattr(fx, "sigmoid_cross_entropy", without_gradients)
    monkeypatch.delattr(fx, "softmax")
    figures = _measure.measure(["sigmoid_cross_entropy", "softmax", "later"], [SMALL])
    assert set(figures) == {("loss", "sigmoid_cross_entropy", "small")}
    unknown = _cases.Condition("later", SMALL.shape, backend="later")
    assert not _measure.can_run(unknown)
    assert _measure.measure(["odds"], [unknown]) == {}


def test_what_fails_says_so(monkeypatch):
    def failing(*args, **options):
        raise ValueError("too bad")

    monkeypatch.setattr(fx, "sigmoid_cross_entropy", failing)
    figures = _measure.measure(["sigmoid_cross_entropy"], [SMALL])
    assert set(figures.values()) == {"ValueError: too bad"}
    track = _package_loss()
    with pytest.raises(RuntimeError, match="too bad"):
        track.setup(figures, "sigmoid_cross_entropy", "small")
    with pytest.raises(NotImplementedError):
        track.setup(figures, "softmax_cross_entropy", "small")


def _package_loss():
    from suite import losses

    return losses.Loss()


def test_more_threads_than_cpus_are_not_measured():
    many = _cases.Condition("many", SMALL.shape, threads=1024)
    assert not _measure.can_run(many)


# --- what is not timed ----------------------------------------------------------------------------


def test_first_calls():
    track = start.FirstCall()
    assert {case.partition(",")[0] for case in track.params} == set(BACKENDS)
    assert 0 < track.track_seconds("native") < 1
    with pytest.raises(NotImplementedError):
        track.setup("later")


without_valgrind = requirements.absence("valgrind")
needs_valgrind = pytest.mark.skipif(bool(without_valgrind), reason=without_valgrind)


@pytest.mark.exhaustive
@needs_valgrind
def test_instructions_repeat_to_the_digit():
    functions = ("odds", "sigmoid_cross_entropy")
    counts = instructions.count_instructions(functions)
    assert set(counts) == {
        ("odds", "score"),
        ("sigmoid_cross_entropy", "loss"),
        ("sigmoid_cross_entropy", "gradient"),
    }
    # A vector of eight: one load, one store, the loop, and what p / (1 - p) takes.
    assert 4 / 8 < counts["odds", "score"] < 16 / 8
    assert counts["sigmoid_cross_entropy", "loss"] < counts["sigmoid_cross_entropy", "gradient"]
    assert instructions.count_instructions(functions) == counts
