"""The losses and scores in PyTorch: library functions where there are any."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from benchmarks.inputs import Inputs

# --- sigmoid family: (logits, dense targets) -> the loss of each class ---------------------------


def sigmoid_cross_entropy(z: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(z, y, reduction="none")


def sigmoid_focal_loss(z: Tensor, y: Tensor, gamma: float = 2) -> Tensor:
    """As torchvision writes it."""
    p = torch.sigmoid(z)
    cross_entropy = F.binary_cross_entropy_with_logits(z, y, reduction="none")
    p_t = p * y + (1 - p) * (1 - y)
    return (0.25 * y + 0.75 * (1 - y)) * (1 - p_t) ** gamma * cross_entropy


def quality_focal_loss(z: Tensor, y: Tensor) -> Tensor:
    distance = (y - torch.sigmoid(z)).abs()
    return distance**2 * F.binary_cross_entropy_with_logits(z, y, reduction="none")


def varifocal_loss(z: Tensor, y: Tensor) -> Tensor:
    """As mmdetection writes it."""
    negative = 0.75 * torch.sigmoid(z) ** 2 * (y <= 0)
    factor = y * (y > 0) + negative
    return factor * F.binary_cross_entropy_with_logits(z, y, reduction="none")


def sigmoid_focal_loss_star(z: Tensor, y: Tensor) -> Tensor:
    return (y * F.softplus(-2 * z) + (1 - y) * F.softplus(2 * z)) / 2


def asymmetric_loss(z: Tensor, y: Tensor) -> Tensor:
    p = torch.sigmoid(z)
    shifted = (p - 0.05).clamp(min=0)
    positive = (1 - p) * F.softplus(-z)
    return y * positive - (1 - y) * shifted**4 * torch.log1p(-shifted)


def binary_cross_entropy(p: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy(p, y, reduction="none")


SIGMOID = {
    "sigmoid_cross_entropy": sigmoid_cross_entropy,
    "sigmoid_focal_loss": sigmoid_focal_loss,
    "quality_focal_loss": quality_focal_loss,
    "varifocal_loss": varifocal_loss,
    "sigmoid_focal_loss_star": sigmoid_focal_loss_star,
    "asymmetric_loss": asymmetric_loss,
    "binary_cross_entropy": binary_cross_entropy,
}


def class_axis(inputs: Inputs) -> int | None:
    """Return the class axis, not negative."""
    return None if inputs.axis is None else inputs.axis % len(inputs.shape.dims)


def over_classes(inputs: Inputs, terms: Tensor) -> Tensor:
    """Return one loss per anchor."""
    axis = class_axis(inputs)
    if axis is None:
        return terms
    if inputs.function == "binary_cross_entropy":
        return terms.mean(axis)
    return terms.sum(axis)


# --- softmax family: (logits, labels) -> one loss per anchor; the class axis is 1 ----------------


def _of_label(values: Tensor, labels: Tensor) -> Tensor:
    return values.gather(1, labels.unsqueeze(1)).squeeze(1)


def softmax_cross_entropy(z: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(z, labels, reduction="none")


def softmax_focal_loss(z: Tensor, labels: Tensor, gamma: float = 2) -> Tensor:
    cross_entropy = F.cross_entropy(z, labels, reduction="none")
    return (1 - torch.exp(-cross_entropy)) ** gamma * cross_entropy


def poly1_cross_entropy(z: Tensor, labels: Tensor) -> Tensor:
    cross_entropy = F.cross_entropy(z, labels, reduction="none")
    return cross_entropy + 1 - torch.exp(-cross_entropy)


def distribution_focal_loss(z: Tensor, positions: Tensor) -> Tensor:
    log_p = F.log_softmax(z, 1)
    left = positions.long()
    share = positions - left
    return -(1 - share) * _of_label(log_p, left) - share * _of_label(log_p, left + 1)


def categorical_cross_entropy(p: Tensor, labels: Tensor) -> Tensor:
    chosen = _of_label(p, labels) / p.sum(1)
    return -torch.log(chosen.clamp(1e-7, 1 - 1e-7))


SOFTMAX = {
    "softmax_cross_entropy": softmax_cross_entropy,
    "softmax_focal_loss": softmax_focal_loss,
    "poly1_cross_entropy": poly1_cross_entropy,
    "distribution_focal_loss": distribution_focal_loss,
    "categorical_cross_entropy": categorical_cross_entropy,
}


def loss_of(inputs: Inputs) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the formula of a loss, with the exponent of the case."""
    formula = (SIGMOID | SOFTMAX)[inputs.function]
    # 2 is no float here: torch squares by a multiplication.
    return partial(formula, gamma=inputs.gamma) if inputs.options else formula


ELEMENT_SCORES = {
    "sigmoid": torch.sigmoid,
    "log_sigmoid": F.logsigmoid,
    "softplus": F.softplus,
    "logit": torch.logit,
    "odds": lambda p: p / (1 - p),
}
CLASS_SCORES = {
    "softmax": torch.softmax,
    "log_softmax": torch.log_softmax,
    "logsumexp": torch.logsumexp,
}
#: The scores that write into a tensor that exists.
WITH_OUT = {"sigmoid", "logit", "softmax", "log_softmax", "logsumexp"}


def as_tensor(array: np.ndarray) -> Tensor:
    """Return a tensor of the same memory."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def as_arrays(result: Tensor | tuple[Tensor, ...]) -> tuple[np.ndarray, ...]:
    tensors = result if isinstance(result, tuple) else (result,)
    arrays = []
    for tensor in tensors:
        wide = tensor.detach()
        arrays.append((wide.float() if wide.dtype == torch.bfloat16 else wide).numpy())
    return tuple(arrays)
