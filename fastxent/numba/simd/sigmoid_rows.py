"""The sigmoid family with classes as lanes; mirrors native/simd/sigmoid_rows.h.

The partial sums of a vector of anchors, one vector each, are reduced together, so that what runs
once an anchor runs once for all of them. With labels every class of a row is taken for a negative,
and the label is masked out. The labels' own terms follow, in one vector.
"""

import math
from typing import Any

from fastxent.numba.compilation import called, inlined
from fastxent.numba.simd.branches import stay_apart
from fastxent.numba.simd.elements import store_one_as
from fastxent.numba.simd.lanes import Lanes, Number, lane_function, splat_value
from fastxent.numba.simd.memory import double, read_real, write_real
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.rows import (
    PADDING,
    PIECE_VECTORS,
    ROW_CHUNK,
    ClassRow,
    anchor_scale,
    but_label,
    class_row,
    clear_rest,
    group_has_labels,
    label_of,
    over_row,
    row_logit,
    row_logits,
    row_put_grads,
    row_targets,
    sum_over_row,
)
from fastxent.numba.simd.shuffles import reduce_add
from fastxent.numba.simd.sigmoid import (
    PRODUCT_FACTORS,
    SigmoidSums,
    negative_linear_term,
    no_sums,
    product_add,
    reduce_product,
    sigmoid_slope,
    sigmoid_sums_join,
)
from fastxent.numba.simd.sigmoid_terms import (
    SigmoidOptions,
    modulated_value,
    shifted_value,
    sigmoid_options_of,
    sigmoid_parts,
)
from fastxent.numba.simd.summation import Compensated, compensated_join, compensated_value
from fastxent.numba.simd.tile import NO_CLASS, exact_value, repair
from fastxent.numba.simd.vector import fma, load, negative_abs, relu, select, splat, stack, store
from fastxent.numba.simd.vector_math import exp_nonpositive, log1p

# --- cross-entropy: one logarithm an anchor -------------------------------------------------------


@lane_function
def sigmoid_row_step(
    plan: Plan, scale: Lanes, row: ClassRow, k: Number, count: int | Number, sums: SigmoidSums
) -> SigmoidSums:
    """Add some classes to the sums, and write their gradients."""
    z = row_logits(plan, row, k, count, PADDING)
    e = exp_nonpositive(negative_abs(z))
    product = product_add(sums.product, e)
    if plan.has_targets:
        y = row_targets(plan, row, k, count)
        linear = sums.linear - negative_linear_term(z, y)
    else:
        y = None
        linear = sums.linear + but_label(plan, row, k, relu(z))
    if plan.has_grads:
        row_put_grads(plan, row, k, count, sigmoid_slope(z, e, y) * scale)
    return SigmoidSums(product, linear)


@inlined
def sigmoid_row(plan: Plan, row: ClassRow, scale: Lanes, classes: int) -> SigmoidSums:
    """Return the sums of some classes; the label is masked out of the linear term."""
    return over_row(plan, sigmoid_row_step, scale, row, classes, no_sums(plan, classes))


@inlined
def long_row(plan: Plan, tile: Any, anchor: int, label: int, scale: Lanes) -> Lanes:
    """Return the loss of a row so long that the product of its terms would overflow."""
    zero, piece = splat(plan, 0.0, anchor), PIECE_VECTORS * plan.lanes
    running = Compensated(zero, zero)
    for chunk in range(0, tile.classes, ROW_CHUNK):
        end = min(chunk + ROW_CHUNK, tile.classes)
        sums = no_sums(plan, chunk)
        for start in range(chunk, end, piece):
            row = class_row(plan, tile, anchor, label, start)
            terms = sigmoid_row(plan, row, scale, min(end - start, piece))
            sums = sigmoid_sums_join(sums, terms)
        total = log1p(sums.product) + sums.linear
        if tile.classes <= ROW_CHUNK:  # nothing is lost, not even of an infinite sum
            running = Compensated(total, zero)
        else:
            running = compensated_join(running, total)
    return compensated_value(running)


