"""The focal loss* of the RetinaNet paper: fastxent/focal_star.py."""

from ._package import losses_of
from ._tracks import TIMEOUT, Figures, measuring, tracks

FUNCTIONS = losses_of("focal_star")


def setup_cache() -> Figures:
    return measuring(FUNCTIONS)


setup_cache.timeout = TIMEOUT

Loss = tracks("loss", FUNCTIONS)
Gradient = tracks("gradient", FUNCTIONS)
