"""numexpr, for what has no class axis: expressions that are run block by block, on threads."""

from __future__ import annotations

from collections.abc import Callable

import numexpr
import numpy as np

from benchmarks.inputs import Inputs

NAME = "numexpr"
DISTRIBUTION = "numexpr"

# Constants keep the dtype of the values only if they are as narrow.
SOFTPLUS = "where(z > 0, z, zero) + log1p(exp(-abs(z)))"
SCORES = {
    "sigmoid": "one / (one + exp(-z))",
    "log_sigmoid": "where(z < 0, z, zero) - log1p(exp(-abs(z)))",
    "softplus": SOFTPLUS,
    "logit": "log(z / (one - z))",
    "odds": "z / (one - z)",
}
LOSSES = {
    "sigmoid_cross_entropy": f"{SOFTPLUS} - z * y",
    "sigmoid_focal_loss": (
        f"({SOFTPLUS} - z * y) * where(y > zero, quarter, one - quarter)"
        " * (one / (one + exp(where(y > zero, z, -z))))**2"
    ),
    "binary_cross_entropy": "-(y * log(z) + (one - y) * log1p(-z))",
}


def prepare(inputs: Inputs, threads: int) -> dict[str, Callable[[], object]]:
    if inputs.case.gradient or inputs.case.dtype == "bfloat16":
        return {}
    numexpr.set_num_threads(threads)
    z = inputs.values
    operands = {
        "z": z,
        "zero": z.dtype.type(0),
        "one": z.dtype.type(1),
        "quarter": z.dtype.type(0.25),
    }
    if inputs.function in SCORES:
        expression = SCORES[inputs.function]
    elif inputs.function in LOSSES and inputs.axis is None:
        expression = LOSSES[inputs.function]
        operands["y"] = inputs.one_hot()
    else:
        return {}
    out = np.empty_like(z)
    return {"": lambda: numexpr.evaluate(expression, operands, out=out)}


def as_arrays(result: np.ndarray) -> tuple[np.ndarray, ...]:
    return (result,)
