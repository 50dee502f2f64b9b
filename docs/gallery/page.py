"""The page that the sample comes from, and where its anchors are."""

import numpy as np
from skimage import data, transform

from fastxent.data import FEATURE_MAPS

HEIGHT, WIDTH = 800, 608


def load_page():
    """Return the picture as the detector saw it, grey, 800 x 608 pixels."""
    picture = data.page()
    height = round(picture.shape[0] * WIDTH / picture.shape[1])
    sheet = np.ones((HEIGHT, WIDTH))
    top = (HEIGHT - height) // 2
    sheet[top : top + height] = transform.resize(picture, (height, WIDTH), anti_aliasing=True)
    return sheet


def feature_maps(values):
    """Split one value per anchor into one map per level, with its stride."""
    start = 0
    for stride, rows, columns in FEATURE_MAPS:
        yield stride, values[start : start + rows * columns].reshape(rows, columns)
        start += rows * columns


def on_pixels(values):
    """Return the largest value of the cells over each block of 8 x 8 pixels."""
    largest = np.full((100, 76), -np.inf)
    for stride, cells in feature_maps(values):
        scale = stride // 8
        large = np.kron(cells, np.ones((scale, scale)))[:100, :76]
        largest = np.maximum(largest, large)
    return largest
