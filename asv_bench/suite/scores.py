"""Scores and links: fastxent/scores.py."""

from ._package import SCORES
from ._tracks import TIMEOUT, Figures, measuring, tracks


def setup_cache() -> Figures:
    return measuring(SCORES)


setup_cache.timeout = TIMEOUT

Score = tracks("score", SCORES)
