"""DataArrays of xarray, zarr and stacks of .npy files."""

import numpy as np
import pytest

import fastxent as fx

da = pytest.importorskip("dask.array")
from support import lazy  # noqa: E402

import fastxent.dask as fxd  # noqa: E402

LOGITS = np.random.default_rng(0).normal(size=(4, 5, 7)).astype(np.float32)
LABELS = np.random.default_rng(1).integers(0, 5, (4, 7))


@pytest.fixture
def labelled():
    """Return logits and labels with names and coordinates."""
    xarray = pytest.importorskip("xarray")
    coords = {
        "image": list("abcd"),
        "anchor": np.arange(7) * 10,
        "epoch": 3,
        "class": list("uvwxy"),
    }
    logits = xarray.DataArray(LOGITS, coords, ("image", "class", "anchor"), name="head")
    labels = xarray.DataArray(LABELS, {"image": list("abcd")}, ("image", "anchor"))
    return logits.chunk({"image": 3, "class": 2, "anchor": 4}), labels.chunk({"image": 2})


def assert_labelled(result, dims, logits):
    assert result.dims == dims
    assert result.name == "head"
    assert result.chunks is not None
    assert set(result.coords) == {*dims, "epoch"}
    for dim in dims:
        np.testing.assert_array_equal(result[dim], logits[dim])


@pytest.mark.parametrize("axis", ["class", 1])
def test_losses_keep_names_and_coordinates(labelled, axis):
    logits, labels = labelled
    loss, grad = fxd.sigmoid_focal_loss(logits, labels, axis=axis, return_grad=True)
    assert_labelled(loss, ("image", "anchor"), logits)
    assert_labelled(grad, ("image", "class", "anchor"), logits)
    expected = fx.sigmoid_focal_loss(LOGITS, LABELS, axis=1, return_grad=True)
    np.testing.assert_array_equal(loss, expected[0])
    np.testing.assert_array_equal(grad, expected[1])
    per_logit = fxd.sigmoid_focal_loss(logits, labels, axis=axis, reduction="none")
    assert_labelled(per_logit, ("image", "class", "anchor"), logits)


def test_a_mean_has_no_dimensions(labelled):
    logits, labels = labelled
    mean = fxd.softmax_cross_entropy(logits, labels, axis="class", reduction="mean")
    assert_labelled(mean, (), logits)
    expected = fx.softmax_cross_entropy(LOGITS, LABELS, axis=1, reduction="mean")
    assert float(mean) == pytest.approx(expected, rel=1e-15)


def test_dimensions_in_another_order(labelled):
    logits, labels = labelled
    weight = labels.transpose("anchor", "image") + 1.0
    result = fxd.softmax_cross_entropy(logits, labels.T, axis="class", weight=weight)
    expected = fx.softmax_cross_entropy(LOGITS, LABELS, axis=1, weight=LABELS + 1.0)
    np.testing.assert_array_equal(result, expected)
    # Arrays without names go by position.
    result = fxd.softmax_cross_entropy(logits, LABELS, axis="class")
    np.testing.assert_array_equal(result, fx.softmax_cross_entropy(LOGITS, LABELS, axis=1))


def test_names_and_coordinates_that_do_not_fit(labelled):
    logits, labels = labelled
    call = fxd.softmax_cross_entropy
    with pytest.raises(ValueError, match="axis = 'klass' is not one of the dimensions"):
        call(logits, labels, axis="klass")
    with pytest.raises(ValueError, match="targets has other coordinates than logits along 'image'"):
        call(logits, labels.assign_coords(image=list("abdc")), axis="class")
    with pytest.raises(ValueError, match="targets has the dimension 'box', which logits has not"):
        call(logits, labels.rename(anchor="box"), axis="class")
    with pytest.raises(
        TypeError, match=r"logits is a DataArray that is not chunked: call chunk\(\)"
    ):
        call(logits.compute(), labels, axis="class")


def test_scores_and_detection(labelled):
    logits, labels = labelled
    assert_labelled(fxd.softmax(logits, axis="class"), ("image", "class", "anchor"), logits)
    assert_labelled(fxd.logsumexp(logits, axis="class"), ("image", "anchor"), logits)
    total = fxd.logsumexp(logits, axis=("class", "anchor"))
    np.testing.assert_array_equal(total, fx.logsumexp(LOGITS, axis=(1, 2)))
    losses = fxd.softmax_cross_entropy(logits, labels, axis="class")
    mask = fxd.hard_negatives(losses, labels, background_index=0)
    assert_labelled(mask, ("image", "anchor"), logits)
    expected = fx.softmax_cross_entropy(LOGITS, LABELS, axis=1)
    np.testing.assert_array_equal(mask, fx.hard_negatives(expected, LABELS, background_index=0))
    (found,) = lazy.computed(fxd.select_candidates(logits, axis="class"))
    np.testing.assert_array_equal(found.score, fx.select_candidates(LOGITS, axis=1).score)


def test_zarr(tmp_path):
    pytest.importorskip("zarr", minversion="3")
    lazy.chunked(LOGITS, (2, 5, 4)).to_zarr(str(tmp_path / "logits.zarr"))
    logits = da.from_zarr(str(tmp_path / "logits.zarr"))
    assert logits.numblocks == (2, 1, 2)
    loss, grad = fxd.softmax_cross_entropy(logits, LABELS, axis=1, return_grad=True)
    grad.to_zarr(str(tmp_path / "grad.zarr"))
    expected = fx.softmax_cross_entropy(LOGITS, LABELS, axis=1, return_grad=True)
    np.testing.assert_array_equal(da.from_zarr(str(tmp_path / "grad.zarr")), expected[1])
    np.testing.assert_array_equal(loss, expected[0])


def test_stacks_of_npy_files(tmp_path):
    da.to_npy_stack(tmp_path / "logits", lazy.chunked(LOGITS, (3, 5, 7)))
    logits = da.from_npy_stack(tmp_path / "logits")
    da.to_npy_stack(tmp_path / "loss", fxd.softmax_cross_entropy(logits, LABELS, axis=1))
    found = da.from_npy_stack(tmp_path / "loss")
    np.testing.assert_array_equal(found, fx.softmax_cross_entropy(LOGITS, LABELS, axis=1))
