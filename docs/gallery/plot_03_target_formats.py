"""
Target formats
==============

The same five anchors as class labels and as dense targets. Labels are one integer per anchor; dense
targets have the shape of the logits, and can say what labels cannot.
"""

import matplotlib.pyplot as plt
import numpy as np

labels = np.array([[0], [2], [3], [-100], [1]])
dense = np.array(
    [[1, 0, 0], [0, 0, 1], [0, 0, 0], [-100, -100, -100], [0, 1, 0], [1, 1, 0], [0.7, 0, 0]]
)
notes = ["class 0", "class 2", "no class", "ignored", "class 1", "several classes", "a soft target"]


def draw(axes, values, title):
    """Draw a table whose cells are shaded by their value."""
    for (row, column), value in np.ndenumerate(values):
        ignored, share = value == -100, min(1, max(0, value)) if values.shape[1] > 1 else 0.15
        colour = "0.9" if ignored else plt.cm.Blues(0.1 + 0.5 * share)
        axes.add_patch(plt.Rectangle((column, row), 1, 1, facecolor=colour, edgecolor="white"))
        axes.text(column + 0.5, row + 0.5, f"{value:g}", ha="center", va="center")
    axes.set(xlim=(0, 3), ylim=(7, 0), title=title)
    axes.set_axis_off()


figure, (left, right) = plt.subplots(1, 2, figsize=(7.5, 4), layout="constrained")
draw(left, labels, "class labels, shape (5,)")
draw(right, dense, "dense targets, shape (7, 3)")
for row, note in enumerate(notes):
    if row < len(labels):
        left.text(1.2, row + 0.5, note, va="center")
    else:
        left.text(0, row + 0.5, f"{note}:\n  dense only  →", va="center", color="0.4")
plt.show()
