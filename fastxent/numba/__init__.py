"""The numba backend: the kernels of native/simd written on vectors for Numba, and compiled here."""

from fastxent._binding import all_cpus

try:
    with all_cpus():  # it counts them
        import numba  # noqa: F401 - the library; this package is fastxent.numba
except ImportError as error:
    raise ImportError(
        "the backend 'numba' needs Numba, which is not installed: pip install fastxent[numba]"
    ) from error

# Selection, mining and matching have no loss to compile: they are the native backend's.
from fastxent.native import count_positives, evaluate_cost, mark_largest, select_candidates
from fastxent.numba.backend import (
    MOST_ROW_CLASSES,
    count_anchors,
    evaluate_loss,
    evaluate_score,
)

__all__ = [
    "MOST_ROW_CLASSES",
    "count_anchors",
    "count_positives",
    "evaluate_cost",
    "evaluate_loss",
    "evaluate_score",
    "mark_largest",
    "select_candidates",
]
