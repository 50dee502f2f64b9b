# scripts/type_stubs.py made this of the functions of arrays: change those, and run it again.
# fmt: off

from fastxent._contract import IgnoreIndex, Normalizer, Reduction
from jax.typing import ArrayLike
from typing import Literal, SupportsIndex, overload
import jax

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
    logits: ArrayLike, targets: ArrayLike, *, gamma_neg: float = 4.0, gamma_pos: float = 1.0,
    clip: float = 0.05, axis: SupportsIndex | None = -1, reduction: Reduction = "anchor",
    normalizer: Normalizer | ArrayLike = "valid", empty: Literal["raise"] | float = 0.0,
    weight: ArrayLike | None = None, class_weight: ArrayLike | None = None,
    ignore_index: IgnoreIndex = -100, background_index: SupportsIndex | None = None,
    num_threads: SupportsIndex | None = None
) -> jax.Array: ...
def binary_cross_entropy(
    probs: ArrayLike, targets: ArrayLike, *, label_smoothing: float = 0.0,
    axis: SupportsIndex | None = -1, eps: float = 1e-7, reduction: Reduction = "anchor",
    normalizer: Normalizer | ArrayLike = "valid", empty: Literal["raise"] | float = 0.0,
    weight: ArrayLike | None = None, class_weight: ArrayLike | None = None,
    ignore_index: IgnoreIndex = -100, background_index: SupportsIndex | None = None,
    num_threads: SupportsIndex | None = None
) -> jax.Array: ...
def categorical_cross_entropy(
    probs: ArrayLike, targets: ArrayLike, *, label_smoothing: float = 0.0,
    axis: SupportsIndex = -1, eps: float = 1e-7, reduction: Reduction = "anchor",
    normalizer: Normalizer | ArrayLike = "valid", empty: Literal["raise"] | float = 0.0,
    weight: ArrayLike | None = None, class_weight: ArrayLike | None = None,
    ignore_index: IgnoreIndex = -100, background_index: SupportsIndex | None = None,
    num_threads: SupportsIndex | None = None
) -> jax.Array: ...
@overload
def distribution_focal_loss(
    logits: ArrayLike, targets: ArrayLike, *, return_expectation: Literal[False] = False,
    axis: SupportsIndex = -1, reduction: Reduction = "anchor",
    normalizer: Normalizer | ArrayLike = "valid", empty: Literal["raise"] | float = 0.0,
    weight: ArrayLike | None = None, ignore_index: IgnoreIndex = -100,
    num_threads: SupportsIndex | None = None
) -> jax.Array: ...
@overload
def distribution_focal_loss(
    logits: ArrayLike, targets: ArrayLike, *, return_expectation: Literal[True],
    axis: SupportsIndex = -1, reduction: Reduction = "anchor",
    normalizer: Normalizer | ArrayLike = "valid", empty: Literal["raise"] | float = 0.0,
    weight: ArrayLike | None = None, ignore_index: IgnoreIndex = -100,
    num_threads: SupportsIndex | None = None
) -> tuple[jax.Array, jax.Array]: ...
def poly1_cross_entropy(
    logits: ArrayLike, targets: ArrayLike, *, epsilon: float = 1.0, axis: SupportsIndex = -1,
    reduction: Reduction = "anchor", normalizer: Normalizer | ArrayLike = "valid",
    empty: Literal["raise"] | float = 0.0, weight: ArrayLike | None = None,
    class_weight: ArrayLike | None = None, ignore_index: IgnoreIndex = -100,
    background_index: SupportsIndex | None = None, num_threads: SupportsIndex | None = None
) -> jax.Array: ...
def quality_focal_loss(
    logits: ArrayLike, labels: ArrayLike, scores: ArrayLike, *, beta: float = 2.0,
    axis: SupportsIndex | None = -1, reduction: Reduction = "anchor",
    normalizer: Normalizer | ArrayLike = "valid", empty: Literal["raise"] | float = 0.0,
    weight: ArrayLike | None = None, class_weight: ArrayLike | None = None,
    ignore_index: IgnoreIndex = -100, background_index: SupportsIndex | None = None,
    num_threads: SupportsIndex | None = None
) -> jax.Array: ...
def sigmoid_cross_entropy(
    logits: ArrayLike, targets: ArrayLike, *, pos_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0, axis: SupportsIndex | None = -1,
    reduction: Reduction = "anchor", normalizer: Normalizer | ArrayLike = "valid",
    empty: Literal["raise"] | float = 0.0, weight: ArrayLike | None = None,
    class_weight: ArrayLike | None = None, ignore_index: IgnoreIndex = -100,
    background_index: SupportsIndex | None = None, num_threads: SupportsIndex | None = None
) -> jax.Array: ...
def sigmoid_focal_loss(
    logits: ArrayLike, targets: ArrayLike, *, alpha: ArrayLike | None = 0.25,
    gamma: float = 2.0, axis: SupportsIndex | None = -1, reduction: Reduction = "anchor",
    normalizer: Normalizer | ArrayLike = "valid", empty: Literal["raise"] | float = 0.0,
    weight: ArrayLike | None = None, class_weight: ArrayLike | None = None,
    ignore_index: IgnoreIndex = -100, background_index: SupportsIndex | None = None,
    num_threads: SupportsIndex | None = None
) -> jax.Array: ...
def sigmoid_focal_loss_star(
    logits: ArrayLike, targets: ArrayLike, *, alpha: ArrayLike | None = None,
    gamma: float = 2.0, beta: float = 0.0, axis: SupportsIndex | None = -1,
    reduction: Reduction = "anchor", normalizer: Normalizer | ArrayLike = "valid",
    empty: Literal["raise"] | float = 0.0, weight: ArrayLike | None = None,
    class_weight: ArrayLike | None = None, ignore_index: IgnoreIndex = -100,
    background_index: SupportsIndex | None = None, num_threads: SupportsIndex | None = None
) -> jax.Array: ...
def softmax_cross_entropy(
    logits: ArrayLike, targets: ArrayLike, *, label_smoothing: float = 0.0,
    axis: SupportsIndex = -1, reduction: Reduction = "anchor",
    normalizer: Normalizer | ArrayLike = "valid", empty: Literal["raise"] | float = 0.0,
    weight: ArrayLike | None = None, class_weight: ArrayLike | None = None,
    ignore_index: IgnoreIndex = -100, background_index: SupportsIndex | None = None,
    num_threads: SupportsIndex | None = None
) -> jax.Array: ...
def softmax_focal_loss(
    logits: ArrayLike, targets: ArrayLike, *, alpha: ArrayLike | None = None,
    gamma: float = 2.0, axis: SupportsIndex = -1, reduction: Reduction = "anchor",
    normalizer: Normalizer | ArrayLike = "valid", empty: Literal["raise"] | float = 0.0,
    weight: ArrayLike | None = None, class_weight: ArrayLike | None = None,
    ignore_index: IgnoreIndex = -100, background_index: SupportsIndex | None = None,
    num_threads: SupportsIndex | None = None
) -> jax.Array: ...
def varifocal_loss(
    logits: ArrayLike, targets: ArrayLike, *, alpha: ArrayLike | None = 0.75,
    gamma: float = 2.0, iou_weighted: bool = True, axis: SupportsIndex | None = -1,
    reduction: Reduction = "anchor", normalizer: Normalizer | ArrayLike = "valid",
    empty: Literal["raise"] | float = 0.0, weight: ArrayLike | None = None,
    class_weight: ArrayLike | None = None, ignore_index: IgnoreIndex = -100,
    background_index: SupportsIndex | None = None, num_threads: SupportsIndex | None = None
) -> jax.Array: ...
