"""Hash the results of every function and option, and compare them with those that are committed.

``python scripts/golden_hashes.py`` prints what differs from tests/backends/golden_hashes.txt, and
with ``--write`` rewrites it: a change of results is a line of the changelog. The file has a line
for each function and set of options, and a column for each precision and dtype. "fma" are the bits
of AVX2, AVX-512, NEON and Numba, "plain" those of the portable build, whose multiply-adds round
twice.

The same bits on every machine, with every version of NumPy:

- Inputs are integers, and floats that are made of integers exactly. Floats of 16 bits are made of
  their bits.
- No result depends on the C library's functions, whose last bit may be another in its next version:
  they compute, in double, anchors with infinite logits or NaN, the scored labels of
  quality_focal_loss, and where the clip of asymmetric_loss is. Rounded to float32 that bit is gone.
  Of float64 there are no such logits, and "-" is in the place of these losses.
"""

import argparse
import hashlib
import itertools
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import result_hashes
from result_hashes import (
    CLASS_SCORES,
    DETECTION,
    LOSSES,
    ON_PROBABILITIES,
    ONLY_LABELS,
    SIGMOID,
    numbers,
)

import fastxent as fx
from fastxent import native, scores

FILE = Path(__file__).parents[1] / "tests" / "backends" / "golden_hashes.txt"
DTYPES = ("float32", "float64", "float16", "bfloat16")
PRECISIONS = ("fma", "plain")
COLUMNS = tuple(itertools.product(PRECISIONS, DTYPES))
FUNCTIONS = (*LOSSES, *scores.__all__, *DETECTION)
#: Around the limits of vectors, chunks, and the choices between row and lane kernels.
CLASSES = (1, 2, 3, 7, 16, 33, 130)
#: Classes of which each option is tried: with lane kernels, and with row kernels.
FEW_CLASSES = (3, 33)
ANCHORS = 37
#: Blocks for 16 threads.
MANY_ANCHORS, SOME_CLASSES = 34_817, 21

#: Puts an array elsewhere: out of alignment, or with gaps.
Place = Callable[[np.ndarray], np.ndarray]


class Golden(NamedTuple):
    """The hashes of a function with one set of options, by column."""

    function: str
    options: str
    hashes: dict[tuple[str, str], str]


# --- where arrays lie ---------------------------------------------------------------------------


def as_made(array: np.ndarray) -> np.ndarray:
    """Leave an array where it is."""
    return array


def unaligned(array: np.ndarray) -> np.ndarray:
    """Return a copy of which no element is aligned."""
    memory = np.empty(array.nbytes + 1, np.uint8)
    copy = memory[1:].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def with_gaps(array: np.ndarray) -> np.ndarray:
    """Return a copy whose rows do not follow each other; of one dimension, its elements."""
    if array.ndim == 1:
        return np.repeat(array, 2)[::2]
    wide = np.zeros((*array.shape[:-1], array.shape[-1] + 3), array.dtype)
    wide[..., :-3] = array
    return wide[..., :-3]


# --- inputs -------------------------------------------------------------------------------------


def dtype_of(name: str) -> np.dtype:
    """Return a dtype by its name."""
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


