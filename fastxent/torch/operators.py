"""The operators that torch knows the losses and scores by: ``torch.ops.fastxent``.

Each has an implementation for the CPU; a fake one, which knows the shape of the result; a rule for
vmap; and its derivative. A loss has a second operator for its gradient. The arguments are those of
the table, in its order: the positional ones; the options that may be arrays, as tensors or None; a
normalizer that is a number; and all static ones.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd import Function, forward_ad

from fastxent._catalogue import LOSSES
from fastxent.torch.arguments import SIGNATURES

#: The types of static arguments, as schemas have them. An `empty` of None means "raise".
_TYPES = {
    "reduction": "str",
    "normalizer": "str",
    "empty": "float?",
    "ignore_index": "int[]",
    "background_index": "int?",
    "num_threads": "int?",
}
_LIBRARY = torch.library.Library("fastxent", "DEF")

Kernel = Callable[..., Tensor]


def operator(name: str) -> Kernel:
    """Return an operator."""
    return getattr(torch.ops.fastxent, name).default


def schema(name: str) -> str:
    """Return the arguments of an operator, as torch writes them."""
    signature = SIGNATURES[name]
    tensors = [f"Tensor {key}" for key in signature.positional]
    # The word and the number of a normalizer are two arguments here.
    options = [key.replace("normalizer", "divisor") for key in signature.tensors[len(tensors) :]]
    tensors += [f"Tensor? {key}" for key in options]
    return ", ".join(tensors + [f"{_type_of(name, key)} {key}" for key in signature.static])


def _type_of(name: str, key: str) -> str:
    if key == "axis":
        return "int?" if name in LOSSES else "int[]"
    if key in _TYPES:
        return _TYPES[key]
    return "bool" if isinstance(SIGNATURES[name].defaults[key], bool) else "float"


def define(
    name: str,
    arguments: str,
    compute: Kernel,
    fake: Kernel,
    batch_rule: Callable[..., tuple[Tensor, int]],
    function: type[Function],
) -> None:
    """Define an operator; `function` has its derivative, and is applied to its arguments."""
    _LIBRARY.define(f"{name}({arguments}) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,))
    found = operator(name)

    def differentiate(*inputs: Any) -> Tensor:
        if forward_ad._current_level >= 0 and any(map(_has_tangent, inputs)):
            raise NotImplementedError(f"{name} has no derivative in forward mode: use the reverse")
        if not (torch.is_grad_enabled() and any(map(_requires_grad, inputs))):
            with torch._C._AutoDispatchBelowAutograd():
                return found(*inputs)
        # torch.func is at one of its levels here, and knows of no other.
        with enable_single_level_autograd_function():
            return super(Function, function).apply(*inputs)

    _LIBRARY.impl(name, compute, "CPU")
    _LIBRARY.impl(name, differentiate, "Autograd")
    torch.library.register_fake(f"fastxent::{name}", fake, lib=_LIBRARY)
    if hasattr(torch.library, "register_vmap"):  # torch 2.4 has a slow way of its own
        torch.library.register_vmap(f"fastxent::{name}", batch_rule, lib=_LIBRARY)


def _has_tangent(value: Any) -> bool:
    return isinstance(value, Tensor) and forward_ad.unpack_dual(value).tangent is not None


def _requires_grad(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def for_each(name: str) -> Callable[..., tuple[Tensor, int]]:
    """Return the rule of vmap that calls an operator for one element after the other."""

    def rule(info: Any, in_dims: Sequence[Any], *inputs: Any) -> tuple[Tensor, int]:
        def element(index: int) -> list[Any]:
            # A list of numbers has a list of dimensions, all of them None.
            return [
                value.select(dim, index) if isinstance(dim, int) else value
                for value, dim in zip(inputs, in_dims, strict=True)
            ]

        results = [operator(name)(*element(index)) for index in range(info.batch_size)]
        return torch.stack(results), 0

    return rule


def in_order(result: Tensor, like: Tensor) -> Tensor:
    """Return a result in the memory order that its fake promises, NumPy's choice in most cases."""
    if result.shape != like.shape or result.stride() == like.stride():
        return result
    expected = torch.empty_like(like, device="meta").stride()
    if result.stride() == expected:
        return result
    return torch.empty_like(like, dtype=result.dtype).copy_(result)
