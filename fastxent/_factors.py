"""What backends make of parameters: factors of targets y and of 1 - y, and exponents."""

import numpy as np

from fastxent._request import Array, LossRequest

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
