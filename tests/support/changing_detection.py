"""Mining, matching, selection and scores whose arrays another thread changes all the time.

Run as a program, ``python -m support.changing_detection BACKEND ISA``: results may be of any value,
but what they name exists, and what lies around them stays as it was.
"""

import sys
import threading
import time
from contextlib import contextmanager

import numpy as np

import fastxent as fx
from fastxent import native
from support import family
from support.oracles import dtype_named

SENTINEL = 77
PAD = 16
IMAGES, ANCHORS, CLASSES = 3, 3000, 20


@contextmanager
def changing(array, values):
    """Let another thread write one of some values everywhere, in turns."""
    is_done = threading.Event()

    def change():
        while not is_done.is_set():
            for value in values:
                array[...] = value

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield array
    finally:
        is_done.set()
        thread.join()


def check_marks(marks, shape):
    assert marks.shape == shape
    assert np.isin(marks.view(np.uint8), (0, 1)).all()


def check_selection(result):
    assert ((result.anchor >= 0) & (result.anchor < ANCHORS)).all()
    assert ((result.label >= 0) & (result.label < CLASSES)).all()
    assert ((result.image >= 0) & (result.image < IMAGES)).all()
    assert len(result.anchor) == len(result.label) == len(result.score) == result.offsets[-1]


def detect(logits, objectness, labels, options):
    """Call what detection has, and look at what it returns."""
    losses = logits[..., 0]
    check_marks(fx.ohem(losses, 7), losses.shape)
    try:
        check_marks(fx.hard_negatives(losses, labels, background_index=0), losses.shape)
        costs = fx.class_cost(logits[:, :300], labels[:, :9], kind="softmax")
        assert costs.shape == (IMAGES, 300, 9)
    except ValueError:  # labels that a check has seen
        pass
    few = logits[:, :300], np.ones((IMAGES, 4), int)
    fx.class_cost(*few, kind="simota", objectness=objectness[:, :300])
    check_selection(fx.select_candidates(logits, objectness=objectness, **options))
    check_selection(fx.select_candidates(logits, **options))


OPTIONS = (
    {"top_k": 5},
    {"top_k": 100, "top_k_per": "class", "score_threshold": None},
    {"top_k": None, "score_threshold": 0.5},
    {"top_k": 50, "multi_label": False},
    {"top_k": 50, "activation": "softmax"},
)


def write_results(logits, targets):
    """Call what writes results of the logits' size, between columns that nothing may write."""
    shape = (*logits.shape[:-1], CLASSES + PAD)
    padded = np.full(shape, SENTINEL, np.float64 if logits.dtype == np.float64 else np.float32)
    grads = np.full(shape, SENTINEL, logits.dtype)
    out, grad_out = padded[..., :CLASSES], grads[..., :CLASSES]
    for score in (fx.softmax, fx.log_softmax, fx.sigmoid, fx.softplus):
        score(logits, out=out)
    fx.softmax(logits, axis=(0, 1), out=out)
    fx.logsumexp(logits, axis=None)
    for name in family.WITH_DENSE:
        if name not in family.PROBABILITY_LOSSES:
            for options in ({}, {"reduction": "none"} if name in family.PER_CLASS else {}):
                try:
                    family.public(name)(
                        logits, targets, return_grad=True, grad_out=grad_out, **options
                    )
                except ValueError:
                    continue
    for room in (padded, grads):
        assert (room[..., CLASSES:] == SENTINEL).all()


def main(backend, isa, seconds="0.5"):
    """Run everything for so long for each dtype."""
    fx.set_backend(backend)
    if backend == "native":
        native.set_isa(isa)
    rng = np.random.default_rng(0)
    dtypes = ("float32", "float64", "float16", "bfloat16") if backend == "native" else ("float32",)
    for name in dtypes:
        dtype = dtype_named(name)
        normal = rng.normal(0, 3, (IMAGES, ANCHORS, CLASSES)).astype(dtype)
        logits, objectness = normal.copy(), normal[..., 1].copy()
        labels = rng.integers(0, 3, objectness.shape)
        targets = (rng.random(normal.shape) > 0.5).astype(dtype)
        values = (normal, np.nan, np.inf, -np.inf, 50, normal[..., ::-1], -50, normal[:, ::-1])
        with (
            changing(logits, values),
            changing(objectness, (50, np.nan, normal[..., 1], -50)),
            changing(labels, (0, labels.copy(), -5, 2**40, 1)),
            changing(targets, (targets.copy(), 0, 1, np.nan, -1)),
        ):
            end, number = time.monotonic() + float(seconds), 0
            while time.monotonic() < end:
                if backend == "native":
                    detect(logits, objectness, labels, OPTIONS[number % len(OPTIONS)])
                write_results(logits, targets)
                number += 1
        assert number


if __name__ == "__main__":
    np.seterr(all="ignore")
    main(*sys.argv[1:])
