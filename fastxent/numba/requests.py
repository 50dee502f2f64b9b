"""From a LossRequest to a Job: what the request holds, which kernels it takes; _requests.pxd."""

import math
from typing import Any

import numpy as np

from fastxent._contract import Array, CustomCall, LossRequest, modulating_exponents, term_factors
from fastxent.numba.jobs import SIGMOID_ROW_BYTES, SOFTMAX_ROW_BYTES, Job, others_table
from fastxent.numba.kernels import kernel_of
from fastxent.numba.records import POWER
from fastxent.numba.simd.custom_terms import FORMULAS
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.vector_math import (
    POWER_0,
    POWER_1,
    POWER_2,
    POWER_3,
    POWER_4,
    POWER_ANY,
    POWER_HALF,
)

_POWERS = {0: POWER_0, 0.5: POWER_HALF, 1: POWER_1, 2: POWER_2, 3: POWER_3, 4: POWER_4}
#: Beyond it, x^g is 0 for all x but 1; times the exponent of x it does not overflow.
_LARGEST_POWER = 1e30
_NO_LABEL = np.iinfo(np.int64).min
#: Losses with row or lane kernels of their own.
_OWN_ROWS = {"quality_focal_loss": "quality_rows"}
_OWN_LANES = {
    "binary_cross_entropy": "binary_lanes",
    "categorical_cross_entropy": "categorical_lanes",
    "quality_focal_loss": "quality_lanes",
}
#: The softmax of labels has some for few classes.
_FEW_LANES = {2: "softmax_pair_lanes", 3: "softmax_few_lanes", 4: "softmax_few_lanes"}
#: Arrays with a value for each anchor, which are gathered.
_PER_ANCHOR = ("shares", "anchor_weight", "anchor_grad_output")
_PACKED = ("logits", "targets", "logit_weight", "logit_grad_output")


def describe_loss(request: LossRequest, *, counts_only: bool) -> Job:
    """Describe a call of a loss; nothing is compiled but what it needs."""
    targets = request.dense
    if targets is None:
        targets = request.labels if request.positions is None else request.positions
    arrays: dict[str, Array | None] = {
        "logits": request.logits,
        "targets": targets,
        "anchor_weight": request.anchor_weight,
        "logit_weight": request.logit_weight,
        "out": request.out,
    }
    if not counts_only:
        arrays |= {"shares": request.scores, "expectations": request.expectation}
        if request.grad is not None:
            arrays |= {
                "grads": request.grad,
                "anchor_grad_output": request.anchor_grad_output,
                "logit_grad_output": request.logit_grad_output,
            }
    has_labels = request.dense is None
    job = Job(arrays, targets_have_classes=not has_labels, per_logit=request.per_logit)
    record = job.record
    record["is_sigmoid"] = request.loss.sigmoid
    record["has_labels"] = has_labels
    record["has_positions"] = request.positions is not None
    job.has_totals = counts_only or request.out is None
    record["weight"] = request.weight
    record["grad_scale"] = request.grad_scale
    _pack_missing(job, request)
    _set_labels(job, request)
    _set_factors(job, request)
    if not counts_only:
        _set_options(job, request)
        _choose_kernels(job, request)
    _choose_copies(job, counts_only=counts_only)
    return job


def _pack_missing(job: Job, request: LossRequest) -> None:
    """Have everything packed where dense targets are missing: those are filled in copies."""
    job.may_miss = request.has_missing
    if job.may_miss:
        for name in job.with_classes & job.arrays.keys():
            job.record[name]["in_lanes"] = 0
        plan = job.plan("find_missing", dtype=job.arrays["targets"].dtype.name)
        job.record["find_missing"] = kernel_of(plan)


# --- parameters -----------------------------------------------------------------------------------


def _set_labels(job: Job, request: LossRequest) -> None:
    """Say what labels mean."""
    record = job.record
    record["nothing"] = _NO_LABEL
    if record["is_sigmoid"]:
        record["nothing"] = request.background
    else:
        record["background_column"] = request.background
    record["ignored"] = job.keep(np.array([len(request.ignore), *request.ignore], np.int64))


def _set_factors(job: Job, request: LossRequest) -> None:
    """Fill in the factors of y and of 1 - y, and what class weights mean for the totals."""
    record, class_weight = job.record, request.class_weight
    record["mean_class_weight"] = 1.0
    weighs_anchors = (
        request.loss.weighs_labels and request.labels is not None and request.label_smoothing == 0
    )
    if class_weight is not None and weighs_anchors:
        record["label_weight"] = class_weight.ctypes.data
        class_weight = None
    elif class_weight is not None:
        record["class_weight"] = class_weight.ctypes.data
        if record["is_sigmoid"]:
            record["mean_class_weight"] = class_weight.mean(dtype=float)
    options = record["options"]
    positive, negative = term_factors(request, class_weight)
    are_shared = isinstance(positive, float) and isinstance(negative, float)
    factors = np.empty((2, 1 if are_shared else job.classes), job.precision)
    factors[0], factors[1] = positive, negative
    options["positive"] = job.keep(factors)
    options["negative"] = factors.ctypes.data + factors.strides[0]
    if are_shared:
        options["positive_value"], options["negative_value"] = positive, negative
    else:
        options["factor_step"] = job.itemsize


