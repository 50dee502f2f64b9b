"""What is recorded of a commit, in files that asv makes pages of.

Counts depend on no machine, and have a "machine" of their own; so have times on each kind of CPU.
A benchmark is a group of rows, and is there for all of its rows or not at all.
"""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, product
from typing import TYPE_CHECKING, Any, NamedTuple

from suite import counting, turns
from suite.rows import GROUPS, ROWS, Row

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

ISAS = ("avx2", "baseline")
COUNTS = "counts-x86-64"
COLUMNS = ["result", "params", "version", "stats_q_25", "stats_q_75"]
#: The format of asv's files.
RESULTS_VERSION, BENCHMARKS_VERSION, MACHINE_VERSION = 2, 2, 1
#: Two recordings of a time that are so close confirm each other. Others are measured again, so
#: often in all; then there is no figure.
AGREEMENT, MOST_RECORDINGS = 0.03, 6

Key = tuple[str, str]


class Benchmark(NamedTuple):
    """One curve of the pages for each combination of the parameters."""

    name: str
    unit: str
    parameters: dict[str, list[str]]

    def described(self) -> dict[str, Any]:
        """Return what asv wants to know."""
        return {
            "name": self.name,
            "type": "track",
            "unit": self.unit,
            "version": "1",
            "code": "",
            "param_names": list(self.parameters),
            "params": [[repr(value) for value in values] for values in self.parameters.values()],
        }

    def result(self, figures: dict[tuple[str, ...], Figure]) -> list[Any] | None:
        """Return the columns of a result, or None unless all figures are there."""
        chosen = [figures.get(key) for key in product(*self.parameters.values())]
        if None in chosen:
            return None
        columns = [list(each) for each in zip(*chosen, strict=True)]
        spread = columns[1:] if None not in columns[1] else []
        return [columns[0], self.described()["params"], "1", *spread]


class Figure(NamedTuple):
    """A figure, and the quartiles of what it is the median of."""

    value: float
    lower: float | None = None
    upper: float | None = None


def benchmarks() -> dict[str, Benchmark]:
    """Return all benchmarks, by name."""
    found = []
    for group, rows in GROUPS.items():
        names = [row.name for row in rows]
        if rows[0].is_counted:
            parameters = {"row": names, "kernels": list(ISAS)}
            found.append(Benchmark(f"instructions.{group}", "per logit", parameters))
            found.append(Benchmark(f"cycles.{group}", "per logit", parameters))
        found.append(Benchmark(f"time.{group}", "x", {"row": names}))
    found.append(Benchmark("size.extension", "bytes", {}))
    found += [Benchmark(f"memory.{row.group}", "bytes", {}) for row in rows_of_memory()]
    return {each.name: each for each in found}


def rows_of_memory() -> list[Row]:
    """Return the rows whose peak memory is recorded."""
    return [row for row in ROWS if row.name == "80 classes"]


# --- one commit -----------------------------------------------------------------------------------


def record_counts(target: Path, groups: Iterable[str] = ()) -> dict[str, list[Any]]:
    """Return the results of what depends on no machine: counts, memory, size."""
    figures: dict[str, dict[tuple[str, ...], Figure]] = {}
    with ThreadPoolExecutor(len(ISAS)) as pool:
        counts = pool.map(lambda isa: counting.count(isa, groups, package=target), ISAS)
    for isa, by_row in zip(ISAS, counts, strict=True):
        for (group, name), count in by_row.items():
            figures.setdefault(f"instructions.{group}", {})[name, isa] = Figure(count.instructions)
            figures.setdefault(f"cycles.{group}", {})[name, isa] = Figure(count.cycles)
    with turns.Worker(target) as worker:
        for row in rows_of_memory():
            if (not groups or row.group in groups) and worker.prepare(row):
                peak = min(worker.peak_bytes() for _ in range(2))
                figures[f"memory.{row.group}"] = {(): Figure(peak)}
    (extension,) = (target / "fastxent" / "native").glob("_native*.so")
    figures["size.extension"] = {(): Figure(extension.stat().st_size)}
    return results_of(figures)


