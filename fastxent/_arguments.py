"""Checks of single arguments: arrays, numbers, an axis, ``out=``.

``_call.validate`` puts them together. A `name` passed along is the one that error messages use.
"""

import operator
import reprlib
from collections.abc import Iterable
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike

from fastxent._contract import Array
from fastxent._foreign import read_array, refuse

#: Dtypes of logits and probabilities, and of everything else. Both include bfloat16, which NumPy
#: does not know and ml_dtypes defines: it is told by its name, so that it need not be imported.
FLOAT_DTYPES = frozenset(map(np.dtype, "efd"))
REAL_DTYPES = frozenset(map(np.dtype, "?bhilqBHILQefd"))
_FLOATS = "float16, bfloat16, float32 or float64"
_EXPECTED = {FLOAT_DTYPES: _FLOATS, REAL_DTYPES: f"bool, integer, {_FLOATS}"}
_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)

#: What an axis of a score may be.
_AXES = "an integer, a tuple of integers or None"

#: Steps that NumPy may spend on finding out whether two arrays overlap. Nobody interleaves arrays
#: in a way that takes more, so that counts as overlapping.
_OVERLAP_WORK = 100_000

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 100


def as_array(value: ArrayLike, name: str, dtypes: frozenset[np.dtype[Any]] = REAL_DTYPES) -> Array:
    """Return an aligned array of native byte order, the same memory wherever that is possible."""
    if type(value) is np.ndarray and value.dtype in dtypes and value.flags.aligned:
        return value
    array = read_array(value, name)
    dtype = array.dtype.newbyteorder("=")
    if dtype not in dtypes and dtype.name != "bfloat16":
        if array.size == 0 and dtypes is REAL_DTYPES:
            return np.empty(array.shape)  # [] and its like: no element says of which type it is
        raise TypeError(f"{name} has dtype {array.dtype}, expected {_EXPECTED[dtypes]}")
    return np.require(array, dtype, "A")


def result_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of what is computed from logits or probabilities of this dtype."""
    return _FLOAT32 if dtype.itemsize < 8 else _FLOAT64


def score_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of the scores of values of this dtype, which may be integers or bool."""
    return np.dtype(np.float64) if dtype.kind in "biu" else result_dtype(dtype)


def as_integer(value: SupportsIndex, name: str, expected: str = "an integer") -> int:
    """Return an int of 64 bits; a bool or a float is none."""
    if type(value) is int and -(2**63) <= value < 2**63:  # the shortest way
        return value
    refuse(value, name)
    try:
        number = None if isinstance(value, bool | np.bool_) else operator.index(value)
    except Exception:  # noqa: BLE001 - whatever the user's object does
        number = None
    if number is None:
        raise TypeError(f"{name} must be {expected}, not {shown(value)}")
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{name} = {shown(number)} does not fit into 64 bits")
    return number


def as_number(value: ArrayLike, name: str) -> float:
    """Return a float; a bool or a string is none."""
    if type(value) is float:
        return value
    array = read_array(value, name)
    if array.ndim != 0 or (array.dtype.kind not in "iuf" and array.dtype.name != "bfloat16"):
        raise TypeError(f"{name} must be a number, not {shown(value)}")
    return float(array)


