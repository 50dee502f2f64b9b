"""What mixes lanes: reductions and transposes; mirrors parts of native/simd/vector_*.h."""

from collections.abc import Callable, Sequence

from llvmlite import ir

from fastxent.numba.simd.lanes import Lanes, Number, lane_function
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.vector import load, maximum, minimum, pointer_to


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
    """Return as many vectors as lanes, which lie one behind the other."""
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


def _transpose_chunks(rows: Sequence[Lanes]) -> list[Lanes]:
    """Transpose as many vectors as a chunk has numbers, each chunk for itself."""
    if len(rows) == 2:
        return [_within(rows[0], rows[1], order) for order in ((0, 2), (1, 3))]
    low, high = (
        [_within(rows[k], rows[k + 1], order) for k in (0, 2)]
        for order in ((0, 4, 1, 5), (2, 6, 3, 7))
    )
    return [
        _within(pair[0], pair[1], order)
        for pair in (low, high)
        for order in ((0, 1, 4, 5), (2, 3, 6, 7))
    ]


def _load_chunks(plan: Plan, places: Sequence[Number]) -> Lanes:
    """Return a vector of the 128-bit chunks at four addresses."""
    builder, size = places[0].builder, plan.lanes // 4
    kind = ir.VectorType(plan.real.ir, size)
    parts = [builder.load(pointer_to(builder, place, kind), align=1) for place in places]
    while len(parts) > 1:
        parts = [_joined(builder, *parts[i : i + 2]) for i in range(0, len(parts), 2)]
    return Lanes(builder, parts[0], plan.real)


def _joined(builder: ir.IRBuilder, low: ir.Value, high: ir.Value) -> ir.Value:
    """Return the vector of which two others are the halves."""
    numbers = ir.VectorType(ir.IntType(32), 2 * low.type.count)
    return builder.shuffle_vector(low, high, numbers(list(range(2 * low.type.count))))


def load_columns(plan: Plan, rows: Sequence[Number]) -> list[Lanes]:
    """Return the 128 bits at the addresses of as many rows as lanes: a vector for each number."""
    size = plan.lanes // 4
    return _transpose_chunks([_load_chunks(plan, rows[i::size]) for i in range(size)])


def transpose(v: Sequence[Lanes]) -> list[Lanes]:
    """Return as many vectors as lanes: lane i of vector j becomes lane j of vector i."""
    if len(v) == 8:
        return _transpose_doubles(v)
    even, odd = (0, 2, 4, 6), (1, 3, 5, 7)
    # blocks[4 i + j], chunk c: column 4 c + j of rows 4 i .. 4 i + 3
    blocks = [block for i in range(0, 16, 4) for block in _transpose_chunks(v[i : i + 4])]
    halves = {
        (half, parity, j): _chunks(blocks[8 * half + j], blocks[8 * half + 4 + j], parity)
        for half in (0, 1)
        for parity in (even, odd)
        for j in range(4)
    }
    # Chunks 0 and 2 of a row of blocks, then 1 and 3: columns 0.., 8.. and 4.., 12..
    columns = {}
    for j in range(4):
        for start, parity in ((0, even), (4, odd)):
            left, right = halves[0, parity, j], halves[1, parity, j]
            columns[start + j] = _chunks(left, right, even)
            columns[start + 8 + j] = _chunks(left, right, odd)
    return [columns[i] for i in range(16)]


def _transpose_doubles(v: Sequence[Lanes]) -> list[Lanes]:
    even, odd = (0, 2, 4, 6), (1, 3, 5, 7)
    columns = {}
    blocks = [_transpose_chunks(v[i : i + 2]) for i in range(0, 8, 2)]
    for h, pairs in enumerate(zip(*blocks, strict=True)):
        for start, parity in ((0, even), (2, odd)):
            low, high = (_chunks(pairs[2 * i], pairs[2 * i + 1], parity) for i in (0, 1))
            columns[start + h] = _chunks(low, high, even)
            columns[start + 4 + h] = _chunks(low, high, odd)
    return [columns[i] for i in range(8)]