@inlined
def row_scale(plan: Plan, tile: Any, anchor: int) -> Lanes:
    """Return the factor of an anchor's gradient, where there is one."""
    if tile.grads.data == 0:
        return splat(plan, 0.0, anchor)
    return anchor_scale(plan, tile.grad_scales + anchor * plan.size)


@inlined
def put_label_grads(plan: Plan, tile: Any, first: int, count: int, slopes: int) -> None:
    """Write the gradients of the labels' classes."""
    for i in range(count):
        anchor = first + i
        label = label_of(tile, anchor)
        if label >= 0:
            scale = read_real(plan, tile.grad_scales + anchor * plan.size)
            grad = read_real(plan, slopes + i * plan.size) * scale
            place = anchor * tile.grads.anchor_stride + label
            store_one_as(plan, tile.grads.data + place * plan.grad_item, grad, plan.grad_dtype)


@lane_function
def label_slopes(z: Lanes) -> Lanes:
    """Return the slopes at the labels, -sigmoid(-z)."""
    return -sigmoid_parts(z).q


@called
def sigmoid_block_sums(
    plan: Plan, tile: Any, first: int, count: int, products: int, linears: int
) -> None:
    """Write the sums of a block's anchors, and their gradients."""
    stay_apart(first)
    is_short = tile.classes <= PRODUCT_FACTORS
    for i in range(count):
        anchor = first + i
        label = label_of(tile, anchor)
        scale = row_scale(plan, tile, anchor)
        sums = no_sums(plan, anchor)
        if is_short:
            row = class_row(plan, tile, anchor, label, 0)
            sums = sigmoid_row(plan, row, scale, tile.classes)
        else:
            sums = SigmoidSums(sums.product, long_row(plan, tile, anchor, label, scale))
        offset = i * plan.lanes * plan.size
        store(products + offset, sums.product)
        store(linears + offset, sums.linear)
    clear_rest(plan, products, count)
    clear_rest(plan, linears, count)


@inlined
def sigmoid_labels(plan: Plan, tile: Any, first: int, count: int) -> Lanes:
    """Return what the labels add, relu(-z), and write the gradients there."""
    logits, losses = stack(plan, 1, first), stack(plan, 1, first)
    for i in range(plan.lanes):
        label = label_of(tile, first + i) if i < count else NO_CLASS
        z = double(row_logit(plan, tile, first + i, label)) if label >= 0 else 0.0
        write_real(plan, logits + i * plan.size, z)
        write_real(plan, losses + i * plan.size, 0.0 if z > 0 else -z)  # NaN stays one
    if plan.has_grads:
        store(logits, label_slopes(load(plan, logits)))
        put_label_grads(plan, tile, first, count, logits)
    return load(plan, losses)


@inlined
def sigmoid_rows_block(plan: Plan, tile: Any, first: int, count: int) -> None:
    """Process a block of anchors."""
    products, linears = stack(plan, plan.block, first), stack(plan, plan.block, first)
    sigmoid_block_sums(plan, tile, first, count, products, linears)
    for start in range(0, count, plan.lanes):
        group, offset = first + start, start * plan.lanes * plan.size
        length = min(count - start, plan.lanes)
        product = reduce_product(plan, products + offset)
        loss = reduce_add(plan, linears + offset) + log1p(product)
        if not plan.has_targets and group_has_labels(tile, group, length):
            loss = loss + sigmoid_labels(plan, tile, group, length)
        store(tile.losses + group * plan.size, loss)
        repair(plan, tile, group, length, loss)


@inlined
def sigmoid_rows(plan: Plan, tile: Any) -> None:
    """Labels or dense targets, and no other option."""
    for first in range(0, tile.anchors, plan.block):
        sigmoid_rows_block(plan, tile, first, min(plan.block, tile.anchors - first))


# --- losses with a modulating factor --------------------------------------------------------------


