"""Parts of a large call: what a reduction over many of them needs of each."""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastxent._call.options import CallOptions
from fastxent._call.validate import loss_request
from fastxent._catalogue import Loss
from fastxent._config import backend_module
from fastxent._contract import Array, BackendName, LossRequest
from fastxent._floats import with_default_floats

#: Anchors whose weights are added before what rounding loses is kept apart.
_BLOCK_ANCHORS = 4096
#: What a request has one of per anchor, on the first axes.
_PER_ANCHOR = ("logits", "labels", "dense", "positions", "scores", "anchor_weight", "logit_weight")
#: The options that totals depend on, and the number of threads.
_COUNTED = {
    "axis",
    "weight",
    "class_weight",
    "ignore_index",
    "background_index",
    "num_threads",
}


class PartTotals(NamedTuple):
    """Sums over the anchors of a part. Those that are rounded have a second number, the rest."""

    loss: float = 0.0
    loss_rest: float = 0.0
    valid: int = 0
    weight: float = 0.0
    weight_rest: float = 0.0
    positive: int = 0

    def plus(self, other: "PartTotals") -> "PartTotals":
        """Return the totals of two parts."""
        loss, loss_rest = _add_pairs(self.loss, self.loss_rest, other.loss, other.loss_rest)
        weight = _add_pairs(self.weight, self.weight_rest, other.weight, other.weight_rest)
        return PartTotals(
            loss, loss_rest, self.valid + other.valid, *weight, self.positive + other.positive
        )


def add_totals(rows: Sequence[PartTotals]) -> PartTotals:
    """Add rows by a tree that their number alone determines: neighbours first."""
    rows = list(rows) or [PartTotals()]
    while len(rows) > 1:
        pairs = [rows[i].plus(rows[i + 1]) for i in range(0, len(rows) - 1, 2)]
        rows = pairs + rows[2 * len(pairs) :]
    return rows[0]


def sum_with_rest(values: Array) -> tuple[float, float]:
    """Return the float64 sum of an array, and the rest that rounding would lose.

    Rump's extraction: added to and subtracted from a power of two above the sum, values leave their
    high parts, whose sum is exact in any order. What is left is smaller by 2^-53 times their
    number, so that its own rounding no longer counts.
    """
    values = np.asarray(values, np.float64).ravel()
    largest = float(np.abs(values).max(initial=0.0))
    exponent = math.frexp(largest)[1] + values.size.bit_length()
    if largest == 0 or not math.isfinite(largest) or exponent >= 1023:
        with np.errstate(over="ignore", invalid="ignore"):
            return float(values.sum()), 0.0
    power = math.ldexp(1.0, exponent)
    high = values + power
    high -= power
    return _two_sum(float(high.sum()), float((values - high).sum()))


def count_part(
    loss: Loss,
    values_shape: tuple[int, ...],
    dtype: np.dtype[Any],
    targets: Array,
    options: Mapping[str, Any],
) -> PartTotals:
    """Return the totals of a part but for the loss, from targets and weights alone.

    `options` are the keywords of the public function; those that are missing have their defaults.
    """
    values = np.broadcast_to(np.zeros((), dtype), values_shape)
    return _count(loss._replace(values="logits"), values, targets, options)


@with_default_floats
def _count(loss: Loss, values: Array, targets: Array, options: Mapping[str, Any]) -> PartTotals:
    backend: BackendName | None = options.get("backend")
    compute = backend_module(backend)
    is_native = backend_module("native") is compute
    parameters = {"scores": options["scores"]} if "scores" in options else {}
    given = {name: options[name] for name in _COUNTED & options.keys()}
    call = CallOptions(parameters, reduction="sum", **given)
    request, _, _ = loss_request(loss, values, targets, call, checks_late=is_native)
    rows = []
    for block in _blocks(request):
        counts = compute.count_anchors(block)
        rows.append(PartTotals(valid=counts.valid, weight=counts.weight, positive=counts.positive))
    return add_totals(rows)


def _blocks(request: LossRequest) -> Iterator[LossRequest]:
    """Cut a request along its first axis, so that the sums of most weights are exact."""
    *anchors, _ = request.logits.shape
    if not anchors:
        yield request
        return
    step = max(1, _BLOCK_ANCHORS // max(1, math.prod(anchors[1:])))
    for start in range(0, anchors[0], step):
        block = copy.copy(request)
        for name in _PER_ANCHOR:
            array = getattr(request, name)
            if array is not None:
                setattr(block, name, array[start : start + step])
        yield block


# --- numbers with a rest -------------------------------------------------------------------------


def _two_sum(first: float, second: float) -> tuple[float, float]:
    """Return the rounded sum of two numbers, and its rounding error, after Knuth."""
    total = first + second
    if not math.isfinite(total):
        return total, 0.0
    part = total - first
    return total, (first - (total - part)) + (second - part)


def _add_pairs(
    first: float, first_rest: float, second: float, second_rest: float
) -> tuple[float, float]:
    total, error = _two_sum(first, second)
    return _two_sum(total, error + (first_rest + second_rest))
