"""The losses of mmdetection 3.3, with its parameters and its call form, on the CPU.

A line registers one of them, to be named in a configuration ::

    from mmdet.registry import MODELS
    from fastxent.torch import mmdetection

    MODELS.register_module(name="FastFocalLoss", module=mmdetection.FocalLoss)

They are called as theirs are, ``loss(pred, target, weight, avg_factor=..., ...)``, with an
`avg_factor` that is a number or a tensor without dimensions. What they do not support is an error.
`loss_weight` is a part of the divisor of "mean", so that no pass multiplies the gradient.
"""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from fastxent.torch import losses

__all__ = [
    "CrossEntropyLoss",
    "DistributionFocalLoss",
    "FocalLoss",
    "QualityFocalLoss",
    "VarifocalLoss",
]

Reduction = Literal["none", "mean", "sum"]
AverageFactor: TypeAlias = float | Tensor

#: What mmdetection adds to an `avg_factor`, which may be zero.
_EPS = torch.finfo(torch.float32).eps
_REDUCTIONS = ("none", "mean", "sum")


class _Loss(nn.Module):
    """What the five have in common."""

    def __init__(self, reduction: Reduction, loss_weight: float) -> None:
        super().__init__()
        _check_reduction(reduction, "reduction")
        self.reduction = reduction
        self.loss_weight = loss_weight

    def _evaluate(
        self,
        loss: Callable[..., Tensor],
        arguments: tuple[Tensor, ...],
        count: int | Tensor,
        avg_factor: AverageFactor | None,
        reduction: Reduction,
        **options: Any,
    ) -> Tensor:
        """Evaluate a loss whose mean is one over `count`, or over an `avg_factor`.

        The options are those of fastxent.torch. Its reduction "none" is one loss for each element
        of a sigmoid, or for each anchor.
        """
        scale = self.loss_weight
        if reduction == "mean":
            divisor = count if avg_factor is None else avg_factor + _EPS
            options = {**options, "normalizer": divisor, "empty": torch.nan}
            if scale > 0:
                options["normalizer"], scale = divisor / scale, 1.0
        result = loss(*arguments, reduction=reduction, **options)
        return result if scale == 1 else result * scale

    def _reduction(
        self, avg_factor: AverageFactor | None, reduction_override: Reduction | None
    ) -> Reduction:
        """Return the reduction of a call."""
        reduction = self.reduction
        if reduction_override is not None:
            _check_reduction(reduction_override, "reduction_override")
            reduction = reduction_override
        if avg_factor is not None and reduction == "sum":
            raise ValueError("avg_factor is for the reduction 'mean', not for 'sum'")
        return reduction


