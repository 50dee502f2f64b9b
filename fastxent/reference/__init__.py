"""Backend "numpy": float64 formulas, slow and right; the oracle of the tests."""

from fastxent.reference.backend import (
    MOST_ROW_CLASSES,
    count_anchors,
    evaluate_loss,
    evaluate_score,
)
from fastxent.reference.candidates import select_candidates
from fastxent.reference.matching import evaluate_cost
from fastxent.reference.mining import count_positives, mark_largest

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
