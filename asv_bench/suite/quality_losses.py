"""The losses whose targets are qualities or positions: fastxent/quality_losses.py."""

from ._package import losses_of
from ._tracks import TIMEOUT, Figures, measuring, tracks

FUNCTIONS = losses_of("quality_losses")


def setup_cache() -> Figures:
    return measuring(FUNCTIONS)


setup_cache.timeout = TIMEOUT

Loss = tracks("loss", FUNCTIONS)
Gradient = tracks("gradient", FUNCTIONS)
