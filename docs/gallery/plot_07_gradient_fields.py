"""
Gradient fields
===============

Two logits of one anchor, and the truth is class 1. Arrows show which way a step of gradient descent
moves them, colours the loss.

With sigmoids each logit minds its own business: z₁ goes up, z₂ goes down. With a softmax only the
difference counts, so all arrows have the same direction and the level curves are straight lines.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastxent as fx

side = np.linspace(-4, 4, 15)
fine = np.linspace(-4, 4, 81)
figure, panels = plt.subplots(1, 2, figsize=(9.5, 4.2), layout="constrained")
for axes, loss_function in zip(
    panels, (fx.sigmoid_cross_entropy, fx.softmax_cross_entropy), strict=True
):
    background = np.stack(np.meshgrid(fine, fine), axis=-1)
    loss = loss_function(background, np.zeros(background.shape[:2], int))
    shades = axes.contourf(fine, fine, loss, levels=16, cmap="YlOrRd")
    logits = np.stack(np.meshgrid(side, side), axis=-1)
    _, grad = loss_function(logits, np.zeros(logits.shape[:2], int), return_grad=True)
    axes.quiver(logits[..., 0], logits[..., 1], -grad[..., 0], -grad[..., 1], angles="xy")
    axes.set(title=loss_function.__name__, xlabel="z₁, the truth", ylabel="z₂", aspect="equal")
    figure.colorbar(shades, ax=axes, label="loss", shrink=0.8)
plt.show()