class FocalLoss(_Loss):
    """Focal loss of sigmoids.

    Parameters
    ----------
    use_sigmoid, activated : bool
        True and False; others are not supported.
    gamma, alpha : float
        The exponent, and the weight of positives; that of negatives is 1 - alpha.
    reduction, loss_weight
        As in mmdetection.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        gamma: float = 2.0,
        alpha: float = 0.25,
        reduction: Reduction = "mean",
        loss_weight: float = 1.0,
        activated: bool = False,
    ) -> None:
        super().__init__(reduction, loss_weight)
        _require(self, use_sigmoid=use_sigmoid, activated=activated)
        self.gamma = gamma
        self.alpha = alpha

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: AverageFactor | None = None,
        reduction_override: Reduction | None = None,
    ) -> Tensor:
        """Return the loss of logits (N, C) and labels (N,), of which C is the background."""
        axis = None if pred.ndim == target.ndim else 1
        if axis == 1 and pred.shape[1] == 1:
            target, axis = _of_single_class(target), None
        return self._evaluate(
            losses.sigmoid_focal_loss,
            (pred, target),
            pred.numel(),
            avg_factor,
            self._reduction(avg_factor, reduction_override),
            alpha=self.alpha,
            gamma=self.gamma,
            axis=axis,
            weight=_weight_of_elements(weight, pred),
            ignore_index=(),
        )


class QualityFocalLoss(_Loss):
    """Quality focal loss.

    Parameters
    ----------
    use_sigmoid, activated : bool
        True and False; others are not supported.
    beta : float
        The exponent.
    reduction, loss_weight
        As in mmdetection.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        beta: float = 2.0,
        reduction: Reduction = "mean",
        loss_weight: float = 1.0,
        activated: bool = False,
    ) -> None:
        super().__init__(reduction, loss_weight)
        _require(self, use_sigmoid=use_sigmoid, activated=activated)
        self.beta = beta

    def forward(
        self,
        pred: Tensor,
        target: tuple[Tensor, Tensor] | Tensor,
        weight: Tensor | None = None,
        avg_factor: AverageFactor | None = None,
        reduction_override: Reduction | None = None,
    ) -> Tensor:
        """Return the loss of logits (N, C), and labels and scores (N,) or targets (N, C)."""
        reduction = self._reduction(avg_factor, reduction_override)
        axis = None
        if isinstance(target, Tensor):
            # Each element is an anchor of its own, a positive where its target is not zero.
            labels, scores = (target != 0).to(torch.uint8), target
        elif pred.shape[1] == 1:
            labels, scores = _of_single_class(target[0]), target[1].unsqueeze(1)
        else:
            (labels, scores), axis = target, 1
        result = self._evaluate(
            losses.quality_focal_loss,
            (pred, labels, scores),
            len(pred),
            avg_factor,
            reduction,
            beta=self.beta,
            axis=axis,
            weight=_weight_of_elements(weight, pred),
            ignore_index=(),
        )
        return result.sum(1) if reduction == "none" else result


