"""The losses and scores of fastxent on tensors of PyTorch, inside of a training step.

A tensor gets to its kernel by one of two routes, which ``arguments.py`` tells apart:

- *plain* (``plain.py``): ordinary tensors on the CPU. They are read as NumPy arrays of the same
  memory; a gradient comes from a small ``autograd.Function``.
- *traced* (``traced.py``): while torch compiles, exports or transforms (``torch.func``), and
  tensors of other types. They go through operators that torch knows by their shapes.
"""

try:
    import torch  # noqa: F401 - the library; this package is fastxent.torch
except ImportError as error:
    raise ImportError(
        'fastxent.torch needs PyTorch, which is not installed: pip install "fastxent[torch]"'
    ) from error

from fastxent.torch.detection import (
    Candidates,
    class_cost,
    hard_negatives,
    ohem,
    select_candidates,
)
from fastxent.torch.losses import (
    asymmetric_loss,
    binary_cross_entropy,
    categorical_cross_entropy,
    distribution_focal_loss,
    poly1_cross_entropy,
    quality_focal_loss,
    sigmoid_cross_entropy,
    sigmoid_focal_loss,
    sigmoid_focal_loss_star,
    softmax_cross_entropy,
    softmax_focal_loss,
    varifocal_loss,
)
from fastxent.torch.modules import BCEWithLogitsLoss, CrossEntropyLoss, SigmoidFocalLoss
from fastxent.torch.scores import (
    log_sigmoid,
    log_softmax,
    logit,
    logsumexp,
    odds,
    sigmoid,
    softmax,
    softplus,
)

__all__ = [
    "BCEWithLogitsLoss",
    "Candidates",
    "CrossEntropyLoss",
    "SigmoidFocalLoss",
    "asymmetric_loss",
    "binary_cross_entropy",
    "categorical_cross_entropy",
    "class_cost",
    "distribution_focal_loss",
    "hard_negatives",
    "log_sigmoid",
    "log_softmax",
    "logit",
    "logsumexp",
    "odds",
    "ohem",
    "poly1_cross_entropy",
    "quality_focal_loss",
    "select_candidates",
    "sigmoid",
    "sigmoid_cross_entropy",
    "sigmoid_focal_loss",
    "sigmoid_focal_loss_star",
    "softmax",
    "softmax_cross_entropy",
    "softmax_focal_loss",
    "softplus",
    "varifocal_loss",
]
