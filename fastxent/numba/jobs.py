"""A Job: one call as the compiled blocks see it; mirrors native/_job.pxd and _arrays.pxd.

Everything that depends on the shape of a call alone is here: its operands' strides, the sizes of
blocks and tiles, a thread's memory.
"""

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastxent._contract import Array
from fastxent.numba.records import JOB, TILE, TOTALS
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.rows import MASK_CENTRE, MASK_LENGTH

#: A block is at least this many logits: 30 us of work for one core, so that starting it is nothing,
#: and a quarter of a MB, so that many cores find work in a small call.
BLOCK_LOGITS = 65536
#: But no more anchors than this: their labels and losses stay in the first-level cache.
BLOCK_ANCHORS = 2048
BLOCK_STEP = 64
#: Logits of a packed tile: a quarter of the first-level cache, for the next tile is asked for while
#: one is worked off. Its anchors are a multiple of the widest vector.
TILE_LOGITS = 2048
TILE_STEP = 16
#: Of more classes than that, tiles take memory that counts: those of so many bytes have no more
#: anchors than there are in a run. Whole vectors of anchors then reach into the following classes,
#: so what is written twice keeps these (see `lanes_rewrite`).
WIDE_TILE_BYTES = 1 << 20
#: Values of a score of single values that are packed at a time.
MAP_TILE = 1024
#: Widest vector, in bytes: scratch arrays are aligned to it, and packing may write that much more.
VECTOR_BYTES = 64
#: As in native/_requests.pxd.
ROW_BYTES = 52
SIGMOID_ROW_BYTES = 96
SOFTMAX_ROW_BYTES = 128
SCORE_ROW_BYTES = 96

#: Operands with a class axis.
WITH_CLASSES = frozenset({"logits", "logit_weight", "grads", "logit_grad_output"})


@functools.cache
def others_table(precision: str) -> Array:
    """Return all bits set, but none at the centre: it masks a label out of a row."""
    table = np.full(MASK_LENGTH, -1, f"i{np.dtype(precision).itemsize}")
    table[MASK_CENTRE] = 0
    return table


