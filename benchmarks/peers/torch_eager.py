"""PyTorch as it comes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from benchmarks.inputs import Inputs
from benchmarks.peers import torch_formulas as formulas
from benchmarks.peers.torch_formulas import as_arrays, as_tensor

__all__ = ["DISTRIBUTION", "HAS_GAMMA", "NAME", "as_arrays", "prepare"]

NAME = "torch eager"
DISTRIBUTION = "torch"
HAS_GAMMA = True


def prepare(inputs: Inputs, threads: int) -> dict[str, Callable[[], object]]:
    torch.set_num_threads(threads)
    z = as_tensor(inputs.values)
    name = inputs.function
    if name in formulas.ELEMENT_SCORES or name in formulas.CLASS_SCORES:
        return {"": _score(inputs, z)}
    if name in formulas.SOFTMAX:
        (targets,) = inputs.targets()
        tensor = as_tensor(targets)
        formula = formulas.loss_of(inputs)
        return {"": _loss(inputs, lambda values: formula(values, tensor), z)}
    dense = as_tensor(inputs.one_hot())

    def per_anchor(values: Tensor) -> Tensor:
        return formulas.over_classes(inputs, formulas.loss_of(inputs)(values, dense))

    variants = {"": _loss(inputs, per_anchor, z)}
    if name == "sigmoid_cross_entropy" and inputs.axis is not None:
        variants["softplus"] = _loss(inputs, _softplus_and_gather(inputs), z)
    return variants


def _softplus_and_gather(inputs: Inputs) -> Callable[[Tensor], Tensor]:
    """Return a cross-entropy that reads labels and not as many targets as logits."""
    axis = formulas.class_axis(inputs)
    has_class = as_tensor((inputs.labels < inputs.shape.classes).astype(inputs.float_dtype))
    index = as_tensor(inputs.labels % inputs.shape.classes).unsqueeze(axis)

    def per_anchor(z: Tensor) -> Tensor:
        return F.softplus(z).sum(axis) - has_class * z.gather(axis, index).squeeze(axis)

    return per_anchor


def _score(inputs: Inputs, z: Tensor) -> Callable[[], Tensor]:
    name = inputs.function
    if name in formulas.CLASS_SCORES:
        function = partial(formulas.CLASS_SCORES[name], dim=formulas.class_axis(inputs))
    else:
        function = formulas.ELEMENT_SCORES[name]
    if z.dtype == torch.bfloat16:
        return lambda: function(z.float())
    if name in formulas.WITH_OUT:
        return partial(function, z, out=torch.empty_like(function(z)))
    return partial(function, z)


def _loss(
    inputs: Inputs, per_anchor: Callable[[Tensor], Tensor], z: Tensor
) -> Callable[[], object]:
    wide = torch.float64 if z.dtype == torch.float64 else torch.float32
    if not inputs.case.gradient:

        @torch.no_grad()
        def loss() -> Tensor:
            return per_anchor(z.to(wide))

        return loss
    leaf = z.requires_grad_()

    def loss_and_gradient() -> tuple[Tensor, ...]:
        total = per_anchor(leaf.to(wide)).sum()
        return total, *torch.autograd.grad(total, leaf)

    return loss_and_gradient
