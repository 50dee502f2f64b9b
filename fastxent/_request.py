"""What a backend is asked for, and what it answers.

``_validate`` fills in a :class:`LossRequest`; nothing behind it doubts a request again. A backend
is a module with two functions::

    evaluate_loss(request: LossRequest) -> LossTotals
    evaluate_score(name: str, values: ndarray, out: ndarray, threads: int) -> None

A parameter of a new loss becomes one more field here, with the value that means "not used".
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, SupportsIndex

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
#: NumPy types what its own reductions return likewise.
ArrayOrScalar = Any
IgnoreIndex = SupportsIndex | tuple[SupportsIndex, ...]


class Loss(NamedTuple):
    """What the code shared by all losses needs to know about one of them."""

    name: str
    #: The name of the first argument, for error messages.
    values: str
    #: Every class is a question of its own ("sigmoid"), or one class is chosen ("softmax").
    sigmoid: bool


@dataclass(slots=True, eq=False)
class LossRequest:
    """One call of a loss, checked and brought to the shape that every backend reads.

    The class axis is last: shapes are ``(*anchors, classes)``, with any strides. The result dtype
    is that of `logits`.
    """

    loss: str
    #: Logits, or probabilities for the losses on those. ``axis=None`` makes them ``(*anchors, 1)``.
    logits: Array
    #: Class labels ``(*anchors)`` of any integer dtype. Exactly one of `labels`, `dense` is given.
    labels: Array | None = None
    #: Dense targets ``(*anchors, classes)``, bool, integer or floating.
    dense: Array | None = None
    #: Labels of anchors that count for nothing; they take precedence over everything else.
    ignore: tuple[int, ...] = ()
    #: Sigmoid: the label that means "no class". Softmax: the class that the normalizer "positive"
    #: does not count, or -1.
    background: int = -1
    #: Per class, contiguous, of the result dtype.
    class_weight: Array | None = None
    pos_weight: Array | None = None
    label_smoothing: float = 0.0
    #: Probabilities are clipped to ``[eps, 1 - eps]``; logits have no use for it.
    eps: float = 0.0
    weight: float = 1.0
    #: Per anchor, bool, integer or floating.
    anchor_weight: Array | None = None
    #: Per logit, bool, integer or floating; broadcast, so its strides may be zero.
    logit_weight: Array | None = None
    #: `out` holds one value per logit instead of one per anchor.
    per_logit: bool = False
    #: Where the result goes; None when only the totals are wanted.
    out: Array | None = None
    threads: int = 1


class LossTotals(NamedTuple):
    """Sums over all anchors of a call, from which reductions are made."""

    #: Sum of the weighted losses, added in a fixed order.
    loss: float
    #: Anchors that are not ignored.
    valid: int
    #: Sum of the weights applied to the valid anchors.
    weight: float
    #: Valid anchors with a class.
    positive: int


class Backend(Protocol):
    """A module that computes."""

    def evaluate_loss(self, request: LossRequest) -> LossTotals:
        """Fill ``request.out``, if there is one, and add up."""

    def evaluate_score(
        self,
        name: str,
        values: NDArray[np.floating[Any]],
        out: NDArray[np.floating[Any]],
        threads: int,
    ) -> None:
        """Fill `out` with the score called `name` of `values`."""
