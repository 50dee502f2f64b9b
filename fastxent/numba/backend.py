"""What a backend answers: losses, the counts of a normalizer, scores."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent._contract import LossRequest, LossTotals
from fastxent.numba import parallel
from fastxent.numba.jobs import (
    SCORE_ROW_BYTES,
    SOFTMAX_ROW_BYTES,
    VECTOR_BYTES,
    Job,
    others_table,
)
from fastxent.numba.kernels import kernel_of
from fastxent.numba.requests import describe_loss

#: The kernels of scores over classes: anchors as lanes, and classes as lanes.
CLASS_SCORES = {
    "softmax": ("softmax_score_lanes", "softmax_score_rows"),
    "log_softmax": ("log_softmax_lanes", "log_softmax_rows"),
    "logsumexp": ("logsumexp_lanes", "logsumexp_rows"),
}
#: Class numbers have 32 bits.
MOST_ROW_CLASSES = 2**31 - 1
NO_TOTALS = LossTotals(0.0, 0, 0.0, 0)


def evaluate_loss(request: LossRequest) -> LossTotals:
    """Compute a checked LossRequest; the totals hold what a reduction needs (out=None)."""
    job = describe_loss(request, counts_only=False)
    return _run_loss(job, request.threads)


def count_anchors(request: LossRequest) -> LossTotals:
    """Return the totals that need no logits, from which the normalizer is made."""
    return _run_loss(describe_loss(request, counts_only=True), request.threads)


def _run_loss(job: Job, threads: int) -> LossTotals:
    if job.size == 0:
        return NO_TOTALS
    totals = _run(job, threads)
    if not job.has_totals:
        return NO_TOTALS
    # One by one, in the order of the blocks.
    loss = weight = 0.0
    for block in totals[["loss", "weight"]].tolist():
        loss += block[0]
        weight += block[1]
    return LossTotals(loss, int(totals["valid"].sum()), weight, int(totals["positive"].sum()))


def _run(job: Job, threads: int, *, is_map: bool = False) -> Any:
    """Run a job; once more where anchors need a repair that is not compiled yet."""
    totals = parallel.run(job, threads, is_map=is_map)
    if job.exact is not None and totals["unrepaired"].any():
        job.record["options"]["exact"] = kernel_of(job.exact)
        if job.lane_exact is not None:
            job.record["lane_exact"] = kernel_of(job.lane_exact)
        totals = parallel.run(job, threads, is_map=is_map)
    return totals


def evaluate_score(
    name: str,
    values: NDArray[np.floating[Any]],
    out: NDArray[np.floating[Any]],
    threads: int,
) -> None:
    """Fill `out` with a score of `values`; for the scores over classes their axis is the last."""
    if name in CLASS_SCORES:
        _evaluate_class_score(name, values, out, threads)
        return
    # There is room for one more dimension when those of length 1 are gone; and no order of the
    # elements matters but that in memory.
    values, out = values.squeeze(), out.squeeze()
    axes = sorted(range(out.ndim), key=lambda axis: -abs(out.strides[axis]))
    arrays = {"logits": values.transpose(axes)[..., None], "out": out.transpose(axes)[..., None]}
    job = Job(arrays, targets_have_classes=False, per_logit=True)
    if job.size == 0:
        return
    job.record["kernel"] = kernel_of(job.plan("map_lanes", loss=name, dtype=job.precision))
    _choose_copies(job)
    _run(job, threads, is_map=True)


def _evaluate_class_score(
    name: str,
    values: NDArray[np.floating[Any]],
    out: NDArray[np.floating[Any]],
    threads: int,
) -> None:
    per_logit = name != "logsumexp"
    job = Job({"logits": values, "out": out}, targets_have_classes=False, per_logit=per_logit)
    if job.size == 0:
        return
    record = job.record
    record["options"]["others"] = others_table(job.precision).ctypes.data
    is_in_place = out.ctypes.data == values.ctypes.data
    dtype = job.precision
    by_lanes, by_rows = CLASS_SCORES[name]
    if _suits_rows(job, per_logit=per_logit):
        dtype = values.dtype.name
        plan = job.plan(by_rows, loss=name, dtype=dtype, has_grads=name == "softmax")
        record["kernel"] = kernel_of(plan)
        job.has_rows = True
        record["keeps_results"] = per_logit
        record["is_in_place"] = is_in_place
    else:
        plan = job.plan(by_lanes, loss=name, dtype=dtype)
        record["kernel"] = kernel_of(plan)
        if is_in_place:  # a repair has to read the logits
            record["logits"]["in_lanes"] = 0
        _choose_copies(job)
    exact = "exact_scores" if per_logit else "logsumexp_exact"
    job.exact = job.plan(exact, loss=name, dtype=dtype)
    if is_in_place:  # there is nothing left for a second run
        record["options"]["exact"] = kernel_of(job.exact)
    _run(job, threads)


def _suits_rows(job: Job, *, per_logit: bool) -> bool:
    """Tell whether the row kernels can compute scores over the classes, and are faster."""
    row = job.classes * job.itemsize
    if not job.lies_in_rows("logits", may_be_half=True):
        return False
    if not per_logit:
        return row >= SOFTMAX_ROW_BYTES
    return job.lies_in_rows("out", may_be_half=False) and (
        row >= SCORE_ROW_BYTES or row == VECTOR_BYTES
    )


def _choose_copies(job: Job) -> None:
    """Compile what copies the operands that the lane kernels cannot work on where they are."""
    record, arrays = job.record, job.arrays
    if job.needs_copies("logits"):
        dtype = arrays["logits"].dtype.name
        record["logits"]["pack"] = kernel_of(job.plan("pack", dtype=dtype))
    if "out" in job.with_classes and job.needs_copies("out"):
        record["out"]["unpack"] = kernel_of(job.plan("unpack", dtype=job.precision))