def _set_options(job: Job, request: LossRequest) -> None:
    """Fill in the numbers that kernels take."""
    options = job.record["options"]
    for name in ("label_smoothing", "eps", "epsilon", "clip", "iou_weighted"):
        options[name] = getattr(request, name)
    if request.clipping is not None:
        for name, value in request.clipping._asdict().items():
            options[name] = value
    options["others"] = others_table(job.precision).ctypes.data
    gammas = modulating_exponents(request)
    for name, gamma in zip(("gamma_positive", "gamma_negative"), gammas, strict=True):
        _set_power(options[name], gamma, job.precision)
    if request.custom is not None:
        _set_custom(job, request.custom)
    if request.clip > 0:
        threshold = math.log(request.clip) - math.log1p(-request.clip)
        options["threshold"] = _rounded(threshold, job.precision)
        options["threshold_low"] = threshold - _rounded(threshold, job.precision)


def _set_custom(job: Job, custom: CustomCall) -> None:
    """Make a custom loss known to the compiler, and its parameters to the kernel."""
    FORMULAS[custom.formula.name] = custom.formula
    parameters = np.zeros(len(custom.values), POWER)
    for record, value in zip(parameters, custom.values, strict=True):
        _set_power(record, value, job.precision)
    job.record["options"]["parameters"] = job.keep(parameters)


def _rounded(number: float, precision: str) -> float:
    return float(np.dtype(precision).type(number))


def _set_power(power: Any, gamma: float, precision: str) -> None:
    """Take an exponent apart."""
    high = _rounded(max(-_LARGEST_POWER, min(gamma, _LARGEST_POWER)), precision)
    power["value"] = gamma
    power["exponent"] = high
    power["exponent_low"] = gamma - high if abs(gamma) < _LARGEST_POWER else 0.0
    power["kind"] = _POWERS.get(gamma, POWER_ANY)


# --- kernels --------------------------------------------------------------------------------------


def _choose_kernels(job: Job, request: LossRequest) -> None:
    """Pick the kernel of a loss: the row kernel, where it can do what is asked."""
    record, has_grads = job.record, "grads" in job.arrays
    has_targets = request.dense is not None
    dtype = request.logits.dtype.name
    name = _row_kernel(job, request)
    if name is not None:
        plan = job.plan(
            name,
            loss=request.loss.name,
            dtype=dtype,
            has_targets=has_targets,
            has_grads=has_grads,
            is_square=_is_square(job, request, name),
            **_facts_of_probabilities(job, request),
        )
        job.has_rows = True
        if has_grads and plan.grad_dtype != dtype:
            record["narrows_grads"] = 1
            record["narrow"] = kernel_of(job.plan("narrow", dtype=dtype))
    else:
        plan = _lane_plan(job, request, _lane_kernel(job, request))
    record["kernel"] = kernel_of(plan)
    has_exact = request.clipping is None
    if has_exact:
        job.exact = exact_plan(plan)
    if job.may_miss:
        plan = _lane_plan(job, request, _lane_kernel(job, request))
        record["lane_kernel"] = record["weighted_kernel"] = kernel_of(plan)
        if plan.kernel == "sigmoid_plain_lanes":
            weighted = _lane_plan(job, request, "sigmoid_lanes")
            record["weighted_kernel"] = kernel_of(weighted)
        if has_exact:
            job.lane_exact = exact_plan(plan)


def _lane_plan(job: Job, request: LossRequest, name: str) -> Plan:
    has_grads = request.custom is not None or name == "sigmoid_plain_lanes"
    return job.plan(
        name,
        loss=request.loss.name,
        dtype=job.precision,
        has_targets=request.dense is not None,
        has_grads="grads" in job.arrays and has_grads,
        **_facts_of_probabilities(job, request),
    )


def _facts_of_probabilities(job: Job, request: LossRequest) -> dict[str, bool]:
    """Return what the kernels of the losses on probabilities are compiled for."""
    if request.clipping is None:
        return {}
    return {
        "smooths": request.label_smoothing != 0,
        "clips_at_tiny": request.eps < float(np.finfo(job.precision).smallest_normal),
    }


def exact_plan(plan: Plan) -> Plan:
    """Return what repairs the anchors of a kernel."""
    name = "sigmoid_exact" if plan.is_sigmoid else "softmax_exact"
    return Plan(name, plan.precision, plan.loss, plan.dtype, has_targets=plan.has_targets)


def _is_square(job: Job, request: LossRequest, name: str) -> bool:
    """Tell whether the modulating factor of negatives has a kernel of its own."""
    gamma = job.record["options"]["gamma_negative"]["kind"]
    return name.startswith(("modulated", "quality")) and gamma == POWER_2 and request.clip == 0


