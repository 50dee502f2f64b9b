"""Numba's kernels see a tile as C lays it out, and every loss has some."""

import ctypes
import re
from pathlib import Path

import numpy as np
import pytest

from fastxent import native
from fastxent._catalogue import LOSSES

pytest.importorskip("numba")
from fastxent.numba import requests
from fastxent.numba.kernels import TILE_KERNELS
from fastxent.numba.records import SETTINGS, TILE

HEADER = Path(native.__file__).with_name("simd") / "kernels.h"
C_TYPES = {"int": ctypes.c_int, "ptrdiff_t": ctypes.c_ssize_t, "double": ctypes.c_double}
KINDS = {ctypes.c_int: "i", ctypes.c_ssize_t: "i", ctypes.c_void_p: "i", ctypes.c_double: "f"}


def declared(name, known):
    """Return the struct that the header declares, laid out by ctypes."""
    source = re.sub(r"/\*.*?\*/", "", HEADER.read_text("utf-8"), flags=re.DOTALL)
    body = re.search(rf"typedef struct \{{([^{{}}]*)\}} {name};", source).group(1)
    fields = []
    for declaration in filter(None, map(str.strip, body.split(";"))):
        kind, names = re.fullmatch(r"((?:const )?\w+)\s+(.*)", declaration, re.DOTALL).groups()
        for field in re.split(r",\s*", names):
            is_pointer = field.startswith("*")
            fields.append((field.lstrip("*"), ctypes.c_void_p if is_pointer else known[kind]))
    return type(name, (ctypes.Structure,), {"_fields_": fields})


MATRIX = declared("fx_matrix", C_TYPES)
C_TILE = declared("fx_tile", {**C_TYPES, "fx_matrix": MATRIX})


def assert_same_layout(record, struct):
    """Compare names, places and types of fields."""
    assert record.fields.keys() == {name for name, _ in struct._fields_}
    for name, kind in struct._fields_:
        dtype, offset = record.fields[name]
        assert offset == getattr(struct, name).offset, name
        if kind is MATRIX:
            assert_same_layout(dtype, kind)
        else:
            assert (dtype.kind, dtype.itemsize) == (KINDS[kind], ctypes.sizeof(kind)), name


def test_every_field_of_a_tile():
    """A field that is missing here, or of another type, is one that kernels cannot read."""
    assert len(C_TILE._fields_) > 30
    assert_same_layout(TILE, C_TILE)


def test_settings_begin_with_what_c_reads():
    assert SETTINGS.fields["value"] == (np.dtype(np.intp), 0)


def test_constants_are_those_of_the_header():
    source = HEADER.read_text("utf-8")
    constants = native.kernel_constants()
    for name in ("rows_ahead", "lanes_ahead", "no_class", "ignored"):
        value = re.search(rf"FX_{name.upper()} = (-?\d+)", source).group(1)
        assert constants[name] == int(value), name
    assert constants["row_chunk"] == 1024
    assert constants["mask_centre"] == constants["row_chunk"] + 16


def test_every_loss_has_kernels():
    """Nor is there one that falls back to another loss's: a name that is missing is an error."""
    assert requests._LANES.keys() == LOSSES.keys()
    assert requests._ROWS.keys() <= LOSSES.keys()
    assert {*requests._LANES.values(), *requests._ROWS.values()} <= TILE_KERNELS.keys()
