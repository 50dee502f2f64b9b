"""The largest losses of each image: fastxent/mining.py."""

from functools import partial

import numpy as np

import fastxent as fx
from benchmarks.contenders import read_run

from ._measure import Figures, figures_in_turns
from ._package import public_functions
from ._tracks import TIMEOUT, tracks

FUNCTIONS = public_functions("mining")
#: SSD's anchors, and how many of them are positive.
SHAPE, POSITIVES = (64, 8_732), 0.01
CASE = "float32"


def setup_cache() -> Figures:
    generator = np.random.default_rng(7)
    losses = generator.exponential(1, SHAPE).astype(np.float32)
    labels = generator.random(SHAPE) < POSITIVES
    second = {"hard_negatives": labels, "ohem": int(3 * POSITIVES * SHAPE[1])}
    figures: Figures = {}
    for name in FUNCTIONS:
        if hasattr(fx, name):
            runs = {"mining": partial(getattr(fx, name), losses, second[name], num_threads=2)}
            taken = figures_in_turns(runs, read_run(losses, 2), losses.size)
            figures["mining", name, CASE] = taken["mining"]
    return figures


setup_cache.timeout = TIMEOUT

Mining = tracks("mining", FUNCTIONS, (CASE,))
