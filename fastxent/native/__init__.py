"""The native backend: Cython around C kernels, one build of them per instruction set."""

from fastxent.native._native import (
    available_isas,
    build_info,
    count_anchors,
    evaluate_loss,
    evaluate_score,
    evaluate_short_call,
    find_invalid_label,
    find_invalid_target,
    get_isa,
    openmp_max_threads,
    parallel_read,
    set_isa,
)

__all__ = [
    "available_isas",
    "build_info",
    "count_anchors",
    "evaluate_loss",
    "evaluate_score",
    "evaluate_short_call",
    "find_invalid_label",
    "find_invalid_target",
    "get_isa",
    "openmp_max_threads",
    "parallel_read",
    "set_isa",
]
