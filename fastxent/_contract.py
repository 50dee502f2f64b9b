"""What a backend is asked for, and what it answers.

``_call.validate`` fills in a :class:`LossRequest`, which no later step checks again, except for one
check that it leaves to the backend (`late_check`). A backend is a module with the functions of
:class:`Backend`.

This module imports NumPy, the catalogue and ``_selection`` alone. A parameter of a new loss becomes
one more field, with the value that means "not used".
"""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from fastxent._catalogue import Loss
from fastxent._clipping import Clipping
from fastxent._selection import Selection, SelectionRequest

Array = NDArray[Any]
#: NumPy types what its own reductions return the same way.
ArrayOrScalar = Any
IgnoreIndex = SupportsIndex | tuple[SupportsIndex, ...]
Reduction = Literal["anchor", "none", "sum", "mean"]
Normalizer = Literal["valid", "weight", "positive", "count"]
BackendName = Literal["native", "numba", "numpy"]


class Instruction(NamedTuple):
    """One operation."""

    operation: str
    #: The numbers of earlier instructions.
    operands: tuple[int, ...] = ()
    #: That of a "constant", or which "parameter" it is.
    number: float = 0


class Program(NamedTuple):
    """Instructions in their order, and which of them are the results: the loss, and its slope."""

    instructions: tuple[Instruction, ...]
    results: tuple[int, ...]


class Formula(NamedTuple):
    """A custom loss, ready to be compiled."""

    #: A name that no other formula has, fit for a file.
    name: str
    #: Programs by the target, where it is known (0 and 1), and by whether the slope is wanted.
    programs: dict[tuple[float | None, bool], Program]


class CustomCall(NamedTuple):
    """A loss of the user's own, and the numbers of its parameters."""

    formula: Formula
    values: tuple[float, ...]


class LossRequest:
    """One call of a loss, checked and brought to the shape that every backend reads.

    The class axis is last: shapes are ``(*anchors, classes)``, with any strides. The result dtype
    is float64 for float64 logits, and float32 for all others. Defaults are attributes of the class:
    setting all of them would take a tenth of the time of a short call, which uses five.
    """

    def __init__(self, loss: Loss, logits: Array) -> None:
        self.loss = loss
        self.logits = logits

    loss: Loss
    #: Logits, or probabilities for the losses on those. ``axis=None`` makes them ``(*anchors, 1)``.
    logits: Array
    #: Class labels ``(*anchors)`` of any integer dtype. Exactly one of `labels`, `dense` and
    #: `positions` is given.
    labels: Array | None = None
    #: Dense targets ``(*anchors, classes)``, bool, integer or floating.
    dense: Array | None = None
    #: Positions ``(*anchors)`` on the axis of class numbers, bool, integer or floating.
    positions: Array | None = None
    #: The target ``(*anchors)`` of the label's class, in place of 1; bool, integer or floating.
    scores: Array | None = None
    #: Labels (or positions) of anchors that count for nothing; they take precedence over
    #: everything else. In dense targets they mark single elements, which have no label then: these
    #: are the only ones outside [0, 1].
    ignore: tuple[int, ...] = ()
    #: There are such elements in `dense`. Where that has a `late_check`, it is not known yet.
    has_missing: bool = False
    #: Sigmoid: the label that means "no class". Softmax: the class that the normalizer "positive"
    #: does not count, or -1.
    background: int = -1
    #: Per class, contiguous, of the result dtype.
    class_weight: Array | None = None
    pos_weight: Array | None = None
    label_smoothing: float = 0.0
    #: Probabilities are clipped to ``[eps, 1 - eps]``; logits have no use for it.
    eps: float = 0.0
    #: The same in numbers of the result dtype.
    clipping: Clipping | None = None
    #: A number, or one per class: contiguous, float64. What None means is the loss's business.
    alpha: float | Array | None = None
    #: The exponent of the losses that have one (the beta of quality_focal_loss); the slope of
    #: sigmoid_focal_loss_star.
    gamma: float = 0.0
    #: asymmetric_loss: two exponents, and what is subtracted from a negative's probability.
    gamma_neg: float = 0.0
    gamma_pos: float = 0.0
    clip: float = 0.0
    #: sigmoid_focal_loss_star: what is added to gamma x; that gamma is no exponent.
    beta: float = 0.0
    #: varifocal_loss: the target is a factor of its own loss.
    iou_weighted: bool = True
    #: poly1_cross_entropy: the factor of 1 - p.
    epsilon: float = 0.0
    #: A loss of the user's own; only the backend "numba" has them.
    custom: CustomCall | None = None
    weight: float = 1.0
    #: Per anchor, bool, integer or floating.
    anchor_weight: Array | None = None
    #: Per logit, bool, integer or floating; broadcast, so its strides may be zero.
    logit_weight: Array | None = None
    #: `out` holds one value per logit instead of one per anchor.
    per_logit: bool = False
    #: Where the result goes; None when only the totals are wanted.
    out: Array | None = None
    #: Where the gradient goes, ``(*anchors, classes)``, of the dtype of `logits`; None: not wanted.
    #: It is the product of the loss's own with `grad_scale` and the two arrays that follow.
    grad: Array | None = None
    grad_scale: float = 1.0
    #: Per anchor, bool, integer or floating.
    anchor_grad_output: Array | None = None
    #: Per logit, bool, integer or floating; only with `per_logit`.
    logit_grad_output: Array | None = None
    #: Where the expected class number goes, ``(*anchors)``, of the result dtype.
    expectation: Array | None = None
    #: 0: as many as `automatic_threads` says when the call turns out to be long enough.
    threads: int = 1
    #: Raises the error of a dense target that is not valid: outside [0, 1] and not in `ignore`, or,
    #: with a softmax, missing where other targets of the anchor are not. And that of what is no
    #: class label, and of a probability outside [0, 1] by more than `tolerance`. Where it is given,
    #: `labels`, `dense` and probabilities are unchecked, and the caller sees nothing that is
    #: written: the backend calls it when it meets such a target, or what may be such a probability.
    late_check: Callable[[], object] | None = None
    #: inf: all probabilities are checked.
    tolerance: float = math.inf


