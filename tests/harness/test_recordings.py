"""Of several recordings of a commit the smallest figures are kept."""

import copy
import json
import math
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

ASV_BENCH = Path(__file__).parents[2] / "asv_bench"
if not ASV_BENCH.is_dir():
    pytest.skip("only in the source tree", allow_module_level=True)
sys.path.append(str(ASV_BENCH))

import dashboard  # noqa: E402
import recordings  # noqa: E402
import typer  # noqa: E402

COMMIT = "0123456789" * 4
TIME, RATIO, CALL = (
    "losses.Loss.track_ns_per_logit",
    "losses.Loss.track_over_read",
    "calls.Call.time_call",
)
COLUMNS = ["result", "params", "version", "started_at", "duration", "stats_ci_99_a", "samples"]


def benchmark(figures, *, version="1", statistics=None):
    """A benchmark as asv writes it: nothing at the end that would be None."""
    parameters = [[f"'{position}'" for position in range(len(figures or ()))]]
    row = [figures, parameters, version, 1_700_000_000_000, 1.5]
    return [*row, statistics] if statistics else row


def recording(**results):
    return {"commit_hash": COMMIT, "result_columns": COLUMNS, "results": results, "version": 2}


def figures_of(kept, name):
    return kept["results"][name][0]


def test_a_ratio_goes_with_its_time():
    earlier = recording(**{RATIO: benchmark([9.0, 1.0]), TIME: benchmark([0.3, 0.5])})
    later = recording(**{RATIO: benchmark([2.0, 3.0]), TIME: benchmark([0.4, 0.4])})
    kept = recordings.smallest(earlier, later)
    assert figures_of(kept, TIME) == [0.3, 0.4]
    assert figures_of(kept, RATIO) == [9.0, 3.0]


def test_a_ratio_without_a_time_is_compared_by_itself():
    alone = recording(**{RATIO: benchmark([9.0, 1.0])})
    both = recording(**{RATIO: benchmark([2.0, 3.0]), TIME: benchmark([0.4, 0.4])})
    for kept in (recordings.smallest(alone, both), recordings.smallest(both, alone)):
        assert figures_of(kept, RATIO) == [2.0, 1.0]


def test_what_asv_knows_about_a_figure_goes_with_it():
    earlier = recording(**{CALL: benchmark([1e-6, 5e-6], statistics=[0.9e-6, 4.9e-6])})
    later = recording(**{CALL: benchmark([2e-6, 4e-6], statistics=[1.9e-6, 3.9e-6])})
    kept = recordings.smallest(earlier, later)
    assert figures_of(kept, CALL) == [1e-6, 4e-6]
    assert kept["results"][CALL][COLUMNS.index("stats_ci_99_a")] == [0.9e-6, 3.9e-6]


@pytest.mark.parametrize("nothing", [None, math.nan])
def test_gaps_are_filled_and_none_are_made(nothing):
    one = recording(**{CALL: benchmark([nothing, 2e-6], statistics=[None, 1e-6])})
    other = recording(**{CALL: benchmark([1e-6, nothing], statistics=[0.9e-6, None])})
    for kept in (recordings.smallest(one, other), recordings.smallest(other, one)):
        assert figures_of(kept, CALL) == [1e-6, 2e-6]
        assert kept["results"][CALL][COLUMNS.index("stats_ci_99_a")] == [0.9e-6, 1e-6]


def test_a_failure_takes_nothing_away():
    figures = recording(**{CALL: benchmark([1e-6, 2e-6], statistics=[0.9e-6, 1.9e-6])})
    failed = copy.deepcopy(figures)
    failed["results"][CALL] = [None, *failed["results"][CALL][1:5]]
    for kept in (recordings.smallest(figures, failed), recordings.smallest(failed, figures)):
        assert figures_of(kept, CALL) == [1e-6, 2e-6]
        assert kept["results"][CALL][COLUMNS.index("stats_ci_99_a")] == [0.9e-6, 1.9e-6]


@pytest.mark.parametrize("name", [TIME, RATIO])
def test_what_measures_something_else_is_not_compared(name):
    both = {TIME: benchmark([0.3]), RATIO: benchmark([1.0])}
    later = {TIME: benchmark([0.4], version="2"), RATIO: benchmark([2.0], version="2")}
    kept = recordings.smallest(recording(**both), recording(**later))
    assert figures_of(kept, name) == figures_of(recording(**later), name)
    # Other parameters.
    kept = recordings.smallest(recording(**{TIME: benchmark([0.1, 0.1])}), recording(**both))
    assert figures_of(kept, TIME) == [0.3]


def test_a_benchmark_that_only_one_has_is_kept():
    kept = recordings.smallest(recording(old=benchmark([1.0])), recording(new=benchmark([2.0])))
    assert figures_of(kept, "old") == [1.0]
    assert figures_of(kept, "new") == [2.0]


FIGURES = st.none() | st.just(math.nan) | st.floats(0.001, 1000)


@given(st.lists(st.tuples(FIGURES, FIGURES), min_size=1))
def test_every_figure_is_the_smallest_there_is(pairs):
    earlier, later = map(list, zip(*pairs, strict=True))
    kept = recordings.smallest(
        recording(**{CALL: benchmark(earlier)}), recording(**{CALL: benchmark(later)})
    )
    for figure, pair in zip(figures_of(kept, CALL), pairs, strict=True):
        measured = [each for each in pair if each is not None and not math.isnan(each)]
        if measured:
            assert figure == min(measured)
        else:
            assert figure is None or math.isnan(figure)


def test_recording_again_keeps_the_smaller_figures(tmp_path, monkeypatch):
    path = tmp_path / "a-machine" / f"{COMMIT[:8]}-environment.json"
    path.parent.mkdir()
    path.write_text(json.dumps(recording(**{CALL: benchmark([1.0, 4.0])})))

    def run_asv(*_, **__):
        path.write_text(json.dumps(recording(**{CALL: benchmark([2.0, 3.0])})))
        raise typer.Exit(2)  # as when one benchmark fails

    monkeypatch.setattr(dashboard, "RESULTS", tmp_path)
    monkeypatch.setattr(dashboard, "run_asv", run_asv)
    monkeypatch.setattr(dashboard, "register_machine", lambda: "a-machine")
    monkeypatch.setattr(dashboard, "commits_of_speed", lambda: [COMMIT])
    with pytest.raises(typer.Exit):
        dashboard.record(again=True)
    assert figures_of(json.loads(path.read_text()), CALL) == [1.0, 3.0]
