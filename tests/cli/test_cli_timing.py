"""The timing of contenders, which the command line, the benchmarks and asv's suite share."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from fastxent.cli.timing import FEWEST_ROUNDS, RoundRobin

ROOT = Path(__file__).parents[2]
HAS_SOURCES = all((ROOT / folder).is_dir() for folder in ("benchmarks", "fastxent"))


class Clock:
    """A clock that only contenders move."""

    now = 0.0

    def __call__(self):
        return self.now


def test_rounds_are_interleaved():
    clock, calls = Clock(), []

    def contender(name, seconds):
        def run():
            calls.append(name)
            clock.now += seconds

        return run

    runs = {"a": contender("a", 1.0), "b": contender("b", 2.0), "c": contender("c", 2**-10)}
    contest = RoundRobin(runs, pause=0, clock=clock)
    calls.clear()
    for _ in range(3):
        contest.round()
    short = ["c"] * 3  # 2 ms are a turn
    assert calls == ["a", "b", *short, "b", *short, "a", *short, "a", "b"]
    assert {name: turns.median for name, turns in contest.turns.items()} == pytest.approx(
        {"a": 1.0, "b": 2.0, "c": 2**-10}
    )
    assert contest.turns["a"].spread == 0


def test_slow_contenders_have_fewer_turns():
    clock = Clock()

    def slow():
        clock.now += 10.0

    contest = RoundRobin({"slow": slow, "fast": lambda: None}, 5.0, pause=0, clock=clock)
    contest.turns["fast"].calls = 1
    for _ in range(6):
        contest.round()
    assert len(contest.turns["slow"].seconds) == FEWEST_ROUNDS
    assert len(contest.turns["fast"].seconds) == 6


@pytest.mark.parametrize(("seconds", "calls"), [(0.001, 2), (0.5, 1)])
def test_long_calls_warm_up_once(seconds, calls):
    clock, made = Clock(), []

    def run():
        made.append(None)
        clock.now += seconds

    turns = RoundRobin({"only": run}, pause=0, clock=clock).turns["only"]
    assert (len(made), turns.seconds, turns.spent) == (calls, [], 0)


def test_garbage_is_not_collected_within_a_round():
    enabled = []
    contest = RoundRobin({"only": lambda: enabled.append(gc.isenabled())}, pause=0)
    enabled.clear()
    contest.round()
    assert set(enabled) == {False}
    assert gc.isenabled()


@pytest.mark.skipif(not HAS_SOURCES, reason="only in the source tree")
def test_benchmarks_take_it_from_the_tree():
    """Of an old commit only what the benchmarks time is there."""
    code = """
import sys
sys.modules["fastxent"] = None  # importing it is an error
from benchmarks import package
print(package.RoundRobin.__module__, len(package.LOSSES))
contest = package.RoundRobin({"a": int, "b": str}, pause=0)
contest.round()
assert contest.turns["a"].median > 0
"""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("fastxent_tree.cli.timing ")
