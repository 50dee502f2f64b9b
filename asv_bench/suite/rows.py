"""What is counted and timed: each function in each layout, and the main ones in more ways.

A row makes a call on about as many logits as it is asked for: a few thousand are counted under
callgrind, two million are timed. Rows are grouped as the dashboard shows them: a group is one
benchmark with its rows as parameters, and a commit has figures for all of them or for none, so that
what a page averages over a group is the same at every commit.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

import fastxent as fx
from benchmarks.contenders import our_run
from benchmarks.inputs import Array, make_inputs
from benchmarks.shapes import (
    ELEMENT_SCORES,
    MAIN_LOSSES,
    OF_PROBABILITIES,
    SIGMOID_LOSSES,
    SMALL,
    Case,
    Shape,
)

from .package import LOSSES, SCORES, public_functions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Call(NamedTuple):
    """A call, and how many logits it is about."""

    run: Callable[[], object]
    logits: int


@dataclass(frozen=True)
class Row:
    """One figure of a commit."""

    group: str
    name: str
    make: Callable[[int], Call]
    #: Whether callgrind counts it: it has one thread, and is compiled.
    is_counted: bool = True
    #: That of the one thread stands while another process has the CPU.
    clock: Callable[[], float] = time.thread_time


@dataclass(frozen=True)
class Layout:
    """How logits lie in memory, and what else may differ."""

    #: Of one anchor.
    shape: Shape
    dtype: str = "float32"
    threads: int = 1
    backend: str = "native"
    is_dense: bool = False
    is_masked: bool = False
    #: Columns before the logits, which are not read, as those of boxes in YOLO's output.
    foreign_columns: int = 0
    #: Whether it has always the same size.
    is_fixed: bool = False


CLASSES = Shape((1, 80))
LAYOUTS = {
    "80 classes": Layout(CLASSES),
    "4 classes": Layout(Shape((1, 4))),
    "class axis in front": Layout(Shape((1, 80, 1), 1)),
    "one class": Layout(Shape((1,), None)),
}
#: What the main functions are also asked for, each a group of its own.
VARIATIONS = {
    "dense targets": Layout(CLASSES, is_dense=True),
    "masked": Layout(CLASSES, is_masked=True),
    "among other columns": Layout(CLASSES, foreign_columns=5),
    "float64": Layout(CLASSES, dtype="float64"),
    "bfloat16": Layout(CLASSES, dtype="bfloat16"),
    "two threads": Layout(CLASSES, threads=2),
    "short calls": Layout(SMALL, is_fixed=True),
    "numba": Layout(CLASSES, backend="numba"),
}
MAIN = (*MAIN_LOSSES, "sigmoid", "softmax")
#: The share of logits that a mask replaces, and what with: a probability is never quite 0.
MASKED, MASK, MASK_OF_PROBABILITIES = 0.1, -1e9, 1e-6
GROUND_TRUTHS, POSITIVES = 30, 0.01


# --- losses and scores ----------------------------------------------------------------------------


def _make_call(function: str, layout: Layout, gradient: bool, logits: int) -> Call:
    """Return a call of a loss or a score."""
    shape = layout.shape if layout.is_fixed else _of_size(layout.shape, logits)
    case = Case(function, shape, layout.dtype, gradient=gradient, dense=layout.is_dense)
    inputs = make_inputs(case)
    values = inputs.values
    if layout.is_masked:
        values = values.copy()
        chosen = np.random.default_rng(7).random(values.shape) < MASKED
        values[chosen] = MASK_OF_PROBABILITIES if function in OF_PROBABILITIES else MASK
    if layout.foreign_columns:
        wide = np.zeros((len(values), values.shape[1] + layout.foreign_columns), values.dtype)
        wide[:, layout.foreign_columns :] = values
        values = wide[:, layout.foreign_columns :]
    run = our_run(replace(inputs, values=values), layout.threads)
    if layout.backend != "native":
        run = partial(run, backend=layout.backend)
    return Call(run, shape.size)


def _of_size(shape: Shape, logits: int) -> Shape:
    """Return the shape with about so many logits, on its last axis that is not of classes."""
    anchors = max(1, logits // shape.classes)
    at = len(shape.dims) - 1 if shape.axis == 1 else 0
    return replace(shape, dims=(*shape.dims[:at], anchors, *shape.dims[at + 1 :]))


def _is_defined(function: str, layout: Layout) -> bool:
    """Return whether a function has a layout, and not the kernel of another one for it."""
    if function in ELEMENT_SCORES:
        return layout.shape in {CLASSES, SMALL} and not layout.is_dense
    if function in SCORES:
        return layout.shape.axis is not None and not layout.is_dense
    if layout.shape.axis is None:
        return function in SIGMOID_LOSSES and function != "quality_focal_loss"
    return not layout.is_dense or function in SIGMOID_LOSSES


def _names(functions: tuple[str, ...]) -> Iterator[tuple[str, str, bool]]:
    """Yield the names that losses, their gradients and scores have, functions, and which it is."""
    for function in functions:
        yield function, function, False
        if function in LOSSES:
            yield f"{function}_gradient", function, True


def _of_losses_and_scores() -> Iterator[Row]:
    for name, function, gradient in _names(LOSSES + SCORES):
        for layout_name, layout in LAYOUTS.items():
            if _is_defined(function, layout):
                yield Row(name, layout_name, partial(_make_call, function, layout, gradient))
    for variation, layout in VARIATIONS.items():
        is_counted = (layout.threads, layout.backend, layout.is_fixed) == (1, "native", False)
        group = variation.replace(" ", "_")
        # Each of Numba's takes seconds to compile.
        functions = MAIN_LOSSES[:2] if layout.backend == "numba" else MAIN
        for name, function, gradient in _names(functions):
            if _is_defined(function, layout):
                make = partial(_make_call, function, layout, gradient)
                clock = time.thread_time if layout.threads == 1 else time.perf_counter
                yield Row(group, name, make, is_counted, clock)


# --- the other functions --------------------------------------------------------------------------


def _normal(shape: tuple[int, ...], scale: float = 1, mean: float = 0) -> Array:
    values = np.random.default_rng(7).standard_normal(shape, np.float32)
    return values * np.float32(scale) + np.float32(mean)


def _select(mean: float, axis: int, options: dict[str, object], logits: int) -> Call:
    shape = (1, logits // 80, 80) if axis == -1 else (1, 80, logits // 80)
    values = _normal(shape, mean=mean)
    return Call(partial(fx.select_candidates, values, axis=axis, num_threads=1, **options), logits)


def _convert_head(name: str, logits: int) -> Call:
    values = _normal((logits,) if name.startswith("sigmoid_to") else (logits // 2, 2))
    function = getattr(fx, name)
    return Call(partial(function, values, out=function(values)), logits)


def _mine(name: str, logits: int) -> Call:
    losses = np.random.default_rng(7).exponential(1, (2, logits // 2)).astype(np.float32)
    if name == "ohem":
        second = int(3 * POSITIVES * losses.shape[1])
    else:
        second = np.random.default_rng(8).random(losses.shape) < POSITIVES
    return Call(partial(getattr(fx, name), losses, second, num_threads=1), logits)


def _match(kind: str, logits: int) -> Call:
    values = _normal((1, logits // 80, 80), scale=2)
    labels = np.random.default_rng(8).integers(0, 80, (1, GROUND_TRUTHS))
    options = {"objectness": values[..., 0]} if kind == "simota" else {}
    return Call(partial(fx.class_cost, values, labels, kind=kind, num_threads=1, **options), logits)


def _recommend(dense: bool, logits: int) -> Call:
    anchors = logits // 80 if dense else logits
    inputs = make_inputs(Case("sigmoid_cross_entropy", Shape((anchors, 80))))
    targets = inputs.one_hot(np.float32) if dense else inputs.labels
    return Call(partial(fx.recommend_loss, targets, 80), logits)


def _of_detection() -> Iterator[Row]:
    """Yield the functions of detectors; 0.1 % and 10 % of the logits pass the threshold."""
    few, many = -6.03, -4.23
    softmax = {"activation": "softmax", "background_index": -1}
    for name, arguments in {
        "few pass": (few, -1, {}),
        "many pass": (many, -1, {}),
        "class axis in front": (few, 1, {}),
        "softmax": (0, -1, softmax),
    }.items():
        yield Row("select_candidates", name, partial(_select, *arguments))
    for name in public_functions("heads"):
        yield Row("heads", name, partial(_convert_head, name))
    for name in public_functions("mining"):
        yield Row("mining", name, partial(_mine, name))
    for kind in ("focal", "softmax", "sigmoid", "simota"):
        yield Row("class_cost", kind, partial(_match, kind))
    for name in ("labels", "dense"):
        yield Row("recommend_loss", name, partial(_recommend, name == "dense"))


def _time_of_children() -> float:
    """Return the CPU time of processes that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def _import(logits: int) -> Call:
    """Return the import of the package and NumPy in a fresh process."""
    command = [sys.executable, "-P", "-c", "import fastxent"]
    return Call(partial(subprocess.run, command, check=True), logits)


ROWS = (
    *_of_losses_and_scores(),
    *_of_detection(),
    Row("start", "import", _import, is_counted=False, clock=_time_of_children),
)
GROUPS = {
    group: [row for row in ROWS if row.group == group]
    for group in dict.fromkeys(row.group for row in ROWS)
}


def make_call(row: Row, logits: int) -> Call | None:
    """Return the call of a row, warmed up, or None where this commit does not have it."""
    try:
        call = row.make(logits)
        call.run()
    except (AttributeError, TypeError, ValueError, ImportError, NotImplementedError):
        return None
    return call