def as_flag(value: bool, name: str) -> bool:
    """Return a bool; no other value counts as true or false."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, not {shown(value)}")
    return bool(value)


def axis_index(axis: SupportsIndex, ndim: int, name: str) -> int:
    """Return an axis, counted from the first, of the array `name`."""
    index = axis if type(axis) is int else as_integer(axis, "axis")
    if not -ndim <= index < ndim:
        raise ValueError(f"axis {shown(index)} is out of range for {name} with {ndim} dimensions")
    return index % ndim


def axis_indices(
    axis: SupportsIndex | tuple[SupportsIndex, ...] | None, ndim: int, name: str
) -> tuple[int, ...]:
    """Return one axis or several, counted from the first, of the array `name`; None: all of it."""
    if type(axis) is int:
        return (axis_index(axis, ndim, name),)
    if axis is None:
        return tuple(range(ndim))
    if not isinstance(axis, tuple):
        return (axis_index(as_integer(axis, "axis", _AXES), ndim, name),)
    if not axis:
        raise ValueError("axis is an empty tuple: it names no axis (None: all of them)")
    indices = tuple(axis_index(one, ndim, name) for one in axis)
    for place, index in enumerate(indices):
        if index in indices[:place]:
            raise ValueError(f"axis = {shown(axis)} names axis {index} of {name} twice")
    return indices


def class_last(array: Array, axis: int | None) -> Array:
    """Return a view with the class axis last; None: a new one, of length 1."""
    last = array.ndim - 1
    if axis == last:
        return array
    if axis is None:
        return array[..., None]
    return array.transpose(*range(axis), *range(axis + 1, last + 1), axis)


def check_out(
    out: object, shape: tuple[int, ...], dtype: np.dtype[Any], name: str = "out"
) -> Array:
    """Return an ``out=`` as a plain array, or refuse it: the result cannot be written there."""
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a NumPy array, not {type(out).__name__}")
    array = np.asarray(out)  # a subclass may say anything about its shape
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
    if array.dtype != dtype:
        order = " of foreign byte order" if array.dtype.newbyteorder("=") == dtype else ""
        raise ValueError(f"{name} has dtype {array.dtype}{order}, expected {dtype}")
    if not array.flags.writeable:
        raise ValueError(f"{name} is read-only")
    if not array.flags.aligned:
        raise ValueError(f"{name} is not aligned in memory")
    if not array.flags.forc and _overlaps_itself(array):
        raise ValueError(f"{name} has elements that share memory with each other")
    return array


def _overlaps_itself(array: Array) -> bool:
    """Return whether two elements of an aligned array share memory."""
    extent = array.itemsize
    for stride, length in sorted(zip(map(abs, array.strides), array.shape, strict=True)):
        if length > 1 and stride < extent:
            break
        extent += stride * (length - 1)
    else:
        return False
    # Not so simple. Of two elements at the same place, one is further along the first axis on which
    # they differ; moved together, the other is at its beginning, as on all axes before.
    for _ in range(array.ndim):
        if overlap(array[1:], array[:1]):
            return True
        array = array[0, ...]
    return False


def overlap(first: Array, second: Array) -> bool:
    """Return whether two arrays share memory."""
    try:
        return np.shares_memory(first, second, max_work=_OVERLAP_WORK)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def check_in_place(out: Array, values: Array, name: str) -> None:
    """Allow a result in the very place of what it is computed from, and no other overlap."""
    if out is values or not overlap(out, values):
        return
    is_same = (
        out.ctypes.data == values.ctypes.data
        and out.strides == values.strides
        and out.shape == values.shape
        and out.dtype == values.dtype
    )
    if not is_same:
        raise ValueError(f"out shares memory with {name}, and is not the same array")


class ElementError(ValueError):
    """An element of an argument that is not valid: its position, and what is wrong with it.

    The position is an attribute so that a caller who passed part of an array can name the place in
    the whole.
    """

    def __init__(self, argument: str, position: tuple[int, ...], problem: str) -> None:
        super().__init__(f"{argument}{format_position(position)} {problem}")
        self.argument, self.position, self.problem = argument, position, problem

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.argument, self.position, self.problem)

    def shifted(self, start: tuple[int, ...]) -> "ElementError":
        """Return the same error for an array in which the argument begins at `start`."""
        position = tuple(i + first for i, first in zip(self.position, start, strict=True))
        return ElementError(self.argument, position, self.problem)


def position_of(index: int, shape: tuple[int, ...], axis: int | None = None) -> tuple[int, ...]:
    """Return the position of a flat index; `axis` is where the user has the last axis."""
    position = [int(i) for i in np.unravel_index(index, shape)] if shape else []
    if axis is not None:
        position.insert(axis, position.pop())
    return tuple(position)


def format_position(position: tuple[int, ...]) -> str:
    """Return "[i, j]", or nothing for the only element of an array without dimensions."""
    return str(list(position)) if position else ""


def shown(value: object) -> str:
    """Return the representation of a value as an error message has it: not without end."""
    try:
        return _REPR.repr(value)
    except Exception:  # noqa: BLE001 - an object that is broken, an integer of 5,000 digits
        return f"this {type(value).__name__}"


def listed(names: Iterable[str]) -> str:
    """Return the names as an error message lists them."""
    return ", ".join(repr(name) for name in names)