@lru_cache(maxsize=64)
def values_of(name: str, dtype: str, shape: tuple[int, ...], spread: int) -> np.ndarray:
    """Return probabilities, or logits up to `spread`; but for float64 some are not finite."""
    is_half = dtype_of(dtype).itemsize == 2
    steps = 128 if is_half else 2048  # as many as 8 bits hold, or 12
    whole = numbers(1, shape, 2 * steps) - steps
    exact = (whole + steps) / (2 * steps) if name in ON_PROBABILITIES else whole * spread / steps
    if dtype == "bfloat16":
        values = (exact.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        values = values.view(ml_dtypes.bfloat16)
    else:
        values = exact.astype(dtype)
    if name not in ON_PROBABILITIES and dtype != "float64":
        rare = numbers(2, shape, 997)
        for number, value in enumerate((np.inf, -np.inf, np.nan, 0.0, -0.0)):
            values[rare == number] = value
    values.setflags(write=False)
    return values


def depends_on_the_c_library(name: str, dtype: str, option: dict[str, Any]) -> bool:
    """Return whether the last bit of the C library's functions is seen in results."""
    if dtype != "float64":
        return False
    is_clipped = name == "asymmetric_loss" and option.get("clip", 0.05) > 0
    return name == "quality_focal_loss" or is_clipped


# --- calls --------------------------------------------------------------------------------------


def shown(option: dict[str, Any]) -> str:
    """Return a set of options as text; of arrays only their names."""
    parts = (
        f"{key}={'array' if isinstance(value, np.ndarray) else value}"
        for key, value in option.items()
    )
    return ",".join(parts) or "default"


Call = Callable[[str, Place, int], Iterator[object]]


def loss_options(name: str) -> list[str]:
    """Return the sets of options of a loss."""
    return [shown(option) for option in result_hashes.common_options(name, 2, 2, 1)]


def results_of_loss(
    name: str, number: int, dtype: str, place: Place, threads: int
) -> Iterator[object]:
    """Yield the results of a loss with one set of options."""
    is_default = number == 0
    for classes, axis, dense in itertools.product(
        CLASSES if is_default else FEW_CLASSES, (1, 0), (False, True)
    ):
        least = 2 if name not in SIGMOID or name in ONLY_LABELS else 1
        if classes < least or (dense and name in ONLY_LABELS) or (classes == 1 and not dense):
            continue
        shape = ANCHORS, classes
        yield from call_loss(name, number, dtype, place, threads, shape, axis, dense=dense)
    option = option_of(name, number, 1, 1, 1)
    if dtype == "float32" and (is_default or "reduction" in option):
        shape = MANY_ANCHORS, SOME_CLASSES
        yield from call_loss(name, number, dtype, place, threads, shape, 1, dense=False)


def option_of(name: str, number: int, anchors: int, classes: int, axis: int) -> dict[str, Any]:
    """Return one set of options."""
    options = result_hashes.common_options(name, anchors, classes, axis)
    return next(itertools.islice(options, number, None))


def call_loss(
    name: str,
    number: int,
    dtype: str,
    place: Place,
    threads: int,
    shape: tuple[int, int],
    axis: int,
    *,
    dense: bool,
) -> Iterator[object]:
    """Call a loss alone and with its gradient."""
    values = values_of(name, dtype, shape, 20 if shape[0] == ANCHORS else 300)
    targets = result_hashes.targets_of(name, shape, dense=dense)
    if axis == 0:
        values = np.ascontiguousarray(values.T)
        targets = (np.ascontiguousarray(targets[0].T),) if dense else targets
    option = option_of(name, number, *shape, axis)
    arguments = [place(values), *map(place, targets)]
    for return_grad in (False, True):
        yield getattr(fx, name)(
            *arguments, axis=axis, return_grad=return_grad, num_threads=threads, **option
        )


def results_of_score(name: str, _: int, dtype: str, place: Place, threads: int) -> Iterator[object]:
    """Yield the results of a score."""
    shapes = [(ANCHORS, classes) for classes in CLASSES]
    if dtype == "float32":
        shapes.append((MANY_ANCHORS, SOME_CLASSES))
    for shape, axis, spread in itertools.product(shapes, (1, 0), (20, 300)):
        if shape[0] == MANY_ANCHORS and (axis == 0 or spread == 20):
            continue
        values = values_of(name, dtype, shape, spread)
        values = place(values if axis else np.ascontiguousarray(values.T))
        option = {"axis": axis} if name in CLASS_SCORES else {}
        yield getattr(fx, name)(values, num_threads=threads, **option)


def selections() -> list[dict[str, Any]]:
    """Return the sets of options of `select_candidates`."""
    options: list[dict[str, Any]] = [
        {},
        {"top_k": 7, "top_k_per": "class"},
        {"top_k": 50, "multi_label": False},
        {"top_k": None, "score_threshold": 0.5, "background_index": 0},
        {"combine": "product"},
        {"combine": "sqrt"},
    ]
    return [
        {"activation": activation, **option}
        for activation, option in itertools.product(("sigmoid", "softmax", None), options)
    ]


def results_of_selection(
    _: str, number: int, dtype: str, place: Place, threads: int
) -> Iterator[object]:
    """Yield the candidates of some images."""
    option = selections()[number]
    source = "softmax" if option["activation"] else "logit"
    for anchors, classes, axis in ((300, 3, 1), (300, 3, 0), (300, 21, 1), (9000, 33, 1)):
        if anchors == 9000 and dtype != "float32":
            continue
        values = values_of(source, dtype, (anchors, classes), 4)
        values = place(values if axis else np.ascontiguousarray(values.T))
        given = dict(option)
        if "combine" in option:
            given["objectness"] = place(values_of(source, dtype, (anchors, 1), 4)[:, 0])
        found = fx.select_candidates(values, batch_ndim=0, axis=axis, num_threads=threads, **given)
        yield found.anchor, found.label, found.score, found.found, found.nan


def results_of_mining(
    name: str, number: int, dtype: str, place: Place, threads: int
) -> Iterator[object]:
    """Yield the marks of the hardest anchors."""
    least = (0, 5, 200)[number]
    for anchors in (15, 70, 5000):
        losses = place(values_of("softmax", dtype, (3, anchors), 20))
        if name == "ohem":
            yield fx.ohem(losses, least, num_threads=threads)
            continue
        labels = place(numbers(5, losses.shape, 40) % 17 % 4)
        yield fx.hard_negatives(
            losses,
            labels,
            background_index=0,
            ratio=0.5,
            min_negatives=least,
            num_threads=threads,
        )


COSTS = ("focal", "softmax", "sigmoid", "simota")


def results_of_costs(
    _: str, number: int, dtype: str, place: Place, threads: int
) -> Iterator[object]:
    """Yield the costs of some images."""
    for queries, classes in ((37, 7), (37, 33), (700, 21)):
        values = place(values_of("softmax", dtype, (2, queries, classes), 20))
        labels = numbers(5, (2, 9), classes)
        option: dict[str, Any] = {"kind": COSTS[number], "num_threads": threads}
        if option["kind"] == "simota":
            objectness = values_of("softmax", dtype, (2, queries, 1), 20)[..., 0]
            option["objectness"] = place(np.ascontiguousarray(objectness))
        yield fx.class_cost(values, labels, **option)


def table_of(function: str) -> tuple[list[str], Callable[..., Iterator[object]]]:
    """Return the sets of options of a function, and what yields its results."""
    if function in LOSSES:
        return loss_options(function), partial(results_of_loss, function)
    if function in scores.__all__:
        return ["default"], partial(results_of_score, function)
    if function == "select_candidates":
        return list(map(shown, selections())), partial(results_of_selection, function)
    if function == "class_cost":
        return [f"kind={kind}" for kind in COSTS], partial(results_of_costs, function)
    least = "k" if function == "ohem" else "min_negatives"
    return [f"{least}={n}" for n in (0, 5, 200)], partial(results_of_mining, function)


def hash_lines(
    function: str, dtypes: tuple[str, ...] = DTYPES, place: Place = as_made, threads: int = 2
) -> dict[str, dict[str, str]]:
    """Return the hashes of a function by options and dtype, as what is selected computes them."""
    options, results = table_of(function)
    lines: dict[str, dict[str, str]] = {}
    for number, text in enumerate(options):
        lines[text] = {}
        for dtype in dtypes:
            option = option_of(function, number, 2, 2, 1) if function in LOSSES else {}
            if depends_on_the_c_library(function, dtype, option):
                lines[text][dtype] = "-"
                continue
            together = hashlib.blake2b(digest_size=4)
            for result in results(number, dtype, place, threads):
                together.update(result_hashes.digest(result).encode())
            lines[text][dtype] = together.hexdigest()
    return lines


# --- the file -----------------------------------------------------------------------------------


def read_file() -> dict[str, dict[str, dict[tuple[str, str], str]]]:
    """Return the hashes that are committed, by function, options and column."""
    found: dict[str, dict[str, dict[tuple[str, str], str]]] = {}
    for line in FILE.read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        function, options, *hashes = line.split()
        found.setdefault(function, {})[options] = dict(zip(COLUMNS, hashes, strict=True))
    return found


def precision_of_isa() -> str:
    """Return the column of the instruction set in use."""
    return "plain" if native.get_isa() == "baseline" else "fma"


def hash_all(functions: tuple[str, ...], dtypes: tuple[str, ...]) -> Iterator[Golden]:
    """Yield the hashes of functions, of both precisions where there are kernels of both."""
    available = native.available_isas()
    isas = {"fma": available[0], "plain": "baseline"}
    if available[0] == "baseline":
        raise SystemExit("the CPU has no fused multiply-add, so one half would be missing")
    for function in functions:
        found: dict[str, dict[tuple[str, str], str]] = {}
        for precision, isa in isas.items():
            native.set_isa(isa)
            for options, hashes in hash_lines(function, dtypes).items():
                row = found.setdefault(options, {})
                row.update({(precision, dtype): value for dtype, value in hashes.items()})
        for options, row in found.items():
            yield Golden(function, options, row)


def main() -> None:
    """Compare the hashes with the file, or write it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("functions", nargs="*", help="of these (all)")
    parser.add_argument("--write", action="store_true", help="rewrite their lines in the file")
    parser.add_argument("--dtypes", default=",".join(DTYPES), help="of these (all of %(default)s)")
    options = parser.parse_args()
    dtypes = tuple(options.dtypes.split(","))
    if options.write and dtypes != DTYPES:
        parser.error("--write is for all dtypes")
    committed = read_file() if FILE.exists() else {}
    has_others = False
    found: dict[str, dict[str, dict[tuple[str, str], str]]] = {}
    for golden in hash_all(tuple(options.functions) or FUNCTIONS, dtypes):
        found.setdefault(golden.function, {})[golden.options] = golden.hashes
        before = committed.get(golden.function, {}).get(golden.options, {})
        others = [column for column in golden.hashes if before.get(column) != golden.hashes[column]]
        if others:
            has_others = True
            columns = " ".join(map("-".join, others))
            print(f"{golden.function} {golden.options}: other bits of {columns}")
    if options.write:
        head = "# Hashes of results: scripts/golden_hashes.py says how, and rewrites them.\n"
        head += "# function options " + " ".join("-".join(column) for column in COLUMNS) + "\n"
        lines = [
            " ".join((function, text, *(row[column] for column in COLUMNS))) + "\n"
            for function in FUNCTIONS
            for text, row in (committed | found)[function].items()
        ]
        FILE.write_text(head + "".join(lines), "utf-8")
    elif has_others:
        sys.exit(1)


if __name__ == "__main__":
    main()
