"""
Candidates on the page
======================

What ``select_candidates`` returns for the sample: pairs of anchor and class whose score is above
0.4. A square is the cell of an anchor, not a box: boxes are decoded afterwards, of the candidates
alone.
"""

import matplotlib.pyplot as plt
import numpy as np
from page import load_page

import fastxent as fx
from fastxent.data import FEATURE_MAPS, load_sample

sample = load_sample()
sizes = [rows * columns for _, rows, columns in FEATURE_MAPS]
levels = np.split(sample.logits, np.cumsum(sizes)[:-1])
found = fx.select_candidates([level[None] for level in levels], score_threshold=0.4)

figure, axes = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
axes.imshow(load_page(), cmap="gray")
colours = {"text": "C0", "title": "C3"}
shown = set()
for level, cell, label, score in zip(
    found.level, found.index, found.label, found.score, strict=True
):
    stride, _, columns = FEATURE_MAPS[level]
    row, column = divmod(int(cell), columns)
    name = sample.class_names[label]
    square = plt.Rectangle(
        (column * stride, row * stride),
        stride,
        stride,
        color=colours.get(name, "C2"),
        alpha=0.15 + 0.45 * float(score),
        label=None if name in shown else name,
    )
    shown.add(name)
    axes.add_patch(square)
axes.set_title(f"{len(found)} candidates of {sample.logits.size:,} pairs")
axes.set(xlim=(0, 608), ylim=(620, 230))  # the sheet around the page is white
axes.set_axis_off()
axes.legend(loc="lower right")
plt.show()
