"""The largest losses of each image, by a sort; and how many positives there are."""

import numpy as np
from numpy.typing import NDArray

from fastxent._contract import Array, LargestRequest


def count_positives(
    labels: Array,
    background: int,
    ignored: tuple[int, ...],
    threads: int,  # noqa: ARG001 - part of a backend's interface
) -> NDArray[np.int64]:
    """Return how many labels of each row are positive; -1 where one is not valid."""
    numbers = _as_int64(labels)
    is_positive = ~np.isin(numbers, (background, *ignored))
    is_invalid = ((numbers < 0) & is_positive).any(axis=-1)
    return np.where(is_invalid, -1, is_positive.sum(axis=-1, dtype=np.int64))


def mark_largest(request: LargestRequest) -> None:
    """Mark the largest eligible losses of each row; of equal ones the first."""
    for row, losses in enumerate(request.losses):
        is_eligible = ~np.isnan(losses)
        if request.labels is not None:
            is_eligible &= _as_int64(request.labels[row]) == request.background
        places = np.flatnonzero(is_eligible)
        # A stable sort of their negatives keeps the order of equal losses.
        order = np.argsort(-losses[places].astype(np.float64), kind="stable")
        request.out[row] = False
        request.out[row, places[order[: request.counts[row]]]] = True


def _as_int64(labels: Array) -> NDArray[np.int64]:
    """Return labels as int64; those that are no such numbers become the largest one."""
    if labels.dtype == np.uint64:
        labels = np.minimum(labels, np.uint64(np.iinfo(np.int64).max))
    return labels.astype(np.int64)
