"""Arrays of torch, JAX, dask and xarray, and of whatever else exports DLPack."""

import re
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from scipy import special

import fastxent as fx
from fastxent._arguments import as_array

GUIDE = (Path(__file__).parents[2] / "docs" / "guide" / "files.md").read_text("utf-8")
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
LOGITS = np.linspace(-4, 4, 20, dtype=np.float32).reshape(4, 5)
LABELS = np.array([0, 4, 2, 1])
CROSS_ENTROPY = -special.log_softmax(LOGITS.astype(float), -1)[np.arange(4), LABELS]


def refused(argument, reason):
    return pytest.raises((TypeError, ValueError), match=rf"(?s)^{argument} {reason}")


# --- tensors of torch ----------------------------------------------------------------------------


def tensor(array, dtype="bfloat16"):
    torch = pytest.importorskip("torch")
    return torch.tensor(np.asarray(array), dtype=getattr(torch, dtype))


@pytest.mark.parametrize("view", ["plain", "transposed", "strided", "expanded", "number", "empty"])
def test_bfloat16_tensors_are_read_where_they_are(view):
    whole = tensor(LOGITS)
    values = {
        "plain": whole,
        "transposed": whole.T,
        "strided": whole[::2, 1:],
        "expanded": whole[:1].expand(3, 5),
        "number": whole[1, 2],
        "empty": whole[:0],
    }[view]
    array = as_array(values, "logits")
    assert array.dtype == BFLOAT16
    assert array.shape == tuple(values.shape)
    assert view == "empty" or array.ctypes.data == values.data_ptr()
    np.testing.assert_array_equal(array.astype(float), values.double().numpy())


def test_scores_of_bfloat16_tensors(backend):
    values = tensor(LOGITS)
    exact = values.double().numpy()
    for score, expected in (
        (fx.sigmoid, special.expit(exact)),
        (fx.softmax, special.softmax(exact, -1)),
        (fx.logsumexp, special.logsumexp(exact, -1)),
    ):
        result = score(values)
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, expected, rtol=1e-6)
    pair = fx.softmax_to_sigmoid_logit(values[:, :2])
    np.testing.assert_allclose(pair, exact[:, 1] - exact[:, 0])


