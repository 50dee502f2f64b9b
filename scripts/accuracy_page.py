"""Measure errors of fastxent and of other libraries on the same inputs; write docs/accuracy.md.

Run ``python scripts/accuracy_page.py``. Inputs are float32, the exact results those of the float64
formulas (backend "numpy"), whose own errors the tests hold against mpmath. A figure is the largest
relative error in ULP (2^-23), or what went wrong. A library that is not installed is left out.
"""

import os
import re
from collections.abc import Callable, Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "torch")

import largest_errors

import fastxent as fx
from fastxent import _catalogue as catalogue

PAGE = Path(__file__).parents[1] / "docs" / "accuracy.md"
#: Logits for each number of classes and distribution, where only ours is measured.
OURS = 200_000
MARKERS = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- /\2 -->)", re.DOTALL)
ANCHORS, CLASSES = 20_000, 10
#: Below it float32 has fewer digits.
SMALLEST = 1e-36

Array = np.ndarray
Rows = dict[str, dict[str, Callable[[Array, Array], Array]]]


def inputs(rng: np.random.Generator) -> Iterator[tuple[str, Array, Array]]:
    """Yield names, logits and labels: a head at work, tiny losses, extremes."""
    usual = rng.normal(0, 3, (ANCHORS, CLASSES)).astype(np.float32)
    yield "usual", usual, rng.integers(0, CLASSES, ANCHORS)
    sure = rng.normal(-12, 4, (ANCHORS, CLASSES)).astype(np.float32)
    labels = rng.integers(0, CLASSES, ANCHORS)
    sure[np.arange(ANCHORS), labels] = rng.uniform(5, 25, ANCHORS)
    yield "tiny losses", sure, labels
    extreme = rng.uniform(-80, 80, (ANCHORS, CLASSES)).astype(np.float32)
    yield "extremes", extreme, rng.integers(0, CLASSES, ANCHORS)


def one_hot(labels: Array) -> Array:
    """Return dense targets."""
    return np.eye(CLASSES, dtype=np.float32)[labels]


def of_fastxent() -> Rows:
    """Return our functions by the name of their row."""
    losses = {
        "sigmoid cross-entropy": fx.sigmoid_cross_entropy,
        "sigmoid focal loss": fx.sigmoid_focal_loss,
        "softmax cross-entropy": fx.softmax_cross_entropy,
    }
    rows: Rows = {name: {"fastxent": function} for name, function in losses.items()}
    for name, function in losses.items():
        rows[f"{name}, gradient"] = {
            "fastxent": lambda z, y, function=function: function(z, y, return_grad=True)[1]
        }
    for score in (fx.sigmoid, fx.log_sigmoid, fx.softplus, fx.softmax, fx.log_softmax):
        rows[score.__name__] = {"fastxent": lambda z, _, score=score: score(z)}
    rows["logsumexp"] = {"fastxent": lambda z, _: fx.logsumexp(z)}
    return rows


def add_torch(rows: Rows) -> None:
    """Add torch's functions, and torchvision's formula of the focal loss."""
    import torch
    from torch.nn import functional

    def bce(z: torch.Tensor, y: Array) -> torch.Tensor:
        targets = torch.from_numpy(one_hot(y))
        return functional.binary_cross_entropy_with_logits(z, targets, reduction="none").sum(1)

    def cross_entropy(z: torch.Tensor, y: Array) -> torch.Tensor:
        return functional.cross_entropy(z, torch.from_numpy(y), reduction="none")

    def focal(z: torch.Tensor, y: Array) -> torch.Tensor:
        d, p = torch.from_numpy(one_hot(y)), z.sigmoid()
        loss = functional.binary_cross_entropy_with_logits(z, d, reduction="none")
        wrong = 1 - (p * d + (1 - p) * (1 - d))
        return ((0.25 * d + 0.75 * (1 - d)) * wrong**2 * loss).sum(1)

    def gradient(loss: Callable) -> Callable[[Array, Array], Array]:
        def compute(z: Array, y: Array) -> Array:
            leaf = torch.from_numpy(z).requires_grad_()
            loss(leaf, y).sum().backward()
            return leaf.grad.numpy()

        return compute

    for name, loss in (
        ("sigmoid cross-entropy", bce),
        ("sigmoid focal loss", focal),
        ("softmax cross-entropy", cross_entropy),
    ):
        rows[name]["torch"] = lambda z, y, loss=loss: loss(torch.from_numpy(z), y).numpy()
        rows[f"{name}, gradient"]["torch"] = gradient(loss)
    scores = {
        "sigmoid": torch.sigmoid,
        "log_sigmoid": functional.logsigmoid,
        "softplus": functional.softplus,
        "softmax": lambda z: z.softmax(1),
        "log_softmax": lambda z: z.log_softmax(1),
        "logsumexp": lambda z: z.logsumexp(1),
    }
    for name, score in scores.items():
        rows[name]["torch"] = lambda z, _, score=score: score(torch.from_numpy(z)).numpy()


