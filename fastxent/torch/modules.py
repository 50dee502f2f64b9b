"""Modules that take the place of torch's and torchvision's, with the same results."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from fastxent.torch.losses import sigmoid_cross_entropy, sigmoid_focal_loss, softmax_cross_entropy

__all__ = ["BCEWithLogitsLoss", "CrossEntropyLoss", "SigmoidFocalLoss"]

TorchReduction = Literal["none", "mean", "sum"]


class CrossEntropyLoss(nn.Module):
    """Softmax cross-entropy in the place of ``torch.nn.CrossEntropyLoss``.

    Parameters
    ----------
    weight : Tensor of shape (C,), optional
        Factor of each class; finite and not negative.
    ignore_index : int, default -100
        The class label of what is left out.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the sum of the weights applied with class labels, and by the number of
        anchors with probabilities, as torch does.
    label_smoothing : float, default 0.0
        From 0 to 1.

    Notes
    -----
    ``module(input, target)`` takes logits (C), (N, C) or (N, C, d1, ...), and class labels of the
    shape without C or probabilities of the same shape. Results are float32 for half-precision
    logits. Refused are probabilities outside [0, 1] and negative weights.
    """

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        ignore_index: int = -100,
        reduction: TorchReduction = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = _checked(reduction)
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Return the loss of logits and class labels, or probabilities."""
        has_labels = input.shape != target.shape
        if not has_labels and not target.is_floating_point():
            raise TypeError(
                f"target has dtype {target.dtype} and the shape of input, where probabilities are "
                "of a floating-point dtype"
            )
        if not has_labels and self.ignore_index >= 0:
            raise ValueError("ignore_index is for class labels, but this target has probabilities")
        options: dict[str, Any] = {
            "axis": 1 if input.ndim > 1 else 0,
            "class_weight": self.weight,
            "label_smoothing": self.label_smoothing,
            # Among probabilities there is none to be ignored.
            "ignore_index": self.ignore_index if has_labels else (),
        }
        if self.reduction == "mean":
            options["normalizer"] = "weight" if has_labels else "count"
            options["empty"] = torch.nan
        return softmax_cross_entropy(input, target, reduction=self.reduction, **options)

    def extra_repr(self) -> str:
        """Return the options, for printing."""
        return (
            f"ignore_index={self.ignore_index}, reduction={self.reduction!r}, "
            f"label_smoothing={self.label_smoothing}"
        )


class BCEWithLogitsLoss(nn.Module):
    """Sigmoid cross-entropy in the place of ``torch.nn.BCEWithLogitsLoss``.

    Parameters
    ----------
    weight : Tensor, optional
        Factor of each element: a shape that broadcasts to that of the logits.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.
    pos_weight : Tensor of shape (), (1,), (C,) or (C, 1, ...), optional
        Factor of the positive terms, finite and not negative: one for all, or one for each of the
        C classes, whose axis is as far from the last one as in this shape.

    Notes
    -----
    ``module(input, target)`` takes logits and targets from 0 to 1 of the same shape. Results are
    float32 for half-precision logits.
    """

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        reduction: TorchReduction = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.reduction = _checked(reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Return the loss of logits and targets."""
        _check_same_shape(input, target)
        pos_weight, axis = _positive_weight(self.pos_weight)
        weight = self.weight
        if weight is not None and weight.ndim < input.ndim:
            # Aligned on the right, as torch does it.
            weight = weight.reshape((1,) * (input.ndim - weight.ndim) + tuple(weight.shape))
        options = {"axis": axis, "weight": weight, "pos_weight": pos_weight, "ignore_index": ()}
        return _elementwise(sigmoid_cross_entropy, input, target, self.reduction, options)

    def extra_repr(self) -> str:
        """Return the options, for printing."""
        return f"reduction={self.reduction!r}"


class SigmoidFocalLoss(nn.Module):
    """Focal loss of sigmoids, as ``torchvision.ops.sigmoid_focal_loss`` with labels, too.

    Parameters
    ----------
    alpha : float, default 0.25
        Weight of the positives; that of the negatives is 1 - alpha. Negative: none for both.
    gamma : float, default 2.0
        Exponent.
    reduction : {"none", "mean", "sum"}, default "none"
        "mean" divides by the number of elements.

    Notes
    -----
    ``module(inputs, targets)`` takes logits and targets from 0 to 1 of the same shape; or logits
    (N, C) or (N, C, d1, ...) and class labels of the shape without C, of which C means "no class"
    and -100 contributes nothing.
    """

    def __init__(
        self, alpha: float = 0.25, gamma: float = 2.0, reduction: TorchReduction = "none"
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.gamma = gamma
        self.reduction = _checked(reduction)

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of logits and targets, or class labels."""
        is_dense = inputs.shape == targets.shape
        options = {
            "alpha": self.alpha if self.alpha >= 0 else None,
            "gamma": self.gamma,
            "axis": None if is_dense else 1 if inputs.ndim > 1 else 0,
            "ignore_index": () if is_dense else -100,
        }
        return _elementwise(sigmoid_focal_loss, inputs, targets, self.reduction, options)

    def extra_repr(self) -> str:
        """Return the options, for printing."""
        return f"alpha={self.alpha}, gamma={self.gamma}, reduction={self.reduction!r}"


def _elementwise(
    loss: Any, values: Tensor, targets: Tensor, reduction: TorchReduction, options: dict[str, Any]
) -> Tensor:
    """Return a loss of elements, of which a mean is one over all of them."""
    if reduction == "mean":
        options = {**options, "normalizer": values.numel(), "empty": torch.nan}
    # One loss for each logit, which "none" means to torch and to us.
    result: Tensor = loss(values, targets, reduction=reduction, **options)
    return result


def _positive_weight(weight: Tensor | None) -> tuple[Tensor | None, int | None]:
    """Return the weights of positives, and the class axis that they belong to, if any."""
    if weight is None or weight.numel() == 1:
        return None if weight is None else weight.reshape(()), None
    if any(length != 1 for length in weight.shape[1:]):
        raise ValueError(
            f"pos_weight has shape {tuple(weight.shape)}, expected (1,), or with one element for "
            "each of the C classes (C,) or (C, 1, ...)"
        )
    return weight.flatten(), -weight.ndim


def _check_same_shape(values: Tensor, targets: Tensor) -> None:
    if values.shape != targets.shape:
        raise ValueError(
            f"target has shape {tuple(targets.shape)}, expected that of input, "
            f"{tuple(values.shape)}"
        )


def _checked(reduction: TorchReduction) -> TorchReduction:
    if reduction not in {"none", "mean", "sum"}:
        raise ValueError(f"reduction = {reduction!r} is not one of 'none', 'mean' and 'sum'")
    return reduction
