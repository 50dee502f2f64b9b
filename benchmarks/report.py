"""Write the tables and charts of docs/performance.md, and the short table of docs/index.md.

    python -m benchmarks.report [RESULTS] [--root FOLDER] [--check]

Only what is between markers, ``<!-- name -->`` and ``<!-- /name -->``, is replaced.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.contenders import CUSTOM, JAX, NUMBA, OURS
from benchmarks.figures import Figures, digits, ordered
from benchmarks.records import RESULTS, load
from benchmarks.shapes import CHANNELS, COCO, FOUR_CLASSES, MAIN_LOSSES, SMALL

#: The rows of each machine, by its instruction set.
Machines = dict[str, list[Figures]]
#: What nanoseconds per logit are multiplied by.
Unit = Callable[[Figures], float]

ROOT = Path(__file__).parents[1]
NOTHING = "No row of this kind has been measured yet."
#: The order of machines.
ISAS = ("avx512", "avx2", "neon", "baseline")
SHORT_SHAPES = (COCO.name, CHANNELS.name, FOUR_CLASSES.name)


# --- tables --------------------------------------------------------------------------------------


def table(header: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown, or a sentence where it would be empty."""
    body = [f"| {' | '.join(cells)} |" for cells in lines]
    if not body:
        return NOTHING
    names = list(header)
    rule = "|" + "|".join("---" if name.startswith(LEFT) else "--:" for name in names) + "|"
    return "\n".join([f"| {' | '.join(names)} |", rule, *body])


LEFT = ("function", "shape", "dtype", "best peer", "other peers", "work", "threads of the model")


def ratio_cell(figures: Figures) -> str:
    """Return the ratio; lost rows are marked."""
    if figures.ratio is None:
        return "-"
    text = f"{digits(figures.ratio)}x"
    return f"**{text} (slower)**" if figures.loses else text


def _peer_cells(figures: Figures, factor: float = 1) -> list[str]:
    """Return the best peer with its time, and the others."""
    named = [f"{name} {digits(time * factor)}" for name, time in figures.peers]
    return [named[0] if named else "-", "; ".join(named[1:]) or "-"]


def _conditions(figures: Figures) -> list[str]:
    row = figures.row
    words = [row["dtype"], "dense targets" if row["dense"] else "", row.get("variant", "")]
    dtype = ", ".join(filter(None, words))
    return [figures.label, row["shape"], dtype, str(row["threads"])]


def side_by_side(machines: Machines, chosen: Callable[[Figures], bool], unit: Unit) -> str:
    """Return a table with the figures of each machine, a line for each row that one of them has.

    The best peer is named for each machine, and the others where there is one machine.
    """
    found: dict[tuple[str, ...], dict[str, Figures]] = {}
    for isa, rows in machines.items():
        for f in filter(chosen, rows):
            found.setdefault((*_conditions(f), f"{f.row['foreground']:.0%}"), {})[isa] = f
    header = ["function", "shape", "dtype", "threads", "foreground"]
    for isa in machines:
        mark = f", {isa}" if len(machines) > 1 else ""
        header += [f"{name}{mark}" for name in ("fastxent", "of read speed", "ratio", "best peer")]
    header += ["other peers"] if len(machines) == 1 else []
    lines = []
    for conditions, by_isa in found.items():
        cells = [cell for isa in machines for cell in _cells(by_isa.get(isa), unit)]
        if len(machines) == 1:
            cells.append(_peer_cells(*by_isa.values(), unit(*by_isa.values()))[1])
        lines.append([*conditions, *cells])
    return table(header, lines)


def _cells(figures: Figures | None, unit: Unit) -> list[str]:
    """Return what a machine has in its columns."""
    if figures is None:
        return ["-"] * 4
    ours = digits(figures.ours * unit(figures))
    best = _peer_cells(figures, unit(figures))[0]
    return [ours, f"{figures.read_share:.0%}", ratio_cell(figures), best]


