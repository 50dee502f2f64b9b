"""What a call of a loss asks for besides its arrays, as its public function was given it."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, SupportsIndex

from numpy.typing import ArrayLike

from fastxent._contract import Array, IgnoreIndex, Normalizer, Reduction


class CallOptions(NamedTuple):
    """The arguments that come after values and targets, in the order of the public functions."""

    #: Those that not all losses have, by name.
    parameters: Mapping[str, Any]
    axis: SupportsIndex | None = -1
    reduction: Reduction = "anchor"
    normalizer: Normalizer | float = "valid"
    empty: Literal["raise"] | float = 0.0
    weight: ArrayLike | None = None
    class_weight: ArrayLike | None = None
    ignore_index: IgnoreIndex = -100
    background_index: SupportsIndex | None = None
    return_grad: bool = False
    grad_output: ArrayLike | None = None
    out: Array | None = None
    grad_out: Array | None = None
    num_threads: SupportsIndex | None = None
