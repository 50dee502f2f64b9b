"""All kernels by name, compiled at their first use, and kept on disk for the next process."""

from collections.abc import Callable
from typing import Any

from numba.core import types
from numba.core.compiler_lock import global_compiler_lock

from fastxent.numba import blocks
from fastxent.numba.compilation import chosen_by, compile_cached
from fastxent.numba.records import job_at, tile_at
from fastxent.numba.simd import (
    custom_rows,
    labels,
    log_scores,
    missing,
    pack,
    probabilities,
    probability_rows,
    scores,
    sigmoid,
    sigmoid_exact,
    sigmoid_rows,
    softmax,
    softmax_exact,
    softmax_plain,
    softmax_rows,
    unpack,
)
from fastxent.numba.simd.plan import Plan

#: Work on a tile.
TILE_KERNELS = {
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
    "map_lanes": scores.map_lanes,
    "softmax_score_lanes": scores.softmax_score_lanes,
    "softmax_score_rows": scores.softmax_score_rows,
    "log_softmax_lanes": log_scores.log_softmax_lanes,
    "log_softmax_rows": log_scores.log_softmax_rows,
    "logsumexp_lanes": log_scores.logsumexp_lanes,
    "logsumexp_rows": log_scores.logsumexp_rows,
}
#: Repair an anchor of a tile.
EXACT_KERNELS = {
    "sigmoid_exact": sigmoid_exact.sigmoid_exact,
    "softmax_exact": softmax_exact.softmax_exact,
    "exact_scores": softmax_exact.exact_scores,
    "logsumexp_exact": softmax_exact.logsumexp_exact,
}
#: Copy, and convert.
COPY_KERNELS = {
    "pack": pack.pack,
    "unpack": unpack.unpack,
    "gather": pack.gather,
    "label_columns": labels.label_columns,
    "find_missing": missing.find_missing,
}
NARROW_KERNELS = {"narrow": unpack.narrow}
BLOCK_KERNELS = {"run_blocks": blocks.run_blocks}
_BODIES: dict[str, Callable[..., Any]] = {
    **TILE_KERNELS,
    **EXACT_KERNELS,
    **COPY_KERNELS,
    **NARROW_KERNELS,
    **BLOCK_KERNELS,
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


def _exact_kernel(plan: Plan) -> tuple[Any, Callable[..., Any]]:
    def kernel(tile: int, anchor: int) -> Any:
        return _run(plan, (tile_at(tile), anchor))

    return types.float64(types.intp, types.intp), kernel


def _copy_kernel(plan: Plan) -> tuple[Any, Callable[..., Any]]:
    def kernel(a: int, b: int, c: int, d: int, e: int, f: int, g: int) -> None:
        _run(plan, (a, b, c, d, e, f, g))

    return types.void(*[types.intp] * 7), kernel


def _narrow_kernel(plan: Plan) -> tuple[Any, Callable[..., Any]]:
    def kernel(values: int, count: int, destination: int) -> None:
        _run(plan, (values, count, destination))

    return types.void(*[types.intp] * 3), kernel


def _block_kernel(plan: Plan) -> tuple[Any, Callable[..., Any]]:
    def kernel(job: int, counter: int, memory: int) -> None:
        _run(plan, (job_at(job), counter, memory))

    return types.void(*[types.intp] * 3), kernel


_MAKERS = (
    (TILE_KERNELS, _tile_kernel),
    (EXACT_KERNELS, _exact_kernel),
    (COPY_KERNELS, _copy_kernel),
    (NARROW_KERNELS, _narrow_kernel),
    (BLOCK_KERNELS, _block_kernel),
)


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
    signature, kernel = next(make for bodies, make in _MAKERS if plan.kernel in bodies)(plan)
    return compile_cached(kernel, signature, plan.key)
