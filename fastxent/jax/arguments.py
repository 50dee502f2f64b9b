"""From the arguments of a public function to a plan, which a compiler can know, and arrays.

The package's own validation sees arrays of zeros of the same shapes and dtypes, which take no
memory: whatever does not depend on values is checked as for NumPy, with the same messages, when a
function is traced. The handler checks values.
"""

import inspect
import math
from functools import lru_cache
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

import fastxent
from fastxent._call.options import CallOptions
from fastxent._call.targets import expected_targets
from fastxent._call.validate import loss_request
from fastxent._catalogue import ARGUMENTS, LOSSES, NUMPY_ONLY, Loss, loss_shape
from fastxent._config import thread_count
from fastxent._contract import LossRequest, modulating_exponents
from fastxent.jax.calls import refuse_other_devices, score_dtype

#: One object, for plans to be equal that have it.
NAN = math.nan


class Signature:
    """What a loss or score may be called with."""

    def __init__(self, name: str) -> None:
        facts = ARGUMENTS[name]
        self.name = name
        self.function = getattr(fastxent, name)
        self.positional = (facts.differentiable, *facts.arrays)
        self.array_options = facts.array_options
        parameters = inspect.signature(self.function).parameters
        own = [parameter for key, parameter in parameters.items() if key not in NUMPY_ONLY]
        self.python = inspect.Signature(own)

    def bind(self, arguments: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
        """Return all arguments by name; Python's own TypeError for what does not fit."""
        try:
            bound = self.python.bind(*arguments, **options)
        except TypeError as error:
            raise TypeError(f"fastxent.jax.{self.name}: {error}") from None
        bound.apply_defaults()
        return bound.arguments


class Zeros(NamedTuple):
    """An array, as far as its plan depends on it."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def as_array(self) -> np.ndarray[Any, Any]:
        """Return zeros, which are valid whatever the argument is, and take no memory."""
        return np.broadcast_to(np.zeros((), self.dtype), self.shape)


class LossPlan(NamedTuple):
    """A call of a loss, but for its arrays."""

    name: str
    #: The class axis, counted from the first; None: there is none.
    axis: int | None
    reduction: str
    #: What the arrays after the logits are called.
    operands: tuple[str, ...]
    #: The rest, as the handler takes it.
    attributes: tuple[tuple[str, Any], ...]

    def result_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the loss of logits of this shape."""
        return loss_shape(LOSSES[self.name], shape, self.axis, self.reduction)


def split_loss(signature: Signature, given: dict[str, Any]) -> tuple[LossPlan, list[jax.Array]]:
    """Return the plan of a call, and its arrays: the logits and those that the plan names."""
    arrays = {}
    for name in signature.positional:
        refuse_other_devices(name, given[name])
        arrays[name] = jnp.asarray(given.pop(name))
    for name in (*signature.array_options, "normalizer"):
        if _is_array(given[name]):
            refuse_other_devices(name, given[name])
            arrays[name] = jnp.asarray(given[name])
            given[name] = Zeros(arrays[name].shape, arrays[name].dtype)
        elif isinstance(given[name], np.number | np.ndarray):
            given[name] = given[name].item()
    refuse_tracers(given)
    shapes = tuple(Zeros(array.shape, array.dtype) for array in arrays.values())
    shapes = shapes[: len(signature.positional)]
    threads = thread_count(given.pop("num_threads"))
    if given["empty"] != given["empty"]:
        given["empty"] = NAN
    try:
        plan = _plan_of(signature.name, shapes, tuple(given.items()), threads)
    except TypeError:  # what cannot be hashed is refused below, or is an array that can be read
        plan = _plan_of.__wrapped__(signature.name, shapes, tuple(given.items()), threads)
    values = arrays.pop(signature.positional[0])
    own = [_as_operand(name, array, values, plan) for name, array in arrays.items()]
    return plan, [values, *own]


def refuse_tracers(given: dict[str, Any]) -> None:
    """Refuse options that a compiler does not know."""
    for name, value in given.items():
        if isinstance(value, jax.core.Tracer):
            raise TypeError(
                f"{name} is not known before the function is compiled, but has to be: declare it "
                f'to jax.jit as static_argnames="{name}"'
            )


def _is_array(value: object) -> bool:
    """Return whether a keyword is an array, and not a number, word or None."""
    return isinstance(value, jax.Array | list | tuple) or (
        isinstance(value, np.ndarray) and value.ndim > 0
    )


def _as_operand(name: str, array: jax.Array, values: jax.Array, plan: LossPlan) -> jax.Array:
    """Bring an array to the dtype and to the dimensions that the handler takes."""
    dtype = score_dtype(values)
    if name in {"class_weight", "pos_weight", "alpha"}:
        classes = () if plan.axis is None else values.shape[plan.axis : plan.axis + 1]
        array = array.astype(dtype)
        return jnp.broadcast_to(array, classes) if array.ndim == 0 else array.reshape(classes)
    if name == "weight" and plan.axis is None and array.ndim > 0:
        return array.reshape((1,) * (values.ndim - array.ndim) + array.shape)
    return array


@lru_cache(maxsize=1024)
def _plan_of(
    name: str, shapes: tuple[Zeros, ...], options: tuple[tuple[str, Any], ...], threads: int
) -> LossPlan:
    loss, given = LOSSES[name], dict(options)
    arrays = {key for key, value in options if isinstance(value, Zeros)}
    zeros = {key: value.as_array() if isinstance(value, Zeros) else value for key, value in options}
    normalizer = given["normalizer"]
    if isinstance(normalizer, Zeros):
        if normalizer.shape:
            raise ValueError(f"normalizer has shape {normalizer.shape}, expected a number")
        zeros["normalizer"] = 1.0
    values, targets, *scores = (shape.as_array() for shape in shapes)
    parameters = {key: zeros[key] for key in loss.parameters if key in zeros}
    if scores:
        parameters["scores"] = scores[0]
    call = CallOptions(
        parameters,
        axis=given["axis"],
        reduction=given["reduction"],
        normalizer=cast("Any", zeros["normalizer"]),
        empty=given["empty"],
        weight=zeros["weight"],
        class_weight=zeros.get("class_weight"),
        ignore_index=given["ignore_index"],
        background_index=given.get("background_index"),
    )
    request, _, _ = loss_request(loss, values, targets, call, checks_late=True)
    axis = None if given["axis"] is None else int(given["axis"]) % values.ndim
    operands = _operand_names(loss, request, arrays, weight=given["weight"])
    attributes = {
        "threads": threads,
        "ndim": values.ndim,
        "axis": -1 if axis is None else axis,
        "reduction": given["reduction"],
        "targets": loss.targets,
        "expected": expected_targets(request, axis),
        **_numbers_of(request),
        **_reduction_of(given, arrays),
        "weight": 1.0 if "weight" in arrays else request.weight,
        "alpha": request.alpha if isinstance(request.alpha, float) else NAN,
        "pos_weight": _number_or_nan(given.get("pos_weight")),
    }
    return LossPlan(name, axis, given["reduction"], operands, tuple(sorted(attributes.items())))


def _operand_names(
    loss: Loss, request: LossRequest, arrays: set[str], *, weight: object
) -> tuple[str, ...]:
    """Return the handler's names of the arrays after the logits, in their order."""
    targets = "labels" if request.labels is not None else "positions"
    names = ["dense" if request.dense is not None else targets]
    if loss.target_format == "labels":
        names.append("scores")
    if isinstance(weight, Zeros):
        per_anchor = request.anchor_weight is not None
        per_call = "anchor_weight" if per_anchor else "call_weight"
        names.append("logit_weight" if request.logit_weight is not None else per_call)
    options = ARGUMENTS[loss.name].array_options[1:]
    return (*names, *(name for name in (*options, "normalizer") if name in arrays))


def _numbers_of(request: LossRequest) -> dict[str, Any]:
    """Return what kernels take, under the names that _xla_losses.pxi has for it."""
    clipping = request.clipping
    gamma_positive, gamma_negative = modulating_exponents(request)
    return {
        "loss": request.loss.name,
        "alpha_of": request.loss.alpha,
        "weighs_labels": int(request.loss.weighs_labels),
        "per_logit": int(request.per_logit),
        "background": request.background,
        "ignored": request.ignore,
        "label_smoothing": request.label_smoothing,
        "eps": request.eps,
        "limit": 0.0 if clipping is None else float(clipping.limit),
        "tiny_limit": 0.0 if clipping is None else float(clipping.tiny_limit),
        "highest_loss": 0.0 if clipping is None else float(clipping.highest_loss),
        "lowest_loss": 0.0 if clipping is None else float(clipping.lowest_loss),
        "tolerance": request.tolerance,
        "epsilon": request.epsilon,
        "slope": request.gamma,
        "shift": request.beta,
        "clip": request.clip,
        "iou_weighted": int(request.iou_weighted),
        "gamma_positive": gamma_positive,
        "gamma_negative": gamma_negative,
    }


def _reduction_of(given: dict[str, Any], arrays: set[str]) -> dict[str, Any]:
    normalizer, empty = given["normalizer"], given["empty"]
    is_name = isinstance(normalizer, str)
    return {
        "normalizer": NAN if is_name or "normalizer" in arrays else float(normalizer),
        "normalizer_name": normalizer if is_name else "",
        "empty": 0.0 if isinstance(empty, str) else float(empty),
        "empty_action": empty if isinstance(empty, str) else "",
    }


def _number_or_nan(value: object) -> float:
    return float(value) if isinstance(value, int | float) else NAN
