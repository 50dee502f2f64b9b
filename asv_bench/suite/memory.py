"""Peak memory: Python, the inputs, the results, and nothing else of their size."""

from pathlib import Path

import fastxent as fx
from benchmarks.contenders import our_run
from benchmarks.inputs import make_inputs
from benchmarks.shapes import Case, Shape

from ._package import LOSSES, SCORES

#: 32 MB of logits; Python and NumPy are about as large.
LOGITS = Shape((100_000, 80))
#: Of Linux; elsewhere the peak is that of making the inputs.
CLEAR_REFS = Path("/proc/self/clear_refs")


class Peak:
    """Bytes that the process had at its peak."""

    params = (LOSSES + SCORES,)
    param_names = ("function",)
    version = "1"
    gradient = False

    def setup(self, function: str) -> None:
        if not hasattr(fx, function):
            raise NotImplementedError("this commit does not have it")
        case = Case(function, LOGITS, gradient=self.gradient)
        self.run = our_run(make_inputs(case), 1)
        self.forget_peak()

    @staticmethod
    def forget_peak() -> None:
        """Let the peak start from here; making the inputs took more than any call."""
        if CLEAR_REFS.exists():
            CLEAR_REFS.write_text("5", encoding="ascii")

    def peakmem_call(self, *_: object) -> None:
        self.run()


class GradientPeak(Peak):
    """The same with gradients."""

    params = (LOSSES,)
    gradient = True

    def setup(self, function: str) -> None:
        super().setup(function)
        try:
            self.run()
        except TypeError:
            raise NotImplementedError("this commit has no gradients") from None
        self.forget_peak()
