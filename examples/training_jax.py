"""The training step of a detector head in JAX, with fastxent's loss, next to the same with optax's.

A small network looks at the 4 x 4 cells of noisy pictures for handwritten digits (scikit-learn's);
the loss is RetinaNet's focal loss. `make_step` is all there is to it: the loss is a function of
JAX's arrays, under jit and grad. Both networks start alike and see the same pictures.

    python examples/training_jax.py --plot training_jax.png
"""

import argparse
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

import fastxent.jax as fxj

CLASSES, CELLS, BATCH = 10, 16, 32
BACKGROUND = CLASSES
OPTIMIZER = optax.adam(3e-3)


def make_cells(count, seed=0):
    """Return pictures as cells (count, 16, 64) of 8 x 8 pixels, a third with digits, and labels."""
    generator = np.random.default_rng(seed)
    digits = load_digits()
    cells = generator.uniform(0, 0.4, (count, CELLS, 64)).astype(np.float32)
    labels = np.full((count, CELLS), BACKGROUND, np.int32)
    places = generator.random((count, CELLS)) < 1 / 3
    chosen = generator.integers(len(digits.data), size=places.sum())
    cells[places] = np.maximum(cells[places], digits.data[chosen] / 16)
    labels[places] = digits.target[chosen]
    return cells, labels


def make_parameters(seed=0):
    """Return two layers; at the start every class of every cell has the probability 0.01."""
    keys = jax.random.split(jax.random.key(seed))
    return {
        "hidden": jax.random.normal(keys[0], (64, 128)) / 8,
        "head": jax.random.normal(keys[1], (128, CLASSES)) / 40,
        "bias": jnp.full(CLASSES, -4.6),
    }


def logits_of(parameters, cells):
    """Return logits (pictures, cells, classes)."""
    hidden = jax.nn.relu(cells @ parameters["hidden"])
    return hidden @ parameters["head"] + parameters["bias"]


def fastxent_loss(logits, labels):
    """Return the focal loss: the mean over the cells that have a digit."""
    return fxj.sigmoid_focal_loss(logits, labels, reduction="mean", normalizer="positive")


def optax_loss(logits, labels):
    """Return the same, made of optax's: it needs dense targets, all zeros for "no class"."""
    targets = jax.nn.one_hot(labels, logits.shape[-1])
    losses = optax.sigmoid_focal_loss(logits, targets, alpha=0.25, gamma=2.0)
    return losses.sum() / targets.sum()


def make_step(loss):
    """Return a training step, compiled."""

    def loss_of(parameters, cells, labels):
        return loss(logits_of(parameters, cells), labels)

    @jax.jit
    def step(parameters, state, cells, labels):
        value, gradient = jax.value_and_grad(loss_of)(parameters, cells, labels)
        updates, state = OPTIMIZER.update(gradient, state)
        return optax.apply_updates(parameters, updates), state, value

    return step


def train(loss, steps):
    """Train a network; return it, and the loss of each step."""
    cells, labels = make_cells(2048)
    parameters = make_parameters()
    state, step, losses = OPTIMIZER.init(parameters), make_step(loss), []
    for number in range(steps):
        chosen = np.arange(number * BATCH, (number + 1) * BATCH) % len(cells)
        parameters, state, value = step(parameters, state, cells[chosen], labels[chosen])
        losses.append(value)
    return parameters, np.array(losses)


def steps_per_second(losses, anchors=20_000, classes=80, repetitions=5):
    """Return how many losses with gradients of a large head each takes per second, in turns."""
    generator = np.random.default_rng(0)
    logits = jnp.asarray(generator.normal(-4, 2, (anchors, classes)).astype(np.float32))
    labels = jnp.asarray(generator.integers(0, classes + 1, anchors).astype(np.int32))
    functions = [jax.jit(jax.value_and_grad(partial(loss, labels=labels))) for loss in losses]
    seconds = [[] for _ in functions]
    for _ in range(repetitions + 1):
        for function, times in zip(functions, seconds, strict=True):
            start = time.perf_counter()
            jax.block_until_ready(function(logits))
            times.append(time.perf_counter() - start)
    return [1 / min(times[1:]) for times in seconds]


def draw(path, curves):
    """Draw both curves."""
    figure = Figure(figsize=(6, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(curves["optax"], "C1", lw=4, label="optax")
    axes.plot(curves["fastxent"], "C0", lw=1.2, label="fastxent.jax")
    axes.set(title="Focal loss, mean over positives", xlabel="step", yscale="log")
    axes.legend()
    figure.savefig(path, dpi=110)


def main():
    """Train with both losses, compare the curves and the speed, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--plot", type=Path, help="draw the curves into this file")
    parser.add_argument("--steps", type=int, default=400, help="how many to train")
    arguments = parser.parse_args()

    curves = {}
    parameters, curves["fastxent"] = train(fastxent_loss, arguments.steps)
    _, curves["optax"] = train(optax_loss, arguments.steps)
    first, last = curves["fastxent"][[0, -1]]
    difference = np.abs(curves["fastxent"] / curves["optax"] - 1).max()
    print(f"loss {first:.4f} at first, {last:.4f} after {arguments.steps} steps")
    print(f"with optax's loss the curve differs by at most {difference:.1e}")
    cells, labels = make_cells(64, seed=1)
    scores = np.asarray(fxj.sigmoid(logits_of(parameters, cells)))
    found = np.where(scores.max(-1) > 0.4, scores.argmax(-1), BACKGROUND)
    digits = labels != BACKGROUND
    right = (found == labels)[digits].sum()
    print(f"on other pictures: {right} of {digits.sum()} digits found")
    speeds = steps_per_second([fastxent_loss, optax_loss])
    print("20,000 anchors x 80: fastxent {:.0f} steps per second, optax {:.0f}".format(*speeds))
    if arguments.plot:
        draw(arguments.plot, curves)


if __name__ == "__main__":
    main()
