"""The losses and scores of fastxent in JAX: under jit, grad, vmap and shard_map.

>>> import jax
>>> import fastxent.jax as fxj
>>> @jax.jit
... def step(logits, labels):
...     return jax.value_and_grad(fxj.sigmoid_focal_loss)(logits, labels, reduction="mean")
"""

try:
    import jax as _jax  # noqa: F401 - the library; this package is fastxent.jax
except ImportError as error:
    raise ImportError(
        'fastxent.jax needs JAX, which is not installed: pip install "fastxent[jax]"'
    ) from error

from fastxent.jax.calls import register as _register
from fastxent.jax.losses import (
    asymmetric_loss,
    binary_cross_entropy,
    categorical_cross_entropy,
    distribution_focal_loss,
    poly1_cross_entropy,
    quality_focal_loss,
    sigmoid_cross_entropy,
    sigmoid_focal_loss,
    sigmoid_focal_loss_star,
    softmax_cross_entropy,
    softmax_focal_loss,
    varifocal_loss,
)
from fastxent.jax.scores import (
    log_sigmoid,
    log_softmax,
    logit,
    logsumexp,
    odds,
    sigmoid,
    softmax,
    softplus,
)

__all__ = [
    "asymmetric_loss",
    "binary_cross_entropy",
    "categorical_cross_entropy",
    "distribution_focal_loss",
    "log_sigmoid",
    "log_softmax",
    "logit",
    "logsumexp",
    "odds",
    "poly1_cross_entropy",
    "quality_focal_loss",
    "sigmoid",
    "sigmoid_cross_entropy",
    "sigmoid_focal_loss",
    "sigmoid_focal_loss_star",
    "softmax",
    "softmax_cross_entropy",
    "softmax_focal_loss",
    "softplus",
    "varifocal_loss",
]

_register()
