"""The losses: each is NumPy's function of the same name, for arrays of JAX."""

from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from fastxent.jax.arguments import LossPlan, Signature, split_loss
from fastxent.jax.calls import call, score_dtype, vary_alike
from fastxent.jax.docs import document
from fastxent.jax.scores import softmax

__all__ = [
    "asymmetric_loss",
    "binary_cross_entropy",
    "categorical_cross_entropy",
    "distribution_focal_loss",
    "poly1_cross_entropy",
    "quality_focal_loss",
    "sigmoid_cross_entropy",
    "sigmoid_focal_loss",
    "sigmoid_focal_loss_star",
    "softmax_cross_entropy",
    "softmax_focal_loss",
    "varifocal_loss",
]

Arrays = tuple[jax.Array, ...]

#: What users call arrays that the handler has several names for.
_ARGUMENTS = {
    "dense": "targets",
    "positions": "targets",
    "call_weight": "weight",
    "anchor_weight": "weight",
    "logit_weight": "weight",
}


def _call_loss(
    plan: LossPlan, results: tuple[str, ...], arrays: Arrays, *factors: jax.Array
) -> list[jax.Array]:
    """Compute "loss", "grad" or both; the gradient times factors of the elements of the loss."""
    values = arrays[0]
    structs = {
        "loss": (plan.result_shape(values.shape), score_dtype(values)),
        "grad": (values.shape, values.dtype),
    }
    attributes = dict(plan.attributes)
    attributes["ignored"] = np.array(attributes["ignored"], np.int64)
    names = ["logits", *plan.operands, *("grad_output" for _ in factors)]
    attributes["operands"], attributes["results"] = ",".join(names), ",".join(results)
    shapes = [structs[name] for name in results]
    return call("fastxent_loss", [*arrays, *factors], shapes, attributes)


# --- derivatives ---------------------------------------------------------------------------------
#
# A sum or mean is computed with its gradient in one pass, and XLA drops the product with a factor
# that it knows to be 1. Of losses that are arrays the gradient is computed when its factors are
# known, in one pass with them: an array as large as the logits is neither kept nor read again.


# What may not be differentiated goes through functions whose derivative is an error: a custom_vjp
# would make zeros of it.


@partial(jax.jit, static_argnums=0)
def _evaluate(plan: LossPlan, arrays: Arrays) -> jax.Array:
    return _differentiable(plan, (arrays[0], *_constants(plan, arrays[1:])))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _constants(plan: LossPlan, others: Arrays) -> Arrays:
    del plan
    return others


def _refuse_other_arguments(plan: LossPlan, primals: Any, tangents: Any) -> NoReturn:
    del primals
    (directions,) = tangents
    moved = [not isinstance(direction, SymbolicZero) for direction in directions]
    name = plan.operands[moved.index(True)]
    argument = _ARGUMENTS.get(name, name)
    raise NotImplementedError(
        f"fastxent.jax.{plan.name} has no derivative with respect to {argument}: pass "
        f"jax.lax.stop_gradient({argument})"
    )


_constants.defjvp(_refuse_other_arguments, symbolic_zeros=True)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _differentiable(plan: LossPlan, arrays: Arrays) -> jax.Array:
    return _call_loss(plan, ("loss",), arrays)[0]


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _once(plan: LossPlan, results: tuple[str, ...], arrays: Arrays, *factors: jax.Array) -> Arrays:
    """Compute results that are not differentiated any more."""
    return tuple(_call_loss(plan, results, arrays, *factors))


@_once.defjvp
def _refuse_second_derivative(plan: LossPlan, *_: Any) -> NoReturn:
    raise NotImplementedError(
        f"fastxent.jax.{plan.name} has first derivatives only: no second ones, and none in forward "
        "mode (use jax.grad, jax.vjp or jax.jacrev, once)"
    )


def _forward(plan: LossPlan, arrays: Arrays) -> tuple[jax.Array, Arrays]:
    if plan.reduction in {"sum", "mean"}:
        loss, gradient = _once(plan, ("loss", "grad"), arrays)
        return loss, (gradient,)
    return _once(plan, ("loss",), arrays)[0], arrays


def _backward(
    plan: LossPlan, kept: Arrays, factor: jax.Array
) -> tuple[tuple[jax.Array | None, ...]]:
    if plan.reduction in {"sum", "mean"}:
        gradient = (factor * kept[0]).astype(kept[0].dtype)
    else:
        (gradient,) = _once(plan, ("grad",), kept, factor)
    return ((gradient, *(None for _ in plan.operands)),)


_differentiable.defvjp(_forward, _backward)


# --- the public functions ------------------------------------------------------------------------


def _make_loss(name: str) -> Callable[..., jax.Array]:
    signature = Signature(name)

    def loss(*arguments: Any, **options: Any) -> jax.Array:
        plan, arrays = split_loss(signature, signature.bind(arguments, options))
        return _evaluate(plan, tuple(vary_alike(arrays)))

    return document(loss, signature)


asymmetric_loss = _make_loss("asymmetric_loss")
binary_cross_entropy = _make_loss("binary_cross_entropy")
categorical_cross_entropy = _make_loss("categorical_cross_entropy")
_distribution_focal_loss = _make_loss("distribution_focal_loss")
poly1_cross_entropy = _make_loss("poly1_cross_entropy")
quality_focal_loss = _make_loss("quality_focal_loss")
sigmoid_cross_entropy = _make_loss("sigmoid_cross_entropy")
sigmoid_focal_loss = _make_loss("sigmoid_focal_loss")
sigmoid_focal_loss_star = _make_loss("sigmoid_focal_loss_star")
softmax_cross_entropy = _make_loss("softmax_cross_entropy")
softmax_focal_loss = _make_loss("softmax_focal_loss")
varifocal_loss = _make_loss("varifocal_loss")


def distribution_focal_loss(
    *arguments: Any, return_expectation: bool = False, **options: Any
) -> jax.Array | tuple[jax.Array, jax.Array]:
    """Return the loss, and the expectation where it is wanted; `document` says more."""
    loss = _distribution_focal_loss(*arguments, **options)
    if not return_expectation:
        return loss
    # Both are trained: the boxes that are decoded from it have losses, too.
    logits = jnp.asarray(arguments[0] if arguments else options["logits"])
    axis = options.get("axis", -1)
    probabilities = jnp.moveaxis(softmax(logits, axis=axis), axis, -1)
    bins = jnp.arange(probabilities.shape[-1], dtype=probabilities.dtype)
    return loss, probabilities @ bins


document(distribution_focal_loss, Signature("distribution_focal_loss"))
