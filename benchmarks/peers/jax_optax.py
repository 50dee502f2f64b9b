"""JAX: jit of optax's losses, or of formulas where optax has none."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.inputs import Inputs

NAME = "JAX"
DISTRIBUTION = "jax"

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")

Formula = Callable[[jax.Array, jax.Array], jax.Array]


def _focal_star(z: jax.Array, y: jax.Array) -> jax.Array:
    return (y * jax.nn.softplus(-2 * z) + (1 - y) * jax.nn.softplus(2 * z)) / 2


def _asymmetric(z: jax.Array, y: jax.Array) -> jax.Array:
    p = jax.nn.sigmoid(z)
    shifted = jnp.maximum(p - 0.05, 0)
    return y * (1 - p) * jax.nn.softplus(-z) - (1 - y) * shifted**4 * jnp.log1p(-shifted)


def _quality(z: jax.Array, y: jax.Array) -> jax.Array:
    distance = y - jax.nn.sigmoid(z)
    return distance**2 * optax.losses.sigmoid_binary_cross_entropy(z, y)


def _varifocal(z: jax.Array, y: jax.Array) -> jax.Array:
    factor = jnp.where(y > 0, y, 0.75 * jax.nn.sigmoid(z) ** 2)
    return factor * optax.losses.sigmoid_binary_cross_entropy(z, y)


SIGMOID: dict[str, Formula] = {
    "sigmoid_cross_entropy": optax.losses.sigmoid_binary_cross_entropy,
    "sigmoid_focal_loss": lambda z, y: optax.losses.sigmoid_focal_loss(z, y, alpha=0.25, gamma=2.0),
    "quality_focal_loss": _quality,
    "varifocal_loss": _varifocal,
    "sigmoid_focal_loss_star": _focal_star,
    "asymmetric_loss": _asymmetric,
    "binary_cross_entropy": lambda p, y: -(y * jnp.log(p) + (1 - y) * jnp.log1p(-p)),
}


# The class axis is last.
def _of_label(values: jax.Array, labels: jax.Array) -> jax.Array:
    return jnp.take_along_axis(values, labels[..., None], -1)[..., 0]


def _cross_entropy(z: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.losses.softmax_cross_entropy_with_integer_labels(z, labels)


def _softmax_focal(z: jax.Array, labels: jax.Array) -> jax.Array:
    cross_entropy = _cross_entropy(z, labels)
    return (1 - jnp.exp(-cross_entropy)) ** 2 * cross_entropy


def _poly1(z: jax.Array, labels: jax.Array) -> jax.Array:
    cross_entropy = _cross_entropy(z, labels)
    return cross_entropy + 1 - jnp.exp(-cross_entropy)


def _distribution(z: jax.Array, positions: jax.Array) -> jax.Array:
    log_p = jax.nn.log_softmax(z)
    left = positions.astype(jnp.int32)
    share = positions - left.astype(positions.dtype)
    return -(1 - share) * _of_label(log_p, left) - share * _of_label(log_p, left + 1)


def _categorical(p: jax.Array, labels: jax.Array) -> jax.Array:
    return -jnp.log(jnp.clip(_of_label(p, labels) / p.sum(-1), 1e-7, 1 - 1e-7))


SOFTMAX: dict[str, Formula] = {
    "softmax_cross_entropy": _cross_entropy,
    "softmax_focal_loss": _softmax_focal,
    "poly1_cross_entropy": _poly1,
    "distribution_focal_loss": _distribution,
    "categorical_cross_entropy": _categorical,
}
ELEMENT_SCORES = {
    "sigmoid": jax.nn.sigmoid,
    "log_sigmoid": jax.nn.log_sigmoid,
    "softplus": jax.nn.softplus,
    "logit": jax.scipy.special.logit,
    "odds": lambda p: p / (1 - p),
}
CLASS_SCORES = {
    "softmax": jax.nn.softmax,
    "log_softmax": jax.nn.log_softmax,
    "logsumexp": jax.nn.logsumexp,
}


def prepare(inputs: Inputs, threads: int) -> dict[str, Callable[[], object]]:
    # The pool of threads is as large as the CPU affinity said when JAX started.
    del threads
    compute = _per_anchor(inputs)
    if inputs.case.gradient:
        compute = jax.value_and_grad(lambda *arrays: _per_anchor(inputs)(*arrays).sum())
    compiled = jax.jit(compute)
    arguments = [jax.device_put(array) for array in (inputs.values, *_targets(inputs))]
    return {"": lambda: jax.block_until_ready(compiled(*arguments))}


def _targets(inputs: Inputs) -> tuple[np.ndarray, ...]:
    """Return labels where there are any: XLA fuses the comparison with the classes."""
    name = inputs.function
    if name in SIGMOID and (inputs.axis is None or name == "varifocal_loss"):
        return (inputs.one_hot(),)
    return tuple(
        array.astype(np.int32) if array.dtype == np.int64 else array for array in inputs.targets()
    )


def _per_anchor(inputs: Inputs) -> Callable[..., jax.Array]:
    name, axis = inputs.function, inputs.axis

    def compute(z: jax.Array, *targets: jax.Array) -> jax.Array:
        if z.dtype == jnp.bfloat16:
            z = z.astype(jnp.float32)
        if name in ELEMENT_SCORES:
            return ELEMENT_SCORES[name](z)
        if name in CLASS_SCORES:
            return CLASS_SCORES[name](z, axis=axis)
        if name in SOFTMAX:
            return SOFTMAX[name](jnp.moveaxis(z, axis, -1), targets[0])
        dense = targets[0]
        if axis is None:
            return SIGMOID[name](z, dense)
        if name != "varifocal_loss":
            dense = jax.nn.one_hot(targets[0], z.shape[axis], dtype=z.dtype, axis=axis)
        if name == "quality_focal_loss":
            dense *= jnp.expand_dims(targets[1].astype(z.dtype), axis)
        terms = SIGMOID[name](z, dense)
        return terms.mean(axis) if name == "binary_cross_entropy" else terms.sum(axis)

    return compute


def as_arrays(result: jax.Array | tuple[jax.Array, ...]) -> tuple[np.ndarray, ...]:
    values = result if isinstance(result, tuple) else (result,)
    return tuple(np.asarray(value) for value in values)
