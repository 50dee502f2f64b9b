"""What a call costs in addition to its arithmetic: few anchors, one thread."""

import fastxent as fx
from benchmarks.contenders import our_run
from benchmarks.inputs import make_inputs
from benchmarks.shapes import SMALL, Case, Shape

from ._package import LOSSES, SCORES

SHAPES = {"1x2": Shape((1, 2)), "100x80": SMALL}


class Call:
    """Seconds of a call on logits that are in the cache."""

    params = (LOSSES + SCORES, tuple(SHAPES))
    param_names = ("function", "logits")
    version = "1"
    sample_time = 0.01
    warmup_time = 0.05
    rounds = 1
    repeat = (5, 20, 1.0)

    def setup(self, function: str, logits: str) -> None:
        if not hasattr(fx, function):
            raise NotImplementedError("this commit does not have it")
        self.run = our_run(make_inputs(Case(function, SHAPES[logits])), 1)

    def time_call(self, *_: object) -> None:
        self.run()