def per_logit(_: Figures) -> float:
    """Return the unit of tables in nanoseconds per logit."""
    return 1


def per_call(figures: Figures) -> float:
    """Return the unit of tables in microseconds per call."""
    return figures.row["logits"] / 1000


def one_by_one(parts: dict[str, str]) -> str:
    """Return what there is of each machine, under its name where there are several."""
    if len(parts) == 1:
        return next(iter(parts.values()))
    return "\n\n".join(f"**{isa}**\n\n{part}" for isa, part in parts.items())


def pipeline_table(rows: list[Figures]) -> str:
    """Return milliseconds from features to results."""
    header = ["function", "shape", "threads", "threads of the model", "model alone", "fastxent"]
    header += ["ratio", "best peer", "other peers"]
    lines = []
    for f in rows:
        milli = f.row["logits"] / 1e6
        _, mode = f.row["kind"].split(", ")
        cells = [f.label, f.row["shape"], str(f.row["threads"]), mode]
        cells += [digits(f.per_logit["model alone"] * milli), digits(f.ours * milli)]
        lines.append([*cells, ratio_cell(f), *_peer_cells(f, milli)])
    return table(header, lines)


def detection_table(rows: list[Figures]) -> str:
    """Return microseconds per call of what selects, mines and matches."""
    header = ["function", "work", "shape", "threads", "fastxent", "of read speed", "ratio"]
    header += ["best peer", "other peers"]
    lines = []
    for f in rows:
        micro = f.row["logits"] / 1000
        _, work = f.row["kind"].split(", ", 1)
        cells = [f.label, work, f.row["shape"], str(f.row["threads"]), digits(f.ours * micro)]
        lines.append([*cells, f"{f.read_share:.0%}", ratio_cell(f), *_peer_cells(f, micro)])
    return table(header, lines)


def numba_table(rows: list[Figures]) -> str:
    """Return nanoseconds per logit of the variants of ours, next to the native kernels."""
    header = ["function", "shape", "dtype", "threads", "native", "Numba", "Numba / native"]
    header += ["torch.compile / Numba", "custom loss", "custom loss / Numba"]
    lines = [
        [
            *_conditions(f),
            digits(f.ours),
            digits(f.per_logit[NUMBA]),
            _quotient_cell(f, NUMBA, OURS),
            _quotient_cell(f, "torch.compile", NUMBA),
            digits(f.per_logit[CUSTOM]) if CUSTOM in f.per_logit else "-",
            _quotient_cell(f, CUSTOM, NUMBA),
        ]
        for f in rows
    ]
    return table(header, lines)


def jax_table(rows: list[Figures]) -> str:
    """Return nanoseconds per logit of loss and gradient in JAX, next to optax's."""
    header = ["function", "shape", "dtype", "threads", "NumPy", "fastxent.jax", "optax"]
    header += ["optax / fastxent.jax"]
    lines = [
        [
            *_conditions(f),
            digits(f.ours),
            digits(f.per_logit[JAX]),
            digits(f.per_logit["JAX"]) if "JAX" in f.per_logit else "-",
            _quotient_cell(f, "JAX", JAX),
        ]
        for f in rows
    ]
    return table(header, lines)


def _quotient_cell(figures: Figures, name: str, other: str) -> str:
    """Return the time of one contender divided by another's."""
    times = figures.per_logit
    return digits(times[name] / times[other]) if name in times else "-"


