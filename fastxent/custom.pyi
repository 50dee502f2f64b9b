# scripts/type_stubs.py made this of custom.py: change that, and run the script again.
# fmt: off

from collections.abc import Callable
from fastxent._contract import Array, ArrayOrScalar, IgnoreIndex, Normalizer, Reduction
from fastxent._tracing.trace import Function
from numpy.typing import ArrayLike
from typing import Literal, SupportsIndex, overload
import numpy as np

__all__ = ["custom_loss"]

@overload
def custom_loss(
    function: Function, /, *, derivative: Function | None = None
) -> "CustomLoss": ...
@overload
def custom_loss(
    function: None = None, /, *, derivative: Function | None = None
) -> Callable[[Function], "CustomLoss"]: ...
class CustomLoss:
    __name__: str
    __qualname__: str
    __wrapped__: Function
    @overload
    def __call__(
        self, logits: ArrayLike, targets: ArrayLike, *, axis: SupportsIndex | None = -1,
        reduction: Literal["anchor", "none"] = "anchor", normalizer: Normalizer | float = "valid",
        empty: Literal["raise"] | float = 0.0, weight: ArrayLike | None = None,
        class_weight: ArrayLike | None = None, ignore_index: IgnoreIndex = -100,
        background_index: SupportsIndex | None = None, return_grad: Literal[False] = False,
        grad_output: ArrayLike | None = None, out: Array | None = None,
        grad_out: Array | None = None, num_threads: SupportsIndex | None = None, **values: float
    ) -> Array: ...
    @overload
    def __call__(
        self, logits: ArrayLike, targets: ArrayLike, *, axis: SupportsIndex | None = -1,
        reduction: Literal["sum", "mean"], normalizer: Normalizer | float = "valid",
        empty: Literal["raise"] | float = 0.0, weight: ArrayLike | None = None,
        class_weight: ArrayLike | None = None, ignore_index: IgnoreIndex = -100,
        background_index: SupportsIndex | None = None, return_grad: Literal[False] = False,
        grad_output: ArrayLike | None = None, out: Array | None = None,
        grad_out: Array | None = None, num_threads: SupportsIndex | None = None, **values: float
    ) -> np.float64: ...
    @overload
    def __call__(
        self, logits: ArrayLike, targets: ArrayLike, *, axis: SupportsIndex | None = -1,
        reduction: Literal["anchor", "none"] = "anchor", normalizer: Normalizer | float = "valid",
        empty: Literal["raise"] | float = 0.0, weight: ArrayLike | None = None,
        class_weight: ArrayLike | None = None, ignore_index: IgnoreIndex = -100,
        background_index: SupportsIndex | None = None, return_grad: Literal[True],
        grad_output: ArrayLike | None = None, out: Array | None = None,
        grad_out: Array | None = None, num_threads: SupportsIndex | None = None, **values: float
    ) -> tuple[Array, Array]: ...
    @overload
    def __call__(
        self, logits: ArrayLike, targets: ArrayLike, *, axis: SupportsIndex | None = -1,
        reduction: Literal["sum", "mean"], normalizer: Normalizer | float = "valid",
        empty: Literal["raise"] | float = 0.0, weight: ArrayLike | None = None,
        class_weight: ArrayLike | None = None, ignore_index: IgnoreIndex = -100,
        background_index: SupportsIndex | None = None, return_grad: Literal[True],
        grad_output: ArrayLike | None = None, out: Array | None = None,
        grad_out: Array | None = None, num_threads: SupportsIndex | None = None, **values: float
    ) -> tuple[np.float64, Array]: ...
    @overload
    def __call__(
        self, logits: ArrayLike, targets: ArrayLike, *, axis: SupportsIndex | None = -1,
        reduction: Reduction = "anchor", normalizer: Normalizer | float = "valid",
        empty: Literal["raise"] | float = 0.0, weight: ArrayLike | None = None,
        class_weight: ArrayLike | None = None, ignore_index: IgnoreIndex = -100,
        background_index: SupportsIndex | None = None, return_grad: bool,
        grad_output: ArrayLike | None = None, out: Array | None = None,
        grad_out: Array | None = None, num_threads: SupportsIndex | None = None, **values: float
    ) -> ArrayOrScalar: ...
