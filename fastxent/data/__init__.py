"""The real sample: raw logits of a real detection head on a real picture.

``README.md`` next to this file says where it comes from, and under which licences.
"""

from importlib.resources import files
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Sample", "load_sample"]

SAMPLE_FILE = "picodet_page.npz"
#: The anchors are those of four feature maps, row by row: of each the stride in pixels of the page,
#: which has 800 x 608, and the number of rows and of columns.
FEATURE_MAPS = ((8, 100, 76), (16, 50, 38), (32, 25, 19), (64, 13, 10))


class Sample(NamedTuple):
    """Logits of a detection head, with labels for them.

    Attributes
    ----------
    logits : ndarray of float32, shape (10105, 10)
        One row per anchor, one column per class, before the sigmoid.
    labels : ndarray of uint8, shape (10105,)
        A column of `logits`, or 10 where the anchor has no object.
    class_names : tuple of str
        What the columns of `logits` stand for.
    provenance : str
        Which model, picture and threshold these come from.
    """

    logits: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]
    class_names: tuple[str, ...]
    provenance: str


def load_sample() -> Sample:
    """Load the sample that comes with the package.

    The labels are the detector's own confident detections, not a person's annotations.

    Returns
    -------
    Sample
        Fresh arrays, yours to change.
    """
    with files(__name__).joinpath(SAMPLE_FILE).open("rb") as file, np.load(file) as archive:
        return Sample(
            logits=archive["logits"],
            labels=archive["labels"],
            class_names=tuple(archive["class_names"].tolist()),
            provenance=str(archive["provenance"]),
        )