@lane_function
def modulated_step(
    plan: Plan,
    options: tuple[SigmoidOptions, Lanes],
    row: ClassRow,
    k: Number,
    count: int | Number,
    total: Lanes,
) -> Lanes:
    """Add the losses of some classes, and write their gradients."""
    parameters, scale = options
    z = row_logits(plan, row, k, count, PADDING)
    value = shifted_value(plan, z, parameters)
    if plan.has_grads:
        row_put_grads(plan, row, k, count, value.slope * scale)
    return total + but_label(plan, row, k, value.loss)


@lane_function
def label_values(
    plan: Plan, own: Number, losses: Number, slopes: Number, options: SigmoidOptions, factor: Number
) -> None:
    """Write losses and slopes of the labels, whose logits are negated, to their places."""
    z = load(plan, own)
    value = modulated_value(z, options.gamma_positive)
    slope = select(z == math.inf, 1.0, value.slope)  # not 0 times an infinite softplus
    weight = splat_value(own.builder, plan.real, factor)
    store(losses, value.loss * weight)
    store(slopes, slope * -weight)


@inlined
def modulated_labels(
    plan: Plan, tile: Any, first: int, count: int, options: SigmoidOptions, slopes: int
) -> Lanes:
    """Return the losses of the labels' classes, and write the slopes."""
    own, losses = stack(plan, 1, first), stack(plan, 1, first)
    for i in range(plan.lanes):  # what is not there has no loss
        label = label_of(tile, first + i) if i < count else NO_CLASS
        z = -double(row_logit(plan, tile, first + i, label)) if label >= 0 else PADDING
        write_real(plan, own + i * plan.size, z)
    label_values(plan, own, losses, slopes, options, tile.positive)
    return load(plan, losses)


@inlined
def quality_labels(
    plan: Plan,
    tile: Any,
    first: int,
    count: int,
    options: SigmoidOptions,  # noqa: ARG001 - the interface of modulated_labels
    slopes: int,
) -> Lanes:
    """Return the same where near the score, p - score cancels in floats."""
    losses = stack(plan, 1, first)
    for i in range(plan.lanes):
        loss, slope = 0.0, 0.0
        label = label_of(tile, first + i) if i < count else NO_CLASS
        if label >= 0:
            z = double(row_logit(plan, tile, first + i, label))
            score = double(read_real(plan, tile.soft_targets + (first + i) * plan.size))
            loss, slope = exact_value(plan, tile, z, score, label)
        write_real(plan, losses + i * plan.size, loss)
        write_real(plan, slopes + i * plan.size, slope)
    return load(plan, losses)


@inlined
def modulated_block(plan: Plan, tile: Any, first: int, count: int, at_labels: Any) -> None:
    """Process a block of anchors."""
    options = sigmoid_options_of(tile)
    sums, slopes = stack(plan, plan.block, first), stack(plan, 1, first)
    negative = splat(plan, tile.negative, first)
    for i in range(count):
        anchor = first + i
        given = (options, row_scale(plan, tile, anchor) * negative)
        total = sum_over_row(plan, tile, anchor, label_of(tile, anchor), modulated_step, given)
        store(sums + i * plan.lanes * plan.size, total)
    clear_rest(plan, sums, count)
    for start in range(0, count, plan.lanes):
        group, length = first + start, min(count - start, plan.lanes)
        own = splat(plan, 0.0, start)
        if group_has_labels(tile, group, length):
            own = at_labels(plan, tile, group, length, options, slopes)
            if plan.has_grads:
                put_label_grads(plan, tile, group, length, slopes)
        loss = fma(reduce_add(plan, sums + start * plan.lanes * plan.size), negative, own)
        store(tile.losses + group * plan.size, loss)
        repair(plan, tile, group, length, loss)


@inlined
def modulated_rows(plan: Plan, tile: Any) -> None:
    """Compute a loss with a modulating factor, for labels."""
    for first in range(0, tile.anchors, plan.block):
        modulated_block(plan, tile, first, min(plan.block, tile.anchors - first), modulated_labels)


@inlined
def quality_rows(plan: Plan, tile: Any) -> None:
    """quality_focal_loss, whose labels have exact values."""
    for first in range(0, tile.anchors, plan.block):
        modulated_block(plan, tile, first, min(plan.block, tile.anchors - first), quality_labels)
