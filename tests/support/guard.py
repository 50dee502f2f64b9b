"""Arrays whose rows lie between unmapped pages, and calls of everything on them.

Run as a program, ``python -m support.guard BACKEND ISA FILE``: what touches these pages ends it
with a fault, and FILE has the last call. With FASTXENT_GUARD=all it takes every number of classes
up to 130, and of Numba's kernels all.
"""

import ctypes
import itertools
import mmap
import os
import sys
from typing import NamedTuple

import ml_dtypes
import numpy as np

import fastxent as fx
from fastxent import native
from support import family

PAGE = mmap.PAGESIZE
#: Pages that can be used lie between pages that cannot: rows of arrays, and whole arrays.
SPREAD = 2 * PAGE
MOST_ROWS = 140
BLOCK_PAGES = 12

DTYPES = ("float16", "bfloat16", "float32", "float64")
#: Around every switch between kernels: single, few, chunks, vectors, rows, products of 112 factors.
TAKES_ALL = os.environ.get("FASTXENT_GUARD") == "all"
CLASSES = (*range(1, 34), 47, 48, 49, 63, 64, 65, 79, 80, 81, 91, 111, 112, 113, 127, 128, 129)
if TAKES_ALL:
    CLASSES = tuple(range(1, 131))
ANCHORS = (1, 2, 3, 7, 8, 9, 15, 16, 17, 23, 31, 33, 40)
SCORES = (
    *("sigmoid", "log_sigmoid", "softplus", "logit", "odds"),
    *("softmax", "log_softmax", "logsumexp"),
)


class Pages:
    """Memory of one array at a time, in which every other page, or all around it, is unmapped."""

    def __init__(self, *, spread):
        self.spread = spread
        pages = 2 * MOST_ROWS + 2 if spread else BLOCK_PAGES + 2
        self.memory = mmap.mmap(-1, pages * PAGE)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        for page in range(0, pages, 2) if spread else (0, pages - 1):
            self._forbid(page)

    def _forbid(self, page):
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        if protect(self.address + page * PAGE, PAGE, 0) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")

    def array(self, shape, dtype, *, at_end, step=1):
        """Return an array whose rows (or as a whole) end, or begin, where a page does.

        Elements of a row are `step` elements apart. One-dimensional arrays of spread memory have a
        page for each element.
        """
        dtype = np.dtype(dtype)
        rows = shape[0] if self.spread else 1
        width = int(np.prod(shape[1:] if self.spread else shape))
        row = dtype.itemsize * ((width - 1) * step + 1)
        room = PAGE if self.spread else BLOCK_PAGES * PAGE
        assert row <= room
        assert rows <= MOST_ROWS
        start = PAGE + (room - row if at_end else 0)
        if self.spread:
            strides = (SPREAD, *(step * stride for stride in np.empty(shape, dtype).strides[1:]))
        else:
            strides = np.empty(shape, dtype).strides
        return np.ndarray(shape, dtype, self.memory, start, strides)


LAYOUTS = (
    "rows",
    "rows of every third",
    "rows from the last",
    "rows by threes",
    "class axis first",
    "side by side",
)


class Arena:
    """Guarded copies of the arrays of one call."""

    def __init__(self):
        self.pages = {}
        self.used = itertools.count()

    def renew(self, layout, *, at_end):
        """Begin another call."""
        self.layout, self.at_end = layout, at_end
        self.used = itertools.count()

    def like(self, array, *, copy=True):
        """Return a guarded array of an array's shape, or of its values too."""
        array = np.asarray(array)
        spread = self.layout != "side by side"
        turned = self.layout == "class axis first" and array.ndim == 2
        place = spread, next(self.used)
        if place not in self.pages:
            self.pages[place] = Pages(spread=spread)
        shape = array.shape[::-1] if turned else array.shape
        step = 3 if self.layout == "rows of every third" else 1
        guarded = self.pages[place].array(shape, array.dtype, at_end=self.at_end, step=step)
        guarded = guarded.T if turned else guarded
        guarded = guarded[::-1] if self.layout == "rows from the last" else guarded
        if copy:
            guarded[...] = array
        return guarded


class Call(NamedTuple):
    """A function's name and arguments."""

    name: str
    values: np.ndarray
    targets: tuple[np.ndarray, ...]
    options: dict[str, object]

    def __str__(self):
        kinds = [str(target.dtype) for target in self.targets]
        return f"{self.name} {self.values.shape} {self.values.dtype} {kinds} {list(self.options)}"

    def by_threes(self):
        """Return a call with three anchors in place of each: runs of three, side by side."""
        options = dict(self.options)
        for key in {"weight", "grad_output"} & options.keys():
            options[key] = np.repeat(options[key][:, None], 3, 1)
        values, *targets = (np.repeat(a[:, None], 3, 1) for a in (self.values, *self.targets))
        return Call(self.name, values, tuple(targets), options)

    def check(self, arena):
        """Compare the call on guarded arrays with the same on ordinary ones."""
        function = family.public(self.name)
        expected = function(self.values, *self.targets, **self.options)
        expected = expected if isinstance(expected, tuple) else (expected,)
        options = {k: self._guarded(arena, option) for k, option in self.options.items()}
        for key, array in zip(("out", "grad_out"), expected, strict=False):
            if np.ndim(array) > 0:
                options[key] = arena.like(array, copy=False)
        result = function(*map(arena.like, (self.values, *self.targets)), **options)
        result = result if isinstance(result, tuple) else (result,)
        for ours, theirs in zip(result, expected, strict=True):
            self._compare(np.asarray(ours), np.asarray(theirs))

    @staticmethod
    def _guarded(arena, option):
        return arena.like(option) if isinstance(option, np.ndarray) else option

    def _compare(self, ours, theirs):
        rtol = 1e-12 if self.values.dtype == np.float64 else {2: 1e-2}.get(ours.itemsize, 1e-5)
        ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
        np.testing.assert_allclose(ours, theirs, rtol, rtol * np.abs(theirs).max(initial=1e-30))


