"""Class weights, alpha and pos_weight as two factors: of the terms of targets y, and of 1 - y."""

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
        if request.loss == "varifocal_loss":
            negative = negative * request.alpha
        else:
            positive = positive * request.alpha
        if request.loss == "sigmoid_focal_loss":
            negative = negative * (1.0 - request.alpha)
    if request.pos_weight is not None:
        positive = positive * request.pos_weight.astype(np.float64)
    return positive, negative
