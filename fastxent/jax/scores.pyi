# scripts/type_stubs.py made this of the functions of arrays: change those, and run it again.
# fmt: off

from jax.typing import ArrayLike
from typing import SupportsIndex
import jax

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

def log_sigmoid(
    logits: ArrayLike, *, num_threads: SupportsIndex | None = None
) -> jax.Array: ...
def log_softmax(
    logits: ArrayLike, *, axis: SupportsIndex | tuple[SupportsIndex, ...] | None = -1,
    num_threads: SupportsIndex | None = None
) -> jax.Array: ...
def logit(
    probs: ArrayLike, *, num_threads: SupportsIndex | None = None
) -> jax.Array: ...
def logsumexp(
    logits: ArrayLike, *, axis: SupportsIndex | tuple[SupportsIndex, ...] | None = -1,
    keepdims: bool = False, num_threads: SupportsIndex | None = None
) -> jax.Array: ...
def odds(
    probs: ArrayLike, *, num_threads: SupportsIndex | None = None
) -> jax.Array: ...
def sigmoid(
    logits: ArrayLike, *, num_threads: SupportsIndex | None = None
) -> jax.Array: ...
def softmax(
    logits: ArrayLike, *, axis: SupportsIndex | tuple[SupportsIndex, ...] | None = -1,
    num_threads: SupportsIndex | None = None
) -> jax.Array: ...
def softplus(
    logits: ArrayLike, *, num_threads: SupportsIndex | None = None
) -> jax.Array: ...
