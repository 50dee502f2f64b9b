"""All kernels by name, compiled at their first use, and kept on disk for the next process."""

from collections.abc import Callable
from typing import Any

from numba.core import types
from numba.core.compiler_lock import global_compiler_lock

from fastxent.numba.compilation import chosen_by, compile_cached
from fastxent.numba.records import tile_at
from fastxent.numba.simd import (
    custom_rows,
    custom_terms,
    log_scores,
    probabilities,
    probability_rows,
    scores,
    sigmoid,
    sigmoid_rows,
    softmax,
    softmax_plain,
    softmax_rows,
)
from fastxent.numba.simd.plan import Plan

#: Compute a tile.
TILE_KERNELS: dict[str, Callable[..., Any]] = {
    "sigmoid_plain_lanes": sigmoid.sigmoid_plain_lanes,
    "sigmoid_lanes": sigmoid.sigmoid_lanes,
    "quality_lanes": sigmoid.quality_lanes,
    "sigmoid_rows": sigmoid_rows.sigmoid_rows,
    "modulated_rows": sigmoid_rows.modulated_rows,
    "quality_rows": sigmoid_rows.quality_rows,
    "softmax_plain_lanes": softmax_plain.softmax_plain_lanes,
    "softmax_few_lanes": softmax_plain.softmax_few_lanes,
    "softmax_pair_lanes": softmax_plain.softmax_pair_lanes,
    "custom_rows": custom_rows.custom_rows,
    "softmax_lanes": softmax.softmax_lanes,
    "softmax_rows": softmax_rows.softmax_rows,
    "binary_lanes": probabilities.binary_lanes,
    "categorical_lanes": probabilities.categorical_lanes,
    "categorical_label_lanes": probabilities.categorical_label_lanes,
    "probability_rows": probability_rows.probability_rows,
    "softmax_score_lanes": scores.softmax_score_lanes,
    "softmax_score_rows": scores.softmax_score_rows,
    "log_softmax_lanes": log_scores.log_softmax_lanes,
    "log_softmax_rows": log_scores.log_softmax_rows,
    "logsumexp_lanes": log_scores.logsumexp_lanes,
    "logsumexp_rows": log_scores.logsumexp_rows,
}
_BODIES: dict[str, Callable[..., Any]] = {
    **TILE_KERNELS,
    "map_values": scores.map_values,
    "custom_value": custom_terms.custom_exact_value,
}


def _body_of(plan: Plan) -> Callable[..., Any]:
    body = _BODIES[plan.kernel]

    def run(plan: Plan, arguments: Any) -> Any:
        return body(plan, *arguments)

    return run


@chosen_by(_body_of)
def _run(plan: Plan, arguments: Any) -> Any:
    """Run the body of the plan's kernel."""
    raise NotImplementedError


def _tile_kernel(plan: Plan) -> tuple[Any, Callable[..., Any]]:
    def kernel(tile: int) -> None:
        _run(plan, (tile_at(tile),))

    return types.void(types.intp), kernel


def _map_kernel(plan: Plan) -> tuple[Any, Callable[..., Any]]:
    def kernel(values: int, results: int, count: int, streams: int) -> None:  # noqa: ARG001
        _run(plan, (values, results, count))

    return types.void(types.intp, types.intp, types.intp, types.int32), kernel


def _value_kernel(plan: Plan) -> tuple[Any, Callable[..., Any]]:
    def kernel(tile: int, z: float, y: float, loss_and_slope: int) -> None:
        _run(plan, (tile_at(tile), z, y, loss_and_slope))

    return types.void(types.intp, types.float64, types.float64, types.intp), kernel


#: As C calls them; see native/simd/kernels.h.
_MAKERS = {"map_values": _map_kernel, "custom_value": _value_kernel}


_compiled: dict[Plan, Any] = {}


def kernel_of(plan: Plan) -> int:
    """Return the address of a kernel, compiling it if need be."""
    kernel = _compiled.get(plan)
    if kernel is None:
        with global_compiler_lock:
            kernel = _compiled.get(plan)
            if kernel is None:
                kernel = _compiled[plan] = _compile(plan)
    address: int = kernel.address
    return address


def _compile(plan: Plan) -> Any:
    signature, kernel = _MAKERS.get(plan.kernel, _tile_kernel)(plan)
    return compile_cached(kernel, signature, plan.key)
