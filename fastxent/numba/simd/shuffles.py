"""What mixes lanes: reductions; mirrors parts of native/simd/vector_*.h."""

from collections.abc import Callable, Sequence

from llvmlite import ir

from fastxent.numba.simd.lanes import Lanes, Number, lane_function
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.vector import load, maximum, minimum


def shuffle(a: Lanes, b: Lanes, places: Sequence[int]) -> Lanes:
    """Take lanes of a, counted from 0, and of b, counted on from there."""
    numbers = ir.VectorType(ir.IntType(32), len(places))(list(places))
    return a.make(a.builder.shuffle_vector(a.value, b.value, numbers))


def _chunks(a: Lanes, b: Lanes, order: Sequence[int]) -> Lanes:
    """Take 128-bit chunks: those of a are 0 to 3, those of b 4 to 7."""
    size = a.real.lanes // 4
    return shuffle(a, b, [size * chunk + lane for chunk in order for lane in range(size)])


def _within(a: Lanes, b: Lanes, order: Sequence[int]) -> Lanes:
    """Take lanes of the chunks of a, and of those of b, the same in each chunk."""
    size, lanes = a.real.lanes // 4, a.real.lanes
    places = [lane if lane < size else lanes + lane - size for lane in order]
    return shuffle(a, b, [size * chunk + place for chunk in range(4) for place in places])


Combine = Callable[[Lanes, Lanes], Lanes]


def _fold_to_chunks(combine: Combine, a: Lanes, b: Lanes, c: Lanes, d: Lanes) -> Lanes:
    """Fold four vectors to a chunk each: lane j with lane j + lanes/2, then with j + lanes/4."""
    left, right = (
        combine(_chunks(first, second, (0, 1, 4, 5)), _chunks(first, second, (2, 3, 6, 7)))
        for first, second in ((a, b), (c, d))
    )
    return combine(_chunks(left, right, (0, 2, 4, 6)), _chunks(left, right, (1, 3, 5, 7)))


def reduce_lanes(combine: Combine, v: Sequence[Lanes]) -> Lanes:
    """Return, in lane i, the reduction over the lanes of vector i, of as many vectors as lanes."""
    step = len(v) // 4
    chunks = [
        _fold_to_chunks(combine, v[i], v[i + step], v[i + 2 * step], v[i + 3 * step])
        for i in range(step)
    ]
    if step == 4:
        chunks = [
            combine(_within(a, b, (0, 1, 4, 5)), _within(a, b, (2, 3, 6, 7)))
            for a, b in (chunks[:2], chunks[2:])
        ]
        return combine(
            _within(chunks[0], chunks[1], (0, 2, 4, 6)), _within(chunks[0], chunks[1], (1, 3, 5, 7))
        )
    return combine(_within(chunks[0], chunks[1], (0, 2)), _within(chunks[0], chunks[1], (1, 3)))


def load_all(plan: Plan, address: Number) -> list[Lanes]:
    """Return as many vectors as lanes, which are contiguous."""
    size = plan.real.lanes * plan.real.size
    return [load(plan, address + i * size) for i in range(plan.real.lanes)]


@lane_function
def reduce_add(plan: Plan, address: Number) -> Lanes:
    """Return the sums of the vectors at an address, a lane each."""
    return reduce_lanes(lambda a, b: a + b, load_all(plan, address))


@lane_function
def reduce_maximum(plan: Plan, address: Number) -> Lanes:
    """Return the maxima of the vectors at an address, a lane each."""
    return reduce_lanes(maximum, load_all(plan, address))


@lane_function
def reduce_minimum(plan: Plan, address: Number) -> Lanes:
    """Return the minima of the vectors at an address, a lane each."""
    return reduce_lanes(minimum, load_all(plan, address))
