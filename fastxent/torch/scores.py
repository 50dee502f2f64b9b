"""The scores, with derivatives made of torch's own operations on the result.

``scores.pyi`` has their parameters, for editors and type checkers.
"""

from collections.abc import Callable, Sequence
from operator import index
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from fastxent._catalogue import ARGUMENTS, SCORES, check_complete
from fastxent.torch.arguments import SIGNATURES
from fastxent.torch.docs import document
from fastxent.torch.operators import define, in_order, operator, schema
from fastxent.torch.plain import evaluate_plain
from fastxent.torch.tensors import as_array, as_tensor, result_dtype

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

#: From the gradient of a score, its argument, the score itself and the class axes to the gradient
#: of the argument. Written with the score where that is more accurate than the argument.
_GRADIENTS: dict[str, Callable[[Tensor, Tensor, Tensor, list[int]], Tensor]] = {
    "sigmoid": lambda grad, _z, p, _axes: grad * p * (1 - p),
    "log_sigmoid": lambda grad, _z, score, _axes: grad * -torch.expm1(score),
    "softplus": lambda grad, _z, score, _axes: grad * -torch.expm1(-score),
    "logit": lambda grad, p, _score, _axes: grad / (p * (1 - p)),
    "odds": lambda grad, p, _score, _axes: grad / (1 - p) ** 2,
    "softmax": lambda grad, _z, p, axes: p * (grad - (grad * p).sum(axes, keepdim=True)),
    "log_softmax": lambda grad, _z, score, axes: grad - score.exp() * grad.sum(axes, keepdim=True),
    "logsumexp": lambda grad, z, _score, axes: grad * operator("softmax")(z, axes, None),
}
check_complete(_GRADIENTS, "the gradients of scores", SCORES)


def _make_score(name: str) -> Callable[..., Tensor]:
    signature = SIGNATURES[name]
    _define_score(name)

    def score(*arguments: Any, **options: Any) -> Tensor:
        given = signature.bind(arguments, options)
        values = given[signature.differentiable]
        tensors = signature.plain_tensors(given)
        if tensors is not None and not (values.requires_grad and torch.is_grad_enabled()):
            return evaluate_plain(signature, given, tensors)
        signature.check(given)
        given = {**signature.defaults, **given}
        if "axis" in given:
            given["axis"] = _class_axes(given["axis"], values.ndim)
        return operator(name)(values, *(given[key] for key in signature.static))

    return document(score, signature)


def _class_axes(axis: Any, ndim: int) -> list[int]:
    """Return the class axes as numbers that are not negative; checking them is NumPy's business."""
    if axis is None:
        return list(range(ndim))
    axes = [index(one) for one in (axis if isinstance(axis, tuple) else (axis,))]
    return [one + ndim if -ndim <= one < 0 else one for one in axes]


def _define_score(name: str) -> None:
    signature = SIGNATURES[name]
    keys = signature.static

    def compute(values: Tensor, *static: Any) -> Tensor:
        options = dict(zip(keys, static, strict=True))
        if "axis" in options:
            options["axis"] = tuple(options["axis"])
        if options["num_threads"] is None:
            options["num_threads"] = torch.get_num_threads()
        result = signature.function(as_array(values), **options)
        return in_order(as_tensor(result, result_dtype(values.dtype)), values)

    def fake(values: Tensor, *static: Any) -> Tensor:
        options = dict(zip(keys, static, strict=True))
        dtype = result_dtype(values.dtype)
        if ARGUMENTS[name].result == "logits":
            return torch.empty_like(values, dtype=dtype)
        axes, keeps = options["axis"], options["keepdims"]
        lengths = [1 if axis in axes else length for axis, length in enumerate(values.shape)]
        shape = [length for axis, length in enumerate(lengths) if keeps or axis not in axes]
        return values.new_empty(shape, dtype=dtype)

    def batch_rule(
        _info: Any, in_dims: Sequence[int | None], values: Tensor, *static: Any
    ) -> tuple[Tensor, int]:
        """Take the batch as one more axis, the first, which is none of classes."""
        options = dict(zip(keys, static, strict=True))
        if "axis" in options:
            options["axis"] = [axis + 1 for axis in options["axis"]]
        return operator(name)(values.movedim(in_dims[0], 0), *options.values()), 0

    define(name, schema(name), compute, fake, batch_rule, _score_function(name))


def _score_function(name: str) -> type[Function]:
    """Return the derivative of a score."""
    keys = SIGNATURES[name].static

    class Score(Function):
        @staticmethod
        def forward(ctx: Any, values: Tensor, *static: Any) -> Tensor:
            score = operator(name)(values, *static)
            options = dict(zip(keys, static, strict=True))
            ctx.axes, ctx.keeps = options.get("axis"), options.get("keepdims", True)
            ctx.save_for_backward(values, score)
            return score

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
            values, score = ctx.saved_tensors
            if not ctx.keeps:
                for axis in sorted(ctx.axes):
                    grad_output = grad_output.unsqueeze(axis)
            argument = values.to(score.dtype)
            grad = _GRADIENTS[name](grad_output, argument, score, ctx.axes)
            return grad.to(values.dtype), *([None] * len(keys))

    return Score


log_sigmoid = _make_score("log_sigmoid")
log_softmax = _make_score("log_softmax")
logit = _make_score("logit")
logsumexp = _make_score("logsumexp")
odds = _make_score("odds")
sigmoid = _make_score("sigmoid")
softmax = _make_score("softmax")
softplus = _make_score("softplus")
