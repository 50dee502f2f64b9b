"""Of several recordings of a commit, the smallest figures: what else runs makes none smaller."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

#: A file of asv's.
Recording = dict[str, Any]
#: A benchmark in it: values of the file's "result_columns", of which the last may be left out.
Benchmark = list[Any]

#: A ratio goes with its time: the read next to it is that of its own run.
TIME, RATIO = "track_ns_per_logit", "track_over_read"
#: Digits of a commit in names of files: "hash_length" of asv.conf.json.
HASH_LENGTH = 8


def read_recordings(folder: Path, commits: Iterable[str]) -> dict[Path, Recording]:
    """Return what the folder of a machine has of these commits."""
    paths = [path for commit in commits for path in folder.glob(f"{commit[:HASH_LENGTH]}-*.json")]
    return {path: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def keep_smallest(earlier: dict[Path, Recording]) -> None:
    """Put what was smaller in earlier recordings into the files that have replaced them."""
    for path, recording in earlier.items():
        later = json.loads(path.read_text(encoding="utf-8"))
        merged = json.dumps(smallest(recording, later), separators=(",", ":"))
        path.write_text(merged, encoding="utf-8")


def smallest(earlier: Recording, later: Recording) -> Recording:
    """Return the later recording of a commit, with what was smaller or only in the earlier one."""
    columns = later["result_columns"]
    before, after = earlier["results"], later["results"]
    benchmarks = before | after
    both = before.keys() & after.keys()
    for name in both:
        time = name.replace(RATIO, TIME)
        decisive = time if time in both else name
        positions = _where_smaller(columns, before[decisive], after[decisive])
        benchmarks[name] = _with_figures(columns, after[name], before[name], positions)
    return later | {"results": benchmarks}


def _where_smaller(columns: list[str], before: Benchmark, after: Benchmark) -> list[int]:
    """Return at which parameters the earlier figure is the smaller one, or the only one."""
    result, *what = (columns.index(name) for name in ("result", "params", "version"))
    olds, news = before[result], after[result]
    if olds is None or any(before[column] != after[column] for column in what):
        return []
    news = news or [None] * len(olds)  # all of it failed
    return [
        position
        for position, (old, new) in enumerate(zip(olds, news, strict=True))
        if _is_figure(old) and not (_is_figure(new) and new <= old)
    ]


def _with_figures(
    columns: list[str], after: Benchmark, before: Benchmark, positions: list[int]
) -> Benchmark:
    """Return a benchmark with the figures, and what asv knows about them, of an earlier one."""
    if not positions:
        return after
    merged = [*after, *[None] * (len(before) - len(after))]
    for column, olds in enumerate(before):
        if olds and (columns[column] == "result" or columns[column].startswith("stats_")):
            news = list(merged[column] or [None] * len(olds))
            for position in positions:
                news[position] = olds[position]
            merged[column] = news
    return merged


def _is_figure(value: float | None) -> bool:
    """Return whether there is a figure: NaN is what a commit does not have, None what failed."""
    return value is not None and not math.isnan(value)
