"""The arrays of a case, and what the right result is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

import fastxent as fx
from benchmarks.shapes import (
    FLOAT_TARGETS,
    GENERAL_GAMMA,
    INT64_TARGETS,
    MASKED,
    OF_PROBABILITIES,
    SCORES,
    SIGMOID_LOSSES,
    Case,
    Shape,
)

Array = NDArray[Any]

SEED = 7
#: Logits of a detection head: most classes are improbable.
LOGIT_MEAN, LOGIT_SPREAD = -3.0, 2.0

#: The share of logits that a mask replaces, and what with. Few formulas of sigmoid losses take an
#: infinite logit.
MASKED_SHARE, SIGMOID_MASK, SOFTMAX_MASK = 0.1, -1e9, -np.inf

#: How far a result may be from the float64 reference: rtol |reference| + atol. The peers keep the
#: absolute accuracy of their dtype, not the relative one, so atol decides for small losses.
TOLERANCES = {"float64": (1e-6, 1e-9), "float32": (1e-4, 1e-5), "bfloat16": (1e-2, 1e-5)}
#: For the sum of all losses, which some peers accumulate in float32.
SUM_TOLERANCE = 1e-2
#: Results are compared in pieces that fit into the cache.
CHUNK = 65536


@dataclass(frozen=True, eq=False)
class Inputs:
    """What every contender of a row gets. Labels: C (sigmoid) or 0 (softmax) is the background."""

    case: Case
    #: Logits, or probabilities.
    values: Array
    #: int64, the anchors' shape; for a single class, 0 or 1.
    labels: Array
    #: The anchors' shape: an IoU for quality losses, a position for the losses of boxes.
    scores: Array

    @property
    def function(self) -> str:
        """The name of the function."""
        return self.case.function

    @property
    def shape(self) -> Shape:
        """The shape of the values."""
        return self.case.shape

    @property
    def axis(self) -> int | None:
        """The class axis."""
        return self.case.shape.axis

    @property
    def gamma(self) -> float:
        """The exponent of a focal loss."""
        return 1.5 if self.case.variant == GENERAL_GAMMA else 2.0

    @property
    def options(self) -> dict[str, Any]:
        """What fastxent is told besides the arrays."""
        return {"gamma": self.gamma} if self.case.variant == GENERAL_GAMMA else {}

    @property
    def float_dtype(self) -> str:
        """The dtype of losses, and of targets for peers that want them as floats."""
        return "float64" if self.case.dtype == "float64" else "float32"

    def one_hot(self, dtype: DTypeLike = None) -> Array:
        """Return dense targets; those of quality losses have the score in place of 1."""
        if self.axis is None:
            dense = self.labels == 1
            scores = self.scores
        else:
            axis = self.axis % len(self.shape.dims)
            numbers = np.arange(self.shape.classes).reshape(
                [-1 if at == axis else 1 for at in range(len(self.shape.dims))]
            )
            dense = np.expand_dims(self.labels, axis) == numbers
            scores = np.expand_dims(self.scores, axis)
        if self.function in {"quality_focal_loss", "varifocal_loss"}:
            return np.where(dense, scores, 0).astype(dtype or self.float_dtype)
        return dense.astype(dtype or self.float_dtype)

    def targets(self) -> tuple[Array, ...]:
        """Return the targets as fastxent takes them."""
        if self.function in SCORES:
            return ()
        if self.function == "quality_focal_loss":
            return self.labels, self.scores
        if self.function == "distribution_focal_loss":
            return (self.scores,)
        if self.function == "varifocal_loss":
            return (self.one_hot(),)
        if self.axis is not None or self.case.variant == INT64_TARGETS:
            return (self.labels,)
        return (self.one_hot() if self.case.variant == FLOAT_TARGETS else self.labels == 1,)


@lru_cache(maxsize=1)
def make_inputs(case: Case) -> Inputs:
    """Return the arrays of a case; the same in every run."""
    generator = np.random.default_rng(SEED)
    shape = case.shape
    values = generator.standard_normal(shape.dims, np.float32)
    values *= LOGIT_SPREAD
    values += LOGIT_MEAN
    if case.function in OF_PROBABILITIES:
        values = _probabilities(case, values)

    has_class = generator.random(shape.anchors) < case.foreground
    if shape.axis is None:
        labels = has_class.astype(np.int64)
    elif case.function in SIGMOID_LOSSES:
        labels = generator.integers(0, shape.classes, shape.anchors)
        labels[~has_class] = shape.classes
    else:
        labels = generator.integers(1, shape.classes, shape.anchors)
        labels[~has_class] = 0

    if case.variant == MASKED:
        _mask(case, values, labels)

    scores = generator.random(shape.anchors, np.float32)
    if case.function == "distribution_focal_loss":
        scores *= shape.classes - 1.001
    return Inputs(case, values.astype(_dtype(case.dtype)), labels, scores)


def _mask(case: Case, values: Array, labels: Array) -> None:
    """Put masks into logits of rows of classes, and none where it would make a loss infinite."""
    masked = np.random.default_rng(SEED).random(values.shape) < MASKED_SHARE
    in_softmax = case.function not in SIGMOID_LOSSES and case.function != "sigmoid"
    rows = np.arange(len(labels))
    masked[rows, np.minimum(labels, case.shape.classes - 1)] = False
    values[masked] = SOFTMAX_MASK if in_softmax else SIGMOID_MASK


def _probabilities(case: Case, logits: Array) -> Array:
    if case.function == "categorical_cross_entropy":
        probs = fx.softmax(logits, axis=case.shape.axis)
    else:
        probs = fx.sigmoid(logits)
    return np.clip(probs, 1e-4, 0.99)  # away from where implementations clip, each in its own way


def _dtype(name: str) -> DTypeLike:
    if name == "bfloat16":
        import ml_dtypes

        return ml_dtypes.bfloat16
    return name


@lru_cache(maxsize=1)
def reference(inputs: Inputs) -> tuple[Array, ...]:
    """Return the result in float64: one loss per anchor, scores, or (sum of losses, gradient)."""
    function = getattr(fx, inputs.function)
    options: dict[str, Any] = {"backend": "numpy"} | inputs.options
    if inputs.axis is None or inputs.axis != -1:
        options["axis"] = inputs.axis
    if inputs.function in SCORES and inputs.function not in {"softmax", "log_softmax", "logsumexp"}:
        options.pop("axis", None)
    values = inputs.values.astype(np.float64)
    if inputs.case.gradient:
        loss, gradient = function(
            values, *inputs.targets(), reduction="sum", return_grad=True, **options
        )
        return np.asarray(loss), gradient
    return (function(values, *inputs.targets(), **options),)


def error(results: tuple[Array, ...], expected: tuple[Array, ...], case: Case) -> float:
    """Return the largest error in units of the tolerance: above 1 is not equal."""
    if len(results) != len(expected):
        return np.inf
    return max(_error(result, exact, case) for result, exact in zip(results, expected, strict=True))


def _error(result: Array, exact: Array, case: Case) -> float:
    if result.shape != exact.shape:
        return np.inf
    # Losses and scores of half precision are float32; gradients are not.
    rtol, atol = TOLERANCES[case.dtype if case.gradient or case.dtype == "float64" else "float32"]
    if case.gradient and exact.ndim == 0:
        rtol = SUM_TOLERANCE
    result, exact = np.ravel(result), np.ravel(exact)
    worst = 0.0
    for start in range(0, exact.size, CHUNK):
        expected = exact[start : start + CHUNK]
        difference = np.abs(result[start : start + CHUNK].astype(np.float64) - expected)
        # NumPy's maximum keeps NaN.
        worst = float(np.maximum(worst, np.max(difference / (atol + rtol * np.abs(expected)))))
    return worst if worst == worst else np.inf  # noqa: PLR0124 - NaN is not equal
