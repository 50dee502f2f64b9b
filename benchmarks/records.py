"""The recorded figures: rows of one JSON file, and where they were measured."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import fastxent as fx
from benchmarks.instruction_sets import describe_limits
from benchmarks.package import RoundRobin
from benchmarks.shapes import Case
from fastxent.cli.machine import cpu_model
from fastxent.native import _native

RESULTS = Path(__file__).parent / "results"
DISTRIBUTIONS = (
    "numpy",
    "numba",
    "torch",
    "jax",
    "jaxlib",
    "optax",
    "scikit-learn",
    "scipy",
    "onnxruntime",
    "onnx",
    "openvino",
    "numexpr",
    "pytest-benchmark",
)

Row = dict[str, Any]


def describe_environment() -> dict[str, Any]:
    """Say what is measured, and on what."""
    config = fx.show_config()
    versions = {}
    for name in DISTRIBUTIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = ""
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "isa": config.isa,
        "peers": describe_limits(),
        "build": config.build,
        "extension": hashlib.sha256(Path(_native.__file__).read_bytes()).hexdigest()[:16],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "fastxent": config.version,
        "versions": versions,
    }


def row_id(case: Case, threads: int, kind: str) -> str:
    """Return the name of a row."""
    return f"{kind}-{case.name}-{threads}t"


def make_row(
    case: Case,
    threads: int,
    contest: RoundRobin,
    unequal: dict[str, float],
    failed: dict[str, str],
    kind: str,
) -> Row:
    """Return one row of the file."""
    return {
        "id": row_id(case, threads, kind),
        "kind": kind,
        "function": case.function,
        "shape": case.shape.name,
        "logits": case.shape.size,
        "dtype": case.dtype,
        "threads": threads,
        "foreground": case.foreground,
        "dense": case.dense,
        "variant": case.variant,
        "seconds": {name: float(f"{t.median:.4g}") for name, t in contest.turns.items()},
        "spread": {name: round(t.spread, 3) for name, t in contest.turns.items()},
        "rounds": {name: len(t.seconds) for name, t in contest.turns.items()},
        "unequal": {name: float(f"{worst:.3g}") for name, worst in unequal.items()},
        "failed": failed,
    }


class Recorder:
    """Rows that are written as they come, along with those that the same environment has."""

    def __init__(self, path: Path, environment: dict[str, Any]) -> None:
        self.path = path
        self.environment = environment
        self.rows: dict[str, Row] = {}
        if path.exists():
            recorded = load(path)
            if same_environment(recorded["environment"], environment):
                self.rows = {row["id"]: row for row in recorded["rows"]}

    def add(self, row: Row) -> None:
        """Add a row, or replace the one that has its name, and write the file."""
        self.rows[row["id"]] = row
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rows = ",\n".join("  " + json.dumps(row) for row in self.rows.values())
        environment = json.dumps(self.environment, indent=1)
        text = f'{{\n"environment": {environment},\n"rows": [\n{rows}\n]\n}}\n'
        partial = self.path.with_suffix(".partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(self.path)


def same_environment(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Compare all but the day."""
    return {**one, "date": ""} == {**other, "date": ""}


def load(path: Path) -> dict[str, Any]:
    """Read a file of figures."""
    recorded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return recorded
