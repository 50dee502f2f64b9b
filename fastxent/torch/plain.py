"""Ordinary tensors: their memory goes to NumPy's function, and a Function hands back its gradient.

Sums and means compute loss and gradient in one pass, in forward. What has a loss for each anchor
computes the gradient in backward, where its factors are known: one pass likewise.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import _SingleLevelFunction

from fastxent.torch.arguments import Given, Signature
from fastxent.torch.tensors import as_array, as_tensor, result_dtype


def evaluate_plain(signature: Signature, given: Given, tensors: dict[str, Tensor]) -> Tensor:
    """Evaluate a loss of tensors that are on the CPU and of no special type."""
    values = given[signature.differentiable]
    if not (values.requires_grad and torch.is_grad_enabled()):
        return as_tensor(evaluate(signature, given, tensors), result_dtype(values.dtype))
    is_fused = given.get("reduction") in {"sum", "mean"}
    function = _FusedLoss if is_fused else _DeferredLoss
    return function.apply(values, signature, given, tensors)


def evaluate(
    signature: Signature, given: Given, tensors: dict[str, Tensor], **options: object
) -> Any:
    """Call NumPy's function, with torch's number of threads unless another one is asked for."""
    options |= given
    for key, tensor in tensors.items():
        options[key] = as_array(tensor) if key != "normalizer" else _number(tensor)
    if options.get("num_threads") is None:
        options["num_threads"] = torch.get_num_threads()
    return signature.function(**options)


def _number(normalizer: Tensor) -> Any:
    if normalizer.ndim:
        raise ValueError(f"normalizer has shape {tuple(normalizer.shape)}, expected a number")
    return normalizer.item()


class _FusedLoss(_SingleLevelFunction):
    """A sum or mean, whose gradient is that of forward, times a number that is usually 1."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, signature: Signature, given: Given, tensors: dict[str, Tensor]
    ) -> Tensor:
        loss, grad = evaluate(signature, given, tensors, return_grad=True)
        # Saved, and not an attribute, so that backward frees it: its only owner is then the leaf.
        ctx.save_for_backward(as_tensor(grad, values.dtype), values)
        ctx.set_materialize_grads(False)
        ctx.name = signature.name
        return as_tensor(loss, result_dtype(values.dtype))

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor | None) -> tuple[Tensor | None, ...]:
        if grad_output is None:
            return None, None, None, None
        grad, values = ctx.saved_tensors
        # Never in place: who keeps the graph may go backward again.
        if grad_output.item() != 1:
            grad = grad * grad_output.to(grad.dtype)
        return _once(ctx.name, grad, values, grad_output), None, None, None


class _DeferredLoss(_SingleLevelFunction):
    """One loss for each anchor or logit, whose gradient takes a pass in backward."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, signature: Signature, given: Given, tensors: dict[str, Tensor]
    ) -> Tensor:
        loss = evaluate(signature, given, tensors)
        # Saved, so that torch notices when one of them is changed before backward.
        ctx.save_for_backward(*tensors.values())
        ctx.set_materialize_grads(False)
        ctx.signature, ctx.names = signature, tuple(tensors)
        # Without tensors, or they would be kept alive.
        ctx.given = {key: value for key, value in given.items() if key not in tensors}
        return as_tensor(loss, result_dtype(values.dtype))

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor | None) -> tuple[Tensor | None, ...]:
        if grad_output is None:
            return None, None, None, None
        tensors = dict(zip(ctx.names, ctx.saved_tensors, strict=True))
        values = tensors[ctx.signature.differentiable]
        factors = as_array(grad_output)
        _, grad = evaluate(ctx.signature, ctx.given, tensors, return_grad=True, grad_output=factors)
        grad = as_tensor(grad, values.dtype)
        return _once(ctx.signature.name, grad, values, grad_output), None, None, None


def _once(name: str, grad: Tensor, values: Tensor, grad_output: Tensor) -> Tensor:
    """Return a gradient, such that a derivative of it is an error."""
    if not torch.is_grad_enabled():
        return grad
    return _Once.apply(grad, values, grad_output, name)


class _Once(Function):
    """A gradient that knows what it depends on, but not how."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, _values: Tensor, _factors: Tensor, name: str) -> Tensor:
        ctx.name = name
        return grad.view_as(grad)

    @staticmethod
    def backward(ctx: Any, _grad_output: Tensor) -> None:
        refuse_second_derivative(ctx.name)


def refuse_second_derivative(name: str) -> None:
    """Raise the error for derivatives of gradients."""
    raise NotImplementedError(
        f"{name} has no second derivative: take the gradient without create_graph, or use torch's "
        "own operations for a loss of gradients"
    )
