"""What fits given targets: fastxent/detection.py."""

from functools import partial

import numpy as np

import fastxent as fx
from benchmarks.contenders import read_run
from benchmarks.inputs import make_inputs
from benchmarks.shapes import COCO, Case

from ._cases import SCALE
from ._measure import Figures, figures_in_turns
from ._tracks import TIMEOUT, tracks

FUNCTIONS = ("recommend_loss",)
CASES = ("labels", "dense")


def setup_cache() -> Figures:
    if not hasattr(fx, "recommend_loss"):
        return {}
    inputs = make_inputs(Case("sigmoid_cross_entropy", COCO.scaled(SCALE)))
    figures: Figures = {}
    for case, targets in zip(CASES, (inputs.labels, inputs.one_hot(np.float32)), strict=True):
        runs = {"recommendation": partial(fx.recommend_loss, targets, COCO.classes)}
        read = read_run(targets.view(np.float32), 1)
        taken = figures_in_turns(runs, read, targets.size)
        figures["recommendation", "recommend_loss", case] = taken["recommendation"]
    return figures


setup_cache.timeout = TIMEOUT

Recommendation = tracks("recommendation", FUNCTIONS, CASES)
