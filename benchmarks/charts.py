"""The charts of docs/performance.md: the same figures give the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.contenders import READ
from benchmarks.figures import Figures, digits
from benchmarks.shapes import COCO, MAIN_LOSSES, SHAPES

OURS_COLOUR, PEER_COLOUR, READ_COLOUR = "#1f6feb", "#9aa4b2", "#d1242f"
SHAPE_NAMES = [shape.name for shape in SHAPES]
SETTINGS = {
    "svg.hashsalt": "fastxent",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(rows: list[Figures], folder: Path) -> None:
    """Write the charts that the rows suffice for."""
    threads = max((f.row["threads"] for f in rows), default=0)
    rows = [
        f
        for f in rows
        if f.row["threads"] == threads
        and f.row["dtype"] == "float32"
        and f.row["foreground"] == 0.01
        and not f.row["dense"]
        and not f.row.get("variant")
        and f.row["kind"] in {"losses", "gradients", "scores"}
        and f.ratio is not None
    ]
    functions = [f for f in rows if f.row["shape"] == COCO.name]
    by_shape = [f for f in rows if f.row["function"] in MAIN_LOSSES]
    with mpl.rc_context(SETTINGS):
        if functions:
            _save(_function_chart(functions), folder / "performance-functions.svg")
        if any(f.row["shape"] in SHAPE_NAMES for f in by_shape):
            _save(_shape_chart(by_shape), folder / "performance-shapes.svg")


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    # Matplotlib leaves blanks at the ends of lines.
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(line.rstrip() for line in lines) + "\n", encoding="utf-8")


def _panel(rows: int, **options: Any) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 1.3 + 0.36 * rows), layout="constrained")
    return figure, figure.add_subplot(**options)


def _function_chart(rows: list[Figures]) -> Figure:
    """Nanoseconds per logit of each function, next to the best peer and a plain read."""
    figure, axes = _panel(len(rows), xscale="log")
    for at, f in enumerate(rows):
        name, time = f.peers[0]
        axes.barh(at - 0.19, f.ours, 0.36, color=OURS_COLOUR, label="fastxent" if at == 0 else None)
        axes.barh(at + 0.19, time, 0.36, color=PEER_COLOUR, label="best peer" if at == 0 else None)
        axes.text(f.ours, at - 0.19, f" {digits(f.ours)}", va="center", fontsize=7)
        axes.text(time, at + 0.19, f" {digits(time)} {name}", va="center", fontsize=7)
    floor = min(f.per_logit[READ] for f in rows)
    axes.axvline(floor, color=READ_COLOUR, linewidth=1, label="plain read")
    axes.set_yticks(range(len(rows)), [f.label for f in rows])
    axes.invert_yaxis()
    axes.set_xlim(floor / 2, 3 * max(f.peers[0][1] for f in rows))
    axes.set_xlabel("nanoseconds per logit")
    axes.set_title(f"{COCO.name}, float32, {rows[0].row['threads']} threads", loc="left")
    axes.legend(frameon=False, loc="lower right")
    return figure


def _shape_chart(rows: list[Figures]) -> Figure:
    """How many times faster than the best peer, shape by shape."""
    shown = [name for name in SHAPE_NAMES if any(f.row["shape"] == name for f in rows)]
    figure, axes = _panel(len(shown), xscale="log")
    labels = list(dict.fromkeys(f.label for f in rows))
    colours = mpl.colormaps["tab10"]
    for at, label in enumerate(labels):
        points = [f for f in rows if f.label == label and f.row["shape"] in shown]
        marker = "s" if label.endswith("gradient") else "o"
        axes.plot(
            [f.ratio for f in points],
            [shown.index(f.row["shape"]) for f in points],
            marker,
            color=colours(at),
            label=label,
        )
    axes.axvline(1, color=READ_COLOUR, linewidth=1)
    axes.set_yticks(range(len(shown)), shown)
    axes.invert_yaxis()
    axes.set_xlabel("times faster than the best peer (left of the line: slower)")
    axes.set_title(f"float32, {rows[0].row['threads']} threads", loc="left")
    axes.legend(frameon=False, bbox_to_anchor=(1, 1), loc="upper left")
    return figure
