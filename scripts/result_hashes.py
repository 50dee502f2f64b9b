"""Hash the results of every function over a fixed set of inputs, to compare two builds bit by bit.

Run ``python scripts/result_hashes.py [--backend numba] [--cases] > FILE`` with each build (or with
FASTXENT_ISA=avx2 and the like) and compare the files. One line per function and dtype; with
``--cases`` one line per call, and with ``--sample N`` each N-th call alone. Inputs are made of
integers, so they have the same bits everywhere.
"""

import argparse
import hashlib
import itertools
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

import fastxent as fx
from fastxent import focal_losses, focal_star, probability_losses, quality_losses, scores
from fastxent import losses as cross_entropies

#: A call that is hashed, and its name.
Call = tuple[str, Callable[[], object]]

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
DETECTION = ("select_candidates", "hard_negatives", "ohem", "class_cost")
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


def digest(results: object) -> str:
    """Return a hash of the bits of one result or several; all NaN are one."""
    found = hashlib.blake2b(digest_size=8)
    for result in results if isinstance(results, tuple) else (results,):
        array = np.array(result)
        if array.dtype.kind not in "bi":
            array[np.isnan(array)] = np.nan
        found.update(array.tobytes())
    return found.hexdigest()


# Calls make their inputs when they are made, so that those left out of a sample cost nothing.


def call_loss(
    name: str, make_inputs: Callable[[], Inputs], option: dict[str, Any], *, return_grad: bool
) -> object:
    """Call a loss."""
    values, targets, axis = make_inputs()
    return getattr(fx, name)(values, *targets, axis=axis, return_grad=return_grad, **option)


def calls_of_loss(name: str, dtype: np.dtype) -> Iterator[Call]:
    """Yield every call of a loss, with its gradient and without."""
    least = 2 if name not in SIGMOID or name in ONLY_LABELS else 1
    for classes, layout in itertools.product(CLASSES, LAYOUTS):
        if classes < least:
            continue
        axis = 0 if layout == "class axis first" else 1
        for dense in (False, True):
            if (dense and name in ONLY_LABELS) or (not dense and classes == 1):
                continue
            for anchors, spread in ((70, 20), (3, 300)):
                arguments = {"dense": dense, "anchors": anchors, "spread": spread}
                inputs = partial(loss_inputs, name, dtype, classes, layout, **arguments)
                few = layout != "rows" or anchors == 3 or classes not in {3, 16, 21, 33, 80}
                options = common_options(name, anchors, classes, axis)
                for option in itertools.islice(options, 1 if few else None):
                    text = f"C={classes} {layout} dense={dense} {anchors} {sorted(option)}"
                    for return_grad in (False, True):
                        call = partial(call_loss, name, inputs, option, return_grad=return_grad)
                        yield f"{text} grad={return_grad}", call


def call_score(
    name: str, dtype: np.dtype, shape: tuple[int, int], layout: str, spread: int
) -> object:
    """Call a score."""
    values, axis = laid_out(values_of(name, dtype, shape, spread), layout)
    return getattr(fx, name)(values, **({"axis": axis} if name in CLASS_SCORES else {}))


def calls_of_score(name: str, dtype: np.dtype) -> Iterator[Call]:
    """Yield every call of a score."""
    for classes, layout in itertools.product(CLASSES, LAYOUTS):
        for anchors, spread in ((70, 20), (3, 300)):
            shape = anchors, classes
            call = partial(call_score, name, dtype, shape, layout, spread)
            yield f"C={classes} {layout} {anchors}", call


def call_selection(
    dtype: np.dtype, classes: int, layout: str, combine: str | None, options: dict[str, Any]
) -> tuple[np.ndarray, ...]:
    """Return the arrays of the candidates of one image."""
    source = "softmax" if options["activation"] else "logit"
    values, axis = laid_out(values_of(source, dtype, (600, classes), 4), layout)
    if combine is not None:
        objectness = values_of(source, dtype, (600, 1), 4)[:, 0]
        options = {**options, "combine": combine, "objectness": objectness}
    found = fx.select_candidates(values, batch_ndim=0, axis=axis, **options)
    return found.anchor, found.label, found.score, found.found, found.nan


