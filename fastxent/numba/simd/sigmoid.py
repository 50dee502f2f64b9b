"""The sigmoid family with anchors as lanes: every option; mirrors native/simd/sigmoid.h.

One logit: softplus(z) - y z = log1p(e) + (1 - y) relu(z) + y relu(-z), e = exp(-|z|): every term is
non-negative, so nothing cancels. An anchor's log1p(e_k) are summed as one product,
Q = prod(1 + e_k) - 1 by Q <- Q + (e + Q e), and one log1p(Q): one logarithm for many logits, and Q
keeps the relative accuracy of tiny losses that a product near 1 would lose.
"""

from typing import Any, NamedTuple

from fastxent.numba.compilation import inlined
from fastxent.numba.simd.custom_terms import custom_class
from fastxent.numba.simd.lanes import Lanes, Number, lane_function, splat_value
from fastxent.numba.simd.memory import double, read_int32, read_real, write_real
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.rows import group_has_labels
from fastxent.numba.simd.shuffles import load_all, reduce_lanes
from fastxent.numba.simd.sigmoid_terms import (
    SigmoidOptions,
    SigmoidValue,
    sigmoid_options_of,
    sigmoid_value_of,
    size_on_side,
)
from fastxent.numba.simd.summation import Compensated, compensated_add, compensated_value
from fastxent.numba.simd.tile import (
    CLASS_GROUP,
    NO_CLASS,
    Flow,
    Labels,
    exact_value,
    factors_of,
    grads_of,
    is_class,
    labels_of,
    lanes_load,
    lanes_negative,
    lanes_positive,
    lanes_put,
    lanes_store,
    lanes_stream,
    lanes_target,
    logits_of,
    matrix_at,
    repair,
    stream_of,
    targets_of,
)
from fastxent.numba.simd.vector import (
    any_lane,
    fma,
    load,
    negative_abs,
    relu,
    select,
    splat,
    stack,
    store,
)
from fastxent.numba.simd.vector_math import exp_nonpositive, log1p, log1p_unit


def product_add(q: Lanes, e: Lanes) -> Lanes:
    """Return a product (1 + q) (1 + e) - 1."""
    return q + fma(q, e, e)


@lane_function
def reduce_product(plan: Plan, address: Number) -> Lanes:
    """Return the products of the vectors at an address, a lane each."""
    return reduce_lanes(product_add, load_all(plan, address))


def negative_linear_term(z: Lanes, y: Lanes) -> Lanes:
    """Return (1 - y) relu(z) + y relu(-z), negated."""
    side = select(z < 0.0, y, 1.0 - y)
    return size_on_side(z, side) * side


def sigmoid_slope(z: Lanes, e: Lanes, y: Lanes | None) -> Lanes:
    """Return (1 - y) sigmoid(z) - y sigmoid(-z), from e = exp(-|z|); without targets y = 0."""
    is_negative = z < 0.0
    if y is None:
        return select(is_negative, e, 1.0) / (1.0 + e)
    rest = 1.0 - y
    larger, smaller = select(is_negative, y, rest), select(is_negative, rest, y)
    slope = fma(-smaller, e, larger) / (1.0 + e)
    return select(is_negative, -slope, slope)


class SigmoidSums(NamedTuple):
    """The sums of some classes."""

    product: Lanes
    linear: Lanes


@lane_function
def no_sums(plan: Plan, like: Number) -> SigmoidSums:
    """Return the sums of no class; `like` may be any number that is not a constant."""
    zero = splat_value(like.builder, plan.real, 0.0)
    return SigmoidSums(zero, zero)


@lane_function
def sigmoid_sums_join(a: SigmoidSums, b: SigmoidSums) -> SigmoidSums:
    """Return the sums of both."""
    return SigmoidSums(product_add(a.product, b.product), a.linear + b.linear)


class SigmoidTotals(NamedTuple):
    """The sums of an anchor."""

    linear: Compensated
    product: Compensated


@lane_function
def no_terms(plan: Plan, like: Number) -> Compensated:
    """Return a sum of nothing."""
    zero = splat_value(like.builder, plan.real, 0.0)
    return Compensated(zero, zero)


@lane_function
def sigmoid_join(totals: SigmoidTotals, terms: SigmoidSums) -> SigmoidTotals:
    """Join some classes' sums to an anchor's.

    The product's rounding error is kept as if the product were a sum, which it is where errors
    matter, for small factors.
    """
    grown = fma(totals.product.total, terms.product, terms.product)
    return SigmoidTotals(
        compensated_add(totals.linear, terms.linear), compensated_add(totals.product, grown)
    )


class SigmoidInputs(NamedTuple):
    """What the terms of a vector of anchors are made of."""

    logits: Flow
    targets: Flow
    columns: Lanes
    grads: Flow
    scales: Lanes  # factors of the gradients


