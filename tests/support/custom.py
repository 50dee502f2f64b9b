"""What the tests of custom losses share: exact functions, and losses made of them."""

import functools
from typing import NamedTuple

import mpmath
import numpy as np

import fastxent as fx
from support.oracles import exact_softplus

mpmath.mp.dps = 50


class Primitive(NamedTuple):
    """A function of one number."""

    exact: object
    #: Where its results are neither 0 nor infinite in float32; None: everything above the second.
    lowest: float | None
    highest: float | None
    #: Largest error of the compiled one in ULP.
    ulp: float


PRIMITIVES = {
    "exp": Primitive(mpmath.exp, -100, 88, 1),
    "expm1": Primitive(mpmath.expm1, -100, 88, 2),
    "log": Primitive(mpmath.log, None, 0.0, 1),
    "log1p": Primitive(mpmath.log1p, None, -1.0, 1),
    "sqrt": Primitive(mpmath.sqrt, None, 0.0, 1),
    "tanh": Primitive(mpmath.tanh, -30, 30, 3),
    "softplus": Primitive(exact_softplus, -100, 200, 2),
    "sigmoid": Primitive(lambda x: 1 / (1 + mpmath.exp(-x)), -87, 90, 3),
    "log_sigmoid": Primitive(lambda x: -exact_softplus(-x), -200, 100, 2),
}


def inputs_of(name, dtype=np.float32):
    """Return arguments of every size."""
    rng = np.random.default_rng(0)
    primitive = PRIMITIVES[name]
    near = rng.normal(0, 1, 100)
    if primitive.lowest is not None:
        wide = rng.uniform(primitive.lowest, primitive.highest, 150)
        values = np.concatenate([wide, near, near * 1e-5])
    else:
        info = np.finfo(dtype)
        exponents = rng.uniform(np.log2(float(info.smallest_subnormal)), np.log2(info.max), 200)
        values = np.concatenate([np.exp2(exponents), rng.uniform(0.4, 2, 100), near, -near / 9])
    values = values.astype(dtype)
    if primitive.lowest is None:
        values = values[values > primitive.highest]
    return values


@functools.cache
def loss_of(name):
    """Return the custom loss that is a primitive of the logit."""
    primitive = getattr(fx.math, name)

    def function(logit, target):
        return primitive(logit)

    return fx.custom_loss(function)


def per_logit(loss, logits, targets=None, **arguments):
    """Return a loss of single logits, whose targets are labels of a head without classes."""
    targets = np.zeros(np.shape(logits), int) if targets is None else targets
    return loss(logits, targets, axis=None, **arguments)


def exact_values(function, values):
    """Return an mpmath function of floats as float64."""
    return np.array([float(function(mpmath.mpf(float(value)))) for value in values])


def assert_within_ulp(result, exact, ulp, values):
    """Compare float32 results with exact ones, and print the worst."""
    size = np.maximum(np.spacing(np.abs(exact.astype(np.float32))), np.float32(1e-45))
    errors = np.abs(result.astype(float) - exact) / size
    worst = np.argmax(errors)
    assert errors[worst] <= ulp, (values[worst], result[worst], exact[worst], errors[worst])


def focal(logit, target, alpha=0.25, gamma=2.0):
    """Sigmoid focal loss, as its paper has it for targets 0 and 1, and torchvision for others."""
    p = fx.math.sigmoid(logit)
    entropy = target * fx.math.softplus(-logit) + (1 - target) * fx.math.softplus(logit)
    hit = p * target + (1 - p) * (1 - target)
    factor = alpha * target + (1 - alpha) * (1 - target)
    return factor * (1 - hit) ** gamma * entropy
