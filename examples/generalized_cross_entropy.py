"""Generalized cross-entropy, between cross-entropy and absolute error, for labels with mistakes.

Z. Zhang and M. R. Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with
Noisy Labels", NeurIPS 2018, arXiv:1805.07836, equation 6. With p_t, the probability of the answer
that the label gives ::

    loss = (1 - p_t ^ q) / q, 0 < q <= 1

It goes to -log(p_t) for q -> 0, and is the absolute error for q = 1; the paper takes q = 0.7. Here
every class is a question of its own with the answers yes and no. Targets are 0 and 1.
"""

import numpy as np

import fastxent as fx
import fastxent.math as fxm


@fx.custom_loss
def generalized_cross_entropy(logit, target, q=0.7):
    """Generalized cross-entropy from logits."""
    log_p = fxm.log_sigmoid(fxm.where(target == 1, logit, -logit))
    return -fxm.expm1(q * log_p) / q  # 1 - p^q would cancel where p is near 1


if __name__ == "__main__":
    # Three anchors, two classes; the last anchor has none of them.
    logits = np.array([[3.0, -2.0], [-1.0, -4.0], [0.5, -3.0]], dtype=np.float32)
    for q in (1e-6, 0.7, 1.0):
        print(f"q = {q:g}:", generalized_cross_entropy(logits, [0, 0, 2], q=q).round(4))
