"""Costs of queries and ground truths in float64."""

# What NumPy's functions return is Any for mypy.
# mypy: disable-error-code="no-any-return"

from collections.abc import Callable

import numpy as np

from fastxent._contract import CostRequest
from fastxent.reference.formulas import sum_of_others, times
from fastxent.reference.score_formulas import Float64Array, sigmoid, softmax, softplus


def evaluate_cost(request: CostRequest) -> None:
    """Fill in the costs, image by image."""
    formula = COSTS[request.kind]
    queries = request.queries
    for image, index in enumerate(np.ndindex(request.logits.shape[: request.batch_ndim])):
        start, stop = request.starts[image : image + 2]
        with np.errstate(all="ignore"):
            z = request.logits[index].astype(np.float64).reshape(queries, -1)
            objectness = None
            if request.objectness is not None:
                objectness = request.objectness[index].astype(np.float64).reshape(queries)
            of_classes = formula(z, objectness, request)
            costs = of_classes[:, request.classes[start:stop]]
            request.out[queries * start : queries * stop] = costs.ravel()


# --- the costs of every class (queries, classes) --------------------------------------------------


def _focal(z: Float64Array, _: Float64Array | None, request: CostRequest) -> Float64Array:
    positive, negative = (1.0, 1.0)
    if request.alpha is not None:
        positive, negative = request.alpha, 1 - request.alpha
    return times(positive * sigmoid(-z) ** request.gamma, softplus(-z)) - times(
        negative * sigmoid(z) ** request.gamma, softplus(z)
    )


def _sigmoid(z: Float64Array, _: Float64Array | None, __: CostRequest) -> Float64Array:
    return -sigmoid(z)


def _softmax(z: Float64Array, _: Float64Array | None, __: CostRequest) -> Float64Array:
    return -softmax(z)


def _simota(z: Float64Array, objectness: Float64Array | None, _: CostRequest) -> Float64Array:
    """Return the sum of the cross-entropies of all classes, where one of them is the target."""
    if objectness is None:
        raise TypeError("there is no objectness")
    nll, others = _nlls(z, objectness[:, None])
    is_infinite = np.isposinf(others)
    rest = sum_of_others(others)
    infinite_others = is_infinite.sum(axis=-1, keepdims=True) - is_infinite
    rest = np.where(infinite_others > 0, np.inf, rest)
    return np.where(np.isnan(others).any(axis=-1, keepdims=True), np.nan, nll + rest)


def _nlls(z: Float64Array, objectness: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return -log(q) and -log(1 - q) of the score q = sqrt(sigmoid(z) sigmoid(objectness)).

    1 - q is (1 - q^2) / (1 + q) where q is near 1, and there, with a = exp(-z) and
    b = exp(-objectness), 1 - q^2 = (a + b + a b) / ((1 + a) (1 + b)): all of it from logarithms, as
    1 - q may be less than any number.
    """
    nll = (softplus(-z) + softplus(-objectness)) / 2
    q = np.exp(-nll)
    least, largest = np.minimum(z, objectness), np.maximum(z, objectness)
    distance = np.where(np.isinf(least), 0.0, largest - least)
    sum_of_terms = np.log1p(np.exp(-distance) + np.exp(-largest)) - least
    of_large = np.log1p(q) + 2 * nll - sum_of_terms
    return nll, np.where(q < 0.5, -np.log1p(-q), of_large)


COSTS: dict[str, Callable[[Float64Array, Float64Array | None, CostRequest], Float64Array]] = {
    "focal": _focal,
    "softmax": _softmax,
    "sigmoid": _sigmoid,
    "simota": _simota,
}
