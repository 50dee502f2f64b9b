"""What a backend is asked for when candidates are selected, and what it answers.

``_call.selection`` fills in a :class:`SelectionRequest`, which no later step checks again, except
for the scores of ``activation=None``: whoever computes meets those anyway.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Activation = Literal["sigmoid", "softmax"]
Combine = Literal["product", "sqrt"]
TopKPer = Literal["image", "level", "class"]

_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


@dataclass(slots=True)
class SelectionRequest:
    """One call of ``select_candidates``, checked and brought to the shape that backends read."""

    #: Of each level ``(*batch, *anchors, classes)``, with any strides; of one dtype.
    levels: tuple[Array, ...]
    #: The dimensions of the batch; its shape is that of all levels.
    batch_ndim: int
    #: Where the user has the class axis of each level; None: nowhere.
    axes: tuple[int | None, ...]
    #: What the user calls each level.
    names: tuple[str, ...]
    #: Of each level ``(*batch, *anchors)``, of any float dtype.
    objectness: tuple[Array, ...] | None
    objectness_names: tuple[str, ...]
    #: None: the values are scores.
    activation: Activation | None
    combine: Combine
    #: One per class, of the dtype of the scores; None: every score but NaN is selected.
    thresholds: Array | None
    #: Which classes may be returned: those wanted, without the background; contiguous.
    returned: NDArray[np.bool_]
    #: All classes may be returned, and have the same threshold.
    is_even: bool
    #: Or -1.
    background: int
    multi_label: bool
    #: None: all.
    top_k: int | None
    top_k_per: TopKPer
    #: 0: as many as `automatic_threads` says when the call turns out to be long enough.
    threads: int

    @property
    def images(self) -> int:
        """The images of the batch."""
        return math.prod(self.levels[0].shape[: self.batch_ndim])

    @property
    def classes(self) -> int:
        """The classes of a head, the background included."""
        return int(self.levels[0].shape[-1])

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """The anchors of an image on each level."""
        return tuple([math.prod(level.shape[self.batch_ndim : -1]) for level in self.levels])

    @property
    def score_dtype(self) -> np.dtype[Any]:
        """The dtype of the scores."""
        return _FLOAT64 if self.levels[0].dtype.itemsize == 8 else _FLOAT32

    @property
    def least_threshold(self) -> float:
        """What the score of an anchor's objectness alone must exceed for any candidate of it."""
        if self.thresholds is None:
            return -math.inf
        return float(self.thresholds[self.returned].min(initial=np.inf))


class Selection(NamedTuple):
    """Candidates in their order, image by image; intp except for the scores."""

    image: Array
    anchor: Array
    label: Array
    score: Array
    #: The candidates of image i are those from offsets[i] to before offsets[i + 1].
    offsets: Array
    #: Per image: pairs above the threshold, and scores that are NaN.
    found: Array
    nan: Array
    #: Some value of ``activation=None`` is no score: all of the above is void.
    has_outside: bool = False


_NOTHING = np.empty(0, np.intp)
NO_SCORES = Selection(*[_NOTHING] * 7, has_outside=True)  # type: ignore[misc, arg-type]


#: How far scores and probabilities may lie outside [0, 1]: what rounding makes of a sigmoid, a
#: softmax or a product.
_TOLERANCES = {"float16": 1e-3, "bfloat16": 1e-2}
_TOLERANCE = 1e-6


def tolerance(dtype: np.dtype[Any]) -> float:
    """Return how far scores or probabilities of this dtype may lie outside [0, 1]."""
    return _TOLERANCE if dtype.itemsize > 2 else _TOLERANCES[dtype.name]


def ruled_out(request: SelectionRequest, objectness: Array) -> NDArray[np.bool_]:
    """Tell which anchors have no candidate whatever their classes are, by objectness scores.

    It is the best that they could have, times 1, that does not exceed the smallest threshold.
    """
    best = objectness.astype(request.score_dtype)
    if request.combine == "sqrt":
        best = np.sqrt(np.maximum(best, 0))
    hopeless: NDArray[np.bool_] = best <= request.least_threshold
    return hopeless
