"""What targets hold: rows of dense targets of each kind, class labels; for `recommend_loss`.

A block is looked at at a time, so that no copy is as large as the targets.
"""

from collections.abc import Iterator
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastxent._contract import Array

#: How far from 1 the sum of a row may be that counts as a distribution, for rounded numbers.
_SUM_TOLERANCE = 1e-3

#: Elements looked at in one go.
_BLOCK = 2**15


class Kind(Enum):
    """What the dense targets of an anchor can be."""

    #: None has a label.
    IGNORED = 0
    #: Some have labels, and others have none.
    PARTIAL = 1
    NO_CLASS = 2
    ONE_HOT = 3
    DISTRIBUTION = 4
    SEVERAL = 5
    SOFT = 6


def has_value(targets: Array, value: int) -> bool:
    """Return whether any element has this value."""
    blocks = (targets.flat[start : start + _BLOCK] for start in range(0, targets.size, _BLOCK))
    return any(bool((block == value).any()) for block in blocks)


class Found(NamedTuple):
    """How many anchors there are of some kind, and the flat index of the first, or -1."""

    number: int = 0
    first: int = -1


def count_rows(dense: Array, *, has_missing: bool) -> dict[Kind, Found]:
    """Count the anchors of each kind; their classes are on the last axis."""
    found = dict.fromkeys(Kind, Found())
    for start, total, nonzero, labelled in _row_blocks(dense, has_missing=has_missing):
        conditions = {
            Kind.IGNORED: labelled == 0,
            Kind.PARTIAL: labelled < dense.shape[-1],
            Kind.NO_CLASS: nonzero == 0,
            Kind.ONE_HOT: (nonzero == 1) & (total == 1),
            Kind.DISTRIBUTION: np.abs(total - 1) <= _SUM_TOLERANCE,
            Kind.SEVERAL: total == nonzero,
        }
        numbers = [kind.value for kind in conditions]
        kinds = np.select(list(conditions.values()), numbers, Kind.SOFT.value)
        for kind, (number, first) in found.items():
            here = kinds == kind.value
            if more := int(np.count_nonzero(here)):
                found[kind] = Found(number + more, first if number else start + int(here.argmax()))
    return found


def _row_blocks(dense: Array, *, has_missing: bool) -> Iterator[tuple[int, Array, Array, Array]]:
    """Yield blocks of rows: the index of the first; sums; numbers of nonzeros, and of labels.

    Both axes are cut, and only a block of elements is copied at a time, whatever the strides are.
    """
    anchors, classes = dense.shape[:-1], dense.shape[-1]
    width = min(classes, _BLOCK)
    rows, count = _BLOCK // width, dense.size // classes
    for start in range(0, count, rows):
        index = np.arange(start, min(start + rows, count))
        where = np.unravel_index(index, anchors) if anchors else ()
        total = np.zeros(index.shape)
        nonzero, labelled = np.zeros(index.shape, np.intp), np.zeros(index.shape, np.intp)
        for column in range(0, classes, width):
            key: tuple[Any, ...] = (*where, slice(column, column + width))
            tile = np.atleast_2d(dense[key])
            if has_missing:
                is_labelled = (tile >= 0) & (tile <= 1)
                labelled += np.count_nonzero(is_labelled, axis=1)
                tile = np.where(is_labelled, tile, 0)
            else:
                labelled += tile.shape[1]
            total += np.sum(tile, axis=1, dtype=np.float64)
            nonzero += np.count_nonzero(tile, axis=1)
        yield start, total, nonzero, labelled


class LabelCounts(NamedTuple):
    """How many labels are ignored, the highest of the others, and how many are `background`."""

    ignored: int
    highest: int
    background: Found


def is_one_of(values: Array, marks: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return `np.isin`, which NumPy 1.26 cannot tell of uint64 and negative numbers."""
    if values.dtype.kind != "u":
        return np.isin(values, marks)
    found = np.zeros(values.shape, np.bool_)
    for mark in marks:
        found |= values == mark
    return found


def count_labels(labels: Array, background: int | None, ignore: tuple[int, ...]) -> LabelCounts:
    """Count class labels."""
    ignored, highest, found = 0, -1, Found()
    for start in range(0, labels.size, _BLOCK):
        block = labels.flat[start : start + _BLOCK]
        is_ignored = is_one_of(block, ignore)
        ignored += int(np.count_nonzero(is_ignored))
        if not is_ignored.all():
            highest = max(highest, int(block[~is_ignored].max()))
        here = np.zeros(block.shape, bool) if background is None else block == background
        here &= ~is_ignored
        if more := int(np.count_nonzero(here)):
            first = found.first if found.number else start + int(here.argmax())
            found = Found(found.number + more, first)
    return LabelCounts(ignored, highest, found)
