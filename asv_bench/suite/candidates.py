"""What passes a threshold, and of that the best: fastxent/candidates.py."""

from functools import partial

import numpy as np

import fastxent as fx
from benchmarks import detection
from benchmarks.contenders import OURS, READ, read_run

from ._cases import SCALE
from ._measure import Figures, figures_in_turns
from ._tracks import TIMEOUT, tracks

FUNCTIONS = ("select_candidates",)
ANCHORS, CLASSES, IMAGES = int(200_000 * SCALE), 80, 8
#: Means of normal logits of which 0.1 % and 10 % have a sigmoid above 0.05.
FEW, MANY = -6.03, -4.23
IN_TURNS = (
    "few pass",
    "many pass",
    "class axis in the middle",
    "class axis in the middle, many pass",
    "softmax",
)
#: Rows of the benchmarks, which heads of random normal logits are not like.
WORKS = {
    work.name: work
    for work in detection.works()
    if work.function in FUNCTIONS and not work.name.startswith("sigmoid")
}
CASES = (*IN_TURNS, *WORKS)


def setup_cache() -> Figures:
    if not hasattr(fx, "select_candidates"):
        return {}
    noise = np.random.default_rng(7).standard_normal((1, ANCHORS, CLASSES), np.float32)
    channels = noise.reshape(IMAGES, CLASSES, ANCHORS // IMAGES)
    arguments = {
        "few pass": (noise + np.float32(FEW), {}),
        "many pass": (noise + np.float32(MANY), {}),
        "class axis in the middle": (channels + np.float32(FEW), {"axis": 1}),
        "class axis in the middle, many pass": (channels + np.float32(MANY), {"axis": 1}),
        "softmax": (noise * 2, {"activation": "softmax", "background_index": -1}),
    }
    figures: Figures = {}
    for case, (logits, options) in arguments.items():
        runs = {"selection": partial(fx.select_candidates, logits, num_threads=2, **options)}
        taken = figures_in_turns(runs, read_run(logits, 2), logits.size)
        figures["selection", "select_candidates", case] = taken["selection"]
    for case, work in WORKS.items():
        shape = work.shape.scaled(SCALE)
        runs = detection.make_contenders(work, shape, 2, []).runs
        taken = figures_in_turns({"selection": runs[OURS]}, runs[READ], shape.size)
        figures["selection", "select_candidates", case] = taken["selection"]
    return figures


setup_cache.timeout = TIMEOUT

Selection = tracks("selection", FUNCTIONS, CASES)
