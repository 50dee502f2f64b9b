"""A custom loss with classes as lanes, for labels or dense targets and no other option.

As in sigmoid_rows.py, every class of a row is a negative where there are labels; the labels' own
terms follow, in one vector for as many anchors. So neither is computed for the other.
"""

from typing import Any

from fastxent.numba.compilation import inlined
from fastxent.numba.simd.custom_terms import custom_value
from fastxent.numba.simd.lanes import Lanes, Number, lane_function
from fastxent.numba.simd.memory import double, write_real
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.rows import (
    ClassRow,
    but_label,
    label_of,
    row_logit,
    row_logits,
    row_put_grads,
    row_targets,
    sum_over_row,
)
from fastxent.numba.simd.shuffles import reduce_add
from fastxent.numba.simd.sigmoid_rows import put_label_grads, row_scale
from fastxent.numba.simd.tile import repair, settings_of
from fastxent.numba.simd.vector import (
    first_lanes,
    load,
    load_int32,
    select,
    stack,
    store,
)


@lane_function
def custom_step(
    plan: Plan,
    options: tuple[Number, Lanes],
    row: ClassRow,
    k: Number,
    count: int | Number,
    total: Lanes,
) -> Lanes:
    """Add the losses of some classes, and write their gradients."""
    parameters, scale = options
    z = row_logits(plan, row, k, count, 0.0)
    if plan.has_targets:
        y = row_targets(plan, row, k, count)
        value = custom_value(plan, parameters, z, y, None)
        loss = value.loss
    else:
        value = custom_value(plan, parameters, z, z, 0.0)
        loss = but_label(plan, row, k, value.loss)
    if plan.has_grads:
        row_put_grads(plan, row, k, count, value.slope * scale)
    if not isinstance(count, int):
        loss = select(first_lanes(z.builder, z.real, count), loss, 0.0)
    return total + loss


@lane_function
def custom_label_values(
    plan: Plan, parameters: Number, own: Number, labels: Number, slopes: Number
) -> Lanes:
    """Return the losses at the labels, 0 where there is none, and write the slopes."""
    z = load(plan, own)
    value = custom_value(plan, parameters, z, z, 1.0)
    store(slopes, value.slope)
    return select(load_int32(plan, labels) >= 0.0, value.loss, 0.0)


@inlined
def custom_labels(plan: Plan, tile: Any, first: int, count: int) -> Lanes:
    """Return the losses of the labels' classes, and write their gradients."""
    own, slopes = stack(plan, 1, first), stack(plan, 1, first)
    for i in range(plan.lanes):
        label = label_of(tile, first + i) if i < count else -1
        z = double(row_logit(plan, tile, first + i, label)) if label >= 0 else 0.0
        write_real(plan, own + i * plan.size, z)
    parameters = settings_of(tile).parameters
    losses = custom_label_values(plan, parameters, own, tile.labels + 4 * first, slopes)
    if plan.has_grads:
        put_label_grads(plan, tile, first, count, slopes)
    return losses


@inlined
def custom_block(plan: Plan, tile: Any, first: int, count: int) -> None:
    """Process a vector's worth of anchors."""
    partial = stack(plan, plan.lanes, first)
    for i in range(plan.lanes):
        anchor = first + min(i, count - 1)
        options = (settings_of(tile).parameters, row_scale(plan, tile, anchor))
        total = sum_over_row(plan, tile, anchor, label_of(tile, anchor), custom_step, options)
        store(partial + i * plan.lanes * plan.size, total)
    loss = reduce_add(plan, partial)
    if not plan.has_targets:
        loss = loss + custom_labels(plan, tile, first, count)
    store(tile.losses + first * plan.size, loss)
    repair(plan, tile, first, count, loss)


@inlined
def custom_rows(plan: Plan, tile: Any) -> None:
    """Compute a custom loss."""
    for first in range(0, tile.anchors, plan.lanes):
        custom_block(plan, tile, first, min(plan.lanes, tile.anchors - first))