def add_jax(rows: Rows) -> None:
    """Add JAX's and Optax's functions."""
    import jax
    import optax

    losses = {
        "sigmoid cross-entropy": lambda z, y: optax.sigmoid_binary_cross_entropy(z, y).sum(1),
        "sigmoid focal loss": lambda z, y: optax.losses.sigmoid_focal_loss(
            z, y, alpha=0.25, gamma=2.0
        ).sum(1),
        "softmax cross-entropy": optax.softmax_cross_entropy,
    }
    for name, loss in losses.items():
        rows[name]["JAX, Optax"] = lambda z, y, loss=loss: np.asarray(loss(z, one_hot(y)))
        slope = jax.grad(lambda z, y, loss=loss: loss(z, y).sum())
        rows[f"{name}, gradient"]["JAX, Optax"] = lambda z, y, slope=slope: np.asarray(
            slope(z, one_hot(y))
        )
    scores = {
        "sigmoid": jax.nn.sigmoid,
        "log_sigmoid": jax.nn.log_sigmoid,
        "softplus": jax.nn.softplus,
        "softmax": jax.nn.softmax,
        "log_softmax": jax.nn.log_softmax,
        "logsumexp": lambda z: jax.nn.logsumexp(z, axis=1),
    }
    for name, score in scores.items():
        rows[name]["JAX, Optax"] = lambda z, _, score=score: np.asarray(score(z))


def add_sklearn(rows: Rows) -> None:
    """Add the multinomial loss of scikit-learn's gradient boosting."""
    from sklearn._loss import HalfMultinomialLoss

    half = HalfMultinomialLoss(n_classes=CLASSES)
    for at, name in enumerate(("softmax cross-entropy", "softmax cross-entropy, gradient")):
        rows[name]["scikit-learn"] = lambda z, y, at=at: half.loss_gradient(
            y.astype(np.float32), z
        )[at]


def add_scipy(rows: Rows) -> None:
    """Add SciPy's special functions."""
    from scipy import special

    scores = {
        "sigmoid": special.expit,
        "log_sigmoid": special.log_expit,
        "softplus": special.softplus,
        "softmax": lambda z: special.softmax(z, axis=1),
        "log_softmax": lambda z: special.log_softmax(z, axis=1),
        "logsumexp": lambda z: special.logsumexp(z, axis=1),
    }
    for name, score in scores.items():
        rows[name]["SciPy"] = lambda z, _, score=score: score(z)


def add_keras(rows: Rows) -> None:
    """Add Keras's losses from logits."""
    import keras

    def numpy(values: object) -> Array:
        return keras.ops.convert_to_numpy(values)

    losses = keras.losses
    rows["sigmoid cross-entropy"]["Keras"] = lambda z, y: (
        numpy(losses.binary_crossentropy(one_hot(y), z, from_logits=True)) * CLASSES
    )
    rows["sigmoid focal loss"]["Keras"] = lambda z, y: (
        CLASSES
        * numpy(
            losses.binary_focal_crossentropy(
                one_hot(y), z, from_logits=True, apply_class_balancing=True
            )
        )
    )
    rows["softmax cross-entropy"]["Keras"] = lambda z, y: numpy(
        losses.categorical_crossentropy(one_hot(y), z, from_logits=True)
    )


