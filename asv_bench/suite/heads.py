"""Two heads, one model: fastxent/heads.py. There are no threads or backends to choose from."""

from functools import partial

import fastxent as fx
from benchmarks.contenders import read_run
from benchmarks.inputs import make_inputs
from benchmarks.shapes import SINGLE_CLASS, TWO_CLASSES, Case

from ._cases import SCALE
from ._measure import Figures, figures_in_turns
from ._package import public_functions
from ._tracks import TIMEOUT, tracks

FUNCTIONS = public_functions("heads")
CASE = "float32"


def setup_cache() -> Figures:
    figures: Figures = {}
    for name in FUNCTIONS:
        shape = SINGLE_CLASS if name.startswith("sigmoid_to") else TWO_CLASSES
        if hasattr(fx, name):
            values = make_inputs(Case("sigmoid_cross_entropy", shape.scaled(SCALE))).values
            out = getattr(fx, name)(values)
            runs = {"head": partial(getattr(fx, name), values, out=out)}
            taken = figures_in_turns(runs, read_run(values, 1), values.size)
            figures["head", name, CASE] = taken["head"]
    return figures


setup_cache.timeout = TIMEOUT

Head = tracks("head", FUNCTIONS, (CASE,))
