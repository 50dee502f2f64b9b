"""The native selection against the one in NumPy, made of the same scores: heads of all kinds."""

import ml_dtypes
import numpy as np
import pytest

import fastxent as fx
from fastxent import native
from fastxent._call.selection import selection_request
from fastxent.reference.candidates import select_candidates

DTYPES = (np.float32, np.float32, np.float64, np.float16, ml_dtypes.bfloat16)
SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -0.0, 40.0, -40.0, 300.0, -300.0)


def random_level(random, images, anchors, classes, dtype):
    """Return logits (images, anchors, classes) of any layout; with ties, and special ones."""
    values = random.normal(random.choice([-4, -1, 0]), 2, (images, anchors, classes))
    step = random.choice([0.0, 1e-3, 0.5])
    if step:
        values = np.round(values / step) * step
    if random.random() < 0.4:
        places = random.random(values.shape) < random.choice([0.001, 0.05])
        values = np.where(places, random.choice(SPECIAL, values.shape), values)
    if random.random() < 0.1:
        values[:] = random.choice([0.0, -3.0, 20.0])
    values = values.astype(dtype)
    layout = random.integers(6)
    if layout == 0:
        return np.ascontiguousarray(values.swapaxes(1, 2)).swapaxes(1, 2)
    if layout == 1:
        return np.repeat(values, 2, axis=2)[:, :, ::2]
    if layout == 2:
        return np.concatenate([values[..., :1], values], axis=2)[..., 1:]
    if layout == 3:
        return np.ascontiguousarray(values[::-1, ::-1])[::-1, ::-1]
    return values


def random_call(seed):
    """Return logits and options of a call."""
    random = np.random.default_rng(seed)
    classes = int(random.choice([1, 2, 3, 7, 10, 16, 21, 33, 80, 91]))
    images = int(random.choice([0, 1, 1, 2, 5]))
    dtype = DTYPES[random.integers(len(DTYPES))]
    sizes = random.choice([0, 1, 15, 16, 100, 333, 1500], random.integers(1, 4))
    levels = [random_level(random, images, size, classes, dtype) for size in sizes]
    activation = random.choice(["sigmoid", "softmax", "scores"])
    options = {
        "activation": None if activation == "scores" else str(activation),
        "score_threshold": [None, 0.0, 0.01, 0.05, 0.3, 0.5, 1 - 2**-24, 1.0][random.integers(8)],
        "top_k": [None, 0, 1, 20, 300, 10**6][random.integers(6)],
        "top_k_per": str(random.choice(["image", "level", "class"])),
        "multi_label": bool(random.random() < 0.7),
        "num_threads": int(random.integers(1, 4)),
    }
    if random.random() < 0.5:
        options["background_index"] = int(random.integers(-classes, classes))
    if random.random() < 0.3:
        options["classes"] = random.random(classes) < 0.5
    if random.random() < 0.2:
        options["score_threshold"] = np.round(random.random(classes), 1)
    if random.random() < 0.4:
        options["combine"] = str(random.choice(["product", "sqrt"]))
        other = DTYPES[random.integers(len(DTYPES))]
        options["objectness"] = [
            random_level(random, images, size, 1, other)[..., 0] for size in sizes
        ]
    if activation == "scores":
        with np.errstate(all="ignore"):
            levels = [fx.sigmoid(level).astype(dtype) for level in levels]
            if "objectness" in options:
                options["objectness"] = [
                    fx.sigmoid(o).astype(o.dtype) for o in options["objectness"]
                ]
    return levels, options


def request_of(levels, options):
    defaults = {
        "axis": -1,
        "batch_ndim": 1,
        "objectness": None,
        "combine": "product",
        "background_index": None,
        "classes": None,
    }
    return selection_request(levels, **{**defaults, **options})


def check_same(result, expected, context=None):
    assert not expected.has_outside
    for name in ("found", "nan", "image", "anchor", "label", "score"):
        np.testing.assert_array_equal(
            getattr(result, name), getattr(expected, name), err_msg=f"{name} of {context}"
        )
    assert result.score.dtype == expected.score.dtype


def is_contiguous(levels):
    """Tell whether softmax computes the very bits that fastxent.softmax has."""
    return all(
        level.flags.c_contiguous or level.swapaxes(1, 2).flags.c_contiguous for level in levels
    )


@pytest.mark.parametrize("isa", native.available_isas())
@pytest.mark.parametrize("part", range(20))
def test_random_calls(part, isa, monkeypatch):
    before = native.get_isa()
    native.set_isa(isa)
    try:
        for seed in range(20 * part, 20 * part + 20):
            levels, options = random_call(seed)
            if options["activation"] == "softmax" and not is_contiguous(levels):
                levels = [np.ascontiguousarray(level) for level in levels]
            request = request_of(levels, options)
            expected = select_candidates(request, native.evaluate_score)
            result = fx.select_candidates(levels, **options)
            check_same(result, expected, (seed, options))
    finally:
        native.set_isa(before)
