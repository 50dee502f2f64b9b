"""
Odds, logit and probability
===========================

Three ways to say the same thing. Odds of 3 to 8 are a probability of 3/11 and a logit of log(3/8).
"""

import matplotlib.pyplot as plt
import numpy as np

import fastxent as fx

p = np.linspace(0.005, 0.995, 400)
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained")

left.plot(p, fx.odds(p))
left.set(title="odds", xlabel="probability", ylim=(0, 8), ylabel="p / (1 - p)")
middle.plot(p, fx.logit(p))
middle.set(title="logit: the log of the odds", xlabel="probability", ylabel="log(p / (1 - p))")
z = np.linspace(-6, 6, 400)
right.plot(z, fx.sigmoid(z))
right.set(title="sigmoid: the way back", xlabel="logit", ylabel="probability")

mark = 3 / 11
for axes, x, y in (
    (left, mark, fx.odds(mark)),
    (middle, mark, fx.logit(mark)),
    (right, fx.logit(mark), mark),
):
    axes.plot(x, y, "o", color="C3")
    axes.annotate("3 to 8", (x, y), (-6, 8), textcoords="offset points", color="C3", ha="right")
    axes.grid(alpha=0.3)
plt.show()
