"""
Losses of a real head, and where they are
=========================================

The sample of the package: 10,105 anchors that a document detector looks at on a printed page. Most
of them are easy background. The loss sits on the title, on the text and on the line of code, where
the head is not sure.
"""

import matplotlib.pyplot as plt
import numpy as np
from page import HEIGHT, WIDTH, load_page, on_pixels

import fastxent as fx
from fastxent.data import load_sample

sample = load_sample()
loss = fx.sigmoid_cross_entropy(sample.logits, sample.labels)
has_object = sample.labels < 10

figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
edges = np.geomspace(loss.min(), loss.max(), 50)
axes.hist(loss[~has_object], edges, color="#9aa5b1", label="no object", log=True)
axes.hist(loss[has_object], edges, color="#d1495b", label="object", log=True)
cut = np.sort(loss)[-101]
share = loss[loss >= cut].sum() / loss.sum()
axes.axvline(cut, color="k", ls="--", lw=1, label=f"hardest 1 %: {share:.0%} of the loss")
axes.set(xscale="log", xlabel="loss of an anchor", ylabel="anchors")
axes.legend()

# %%
# The same losses over the page. Where several levels of the feature pyramid look at a place, the
# largest loss is shown.

figure, axes = plt.subplots(figsize=(5.6, 6.6), layout="constrained")
axes.imshow(load_page(), cmap="gray", extent=(0, WIDTH, HEIGHT, 0))
heat = axes.imshow(
    on_pixels(loss), cmap="inferno_r", alpha=0.6, extent=(0, WIDTH, HEIGHT, 0), vmin=0
)
axes.set_axis_off()
figure.colorbar(heat, label="loss", shrink=0.7)
plt.show()
