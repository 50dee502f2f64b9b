"""The conditions that functions are timed under: one thing at a time is different."""

import os
import re
from dataclasses import dataclass, replace

from benchmarks.shapes import CHANNELS, COCO, FOUR_CLASSES, SINGLE_CLASS, Shape

from ._package import BACKENDS

#: A regular expression that chooses conditions by their quoted names; asv is given the same one.
CHOSEN = re.compile(os.environ.get("FASTXENT_ASV_CASES", ""))
#: Below 1: fewer anchors, to try things out. Such figures are not worth recording.
SCALE = float(os.environ.get("FASTXENT_ASV_SCALE", "1"))

#: Backends that are not compiled get this many anchors; they are slow.
FEW = Shape((4_000, 80))
INTERPRETED = {"numpy"}
#: Columns of other things before the logits, as those of boxes and objectness in YOLO's output.
FOREIGN_COLUMNS = 5


@dataclass(frozen=True)
class Condition:
    """A shape and how it is computed. The name is what the dashboard shows."""

    name: str
    shape: Shape
    dtype: str = "float32"
    threads: int = 1
    backend: str = "native"
    #: Columns before the logits, which are not read.
    foreign_columns: int = 0
    #: Whether a quick run has it: the story of a commit in a minute.
    quick: bool = False


def _conditions() -> list[Condition]:
    conditions = [
        Condition("200000x80", COCO, quick=True),
        Condition("200000x80 2 threads", COCO, threads=2, quick=True),
        Condition("8x80x16800 channels", CHANNELS, quick=True),
        Condition("8x80x16800 channels 2 threads", CHANNELS, threads=2),
        Condition("2000000x4", FOUR_CLASSES),
        Condition("8000000 single class", SINGLE_CLASS),
        Condition("200000x80 float64", COCO, dtype="float64"),
        Condition("200000x80 bfloat16", COCO, dtype="bfloat16"),
        Condition("200000x80 of 85 columns", COCO, foreign_columns=FOREIGN_COLUMNS),
    ]
    for backend in BACKENDS:
        if backend in INTERPRETED:
            conditions.append(Condition(f"4000x80 {backend}", FEW, backend=backend))
        elif backend != "native":
            quick = [like for like in conditions if like.quick and like.backend == "native"]
            conditions += [
                replace(like, name=f"{like.name} {backend}", backend=backend) for like in quick
            ]
    return conditions


CONDITIONS = {condition.name: condition for condition in _conditions()}
#: What chooses those of a quick run.
QUICK = "'(" + "|".join(name for name, condition in CONDITIONS.items() if condition.quick) + ")'"


def chosen_conditions() -> list[Condition]:
    """Return the conditions of this run."""
    return [condition for name, condition in CONDITIONS.items() if CHOSEN.search(f"'{name}'")]