@inlined
def scales_of(plan: Plan, tile: Any, first: int) -> Lanes:
    """Return the factors of the gradients, where there are any."""
    if tile.grads.data == 0:
        return splat(plan, 1.0, first)
    return load(plan, tile.grad_scales + first * plan.size)


@inlined
def sigmoid_inputs(plan: Plan, tile: Any, first: int) -> SigmoidInputs:
    """Return the inputs of a vector of anchors."""
    return SigmoidInputs(
        logits_of(plan, tile, first),
        targets_of(plan, tile, first),
        labels_of(plan, tile, first).columns,
        grads_of(plan, tile, first),
        scales_of(plan, tile, first),
    )


@lane_function
def sigmoid_add_classes(
    plan: Plan,
    inputs: SigmoidInputs,
    first: Number,
    count: int,
    sums: SigmoidSums,
    with_label: bool,
) -> SigmoidSums:
    """Add the terms of some classes, and write their gradients.

    Of the label, softplus(z) - z = softplus(-z): its linear term is relu(-z), which label_terms may
    add instead, and its slope -sigmoid(-z).
    """
    product, linear = sums
    column = inputs.columns - first
    for i in range(count):
        z, scale = lanes_stream(plan, inputs.logits, first + i), inputs.scales
        e = exp_nonpositive(negative_abs(z))
        product = product_add(product, e)
        if plan.has_targets:
            y = lanes_stream(plan, inputs.targets, first + i)
            linear = linear - negative_linear_term(z, y)
        else:
            y, is_label = None, column == float(i)
            if not with_label:
                linear = linear + select(is_label, 0.0, relu(z))
            z, scale = select(is_label, -z, z), select(is_label, -scale, scale)
            if with_label:
                linear = linear + relu(z)
        if plan.has_grads:
            lanes_put(inputs.grads, first + i, sigmoid_slope(z, e, y) * scale)
    return SigmoidSums(product, linear)


@inlined
def label_terms(plan: Plan, tile: Any, first: int, count: int) -> Lanes:
    """Return what the labels add, relu(-z)."""
    terms = stack(plan, 1, first)
    for i in range(plan.lanes):
        label = read_int32(tile.labels + 4 * (first + i)) if i < count else NO_CLASS
        z = double(matrix_at(plan, tile.logits, first + i, label)) if label >= 0 else 0.0
        write_real(plan, terms + i * plan.size, 0.0 if z > 0 else -z)  # NaN stays one
    return load(plan, terms)


#: Products of more factors up to 2 would come near overflow (2^127).
PRODUCT_FACTORS = 112


@inlined
def sigmoid_range(
    plan: Plan, inputs: SigmoidInputs, start: int, end: int, total: Compensated
) -> Compensated:
    """Add up to PRODUCT_FACTORS classes to a sum."""
    totals = SigmoidTotals(total, no_terms(plan, start))
    k = start
    while k + CLASS_GROUP <= end:
        sums = sigmoid_add_classes(plan, inputs, k, 8, no_sums(plan, k), False)
        totals = sigmoid_join(totals, sums)
        k += CLASS_GROUP
    if k < end:
        sums = no_sums(plan, k)
        while k < end:
            sums = sigmoid_add_classes(plan, inputs, k, 1, sums, False)
            k += 1
        totals = sigmoid_join(totals, sums)
    return compensated_add(totals.linear, log1p(compensated_value(totals.product)))


#: So few classes that their sums need no compensation.
FEW_CLASSES = 4


@inlined
def sigmoid_few(plan: Plan, inputs: SigmoidInputs, classes: int) -> Lanes:
    """Return the losses of a vector of anchors of few classes."""
    sums = no_sums(plan, classes)
    for k in range(classes):
        sums = sigmoid_add_classes(plan, inputs, k, 1, sums, True)
    if classes == 1:  # one logarithm a logit is one an anchor, and its argument is at most 1
        return sums.linear + log1p_unit(sums.product)
    return sums.linear + log1p(sums.product)


@inlined
def sigmoid_many(plan: Plan, tile: Any, first: int, count: int, inputs: SigmoidInputs) -> Lanes:
    """Return the losses of a vector of anchors of more classes."""
    classes, total = tile.classes, no_terms(plan, first)
    for start in range(0, classes, PRODUCT_FACTORS):
        total = sigmoid_range(plan, inputs, start, min(classes, start + PRODUCT_FACTORS), total)
    if not plan.has_targets and group_has_labels(tile, first, count):
        total = compensated_add(total, label_terms(plan, tile, first, count))
    return compensated_value(total)