def calls_of_selection(dtype: np.dtype) -> Iterator[Call]:
    """Yield every call of `select_candidates`, from logits and from scores."""
    options: tuple[dict[str, Any], ...] = (
        {},
        {"top_k": 7, "top_k_per": "class"},
        {"top_k": 50, "multi_label": False},
        {"top_k": None, "score_threshold": 0.5, "background_index": 0},
    )
    activations = ("sigmoid", "softmax", None)
    for classes, layout, activation, combine, option in itertools.product(
        CLASSES[1:], LAYOUTS, activations, (None, "product", "sqrt"), options
    ):
        arguments = {"activation": activation, **option}
        text = f"C={classes} {layout} {activation} {combine} {sorted(option)}"
        yield text, partial(call_selection, dtype, classes, layout, combine, arguments)


def call_mining(name: str, dtype: np.dtype, anchors: int, step: int, least: int) -> object:
    """Choose among the losses of two images, of which some are equal."""
    losses = values_of("softmax", dtype, (2, anchors * step), 20)[:, ::step]
    if name == "ohem":
        return fx.ohem(losses, least)
    labels = numbers(5, losses.shape, 40) % 17 % 4
    return fx.hard_negatives(losses, labels, background_index=0, ratio=0.5, min_negatives=least)


def calls_of_mining(name: str, dtype: np.dtype) -> Iterator[Call]:
    """Yield every call of `hard_negatives` or `ohem`."""
    for anchors, step, least in itertools.product(
        (1, 15, 16, 70, 300, 5000), (1, 3), (0, 1, 5, 200)
    ):
        yield f"{anchors} {step} {least}", partial(call_mining, name, dtype, anchors, step, least)


def call_cost(
    dtype: np.dtype, shape: tuple[int, int], layout: str, kind: str, spread: int
) -> object:
    """Compute the costs of one image."""
    values, axis = laid_out(values_of("softmax", dtype, shape, spread), layout)
    options: dict[str, Any] = {"kind": kind, "axis": axis, "batch_ndim": 0}
    if kind == "simota":
        options["objectness"] = values_of("softmax", dtype, (shape[0], 1), spread)[:, 0]
    return fx.class_cost(values, numbers(5, (9,), shape[1]), **options)


def calls_of_costs(dtype: np.dtype) -> Iterator[Call]:
    """Yield every call of `class_cost`."""
    kinds = ("focal", "softmax", "sigmoid", "simota")
    for classes, layout, kind, queries, spread in itertools.product(
        CLASSES[1:], LAYOUTS, kinds, (3, 70), (20, 300)
    ):
        text = f"C={classes} {layout} {kind} {queries} {spread}"
        yield text, partial(call_cost, dtype, (queries, classes), layout, kind, spread)


def calls_of(name: str, dtype: np.dtype) -> Iterator[Call]:
    """Yield every call of a function that is hashed."""
    if name in LOSSES:
        return calls_of_loss(name, dtype)
    if name in scores.__all__:
        return calls_of_score(name, dtype)
    if name == "select_candidates":
        return calls_of_selection(dtype)
    return calls_of_costs(dtype) if name == "class_cost" else calls_of_mining(name, dtype)


def main() -> None:
    """Print the hashes of functions, all by default."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="FUNCTION", help="of these (all)")
    parser.add_argument("--backend", default="native")
    parser.add_argument("--cases", action="store_true", help="print one line per call")
    parser.add_argument("--sample", type=int, default=1, metavar="N", help="each N-th call (1)")
    options = parser.parse_args()
    fx.set_backend(options.backend)
    for name in options.names or (*LOSSES, *scores.__all__, *DETECTION):
        for dtype_name, dtype in DTYPES.items():
            together = hashlib.blake2b(digest_size=8)
            for text, call in itertools.islice(calls_of(name, dtype), 0, None, options.sample):
                found = digest(call())
                together.update(found.encode())
                if options.cases:
                    print(f"{name} {dtype_name} {text}: {found}")
            print(f"{name} {dtype_name}: {together.hexdigest()}")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
