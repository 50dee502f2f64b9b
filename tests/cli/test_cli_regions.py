"""Blocks cover every anchor once, in the order of the file; runs are where the bytes are."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastxent.cli import regions
from fastxent.cli.regions import drop_axis, find_runs, is_sequential, split_anchors

shapes = st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple)


@st.composite
def split_logits(draw):
    shape = draw(shapes)
    axis = draw(st.none() | st.integers(0, len(shape) - 1))
    return shape, axis, draw(st.booleans())


def split(shape, axis, fortran_order, block_bytes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regions, "BLOCK_BYTES", block_bytes)
        return list(split_anchors(shape, axis, 4, fortran_order=fortran_order))


@given(split_logits(), st.integers(1, 2000))
def test_blocks_cover_every_logit_once(case, block_bytes):
    shape, axis, fortran_order = case
    counts = np.zeros(shape, int)
    for region in split(shape, axis, fortran_order, block_bytes):
        counts[region] += 1
    assert (counts == 1).all()


@given(split_logits(), st.integers(1, 2000))
def test_blocks_are_whole_anchors_of_limited_size(case, block_bytes):
    shape, axis, fortran_order = case
    array = np.empty(shape, np.float32)
    anchor_bytes = 4 * (1 if axis is None else shape[axis])
    for region in split(shape, axis, fortran_order, block_bytes):
        assert array[region].nbytes <= max(block_bytes, anchor_bytes)
        assert axis is None or region[axis] == slice(0, shape[axis])


@given(split_logits(), st.integers(1, 2000))
def test_blocks_follow_the_order_of_the_anchors(case, block_bytes):
    shape, axis, fortran_order = case
    anchors = drop_axis(shape, axis)
    order = "F" if fortran_order else "C"
    numbers = np.arange(np.prod(anchors, dtype=int)).reshape(anchors, order=order)
    blocks = split(shape, axis, fortran_order, block_bytes)
    read = [numbers[drop_axis(region, axis)].ravel(order=order) for region in blocks]
    assert np.array_equal(np.concatenate(read), np.arange(numbers.size))


@given(split_logits(), st.integers(8, 2000))
def test_blocks_are_not_needlessly_small(case, block_bytes):
    """Two neighbours never fit into one block, unless a slower axis moves on between them."""
    shape, axis, fortran_order = case
    array = np.empty(shape, np.float32)
    for one, other in pairwise(split(shape, axis, fortran_order, block_bytes)):
        moved = [i for i in range(len(shape)) if one[i] != other[i]]
        if len(moved) == 1:
            assert array[one].nbytes + array[other].nbytes > block_bytes


@given(st.data(), shapes, st.booleans())
def test_runs_are_the_elements_of_a_region(data, shape, fortran_order):
    region = []
    for length in shape:
        start = data.draw(st.integers(0, length - 1))
        region.append(slice(start, data.draw(st.integers(start + 1, length))))
    order = "F" if fortran_order else "C"
    array = np.arange(np.prod(shape)).reshape(shape, order=order)
    stored = array.ravel(order=order)
    runs = list(find_runs(shape, tuple(region), fortran_order=fortran_order))
    found = np.concatenate([stored[offset : offset + count] for offset, count in runs])
    assert np.array_equal(found, array[tuple(region)].ravel(order=order))


def test_a_contiguous_block_is_one_run():
    region = (slice(3, 4), slice(10, 20), slice(0, 80))
    assert list(find_runs((8, 100, 80), region, fortran_order=False)) == [(3 * 8000 + 800, 800)]


def test_a_single_value_is_one_run():
    assert list(find_runs((), (), fortran_order=False)) == [(0, 1)]


def test_order_of_reading():
    # Classes last: one block follows the other. Classes first: every block starts over.
    last = split((100, 8), 1, False, 64)
    first = split((8, 100), 0, False, 64)
    assert is_sequential((100, 8), last, fortran_order=False)
    assert not is_sequential((8, 100), first[:2], fortran_order=False)
    assert is_sequential((8, 100), split((8, 100), 0, True, 64), fortran_order=True)
