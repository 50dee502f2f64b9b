"""Time the rows of two packages in turns: a process for each, one of which computes at a time.

What else the machine does meets both, so the ratio of their times is worth more than either time;
calls of one thread are timed by its clock, which stands while another process has the CPU. A
process that has bad luck with its memory keeps it: ``measure`` starts new ones each time.
"""

from __future__ import annotations

import json
import math
import os
import re
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, Self

from .rows import ROWS, Row, make_call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .rows import Call

#: Turns of each, for every row of every commit.
ROUNDS = 11
#: A turn takes about so many seconds.
TURN = 0.004
#: Logits of a call; below 1, a share of them, to try things out.
LOGITS = int(1_600_000 * float(os.environ.get("FASTXENT_ASV_SCALE", "1")))


class Ratio(NamedTuple):
    """The time of head in units of base's."""

    #: The median of the rounds.
    median: float
    #: The distance of the quartiles.
    spread: float
    #: The ratio of the shortest turns: what else runs makes none shorter.
    of_best: float


#: By group and name; None where head does not have what base has.
Ratios = dict[tuple[str, str], Ratio | None]


def ratio_of(base: list[float], head: list[float]) -> Ratio:
    """Compare turns that took turns."""
    ratios = [new / old for old, new in zip(base, head, strict=True)]
    lower, median, upper = statistics.quantiles(ratios, n=4, method="inclusive")
    return Ratio(*(_rounded(each) for each in (median, upper - lower, min(head) / min(base))))


def _rounded(number: float) -> float:
    """Drop digits that no measurement has; they are kept for ever."""
    return float(f"{number:.3g}")


def measure(base: Path, head: Path | None, rows: Iterable[Row] = ROWS) -> Ratios:
    """Return the ratios of what base has; packages are in folders (None: the installed one)."""
    ratios: Ratios = {}
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(folder)) for folder in (base, head)]
        for row in rows:
            seconds = [worker.prepare(row) for worker in workers]
            if all(seconds):
                # As many calls for both: one that is slower has longer turns, not fewer.
                calls = max(1, math.ceil(TURN / max(seconds)))
                turns = list(_take_turns(workers, calls))
                ratios[row.group, row.name] = ratio_of(*map(list, zip(*turns, strict=True)))
            elif seconds[0]:
                ratios[row.group, row.name] = None
    return ratios


def _take_turns(workers: list[Worker], calls: int) -> Iterator[tuple[float, float]]:
    """Yield the times of both in each round; every other round starts with the other."""
    base, head = workers
    for number in range(ROUNDS):
        if number % 2:
            later = head.take(calls)
            yield base.take(calls), later
        else:
            yield base.take(calls), head.take(calls)


# --- the processes --------------------------------------------------------------------------------


class Worker:
    """A process that has one package, and does what it is told by lines of JSON."""

    def __init__(self, package: Path | None) -> None:
        self.package = package
        program = "import sys; sys.path.insert(0, sys.argv[1]); from suite import turns; "
        program += "turns.obey(sys.stdin, sys.stdout)"
        # Threads that wait for work without sleeping would do so on the other one's CPUs.
        environment = os.environ | {"OMP_WAIT_POLICY": "passive"}
        # A package that pip has installed comes with bytecode; the other one may write its own.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        if package:
            environment["PYTHONPATH"] = str(package)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", program, str(Path(__file__).parents[1])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def __enter__(self) -> Self:
        loaded = Path(self._ask("package"))
        if self.package and not loaded.is_relative_to(self.package):
            self.__exit__()
            raise RuntimeError(f"{loaded} was loaded, and not what is in {self.package}")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def prepare(self, row: Row) -> float | None:
        """Make and warm up the call of a row; return its seconds, or None: there is none."""
        return self._ask("prepare", ROWS.index(row))

    def take(self, calls: int) -> float:
        """Call so often, and return the seconds."""
        return self._ask("take", calls)

    def peak_bytes(self) -> int:
        """Call once, and return the peak memory of the process (Linux)."""
        return self._ask("peak")

    def _ask(self, *question: object) -> object:
        print(json.dumps(question), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process of {self.package} has ended: {self.process.wait()}")
        return json.loads(answer)


def obey(questions: IO[str], answers: IO[str]) -> None:
    """Answer questions until there are no more. Runs in a worker."""
    import fastxent

    call, clock = None, time.perf_counter
    for line in questions:
        word, *arguments = json.loads(line)
        answer: object
        if word == "package":
            answer = fastxent.__file__
        elif word == "prepare":
            row = ROWS[arguments[0]]
            call = None  # whose arrays make room
            call = make_call(row, LOGITS)
            clock = row.clock
            answer = call and _seconds(call, clock, 2) / 2
        elif word == "take":
            answer = _seconds(call, clock, arguments[0])
        else:
            answer = _peak_bytes(call)
        print(json.dumps(answer), file=answers, flush=True)


def _seconds(call: Call, clock: Callable[[], float], calls: int) -> float:
    run = call.run
    start = clock()
    for _ in range(calls):
        run()
    return clock() - start


def _peak_bytes(call: Call) -> int:
    """Return the peak memory of the process during a call."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets the earlier peak
    call.run()
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024