LIBRARIES = {
    "torch": ("torch", add_torch),
    "JAX, Optax": ("optax", add_jax),
    "scikit-learn": ("sklearn", add_sklearn),
    "SciPy": ("scipy", add_scipy),
    "Keras": ("keras", add_keras),
}
DISTRIBUTIONS = {"torch": ["torch"], "JAX, Optax": ["jax", "optax"], "SciPy": ["scipy"]} | {
    "scikit-learn": ["scikit-learn"],
    "Keras": ["keras"],
}


def describe_error(result: Array, exact: Array) -> str:
    """Return the largest relative error in ULP, or what is worse than any."""
    result, exact = result.astype(np.float64), exact.astype(np.float64)
    if not np.isfinite(result).all():
        return f"{100 * np.mean(~np.isfinite(result)):.0f}\N{NO-BREAK SPACE}% not finite"
    size = np.abs(exact)
    large = size > SMALLEST
    error = np.abs(result - exact)[large] / size[large]
    worst = float(error.max(initial=0))
    if worst >= 0.999:
        return f"all digits ({100 * np.mean(error > 0.999):.2g}\N{NO-BREAK SPACE}%)"
    ulp = worst * 2**23
    return f"{ulp:.1f}" if ulp < 100 else f"{ulp:,.0f}"


def bounds_table(rng: np.random.Generator) -> str:
    """Return what is promised of each function, and the largest error that was found."""
    lines = ["### Every function", "", "| | bound | found | gradient: bound | found |"]
    lines.append("|---|--:|--:|--:|--:|")
    for name in largest_errors.SCORES + largest_errors.LOSSES:
        loss, grad = 0.0, 0.0
        for classes in largest_errors.CLASSES[name not in catalogue.SCORES :]:
            for mean, deviation in largest_errors.LOGITS:
                shape = OURS // classes, classes
                logits = rng.normal(mean, deviation, shape).astype(np.float32)
                errors = largest_errors.errors_of(name, logits, rng)
                loss, grad = max(loss, errors[0]), max(grad, errors[1])
        if name in catalogue.SCORES:
            lines.append(f"| {name} | {catalogue.SCORES[name].bound} | {loss:.1f} | | |")
            continue
        row = catalogue.LOSSES[name]
        of_loss, of_gradient = row.bounds.of(row.gamma)
        lines.append(f"| {name} | {of_loss:g} | {loss:.1f} | {of_gradient:g} | {grad:.1f} |")
    return "\n".join(lines)


def tables(rng: np.random.Generator) -> Iterator[str]:
    """Yield a table for each kind of input."""
    rows = of_fastxent()
    found = [name for name, (package, _) in LIBRARIES.items() if find_spec(package)]
    for name in found:
        LIBRARIES[name][1](rows)
    columns = ["fastxent", *found]
    for title, z, y in inputs(rng):
        lines = [f"### {title.capitalize()}", "", f"| | {' | '.join(columns)} |"]
        lines.append("|---|" + "--:|" * len(columns))
        for row, functions in rows.items():
            with fx.backend("numpy"):
                exact = functions["fastxent"](z.astype(np.float64), y)
            cells = [
                describe_error(functions[name](z, y), exact) if name in functions else ""
                for name in columns
            ]
            lines.append(f"| {row} | {' | '.join(cells)} |")
        yield "\n".join(lines)
    names = [each for name in found for each in DISTRIBUTIONS[name]]
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    yield f"Measured with fastxent {fx.__version__} ({fx.show_config().isa}), {versions}."


def main() -> None:
    """Write the tables between the markers of the page."""
    rng = np.random.default_rng(0)
    text = "\n\n".join([*tables(rng), bounds_table(rng)])
    page = PAGE.read_text("utf-8")
    written, count = MARKERS.subn(lambda match: f"{match[1]}\n{text}\n\n{match[3]}", page)
    if count != 1:
        raise SystemExit(f"{PAGE} has {count} pairs of markers")
    PAGE.write_text(written, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
