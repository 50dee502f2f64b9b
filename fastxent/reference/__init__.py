"""Backend "numpy": float64 formulas, slow and right; the oracle of the tests."""

from fastxent.reference.backend import count_anchors, evaluate_loss, evaluate_score

__all__ = ["count_anchors", "evaluate_loss", "evaluate_score"]
