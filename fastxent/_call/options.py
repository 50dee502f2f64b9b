"""What a call of a loss asks for besides its arrays, as its public function was given it."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, SupportsIndex

from numpy.typing import ArrayLike

from fastxent._contract import Array, IgnoreIndex, Normalizer, Reduction


class CallOptions(NamedTuple):
    """The arguments that come after values and targets, in the order of the public functions."""

    #: Those that not all losses have, by name.
    parameters: Mapping[str, Any]
    axis: SupportsIndex | None
    reduction: Reduction
    normalizer: Normalizer | float
    empty: Literal["raise"] | float
    weight: ArrayLike | None
    class_weight: ArrayLike | None
    ignore_index: IgnoreIndex
    background_index: SupportsIndex | None
    return_grad: bool
    grad_output: ArrayLike | None
    out: Array | None
    grad_out: Array | None
    num_threads: SupportsIndex | None
