"""The work of ``fastxent bench``: our functions, NumPy, and reading alone, checked and timed."""

import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import prod
from statistics import median
from typing import Any, NamedTuple

import numpy as np

import fastxent
from fastxent._config import MAX_THREADS
from fastxent.cli.bench_cases import FUNCTIONS, Case, Head
from fastxent.cli.dtypes import find_dtype
from fastxent.cli.errors import CommandError
from fastxent.cli.machine import check_memory, cpu_model
from fastxent.cli.timing import RoundRobin

#: What the heads are where nothing is said: rows of classes, and images with the class axis 1.
ANCHORS, CLASSES = 200_000, 80
IMAGES, CHANNEL_CLASSES, CHANNEL_ANCHORS = 8, 81, 8 * 8732
#: What is timed where nothing is said.
DEFAULT_FUNCTIONS = (
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
    "sigmoid_focal_loss",
    "sigmoid",
    "softmax",
)


class BenchOptions(NamedTuple):
    """The options of ``fastxent bench``."""

    #: None: the shapes above.
    anchors: int | None
    classes: int | None
    threads: tuple[int, ...]
    dtype: str
    functions: tuple[str, ...]
    rounds: int
    seed: int
    numpy: bool

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of the heads; the class axis is 1."""
        positions = max(1, (self.anchors or CHANNEL_ANCHORS) // IMAGES)
        return (
            (self.anchors or ANCHORS, self.classes or CLASSES),
            (IMAGES, self.classes or CHANNEL_CLASSES, positions),
        )


@dataclass(frozen=True)
class Row:
    """One case with one number of threads."""

    label: str
    function: str
    gradient: bool
    shape: tuple[int, ...]
    logits: int
    threads: int
    max_relative_error: float
    #: Seconds of each round.
    times: list[float]
    read_times: list[float]
    #: Of one thread, whatever `threads` is; None: not timed.
    numpy_times: list[float] | None

    @property
    def seconds(self) -> float:
        """The median."""
        return median(self.times)

    @property
    def read_seconds(self) -> float:
        """The median of reading alone, with as many threads."""
        return median(self.read_times)

    @property
    def read_share(self) -> float:
        """How fast it is, where reading alone is 1."""
        return self.read_seconds / self.seconds

    @property
    def numpy_seconds(self) -> float | None:
        """The median of NumPy."""
        return None if self.numpy_times is None else median(self.numpy_times)

    @property
    def numpy_ratio(self) -> float | None:
        """How many times faster than NumPy it is."""
        return None if self.numpy_seconds is None else self.numpy_seconds / self.seconds

    def ns_per_logit(self, seconds: float) -> float:
        """Turn a time into nanoseconds per logit."""
        return seconds / self.logits * 1e9

    def as_json(self) -> dict[str, Any]:
        """Return what the file holds about it."""
        numpy_seconds = self.numpy_seconds
        return {
            "function": self.function,
            "gradient": self.gradient,
            "shape": list(self.shape),
            "class_axis": 1,
            "threads": self.threads,
            "max_relative_error": self.max_relative_error,
            "ns_per_logit": self.ns_per_logit(self.seconds),
            "read_ns_per_logit": self.ns_per_logit(self.read_seconds),
            "read_share": self.read_share,
            "numpy_ns_per_logit": numpy_seconds and self.ns_per_logit(numpy_seconds),
            "numpy_ratio": self.numpy_ratio,
            "seconds": self.times,
            "read_seconds": self.read_times,
            "numpy_seconds": self.numpy_times,
        }


class BenchResult(NamedTuple):
    """What the command prints."""

    options: BenchOptions
    machine: dict[str, Any]
    rows: list[Row]

    def as_json(self) -> dict[str, Any]:
        """Return what the file holds."""
        options = self.options._asdict() | {"shapes": self.options.shapes}
        results = [row.as_json() for row in self.rows]
        return {"machine": self.machine, "options": options, "results": results}


def describe_machine() -> dict[str, Any]:
    """Return what times depend on: versions, CPU, instruction set, threads."""
    config = fastxent.show_config()
    return {
        "fastxent": config.version,
        "backend": config.backend,
        "isa": config.isa,
        "threads": config.threads,
        "threads_source": config.threads_source,
        "build": config.build,
        "cpu": cpu_model(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": config.numpy,
    }


# --- options -------------------------------------------------------------------------------------


def parse_threads(texts: list[str]) -> tuple[int, ...]:
    """Turn the values of --threads, such as "1,all", into numbers, each of them once."""
    numbers = []
    for text in _split(texts):
        if text.lower() == "all":
            numbers.append(fastxent.get_num_threads())
        elif text.isdecimal() and 1 <= int(text) <= MAX_THREADS:
            numbers.append(int(text))
        else:
            raise CommandError(f'--threads {text} is neither in 1..{MAX_THREADS} nor "all"')
    if not numbers:
        raise CommandError("--threads names none")
    return tuple(dict.fromkeys(numbers))


def parse_functions(texts: list[str]) -> tuple[str, ...]:
    """Turn the values of --functions, such as "sigmoid,softmax", into names, in our order."""
    names = _split(texts)
    for name in names:
        if name not in {*FUNCTIONS, "all"}:
            raise CommandError(f"--functions {name} is not one of all, {', '.join(FUNCTIONS)}")
    if not names:
        raise CommandError("--functions names none")
    return tuple(name for name in FUNCTIONS if name in names or "all" in names)


def _split(texts: list[str]) -> list[str]:
    return [part.strip() for text in texts for part in text.split(",") if part.strip()]


def count_bytes(options: BenchOptions, dtype: np.dtype[Any]) -> int:
    """Return how much memory the values, the targets, a result and a gradient take, about."""
    return max(map(prod, options.shapes)) * (4 * dtype.itemsize + 8)


# --- the work ------------------------------------------------------------------------------------


def count_steps(options: BenchOptions) -> int:
    """Return how many times :func:`run_bench` reports progress."""
    return (options.rounds + 1) * sum(len(cases) for _, cases in _list_cases(options))


def _list_cases(options: BenchOptions) -> Iterator[tuple[tuple[int, ...], list[tuple[str, bool]]]]:
    """Yield each shape, with the functions and whether with their gradients."""
    for number, shape in enumerate(options.shapes):
        cases = []
        for name in options.functions:
            function = FUNCTIONS[name]
            # To those of single values, both heads are the same.
            if function.has_axis or number == 0:
                cases += [(name, gradient) for gradient in (False, True)[: 1 + function.is_loss]]
        yield shape, cases


def run_bench(options: BenchOptions, advance: Callable[[int], object]) -> BenchResult:
    """Check and time each function of each head.

    Parameters
    ----------
    options : BenchOptions
        What to do.
    advance : callable
        Told after each round that there was one more.

    Returns
    -------
    BenchResult
        One row for each function and number of threads.
    """
    dtype = find_dtype(options.dtype)
    check_memory(count_bytes(options, dtype))
    rows: list[Row] = []
    for shape, cases in _list_cases(options):
        head = Head(shape, dtype, options.seed)
        for name, gradient in cases:
            rows += _run_case(Case(name, head, gradient), options, partial(advance, 1))
    return BenchResult(options, describe_machine(), rows)


def _run_case(
    case: Case, options: BenchOptions, after_round: Callable[[], object]
) -> Iterator[Row]:
    """Check and time one case, in interleaved rounds."""
    # First that the results are right, then how fast they come.
    errors = []
    for threads in options.threads:
        case.call(threads)
        errors.append(case.check())
    if options.numpy:
        case.call_numpy()
        case.check_numpy()

    runs: dict[str, Callable[[], object]] = {}
    for threads in options.threads:
        runs[f"fastxent {threads}"] = partial(case.call, threads)
        runs[f"read {threads}"] = partial(case.read, threads)
    if options.numpy:
        runs["NumPy"] = case.call_numpy
    contest = RoundRobin(runs, pause=0)
    after_round()  # the one that warmed everything up
    for _ in range(options.rounds):
        contest.round()
        after_round()
    times = {name: turns.seconds for name, turns in contest.turns.items()}
    for number, threads in enumerate(options.threads):
        yield Row(
            label=case.label,
            function=case.name,
            gradient=case.gradient,
            shape=case.head.shape,
            logits=prod(case.head.shape),
            threads=threads,
            max_relative_error=errors[number],
            times=times[f"fastxent {threads}"],
            read_times=times[f"read {threads}"],
            numpy_times=times.get("NumPy"),
        )