class LossTotals(NamedTuple):
    """Sums over all anchors of a call, from which reductions are made."""

    #: Sum of the weighted losses, added in a fixed order.
    loss: float
    #: Anchors that are not ignored; with dense targets, those with a label of any class.
    valid: int
    #: Sum of the weights applied to the valid anchors, of each the mean over its labelled classes.
    weight: float
    #: Valid anchors with a class.
    positive: int


class LargestRequest(NamedTuple):
    """The largest losses of each image, to be marked; all of it is checked."""

    #: ``(images, anchors)``, of any floating dtype and any strides.
    losses: Array
    #: Class labels ``(images, anchors)`` or bool, of any strides; None: every anchor is eligible.
    labels: Array | None
    #: The label of the anchors that are eligible.
    background: int
    #: How many of each image, ``(images,)``: int64, contiguous, from 0 to the number of anchors.
    counts: NDArray[np.int64]
    #: Where the marks go: bool, C-contiguous, ``(images, anchors)``.
    out: NDArray[np.bool_]
    threads: int


CostKind = Literal["focal", "softmax", "sigmoid", "simota"]


class CostRequest(NamedTuple):
    """Costs of each image's queries and ground truths; all of it is checked."""

    kind: CostKind
    #: ``(*images, *queries, classes)``, of any floating dtype and any strides.
    logits: Array
    #: How many of the first axes are images.
    batch_ndim: int
    #: The class of each ground truth, of one image after the other: int64, contiguous.
    classes: NDArray[np.int64]
    #: Image i has those from ``starts[i]`` to ``starts[i + 1]``; int64, contiguous.
    starts: NDArray[np.int64]
    #: Logits ``(*images, *queries)``, for "simota".
    objectness: Array | None
    #: None: both sides have the factor 1.
    alpha: float | None
    gamma: float
    #: Where the costs go, ``(queries, ground truths)`` of one image after the other: one axis, of
    #: the result dtype.
    out: Array
    threads: int

    @property
    def images(self) -> int:
        """Return the number of images."""
        return len(self.starts) - 1

    @property
    def queries(self) -> int:
        """Return the number of queries of an image."""
        return math.prod(self.logits.shape[self.batch_ndim : -1])


class Backend(Protocol):
    """A module that computes."""

    #: Contiguous classes, of which it computes scores; of others no more than MOST_CLASSES.
    MOST_ROW_CLASSES: int

    def evaluate_loss(self, request: LossRequest) -> LossTotals:
        """Fill ``out``, ``grad`` and ``expectation``, where given, and add up."""

    def count_anchors(self, request: LossRequest) -> LossTotals:
        """Return the totals with a loss of 0, from targets and weights alone; write nothing."""

    def evaluate_score(
        self,
        name: str,
        values: NDArray[np.floating[Any]],
        out: NDArray[np.floating[Any]],
        threads: int,
    ) -> None:
        """Fill `out` with the score called `name` of `values`."""

    def count_positives(
        self, labels: Array, background: int, ignored: tuple[int, ...], threads: int
    ) -> NDArray[np.int64]:
        """Return how many labels of each row are positive; -1 where one is not valid.

        Positive are those that are neither the background nor ignored. Negative numbers are
        invalid, except for these two.
        """

    def mark_largest(self, request: LargestRequest) -> None:
        """Mark the largest eligible losses of each image; of equal ones the first."""

    def evaluate_cost(self, request: CostRequest) -> None:
        """Fill in the costs of queries and ground truths."""

    def select_candidates(self, request: SelectionRequest) -> Selection:
        """Select the candidates of a detection head."""


# --- what backends make of parameters -----------------------------------------------------------

Factor = float | Array


def term_factors(request: LossRequest, class_weight: Array | None) -> tuple[Factor, Factor]:
    """Return both factors: numbers, or float64 arrays with one value per class.

    `class_weight` is None where a backend applies the request's to whole anchors.
    """
    positive: Factor = 1.0
    negative: Factor = 1.0
    if class_weight is not None:
        positive = negative = class_weight.astype(np.float64)
    if request.alpha is not None:
        match request.loss.alpha:
            case "positives":
                positive = positive * request.alpha
            case "negatives":
                negative = negative * request.alpha
            case "both":
                positive = positive * request.alpha
                negative = negative * (1.0 - request.alpha)
    if request.pos_weight is not None:
        positive = positive * request.pos_weight.astype(np.float64)
    return positive, negative


def modulating_exponents(request: LossRequest) -> tuple[float, float]:
    """Return the exponents of positives and of negatives; 0 where there is no modulating factor."""
    positives, negatives = request.loss.exponents
    return _exponent(request, positives), _exponent(request, negatives)


def _exponent(request: LossRequest, parameter: str | None) -> float:
    if parameter is None:
        return 0.0
    field = "gamma" if parameter == "beta" else parameter
    exponent: float = getattr(request, field)
    return exponent
