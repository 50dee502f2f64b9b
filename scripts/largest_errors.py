"""Measure the largest relative errors of float32 results over many anchors.

Run ``python scripts/largest_errors.py [NAME ...]``. The reference is the same function in float64,
whose own errors the tests hold against mpmath; logits come from several distributions, and half of
the labels are the largest logit's, where losses are tiny. Printed are the largest error of losses
(scores) and of gradients in units of 2^-23, "ULP", and where it was seen: number of classes, mean
and deviation of the logits. What fastxent/_catalogue.py promises has to be larger.
"""

from typing import Annotated

import numpy as np
import typer

import fastxent as fx
from fastxent import _catalogue as catalogue

CLASSES = (1, 2, 3, 4, 5, 8, 9, 13, 16, 21, 32, 33, 48, 80, 300)
LOGITS = ((0, 1), (-2, 3), (-1, 0.3), (-3, 0.5), (-1.5, 0.2), (-6, 2), (0, 8))
SCORES = tuple(catalogue.SCORES)
LOSSES = tuple(catalogue.LOSSES)
#: Results near the end of float32's range have fewer digits.
SMALLEST = 1e-36


def largest(result, exact, scale=0.0):
    """Return the largest error, relative to the exact result or to `scale`."""
    size = np.maximum(abs(exact), scale)
    errors = abs(result - exact) / np.maximum(size, SMALLEST)
    return float(np.max(errors, where=size > SMALLEST, initial=0)) * 2**23


def errors_of(name, logits, rng):
    """Return the largest errors of a function's results and of its gradients."""
    function = getattr(fx, name)
    if name in SCORES:
        values = fx.sigmoid(logits) if name in {"logit", "odds"} else logits
        scale = abs(logits.max(axis=-1)) if name == "logsumexp" else 0.0
        return largest(function(values), function(values.astype(np.float64)), scale), 0.0
    values = logits
    if catalogue.LOSSES[name].values == "probs":
        is_sigmoid = catalogue.LOSSES[name].sigmoid
        values = fx.sigmoid(logits) if is_sigmoid else fx.softmax(logits)
    targets = targets_of(name, logits, rng)
    exact, exact_grad = function(values.astype(np.float64), *targets, return_grad=True)
    loss, grad = function(values, *targets, return_grad=True)
    alone = largest(function(values, *targets), exact)
    scale = 0.0
    if catalogue.LOSSES[name].target_format == "positions":
        # The gradient is p - y with y between 0 and 1: its error is relative to p + y.
        scale = 2 * fx.softmax(logits.astype(np.float64)) - exact_grad
    return max(alone, largest(loss, exact)), largest(grad, exact_grad, scale)


def targets_of(name, logits, rng):
    """Return what a loss takes after the logits."""
    anchors, classes = logits.shape
    facts = catalogue.LOSSES[name]
    if facts.target_format == "positions":
        return (rng.uniform(0, classes - 1, anchors).astype(np.float32),)
    labels = rng.integers(0, classes + facts.sigmoid, anchors)
    tiny = rng.random(anchors) < 0.5
    labels[tiny] = logits[tiny].argmax(axis=1)
    if facts.target_format == "labels":  # with the IoU of each anchor
        return labels, rng.random(anchors, np.float32)
    return (labels,)


def main(
    names: Annotated[list[str] | None, typer.Argument()] = None, logits: float = 1e6, seed: int = 0
) -> None:
    """Print the largest errors of functions, all by default."""
    rng = np.random.default_rng(seed)
    for name in names or SCORES + LOSSES:
        worst = [(0.0, ()), (0.0, ())]
        for classes in CLASSES[name not in SCORES :]:
            for mean, deviation in LOGITS:
                shape = int(logits) // classes, classes
                values = rng.normal(mean, deviation, shape).astype(np.float32)
                for i, error in enumerate(errors_of(name, values, rng)):
                    worst[i] = max(worst[i], (error, (classes, mean, deviation)))
        loss, grad = (f"{error:.2f} {place}" for error, place in worst)
        typer.echo(f"{name:26} {loss:28} {grad if name not in SCORES else ''}")


if __name__ == "__main__":
    typer.run(main)
