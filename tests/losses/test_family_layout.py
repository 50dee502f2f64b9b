"""Heads as networks emit them: any class axis, any strides, for logits, targets and gradients."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.family import LOSSES, PER_CLASS, PROBABILITY_LOSSES, public, targets_for, values_for

#: What is promised is accuracy, not equal bits for different layouts.
RTOL = {np.float32: 3e-6, np.float64: 1e-13}
LAYOUTS = ["plain", "fortran", "reversed", "sliced", "turned", "unaligned", "read-only"]
OUT_LAYOUTS = ["plain", "fortran", "reversed", "sliced", "turned"]

every_loss = pytest.mark.parametrize("name", LOSSES)


def strided(array, layout):
    """Return the same values with other strides."""
    if layout == "fortran":
        return np.asfortranarray(array)
    if layout == "reversed":
        return np.flip(np.flip(array).copy())
    if layout == "sliced":
        wide = np.full([2 * n + 1 for n in array.shape], 99, dtype=array.dtype)
        view = wide[(slice(1, None, 2),) * array.ndim]
        view[...] = array
        return view
    if layout == "turned":
        return array.T.copy().T
    if layout == "unaligned":
        raw = np.empty(array.nbytes + 1, dtype=np.uint8)
        view = raw[1:].view(array.dtype).reshape(array.shape)
        view[...] = array
        return view
    if layout == "read-only":
        array = array.copy()
        array.flags.writeable = False
    return array


def check_head(name, shape, axis, dtype, layout="plain", *, dense=False, **options):
    """Compare a call with that on contiguous logits of the same anchors, classes last."""
    rng = np.random.default_rng(0)
    values = values_for(name, rng, shape, dtype)
    targets = targets_for(name, rng, values, axis, dense=dense)
    last = np.ascontiguousarray(np.moveaxis(values, axis, -1)).reshape(-1, shape[axis])
    if dense:
        flat = (np.moveaxis(targets[0], axis, -1).reshape(last.shape),)
    else:
        flat = tuple(target.ravel() for target in targets)
    expected_loss, expected = public(name)(last, *flat, return_grad=True)
    head = strided(values, layout)
    given_targets = tuple(strided(target, layout) for target in targets)
    loss, gradient = public(name)(head, *given_targets, axis=axis, return_grad=True, **options)
    assert gradient.shape == values.shape
    assert gradient.dtype == values.dtype
    gradient_last = np.moveaxis(gradient, axis, -1).reshape(last.shape)
    size = np.abs(expected).max()
    np.testing.assert_allclose(loss.ravel(), expected_loss, rtol=RTOL[dtype])
    np.testing.assert_allclose(gradient_last, expected, rtol=RTOL[dtype], atol=RTOL[dtype] * size)
    return head, gradient


@every_loss
@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((4, 81, 500), 1),
        ((2, 9, 20, 10, 12), 2),
        ((81, 700), 0),
        ((3, 40, 5, 2), 1),
        ((2, 33, 1, 17), -3),
        ((1, 1203, 9), 1),
    ],
)
def test_channel_axes(name, shape, axis, dtype, backend):
    for dense in (False, name not in {"quality_focal_loss", "distribution_focal_loss"}):
        head, gradient = check_head(name, shape, axis, dtype, dense=dense)
        assert gradient.strides == head.strides


@every_loss
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("shape", "axis"), [((3, 21, 40), 1), ((7, 5, 21), -1), ((90, 2), 1)])
def test_strides(name, shape, axis, layout, backend):
    head, gradient = check_head(name, shape, axis, np.float32, layout)
    if layout in {"fortran", "turned"}:
        assert gradient.strides == head.strides  # as np.empty_like keeps them


@every_loss
@pytest.mark.parametrize("layout", OUT_LAYOUTS)
@pytest.mark.parametrize("axis", [1, -1])
def test_given_gradients(name, axis, layout, backend):
    """Every element of grad_out is written, and nothing between them."""
    shape = (6, 21, 35)
    # -5 everywhere, so that what is not written shows.
    out = strided(np.full(shape, -5, np.float32), layout)
    surroundings = out.base.copy() if layout == "sliced" else None
    _, gradient = check_head(name, shape, axis, np.float32, grad_out=out)
    assert gradient is out
    if surroundings is not None:
        inner = (slice(1, None, 2),) * out.ndim
        assert (out.base[inner] != surroundings[inner]).any()
        surroundings[inner] = out
        np.testing.assert_array_equal(out.base, surroundings)


@every_loss
@given(data=st.data())
@settings(max_examples=40)
def test_strided_everything(name, backend, data):
    """Logits, targets, weights, factors and gradients, each with strides of its own."""
    layouts = st.sampled_from(LAYOUTS)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    axis = data.draw(st.integers(0, 2))
    shape = [3, 4, 7]
    classes = shape[axis] = data.draw(st.sampled_from([2, 5, 19, 70]))
    values = values_for(name, rng, shape, np.float32)
    targets = targets_for(name, rng, values, axis)
    anchors = np.delete(shape, axis)
    weight, factor = rng.random(anchors), rng.normal(size=anchors)
    flat = np.ascontiguousarray(np.moveaxis(values, axis, -1)).reshape(-1, classes)
    expected_loss, expected = public(name)(
        flat,
        *(target.ravel() for target in targets),
        weight=weight.ravel(),
        grad_output=factor.ravel(),
        return_grad=True,
    )
    loss, gradient = public(name)(
        strided(values, data.draw(layouts)),
        *(strided(target, data.draw(layouts)) for target in targets),
        axis=axis,
        weight=strided(weight, data.draw(layouts)),
        grad_output=strided(factor, data.draw(layouts)),
        return_grad=True,
        grad_out=strided(np.zeros(shape, np.float32), data.draw(st.sampled_from(OUT_LAYOUTS))),
        out=strided(np.zeros(anchors, np.float32), data.draw(st.sampled_from(OUT_LAYOUTS))),
    )
    gradient = np.moveaxis(gradient, axis, -1).reshape(flat.shape)
    np.testing.assert_allclose(loss.ravel(), expected_loss, rtol=3e-6)
    size = np.abs(expected).max()
    np.testing.assert_allclose(gradient, expected, rtol=3e-6, atol=3e-6 * size)


@every_loss
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_zero_strides(name, axis, backend):
    """Broadcast logits, targets, weights and factors are read like any other."""
    rng = np.random.default_rng(1)
    row = values_for(name, rng, (1, 6, 1), np.float32)
    values = np.broadcast_to(row, (4, 6, 5))
    anchors = tuple(np.delete(values.shape, axis))
    targets = (np.broadcast_to(1.0 if name == "distribution_focal_loss" else 1, anchors),)
    if name == "quality_focal_loss":
        targets += (np.broadcast_to(0.75, anchors),)
    options = {
        "weight": np.broadcast_to(rng.random((anchors[0], 1)), anchors),
        "grad_output": np.broadcast_to(rng.normal(size=anchors[1]), anchors),
        "axis": axis,
        "return_grad": True,
    }
    loss, gradient = public(name)(values, *targets, **options)
    assert gradient.shape == values.shape
    copies = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in options.items()}
    expected = public(name)(values.copy(), *(t.copy() for t in targets), **copies)
    np.testing.assert_allclose(loss, expected[0], rtol=3e-6)
    np.testing.assert_allclose(gradient, expected[1], rtol=3e-6, atol=1e-7)


@pytest.mark.parametrize("name", PER_CLASS)
@pytest.mark.parametrize("axis", [1, -1])
def test_weights_and_factors_of_logits(name, axis, backend):
    """Weights that broadcast, and factors of every logit in Fortran order."""
    rng = np.random.default_rng(2)
    values = values_for(name, rng, (5, 8, 9), np.float32)
    targets = targets_for(name, rng, values, axis)
    factor = rng.normal(size=values.shape)
    _, plain = public(name)(values, *targets, axis=axis, return_grad=True)
    per_logit = name not in PROBABILITY_LOSSES
    for shape in ((1, 1, 9), (5, 1, 1), (1, 8, 1), (5, 8, 9)):
        weight = rng.random(shape)
        options = {"axis": axis, "weight": weight, "return_grad": True}
        _, gradient = public(name)(values, *targets, **options)
        np.testing.assert_allclose(gradient, plain * weight, rtol=3e-6, atol=1e-7)
        if per_logit:
            _, gradient = public(name)(
                values,
                *targets,
                reduction="none",
                grad_output=np.asfortranarray(factor),
                **options,
            )
            np.testing.assert_allclose(gradient, plain * weight * factor, rtol=3e-6, atol=1e-6)


@every_loss
def test_given_gradients_that_do_not_fit(name, backend):
    rng = np.random.default_rng(3)
    values = values_for(name, rng, (6, 5), np.float32)
    targets = targets_for(name, rng, values)
    read_only = np.zeros((6, 5), np.float32)
    read_only.flags.writeable = False
    out = np.zeros(30, np.float32)
    for wrong, options in (
        (np.zeros((5, 6), np.float32), {}),
        (np.zeros((6, 5)), {}),
        (np.zeros((6, 5), np.float16), {}),
        (read_only, {}),
        (strided(np.zeros((6, 5), np.float32), "unaligned"), {}),
        (values, {}),
        (values[::-1], {}),
        (out.reshape(6, 5), {"out": out[:6]}),
    ):
        before = wrong.copy()
        with pytest.raises((ValueError, TypeError), match="grad_out"):
            public(name)(values, *targets, return_grad=True, grad_out=wrong, **options)
        np.testing.assert_array_equal(wrong, before)
