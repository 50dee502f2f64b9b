"""Options of a run, its threads, and the rounds that pytest-benchmark repeats."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

# The packages that have threads are imported when the CPU affinity is set: JAX, among others,
# makes as many as it finds CPUs, once.


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fastxent")
    group.addoption("--quick", action="store_true", help="a few rows, in minutes")
    group.addoption("--cross", action="store_true", help="cross everything with everything")
    group.addoption("--threads", default="all", help='threads of all libraries: "all" or a number')
    group.addoption("--rounds", type=int, default=0, help="rounds per row (15, quick: 7)")
    group.addoption("--budget", type=float, default=0, help="seconds per contender (4, quick: 1)")
    group.addoption("--scale", type=float, default=1, help="fraction of the anchors, for a trial")
    group.addoption("--peers", default="", help="comma-separated modules of benchmarks/peers")
    group.addoption("--results", type=Path, help="the file to write")
    group.addoption("--resume", action="store_true", help="leave out rows that the file has")


def grid_of(config: pytest.Config) -> str:
    """Return the name of the grid that was asked for."""
    if config.getoption("quick"):
        return "quick"
    return "cross" if config.getoption("cross") else "full"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", "ignore")  # other libraries' warnings
    wanted = config.getoption("threads")
    if hasattr(os, "sched_setaffinity"):
        cpus = sorted(os.sched_getaffinity(0))
        threads = len(cpus) if wanted == "all" else int(wanted)
        os.sched_setaffinity(0, cpus[:threads])
    else:
        threads = os.cpu_count() if wanted == "all" else int(wanted)
    config.stash[THREADS] = threads


THREADS = pytest.StashKey[int]()


def missing_modules(config: pytest.Config) -> dict[str, str]:
    """Return which module each wanted peer lacks, or ""."""
    from benchmarks import peers

    chosen = config.getoption("peers")
    return {name: peers.missing(name) for name in (chosen.split(",") if chosen else peers.PEERS)}


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Name the contenders that are not installed."""
    missing = missing_modules(config)
    if find_spec("numba") is None:
        missing["fastxent on backend numba"] = "numba"
    return [
        f"SKIPPED: {name}, for {module} is not installed"
        for name, module in missing.items()
        if module
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        from benchmarks.shapes import cases

        config = metafunc.config
        chosen = cases(grid_of(config), metafunc.module.KIND, config.getoption("scale"))
        metafunc.parametrize("case", chosen, ids=lambda case: case.name)


@pytest.fixture(scope="session")
def threads(request: pytest.FixtureRequest) -> int:
    """Threads that every library uses."""
    return request.config.stash[THREADS]


@pytest.fixture(scope="session")
def recorder(request: pytest.FixtureRequest):
    """Where rows are written."""
    from benchmarks import records

    config = request.config
    name = "scaled" if config.getoption("scale") != 1 else grid_of(config)
    environment = records.describe_environment()
    path = config.getoption("results") or records.RESULTS / f"{name}-{environment['isa']}.json"
    return records.Recorder(path, environment)


@pytest.fixture(scope="session")
def wanted_peers(request: pytest.FixtureRequest) -> list[str]:
    """Modules of the peers that are installed."""
    return [name for name, module in missing_modules(request.config).items() if not module]


@pytest.fixture
def contest(request: pytest.FixtureRequest, benchmark) -> Callable:
    """Return a function that times contenders in interleaved rounds.

    pytest-benchmark times one function per test, and all rounds of it in a row. Contenders of a
    row have to alternate, since the machine is not the same a second later. So what the fixture
    repeats is a round of all contenders; each turn is timed within it, and the figures of the row
    are in `extra_info` (the fixture's own figures are those of whole rounds).
    """
    from benchmarks.package import RoundRobin

    config = request.config
    is_quick = config.getoption("quick")
    rounds = config.getoption("rounds") or (7 if is_quick else 15)
    budget = config.getoption("budget") or (1.0 if is_quick else 4.0)

    def run(runs: dict[str, Callable[[], object]]) -> RoundRobin:
        turns = RoundRobin(runs, budget)
        benchmark.pedantic(turns.round, rounds=rounds, iterations=1)
        return turns

    return run


@pytest.fixture
def scale(request: pytest.FixtureRequest) -> float:
    """The fraction of the anchors that is timed."""
    return request.config.getoption("scale")


class Record:
    """Writes the row of a test, or skips a test whose row is there."""

    def __init__(self, recorder, threads: int, benchmark, *, resume: bool) -> None:
        self.recorder, self.threads, self.benchmark = recorder, threads, benchmark
        self.resume = resume

    def __call__(self, case, contest, contenders, kind: str) -> None:
        from benchmarks.records import make_row

        unequal, failed = contenders.unequal, contenders.failed
        row = make_row(case, self.threads, contest, unequal, failed, kind)
        self.benchmark.extra_info.update(row)
        self.recorder.add(row)

    def skip_recorded(self, case, kind: str) -> None:
        from benchmarks.records import row_id

        if self.resume and row_id(case, self.threads, kind) in self.recorder.rows:
            pytest.skip("recorded already")


@pytest.fixture
def record(request: pytest.FixtureRequest, recorder, threads: int, benchmark) -> Record:
    return Record(recorder, threads, benchmark, resume=request.config.getoption("resume"))


@pytest.fixture
def time_case(threads: int, wanted_peers, contest, record) -> Callable:
    """Return a function that checks, times and records one case."""
    from benchmarks import contenders, inputs

    def run(case) -> None:
        record.skip_recorded(case, case.kind)
        admitted = contenders.make_contenders(inputs.make_inputs(case), threads, wanted_peers)
        record(case, contest(admitted.runs), admitted, case.kind)

    return run
