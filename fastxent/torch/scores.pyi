# scripts/type_stubs.py made this of the functions of arrays: change those, and run it again.
# fmt: off

from torch import Tensor
from typing import SupportsIndex

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
    logits: Tensor, *, num_threads: SupportsIndex | None = None
) -> Tensor: ...
def log_softmax(
    logits: Tensor, *, axis: SupportsIndex | tuple[SupportsIndex, ...] | None = -1,
    num_threads: SupportsIndex | None = None
) -> Tensor: ...
def logit(
    probs: Tensor, *, num_threads: SupportsIndex | None = None
) -> Tensor: ...
def logsumexp(
    logits: Tensor, *, axis: SupportsIndex | tuple[SupportsIndex, ...] | None = -1,
    keepdims: bool = False, num_threads: SupportsIndex | None = None
) -> Tensor: ...
def odds(
    probs: Tensor, *, num_threads: SupportsIndex | None = None
) -> Tensor: ...
def sigmoid(
    logits: Tensor, *, num_threads: SupportsIndex | None = None
) -> Tensor: ...
def softmax(
    logits: Tensor, *, axis: SupportsIndex | tuple[SupportsIndex, ...] | None = -1,
    num_threads: SupportsIndex | None = None
) -> Tensor: ...
def softplus(
    logits: Tensor, *, num_threads: SupportsIndex | None = None
) -> Tensor: ...