@inlined
def sigmoid_plain_lanes(plan: Plan, tile: Any) -> None:
    """No weights, no smoothing, losses per anchor."""
    for first in range(0, tile.anchors, plan.lanes):
        count = min(plan.lanes, tile.anchors - first)
        inputs = sigmoid_inputs(plan, tile, first)
        if tile.classes <= FEW_CLASSES:
            loss = sigmoid_few(plan, inputs, tile.classes)
        else:
            loss = sigmoid_many(plan, tile, first, count, inputs)
        store(tile.losses + first * plan.size, loss)
        repair(plan, tile, first, count, loss)


# --- every loss of the family with every option: one logarithm a logit ----------------------------


@lane_function
def sigmoid_class(
    plan: Plan, options: SigmoidOptions, z: Lanes, y: Lanes, positive: Lanes, negative: Lanes
) -> SigmoidValue:
    """Return loss and slope of a class."""
    if plan.is_custom:
        value = custom_class(plan, options.parameters, z, y)
        return SigmoidValue(value.loss * positive, value.slope * positive)
    return sigmoid_value_of(plan, options, z, y, positive, negative)


@lane_function
def keep_value(
    plan: Plan,  # noqa: ARG001 - the interface that quality_at_labels needs
    tile: Any,  # noqa: ARG001
    first: Number,  # noqa: ARG001
    k: Number,  # noqa: ARG001
    labels: Labels,  # noqa: ARG001
    value: SigmoidValue,
) -> SigmoidValue:
    """Return a value as it is."""
    return value


@inlined
def quality_at_labels(
    plan: Plan, tile: Any, first: int, k: int, labels: Labels, value: SigmoidValue
) -> SigmoidValue:
    """Put the exact values where a label says that the target is a score.

    Near it, p - score cancels.
    """
    if not any_lane(is_class(labels.columns, k)):
        return value
    losses, slopes = stack(plan, 1, k), stack(plan, 1, k)
    store(losses, value.loss)
    store(slopes, value.slope)
    for i in range(min(plan.lanes, tile.anchors - first)):
        anchor = first + i
        if read_int32(tile.labels + 4 * anchor) != k:
            continue
        z = double(matrix_at(plan, tile.logits, anchor, k))
        score = double(read_real(plan, tile.soft_targets + anchor * plan.size))
        loss, slope = exact_value(plan, tile, z, score, k)
        write_real(plan, losses + i * plan.size, loss)
        write_real(plan, slopes + i * plan.size, slope)
    return SigmoidValue(load(plan, losses), load(plan, slopes))


@inlined
def sigmoid_general(plan: Plan, tile: Any, first: int, adjust: Any) -> None:
    """One vector of anchors."""
    options, factors = sigmoid_options_of(tile), factors_of(plan, tile)
    labels = labels_of(plan, tile, first)
    logits, targets = logits_of(plan, tile, first), targets_of(plan, tile, first)
    weights, results = stream_of(plan, tile.weights, first), stream_of(plan, tile.results, first)
    grads, scales = grads_of(plan, tile, first), scales_of(plan, tile, first)
    grad_weights = stream_of(plan, tile.grad_weights, first)
    has_weights, has_results = tile.weights.data != 0, tile.results.data != 0
    has_grads, has_grad_weights = tile.grads.data != 0, tile.grad_weights.data != 0
    total = no_terms(plan, first)
    for k in range(tile.classes):
        z = lanes_stream(plan, logits, k)
        y = lanes_target(plan, targets, k, labels)
        positive, negative = lanes_positive(plan, factors, k), lanes_negative(plan, factors, k)
        value = sigmoid_class(plan, options, z, y, positive, negative)
        value = adjust(plan, tile, first, k, labels, value)
        loss, slope = value.loss, value.slope
        if has_weights:
            weight = lanes_load(plan, weights, k)
            loss, slope = loss * weight, slope * weight
        if has_results:
            lanes_store(results, k, loss)
        if has_grad_weights:
            slope = slope * lanes_load(plan, grad_weights, k)
        if has_grads:
            lanes_put(grads, k, slope * scales)
        total = compensated_add(total, loss)
    loss = compensated_value(total)
    if tile.losses != 0:
        store(tile.losses + first * plan.size, loss)
    repair(plan, tile, first, min(plan.lanes, tile.anchors - first), loss)


@inlined
def sigmoid_lanes(plan: Plan, tile: Any) -> None:
    """Every option."""
    for first in range(0, tile.anchors, plan.lanes):
        sigmoid_general(plan, tile, first, keep_value)


@inlined
def quality_lanes(plan: Plan, tile: Any) -> None:
    """quality_focal_loss, whose exact values are part of it."""
    for first in range(0, tile.anchors, plan.lanes):
        sigmoid_general(plan, tile, first, quality_at_labels)