def options_of(name, rng, values):
    """Return some of the arguments that lead to other kernels, or to other parts of them."""
    (count, classes), kind = values.shape, rng.integers(8)
    options = {"return_grad": True} if rng.random() < 0.5 else {}
    if kind == 1 and name != "distribution_focal_loss":
        options |= {"weight": rng.random(count), "class_weight": rng.random(classes)}
    if kind == 2 and name in family.PER_CLASS:
        options |= {"weight": rng.random(values.shape).astype(values.dtype), "reduction": "none"}
    if kind == 3 and name in {"sigmoid_cross_entropy", "softmax_cross_entropy"}:
        options |= {"label_smoothing": 0.1}
    if kind == 4:
        options |= {"reduction": "mean"}
    if kind == 5 and name in {"sigmoid_focal_loss", "softmax_focal_loss"}:
        options |= {"gamma": 1.3, "alpha": rng.random(classes)}
    if kind == 6:
        options |= {"return_grad": True, "grad_output": rng.random(count)}
    if kind == 7 and name in family.PER_CLASS:
        factors = rng.random(values.shape).astype(values.dtype)
        options |= {"return_grad": True, "grad_output": factors, "reduction": "none"}
    return options


def targets_of(name, rng, values):
    """Return targets of any format and dtype."""
    dense = name in family.WITH_DENSE and (values.shape[1] == 1 or rng.random() < 0.4)
    targets, *others = family.targets_for(name, rng, values, dense=dense)
    if dense:
        kind = str(rng.choice(("float32", "float64", "float16", "bfloat16", "uint8", "bool")))
        soft = ml_dtypes.bfloat16 if kind == "bfloat16" else kind
        return ((targets if "float" in kind else targets > 0.5).astype(soft),)
    if name == "distribution_focal_loss":
        return (targets.astype(rng.choice(("float32", "float64", "float16"))),)
    kinds = ["uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
    return (targets.astype(rng.choice(kinds + ["int8"] * (values.shape[1] < 127))), *others)


def calls(rng, losses, scores, dtypes, classes):
    """Yield calls of losses and scores."""
    for count, dtype, name in itertools.product(classes, dtypes, losses):
        if count > 1 or name in family.WITH_DENSE:
            values = family.values_for(name, rng, (int(rng.choice(ANCHORS)), count)).astype(dtype)
            options = options_of(name, rng, values)
            targets = targets_of(name, rng, values)
            if targets[0].shape == values.shape and targets[0].dtype.kind in "fV":
                missing = rng.random(values.shape if name in family.PER_CLASS else len(values))
                targets[0][missing < 0.1] = -1
                options["ignore_index"] = -1
            yield Call(name, values, targets, options)
    for count, dtype, name in itertools.product(classes, dtypes, scores):
        values = rng.uniform(0.1, 0.9, (int(rng.choice(ANCHORS)), count)).astype(dtype)
        yield Call(name, values, (), {})


def main(backend, isa, path, seed="0"):
    """Run everything that the backend has, on every layout."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT)
    rng, arena = np.random.default_rng(int(seed)), Arena()
    fx.set_backend(backend)
    fx.set_num_threads(1)
    if backend == "native":
        native.set_isa(isa)
        chosen = calls(rng, family.LOSSES, SCORES, DTYPES, CLASSES)
    elif TAKES_ALL:
        chosen = calls(rng, family.LOSSES, SCORES, DTYPES, CLASSES)
    else:  # what is compiled takes time
        losses = ("sigmoid_cross_entropy", "softmax_cross_entropy", "categorical_cross_entropy")
        scores = ("sigmoid", "softmax", "logsumexp")
        chosen = calls(rng, losses, scores, ("float32", "bfloat16"), (2, 3, 5, 9, 17, 33))
    count = 0
    for call in chosen:
        for layout, at_end in itertools.product(LAYOUTS, (True, False)):
            count += 1
            os.pwrite(log, f"{call} {layout} {at_end}".ljust(400).encode(), 0)
            arena.renew(layout, at_end=at_end)
            (call.by_threes() if layout == "rows by threes" else call).check(arena)
    print(f"{backend} {isa}: {count} calls between unmapped pages")


if __name__ == "__main__":
    main(*sys.argv[1:])
