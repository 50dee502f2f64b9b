# scripts/type_stubs.py made this of focal_star.py: change that, and run the script again.
# fmt: off

from fastxent._contract import Array, ArrayOrScalar, BackendName, IgnoreIndex, Normalizer, Reduction
from numpy.typing import ArrayLike
from typing import Literal, SupportsIndex, overload
import numpy as np

__all__ = ["sigmoid_focal_loss_star"]

@overload
def sigmoid_focal_loss_star(
    logits: ArrayLike, targets: ArrayLike, *, alpha: ArrayLike | None = None,
    gamma: float = 2.0, beta: float = 0.0, axis: SupportsIndex | None = -1,
    reduction: Literal["anchor", "none"] = "anchor", normalizer: Normalizer | float = "valid",
    empty: Literal["raise"] | float = 0.0, weight: ArrayLike | None = None,
    class_weight: ArrayLike | None = None, ignore_index: IgnoreIndex = -100,
    background_index: SupportsIndex | None = None, return_grad: Literal[False] = False,
    grad_output: ArrayLike | None = None, out: Array | None = None,
    grad_out: Array | None = None, num_threads: SupportsIndex | None = None,
    backend: BackendName | None = None
) -> Array: ...
@overload
def sigmoid_focal_loss_star(
    logits: ArrayLike, targets: ArrayLike, *, alpha: ArrayLike | None = None,
    gamma: float = 2.0, beta: float = 0.0, axis: SupportsIndex | None = -1,
    reduction: Literal["sum", "mean"], normalizer: Normalizer | float = "valid",
    empty: Literal["raise"] | float = 0.0, weight: ArrayLike | None = None,
    class_weight: ArrayLike | None = None, ignore_index: IgnoreIndex = -100,
    background_index: SupportsIndex | None = None, return_grad: Literal[False] = False,
    grad_output: ArrayLike | None = None, out: Array | None = None,
    grad_out: Array | None = None, num_threads: SupportsIndex | None = None,
    backend: BackendName | None = None
) -> np.float64: ...
@overload
def sigmoid_focal_loss_star(
    logits: ArrayLike, targets: ArrayLike, *, alpha: ArrayLike | None = None,
    gamma: float = 2.0, beta: float = 0.0, axis: SupportsIndex | None = -1,
    reduction: Literal["anchor", "none"] = "anchor", normalizer: Normalizer | float = "valid",
    empty: Literal["raise"] | float = 0.0, weight: ArrayLike | None = None,
    class_weight: ArrayLike | None = None, ignore_index: IgnoreIndex = -100,
    background_index: SupportsIndex | None = None, return_grad: Literal[True],
    grad_output: ArrayLike | None = None, out: Array | None = None,
    grad_out: Array | None = None, num_threads: SupportsIndex | None = None,
    backend: BackendName | None = None
) -> tuple[Array, Array]: ...
@overload
def sigmoid_focal_loss_star(
    logits: ArrayLike, targets: ArrayLike, *, alpha: ArrayLike | None = None,
    gamma: float = 2.0, beta: float = 0.0, axis: SupportsIndex | None = -1,
    reduction: Literal["sum", "mean"], normalizer: Normalizer | float = "valid",
    empty: Literal["raise"] | float = 0.0, weight: ArrayLike | None = None,
    class_weight: ArrayLike | None = None, ignore_index: IgnoreIndex = -100,
    background_index: SupportsIndex | None = None, return_grad: Literal[True],
    grad_output: ArrayLike | None = None, out: Array | None = None,
    grad_out: Array | None = None, num_threads: SupportsIndex | None = None,
    backend: BackendName | None = None
) -> tuple[np.float64, Array]: ...
@overload
def sigmoid_focal_loss_star(
    logits: ArrayLike, targets: ArrayLike, *, alpha: ArrayLike | None = None,
    gamma: float = 2.0, beta: float = 0.0, axis: SupportsIndex | None = -1,
    reduction: Reduction = "anchor", normalizer: Normalizer | float = "valid",
    empty: Literal["raise"] | float = 0.0, weight: ArrayLike | None = None,
    class_weight: ArrayLike | None = None, ignore_index: IgnoreIndex = -100,
    background_index: SupportsIndex | None = None, return_grad: bool,
    grad_output: ArrayLike | None = None, out: Array | None = None,
    grad_out: Array | None = None, num_threads: SupportsIndex | None = None,
    backend: BackendName | None = None
) -> ArrayOrScalar: ...
