"""Which kernels a call takes, and what they read besides the tile."""

import math
from typing import Any, NamedTuple

import numpy as np

from fastxent._contract import Array, CustomCall, LossRequest, modulating_exponents
from fastxent.native import Call
from fastxent.numba.kernels import kernel_of
from fastxent.numba.records import POWER, SETTINGS
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
#: The row kernels of the losses, where they have one; custom losses have "custom_rows".
_ROWS = {
    "sigmoid_cross_entropy": "sigmoid_rows",
    "sigmoid_focal_loss": "modulated_rows",
    "quality_focal_loss": "quality_rows",
    "varifocal_loss": "modulated_rows",
    "asymmetric_loss": "modulated_rows",
    "softmax_cross_entropy": "softmax_rows",
    "softmax_focal_loss": "softmax_rows",
    "poly1_cross_entropy": "softmax_rows",
    "categorical_cross_entropy": "probability_rows",
}
#: The lane kernels with every option; custom losses have "sigmoid_lanes".
_LANES = {
    "sigmoid_cross_entropy": "sigmoid_lanes",
    "sigmoid_focal_loss": "sigmoid_lanes",
    "sigmoid_focal_loss_star": "sigmoid_lanes",
    "quality_focal_loss": "quality_lanes",
    "varifocal_loss": "sigmoid_lanes",
    "asymmetric_loss": "sigmoid_lanes",
    "binary_cross_entropy": "binary_lanes",
    "softmax_cross_entropy": "softmax_lanes",
    "softmax_focal_loss": "softmax_lanes",
    "poly1_cross_entropy": "softmax_lanes",
    "distribution_focal_loss": "softmax_lanes",
    "categorical_cross_entropy": "categorical_lanes",
}
#: The softmax of labels has some for few classes.
_FEW_LANES = {2: "softmax_pair_lanes", 3: "softmax_few_lanes", 4: "softmax_few_lanes"}


class Kernels(NamedTuple):
    """The addresses of a call's kernels; 0 where it needs none."""

    rows: int = 0
    lanes: int = 0
    #: Anchors as lanes, of tiles with weights.
    weighted: int = 0
    #: A score of single values.
    map: int = 0


def precision_of(values: Array) -> str:
    """Return the precision that a call is computed in."""
    return "float64" if values.dtype == np.float64 else "float32"


# --- settings -------------------------------------------------------------------------------------


def new_settings(call: Call) -> Any:
    """Return what all kernels read."""
    settings = np.zeros((), SETTINGS)
    settings["exact"] = call.exact_address
    settings["others"] = call.mask_address
    return settings


def loss_settings(call: Call, request: LossRequest) -> Any:
    """Return what the kernels of a loss read."""
    settings, precision = new_settings(call), precision_of(request.logits)
    if request.custom is not None:
        settings["exact"] = 0  # until `value` is compiled
        FORMULAS[request.custom.formula.name] = request.custom.formula
        return settings
    if request.loss.exponents != (None, None):
        gammas = modulating_exponents(request)
        for name, gamma in zip(("gamma_positive", "gamma_negative"), gammas, strict=True):
            settings[name] = _power_of(gamma, precision)
        settings["exact_value"] = call.exact_value_address
    if request.loss.name == "sigmoid_focal_loss_star":
        for name, number in (("slope", request.gamma), ("shift", request.beta)):
            settings[name] = _rounded(number, precision)
            settings[f"{name}_low"] = number - _rounded(number, precision)
        settings["inverse_slope"] = 1 / request.gamma
    if request.clip > 0:
        threshold = math.log(request.clip) - math.log1p(-request.clip)
        settings["threshold"] = _rounded(threshold, precision)
        settings["threshold_low"] = threshold - _rounded(threshold, precision)
    return settings


def custom_parameters(custom: CustomCall, precision: str) -> Array:
    """Return the parameters of a custom loss as its kernels read them."""
    return np.array([_power_of(value, precision) for value in custom.values], POWER)


def _rounded(number: float, precision: str) -> float:
    return float(np.dtype(precision).type(number))


def _power_of(gamma: float, precision: str) -> tuple[float, float, float, int]:
    """Take an exponent apart."""
    high = _rounded(max(-_LARGEST_POWER, min(gamma, _LARGEST_POWER)), precision)
    low = gamma - high if abs(gamma) < _LARGEST_POWER else 0.0
    return gamma, high, low, _POWERS.get(gamma, POWER_ANY)


# --- kernels --------------------------------------------------------------------------------------


def loss_kernels(call: Call, request: LossRequest) -> Kernels:
    """Return the kernels that a loss needs, compiled."""
    rows = lanes = weighted = 0
    if call.takes_rows:
        rows = kernel_of(_row_plan(request))
    if not call.takes_rows or request.has_missing:
        plan = _lane_plan(request, _lane_kernel(call, request))
        lanes = kernel_of(plan)
        if request.has_missing and plan.kernel == "sigmoid_plain_lanes":
            weighted = kernel_of(_lane_plan(request, "sigmoid_lanes"))
    return Kernels(rows, lanes, weighted)


def custom_value(request: LossRequest) -> int:
    """Return what computes a custom loss in double, compiled."""
    has_targets = request.dense is not None
    return kernel_of(Plan("custom_value", "float64", request.loss.name, has_targets=has_targets))


def _row_plan(request: LossRequest) -> Plan:
    name = "custom_rows" if request.custom else _ROWS[request.loss.name]
    has_square = name in {"modulated_rows", "quality_rows"} and request.clip == 0
    return Plan(
        name,
        precision_of(request.logits),
        loss=request.loss.name,
        dtype=request.logits.dtype.name,
        has_targets=request.dense is not None,
        has_grads=request.grad is not None,
        is_square=has_square and modulating_exponents(request)[1] == 2,
        **_facts_of_probabilities(request),
    )


def _lane_plan(request: LossRequest, name: str) -> Plan:
    has_grads = request.custom is not None or name == "sigmoid_plain_lanes"
    precision = precision_of(request.logits)
    return Plan(
        name,
        precision,
        loss=request.loss.name,
        dtype=precision,
        has_targets=request.dense is not None,
        has_grads=request.grad is not None and has_grads,
        **_facts_of_probabilities(request),
    )


def _facts_of_probabilities(request: LossRequest) -> dict[str, bool]:
    """Return what the kernels of the losses on probabilities are compiled for."""
    if request.clipping is None:
        return {}
    smallest = np.finfo(precision_of(request.logits)).smallest_normal
    return {
        "smooths": request.label_smoothing != 0,
        "clips_at_tiny": request.eps < float(smallest),
    }


def _lane_kernel(call: Call, request: LossRequest) -> str:
    """Return the name of the lane kernel that suits the options."""
    if request.custom is not None:
        return "sigmoid_lanes"
    name, has_labels = request.loss.name, request.labels is not None
    is_plain = request.label_smoothing == 0 and request.logit_weight is None
    if name == "categorical_cross_entropy" and has_labels and is_plain:
        return "categorical_lanes" if call.has_class_factors else "categorical_label_lanes"
    is_plain = is_plain and not call.has_factors
    if name == "sigmoid_cross_entropy" and is_plain:
        has_options = request.per_logit or request.logit_grad_output is not None
        return "sigmoid_lanes" if has_options else "sigmoid_plain_lanes"
    if name == "softmax_cross_entropy" and is_plain and has_labels and request.grad is None:
        return _FEW_LANES.get(request.logits.shape[-1], "softmax_plain_lanes")
    return _LANES[name]
