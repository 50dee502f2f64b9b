"""Lists and objects of which no array can be made, and arrays that say what is not so."""

import numpy as np
import pytest
from scipy import special

import fastxent as fx

LOGITS = np.linspace(-4, 4, 20, dtype=np.float32).reshape(4, 5)
LABELS = np.array([0, 4, 2, 1])


def refused(argument, reason):
    return pytest.raises((TypeError, ValueError), match=rf"(?s)^{argument} {reason}")


@pytest.mark.parametrize("name", ["logits", "targets", "weight", "class_weight", "pos_weight"])
def test_ragged_lists(name):
    arguments = {"logits": LOGITS, "targets": LABELS, name: [[1.0, 2.0], [3.0]]}
    with pytest.raises(ValueError, match=f"^{name} cannot be read as an array: .*inhomogeneous"):
        fx.sigmoid_cross_entropy(**arguments)


def test_masked_arrays_within_lists():
    with refused("logits", "contains a masked array, whose mask would be lost"):
        fx.sigmoid([np.ma.zeros(3), np.ma.zeros(3)])
    with refused("gamma", "is a masked array, whose mask would be lost"):
        fx.sigmoid_focal_loss(LOGITS, LABELS, gamma=np.ma.masked)


def interface(**changes):
    """Return an object with an array interface that is wrong somewhere."""
    fields = {"shape": (5,), "typestr": "<f4", "data": (LOGITS.ctypes.data, True), "version": 3}
    fields |= changes
    return type("Interface", (), {"__array_interface__": fields})()


def exporter(function, **attributes):
    """Return an object with nothing but a ``__dlpack__``."""
    methods = {"__dlpack__": function, "__dlpack_device__": lambda self: (1, 0)}
    return type("Exporter", (), methods | attributes)()


def raises(self, *args, **options):
    raise RuntimeError("this object is broken")


BROKEN = {
    "array interface that raises": type("A", (), {"__array_interface__": property(raises)})(),
    "array interface without a type": interface(typestr=None),
    "array interface of a negative shape": interface(shape=(-1,)),
    "array interface that is no dict": type("A", (), {"__array_interface__": 3})(),
    "array interface of other strides": interface(strides=(4, 4)),
    "array interface of more than its buffer": interface(shape=(6,), data=bytes(20)),
    "array interface of strides that leave its buffer": interface(strides=(8,), data=bytes(20)),
    "array interface of strides before its buffer": interface(strides=(-4,), data=bytes(20)),
    "array interface of an offset in its buffer": interface(offset=4, data=bytes(20)),
    "array interface of an offset before its buffer": interface(offset=-4, data=bytes(20)),
    "array interface of larger elements": interface(typestr="<f8", data=bytearray(20)),
    "array interface of one larger element": interface(shape=(), data=bytes(3)),
    "a list of array interfaces": [interface(), interface(shape=(6,), data=bytes(20))],
    "array interface of no memory": interface(data=None, shape=(4, 5)),
    "__array__ that raises": type("A", (), {"__array__": raises})(),
    "__array__ that returns a list": type("A", (), {"__array__": lambda s, *a, **k: [1]})(),
    "__dlpack__ that raises": type(
        "A", (), {"__dlpack__": raises, "__dlpack_device__": lambda s: (1, 0)}
    )(),
    "__dlpack__ that returns a number": type(
        "A", (), {"__dlpack__": lambda s, **k: 3, "__dlpack_device__": lambda s: (1, 0)}
    )(),
    "__dlpack__ of bfloat16 that returns a number": type(
        "A",
        (),
        {
            "dtype": "bfloat16",
            "__dlpack__": lambda s, **k: 3,
            "__dlpack_device__": lambda s: (1, 0),
        },
    )(),
    "a sequence that raises": type("A", (), {"__len__": lambda s: 2, "__getitem__": raises})(),
    "every attribute raises": type("A", (), {"__getattr__": raises})(),
    "a list of itself": [],
    "a buffer of another format": memoryview(b"abcdefgh").cast("P"),
}
BROKEN["a list of itself"].append(BROKEN["a list of itself"])


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_objects(kind):
    value = BROKEN[kind]
    for name in ("logits", "targets", "weight", "class_weight", "pos_weight", "grad_output"):
        arguments = {"logits": LOGITS, "targets": LABELS, "return_grad": True, name: value}
        with refused(name, ""):
            fx.sigmoid_cross_entropy(**arguments)
    for function, name in ((fx.softmax, "logits"), (fx.odds, "probs")):
        with refused(name, ""):
            function(value)
    with refused("targets", ""):
        fx.recommend_loss(value)
    with refused("label_smoothing", ""):
        fx.softmax_cross_entropy(LOGITS, LABELS, label_smoothing=value)


