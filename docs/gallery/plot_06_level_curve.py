"""
What a level curve is
=====================

Cut a surface at a height, and look at the cut from above. All points of the curve have the same
height. The paraboloid z = x² + 2y² cut at 2 gives the ellipse x² + 2y² = 2.
"""

import matplotlib.pyplot as plt
import numpy as np

cut = 2.0
angle = np.linspace(0, 2 * np.pi, 200)
# The surface is drawn ring by ring, up to the height 6.
height = np.linspace(0, 6, 40)[:, None]
x, y = np.sqrt(height) * np.cos(angle), np.sqrt(height / 2) * np.sin(angle)
z = x**2 + 2 * y**2
ring_x, ring_y = np.sqrt(cut) * np.cos(angle), np.sqrt(cut / 2) * np.sin(angle)

figure = plt.figure(figsize=(10, 4.2), layout="constrained")
left = figure.add_subplot(1, 2, 1, projection="3d", computed_zorder=False)
left.plot_surface(x, y, z, cmap="viridis", alpha=0.7)
plane = np.meshgrid([-2.5, 2.5], [-2, 2])
left.plot_surface(*plane, np.full((2, 2), cut), color="C1", alpha=0.25)
left.plot(ring_x, ring_y, cut, color="C3", linewidth=2.5, zorder=5)
left.set(xlabel="x", ylabel="y", zlabel="z", zlim=(0, 6), title=f"cut at z = {cut:g}")
left.view_init(22, -60)

right = figure.add_subplot(1, 2, 2)
right.contour(x, y, z, levels=[0.25, 0.5, 1, 3, 4, 5], colors="0.7")
right.plot(ring_x, ring_y, color="C3", linewidth=2.5, label="height 2")
at = np.array([[1, np.sqrt(0.5)], [0, 1], [-1, -np.sqrt(0.5)]])
gradient = at * [2, 4]
arrows = {"angles": "xy", "scale_units": "xy", "scale": 5, "color": "C0"}
right.quiver(*at.T, *gradient.T, **arrows)
right.text(1.45, 1.25, "gradient", color="C0")
right.set(xlabel="x", ylabel="y", aspect="equal", ylim=(-2, 2), title="seen from above")
right.legend(loc="lower left")
plt.show()
