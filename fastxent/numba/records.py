"""The records that kernels read: a tile as C lays it out, and what these kernels read besides.

Addresses are integers, and so are truth values.
"""

from typing import Any

import numpy as np

from fastxent import native
from fastxent.numba.structs import struct_at


def _record_of(layout: dict[str, tuple[int, Any]]) -> np.dtype[Any]:
    """Return a record with fields at given places, of given types."""
    offsets, formats = zip(*layout.values(), strict=True)
    return np.dtype({"names": list(layout), "offsets": offsets, "formats": formats})


_MATRIX = _record_of(native.matrix_layout())
#: `fx_tile` of native/simd/kernels.h, where the fields are explained. Optional ones may be
#: 0. Lane kernels read and write whole vectors: there is memory for `anchors` rounded up.
TILE = _record_of(
    {
        name: (offset, _MATRIX if kind == "matrix" else kind)
        for name, (offset, kind) in native.tile_layout().items()
    }
)
#: An exponent, or any other parameter of a custom loss; see requests.py.
POWER = np.dtype(
    [*((name, np.float64) for name in ("value", "exponent", "exponent_low")), ("kind", np.intp)],
    align=True,
)
#: What a tile's `settings` refer to.
SETTINGS = np.dtype(
    [
        ("value", np.intp),  # of a custom loss, in double: `fx_custom` of kernels.h
        ("exact", np.intp),  # what repairs an anchor whose result is not finite; 0: not compiled
        ("unrepaired", np.intp),  # there was such an anchor, and nothing to repair it
        ("exact_value", np.intp),  # what computes one loss and its slope in double
        ("others", np.intp),  # the table that masks a label out of a row
        ("gamma_positive", POWER),
        ("gamma_negative", POWER),
        ("threshold", np.float64),  # clip = sigmoid(threshold + threshold_low)
        ("threshold_low", np.float64),
        ("slope", np.float64),  # slope + slope_low
        ("slope_low", np.float64),
        ("shift", np.float64),
        ("shift_low", np.float64),
        ("inverse_slope", np.float64),
        ("parameters", np.intp),  # those of a custom loss, a POWER each
    ],
    align=True,
)

tile_at = struct_at(TILE)
settings_at = struct_at(SETTINGS)