class Job:
    """A record for the kernels, and whatever has to live as long."""

    def __init__(
        self, arrays: Mapping[str, Array | None], *, targets_have_classes: bool, per_logit: bool
    ) -> None:
        logits = arrays["logits"]
        assert logits is not None  # noqa: S101 - for the type checker
        self.record = np.zeros((), JOB)
        self.arrays = {name: array for name, array in arrays.items() if array is not None}
        self.precision = "float64" if logits.dtype == np.float64 else "float32"
        self.itemsize = np.dtype(self.precision).itemsize
        self.lanes = VECTOR_BYTES // self.itemsize
        with_classes = WITH_CLASSES | ({"targets"} if targets_have_classes else frozenset())
        self.with_classes = with_classes | ({"out"} if per_logit else frozenset())
        self.kept: list[Any] = []
        #: The call has a row kernel; sums over anchors are wanted.
        self.has_rows = False
        self.has_totals = False
        #: Some dense targets are missing.
        self.may_miss = False
        #: What repairs anchors whose results are not finite; in runs with missing targets, too.
        self.exact: Plan | None = None
        self.lane_exact: Plan | None = None
        self.classes = logits.shape[-1]
        self.shape, self.strides = _coalesce(
            logits.shape[:-1],
            {
                name: array.strides[:-1] if name in self.with_classes else array.strides
                for name, array in self.arrays.items()
            },
        )
        self.size = math.prod(self.shape)
        self.record["classes"] = self.classes
        self.record["options"]["classes"] = self.classes
        self.record["per_logit"] = per_logit
        self.record["weight"] = 1.0
        self.record["background_column"] = -1
        self._describe_operands()

    def plan(self, kernel: str, **facts: Any) -> Plan:
        """Return a plan of this call's precision."""
        return Plan(kernel, self.precision, **facts)

    def keep(self, array: Array) -> int:
        """Keep an array alive, and return its address."""
        self.kept.append(array)
        return array.ctypes.data

    def _describe_operands(self) -> None:
        layout = np.array([self.shape, *self.strides.values()], np.int64)
        address, step = self.keep(layout), layout.strides[0]
        record = self.record
        record["dimensions"] = len(self.shape)
        record["size"] = self.size
        record["shape"] = address
        for row, (name, array) in enumerate(self.arrays.items(), start=1):
            operand = record[name]
            operand["data"] = array.ctypes.data
            operand["item"] = array.itemsize
            operand["strides"] = address + row * step
            operand["inner_stride"] = self.strides[name][-1]
            if name in self.with_classes:
                operand["class_stride"] = array.strides[-1]
                operand["in_lanes"] = self.lies_in_lanes(name)

    def lies_in_lanes(self, name: str) -> bool:
        """Tell whether the lane kernels can work on an operand where it is."""
        array = self.arrays[name]
        return (
            array.dtype == self.precision
            and self.strides[name][-1] == self.itemsize
            and array.strides[-1] % self.itemsize == 0
        )

    def lies_in_rows(self, name: str, *, may_be_half: bool) -> bool:
        """Tell whether the row kernels can work on an operand where it is.

        They pay off where a row fills most of a vector.
        """
        if name not in self.arrays:
            return True
        array = self.arrays[name]
        size = array.itemsize
        return (
            (array.dtype == self.precision or (may_be_half and size == 2))
            and self.has_adjacent_classes(name)
            and self.classes * self.itemsize >= ROW_BYTES
            and all(stride % size == 0 for stride in self.strides[name])
        )

    def has_adjacent_classes(self, name: str) -> bool:
        """Tell whether the classes of an anchor lie side by side."""
        return self.arrays[name].strides[-1] == self.arrays[name].itemsize

    def needs_copies(self, name: str) -> bool:
        """Tell whether the lane kernels need copies of some of an operand's anchors."""
        in_place = bool(self.record[name]["in_lanes"]) and self.shape[-1] % self.lanes == 0
        return name in self.arrays and not in_place

    def plan_memory(self, *, is_map: bool = False) -> int:
        """Choose the sizes of blocks and tiles; return the bytes of a thread's memory."""
        record = self.record
        anchors = BLOCK_LOGITS // self.classes
        anchors = max(_up(anchors, BLOCK_STEP), BLOCK_STEP)
        tile = max(TILE_LOGITS // self.classes // TILE_STEP * TILE_STEP, TILE_STEP)
        if is_map:
            in_place = record["logits"]["in_lanes"] and record["out"]["in_lanes"]
            tile = anchors if in_place else MAP_TILE
        else:
            anchors = min(anchors, BLOCK_ANCHORS)
        anchors = min(anchors, _up(self.size, BLOCK_STEP))
        tile = min(tile, anchors)
        if tile * self.classes * self.itemsize >= WIDE_TILE_BYTES:
            tile = min(tile, self.shape[-1])
        record["block_anchors"] = anchors
        record["tile_anchors"] = tile
        record["blocks"] = -(-self.size // anchors)
        return self._place_scratch(anchors, tile)

    def _place_scratch(self, anchors: int, tile_anchors: int) -> int:
        """Say what lies where in a thread's memory, and where it ends."""
        vector, tile = anchors * self.itemsize, tile_anchors * self.classes * self.itemsize
        present = self.arrays.keys()
        is_wanted = {
            "masses": self.has_totals,
            "label_counts": self.may_miss,
            "targets": "targets" in present and not self.record["has_labels"],
            "labelled": self.may_miss,
            "logit_weights": "logit_weight" in present,
            # Row kernels read and write where the arrays are: a row may be as long as memory.
            "logits": not self.has_rows or bool(self.record["is_in_place"]) or self.may_miss,
            "results": not self.has_rows and "out" in present and bool(self.record["per_logit"]),
            "grads": "grads" in present,
            "grad_weights": "logit_grad_output" in present,
        }
        sizes = {"cursor": 16 * len(self.shape), "tile": TILE.itemsize, "columns": 4 * anchors}
        sizes |= dict.fromkeys(
            ("losses", "weights", "masses", "grad_scales", "shares", "expectations"), vector
        )
        sizes |= {"label_counts": vector, "found": 8}
        sizes |= dict.fromkeys(
            ("logits", "targets", "labelled", "logit_weights", "results", "grads", "grad_weights"),
            tile,
        )
        offset = 0
        for name, size in sizes.items():
            self.record["scratch"][name] = offset
            if is_wanted.get(name, True):
                offset += _up(size, VECTOR_BYTES) + VECTOR_BYTES
        return offset

    def totals(self) -> Array:
        """Return an array for what the blocks add up to."""
        totals = np.zeros(int(self.record["blocks"]), TOTALS)
        self.record["totals"] = self.keep(totals)
        return totals


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _coalesce(
    shape: tuple[int, ...], strides: Mapping[str, tuple[int, ...]]
) -> tuple[list[int], dict[str, list[int]]]:
    """Merge neighbouring dimensions that every operand steps through evenly; one at least stays."""
    extents: list[int] = []
    merged: dict[str, list[int]] = {name: [] for name in strides}
    for axis, extent in enumerate(shape):
        if extent == 1:
            continue
        if extents and all(
            merged[name][-1] == steps[axis] * extent for name, steps in strides.items()
        ):
            extents[-1] *= extent
            for name, steps in strides.items():
                merged[name][-1] = steps[axis]
            continue
        extents.append(extent)
        for name, steps in strides.items():
            merged[name].append(steps[axis])
    if not extents:
        return [1] if math.prod(shape) else [0], {name: [0] for name in strides}
    return extents, merged
