"""``select_candidates`` on arrays whose rows lie between unmapped pages.

Run as a program, ``python -m support.guard_selection ISA``: what touches these pages ends it with a
fault.
"""

import sys

import numpy as np

import fastxent as fx
from fastxent import native
from support.guard import ANCHORS, CLASSES, DTYPES, LAYOUTS, Arena

FIELDS = ("anchor", "label", "score", "found", "nan")
OPTIONS = (
    {},
    {"score_threshold": None, "top_k": 3},
    {"top_k_per": "class", "top_k": 2},
    {"multi_label": False},
    {"activation": "softmax"},
    {"activation": "softmax", "background_index": -1},
    {"activation": None},
)


def check(arena, values, objectness, options):
    options = {"batch_ndim": 0, **options}
    guarded = dict(options)
    if objectness is not None:
        options["objectness"] = objectness
        guarded["objectness"] = arena.like(objectness)
    expected = fx.select_candidates(values, **options)
    result = fx.select_candidates(arena.like(values), **guarded)
    for name in FIELDS:
        # A softmax has other bits for another layout, and then another order.
        if options.get("activation") != "softmax" or name in {"found", "nan"}:
            np.testing.assert_array_equal(getattr(result, name), getattr(expected, name))


def main(isa):
    native.set_isa(isa)
    rng, arena, count = np.random.default_rng(0), Arena(), 0
    for layout in ("rows", *LAYOUTS):
        for at_end in (False, True):
            for classes in CLASSES:
                shape = int(rng.choice(ANCHORS)), classes
                dtype = str(rng.choice(DTYPES))
                if dtype == "bfloat16":
                    from ml_dtypes import bfloat16 as dtype
                values = rng.uniform(0.02, 0.98, shape).astype(dtype)
                objectness = rng.uniform(0, 1, shape[0]).astype(dtype)
                for options in OPTIONS:
                    for objects in (None, objectness):
                        arena.renew(layout, at_end=at_end)
                        check(arena, values, objects, options)
                        count += 1
    print(f"native {isa}: {count} calls of selection between unmapped pages")


if __name__ == "__main__":
    main(sys.argv[1])
