"""Timing of functions in interleaved rounds, for the command line, the benchmarks and asv's suite.

This module imports nothing but the standard library, so that ``benchmarks`` can load it by its path
while the package that is timed is an older one.
"""

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

#: Threads of OpenMP and of onnxruntime spin for some milliseconds after a call, on the cores that
#: the next contender needs. Between libraries, a turn starts when they have gone to sleep.
PAUSE = 0.01
#: A turn takes at least this long; short calls are repeated within it.
SHORTEST_TURN = 0.002
#: What takes this long is called once to warm up, and not twice.
LONG_CALL = 0.1
#: However slow, every contender has this many turns.
FEWEST_ROUNDS = 3


@dataclass
class Turns:
    """The times of one contender, in seconds per call."""

    run: Callable[[], object]
    calls: int = 1
    seconds: list[float] = field(default_factory=list)
    spent: float = 0.0

    def take(self, clock: Callable[[], float] = time.perf_counter) -> float:
        """Call as often as a turn needs, note the time of a call and return it."""
        run = self.run
        start = clock()
        for _ in range(self.calls):
            run()
        elapsed = clock() - start
        self.seconds.append(elapsed / self.calls)
        self.spent += elapsed
        return self.seconds[-1]

    @property
    def median(self) -> float:
        """The median time of a call."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """The distance of the quartiles, relative to the median."""
        if len(self.seconds) < 2:
            return 0.0
        lower, _, upper = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return (upper - lower) / self.median


class RoundRobin:
    """Contenders that are timed in interleaved rounds, so that a busy moment meets all of them.

    A round is one turn for each of them, every time in another order. All are warmed up first.

    Parameters
    ----------
    runs : dict
        Functions without arguments, by name.
    budget : float, optional
        Seconds after which a contender has no more turns, except for the fewest rounds.
    pause : float, optional
        Seconds before each turn.
    clock : callable, optional
        What tells the time, in seconds.
    """

    def __init__(
        self,
        runs: Mapping[str, Callable[[], object]],
        budget: float = math.inf,
        pause: float = PAUSE,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.turns = {name: Turns(run) for name, run in runs.items()}
        self.budget = budget
        self.pause = pause
        self.clock = clock
        self.rounds = 0
        for turns in self.turns.values():
            self._warm_up(turns)

    def _warm_up(self, turns: Turns) -> None:
        seconds = turns.take(self.clock)
        if seconds < LONG_CALL:
            seconds = turns.take(self.clock)  # without what only a first call does
        turns.calls = max(1, math.ceil(SHORTEST_TURN / max(seconds, 1e-9)))
        turns.seconds.clear()
        turns.spent = 0.0

    def round(self) -> None:
        """Give each contender a turn, unless it has used up its time."""
        names = list(self.turns)
        start = self.rounds % len(names)
        self.rounds += 1
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            for name in names[start:] + names[:start]:
                turns = self.turns[name]
                if turns.spent < self.budget or len(turns.seconds) < FEWEST_ROUNDS:
                    time.sleep(self.pause)
                    turns.take(self.clock)
        finally:
            if was_enabled:
                gc.enable()
