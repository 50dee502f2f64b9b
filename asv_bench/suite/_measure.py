"""Time functions and a plain read of the same number of logits, interleaved, in one process."""

import os
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec

import numpy as np

import fastxent as fx
from benchmarks.contenders import our_run, read_run
from benchmarks.inputs import make_inputs
from benchmarks.package import RoundRobin
from benchmarks.shapes import SCORES, Case, fits

from ._cases import SCALE, Condition

READ = "read"
#: How many rounds, unless the calls of one function have taken this many seconds before.
ROUNDS, BUDGET = 9, 1.5


@dataclass(frozen=True)
class Figure:
    """What one function took under one condition."""

    ns_per_logit: float
    over_read: float


#: By kind ("loss", "gradient", "score"), function and condition. What a commit does not have is
#: absent; where it failed there is what it said.
Figures = dict[tuple[str, str, str], Figure | str]


def measure(functions: Iterable[str], conditions: Iterable[Condition]) -> Figures:
    """Time each function under each condition."""
    figures: Figures = {}
    for condition in conditions:
        if can_run(condition):
            for function in functions:
                if hasattr(fx, function) and fits(function, condition.shape):
                    figures |= _measure_function(function, condition)
    return figures


def can_run(condition: Condition) -> bool:
    """Return whether this commit and this machine have what a condition asks for."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if condition.threads > (cpus or 1):
        return False
    if condition.dtype == "bfloat16" and find_spec("ml_dtypes") is None:
        return False
    return has_backend(condition.backend)


def has_backend(name: str) -> bool:
    """Return whether a backend can be used."""
    try:
        with fx.backend(name):
            return True
    except (ValueError, ImportError, RuntimeError):  # unknown to this commit; not installed
        return False


def _measure_function(function: str, condition: Condition) -> Figures:
    inputs = make_inputs(Case(function, condition.shape.scaled(SCALE), condition.dtype))
    read = read_run(inputs.values, condition.threads)
    if condition.foreign_columns:
        inputs = replace(inputs, values=_among_columns(inputs.values, condition.foreign_columns))

    figures: Figures = {}
    runs = {}
    for kind in ("score",) if function in SCORES else ("loss", "gradient"):
        case = replace(inputs.case, gradient=kind == "gradient")
        run = our_run(replace(inputs, case=case), condition.threads)
        run = partial(run, backend=condition.backend)
        try:
            run()
        except TypeError:  # an argument, or a dtype, that this commit does not take
            continue
        except Exception as problem:  # noqa: BLE001 - asv shows it, and goes on with the others
            figures[kind, function, condition.name] = f"{type(problem).__name__}: {problem}"
        else:
            runs[kind] = run

    for kind, figure in figures_in_turns(runs, read, inputs.values.size).items():
        figures[kind, function, condition.name] = figure
    return figures


def _among_columns(values: np.ndarray, foreign: int) -> np.ndarray:
    """Return the same values as a view of an array with more columns."""
    wide = np.zeros((*values.shape[:-1], values.shape[-1] + foreign), values.dtype)
    wide[..., foreign:] = values
    return wide[..., foreign:]


def figures_in_turns(
    runs: dict[str, Callable[[], object]], read: Callable[[], object], elements: int
) -> dict[str, Figure]:
    """Return the figures of calls, in interleaved rounds with a read of what they get."""
    if not runs:
        return {}
    contest = RoundRobin({READ: read, **runs}, BUDGET)  # which also warms everything up
    for _ in range(ROUNDS):
        contest.round()
    reads = contest.turns[READ].seconds
    figures = {}
    for kind in runs:
        seconds = contest.turns[kind].seconds
        # Of the same round: what slowed the machine down met both.
        ratios = [one / other for one, other in zip(seconds, reads, strict=False)]
        nanoseconds = statistics.median(seconds) / elements * 1e9
        figures[kind] = Figure(_rounded(nanoseconds), _rounded(statistics.median(ratios)))
    return figures


def _rounded(number: float) -> float:
    """Drop digits that no measurement has; they are kept for ever."""
    return float(f"{number:.4g}")
