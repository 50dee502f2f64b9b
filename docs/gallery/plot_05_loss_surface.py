"""
The surface of a loss, and a descent on it
==========================================

A classifier with two weights and no bias. Each point of the plane is a pair of weights, its height
the mean loss over the data: a convex bowl. Gradient descent walks down, always at a right angle to
the level curves.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastxent as fx

rng = np.random.default_rng(3)
x = rng.normal(size=(80, 2)) * [1.5, 0.7]
y = (x @ [1.2, -1.5] + rng.normal(size=80) > 0).astype(int)


def loss_and_gradient(w):
    """Return the mean loss of the data, and its gradient with respect to the weights."""
    loss, grad = fx.sigmoid_cross_entropy(x @ w, y, axis=None, reduction="mean", return_grad=True)
    return loss, x.T @ grad


side = np.linspace(-3, 4, 60), np.linspace(-4, 3, 60)
plane = np.stack(np.meshgrid(*side), axis=-1)
height = np.array([[loss_and_gradient(w)[0] for w in row] for row in plane])

path = [np.array([-2.5, 2.5])]
for _ in range(60):
    path.append(path[-1] - 1.2 * loss_and_gradient(path[-1])[1])
path = np.array(path)
heights = [loss_and_gradient(w)[0] for w in path]

figure = plt.figure(figsize=(10, 4.2), layout="constrained")
left = figure.add_subplot(1, 2, 1, projection="3d", computed_zorder=False)
left.plot_surface(plane[..., 0], plane[..., 1], height, cmap="viridis", alpha=0.85)
left.plot(path[:, 0], path[:, 1], heights, ".-", color="C3", zorder=5)
left.set(xlabel="w₁", ylabel="w₂", zlabel="mean loss")
left.view_init(35, -60)
right = figure.add_subplot(1, 2, 2)
levels = right.contour(plane[..., 0], plane[..., 1], height, levels=14, cmap="viridis")
right.clabel(levels, fmt="%.1f", fontsize=8)
right.plot(path[:, 0], path[:, 1], ".-", color="C3", label="60 steps of gradient descent")
right.set(xlabel="w₁", ylabel="w₂", aspect="equal")
right.legend(loc="lower right")
plt.show()
