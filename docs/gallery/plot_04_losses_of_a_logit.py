"""
The loss of a positive and of a negative
========================================

Cross-entropy grows like a straight line where the head is wrong, and falls like an exponential
where it is right. Its slope is the probability minus the target.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastxent as fx

z = np.linspace(-6, 6, 400)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for target, name in ((1, "positive"), (0, "negative")):
    targets = np.full(z.shape, target)
    loss, grad = fx.sigmoid_cross_entropy(z, targets, axis=None, return_grad=True)
    left.plot(z, loss, label=name)
    right.plot(z, grad, label=name)
left.plot(0, np.log(2), "o", color="0.3")
left.annotate(
    "log 2: a coin",
    (0, np.log(2)),
    (0, 45),
    textcoords="offset points",
    ha="center",
    arrowprops={"arrowstyle": "->"},
)
left.set(title="loss", xlabel="logit", ylabel="nats")
right.set(title="slope: p - y", xlabel="logit")
for axes in (left, right):
    axes.grid(alpha=0.3)
    axes.legend()

# %%
# On a logarithmic scale the right side shows what float32 has room for. A loss is exact here to 7
# digits where it is 1e-12; computed as -log(p) in float32 it is 0 from a logit of about 17 on.

z = np.linspace(0, 30, 200, dtype=np.float32)
with np.errstate(divide="ignore"):
    naive = -np.log(fx.sigmoid(z))
figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
exact = fx.sigmoid_cross_entropy(z, np.ones(200, int), axis=None)
axes.semilogy(z, exact, label="sigmoid_cross_entropy")
axes.semilogy(z, np.where(naive > 0, naive, np.nan), "--", label="-log(sigmoid(z)) in float32")
axes.set(xlabel="logit of a positive", ylabel="loss")
axes.grid(alpha=0.3)
axes.legend()
plt.show()
