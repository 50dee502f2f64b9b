"""Checks of the parameters that some losses have and others do not.

``PARAMETERS`` has a function for each name, which sets the field of the request.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastxent._arguments import as_array, as_flag, as_number, result_dtype
from fastxent._call.targets import check_unit_interval
from fastxent._clipping import clipping_of
from fastxent._contract import Array, CustomCall, LossRequest

#: The logarithm of 1 - p + clip shall be that of a normal float32.
_LEAST_CLIP = 1e-30


def per_class(value: ArrayLike, name: str, logits: Array) -> Array:
    """Return one finite weight per class, contiguous and of the result dtype."""
    array = as_array(value, name)
    shape = logits.shape[-1:]
    is_number = name == "pos_weight" and array.ndim == 0
    if array.shape != shape and not is_number:
        number = "a number or " if name == "pos_weight" else ""
        raise ValueError(f"{name} has shape {array.shape}, expected {number}{shape}")
    with np.errstate(over="ignore"):
        weights = np.ascontiguousarray(np.broadcast_to(array, shape), result_dtype(logits.dtype))
    wrong = np.flatnonzero(~((weights >= 0) & (weights < np.inf)))
    if wrong.size:
        place = name if is_number else f"{name}[{wrong[0]}]"
        wrong_value = array.flat[0 if is_number else wrong[0]]
        raise ValueError(f"{place} = {wrong_value} is negative or not finite in {weights.dtype}")
    return weights


def _set_pos_weight(request: LossRequest, value: ArrayLike | None) -> None:
    if value is not None:
        request.pos_weight = per_class(value, "pos_weight", request.logits)


def _set_label_smoothing(request: LossRequest, value: float) -> None:
    if type(value) is float and value == 0.0:
        return
    request.label_smoothing = smoothing = as_number(value, "label_smoothing")
    if not 0 <= smoothing <= 1:
        raise ValueError(f"label_smoothing = {smoothing} is outside [0, 1]")


def _set_eps(request: LossRequest, value: float) -> None:
    request.eps = eps = as_number(value, "eps")
    if not 0 < eps < 0.5:
        raise ValueError(f"eps = {eps} is not between 0 and 0.5")
    request.clipping = clipping_of(eps, result_dtype(request.logits.dtype))


def _set_alpha(request: LossRequest, value: ArrayLike | None) -> None:
    """Set a factor; that of sigmoid_focal_loss has a counterpart, 1 - alpha, for the negatives."""
    if value is None:
        return
    array = as_array(value, "alpha")
    shape = request.logits.shape[-1:]
    if array.shape not in {(), shape}:
        raise ValueError(f"alpha has shape {array.shape}, expected a number or {shape}")
    alpha = np.ascontiguousarray(array, np.float64).reshape(array.shape)
    shared = request.loss.alpha == "both"
    valid = (alpha >= 0) & ((alpha <= 1) if shared else (alpha < np.inf))
    if not valid.all():
        index = int(np.flatnonzero(~valid)[0])
        place = f"alpha[{index}]" if alpha.ndim else "alpha"
        reason = "outside [0, 1]" if shared else "negative or not finite"
        raise ValueError(f"{place} = {array.flat[index]} is {reason}")
    request.alpha = alpha if alpha.ndim else float(alpha)


def _set_exponent(field: str, name: str, request: LossRequest, value: float) -> None:
    exponent = value if type(value) is float else as_number(value, name)
    if not 0 <= exponent < math.inf:
        raise ValueError(f"{name} = {exponent} is negative or not finite")
    setattr(request, field, exponent)


def _set_gamma(request: LossRequest, value: float) -> None:
    """Set an exponent, or what logits are multiplied by."""
    _set_exponent("gamma", "gamma", request, value)
    if request.gamma == 0 and "gamma" not in request.loss.exponents:
        raise ValueError("gamma = 0.0 is not above 0")


def _set_beta(request: LossRequest, value: float) -> None:
    """Set an exponent, or what is added to logits."""
    if "beta" in request.loss.exponents:
        _set_exponent("gamma", "beta", request, value)
        return
    request.beta = beta = as_number(value, "beta")
    if not math.isfinite(beta):
        raise ValueError(f"beta = {beta} is not finite")


def _set_clip(request: LossRequest, value: float) -> None:
    request.clip = clip = as_number(value, "clip")
    if clip != 0 and not _LEAST_CLIP <= clip < 1:
        raise ValueError(f"clip = {clip} is neither 0 nor from {_LEAST_CLIP} to below 1")


def _set_epsilon(request: LossRequest, value: float) -> None:
    request.epsilon = epsilon = as_number(value, "epsilon")
    if not math.isfinite(epsilon):
        raise ValueError(f"epsilon = {epsilon} is not finite")


def _set_iou_weighted(request: LossRequest, value: bool) -> None:
    request.iou_weighted = as_flag(value, "iou_weighted")


def _set_scores(request: LossRequest, value: ArrayLike) -> None:
    request.scores = scores = as_array(value, "scores")
    anchors = request.logits.shape[:-1]
    if scores.shape != anchors:
        raise ValueError(f"scores has shape {scores.shape}, expected {anchors}")
    check_unit_interval(scores, "scores", request.threads, shape=anchors, axis=None)


def _set_expectation(request: LossRequest, value: bool) -> None:
    if as_flag(value, "return_expectation"):
        request.expectation = np.empty(
            request.logits.shape[:-1], result_dtype(request.logits.dtype)
        )


def _set_custom(request: LossRequest, value: CustomCall) -> None:
    request.custom = value


PARAMETERS: dict[str, Callable[[LossRequest, Any], None]] = {
    "alpha": _set_alpha,
    "beta": _set_beta,
    "clip": _set_clip,
    "custom": _set_custom,
    "eps": _set_eps,
    "epsilon": _set_epsilon,
    "gamma": _set_gamma,
    "gamma_neg": partial(_set_exponent, "gamma_neg", "gamma_neg"),
    "gamma_pos": partial(_set_exponent, "gamma_pos", "gamma_pos"),
    "iou_weighted": _set_iou_weighted,
    "label_smoothing": _set_label_smoothing,
    "pos_weight": _set_pos_weight,
    "return_expectation": _set_expectation,
    "scores": _set_scores,
}
