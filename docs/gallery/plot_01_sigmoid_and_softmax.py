"""
Sigmoid and softmax, as curves and as bars
==========================================

A sigmoid looks at one logit. A softmax looks at all logits of an anchor: raise one, and the
probabilities of the others fall.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastxent as fx

z = np.linspace(-6, 6, 241)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")

# The first of three logits moves, the others stay at 1 and -1.
logits = np.stack([z, np.full_like(z, 1), np.full_like(z, -1)], axis=1)
for axes, scores, title in (
    (left, fx.sigmoid(logits), "sigmoid: one curve moves"),
    (right, fx.softmax(logits), "softmax: all three move"),
):
    for k, name in enumerate(("z₁, which moves", "z₂ = 1", "z₃ = -1")):
        axes.plot(z, scores[:, k], label=name)
    axes.set(title=title, xlabel="z₁", ylabel="probability", ylim=(-0.03, 1.03))
    axes.grid(alpha=0.3)
left.legend()

# %%
# The same three logits through both heads. Only the bars on the right add up to 1.

logits = np.array([2.0, 1.0, -1.0])
names = [f"z = {value:g}" for value in logits]
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True, layout="constrained")
for axes, scores, title in (
    (left, fx.sigmoid(logits), "sigmoid"),
    (right, fx.softmax(logits), "softmax"),
):
    bars = axes.bar(names, scores, color=["C0", "C1", "C2"])
    axes.bar_label(bars, fmt="%.2f")
    axes.set(title=f"{title}, sum {scores.sum():.2f}", ylim=(0, 1.05))
plt.show()
