"""From the times of a row to the figures that are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import package
from benchmarks.contenders import OURS, READ
from benchmarks.shapes import DTYPES, KINDS, LOSSES, SCORES, SHAPES

#: What is timed for comparison, and is no peer.
NO_PEERS = (READ, OURS, "model alone")
LABELS = {name: loss.label for name, loss in package.LOSSES.items()}


@dataclass(frozen=True)
class Figures:
    """One row, in the units of the tables."""

    row: dict[str, Any]
    #: Nanoseconds per logit of each contender.
    per_logit: dict[str, float]

    @property
    def label(self) -> str:
        """The function in words."""
        name: str = self.row["function"]
        words = LABELS.get(name, name.replace("_", " "))
        return f"{words} + gradient" if self.row["kind"] == "gradients" else words

    @property
    def ours(self) -> float:
        """Nanoseconds per logit of fastxent."""
        return self.per_logit[OURS]

    @property
    def read_share(self) -> float:
        """The time of a plain read of the input, relative to ours."""
        return self.per_logit[READ] / self.ours

    @property
    def peers(self) -> list[tuple[str, float]]:
        """The peers, the fastest first."""
        peers = [item for item in self.per_logit.items() if is_peer(item[0])]
        return sorted(peers, key=lambda item: item[1])

    @property
    def ratio(self) -> float | None:
        """How many times faster than the best peer; below 1 is slower."""
        return self.peers[0][1] / self.ours if self.peers else None

    @property
    def loses(self) -> bool:
        """Whether a peer is faster."""
        return self.ratio is not None and self.ratio < 1


def is_peer(name: str) -> bool:
    """Tell a peer from what is timed for comparison, and from variants of ours."""
    return name not in NO_PEERS and not name.startswith(f"{OURS}, ")


def figures_of(row: dict[str, Any]) -> Figures:
    """Return the figures of a row."""
    scale = 1e9 / row["logits"]
    return Figures(row, {name: seconds * scale for name, seconds in row["seconds"].items()})


def ordered(rows: list[dict[str, Any]]) -> list[Figures]:
    """Return the figures of all rows, in the order of the grid and not of their measurement."""

    def place(row: dict[str, Any]) -> tuple[int | float | str, ...]:
        return (
            _index(row["kind"], KINDS),
            row["kind"],
            _index(row["function"], LOSSES + SCORES),
            _index(row["shape"], [shape.name for shape in SHAPES]),
            row["logits"],
            _index(row["dtype"], DTYPES),
            row["foreground"],
            row["dense"],
            row.get("variant", ""),
            -row["threads"],
        )

    return [figures_of(row) for row in sorted(rows, key=place)]


def _index(name: str, names: Sequence[str]) -> int:
    return names.index(name) if name in names else len(names)


def digits(value: float) -> str:
    """Return a number with two or three digits that count, never in exponents."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 2 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"
