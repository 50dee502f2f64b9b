# scripts/type_stubs.py made this of the functions of arrays: change those, and run it again.
# fmt: off

from fastxent._contract import IgnoreIndex, Normalizer, Reduction
from torch import Tensor
from typing import Literal, SupportsIndex, overload

__all__ = [
    "asymmetric_loss",
    "binary_cross_entropy",
    "categorical_cross_entropy",
    "distribution_focal_loss",
    "poly1_cross_entropy",
    "quality_focal_loss",
    "sigmoid_cross_entropy",
    "sigmoid_focal_loss",
    "sigmoid_focal_loss_star",
    "softmax_cross_entropy",
    "softmax_focal_loss",
    "varifocal_loss",
]

def asymmetric_loss(
    logits: Tensor, targets: Tensor, *, gamma_neg: float = 4.0, gamma_pos: float = 1.0,
    clip: float = 0.05, axis: SupportsIndex | None = -1, reduction: Reduction = "anchor",
    normalizer: Normalizer | Tensor | float = "valid", empty: Literal["raise"] | float = 0.0,
    weight: Tensor | float | None = None, class_weight: Tensor | float | None = None,
    ignore_index: IgnoreIndex = -100, background_index: SupportsIndex | None = None,
    num_threads: SupportsIndex | None = None
) -> Tensor: ...
def binary_cross_entropy(
    probs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0,
    axis: SupportsIndex | None = -1, eps: float = 1e-7, reduction: Reduction = "anchor",
    normalizer: Normalizer | Tensor | float = "valid", empty: Literal["raise"] | float = 0.0,
    weight: Tensor | float | None = None, class_weight: Tensor | float | None = None,
    ignore_index: IgnoreIndex = -100, background_index: SupportsIndex | None = None,
    num_threads: SupportsIndex | None = None
) -> Tensor: ...
def categorical_cross_entropy(
    probs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0, axis: SupportsIndex = -1,
    eps: float = 1e-7, reduction: Reduction = "anchor",
    normalizer: Normalizer | Tensor | float = "valid", empty: Literal["raise"] | float = 0.0,
    weight: Tensor | float | None = None, class_weight: Tensor | float | None = None,
    ignore_index: IgnoreIndex = -100, background_index: SupportsIndex | None = None,
    num_threads: SupportsIndex | None = None
) -> Tensor: ...
@overload
def distribution_focal_loss(
    logits: Tensor, targets: Tensor, *, return_expectation: Literal[False] = False,
    axis: SupportsIndex = -1, reduction: Reduction = "anchor",
    normalizer: Normalizer | Tensor | float = "valid", empty: Literal["raise"] | float = 0.0,
    weight: Tensor | float | None = None, ignore_index: IgnoreIndex = -100,
    num_threads: SupportsIndex | None = None
) -> Tensor: ...
@overload
def distribution_focal_loss(
    logits: Tensor, targets: Tensor, *, return_expectation: Literal[True],
    axis: SupportsIndex = -1, reduction: Reduction = "anchor",
    normalizer: Normalizer | Tensor | float = "valid", empty: Literal["raise"] | float = 0.0,
    weight: Tensor | float | None = None, ignore_index: IgnoreIndex = -100,
    num_threads: SupportsIndex | None = None
) -> tuple[Tensor, Tensor]: ...
def poly1_cross_entropy(
    logits: Tensor, targets: Tensor, *, epsilon: float = 1.0, axis: SupportsIndex = -1,
    reduction: Reduction = "anchor", normalizer: Normalizer | Tensor | float = "valid",
    empty: Literal["raise"] | float = 0.0, weight: Tensor | float | None = None,
    class_weight: Tensor | float | None = None, ignore_index: IgnoreIndex = -100,
    background_index: SupportsIndex | None = None, num_threads: SupportsIndex | None = None
) -> Tensor: ...
def quality_focal_loss(
    logits: Tensor, labels: Tensor, scores: Tensor, *, beta: float = 2.0,
    axis: SupportsIndex | None = -1, reduction: Reduction = "anchor",
    normalizer: Normalizer | Tensor | float = "valid", empty: Literal["raise"] | float = 0.0,
    weight: Tensor | float | None = None, class_weight: Tensor | float | None = None,
    ignore_index: IgnoreIndex = -100, background_index: SupportsIndex | None = None,
    num_threads: SupportsIndex | None = None
) -> Tensor: ...
def sigmoid_cross_entropy(
    logits: Tensor, targets: Tensor, *, pos_weight: Tensor | float | None = None,
    label_smoothing: float = 0.0, axis: SupportsIndex | None = -1,
    reduction: Reduction = "anchor", normalizer: Normalizer | Tensor | float = "valid",
    empty: Literal["raise"] | float = 0.0, weight: Tensor | float | None = None,
    class_weight: Tensor | float | None = None, ignore_index: IgnoreIndex = -100,
    background_index: SupportsIndex | None = None, num_threads: SupportsIndex | None = None
) -> Tensor: ...
def sigmoid_focal_loss(
    logits: Tensor, targets: Tensor, *, alpha: Tensor | float | None = 0.25, gamma: float = 2.0,
    axis: SupportsIndex | None = -1, reduction: Reduction = "anchor",
    normalizer: Normalizer | Tensor | float = "valid", empty: Literal["raise"] | float = 0.0,
    weight: Tensor | float | None = None, class_weight: Tensor | float | None = None,
    ignore_index: IgnoreIndex = -100, background_index: SupportsIndex | None = None,
    num_threads: SupportsIndex | None = None
) -> Tensor: ...
def sigmoid_focal_loss_star(
    logits: Tensor, targets: Tensor, *, alpha: Tensor | float | None = None, gamma: float = 2.0,
    beta: float = 0.0, axis: SupportsIndex | None = -1, reduction: Reduction = "anchor",
    normalizer: Normalizer | Tensor | float = "valid", empty: Literal["raise"] | float = 0.0,
    weight: Tensor | float | None = None, class_weight: Tensor | float | None = None,
    ignore_index: IgnoreIndex = -100, background_index: SupportsIndex | None = None,
    num_threads: SupportsIndex | None = None
) -> Tensor: ...
def softmax_cross_entropy(
    logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0, axis: SupportsIndex = -1,
    reduction: Reduction = "anchor", normalizer: Normalizer | Tensor | float = "valid",
    empty: Literal["raise"] | float = 0.0, weight: Tensor | float | None = None,
    class_weight: Tensor | float | None = None, ignore_index: IgnoreIndex = -100,
    background_index: SupportsIndex | None = None, num_threads: SupportsIndex | None = None
) -> Tensor: ...
def softmax_focal_loss(
    logits: Tensor, targets: Tensor, *, alpha: Tensor | float | None = None, gamma: float = 2.0,
    axis: SupportsIndex = -1, reduction: Reduction = "anchor",
    normalizer: Normalizer | Tensor | float = "valid", empty: Literal["raise"] | float = 0.0,
    weight: Tensor | float | None = None, class_weight: Tensor | float | None = None,
    ignore_index: IgnoreIndex = -100, background_index: SupportsIndex | None = None,
    num_threads: SupportsIndex | None = None
) -> Tensor: ...
def varifocal_loss(
    logits: Tensor, targets: Tensor, *, alpha: Tensor | float | None = 0.75, gamma: float = 2.0,
    iou_weighted: bool = True, axis: SupportsIndex | None = -1, reduction: Reduction = "anchor",
    normalizer: Normalizer | Tensor | float = "valid", empty: Literal["raise"] | float = 0.0,
    weight: Tensor | float | None = None, class_weight: Tensor | float | None = None,
    ignore_index: IgnoreIndex = -100, background_index: SupportsIndex | None = None,
    num_threads: SupportsIndex | None = None
) -> Tensor: ...
