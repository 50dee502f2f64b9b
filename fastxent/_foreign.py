"""Arrays from whatever users pass: lists, tensors of other libraries, arrays of other dtypes.

NumPy reads nearly all of them. What it cannot read, or should not, is an error that names the
argument.
"""

import ctypes
import math
from typing import Any, Protocol

import numpy as np

from fastxent._contract import Array

_MASKED = (
    "a masked array, whose mask would be lost: fill it, and leave the masked anchors out by their "
    "label (ignore_index) or by their weight"
)
_LAZY = (
    "a collection of dask, which would be computed as a whole: call the function of fastxent.dask, "
    "or pass what its compute() returns"
)


def read_array(value: object, name: str) -> Array:
    """Return what NumPy makes of an argument: the same memory wherever that is possible."""
    refuse(value, name)
    _refuse_overruns(value, name)
    try:
        return _as_numpy(value)
    except MemoryError:
        raise
    except Exception as error:  # whatever the user's object does
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(f"{name} cannot be read as an array: {error}") from error


def refuse(value: object, name: str) -> None:
    """Raise an error for what NumPy would read and should not, or for a list of it."""
    # Of a list, one element of each type will do.
    elements = {type(item): item for item in value} if isinstance(value, list | tuple) else {}
    for verb, items in (("is", (value,)), ("contains", elements.values())):
        for item in items:
            if isinstance(item, np.ma.MaskedArray):
                raise TypeError(f"{name} {verb} {_MASKED}")
            if _is_lazy(item):
                raise TypeError(f"{name} {verb} {_LAZY}")


def _is_lazy(value: object) -> bool:
    """Return whether dask has yet to compute a value; arrays of xarray may be made of dask's."""
    try:
        graph = getattr(value, "__dask_graph__", None)
        return graph is not None and graph() is not None
    except Exception:  # noqa: BLE001 - a class, or a broken object, is no collection
        return False


def _refuse_overruns(value: object, name: str) -> None:
    """Refuse array interfaces that lead out of the buffers they name: NumPy believes them."""
    items = [value]
    if isinstance(value, list | tuple):
        kinds = {kind for kind in set(map(type, value)) if hasattr(kind, "__array_interface__")}
        items = [item for item in value if type(item) in kinds]
    for item in items:
        if isinstance(item, np.ndarray | np.generic):
            continue
        try:
            start, stop, size = _bytes_read(getattr(item, "__array_interface__", None))
        except Exception:  # noqa: BLE001, S112 - NumPy says what is wrong with it
            continue
        if start < 0 or stop > size:
            raise ValueError(
                f"{name} cannot be read as an array: its array interface is of the bytes {start} "
                f"to {stop} of a buffer of {size}"
            )


def _bytes_read(interface: dict[str, Any] | None) -> tuple[int, int, int]:
    """Return which bytes of its buffer an array interface is of, and how many that has."""
    if interface is None or isinstance(interface["data"], tuple):
        return 0, 0, 0  # an address is believed
    data, shape = interface["data"], interface["shape"]
    if min(shape, default=1) <= 0:
        return 0, 0, 0
    dtype = np.dtype(str(interface["typestr"]))
    lengths = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    strides = interface.get("strides") or [length * dtype.itemsize for length in lengths]
    steps = [(length - 1) * stride for length, stride in zip(shape, strides, strict=True)]
    start = interface.get("offset", 0)
    stop = start + sum(step for step in steps if step > 0) + dtype.itemsize
    return start + sum(step for step in steps if step < 0), stop, memoryview(data).nbytes


def _as_numpy(value: object) -> Array:
    if hasattr(value, "__dlpack__"):
        dtype = getattr(value, "dtype", None)
        if not isinstance(dtype, np.dtype) and str(dtype).endswith("bfloat16"):
            return _from_bfloat16(value)  # type: ignore[arg-type]
        if not hasattr(value, "__array__"):
            return np.from_dlpack(value)
    return np.asarray(value)


# --- bfloat16 from DLPack, which NumPy refuses ----------------------------------------------------


class _Tensor(ctypes.Structure):
    """The beginning of a DLTensor, as dlpack.h defines it."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
    )


class _VersionedTensor(ctypes.Structure):
    """The beginning of a DLManagedTensorVersioned; that of DLManagedTensor is a DLTensor."""

    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


_UNSIGNED_INTEGERS, _BFLOATS = 1, 4
_capsule_name = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(
    ("PyCapsule_GetName", ctypes.pythonapi)
)
_capsule_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


class _Exporter(Protocol):
    """A tensor of another library."""

    def __dlpack__(self, **options: object) -> object: ...

    def __dlpack_device__(self) -> tuple[int, int]: ...


class _AsIntegers:
    """A tensor of bfloat16 that hands itself to NumPy as one of 16-bit integers."""

    def __init__(self, tensor: _Exporter) -> None:
        self.tensor = tensor

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.tensor.__dlpack_device__()

    def __dlpack__(self, **options: object) -> object:
        # The description in a capsule is its receiver's alone, so that it may be changed.
        capsule = self.tensor.__dlpack__(**options)
        name = _capsule_name(capsule)
        place = _capsule_pointer(capsule, name)
        if name == b"dltensor_versioned":
            versioned = _VersionedTensor.from_address(place)
            tensor, is_known = versioned.tensor, versioned.major == 1
        else:
            tensor, is_known = _Tensor.from_address(place), name == b"dltensor"
        if not is_known or (tensor.code, tensor.bits, tensor.lanes) != (_BFLOATS, 16, 1):
            raise TypeError("its __dlpack__ returns something other than elements of bfloat16")
        tensor.code = _UNSIGNED_INTEGERS
        return capsule


def _from_bfloat16(value: _Exporter) -> Array:
    try:
        from ml_dtypes import bfloat16  # noqa: PLC0415 - not needed for anything else
    except ImportError as error:
        raise ImportError(
            "NumPy has elements of bfloat16 only with the package ml_dtypes, which is not installed"
        ) from error
    integers = np.from_dlpack(_AsIntegers(value))  # type: ignore[arg-type]
    return integers.view(bfloat16)
