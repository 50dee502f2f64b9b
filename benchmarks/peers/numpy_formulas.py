"""NumPy as a user writes it: the formulas of the command line on whole arrays, on one thread."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.inputs import Inputs
from benchmarks.shapes import ELEMENT_SCORES, SIGMOID_LOSSES
from fastxent.cli.numpy_forms import NUMPY_FORMS

NAME = "NumPy"
DISTRIBUTION = "numpy"


def prepare(inputs: Inputs, threads: int) -> dict[str, Callable[[], object]]:
    del threads
    name, dtype = inputs.function, inputs.float_dtype
    form = NUMPY_FORMS[name]
    targets = (inputs.one_hot(),) if name in SIGMOID_LOSSES else inputs.targets()
    options = {} if name in ELEMENT_SCORES else {"axis": inputs.axis}

    def values() -> np.ndarray:
        return inputs.values.astype(dtype, copy=False)

    def loss_and_gradient() -> object:
        losses, gradient = form(values(), *targets, return_grad=True, **options)
        return losses.sum(), gradient

    if inputs.case.gradient:
        return {"": loss_and_gradient}
    return {"": lambda: form(values(), *targets, **options)}


def as_arrays(result: np.ndarray | tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    values = result if isinstance(result, tuple) else (result,)
    return tuple(np.asarray(value) for value in values)