class VarifocalLoss(_Loss):
    """Varifocal loss.

    Parameters
    ----------
    use_sigmoid : bool
        True; others are not supported.
    alpha, gamma : float
        The weight of negatives, and their exponent.
    iou_weighted : bool
        The target is a factor of the loss of a positive.
    reduction, loss_weight
        As in mmdetection.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        alpha: float = 0.75,
        gamma: float = 2.0,
        iou_weighted: bool = True,
        reduction: Reduction = "mean",
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        _require(self, use_sigmoid=use_sigmoid)
        self.alpha = alpha
        self.gamma = gamma
        self.iou_weighted = iou_weighted

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: AverageFactor | None = None,
        reduction_override: Reduction | None = None,
    ) -> Tensor:
        """Return the loss of logits and targets (N, C)."""
        _check_shape(pred, target)
        return self._evaluate(
            losses.varifocal_loss,
            (pred, target),
            pred.numel(),
            avg_factor,
            self._reduction(avg_factor, reduction_override),
            alpha=self.alpha,
            gamma=self.gamma,
            iou_weighted=self.iou_weighted,
            axis=None,
            weight=_weight_of_elements(weight, pred),
            ignore_index=(),
        )


class DistributionFocalLoss(_Loss):
    """Distribution focal loss.

    Parameters
    ----------
    reduction, loss_weight
        As in mmdetection.
    """

    def __init__(self, reduction: Reduction = "mean", loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: AverageFactor | None = None,
        reduction_override: Reduction | None = None,
    ) -> Tensor:
        """Return the loss of logits (N, bins) and positions (N,)."""
        return self._evaluate(
            losses.distribution_focal_loss,
            (pred, target),
            len(pred),
            avg_factor,
            self._reduction(avg_factor, reduction_override),
            axis=1,
            weight=weight,
            ignore_index=(),
        )


class CrossEntropyLoss(_Loss):
    """Cross-entropy of a softmax or of sigmoids.

    Parameters
    ----------
    use_sigmoid : bool
        Sigmoids, instead of a softmax.
    use_mask : bool
        False; True is not supported.
    reduction, loss_weight
        As in mmdetection.
    class_weight : list of float, optional
        Factor of each class; of sigmoids, of their positive terms.
    ignore_index : int, optional
        The label of what is left out, -100 by default.
    avg_non_ignore : bool
        Whether a mean is one over what is not left out.
    """

    def __init__(
        self,
        use_sigmoid: bool = False,
        use_mask: bool = False,
        reduction: Reduction = "mean",
        class_weight: list[float] | None = None,
        ignore_index: int | None = None,
        loss_weight: float = 1.0,
        avg_non_ignore: bool = False,
    ) -> None:
        super().__init__(reduction, loss_weight)
        _require(self, use_mask=use_mask)
        self.use_sigmoid = use_sigmoid
        self.class_weight = class_weight
        self.ignore_index = ignore_index
        self.avg_non_ignore = avg_non_ignore

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: AverageFactor | None = None,
        reduction_override: Reduction | None = None,
        ignore_index: int | None = None,
    ) -> Tensor:
        """Return the loss of logits (N, C) and labels (N,); of sigmoids, or of targets (N, C)."""
        if ignore_index is None:
            ignore_index = -100 if self.ignore_index is None else self.ignore_index
        count: int | Tensor = cls_score.numel() if self.use_sigmoid else label.numel()
        if self.avg_non_ignore:
            count = (label != ignore_index).sum()
        factors = None
        if self.class_weight is not None:
            factors = torch.tensor(self.class_weight, dtype=torch.float64, device="cpu")
        options: dict[str, Any] = {"axis": 1, "weight": weight, "class_weight": factors}
        loss = losses.softmax_cross_entropy
        if self.use_sigmoid:
            loss = losses.sigmoid_cross_entropy
            weight = _weight_of_elements(weight, cls_score)
            options = {"axis": -1, "weight": weight, "pos_weight": factors}
            if cls_score.ndim != label.ndim:
                classes = cls_score.shape[-1]
                is_valid = (label >= 0) & (label != ignore_index)
                if self.avg_non_ignore:
                    count = is_valid.sum() * classes
                if classes == 1:
                    label, options["axis"] = _of_single_class(label), None
                    is_valid = is_valid.unsqueeze(1)
                ignore_index = -100
                label = torch.where(is_valid, label, ignore_index)
        return self._evaluate(
            loss,
            (cls_score, label),
            count,
            avg_factor,
            self._reduction(avg_factor, reduction_override),
            ignore_index=ignore_index,
            **options,
        )


def _of_single_class(label: Tensor) -> Tensor:
    """Return labels of one class, of which 0 is a positive, as labels of elements, where 1 is."""
    return 1 - label.unsqueeze(1)


def _weight_of_elements(weight: Tensor | None, pred: Tensor) -> Tensor | None:
    """Return weights of anchors, or of the elements of `pred`, as mmdetection tells them apart."""
    if weight is None or weight.shape == pred.shape or pred.ndim == 1:
        return weight
    if len(weight) == len(pred):
        return weight.reshape(-1, 1)
    return weight.reshape(len(pred), -1)


def _check_shape(pred: Tensor, target: Tensor) -> None:
    if pred.shape != target.shape:
        raise ValueError(
            f"target has shape {tuple(target.shape)}, expected that of pred, {tuple(pred.shape)}"
        )


def _check_reduction(reduction: object, name: str) -> None:
    if reduction not in _REDUCTIONS:
        raise ValueError(f"{name} = {reduction!r} is not one of {', '.join(_REDUCTIONS)}")


def _require(module: nn.Module, **options: bool) -> None:
    """Refuse what mmdetection has and these do not: other values of `use_sigmoid` and the like."""
    for name, value in options.items():
        expected = name == "use_sigmoid"
        if bool(value) is not expected:
            raise NotImplementedError(
                f"{type(module).__name__} supports {name}={expected} only, not {name}={value!r}"
            )