def record_times(reference: Path, target: Path, rows: Iterable[Row] = ROWS) -> dict[str, list[Any]]:
    """Return the results of times in units of the reference's, each confirmed by a second one."""
    recordings: dict[Key, list[turns.Ratio]] = {}
    figures: dict[str, dict[tuple[str, ...], Figure]] = {}
    left = list(rows)
    for number in range(MOST_RECORDINGS):
        if not left:
            break
        for key, ratio in turns.measure(reference, target, left).items():
            if ratio:
                recordings.setdefault(key, []).append(ratio)
        left = [row for row in left if (row.group, row.name) in recordings]
        for row in left if number else ():
            if figure := confirmed(recordings[row.group, row.name]):
                figures.setdefault(f"time.{row.group}", {})[row.name,] = figure
        left = [row for row in left if (row.name,) not in figures.get(f"time.{row.group}", {})]
    return results_of(figures)


def confirmed(recordings: list[turns.Ratio]) -> Figure | None:
    """Return what the two closest recordings say together, if they agree."""
    one, other = min(combinations(recordings, 2), key=lambda pair: _distance(*pair))
    if _distance(one, other) > AGREEMENT:
        return None
    middle = statistics.mean([one.median, other.median])
    spread = statistics.mean([one.spread, other.spread])
    return Figure(
        *(float(f"{each:.3g}") for each in (middle, middle - spread / 2, middle + spread / 2))
    )


def _distance(one: turns.Ratio, other: turns.Ratio) -> float:
    return abs(one.median / other.median - 1)


def results_of(figures: dict[str, dict[tuple[str, ...], Figure]]) -> dict[str, list[Any]]:
    """Return the results of the benchmarks that are complete."""
    every = benchmarks()
    results = {name: every[name].result(its_figures) for name, its_figures in figures.items()}
    return {name: result for name, result in results.items() if result}


# --- files ----------------------------------------------------------------------------------------


def compiler() -> str:
    """Return the compiler that builds, and its version."""
    command = [*os.environ.get("CC", "cc").split(), "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    first = done.stdout.partition("\n")[0]
    version = re.search(r"\d+(\.\d+)+", first)
    return f"{'Clang' if 'clang' in first else 'GCC'} {version[0] if version else 'unknown'}"


def machine_of_times() -> dict[str, str]:
    """Return what is kept of this machine: its kind, and not which one it is."""
    from fastxent import native
    from fastxent.cli.machine import cpu_model

    cpu, count, isa = cpu_model(), str(os.cpu_count() or 1), native.get_isa()
    words = re.sub(r"\((r|tm)\)|@.*|\b(cpu|processor)\b", " ", cpu.lower())
    name = "-".join(["times", *re.findall(r"[a-z0-9.]+", words), isa, f"{count}cpu"])
    return {"machine": name, "os": platform.system(), "arch": platform.machine()} | {
        "cpu": cpu,
        "num_cpu": count,
        "ram": "",
    }


def machine_of_counts() -> dict[str, str]:
    """Return the machine that is none: what is counted is the same on all."""
    nothing = dict.fromkeys(("os", "cpu", "num_cpu", "ram"), "any")
    return {"machine": COUNTS, "arch": "x86_64", **nothing}


def path_of(folder: Path, machine: dict[str, str], commit: str) -> Path:
    """Return where the results of a commit are."""
    return folder / machine["machine"] / f"{commit[:8]}.json"


def write(
    folder: Path, machine: dict[str, str], commit: str, date: int, results: dict[str, list[Any]]
) -> None:
    """Write the results of a commit (its date in milliseconds), the machine and the benchmarks."""
    path = path_of(folder, machine, commit)
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path.parent / "machine.json", machine | {"version": MACHINE_VERSION})
    every = {name: each.described() for name, each in benchmarks().items()}
    _write(folder / "benchmarks.json", every | {"version": BENCHMARKS_VERSION})
    recording = {
        "commit_hash": commit,
        "env_name": "",
        "date": date,
        "params": {"machine": machine["machine"], "compiler": compiler()},
        "python": platform.python_version(),
        "requirements": {},
        "env_vars": {},
        "result_columns": COLUMNS,
        "results": results,
        "durations": {},
        "version": RESULTS_VERSION,
    }
    _write(path, recording)


def _write(path: Path, content: dict[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")
    partial.replace(path)
