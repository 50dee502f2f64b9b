"""The grid: which functions are timed on which logits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from benchmarks import package

SIGMOID_LOSSES = tuple(name for name, loss in package.LOSSES.items() if loss.sigmoid)
SOFTMAX_LOSSES = tuple(name for name, loss in package.LOSSES.items() if not loss.sigmoid)
LOSSES = SIGMOID_LOSSES + SOFTMAX_LOSSES
CLASS_SCORES = tuple(name for name, score in package.SCORES.items() if score.over_classes)
ELEMENT_SCORES = tuple(name for name in package.SCORES if name not in CLASS_SCORES)
SCORES = ELEMENT_SCORES + CLASS_SCORES
#: The losses that are timed on every shape, also outside the cross product.
MAIN_LOSSES = ("sigmoid_cross_entropy", "softmax_cross_entropy", "sigmoid_focal_loss")
#: What takes probabilities and not logits.
OF_PROBABILITIES = tuple(
    name
    for name, function in (package.LOSSES | package.SCORES).items()
    if function.values == "probs"
)

DTYPES = ("float32", "float64", "bfloat16")
#: The share of anchors that have a class.
FOREGROUND = (0.01, 0.5)
KINDS = ("losses", "gradients", "scores")
#: What is different about a row besides shape, dtype and foreground.
MASKED, GENERAL_GAMMA, NEW_RESULT = "masked", "gamma 1.5", "new result"
#: Targets of single classes; the others are bool.
INT64_TARGETS, FLOAT_TARGETS = "int64 targets", "float targets"
GRIDS = ("quick", "full", "cross")


@dataclass(frozen=True)
class Shape:
    """The shape of an array of logits; with `axis` None, every element is an anchor."""

    dims: tuple[int, ...]
    axis: int | None = -1

    @property
    def size(self) -> int:
        """The number of logits."""
        return math.prod(self.dims)

    @property
    def classes(self) -> int:
        """The number of classes."""
        return 1 if self.axis is None else self.dims[self.axis]

    @property
    def anchors(self) -> tuple[int, ...]:
        """The shape without its class axis."""
        if self.axis is None:
            return self.dims
        axis = self.axis % len(self.dims)
        return self.dims[:axis] + self.dims[axis + 1 :]

    @property
    def name(self) -> str:
        """The shape as tables show it."""
        if self.axis is None:
            return f"{self.dims[0]:,} x 1"
        if self.axis == -1:
            return " x ".join(f"{length:,}" for length in self.dims)
        return f"({', '.join(map(str, self.dims))}), axis {self.axis}"

    def scaled(self, scale: float) -> Shape:
        """Return the shape with fewer anchors, on its longest axis that is not of classes."""
        if scale == 1:
            return self
        at = len(self.dims) - 1 if self.axis == 1 else 0
        length = max(16, math.ceil(self.dims[at] * scale))
        return replace(self, dims=(*self.dims[:at], length, *self.dims[at + 1 :]))


SINGLE_CLASS = Shape((8_000_000,), None)
TWO_CLASSES = Shape((4_000_000, 2))
FOUR_CLASSES = Shape((2_000_000, 4))
VOC = Shape((800_000, 21))
COCO = Shape((200_000, 80))
COCO_PAPER = Shape((200_000, 91))
LVIS = Shape((13_000, 1_203))
SSD = Shape((32, 81, 8_732), 1)
CHANNELS = Shape((8, 80, 16_800), 1)
SMALL = Shape((100, 80))
SHAPES = (
    SINGLE_CLASS,
    TWO_CLASSES,
    FOUR_CLASSES,
    VOC,
    COCO,
    COCO_PAPER,
    LVIS,
    SSD,
    CHANNELS,
    SMALL,
)


@dataclass(frozen=True)
class Case:
    """One row of a table, except for the number of threads, which a whole run shares."""

    function: str
    shape: Shape
    dtype: str = "float32"
    foreground: float = FOREGROUND[0]
    gradient: bool = False
    #: fastxent gets dense targets too, where it would take class labels.
    dense: bool = False
    #: One of the variants, or "".
    variant: str = ""

    @property
    def kind(self) -> str:
        """The module that times it."""
        if self.function in SCORES:
            return "scores"
        return "gradients" if self.gradient else "losses"

    @property
    def has_variants(self) -> bool:
        """Whether fastxent takes part in other ways too: compiled by Numba, as a custom loss."""
        return (
            self.function in MAIN_LOSSES
            and self.shape.dims[1:] == COCO.dims[1:]
            and self.shape != SMALL
            and self.dtype == DTYPES[0]
            and self.foreground == FOREGROUND[0]
            and not self.dense
            and not self.variant
        )

    @property
    def name(self) -> str:
        """A name that tells it from every other case."""
        dims = "x".join(map(str, self.shape.dims))
        axis = "" if self.shape.axis == -1 else f"_axis{self.shape.axis}"
        gradient = "-gradient" if self.gradient else ""
        dense = "-dense" if self.dense else ""
        variant = f"-{self.variant.replace(' ', '_')}" if self.variant else ""
        kind = f"{self.dtype}-{self.foreground:.0%}{gradient}{dense}{variant}"
        return f"{self.function}-{dims}{axis}-{kind}"


def fits(function: str, shape: Shape) -> bool:
    """Return whether a function is defined for a shape, and not merely the same for all of them."""
    if function in ELEMENT_SCORES:
        return shape in {SINGLE_CLASS, COCO, SMALL}
    if shape.axis is None:
        return function in SIGMOID_LOSSES and function != "quality_focal_loss"
    return True


def cases(grid: str, kind: str, scale: float = 1) -> list[Case]:
    """Return the cases of one module in a grid."""
    chosen = {"quick": _quick, "full": _full, "cross": _cross}[grid]()
    unique = dict.fromkeys(case for case in chosen if case.kind == kind)
    return [replace(case, shape=case.shape.scaled(scale)) for case in unique]


def _quick() -> Iterator[Case]:
    """Yield what the project has targets for, and the main losses in each dtype."""
    for function in MAIN_LOSSES:
        for gradient in (False, True):
            for dtype in DTYPES:
                yield Case(function, COCO, dtype, gradient=gradient)
            yield Case(function, COCO, foreground=FOREGROUND[1], gradient=gradient)
    for function in MAIN_LOSSES[:2]:
        for shape in SHAPES:
            if fits(function, shape):
                yield Case(function, shape)
    yield Case("sigmoid_cross_entropy", COCO, dense=True)
    for function in ("sigmoid", "softmax"):
        yield Case(function, COCO)
        yield Case(function, COCO, variant=NEW_RESULT)
    for function in MAIN_LOSSES[:2]:
        yield Case(function, COCO, variant=MASKED)


def _full() -> Iterator[Case]:
    """Vary one thing at a time; the main losses see every shape."""
    for function in LOSSES:
        for gradient in (False, True):
            for shape, dtype in _loss_arrays(function):
                yield Case(function, shape, dtype, gradient=gradient)
            yield Case(function, COCO, foreground=FOREGROUND[1], gradient=gradient)
            if function in {"sigmoid_cross_entropy", "sigmoid_focal_loss"}:
                yield Case(function, COCO, gradient=gradient, dense=True)
    for function in SCORES:
        for shape in SHAPES:
            if fits(function, shape):
                yield Case(function, shape)
        for dtype in DTYPES[1:]:
            yield Case(function, COCO, dtype)
    yield from _variants()


def _variants() -> Iterator[Case]:
    """Yield what differs from the plain rows, of the main functions."""
    for variant in (MASKED, NEW_RESULT):
        for function in MAIN_LOSSES:
            for gradient in (False, True):
                yield Case(function, COCO, gradient=gradient, variant=variant)
        for function in ("sigmoid", "softmax"):
            yield Case(function, COCO, variant=variant)
    for gradient in (False, True):
        for function in ("sigmoid_focal_loss", "softmax_focal_loss"):
            yield Case(function, COCO, gradient=gradient, variant=GENERAL_GAMMA)
        yield Case("sigmoid_focal_loss", SINGLE_CLASS, gradient=gradient, variant=GENERAL_GAMMA)
        for function in ("sigmoid_cross_entropy", "sigmoid_focal_loss"):
            for variant in (INT64_TARGETS, FLOAT_TARGETS):
                yield Case(function, SINGLE_CLASS, gradient=gradient, variant=variant)


def _loss_arrays(function: str) -> Iterator[tuple[Shape, str]]:
    """Yield the shapes and dtypes of a loss."""
    is_main = function in MAIN_LOSSES
    for shape in SHAPES if is_main else (FOUR_CLASSES, COCO, CHANNELS, SMALL):
        if fits(function, shape):
            yield shape, DTYPES[0]
    for dtype in DTYPES[1:]:
        for shape in (COCO, CHANNELS) if is_main else (COCO,):
            yield shape, dtype


def _cross() -> Iterator[Case]:
    """Cross everything with everything: days of it."""
    yield from (case for case in _full() if case.dense or case.variant)
    for dtype in DTYPES:
        for shape in SHAPES:
            for function in LOSSES:
                for foreground in FOREGROUND:
                    for gradient in (False, True):
                        if fits(function, shape):
                            yield Case(function, shape, dtype, foreground, gradient)
            for function in SCORES:
                if fits(function, shape):
                    yield Case(function, shape, dtype)
