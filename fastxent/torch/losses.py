"""The losses: each is NumPy's function of the same name, for tensors.

``losses.pyi`` has their parameters, for editors and type checkers.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fastxent.torch.arguments import SIGNATURES
from fastxent.torch.docs import document
from fastxent.torch.plain import evaluate_plain
from fastxent.torch.scores import softmax
from fastxent.torch.traced import evaluate_traced

__all__ = [
    "asymmetric_loss",
    "binary_cross_entropy",
    "categorical_cross_entropy",
    "distribution_focal_loss",
    "poly1_cross_entropy",
    "quality_focal_loss",
    "sigmoid_cross_entropy",
    "sigmoid_focal_loss",
    "sigmoid_focal_loss_star",
    "softmax_cross_entropy",
    "softmax_focal_loss",
    "varifocal_loss",
]


def _make_loss(name: str) -> Callable[..., Tensor]:
    signature = SIGNATURES[name]

    def loss(*arguments: Any, **options: Any) -> Tensor:
        given = signature.bind(arguments, options)
        tensors = signature.plain_tensors(given)
        if tensors is not None:
            return evaluate_plain(signature, given, tensors)
        signature.check(given)
        return evaluate_traced(signature, given)

    return document(loss, signature)


asymmetric_loss = _make_loss("asymmetric_loss")
binary_cross_entropy = _make_loss("binary_cross_entropy")
categorical_cross_entropy = _make_loss("categorical_cross_entropy")
_distribution_focal_loss = _make_loss("distribution_focal_loss")
poly1_cross_entropy = _make_loss("poly1_cross_entropy")
quality_focal_loss = _make_loss("quality_focal_loss")
sigmoid_cross_entropy = _make_loss("sigmoid_cross_entropy")
sigmoid_focal_loss = _make_loss("sigmoid_focal_loss")
sigmoid_focal_loss_star = _make_loss("sigmoid_focal_loss_star")
softmax_cross_entropy = _make_loss("softmax_cross_entropy")
softmax_focal_loss = _make_loss("softmax_focal_loss")
varifocal_loss = _make_loss("varifocal_loss")


def distribution_focal_loss(
    *arguments: Any, return_expectation: bool = False, **options: Any
) -> Tensor | tuple[Tensor, Tensor]:
    """Evaluate the loss, and with `return_expectation` the mean position; documented below."""
    loss = _distribution_focal_loss(*arguments, **options)
    if not return_expectation:
        return loss
    # Both are trained: the boxes that are decoded from it have losses, too.
    logits = arguments[0] if arguments else options["logits"]
    axis = options.get("axis", -1)
    probabilities = softmax(logits, axis=axis).movedim(axis, -1)
    bins = torch.arange(
        probabilities.shape[-1], dtype=probabilities.dtype, device=probabilities.device
    )
    return loss, probabilities @ bins


document(distribution_focal_loss, SIGNATURES["distribution_focal_loss"])
