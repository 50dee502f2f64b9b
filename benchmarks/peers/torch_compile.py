"""PyTorch's formulas as torch.compile fuses them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.inputs import Inputs
from benchmarks.peers import torch_formulas as formulas
from benchmarks.peers.torch_formulas import as_arrays, as_tensor

__all__ = ["DISTRIBUTION", "HAS_GAMMA", "NAME", "as_arrays", "prepare"]

NAME = "torch.compile"
DISTRIBUTION = "torch"
HAS_GAMMA = True
#: What compiles; tests that have no time choose another one.
BACKEND = "inductor"


def prepare(inputs: Inputs, threads: int) -> dict[str, Callable[[], object]]:
    torch.set_num_threads(threads)
    torch._dynamo.reset()  # the number of threads is part of the code
    z = as_tensor(inputs.values)
    arguments = _targets(inputs)
    compiled = torch.compile(
        partial(_per_anchor, inputs)
        if not inputs.case.gradient
        else lambda *tensors: _per_anchor(inputs, *tensors).sum(),
        backend=BACKEND,
        dynamic=False,
        fullgraph=True,
    )
    if not inputs.case.gradient:

        @torch.no_grad()
        def forward() -> Tensor:
            return compiled(z, *arguments)

        return {"": forward}
    leaf = z.requires_grad_()

    def loss_and_gradient() -> tuple[Tensor, ...]:
        total = compiled(leaf, *arguments)
        return total, *torch.autograd.grad(total, leaf)

    return {"": loss_and_gradient}


def _targets(inputs: Inputs) -> tuple[Tensor, ...]:
    """Return labels where there are any: the comparison with the classes is fused."""
    name = inputs.function
    if name in formulas.SIGMOID and (inputs.axis is None or name == "varifocal_loss"):
        return (as_tensor(inputs.one_hot()),)
    return tuple(as_tensor(target) for target in inputs.targets())


def _per_anchor(inputs: Inputs, z: Tensor, *targets: Tensor) -> Tensor:
    name, axis = inputs.function, formulas.class_axis(inputs)
    if z.dtype == torch.bfloat16:
        z = z.float()
    if name in formulas.ELEMENT_SCORES:
        return formulas.ELEMENT_SCORES[name](z)
    if name in formulas.CLASS_SCORES:
        return formulas.CLASS_SCORES[name](z, axis)
    if name in formulas.SOFTMAX:
        return formulas.loss_of(inputs)(z, targets[0])
    dense = targets[0]
    if axis is not None and name != "varifocal_loss":
        shape = [-1 if at == axis else 1 for at in range(z.ndim)]
        dense = targets[0].unsqueeze(axis) == torch.arange(z.shape[axis]).view(shape)
        dense = dense.to(z.dtype)
        if name == "quality_focal_loss":
            dense = dense * targets[1].unsqueeze(axis)
    return formulas.over_classes(inputs, formulas.loss_of(inputs)(z, dense))
