"""Hash the results of every function over a fixed set of inputs, to compare two builds bit by bit.

Run ``python scripts/result_hashes.py [--backend numba] [--cases] > FILE`` with each build (or with
FASTXENT_ISA=avx2 and the like) and compare the files. One line per function and dtype; with
``--cases`` one line per call. Inputs are made of integers, so they have the same bits everywhere.
"""

import hashlib
import itertools
import sys
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

import ml_dtypes
import numpy as np
import typer

import fastxent as fx
from fastxent import focal_losses, focal_star, probability_losses, quality_losses, scores
from fastxent import losses as cross_entropies

SIGMOID = (
    "sigmoid_cross_entropy",
    "sigmoid_focal_loss",
    "quality_focal_loss",
    "varifocal_loss",
    "asymmetric_loss",
    "binary_cross_entropy",
)
LOSSES = tuple(
    name
    for module in (cross_entropies, focal_losses, focal_star, quality_losses, probability_losses)
    for name in module.__all__
)
CLASS_SCORES = ("softmax", "log_softmax", "logsumexp")
ON_PROBABILITIES = ("binary_cross_entropy", "categorical_cross_entropy", "logit", "odds")
ONLY_LABELS = ("quality_focal_loss", "distribution_focal_loss")
DTYPES = {
    "float32": np.dtype("f4"),
    "float64": np.dtype("f8"),
    "float16": np.dtype("f2"),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
#: Around the limits of vectors, chunks and the choices between row and lane kernels.
CLASSES = (1, 2, 3, 4, 5, 7, 8, 13, 16, 17, 21, 23, 24, 31, 32, 33, 80, 91, 112, 113, 130, 1030)
LAYOUTS = ("rows", "columns", "part of the columns", "class axis first")
#: Every option that is a number or an array per class; each is tried alone.
OPTIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "sigmoid_cross_entropy": ({"label_smoothing": 0.1}, {"pos_weight": 2.5}),
    "softmax_cross_entropy": ({"label_smoothing": 0.1},),
    "sigmoid_focal_loss": ({"gamma": 1.5}, {"gamma": 0.0, "alpha": None}, {"gamma": 3.0}),
    "sigmoid_focal_loss_star": ({"beta": 0.5}, {"gamma": 0.3, "alpha": 0.25}),
    "softmax_focal_loss": ({"gamma": 1.5}, {"gamma": 0.5, "alpha": 0.25}),
    "quality_focal_loss": ({"beta": 1.5},),
    "varifocal_loss": ({"gamma": 1.5}, {"iou_weighted": False}),
    "asymmetric_loss": ({"clip": 0.0}, {"gamma_neg": 2.0, "gamma_pos": 0.0}),
    "poly1_cross_entropy": ({"epsilon": -0.5},),
    "distribution_focal_loss": ({"return_expectation": True},),
    "binary_cross_entropy": ({"eps": 1e-3},),
    "categorical_cross_entropy": ({"eps": 1e-3},),
}


class Inputs(NamedTuple):
    """The arrays of one call."""

    values: np.ndarray
    targets: tuple[np.ndarray, ...]
    axis: int


def numbers(seed: int, shape: tuple[int, ...], below: int) -> np.ndarray:
    """Return integers in [0, below) that are the same with every version of NumPy."""
    state = np.arange(int(np.prod(shape)), dtype=np.uint64) + np.uint64(seed << 32)
    for multiplier in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB):  # of splitmix64
        state = (state ^ (state >> np.uint64(29))) * np.uint64(multiplier)
    return ((state >> np.uint64(33)) % np.uint64(below)).astype(np.int64).reshape(shape)


def laid_out(values: np.ndarray, layout: str) -> tuple[np.ndarray, int]:
    """Return (anchors, classes) values in another layout, and their class axis."""
    if layout == "rows":
        return values, 1
    if layout == "columns":
        return np.asfortranarray(values), 1
    if layout == "part of the columns":
        wide = np.zeros((len(values), values.shape[1] + 5), values.dtype)
        wide[:, 5:] = values
        return wide[:, 5:], 1
    return np.ascontiguousarray(values.T), 0


def values_of(name: str, dtype: np.dtype, shape: tuple[int, int], spread: int) -> np.ndarray:
    """Return logits up to `spread`, some of them infinite or NaN; or probabilities."""
    steps = numbers(1, shape, 4096)
    if name in ON_PROBABILITIES:
        return ((steps + 0.5) / 4096).astype(dtype)
    values = ((steps - 2048) / 2048 * spread).astype(dtype)
    rare = numbers(2, shape, 997)
    for number, value in enumerate((np.inf, -np.inf, np.nan, 0.0, -0.0)):
        values[rare == number] = value
    return values


