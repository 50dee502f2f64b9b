"""
Calibration and temperature
===========================

A head is calibrated if 70 % of what it scores with 0.7 is true. Here the truth is known: each
anchor is positive with its own probability. A model with one weight and one bias is fitted with
cross-entropy and with a focal loss. Cross-entropy finds the probabilities. The focal loss finds the
same order, but scores too near to 0.5.

Dividing logits by a temperature repairs that. One number is fitted, by cross-entropy.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastxent as fx

fx.set_num_threads(1)  # so small a problem gains nothing from more
rng = np.random.default_rng(0)
x = rng.normal(0, 2, 30_000)
y = (rng.random(x.size) < fx.sigmoid(1.5 * x - 0.5)).astype(int)


def fit(loss_function, steps=150, rate=2.0, **options):
    """Return the logits of the best line, found by gradient descent."""
    slope, bias = 0.1, 0.0
    for _ in range(steps):
        _, grad = loss_function(
            slope * x + bias, y, axis=None, reduction="mean", return_grad=True, **options
        )
        slope, bias = slope - rate * (grad * x).sum(), bias - rate * grad.sum()
    return slope * x + bias


plain = fit(fx.sigmoid_cross_entropy, rate=1.0)
focal = fit(fx.sigmoid_focal_loss, alpha=None, gamma=3.0, rate=2.0)
temperatures = np.linspace(0.2, 1.5, 66)
losses = [fx.sigmoid_cross_entropy(focal / t, y, axis=None, reduction="mean") for t in temperatures]
best = temperatures[np.argmin(losses)]

figure, axes = plt.subplots(figsize=(5.4, 4.6), layout="constrained")
edges = np.linspace(0, 1, 16)
for logits, name in (
    (plain, "cross-entropy"),
    (focal, "focal loss, gamma 3"),
    (focal / best, f"the same, temperature {best:.2f}"),
):
    scores = fx.sigmoid(logits)
    place = np.digitize(scores, edges[1:-1])
    count = np.bincount(place, minlength=15)
    kept = count > 100
    mean = np.bincount(place, scores, minlength=15)[kept] / count[kept]
    true = np.bincount(place, y, minlength=15)[kept] / count[kept]
    axes.plot(mean, true, ".-", label=name)
axes.plot([0, 1], [0, 1], "--", color="0.6", label="calibrated")
axes.set(xlabel="mean score", ylabel="share that is true", aspect="equal")
axes.legend()
plt.show()