def short_table(rows: list[Figures]) -> str:
    """Return the table of docs/index.md: float32, all threads, the shapes that most heads have."""
    best = max((f.row["threads"] for f in rows), default=0)
    chosen = [
        f
        for f in rows
        if f.row["threads"] == best
        and f.row["dtype"] == "float32"
        and f.row["foreground"] == 0.01
        and not f.row["dense"]
        and not f.row.get("variant")
        and f.row["shape"] in SHORT_SHAPES
        and f.row["kind"] in {"losses", "gradients", "scores"}
        and (f.row["function"] in MAIN_LOSSES or f.row["function"] in {"sigmoid", "softmax"})
        and (f.row["shape"] == COCO.name or f.row["kind"] == "losses")
    ]
    chosen.sort(key=lambda f: SHORT_SHAPES.index(f.row["shape"]))
    header = ["work", "shape", "fastxent", "of read speed", "best peer", "ratio"]
    lines = [
        [
            f.label,
            f.row["shape"],
            digits(f.ours),
            f"{f.read_share:.0%}",
            _peer_cells(f)[0],
            ratio_cell(f),
        ]
        for f in chosen
    ]
    return table(header, lines)


# --- text ----------------------------------------------------------------------------------------


def describe_setup(environment: dict[str, Any], rows: list[Figures]) -> str:
    """Return what was measured, on what, and with what."""
    rounds = [count for f in rows for count in f.row["rounds"].values()]
    peers = [f"{name} {version}" for name, version in environment["versions"].items() if version]
    absent = [name for name, version in environment["versions"].items() if not version]
    build = ", ".join(f"{name} {value}" for name, value in environment["build"].items())
    items = {
        "Date": environment["date"],
        "CPU": f"{environment['cpu']}, {environment['cpus']} CPUs, {environment['system']}",
        "fastxent": f"{environment['fastxent']}, instruction set {environment['isa']}, {build}",
        "Python": environment["python"],
        "Libraries": ", ".join(peers),
        "Rounds": f"{min(rounds)} to {max(rounds)} of each contender" if rounds else "none",
        "Spread": _describe_spread(rows),
    }
    if environment.get("peers"):
        items["Peers"] = environment["peers"]
    if absent:
        items["Not installed"] = ", ".join(absent)
    return "\n".join(f"- {name}: {text}." for name, text in items.items())


def _describe_spread(rows: list[Figures]) -> str:
    """Say how far apart the rounds are."""
    spreads = [f.row["spread"][OURS] for f in rows]
    if not spreads:
        return "none"
    middle, worst = statistics.median(spreads), max(spreads)
    text = f"the quartiles of fastxent's rounds are {middle:.0%} of the median apart"
    return f"{text} in the median row, {worst:.0%} in the worst"


def _in_words(f: Figures) -> str:
    """Return the shape, the dtype and the threads of a row."""
    threads = f.row["threads"]
    return f"{f.row['shape']}, {f.row['dtype']}, {threads} thread{'s' if threads != 1 else ''}"


def describe_outcome(rows: list[Figures]) -> str:
    """Say how many rows are won, and name all that are lost."""
    compared = [f for f in rows if f.ratio is not None]
    lost = [f for f in compared if f.loses]
    if not compared:
        return NOTHING
    lines = [f"fastxent is the fastest in {len(compared) - len(lost)} of {len(compared)} rows."]
    if lost:
        lines.append("It is slower than the best peer in these:\n")
        for f in sorted(lost, key=lambda f: f.ratio or 0):
            kind = f" ({f.row['kind']})" if "," in f.row["kind"] else ""
            name = f.peers[0][0]
            lines.append(f"- {f.label}{kind}, {_in_words(f)}: {digits(f.ratio or 0)}x, {name}")
    return "\n".join(lines)


def describe_absent(rows: list[Figures]) -> str:
    """Say which peers are not in which rows, and why."""
    lines = []
    for f in rows:
        where = f"{f.label}, {_in_words(f)}"
        for name, worst in f.row["unequal"].items():
            lines.append(f"- {name}: {where}: not equal, {digits(worst)} times the tolerance")
        for name, reason in f.row["failed"].items():
            lines.append(f"- {name}: {where}: `{reason}`")
    return "\n".join(sorted(set(lines))) or "None: every result was equal."