def targets_of(name: str, shape: tuple[int, int], *, dense: bool) -> tuple[np.ndarray, ...]:
    """Return what follows the values of a loss, the classes last."""
    anchors, classes = shape
    if name == "distribution_focal_loss":
        return (numbers(3, (anchors,), 64 * (classes - 1)) / 64,)
    if dense:
        soft = numbers(4, shape, 17)
        return (np.where(soft > 8, 0, soft / 8).astype(np.float32),)
    labels = numbers(5, (anchors,), classes + (name in SIGMOID))
    labels[numbers(6, (anchors,), 13) == 0] = -100
    if name == "quality_focal_loss":
        return labels, (numbers(7, (anchors,), 65) / 64).astype(np.float32)
    return (labels,)


def loss_inputs(
    name: str, dtype: np.dtype, classes: int, layout: str, *, dense: bool, anchors: int, spread: int
) -> Inputs:
    """Return the arguments of a loss."""
    shape = anchors, classes
    values, axis = laid_out(values_of(name, dtype, shape, spread), layout)
    targets = targets_of(name, shape, dense=dense)
    if dense:
        targets = (laid_out(targets[0], layout)[0],)
    return Inputs(values, targets, axis)


def common_options(name: str, anchors: int, classes: int, axis: int) -> Iterator[dict[str, Any]]:
    """Yield options that most losses take, each alone; some are not for all losses."""
    yield {}
    yield from OPTIONS[name]
    per_anchor = numbers(8, (anchors,), 9) / 4
    yield {"weight": per_anchor}
    yield {"weight": 0.75, "reduction": "sum"}
    yield {"reduction": "mean", "normalizer": "positive"}
    yield {"reduction": "mean", "normalizer": "weight", "weight": per_anchor}
    if name == "distribution_focal_loss":
        return
    per_class = (numbers(9, (classes,), 9) + 1) / 4
    yield {"class_weight": per_class}
    yield {"class_weight": per_class, "reduction": "mean", "normalizer": "weight"}
    if name in SIGMOID:
        yield {"reduction": "none"}
        per_logit = numbers(10, (anchors, classes), 5) / 4
        yield {"weight": per_logit if axis == 1 else per_logit.T, "reduction": "none"}


def loss_calls(name: str, dtype: np.dtype) -> Iterator[tuple[str, Inputs, dict[str, Any]]]:
    """Yield every call of a loss that is hashed, with a name."""
    least = 2 if name not in SIGMOID or name in ONLY_LABELS else 1
    for classes, layout in itertools.product(CLASSES, LAYOUTS):
        if classes < least:
            continue
        for dense in (False, True):
            if (dense and name in ONLY_LABELS) or (not dense and classes == 1):
                continue
            for anchors, spread in ((70, 20), (3, 300)):
                inputs = loss_inputs(
                    name, dtype, classes, layout, dense=dense, anchors=anchors, spread=spread
                )
                few = layout != "rows" or anchors == 3 or classes not in {3, 16, 21, 33, 80}
                options = common_options(name, anchors, classes, inputs.axis)
                for option in itertools.islice(options, 1 if few else None):
                    text = f"C={classes} {layout} dense={dense} {anchors} {sorted(option)}"
                    yield text, inputs, option


def digest(results: object) -> str:
    """Return a hash of the bits of one result or several; all NaN are one."""
    found = hashlib.blake2b(digest_size=8)
    for result in results if isinstance(results, tuple) else (results,):
        array = np.array(result)
        array[np.isnan(array)] = np.nan
        found.update(array.tobytes())
    return found.hexdigest()


def hash_loss(name: str, dtype: np.dtype) -> Iterator[tuple[str, str]]:
    """Yield the name and the hash of every call of a loss, with its gradient and without."""
    function = getattr(fx, name)
    for text, inputs, option in loss_calls(name, dtype):
        for return_grad in (False, True):
            result = function(
                inputs.values, *inputs.targets, axis=inputs.axis, return_grad=return_grad, **option
            )
            yield f"{text} grad={return_grad}", digest(result)


def hash_score(name: str, dtype: np.dtype) -> Iterator[tuple[str, str]]:
    """Yield the name and the hash of every call of a score."""
    function = getattr(fx, name)
    for classes, layout in itertools.product(CLASSES, LAYOUTS):
        for anchors, spread in ((70, 20), (3, 300)):
            values = values_of(name, dtype, (anchors, classes), spread)
            values, axis = laid_out(values, layout)
            options = {"axis": axis} if name in CLASS_SCORES else {}
            yield f"C={classes} {layout} {anchors}", digest(function(values, **options))


def main(
    names: Annotated[list[str] | None, typer.Argument()] = None,
    backend: str = "native",
    cases: Annotated[bool, typer.Option("--cases")] = False,
) -> None:
    """Print the hashes of functions, all by default."""
    fx.set_backend(backend)
    for name in names or (*LOSSES, *scores.__all__):
        for dtype_name, dtype in DTYPES.items():
            hashes = (hash_loss if name in LOSSES else hash_score)(name, dtype)
            together = hashlib.blake2b(digest_size=8)
            for text, found in hashes:
                together.update(found.encode())
                if cases:
                    print(f"{name} {dtype_name} {text}: {found}")
            print(f"{name} {dtype_name}: {together.hexdigest()}")
        sys.stdout.flush()


if __name__ == "__main__":
    typer.run(main)
