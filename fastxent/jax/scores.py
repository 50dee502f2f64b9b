"""The scores: each is NumPy's function of the same name, for arrays of JAX.

Their derivatives are made of JAX's own operations on the results, so they can be differentiated any
number of times, in both modes.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fastxent._arguments import as_flag, axis_indices
from fastxent._call.validate import MOST_CLASSES
from fastxent._catalogue import SCORES
from fastxent._config import thread_count
from fastxent.jax.arguments import Signature, refuse_tracers
from fastxent.jax.calls import call, refuse_other_devices, score_dtype
from fastxent.jax.docs import document

__all__ = [
    "log_sigmoid",
    "log_softmax",
    "logit",
    "logsumexp",
    "odds",
    "sigmoid",
    "softmax",
    "softplus",
]


class ScorePlan(NamedTuple):
    """A call of a score, but for its array."""

    name: str
    #: The class axis, counted from the first; None: the score is one of single values.
    axis: int | None
    threads: int


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _differentiable(plan: ScorePlan, values: jax.Array) -> jax.Array:
    shape, axis = values.shape, plan.axis
    if plan.name == "logsumexp" and axis is not None:
        shape = shape[:axis] + shape[axis + 1 :]
        if values.size == 0:  # the logarithm of an empty sum
            return jnp.full(shape, -jnp.inf, score_dtype(values))
    attributes = {
        "score": plan.name,
        "threads": plan.threads,
        "ndim": values.ndim,
        "axis": -1 if axis is None else axis,
        "operands": "logits",
        "results": "scores",
    }
    return call("fastxent_score", [values], [(shape, score_dtype(values))], attributes)[0]


@_differentiable.defjvp
def _derivative(plan: ScorePlan, primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    (values,), (direction,) = primals, tangents
    result = _differentiable(plan, values)
    direction = direction.astype(result.dtype)
    axis = plan.axis
    match plan.name:
        case "sigmoid":
            slope = result * (1 - result) * direction
        case "log_sigmoid":
            slope = -jnp.expm1(result) * direction
        case "softplus":
            slope = -jnp.expm1(-result) * direction
        case "logit":
            p = values.astype(result.dtype)
            slope = direction / (p * (1 - p))
        case "odds":
            slope = (1 + result) ** 2 * direction
        case "softmax":
            mean = jnp.sum(result * direction, axis, keepdims=True)
            slope = result * (direction - mean)
        case "log_softmax":
            slope = direction - jnp.sum(jnp.exp(result) * direction, axis, keepdims=True)
        case _:
            p = _differentiable(plan._replace(name="softmax"), values)
            slope = jnp.sum(p * direction, axis)
    return result, slope


_evaluate = jax.jit(_differentiable, static_argnums=0)


def _over_classes(
    plan: ScorePlan, values: jax.Array, axes: tuple[int, ...], *, keepdims: bool
) -> jax.Array:
    """Evaluate a score over one class axis, or over several as one."""
    shape, count = values.shape, len(axes)
    last = tuple(range(values.ndim - count, values.ndim))
    is_moved = count != 1 or shape[axes[0]] > MOST_CLASSES
    if is_moved:
        values = jnp.moveaxis(values, axes, last)
        outer = values.shape[: values.ndim - count]
        inner = values.shape[values.ndim - count :]
        values = values.reshape(*outer, math.prod(inner))
        axes_of_result, plan = axes, plan._replace(axis=len(outer))
    else:
        plan = plan._replace(axis=axes[0])
    result = _evaluate(plan, values)
    if plan.name == "logsumexp":
        return jnp.expand_dims(result, axes) if keepdims else result
    if is_moved:
        result = jnp.moveaxis(result.reshape(*outer, *inner), last, axes_of_result)
    return result


def _make_score(name: str) -> Callable[..., jax.Array]:
    signature = Signature(name)
    (argument,) = signature.positional

    def score(*arguments: Any, **options: Any) -> jax.Array:
        given = signature.bind(arguments, options)
        refuse_other_devices(argument, given[argument])
        values = jnp.asarray(given.pop(argument))
        refuse_tracers(given)
        if values.dtype.kind in "biu":
            values = values.astype(float)
        plan = ScorePlan(name, None, thread_count(given["num_threads"]))
        if not SCORES[name].over_classes:
            return _evaluate(plan, values)
        axes = axis_indices(given["axis"], values.ndim, argument)
        keepdims = as_flag(given.get("keepdims", False), "keepdims")
        return _over_classes(plan, values, axes, keepdims=keepdims)

    return document(score, signature)


log_sigmoid = _make_score("log_sigmoid")
log_softmax = _make_score("log_softmax")
logit = _make_score("logit")
logsumexp = _make_score("logsumexp")
odds = _make_score("odds")
sigmoid = _make_score("sigmoid")
softmax = _make_score("softmax")
softplus = _make_score("softplus")
