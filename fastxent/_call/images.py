"""The leading axes of an array that are images, and labels that must be of the same ones."""

import math
from typing import SupportsIndex

from fastxent._arguments import as_integer


def count_batch_axes(batch_ndim: SupportsIndex) -> int:
    """Return how many leading axes are images."""
    count = as_integer(batch_ndim, "batch_ndim")
    if count < 0:
        raise ValueError(f"batch_ndim = {count} is negative")
    return count


def split_shape(shape: tuple[int, ...], batch_ndim: int) -> tuple[int, int]:
    """Return the number of images and that of the elements of each."""
    return math.prod(shape[:batch_ndim]), math.prod(shape[batch_ndim:])