def test_array_interfaces_of_buffers():
    """What lies within is read, wherever it is."""
    values = np.arange(8, dtype=np.float32)
    memory = values.tobytes()
    for changes, part in (
        ({"shape": (8,)}, values),
        ({"shape": (3,), "offset": 20}, values[5:]),
        ({"shape": (4,), "strides": (8,)}, values[::2]),
        ({"shape": (2, 4), "strides": (-16, -4), "offset": 28}, values[::-1].reshape(2, 4)),
        ({"shape": (0,), "offset": 99}, values[:0]),
    ):
        found = fx.sigmoid(interface(data=memory, **changes))
        np.testing.assert_allclose(found, special.expit(part), rtol=1e-6)


def test_the_cause_of_an_error_is_kept():
    with refused("logits", "cannot be read as an array: this object is broken") as caught:
        fx.sigmoid(BROKEN["__array__ that raises"])
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_memory_errors_are_left_alone():
    def exhausts(self, *args, **options):
        raise MemoryError

    with pytest.raises(MemoryError):
        fx.sigmoid(type("A", (), {"__array__": exhausts})())


class Liar(np.ndarray):
    """An array that says what it is asked to about its shape, its dtype and its strides."""

    shape = (4,)
    ndim = 1
    dtype = np.dtype(np.float32)
    size = 4
    strides = (4,)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_subclasses_that_lie(dtype, backend):
    """What counts is the memory."""
    memory = np.zeros(2, dtype)
    for options in ({}, {"reduction": "none"}):
        with pytest.raises(ValueError, match=r"^out has (shape|dtype)"):
            fx.sigmoid_cross_entropy(LOGITS, LABELS, out=memory.view(Liar), **options)
    with pytest.raises(ValueError, match=r"^grad_out has (shape|dtype)"):
        fx.sigmoid_cross_entropy(LOGITS, LABELS, return_grad=True, grad_out=memory.view(Liar))
    for function in (fx.sigmoid, fx.softmax, fx.softmax_to_sigmoid_logit):
        with pytest.raises(ValueError, match=r"^out has (shape|dtype)"):
            function(np.zeros((4, 2), np.float32), out=memory.view(Liar))
    assert not memory.any()
    with refused("targets", "has shape"):
        fx.softmax_cross_entropy(LOGITS, np.zeros(2, int).view(Liar))


def test_results_of_other_array_types(tmp_path, backend):
    """They are filled in, and returned as they are."""
    expected = special.expit(LOGITS)
    for out in (
        np.memmap(tmp_path / "out", np.float32, "w+", shape=(4, 5)),
        np.zeros((4, 5), np.float32).view(np.matrix),
        np.zeros((4, 5), np.float32).view(np.recarray),
    ):
        assert fx.sigmoid(LOGITS, out=out) is out
        np.testing.assert_allclose(out, expected, rtol=1e-6)
        loss, _ = fx.sigmoid_cross_entropy(
            LOGITS, np.zeros((4, 5)), axis=None, out=out, return_grad=True
        )
        assert loss is out
        np.testing.assert_allclose(out, np.logaddexp(0, LOGITS), rtol=1e-5)
        _, grad = fx.sigmoid_cross_entropy(LOGITS, [5] * 4, return_grad=True, grad_out=out)
        assert grad is out
        np.testing.assert_allclose(out, expected, rtol=1e-5)
    pairs = np.zeros((4, 2), np.float32).view(np.matrix)
    assert fx.sigmoid_to_softmax_logits(LOGITS[:, 0], out=pairs) is pairs
    assert pairs[0, 0] == 2
