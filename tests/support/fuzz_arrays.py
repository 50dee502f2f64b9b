"""Arrays of any dtype, layout and origin for `support.fuzz`, and objects that are broken."""

import ml_dtypes
import numpy as np
from hypothesis import strategies as st

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOATS = ("float32", "float64", "float16", "bfloat16")
INTEGERS = ("int64", "int32", "uint8", "int8", "int16", "uint16", "uint32", "uint64", "bool")
REALS = (*FLOATS, *INTEGERS)
#: Products of larger ones with weights are no floats, and the reference has doubles.
SPECIAL = (0.0, -0.0, np.nan, np.inf, -np.inf, 88.7, -88.8, 104, -104, 1e-40, 1e30, -1e30, 745)
#: Factors of losses and gradients: of integers those, and once in a while infinite floats.
WEIGHTS = ("range", 0, 3)
LAYOUTS = ("C", "F", "every other", "reversed", "broadcast", "misaligned", "swapped", "read-only")
ORIGINS = ("array", "array", "array", "array", "list", "memoryview", "interface", "dlpack")


@st.composite
def arrays(draw, shape, dtypes, kind):
    """Return an array, or what NumPy makes one of; hypothesis chooses, a generator fills it in."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if draw(st.integers(0, 40)) == 13:
        shape = draw(st.lists(st.integers(0, 9), max_size=4))
    dtype = draw(st.sampled_from(INTEGERS if dtypes == "integers" else dtypes))
    is_odd = draw(st.integers(0, 9)) == 0 and (kind != WEIGHTS or dtype in FLOATS)
    values = _fill(rng, tuple(shape), kind, is_odd=is_odd)
    dtype = BFLOAT16 if dtype == "bfloat16" else np.dtype(dtype)
    with np.errstate(all="ignore"):
        values = np.asarray(values).astype(dtype)
    values = _lay_out(values, draw(st.sampled_from(LAYOUTS)))
    return _present(values, draw(st.sampled_from(ORIGINS)))


def _fill(rng, shape, kind, *, is_odd):
    if kind == "logits":
        values = rng.normal(0, rng.choice([0.1, 3, 30]), shape)
    elif kind == "probabilities":
        values = rng.uniform(0, 1, shape)
    elif kind == "targets":
        values = rng.integers(0, 5, shape) / 4
        values = np.round(values) if rng.random() < 0.5 else values
    else:
        values = rng.integers(kind[1], kind[2] + 1, shape).astype(float)
    if is_odd:
        odd = rng.random(shape) < 0.1
        numbers = (np.inf, -np.inf, np.nan) if kind == WEIGHTS else (*SPECIAL, -1, -100, 300)
        values = np.where(odd, rng.choice(numbers, shape), values)
    return values


def _lay_out(values, layout):
    if layout == "F":
        return np.asfortranarray(values)
    if layout == "every other" and values.ndim:
        room = np.repeat(np.repeat(values, 2, axis=-1), 3, axis=0)
        return room[::3, ..., ::2] if values.ndim > 1 else room[::6]
    if layout == "reversed":
        backwards = (*(slice(None, None, -1),) * values.ndim, ...)
        return values[backwards].copy()[backwards]
    if layout == "broadcast" and values.ndim and values.shape[0]:
        return np.broadcast_to(values[:1], values.shape)
    if layout == "misaligned" and values.dtype.itemsize > 1:
        room = np.zeros(values.nbytes + 1, np.uint8)
        shifted = room[1:].view(values.dtype).reshape(values.shape)
        shifted[...] = values
        return shifted
    if layout == "swapped" and values.dtype != BFLOAT16:
        return values.astype(values.dtype.newbyteorder())
    if layout == "read-only":
        values.flags.writeable = False
    return values


class Interface:
    """An object with an array interface, which keeps its memory."""

    def __init__(self, array):
        self.array = array
        self.__array_interface__ = array.__array_interface__

    def __repr__(self):
        return f"Interface({self.array!r})"


class Exporter:
    """An object with nothing but DLPack."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

    def __repr__(self):
        return f"Exporter({self.array!r})"


def _present(values, origin):
    is_plain = values.dtype != BFLOAT16 and values.dtype.isnative and values.flags.aligned
    if origin == "list" and values.size and values.dtype.kind in "iuf":
        return values.tolist()
    if origin == "memoryview" and is_plain and values.flags.c_contiguous and values.size:
        return memoryview(values)
    if origin == "interface" and values.dtype != BFLOAT16:
        return Interface(values)
    if origin == "dlpack" and is_plain and values.flags.writeable and values.dtype != bool:
        return Exporter(values)
    return values


# --- objects that lie, where that can be seen ----------------------------------------------------


def _interface(**changes):
    fields = {"shape": (5,), "typestr": "<f4", "data": bytes(20), "version": 3} | changes
    return type("Liar", (), {"__array_interface__": fields})()


BROKEN = (
    _interface(shape=(6,)),  # more than its memory holds
    _interface(shape=(2**62,)),
    _interface(shape=(-1,)),
    _interface(shape=5.0),
    _interface(strides=(8,)),
    _interface(strides=(-4,)),
    _interface(strides=(4, 4)),
    _interface(offset=4),
    _interface(offset=-4),
    _interface(typestr="<f8"),
    _interface(typestr="|O8"),
    _interface(typestr="<f3"),
    _interface(typestr=None),
    _interface(data=None, shape=(3, 2)),
    _interface(data=(0, False)),
    _interface(data="text"),
    object(),
    "text",
    {"a": 1},
    [[1.0], [1.0, 2.0]],
    np.ma.zeros(5),
    np.zeros(5, "f4,f4"),
    np.zeros(5, complex),
    np.zeros(5, "M8[s]"),
)


def broken_objects():
    """Return a strategy of objects that are no arrays."""
    return st.sampled_from(BROKEN)


# --- where results go ----------------------------------------------------------------------------


class Room:
    """An array for results with room around it, and between its elements."""

    def __init__(self, shape, dtype, layout):
        self.shape, self.dtype, self.layout = tuple(shape), np.dtype(dtype), layout
        step = 1 + (layout == "every other")
        own = self.shape[::-1] if layout == "F" else self.shape
        sizes = [2 * 8 + length * step for length in own]
        self.whole = np.full(sizes, 77, self.dtype)
        inner = self.whole[(*(slice(8, 8 + length * step, step) for length in own), ...)]
        self.array = inner.T if layout == "F" else inner
        if layout == "reversed":
            self.array = self.array[(*(slice(None, None, -1),) * inner.ndim, ...)]
        if layout == "read-only":
            self.array.flags.writeable = False

    def renewed(self):
        """Return another one like it."""
        return Room(self.shape, self.dtype, self.layout)

    def is_intact(self):
        """Return whether all that surrounds the array is as it was."""
        self.array.flags.writeable = True
        self.array[...] = 77
        return bool((self.whole == 77).all())

    def __repr__(self):
        return f"Room({self.shape}, {self.dtype}, {self.layout!r})"


@st.composite
def results(draw, shape, dtype):
    """Return an array for results, once in a while one that does not fit."""
    if draw(st.integers(0, 24)) == 13:
        shape = draw(st.lists(st.integers(0, 5), max_size=3))
    if draw(st.integers(0, 24)) == 13:
        dtype = draw(st.sampled_from([np.float32, np.float64, np.float16, np.int32]))
    layouts = ("C", "C", "F", "every other", "reversed", "read-only")
    return Room(shape, dtype, draw(st.sampled_from(layouts)))
