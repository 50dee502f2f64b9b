"""Mining and matching on arrays whose rows lie between unmapped pages.

Run as a program, ``python -m support.guard_detection BACKEND ISA FILE``, as `support.guard` is.
"""

import itertools
import os
import sys

import numpy as np

import fastxent as fx
from fastxent import native
from support.guard import DTYPES, LAYOUTS, TAKES_ALL, Arena
from support.oracles import dtype_named

LABELS = ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
#: Around vectors, and those of which a sample is taken.
ANCHORS = (1, 7, 8, 15, 16, 17, 31, 33, 100, 170)
MANY_ANCHORS = (1024, 1500, 3000)
CLASSES = (1, 2, 3, 4, 5, 8, 15, 16, 17, 31, 33, 80, 81)
QUERIES = (1, 15, 16, 17, 33, 65, 130)


def compare(call, *arrays, arena):
    expected = call(*arrays)
    for ours, theirs in zip(call(*map(arena.like, arrays)), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def mine(rng, arena):
    """Choose among losses of any kind, with labels of any kind."""
    many = arena.layout == "side by side"
    anchors = int(rng.choice(MANY_ANCHORS if many else ANCHORS))
    losses = rng.integers(0, 99, (2, anchors)).astype(dtype_named(rng.choice(DTYPES[:3])))
    labels = (rng.random(losses.shape) < 0.05).astype(rng.choice(LABELS))
    options = {} if labels.dtype == bool else {"background_index": 0}
    compare(lambda x, y: fx.hard_negatives(x, y, **options), losses, labels, arena=arena)
    k = int(rng.choice([1, 10, anchors]))
    compare(lambda x: fx.ohem(x, k), losses, arena=arena)


def match(rng, arena):
    """Compute costs of one image."""
    classes = range(1, 131) if TAKES_ALL else CLASSES
    shape = int(rng.choice(QUERIES)), int(rng.choice(classes))
    logits = rng.normal(0, 3, shape).astype(dtype_named(rng.choice(DTYPES)))
    objectness = rng.normal(0, 3, shape[0]).astype(logits.dtype)
    labels = rng.integers(0, shape[1], rng.integers(1, 9))
    for kind in ("focal", "sigmoid", "softmax"):
        compare(
            lambda z, y, kind=kind: fx.class_cost(z, y, kind=kind, batch_ndim=0),
            logits,
            labels,
            arena=arena,
        )
    compare(
        lambda z, y, o: fx.class_cost(z, y, kind="simota", objectness=o, batch_ndim=0),
        logits,
        labels,
        objectness,
        arena=arena,
    )


def main(backend, isa, path):
    """Run everything on every layout that holds it."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT)
    rng, arena = np.random.default_rng(0), Arena()
    fx.set_backend(backend)
    fx.set_num_threads(1)
    if backend == "native":
        native.set_isa(isa)
    layouts = [layout for layout in LAYOUTS if layout != "rows by threes"]
    count = 0
    for step in range(1000 if TAKES_ALL else 60):
        for layout, at_end, check in itertools.product(layouts, (True, False), (mine, match)):
            if check is match and layout == "side by side":
                continue  # larger than its pages
            if check is mine and layout == "class axis first":
                continue
            os.pwrite(log, f"{check.__name__} {step} {layout} {at_end}".ljust(400).encode(), 0)
            arena.renew(layout, at_end=at_end)
            check(rng, arena)
            count += 2 if check is mine else 4
    print(f"{backend} {isa}: {count} calls of mining and matching between unmapped pages")


if __name__ == "__main__":
    main(*sys.argv[1:])