@pytest.mark.parametrize("loss", ["sigmoid_cross_entropy", "softmax_cross_entropy"])
def test_losses_of_bfloat16_tensors(loss, backend):
    """Logits, dense targets, weights and the factor of the gradient, against torch's autograd."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    logits = tensor(rng.normal(size=(4, 5)))
    targets, weight, factor = (tensor(rng.random(shape)) for shape in ((4, 5), 4, 4))
    result, grad = getattr(fx, loss)(
        logits, targets, weight=weight, grad_output=factor, return_grad=True
    )
    leaf = logits.double().requires_grad_()
    functional = torch.nn.functional
    if loss == "softmax_cross_entropy":
        losses = -(targets.double() * functional.log_softmax(leaf, -1)).sum(-1)
    else:
        losses = functional.binary_cross_entropy_with_logits(
            leaf, targets.double(), reduction="none"
        ).sum(-1)
    losses = losses * weight.double()
    (losses * factor.double()).sum().backward()
    np.testing.assert_allclose(result, losses.detach().numpy(), rtol=1e-5)
    assert isinstance(grad, np.ndarray)
    assert grad.dtype == BFLOAT16
    np.testing.assert_allclose(grad.astype(float), leaf.grad.numpy(), rtol=2**-8, atol=1e-4)


def test_bfloat16_numbers():
    expected = 0.5 * CROSS_ENTROPY
    half, two = tensor(0.5), tensor(2.0)
    np.testing.assert_allclose(
        fx.softmax_cross_entropy(LOGITS, LABELS, weight=half), expected, rtol=1e-6
    )
    np.testing.assert_allclose(
        fx.softmax_cross_entropy(LOGITS, LABELS, reduction="mean", normalizer=two),
        CROSS_ENTROPY.sum() / 2,
    )
    nothing = {"reduction": "mean", "normalizer": 0, "empty": half}
    assert fx.softmax_cross_entropy(LOGITS, LABELS, **nothing) == 0.5
    np.testing.assert_array_equal(
        fx.softmax_focal_loss(LOGITS, LABELS, gamma=two), fx.softmax_focal_loss(LOGITS, LABELS)
    )


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_tensors_that_require_a_gradient(dtype):
    torch = pytest.importorskip("torch")
    values = tensor(LOGITS, dtype).requires_grad_()
    number = torch.tensor(0.5, requires_grad=True)
    for logits in (values, values * 2, torch.nn.Parameter(values.detach()), [values, values]):
        with refused("logits", r"cannot be read as an array: .*detach\(\)"):
            fx.sigmoid(logits)
    with refused("targets", r"cannot be read as an array: .*detach\(\)"):
        fx.sigmoid_cross_entropy(LOGITS, values)
    with refused("weight", r"cannot be read as an array: .*detach\(\)"):
        fx.sigmoid_cross_entropy(LOGITS, LABELS, weight=number)
    with refused("label_smoothing", r"cannot be read as an array: .*detach\(\)"):
        fx.sigmoid_cross_entropy(LOGITS, LABELS, label_smoothing=number)
    np.testing.assert_allclose(
        fx.sigmoid(values.detach()), special.expit(values.detach().double().numpy()), rtol=1e-6
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_tensors_that_are_not_on_the_cpu_or_not_strided(dtype):
    values = tensor(LOGITS, dtype)
    for other in (values.to("meta"), values.to_sparse()):
        with refused("logits", "cannot be read as an array: "):
            fx.softmax(other)
        with refused("targets", "cannot be read as an array: "):
            fx.softmax_cross_entropy(LOGITS, other)


def test_results_are_arrays():
    with refused("out", "must be a NumPy array, not Tensor"):
        fx.sigmoid(LOGITS, out=tensor(LOGITS, "float32"))


def test_a_bfloat16_tensor_without_ml_dtypes(monkeypatch):
    values = tensor(LOGITS)
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with refused("logits", "cannot be read as an array: .* package ml_dtypes"):
        fx.sigmoid(values)


@pytest.mark.exhaustive  # JAX takes long to be imported
def test_bfloat16_arrays_of_jax(backend):
    jax_numpy = pytest.importorskip("jax.numpy")
    values = jax_numpy.asarray(LOGITS, jax_numpy.bfloat16)
    exact = np.asarray(values).astype(float)
    np.testing.assert_allclose(fx.sigmoid(values), special.expit(exact), rtol=1e-6)
    _, grad = fx.softmax_cross_entropy(values, jax_numpy.asarray(LABELS), return_grad=True)
    assert grad.dtype == BFLOAT16


def test_nothing_is_imported_for_the_sake_of_others():
    code = (
        "import sys, numpy as np, fastxent as fx\n"
        "fx.sigmoid_cross_entropy([[1.0, 2.0]], [0], weight=[1.0], label_smoothing=0.1)\n"
        "print([name for name in ('torch', 'dask', 'xarray', 'ml_dtypes') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert result.stdout == "[]\n"


# --- DLPack --------------------------------------------------------------------------------------


class Exporter:
    """A tensor that has nothing but DLPack, of its newest version or of the first."""

    def __init__(self, values, dtype="bfloat16", version=(1, 0)):
        self.values, self.dtype, self.version = values, dtype, version

    def __dlpack_device__(self):
        return (1, 0)

    def __dlpack__(self, **options):
        if self.version == (0, 8) and options:
            raise TypeError("__dlpack__() got an unexpected keyword argument")
        return self.values.__dlpack__(**options)


@pytest.mark.parametrize("version", [(1, 0), (0, 8)])
def test_bfloat16_of_any_exporter(version):
    values = tensor(LOGITS)[:, ::2]
    array = as_array(Exporter(values, version=version), "logits")
    assert array.dtype == BFLOAT16
    assert array.ctypes.data == values.data_ptr()
    np.testing.assert_array_equal(array.astype(float), values.double().numpy())
    del values  # the array keeps its memory
    assert array.astype(float).min() == -4


def test_an_exporter_of_other_dtypes():
    exact = LOGITS.astype(np.float16)
    result = fx.sigmoid(Exporter(exact, "float16"))
    np.testing.assert_allclose(result, special.expit(exact.astype(float)), rtol=1e-6)


def test_an_exporter_whose_elements_are_no_bfloat16():
    for values in (tensor(LOGITS, "float16"), tensor(LOGITS, "float32"), LOGITS):
        with refused("logits", "cannot be read as an array: .*bfloat16"):
            fx.sigmoid(Exporter(values))


class OnDevice(Exporter):
    """A tensor in the memory of a GPU."""

    def __dlpack_device__(self):
        return (2, 0)

    def __dlpack__(self, **options):
        raise BufferError("the tensor is on device cuda:0")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_exporter_on_a_gpu(dtype):
    with refused("logits", "cannot be read as an array: "):
        fx.sigmoid(OnDevice(LOGITS, dtype))
    with refused("weight", "cannot be read as an array: "):
        fx.softmax_cross_entropy(LOGITS, LABELS, weight=OnDevice(LOGITS, dtype))


# --- dask and xarray -----------------------------------------------------------------------------


def lazy(array):
    """Return an array of dask that fails the test when it is computed."""
    dask = pytest.importorskip("dask")
    blocks = pytest.importorskip("dask.array")
    array = np.asarray(array)
    block = dask.delayed(pytest.fail)("this array was computed")
    return blocks.from_delayed(block, array.shape, array.dtype)


#: Arguments that are arrays or numbers, for functions that have them.
ARGUMENTS = {
    "logits": LOGITS,
    "targets": LABELS,
    "weight": np.ones(4),
    "class_weight": np.ones(5),
    "pos_weight": 2.0,
    "label_smoothing": 0.1,
    "normalizer": 3.0,
    "empty": 1.0,
    "grad_output": 2.0,
    "axis": 1,
    "ignore_index": 3,
    "background_index": 5,
    "num_threads": 1,
}


@pytest.mark.parametrize("name", ARGUMENTS)
@pytest.mark.parametrize("wrapped", [False, True])
def test_nothing_of_dask_is_computed(name, wrapped, backend):
    xarray = pytest.importorskip("xarray") if wrapped else None
    value = lazy(ARGUMENTS[name])
    arguments = {"logits": LOGITS, "targets": LABELS, "reduction": "mean", "return_grad": True}
    arguments[name] = xarray.DataArray(value) if wrapped else value
    with refused(name, r"is a collection of dask, .* compute\(\)"):
        fx.sigmoid_cross_entropy(**arguments)


def test_scores_and_targets_of_dask_are_not_computed():
    for function in (fx.sigmoid, fx.softmax, fx.logsumexp, fx.sigmoid_to_softmax_logits):
        with refused("logits", "is a collection of dask"):
            function(lazy(LOGITS))
    with refused("probs", "is a collection of dask"):
        fx.logit(lazy(LOGITS))
    with refused("targets", "is a collection of dask"):
        fx.recommend_loss(lazy(LABELS))
    with refused("scores", "is a collection of dask"):
        fx.quality_focal_loss(LOGITS, LABELS, lazy(np.ones(4)))
    with refused("gamma", "is a collection of dask"):
        fx.sigmoid_focal_loss(LOGITS, LABELS, gamma=lazy(2.0))
    with refused("logits", "contains a collection of dask"):
        fx.sigmoid([lazy(LOGITS), lazy(LOGITS)])
    with refused("out", "must be a NumPy array, not Array"):
        fx.sigmoid(LOGITS, out=lazy(LOGITS))


def test_blocks_of_dask():
    """What the message advises."""
    blocks = pytest.importorskip("dask.array")
    logits = blocks.from_array(LOGITS, chunks=(2, 5))
    np.testing.assert_allclose(
        logits.map_blocks(fx.softmax).compute(), special.softmax(LOGITS, -1), rtol=1e-6
    )
    np.testing.assert_allclose(
        fx.softmax_cross_entropy(logits.compute(), LABELS), CROSS_ENTROPY, rtol=1e-6
    )


def test_arrays_of_xarray_in_memory():
    xarray = pytest.importorskip("xarray")
    result = fx.softmax_cross_entropy(xarray.DataArray(LOGITS), xarray.DataArray(LABELS))
    assert type(result) is np.ndarray
    np.testing.assert_allclose(result, CROSS_ENTROPY, rtol=1e-6)


@pytest.mark.parametrize("chunked", [False, True])
def test_coordinates_of_xarray(chunked):
    """The lines of the user guide keep them, wherever the dimensions are."""
    xarray = pytest.importorskip("xarray")
    code = next(
        c
        for c in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
        if c.startswith("import xarray")
    )
    anchors = {"anchor": ["a", "b", "c", "d"]}
    logits = xarray.DataArray(LOGITS.T, dims=("class", "anchor"), coords=anchors)
    labels = xarray.DataArray(LABELS, dims="anchor", coords=anchors)
    if chunked:
        pytest.importorskip("dask.array")
        logits, labels = logits.chunk(anchor=2), labels.chunk(anchor=2)
        code = re.sub(r"\n?\)\n", ', dask="parallelized", output_dtypes=["f4"])\n', code)
    names = {"fx": fx, "logits": logits, "labels": labels}
    exec(code, names)
    loss, scores = names["loss"].compute(), names["scores"].compute()
    assert loss.coords["anchor"].values.tolist() == anchors["anchor"]
    assert scores.coords["anchor"].values.tolist() == anchors["anchor"]
    assert loss.dims == ("anchor",)
    np.testing.assert_allclose(loss, CROSS_ENTROPY, rtol=1e-6)
    np.testing.assert_allclose(
        scores.transpose("anchor", "class"), special.softmax(LOGITS, -1), rtol=1e-6
    )
