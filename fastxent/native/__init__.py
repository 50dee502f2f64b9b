"""The native backend: Cython around C kernels, one build of them per instruction set."""

from fastxent.native._native import (
    available_isas,
    build_info,
    call_with_default_floats,
    count_anchors,
    evaluate_loss,
    evaluate_score,
    evaluate_short_call,
    find_invalid_label,
    find_invalid_target,
    get_isa,
    openmp_max_threads,
    parallel_read,
    run_alone,
    set_isa,
    worker_address,
)

__all__ = [
    "available_isas",
    "build_info",
    "call_with_default_floats",
    "count_anchors",
    "evaluate_loss",
    "evaluate_score",
    "evaluate_short_call",
    "find_invalid_label",
    "find_invalid_target",
    "get_isa",
    "openmp_max_threads",
    "parallel_read",
    "run_alone",
    "set_isa",
    "worker_address",
]
