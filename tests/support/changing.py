"""Calls whose labels become invalid after they were checked.

Run as a program, ``python -m support.changing KIND BACKEND ISA``: a call that touches other memory
ends it with a fault or an AssertionError. KIND is "unchecked", for labels that are invalid from the
start and that no check looks at, or "racing", for labels that another thread changes all the time.
"""

import itertools
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np

import fastxent as fx
from fastxent import native
from support import family
from support.guard import Arena

LABEL_DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
LAYOUTS = ("rows", "class axis first", "side by side")
SENTINEL = -77.0
PAD = 16
CUSTOM = "custom"


def loss_of(name):
    """Return a function of the package, or a custom loss."""
    if name != CUSTOM:
        return family.public(name)
    return fx.custom_loss(lambda z, y: fx.math.softplus(z) - y * z)


def wrong_labels(classes, dtype):
    """Return labels that no loss takes: in the padding of a row, and far away."""
    info = np.iinfo(dtype)
    wrong = [classes + 1, classes + 5, classes + PAD - 1, classes + 2000, 2**20, 2**30, 2**31 - 1]
    wrong += [2**31, 2**32 - 1, 2**32 + classes + 5, 2**40 + classes + 5, 2**63 - 1, 2**63]
    wrong += [-1, -3, -classes, -5000, -(2**30), -(2**31), -(2**31) - 1, -(2**40), -(2**63)]
    return np.array([label for label in wrong if info.min <= label <= info.max], dtype)


def wrong_positions(classes, dtype):
    """Return positions that are not between classes."""
    wrong = [classes, classes + 5, classes + 2000, 60000, 1e30, -0.5, -3, -60000, -1e30]
    wrong += [2.0**31, 2.0**63, -(2.0**63), np.inf, -np.inf, np.nan]
    with np.errstate(over="ignore"):
        return np.array(wrong, dtype)


def targets_of(name, rng, values, dtype):
    """Return valid targets, invalid ones, and what else the loss takes."""
    classes = values.shape[1]
    good, *others = family.targets_for(name, rng, values)
    if name == "distribution_focal_loss":
        dtype = {4: "float32", 8: "float64"}.get(np.dtype(dtype).itemsize, "float16")
        return good.astype(dtype), wrong_positions(classes, dtype), others
    good = np.minimum(good, min(np.iinfo(dtype).max, classes)).astype(dtype)
    return good, wrong_labels(classes, dtype), others


@contextmanager
def no_checks():
    """Let invalid labels and positions pass."""
    find_label, find_target = native.find_invalid_label, native.find_invalid_target
    native.find_invalid_label = native.find_invalid_target = lambda *_: -1
    try:
        yield
    finally:
        native.find_invalid_label, native.find_invalid_target = find_label, find_target


def compute_unchecked(loss, arena, values, targets, options):
    """Compute with invalid labels at every other anchor, and look at what should not be written."""
    good, wrong, others = targets
    count, classes = values.shape
    padded = np.full((count, classes + PAD), SENTINEL, values.dtype)
    bad = good.copy()
    bad[::2] = np.resize(wrong, len(bad[::2]))
    expected, _ = loss(values, good, *others, **options, return_grad=True)
    for grad_out in (padded[:, :classes], arena.like(values, copy=False)):
        arrays = arena.like(values), arena.like(bad), *map(arena.like, others)
        with no_checks():
            result, _ = loss(*arrays, **options, return_grad=True, grad_out=grad_out)
        assert (padded[:, classes:] == SENTINEL).all(), (loss, options, good.dtype)
        if np.ndim(result) > 0:  # the others have their losses
            np.testing.assert_allclose(result[1::2], expected[1::2], 1e-2, 1e-2)


def options_of(name, rng, classes, arena):
    """Return what else reads at labels."""
    yield {}
    yield {"reduction": "mean", "normalizer": "positive"}
    if name == "distribution_focal_loss":
        return
    weights = arena.like(rng.random(classes).astype(np.float32))
    yield {"class_weight": weights}
    yield {"class_weight": weights, "reduction": "mean", "normalizer": "weight"}
    if name in family.PER_CLASS:
        yield {"reduction": "none"}
    if name in {"sigmoid_focal_loss", "softmax_focal_loss"}:
        yield {"alpha": arena.like(rng.random(classes))}
    if name in {"sigmoid_cross_entropy", "softmax_cross_entropy"}:
        yield {"label_smoothing": 0.1}


def run_unchecked(names, dtypes, classes, label_dtypes):
    """Compute everything that has labels or positions."""
    rng = np.random.default_rng(0)
    per_class, arena = Arena(), Arena()
    for name, dtype, count in itertools.product(names, dtypes, classes):
        loss = loss_of(name)
        per_class.renew("side by side", at_end=True)
        for options in options_of(name, rng, count, per_class):
            for label_dtype, layout in zip(label_dtypes, itertools.cycle(LAYOUTS), strict=False):
                values = family.values_for(name, rng, (37, count)).astype(dtype)
                targets = targets_of(name, rng, values, label_dtype)
                arena.renew(layout, at_end=True)
                compute_unchecked(loss, arena, values, targets, options)


@contextmanager
def changing(good, bad):
    """Yield an array that another thread changes back and forth."""
    array, is_done = good.copy(), threading.Event()

    def change():
        while not is_done.is_set():
            array[:] = bad
            array[:] = good

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield array
    finally:
        is_done.set()
        thread.join()


def run_racing(names, seconds):
    """Compute while another thread changes the labels."""
    rng = np.random.default_rng(0)
    for name, count in itertools.product(names, (4, 80)):
        loss = loss_of(name)
        values = family.values_for(name, rng, (20_000, count)).astype(np.float32)
        good, wrong, others = targets_of(name, rng, values, "int64")
        padded = np.full((len(values), count + PAD), SENTINEL, np.float32)
        weight = {} if name == "distribution_focal_loss" else {"class_weight": np.ones(count)}
        calls = [{"return_grad": True, "grad_out": padded[:, :count]} | o for o in ({}, weight)]
        short = slice(65536 // count)  # native: such calls have a check of their own
        with changing(good, np.resize(wrong, good.shape)) as labels:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                for options in calls:
                    try:
                        loss(values, labels, *others, **options)
                        loss(values[short], labels[short], *(array[short] for array in others))
                    except ValueError:  # seen by the check
                        continue
        assert (padded[:, count:] == SENTINEL).all(), name


def main(kind, backend, isa):
    """Run what the backend has."""
    fx.set_backend(backend)
    if backend == "native":
        native.set_isa(isa)
    if kind == "racing" and backend == "native":
        run_racing(family.LOSSES, 0.1)
    elif kind == "racing":
        run_racing(("sigmoid_cross_entropy", "softmax_cross_entropy"), 0.3)
    elif backend == "native":
        dtypes = ("float16", "bfloat16", "float32", "float64")
        run_unchecked(family.LOSSES, dtypes, (2, 3, 4, 21, 80, 130), LABEL_DTYPES)
    else:
        run_unchecked((*family.LOSSES, CUSTOM), ("float32",), (3, 80), ("int8", "int64"))


if __name__ == "__main__":
    main(*sys.argv[1:])
