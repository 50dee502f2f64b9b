"""Reduced focal loss, which leaves hard examples their whole cross-entropy.

S. Sergievskiy and A. Ponamarev, "Reduced Focal Loss: 1st Place Solution to xView object detection
in Satellite Imagery", arXiv:1903.01347. With p_t, the probability of the answer that is right ::

    loss = -f(p_t) log(p_t),    f(p_t) = 1                              for p_t < threshold
                                         ((1 - p_t) / threshold)^gamma  otherwise

so that f is continuous for a threshold of 1/2, which is the paper's. Targets are 0 and 1.
"""

import numpy as np

import fastxent as fx
import fastxent.math as fxm


@fx.custom_loss
def reduced_focal_loss(logit, target, gamma=2.0, threshold=0.5):
    """Reduced focal loss from logits."""
    right = fxm.where(target == 1, logit, -logit)  # p_t = sigmoid(right)
    p = fxm.sigmoid(right)
    factor = fxm.where(p < threshold, 1, ((1 - p) / threshold) ** gamma)
    return -factor * fxm.log_sigmoid(right)


if __name__ == "__main__":
    # Three anchors, two classes; the last anchor has none of them.
    logits = np.array([[3.0, -2.0], [-1.0, -4.0], [0.5, -3.0]], dtype=np.float32)
    loss, grad = reduced_focal_loss(logits, [0, 0, 2], reduction="mean", return_grad=True)
    print(f"mean {loss:.6f}, gradient\n{grad.round(4)}")
