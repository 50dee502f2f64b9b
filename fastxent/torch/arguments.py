"""The arguments of a call, by name: what Python, and what no route could work with, is refused."""

import inspect
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

import fastxent
from fastxent._catalogue import ARGUMENTS, NUMPY_ONLY

#: The arguments of a call by name.
Given = dict[str, Any]

_PLAIN_TYPES = frozenset({Tensor, torch.nn.Parameter})


def check_memory(tensor: Tensor, name: str) -> None:
    """Refuse a tensor whose elements do not lie in the CPU's memory at some strides."""
    if tensor.device.type != "cpu":
        raise NotImplementedError(
            f"{name} is on the device {tensor.device}, and fastxent computes on the CPU: "
            f"pass {name}.cpu()"
        )
    if tensor.layout is not torch.strided:
        raise NotImplementedError(
            f"{name} has the layout {tensor.layout}, and fastxent reads strided tensors: "
            f"pass {name}.to_dense()"
        )


class Signature:
    """What a loss or score may be called with."""

    def __init__(self, name: str) -> None:
        facts = ARGUMENTS[name]
        self.name = name
        #: NumPy's function of the same name.
        self.function = getattr(fastxent, name)
        self.differentiable = facts.differentiable
        self.positional = (facts.differentiable, *facts.arrays)
        self.required = frozenset(self.positional)
        #: What may be a tensor.
        normalizer = ("normalizer",) if "normalizer" in facts.static else ()
        self.tensors = (*self.positional, *facts.array_options, *normalizer)
        #: What is never one.
        self.static = tuple(key for key in facts.static if key != "return_expectation")
        parameters = inspect.signature(self.function).parameters
        own = [parameter for key, parameter in parameters.items() if key not in NUMPY_ONLY]
        self.python = inspect.Signature(own)
        self.defaults = {x.name: x.default for x in own if x.kind is x.KEYWORD_ONLY}
        self._names = frozenset(parameter.name for parameter in own)

    def bind(self, arguments: tuple[Any, ...], options: Given) -> Given:
        """Return what was given, by name; Python's own TypeError for what does not fit."""
        given = {**dict(zip(self.positional, arguments, strict=False)), **options}
        if (
            len(given) != len(arguments) + len(options)
            or not given.keys() <= self._names
            or not given.keys() >= self.required
        ):
            try:
                self.python.bind(*arguments, **options)
            except TypeError as error:
                raise TypeError(f"fastxent.torch.{self.name}: {error}") from None
        return given

    def plain_tensors(self, given: Given) -> dict[str, Tensor] | None:
        """Return the tensors by name, if nothing but their memory matters; otherwise None.

        They are ordinary ones on the CPU then, each in a place for tensors, and nothing watches
        what becomes of them: no compilation or export, no transform of torch.func, no mode that
        sees each operator, no torch.jit.trace, and no derivatives in forward mode. All calls pay
        for this.
        """
        if (
            torch.compiler.is_compiling()
            or torch._C._are_functorch_transforms_active()
            or torch._C._len_torch_dispatch_stack()
            or torch._C._get_tracing_state() is not None
            or forward_ad._current_level >= 0
        ):
            return None
        tensors, differentiable = {}, self.differentiable
        for key, value in given.items():
            if type(value) in _PLAIN_TYPES:
                if (
                    not value.is_cpu
                    or value.layout is not torch.strided
                    or (value.requires_grad and key != differentiable)
                    or key not in self.tensors
                ):
                    return None
                tensors[key] = value
            elif isinstance(value, Tensor):
                return None
        return tensors if tensors.keys() >= self.required else None

    def check(self, given: Given) -> None:
        """Refuse what no route can work with."""
        tensors = {key: value for key, value in given.items() if isinstance(value, Tensor)}
        for key, tensor in tensors.items():
            if tensor.device.type != "meta":  # then only its shape is asked for
                check_memory(tensor, key)
            if tensor.requires_grad and key != self.differentiable and torch.is_grad_enabled():
                raise NotImplementedError(
                    f"{key} requires grad, but {self.name} is differentiable with respect to "
                    f"{self.differentiable} alone: pass {key}.detach()"
                )
            if key not in self.tensors:
                raise TypeError(f"{key} is a tensor: pass a number, such as {key}.item()")
        for key in self.positional:
            if key not in tensors:
                kind = type(given[key]).__name__
                raise TypeError(f"{key} is of type {kind}: pass a tensor, torch.as_tensor({key})")


SIGNATURES = {name: Signature(name) for name in ARGUMENTS}
