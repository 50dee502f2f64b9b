"""What a backend answers: losses, the counts of a normalizer, scores.

The extension describes a call, packs what kernels cannot read where it is, and adds up, for these
kernels as for its own.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent import native
from fastxent._contract import LossRequest, LossTotals
from fastxent.native import Call
from fastxent.numba import parallel
from fastxent.numba.kernels import kernel_of
from fastxent.numba.requests import (
    Kernels,
    custom_parameters,
    custom_value,
    loss_kernels,
    loss_settings,
    new_settings,
    precision_of,
)
from fastxent.numba.simd.lanes import REALS
from fastxent.numba.simd.plan import Plan

#: The kernels of scores over classes: anchors as lanes, and classes as lanes.
CLASS_SCORES = {
    "softmax": ("softmax_score_lanes", "softmax_score_rows"),
    "log_softmax": ("log_softmax_lanes", "log_softmax_rows"),
    "logsumexp": ("logsumexp_lanes", "logsumexp_rows"),
}
MOST_ROW_CLASSES = native.MOST_ROW_CLASSES
NO_TOTALS = LossTotals(0.0, 0, 0.0, 0)
#: Totals need no kernels.
count_anchors = native.count_anchors


def evaluate_loss(request: LossRequest) -> LossTotals:
    """Compute a checked LossRequest; the totals hold what a reduction needs (out=None)."""
    call = native.describe_call(request)
    if call.size == 0:
        return NO_TOTALS
    precision, custom = precision_of(request.logits), request.custom
    settings = loss_settings(call, request)
    if custom is not None:
        parameters = custom_parameters(custom, precision)
        settings["parameters"] = parameters.ctypes.data
    blocks = _plan(call, loss_kernels(call, request), settings, precision)
    parallel.run(call, blocks, request.threads)
    if custom is not None and settings["unrepaired"]:
        settings["value"], settings["exact"] = custom_value(request), call.exact_address
        parallel.run(call, blocks, request.threads)
    return call.totals()


def evaluate_score(
    name: str,
    values: NDArray[np.floating[Any]],
    out: NDArray[np.floating[Any]],
    threads: int,
) -> None:
    """Fill `out` with a score of `values`; for the scores over classes their axis is the last."""
    call = native.describe_score_call(name, values, out)
    if call.size == 0:
        return
    precision = precision_of(values)
    if name not in CLASS_SCORES:
        kernels = Kernels(map=kernel_of(Plan("map_values", precision, name, precision)))
    elif call.takes_rows:
        kernel, dtype = CLASS_SCORES[name][1], values.dtype.name
        plan = Plan(kernel, precision, name, dtype, has_grads=name == "softmax")
        kernels = Kernels(rows=kernel_of(plan))
    else:
        kernels = Kernels(lanes=kernel_of(Plan(CLASS_SCORES[name][0], precision, name, precision)))
    settings = new_settings(call)
    parallel.run(call, _plan(call, kernels, settings, precision), threads)


def _plan(call: Call, kernels: Kernels, settings: Any, precision: str) -> int:
    """Give a call its kernels; return how many blocks it has."""
    return call.plan(*kernels, settings.ctypes.data, REALS[precision].lanes)
