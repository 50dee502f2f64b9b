"""What each ground truth costs: fastxent/matching.py."""

from functools import partial

import numpy as np

import fastxent as fx
from benchmarks.contenders import read_run

from ._measure import Figures, figures_in_turns
from ._package import public_functions
from ._tracks import TIMEOUT, tracks

FUNCTIONS = public_functions("matching")
IMAGES, QUERIES, CLASSES, GROUND_TRUTHS = 16, 900, 80, 30
KINDS = ("focal", "softmax", "sigmoid", "simota")


def setup_cache() -> Figures:
    if not hasattr(fx, "class_cost"):
        return {}
    generator = np.random.default_rng(7)
    logits = generator.standard_normal((IMAGES, QUERIES, CLASSES), np.float32) * 2
    labels = generator.integers(0, CLASSES, (IMAGES, GROUND_TRUTHS))
    figures: Figures = {}
    for kind in KINDS:
        options = {"objectness": logits[..., 0]} if kind == "simota" else {}
        call = partial(fx.class_cost, logits, labels, kind=kind, num_threads=2, **options)
        taken = figures_in_turns({"cost": call}, read_run(logits, 2), logits.size)
        figures["cost", "class_cost", kind] = taken["cost"]
    return figures


setup_cache.timeout = TIMEOUT

Cost = tracks("cost", FUNCTIONS, KINDS)
