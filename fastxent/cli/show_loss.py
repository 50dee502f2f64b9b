"""What ``fastxent loss`` prints, and what its --json file holds."""

import math
from itertools import pairwise
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

import fastxent
from fastxent.cli.scan import Scan
from fastxent.cli.show import BAR_WIDTH, make_table, print_lines, print_tables
from fastxent.cli.sources import Source
from fastxent.cli.summary import EDGES, HardAnchor, Summary


def print_loss(scan: Scan, summary: Summary, top: int) -> None:
    """Print the result of ``fastxent loss``."""
    labels = "dense" if summary.labelling.dense else "class labels"
    if scan.options.row.target_format == "positions":
        labels = "positions"
    print_lines(f"logits   {scan.logits}", f"targets  {scan.targets}, {labels}")
    if scan.scores is not None:
        print_lines(f"scores   {scan.scores}")
    print_lines(
        f"loss     {scan.options.row.label}{_given(scan.options.parameters)}",
        f"mean     {summary.mean:.9g}",
        f"sum      {summary.loss_sum:.9g}",
        f"valid    {summary.valid:,}",
        f"ignored  {summary.ignored:,}",
    )
    if summary.nan_count:
        print_lines(f"NaN      {summary.nan_count:,} anchors")
    rows = summary.slot_means()
    title = "Mean loss per class"
    if top < len(rows):
        title += f" (the {top} hardest of {len(rows)})"
    tables = {
        title: _slot_table(rows[:top]),
        "Hardest anchors": _hardest_table(summary.hardest),
        "Anchors by their loss": _histogram(summary),
    }
    if top and summary.valid:
        print_tables(tables)


def _given(parameters: dict[str, Any]) -> str:
    """Return the parameters that were given, in brackets."""
    listed = ", ".join(f"{name} = {value}" for name, value in parameters.items())
    return f" ({listed})" if listed else ""


def _slot_table(rows: list[tuple[str, float, float]]) -> Table:
    table = make_table("class", "anchors", "mean loss")
    for name, anchors, mean in rows:
        table.add_row(name, f"{anchors:,.12g}", f"{mean:.6g}")
    return table


def _hardest_table(anchors: list[HardAnchor]) -> Table:
    table = make_table("index", "label", "loss")
    for anchor in anchors:
        label = "no class" if anchor.label is None else str(anchor.label)
        table.add_row(", ".join(map(str, anchor.position)), label, f"{anchor.loss:.6g}")
    return table


def _histogram(summary: Summary) -> Table:
    """Draw how many anchors have a loss of each power of ten, from the smallest that occurs."""
    counts = summary.histogram.tolist()
    used = [i for i, count in enumerate(counts) if count]
    table = make_table("loss", "anchors")
    table.add_column("", no_wrap=True)
    full = "#" if Console().options.ascii_only else "\u2588"
    names = [f"< {EDGES[0]:g}", *(f"{a:g} to {b:g}" for a, b in pairwise(EDGES))]
    names.append(f">= {EDGES[-1]:g}")
    for i in range(used[0], used[-1] + 1) if used else ():
        length = math.ceil(counts[i] / max(counts) * BAR_WIDTH)
        table.add_row(names[i], f"{counts[i]:,}", Text(full * length, "green"))
    return table


def as_json(scan: Scan, summary: Summary, top: int) -> dict[str, Any]:
    """Return what the file holds; numbers that are not finite are null."""
    options = scan.options
    return {
        "fastxent": fastxent.__version__,
        "loss": options.loss,
        "parameters": options.parameters,
        "axis": options.axis,
        "logits": _described(scan.logits),
        "targets": _described(scan.targets),
        "mean": _finite(summary.mean),
        "sum": _finite(summary.loss_sum),
        "valid": summary.valid,
        "ignored": summary.ignored,
        "nan": summary.nan_count,
        "classes": [
            {"class": name, "anchors": anchors, "mean": _finite(mean)}
            for name, anchors, mean in summary.slot_means()
        ],
        "hardest": [
            {"index": list(anchor.position), "label": anchor.label, "loss": _finite(anchor.loss)}
            for anchor in summary.hardest[:top]
        ],
        "histogram": {"edges": list(EDGES), "anchors": summary.histogram.tolist()},
    }


def _described(source: Source) -> dict[str, Any]:
    return {"name": source.name, "shape": list(source.shape), "dtype": source.dtype.name}


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