def fill(text: str, name: str, body: str) -> str:
    """Replace what is between the markers of a name."""
    first, last = f"<!-- {name} -->", f"<!-- /{name} -->"
    if text.count(first) != 1 or text.count(last) != 1:
        raise ValueError(f"the markers {first} and {last} are not there once each")
    before, rest = text.split(first)
    _, after = rest.split(last)
    return f"{before}{first}\n\n{body}\n\n{last}{after}"


def is_kind(kind: str) -> Callable[[Figures], bool]:
    """Return a test for the rows of one table."""
    return lambda f: f.row["kind"].split(",")[0] == kind and f.row["shape"] != SMALL.name


#: Tables of one machine, and their rows.
SINGLE_TABLES: dict[str, tuple[Callable[[list[Figures]], str], Callable[[Figures], bool]]] = {
    "numba": (numba_table, lambda f: NUMBA in f.per_logit),
    "jax": (jax_table, lambda f: JAX in f.per_logit),
    "pipeline": (pipeline_table, lambda f: f.row["kind"].startswith("pipeline")),
    "detection": (detection_table, lambda f: f.row["kind"].startswith("detection")),
}


def render(recordings: list[dict[str, Any]], texts: dict[str, str]) -> dict[str, str]:
    """Return the files by their paths, with tables filled in; the first machine leads."""
    machines = {each["environment"]["isa"]: ordered(each["rows"]) for each in recordings}
    environments = {each["environment"]["isa"]: each["environment"] for each in recordings}
    setups = {isa: describe_setup(environments[isa], rows) for isa, rows in machines.items()}
    outcomes = {isa: describe_outcome(rows) for isa, rows in machines.items()}
    page = {
        "setup": one_by_one(setups),
        "outcome": one_by_one(outcomes),
        "losses": side_by_side(machines, is_kind("losses"), per_logit),
        "gradients": side_by_side(machines, is_kind("gradients"), per_logit),
        "scores": side_by_side(machines, is_kind("scores"), per_logit),
        "calls": side_by_side(machines, lambda f: f.row["shape"] == SMALL.name, per_call),
        "absent": one_by_one({isa: describe_absent(rows) for isa, rows in machines.items()}),
    }
    for name, (make, chosen) in SINGLE_TABLES.items():
        parts = {isa: make(list(filter(chosen, rows))) for isa, rows in machines.items()}
        page[name] = one_by_one(parts)
    filled = dict(texts)
    for name, body in page.items():
        filled["docs/performance.md"] = fill(filled["docs/performance.md"], name, body)
    leading = next(iter(machines.values()))
    filled["docs/index.md"] = fill(filled["docs/index.md"], "performance", short_table(leading))
    return filled


def newest_results() -> list[Path]:
    """Return the figures of the full grid on each instruction set, or of the quick one."""
    for name in ("full", "quick"):
        paths = [RESULTS / f"{name}-{isa}.json" for isa in ISAS]
        if found := [path for path in paths if path.is_file()]:
            return found
    raise SystemExit("There are no figures yet: make bench")


def main(arguments: list[str]) -> int:
    """Write the documents, or say whether they are up to date."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report")
    parser.add_argument("results", nargs="*", type=Path)
    parser.add_argument("--root", type=Path, default=ROOT, help="where docs/ is")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if outdated")
    options = parser.parse_args(arguments)

    recordings = [load(path) for path in options.results or newest_results()]
    paths = ("docs/performance.md", "docs/index.md")
    texts = {path: (options.root / path).read_text(encoding="utf-8") for path in paths}
    filled = render(recordings, texts)
    outdated = [path for path in paths if filled[path] != texts[path]]
    if options.check:
        if outdated:
            print(f"out of date: {', '.join(outdated)}", file=sys.stderr)
        return int(bool(outdated))
    for path in outdated:
        (options.root / path).write_text(filled[path], encoding="utf-8")

    from benchmarks.charts import draw

    draw(ordered(recordings[0]["rows"]), options.root / "docs")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