def _row_kernel(job: Job, request: LossRequest) -> str | None:
    """Return the name of the row kernel that can do what is asked."""
    lies_in_rows = (
        job.lies_in_rows("logits", may_be_half=True)
        and job.lies_in_rows("grads", may_be_half=True)
        and (request.dense is None or job.has_adjacent_classes("targets"))
    )
    needs_lanes = (
        request.per_logit
        or request.label_smoothing != 0
        or request.loss.name == "binary_cross_entropy"
        or not job.arrays.keys().isdisjoint({"logit_weight", "logit_grad_output"})
    )
    if not lies_in_rows or needs_lanes or _suits_lanes(job, request):
        return None
    if request.loss.name == "categorical_cross_entropy":
        suits_rows = _has_plain_labels(job, request) and job.classes >= job.lanes
        return "probability_rows" if suits_rows else None
    if not job.record["is_sigmoid"]:
        return "softmax_rows" if request.labels is not None else None
    options = job.record["options"]
    if options["factor_step"] != 0:
        return None
    if request.loss.name == "sigmoid_cross_entropy":
        has_factors = options["positive_value"] != 1 or options["negative_value"] != 1
        return None if has_factors else "sigmoid_rows"
    name = "custom_rows" if request.custom else _OWN_ROWS.get(request.loss.name, "modulated_rows")
    return None if request.dense is not None and not request.custom else name


def _suits_lanes(job: Job, request: LossRequest) -> bool:
    """Tell whether the lane kernels, rows being packed for them, are faster than row kernels."""
    row = job.classes * job.itemsize
    if request.labels is None:
        return False
    if request.loss.name == "sigmoid_cross_entropy":
        return row < SIGMOID_ROW_BYTES
    return (
        request.loss.name == "softmax_cross_entropy"
        and row < SOFTMAX_ROW_BYTES
        and "grads" not in job.arrays
        and _is_plain(job, request)
    )


def _lane_kernel(job: Job, request: LossRequest) -> str:
    """Return the name of the lane kernel that suits the options."""
    if request.loss.name == "categorical_cross_entropy" and _has_plain_labels(job, request):
        return "categorical_label_lanes"
    if request.loss.name in _OWN_LANES:
        return _OWN_LANES[request.loss.name]
    if request.loss.name == "sigmoid_cross_entropy":
        has_options = request.per_logit or "logit_grad_output" in job.arrays
        is_plain = _is_plain(job, request) and not has_options
        return "sigmoid_plain_lanes" if is_plain else "sigmoid_lanes"
    if job.record["is_sigmoid"]:
        return "sigmoid_lanes"
    is_plain = _is_plain(job, request) and request.labels is not None and "grads" not in job.arrays
    if request.loss.name != "softmax_cross_entropy" or not is_plain:
        return "softmax_lanes"
    return _FEW_LANES.get(job.classes, "softmax_plain_lanes")


def _has_plain_labels(job: Job, request: LossRequest) -> bool:
    """Tell whether there are labels, and neither weights of classes nor smoothing."""
    return (
        request.labels is not None
        and job.record["options"]["factor_step"] == 0
        and request.label_smoothing == 0
    )


def _is_plain(job: Job, request: LossRequest) -> bool:
    """Tell whether a loss is asked for without factors and smoothing."""
    options = job.record["options"]
    return (
        options["factor_step"] == 0
        and options["positive_value"] == 1
        and options["negative_value"] == 1
        and request.label_smoothing == 0
        and "logit_weight" not in job.arrays
    )


# --- copies ---------------------------------------------------------------------------------------


def _choose_copies(job: Job, *, counts_only: bool) -> None:
    """Compile what copies the operands that the kernels cannot work on where they are."""
    record, arrays = job.record, job.arrays
    if record["has_labels"] and not record["has_positions"]:
        dtype = arrays["targets"].dtype.name
        record["label_columns"] = kernel_of(job.plan("label_columns", dtype=dtype))
    names = [*_PER_ANCHOR, *(["targets"] if record["has_positions"] else [])]
    for name in names:
        if name in arrays:
            record[name]["pack"] = kernel_of(job.plan("gather", dtype=arrays[name].dtype.name))
    if job.has_rows:
        _choose_row_copies(job)
        if not job.may_miss:
            return
    for name in _PACKED[1 if counts_only else 0 :]:
        if name in job.with_classes and job.needs_copies(name):
            record[name]["pack"] = kernel_of(job.plan("pack", dtype=arrays[name].dtype.name))
    for name in ("grads", "out"):
        if name in job.with_classes and job.needs_copies(name):
            record[name]["unpack"] = kernel_of(job.plan("unpack", dtype=arrays[name].dtype.name))


def _choose_row_copies(job: Job) -> None:
    """Compile what converts dense targets that the row kernel cannot read where they are."""
    if "targets" in job.with_classes and not job.lies_in_rows("targets", may_be_half=False):
        job.record["converts_targets"] = 1
        plan = job.plan("pack", dtype=job.arrays["targets"].dtype.name)
        job.record["targets"]["pack"] = kernel_of(plan)
