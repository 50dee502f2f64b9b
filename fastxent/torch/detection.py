"""What is chosen and matched between the steps: candidates, hard negatives, costs; on tensors.

These have no derivatives, and torch.compile leaves the compiled graph for them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch._compile import _disable_dynamo

import fastxent
from fastxent._contract import CostKind
from fastxent.torch.arguments import check_memory
from fastxent.torch.tensors import as_array

__all__ = ["Candidates", "class_cost", "hard_negatives", "ohem", "select_candidates"]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """What :class:`fastxent.Candidates` is, with tensors in place of arrays."""

    image: Tensor
    anchor: Tensor
    label: Tensor
    score: Tensor
    offsets: Tensor
    found: Tensor
    nan: Tensor
    level_sizes: tuple[int, ...]

    @property
    def counts(self) -> Tensor:
        """Of each image, the number of its candidates."""
        return torch.from_numpy(self._arrays().counts)

    @property
    def level(self) -> Tensor:
        """Of each candidate, the number of its level."""
        return torch.from_numpy(self._arrays().level)

    @property
    def index(self) -> Tensor:
        """Of each candidate, the number of its anchor within its level."""
        return torch.from_numpy(self._arrays().index)

    def __len__(self) -> int:
        return len(self.anchor)

    def per_image(self, i: int) -> "Candidates":
        """Return the candidates of one image, as views; see `fastxent.Candidates.per_image`."""
        return _with_tensors(self._arrays().per_image(i))

    def _arrays(self) -> fastxent.Candidates:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return fastxent.Candidates(**{name: _with_arrays(x, name) for name, x in values.items()})


def _with_tensors(candidates: fastxent.Candidates) -> Candidates:
    values = {field.name: getattr(candidates, field.name) for field in fields(candidates)}
    return Candidates(**{name: _result(value) for name, value in values.items()})


def _with_arrays(value: Any, name: str) -> Any:
    """Return an argument with arrays in place of tensors, also in a list or a tuple of them."""
    if isinstance(value, list | tuple):
        return type(value)(_with_arrays(item, f"{name}[{i}]") for i, item in enumerate(value))
    if not isinstance(value, Tensor):
        return value
    check_memory(value, name)
    return as_array(value)


def _result(value: Any) -> Any:
    if isinstance(value, list):
        return [_result(item) for item in value]
    if isinstance(value, fastxent.Candidates):
        return _with_tensors(value)
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


@_disable_dynamo
def _call(function: Callable[..., Any], name: str, values: Any, **options: Any) -> Any:
    """Call NumPy's function with arrays in place of tensors; `name` is that of `values`."""
    if options["num_threads"] is None:
        options["num_threads"] = torch.get_num_threads()
    arrays = {key: _with_arrays(value, key) for key, value in options.items()}
    return _result(function(_with_arrays(values, name), **arrays))


def _refuse_derivative(name: str, logits: Tensor | Sequence[Tensor]) -> None:
    items = [logits] if isinstance(logits, Tensor) else logits
    if torch.is_grad_enabled() and any(item.requires_grad for item in items):
        raise NotImplementedError(
            f"logits requires grad, but {name} has no derivative: call it under torch.no_grad(), "
            "or pass logits.detach()"
        )


def select_candidates(
    logits: Tensor | Sequence[Tensor],
    *,
    score_threshold: Tensor | float | None = 0.05,
    top_k: int | None = 1000,
    top_k_per: Literal["image", "level", "class"] = "image",
    activation: Literal["sigmoid", "softmax"] | None = "sigmoid",
    axis: int | None = -1,
    batch_ndim: int = 1,
    objectness: Tensor | Sequence[Tensor] | None = None,
    combine: Literal["product", "sqrt"] = "product",
    background_index: int | None = None,
    multi_label: bool = True,
    classes: Tensor | None = None,
    num_threads: int | None = None,
) -> Candidates:
    """Select the pairs of anchor and class above a threshold, and of those the best k.

    All parameters are those of :func:`fastxent.select_candidates`.
    """
    _refuse_derivative("select_candidates", logits)
    return _call(
        fastxent.select_candidates,
        "logits",
        logits,
        score_threshold=score_threshold,
        top_k=top_k,
        top_k_per=top_k_per,
        activation=activation,
        axis=axis,
        batch_ndim=batch_ndim,
        objectness=objectness,
        combine=combine,
        background_index=background_index,
        multi_label=multi_label,
        classes=classes,
        num_threads=num_threads,
    )


def class_cost(
    logits: Tensor,
    labels: Tensor | Sequence[Tensor],
    *,
    kind: CostKind = "focal",
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    objectness: Tensor | None = None,
    axis: int = -1,
    batch_ndim: int = 1,
    num_threads: int | None = None,
) -> Any:
    """Classification costs of queries and ground truths, for the matching of a detector.

    All parameters are those of :func:`fastxent.class_cost`. For a list of labels the result is a
    list of tensors.
    """
    _refuse_derivative("class_cost", logits)
    return _call(
        fastxent.class_cost,
        "logits",
        logits,
        labels=labels,
        kind=kind,
        alpha=alpha,
        gamma=gamma,
        objectness=objectness,
        axis=axis,
        batch_ndim=batch_ndim,
        num_threads=num_threads,
    )


def hard_negatives(
    losses: Tensor,
    labels: Tensor,
    *,
    ratio: float = 3.0,
    min_negatives: int = 0,
    background_index: int | None = None,
    ignore_index: int | tuple[int, ...] = -100,
    batch_ndim: int = 1,
    num_threads: int | None = None,
) -> Tensor:
    """Mask of the negatives with the largest losses, a number of them for each positive.

    All parameters are those of :func:`fastxent.hard_negatives`. The mask has no derivative, but
    the losses that it chooses have theirs: ``losses[mask].sum()``.
    """
    return _call(
        fastxent.hard_negatives,
        "losses",
        losses,
        labels=labels,
        ratio=ratio,
        min_negatives=min_negatives,
        background_index=background_index,
        ignore_index=ignore_index,
        batch_ndim=batch_ndim,
        num_threads=num_threads,
    )


def ohem(
    losses: Tensor, k: Tensor | int, *, batch_ndim: int = 1, num_threads: int | None = None
) -> Tensor:
    """Mask of the k largest losses of each image: online hard example mining.

    All parameters are those of :func:`fastxent.ohem`. The mask has no derivative, but the losses
    that it chooses have theirs: ``losses[mask].sum()``.
    """
    return _call(
        fastxent.ohem, "losses", losses, k=k, batch_ndim=batch_ndim, num_threads=num_threads
    )
