"""Scores and links: of single values, and over classes; mirrors simd/scores.h, score_rows.h."""

import math
from typing import Any

from fastxent.numba.compilation import inlined
from fastxent.numba.simd.lanes import Lanes, Number, lane_function
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.rows import anchor_scale
from fastxent.numba.simd.sigmoid import no_terms
from fastxent.numba.simd.softmax import lanes_maximum
from fastxent.numba.simd.softmax_rows import group_maxima, group_others
from fastxent.numba.simd.summation import compensated_add, compensated_settle, compensated_value
from fastxent.numba.simd.tile import (
    CLASS_GROUP,
    SETTLED_CLASSES,
    Flow,
    first_anchors,
    flow_of,
    lanes_load,
    lanes_put,
    lanes_rewrite,
    lanes_stream,
    logits_of,
    repair_infinite,
    stream_of,
)
from fastxent.numba.simd.vector import (
    LANES_AHEAD,
    fma,
    load,
    load_first,
    minimum,
    negative_abs,
    relu,
    select,
    splat,
    stack,
    store,
    store_first,
)
from fastxent.numba.simd.vector_math import (
    Centre,
    centre_at,
    constants_of,
    divide_by,
    exp_centred,
    exp_nonpositive,
    log,
    log1p,
    log1p_unit,
)


@lane_function
def sigmoid(x: Lanes) -> Lanes:
    """Return 1 / (1 + exp(-x))."""
    e = exp_nonpositive(negative_abs(x))
    return select(x < 0.0, e, 1.0) / (1.0 + e)


@lane_function
def softplus(x: Lanes) -> Lanes:
    """Return log(1 + exp(x))."""
    tail = log1p_unit(exp_nonpositive(negative_abs(x)))
    # The logarithm of a NaN is not one: take it from the relu.
    positive = relu(x)
    return select(x == x, positive + tail, positive)


@lane_function
def log_sigmoid(x: Lanes) -> Lanes:
    """Return -softplus(-x)."""
    return -softplus(-x)


@lane_function
def logit(p: Lanes) -> Lanes:
    """Return log(p / (1 - p)).

    With q the smaller of p and 1 - p, its size is log1p(|2p - 1| / q), accurate near p = 1/2 too;
    where q is tiny it is -log q.
    """
    c = constants_of(p.real)
    distance = fma(2.0, p, -1.0)
    lower = distance < 0.0
    q = select(lower, p, 1.0 - p)
    ratio = select(lower, -distance, distance) / q
    tiny = q < 2.0**-60
    size = log1p(select(tiny, 0.0, ratio))
    size = select(tiny, c.tiny_scale_log - log(q * c.tiny_scale), size)
    size = select(q == 0.0, math.inf, size)
    result = select(lower, -size, size)
    return select(q < 0.0, math.nan, select(p == p, result, p))


@lane_function
def odds(p: Lanes) -> Lanes:
    """Return p / (1 - p); p = 1 leaves +0, whose quotient is +infinity."""
    rest = 1.0 - p
    return select(minimum(p, rest) < 0.0, math.nan, p / rest)


MAPS = {
    "sigmoid": sigmoid,
    "softplus": softplus,
    "log_sigmoid": log_sigmoid,
    "logit": logit,
    "odds": odds,
}


@lane_function
def element_score(plan: Plan, x: Lanes) -> Lanes:
    """Return the plan's score of single values."""
    return MAPS[plan.loss](x)


@inlined
def map_values(plan: Plan, values: int, results: int, count: int) -> None:
    """Fill in the scores of single values."""
    whole = count - count % plan.lanes
    for first in range(0, whole, plan.lanes):
        x = load(plan, values + first * plan.size)
        store(results + first * plan.size, element_score(plan, x))
    if whole < count:
        x = load_first(plan, values + whole * plan.size, count - whole, 0.0)
        store_first(results + whole * plan.size, count - whole, element_score(plan, x))


# --- over the class axis, anchors as lanes --------------------------------------------------------


@lane_function
def exponentials_of(
    plan: Plan,
    logits: Flow,
    results: Flow,
    first: Number,
    count: int,
    centre: Centre,
    total: Lanes,
) -> Lanes:
    """Add the exponentials of some classes to a sum, and keep them in the results."""
    for i in range(count):
        e = exp_centred(lanes_stream(plan, logits, first + i), centre)
        lanes_put(results, first + i, e)
        total = total + e
    return total


@inlined
def lanes_exponentials(plan: Plan, tile: Any, first: int, centre: Centre) -> Lanes:
    """Return the sum of the exponentials of all classes, which are kept in the results."""
    logits = logits_of(plan, tile, first)
    results = flow_of(plan, tile.results, first, LANES_AHEAD)
    total, zero = no_terms(plan, first), splat(plan, 0.0, first)
    k = 0
    while k + CLASS_GROUP <= tile.classes:
        terms = exponentials_of(plan, logits, results, k, 8, centre, zero)
        total = compensated_add(total, terms)
        k += CLASS_GROUP
        if k % SETTLED_CLASSES == 0:
            total = compensated_settle(total)
    if k < tile.classes:
        terms = zero
        while k < tile.classes:
            terms = exponentials_of(plan, logits, results, k, 1, centre, terms)
            k += 1
        total = compensated_add(total, terms)
    return compensated_value(total)


@inlined
def softmax_score_lanes(plan: Plan, tile: Any) -> None:
    """softmax, whose exponentials are kept in its results."""
    for first in range(0, tile.anchors, plan.lanes):
        count = min(plan.lanes, tile.anchors - first)
        logits, results = logits_of(plan, tile, first), stream_of(plan, tile.results, first)
        largest = lanes_maximum(plan, logits, tile.classes)
        total = lanes_exponentials(plan, tile, first, centre_at(largest))
        inverse = 1.0 / total
        anchors = first_anchors(plan, count)
        for k in range(tile.classes):
            e = lanes_load(plan, results, k)
            lanes_rewrite(results, k, divide_by(e, total, inverse), e, anchors)
        repair_infinite(plan, tile, first, count, largest)


# --- classes as lanes -----------------------------------------------------------------------------


@inlined
def divide_row(plan: Plan, place: int, classes: int, total: Lanes, inverse: Lanes) -> None:
    """Divide a row by its sum."""
    vector = plan.lanes * plan.size
    k = 0
    while k + plan.lanes <= classes:
        store(place, divide_by(load(plan, place), total, inverse))
        place += vector
        k += plan.lanes
    if k < classes:
        rest = classes - k
        e = load_first(plan, place, rest, 0.0)
        store_first(place, rest, divide_by(e, total, inverse))


@inlined
def softmax_score_rows(plan: Plan, tile: Any) -> None:
    """softmax, whose exponentials are kept in its results."""
    for first in range(0, tile.anchors, plan.lanes):
        count = min(plan.lanes, tile.anchors - first)
        largest = group_maxima(plan, tile, first, count)
        total = group_others(plan, tile, first, count, largest)
        totals, inverses = stack(plan, 1, first), stack(plan, 1, first)
        store(totals, total)
        store(inverses, 1.0 / total)
        for i in range(count):
            place = tile.results.data + (first + i) * tile.results.anchor_stride * plan.size
            whole = anchor_scale(plan, totals + i * plan.size)
            inverse = anchor_scale(plan, inverses + i * plan.size)
            divide_row(plan, place, tile.classes, whole, inverse)
        repair_infinite(plan, tile, first, count, largest)
