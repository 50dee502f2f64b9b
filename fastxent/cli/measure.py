"""What the commands that time something share: turns, and the machine."""

import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

from fastxent.cli.errors import CommandError


def take_turns(
    rounds: int,
    functions: Sequence[Callable[[], object]],
    after_round: Callable[[], object] = lambda: None,
) -> list[list[float]]:
    """Return the times of each function in seconds, one a round, after a round to warm up.

    The functions take turns, so that a busy moment of the machine meets all of them.

    Parameters
    ----------
    rounds : int
        How many times each function is timed.
    functions : sequence of callable
        What is timed, in this order in every round.
    after_round : callable, optional
        What to do between rounds, the one to warm up included.

    Returns
    -------
    list of list of float
        For each function its times in seconds.
    """
    times: list[list[float]] = [[] for _ in functions]
    for turn in range(rounds + 1):
        for function, its_times in zip(functions, times, strict=True):
            start = perf_counter()
            function()
            elapsed = perf_counter() - start
            if turn > 0:
                its_times.append(elapsed)
        after_round()
    return times


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the name of the CPU, or of its architecture where the system does not tell."""
    try:
        lines = cpuinfo.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    fields = (line.partition(":") for line in lines)
    names = (value.strip() for name, _, value in fields if name.strip() == "model name")
    return next(names, "") or platform.processor() or platform.machine() or "unknown CPU"


def memory_bytes() -> float:
    """Return the size of the machine's memory, infinite where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows; names that are not known
        return float("inf")


def check_memory(needed: float) -> None:
    """Refuse logits that need more bytes of memory than this machine has."""
    there = memory_bytes()
    if needed > there:
        raise CommandError(
            f"so many logits need about {needed / 1e9:,.0f} GB of memory, "
            f"and this machine has {there / 1e9:,.0f}"
        )
