"""The native backend: Cython around C kernels, one build of them per instruction set."""

import os
import threading

from fastxent._binding import all_cpus
from fastxent._catalogue import LOSSES

with all_cpus():
    # OpenMP comes with the extension. GCC's looks for the CPUs at once, LLVM's when it is asked.
    from fastxent.native import _native

    _native.openmp_processors()
from fastxent.native._native import (
    Call,
    affinity_mask,
    available_isas,
    build_info,
    call_with_default_floats,
    check_dense,
    clear_result_cache,
    count_anchors,
    count_creatable_threads,
    count_positives,
    describe_call,
    describe_score_call,
    evaluate_cost,
    evaluate_loss,
    evaluate_primitive,
    evaluate_score,
    evaluate_short_call,
    find_invalid_label,
    find_invalid_target,
    formula_constants,
    gather_numba_team,
    get_isa,
    has_outside,
    has_partial_rows,
    held_by_result_cache,
    kernel_constants,
    loss_names,
    mark_largest,
    matrix_layout,
    openmp_max_threads,
    openmp_processors,
    parallel_read,
    primitives,
    select_candidates,
    set_automatic_choice,
    set_isa,
    set_result_cache,
    take_result,
    tile_layout,
    worker_address,
    xla_handlers,
)

#: The file that uses this OpenMP.
LIBRARY: str = _native.__file__
#: Class numbers have 32 bits.
MOST_ROW_CLASSES = 2**31 - 1

__all__ = [
    "LIBRARY",
    "MOST_ROW_CLASSES",
    "Call",
    "affinity_mask",
    "available_isas",
    "build_info",
    "call_with_default_floats",
    "check_dense",
    "clear_result_cache",
    "count_anchors",
    "count_creatable_threads",
    "count_positives",
    "describe_call",
    "describe_score_call",
    "evaluate_cost",
    "evaluate_loss",
    "evaluate_primitive",
    "evaluate_score",
    "evaluate_short_call",
    "find_invalid_label",
    "find_invalid_target",
    "formula_constants",
    "gather_numba_team",
    "get_isa",
    "has_outside",
    "has_partial_rows",
    "held_by_result_cache",
    "kernel_constants",
    "loss_names",
    "mark_largest",
    "matrix_layout",
    "openmp_max_threads",
    "openmp_processors",
    "parallel_read",
    "primitives",
    "select_candidates",
    "set_automatic_choice",
    "set_isa",
    "set_result_cache",
    "take_result",
    "tile_layout",
    "worker_address",
    "xla_handlers",
]

_native.set_main_thread(threading.main_thread().ident or 0)
if hasattr(os, "register_at_fork"):
    # A child begins with the thread that has forked.
    os.register_at_fork(after_in_child=lambda: _native.set_main_thread(threading.get_ident()))

if loss_names() != tuple(LOSSES):
    raise ImportError(
        f"the extension has the losses {loss_names()}, the catalogue {tuple(LOSSES)}: "
        "fastxent/_catalogue.py and native/simd/losses.def differ, or the extension is an old build"
    )
