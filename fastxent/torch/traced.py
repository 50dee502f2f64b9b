"""The operators of the losses, for tensors that torch traces or transforms.

The gradient is computed in backward, in one pass that takes any factors: what a compiled graph
keeps between forward and backward is the logits alone.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from fastxent._catalogue import LOSSES, loss_shape
from fastxent.torch.arguments import SIGNATURES, Given, Signature
from fastxent.torch.operators import define, for_each, in_order, operator, schema
from fastxent.torch.plain import refuse_second_derivative
from fastxent.torch.tensors import as_array, as_tensor, result_dtype


def evaluate_traced(signature: Signature, given: Given) -> Tensor:
    """Evaluate a loss by its operator."""
    given = {**signature.defaults, **given}
    tensors = [_operand(given[key]) for key in signature.tensors]
    if not isinstance(given["normalizer"], str):
        given["normalizer"] = "valid"  # its number is among the tensors
    if given["empty"] == "raise":
        given["empty"] = None
    if not isinstance(given["ignore_index"], tuple):
        given["ignore_index"] = (given["ignore_index"],)
    static = [given[key] for key in signature.static]
    return operator(signature.name)(*tensors, *static)


def _operand(value: Any) -> Tensor | None:
    """Return an argument that may be an array as a tensor, or None where it is not one."""
    if isinstance(value, Tensor):
        return value
    if value is None or isinstance(value, str):
        return None
    return torch.tensor(value, dtype=torch.float64, device="cpu")


def _numpy_arguments(signature: Signature, inputs: Sequence[Any]) -> Given:
    """Return the arguments of NumPy's function, given those of an operator."""
    count = len(signature.tensors)
    given = dict(zip(signature.static, inputs[count:], strict=True))
    for key, tensor in zip(signature.tensors, inputs[:count], strict=True):
        if tensor is not None:
            is_number = tensor.ndim == 0 and key not in signature.positional
            given[key] = tensor.item() if is_number else as_array(tensor)
    given["ignore_index"] = tuple(given["ignore_index"])
    if given["empty"] is None:
        given["empty"] = "raise"
    if given["num_threads"] is None:
        given["num_threads"] = torch.get_num_threads()
    return given


def _define_loss(name: str) -> None:
    signature = SIGNATURES[name]
    count = len(signature.tensors)
    of_axis, of_reduction = (count + signature.static.index(key) for key in ("axis", "reduction"))

    def compute(*inputs: Any) -> Tensor:
        result = signature.function(**_numpy_arguments(signature, inputs))
        return in_order(as_tensor(result, result_dtype(inputs[0].dtype)), inputs[0])

    def fake(*inputs: Any) -> Tensor:
        values, dtype = inputs[0], result_dtype(inputs[0].dtype)
        shape = tuple(values.shape)
        result = loss_shape(LOSSES[name], shape, inputs[of_axis], inputs[of_reduction])
        if len(result) == len(shape):
            return torch.empty_like(values, dtype=dtype)
        return values.new_empty(result, dtype=dtype)

    def compute_gradient(grad_output: Tensor, *inputs: Any) -> Tensor:
        given = _numpy_arguments(signature, inputs)
        factors = as_array(grad_output)
        _, grad = signature.function(**given, return_grad=True, grad_output=factors)
        return in_order(as_tensor(grad, inputs[0].dtype), inputs[0])

    def fake_gradient(_grad_output: Tensor, *inputs: Any) -> Tensor:
        return torch.empty_like(inputs[0])

    arguments = schema(name)
    define(name, arguments, compute, fake, for_each(name), _loss_function(name))
    name_of_gradient, with_output = f"{name}_gradient", f"Tensor grad_output, {arguments}"
    rule = for_each(name_of_gradient)
    function = _gradient_function(name)
    define(name_of_gradient, with_output, compute_gradient, fake_gradient, rule, function)


def _loss_function(name: str) -> type[Function]:
    """Return the derivative of a loss."""
    signature = SIGNATURES[name]
    count = len(signature.tensors)

    class Loss(Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Tensor:
            ctx.save_for_backward(*inputs[:count])
            ctx.static = inputs[count:]
            return operator(name)(*inputs)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
            if any(ctx.needs_input_grad[1:]):
                raise NotImplementedError(
                    f"{name} is differentiable with respect to {signature.differentiable} alone: "
                    "detach targets and weights"
                )
            tensors, static = ctx.saved_tensors, ctx.static
            grad = operator(f"{name}_gradient")(grad_output, *tensors, *static)
            return grad, *([None] * (count - 1 + len(static)))

    return Loss


def _gradient_function(name: str) -> type[Function]:
    """Return what makes the derivative of a gradient an error."""

    class Gradient(Function):
        @staticmethod
        def forward(_ctx: Any, *inputs: Any) -> Tensor:
            return operator(f"{name}_gradient")(*inputs)

        @staticmethod
        def backward(_ctx: Any, _grad: Tensor) -> None:
            refuse_second_derivative(name)

    return Gradient


for _name in LOSSES:
    _define_loss(_name)
