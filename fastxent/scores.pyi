# scripts/type_stubs.py made this of scores.py: change that, and run the script again.
# fmt: off

from fastxent._contract import Array, ArrayOrScalar, BackendName
from numpy.typing import ArrayLike
from typing import Any, SupportsIndex, overload
import numpy as np

__all__ = [
    "log_sigmoid",
    "log_softmax",
    "logit",
    "logsumexp",
    "odds",
    "sigmoid",
    "softmax",
    "softplus",
]

@overload
def sigmoid(
    logits: float | np.number[Any], *, out: Array | None = None,
    num_threads: SupportsIndex | None = None, backend: BackendName | None = None
) -> ArrayOrScalar: ...
@overload
def sigmoid(
    logits: ArrayLike, *, out: Array | None = None, num_threads: SupportsIndex | None = None,
    backend: BackendName | None = None
) -> Array: ...
@overload
def log_sigmoid(
    logits: float | np.number[Any], *, out: Array | None = None,
    num_threads: SupportsIndex | None = None, backend: BackendName | None = None
) -> ArrayOrScalar: ...
@overload
def log_sigmoid(
    logits: ArrayLike, *, out: Array | None = None, num_threads: SupportsIndex | None = None,
    backend: BackendName | None = None
) -> Array: ...
@overload
def softplus(
    logits: float | np.number[Any], *, out: Array | None = None,
    num_threads: SupportsIndex | None = None, backend: BackendName | None = None
) -> ArrayOrScalar: ...
@overload
def softplus(
    logits: ArrayLike, *, out: Array | None = None, num_threads: SupportsIndex | None = None,
    backend: BackendName | None = None
) -> Array: ...
@overload
def logit(
    probs: float | np.number[Any], *, out: Array | None = None,
    num_threads: SupportsIndex | None = None, backend: BackendName | None = None
) -> ArrayOrScalar: ...
@overload
def logit(
    probs: ArrayLike, *, out: Array | None = None, num_threads: SupportsIndex | None = None,
    backend: BackendName | None = None
) -> Array: ...
@overload
def odds(
    probs: float | np.number[Any], *, out: Array | None = None,
    num_threads: SupportsIndex | None = None, backend: BackendName | None = None
) -> ArrayOrScalar: ...
@overload
def odds(
    probs: ArrayLike, *, out: Array | None = None, num_threads: SupportsIndex | None = None,
    backend: BackendName | None = None
) -> Array: ...
@overload
def softmax(
    logits: float | np.number[Any], *,
    axis: SupportsIndex | tuple[SupportsIndex, ...] | None = -1, out: Array | None = None,
    num_threads: SupportsIndex | None = None, backend: BackendName | None = None
) -> ArrayOrScalar: ...
@overload
def softmax(
    logits: ArrayLike, *, axis: SupportsIndex | tuple[SupportsIndex, ...] | None = -1,
    out: Array | None = None, num_threads: SupportsIndex | None = None,
    backend: BackendName | None = None
) -> Array: ...
@overload
def log_softmax(
    logits: float | np.number[Any], *,
    axis: SupportsIndex | tuple[SupportsIndex, ...] | None = -1, out: Array | None = None,
    num_threads: SupportsIndex | None = None, backend: BackendName | None = None
) -> ArrayOrScalar: ...
@overload
def log_softmax(
    logits: ArrayLike, *, axis: SupportsIndex | tuple[SupportsIndex, ...] | None = -1,
    out: Array | None = None, num_threads: SupportsIndex | None = None,
    backend: BackendName | None = None
) -> Array: ...
def logsumexp(
    logits: ArrayLike, *, axis: SupportsIndex | tuple[SupportsIndex, ...] | None = -1,
    keepdims: bool = False, out: Array | None = None, num_threads: SupportsIndex | None = None,
    backend: BackendName | None = None
) -> ArrayOrScalar: ...
