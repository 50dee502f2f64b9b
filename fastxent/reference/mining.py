"""The largest losses of each image, by a sort; and how many positives there are."""

import numpy as np
from numpy.typing import NDArray

from fastxent._contract import Array, LargestRequest


def count_positives(
    labels: Array,
    background: int,
    ignored: tuple[int, ...],
    threads: int,  # noqa: ARG001 - part of a backend's interface
) -> tuple[NDArray[np.int64], int]:
    """Return how many labels of each row are positive, and where the first invalid one is, or -1.

    Positive are those that are neither the background nor ignored. Negative numbers are invalid,
    but for these two. A position is one of the flattened labels.
    """
    numbers = labels.astype(np.int64)
    is_positive = ~np.isin(numbers, (background, *ignored))
    is_invalid = (numbers < 0) & is_positive
    first = int(is_invalid.argmax()) if is_invalid.any() else -1
    return is_positive.sum(axis=-1, dtype=np.int64), first


def mark_largest(request: LargestRequest) -> None:
    """Mark the largest eligible losses of each row; of equal ones the first."""
    for row, losses in enumerate(request.losses):
        is_eligible = ~np.isnan(losses)
        if request.labels is not None:
            is_eligible &= request.labels[row].astype(np.int64) == request.background
        places = np.flatnonzero(is_eligible)
        # A stable sort of their negatives keeps the order of equal losses.
        order = np.argsort(-losses[places].astype(np.float64), kind="stable")
        request.out[row] = False
        request.out[row, places[order[: request.counts[row]]]] = True
