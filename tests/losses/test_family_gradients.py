"""Gradients are the slopes of the losses returned, whatever the options; and their limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.family import (
    LOSSES,
    PER_CLASS,
    PROBABILITY_LOSSES,
    SIGMOID_LOSSES,
    WITH_DENSE,
    assert_near,
    derivative,
    public,
    targets_for,
    values_for,
)

import fastxent as fx

INF, NAN = np.inf, np.nan
RTOL = 1e-8
STEP = {True: 1e-4, False: 1e-3}  # probabilities, logits

every_loss = pytest.mark.parametrize("name", LOSSES)
exponents = st.sampled_from([0, 0.5, 1, 1.5, 2, 3.7])


def own_options(name, draw, classes):
    """Draw the parameters that only this loss has."""
    alphas = st.one_of(
        st.none(), st.floats(0, 1), hnp.arrays(float, classes, elements=st.floats(0, 1))
    )
    options = {
        "sigmoid_cross_entropy": {
            "pos_weight": st.one_of(st.none(), st.floats(0, 4)),
            "label_smoothing": st.sampled_from([0.0, 0.2]),
        },
        "softmax_cross_entropy": {"label_smoothing": st.sampled_from([0.0, 0.2])},
        "binary_cross_entropy": {"label_smoothing": st.sampled_from([0.0, 0.2])},
        "categorical_cross_entropy": {"label_smoothing": st.sampled_from([0.0, 0.2])},
        "sigmoid_focal_loss": {"alpha": alphas, "gamma": exponents},
        "softmax_focal_loss": {"alpha": alphas, "gamma": exponents},
        "sigmoid_focal_loss_star": {
            "alpha": alphas,
            "gamma": st.floats(0.25, 4),
            "beta": st.floats(-2, 2),
        },
        "quality_focal_loss": {"beta": exponents},
        "varifocal_loss": {"alpha": alphas, "gamma": exponents, "iou_weighted": st.booleans()},
        "asymmetric_loss": {
            "gamma_neg": exponents,
            "gamma_pos": exponents,
            "clip": st.sampled_from([0, 0.05, 0.4]),
        },
        "poly1_cross_entropy": {"epsilon": st.sampled_from([0, 1, 2.5, -1])},
    }.get(name, {})
    return {key: draw(strategy) for key, strategy in options.items()}


def away_from_kinks(name, values, targets, axis, options):
    """Move logits away from where a loss has a kink: a probability equal to a score or the clip."""
    if name == "asymmetric_loss" and options["clip"]:
        kink = np.log(options["clip"] / (1 - options["clip"]))
    elif name == "quality_focal_loss":
        scores = np.clip(targets[1], 1e-3, 1 - 1e-3)
        kink = np.log(scores / (1 - scores))
        kink = kink if axis is None else np.expand_dims(kink, axis)
    else:
        return values
    return values + 0.6 * (np.abs(values - kink) < 0.3)


@st.composite
def calls(draw, name):
    """Draw values, what follows them, the axis and the options of a call."""
    shape = list(draw(hnp.array_shapes(max_dims=3, max_side=4)))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    if name in PER_CLASS and draw(st.sampled_from([False] * 4 + [True])):
        axis, classes = None, 1
    else:
        classes = shape[axis] = draw(st.sampled_from([2, 3, 5, 17]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = values_for(name, rng, shape)
    dense = name in WITH_DENSE and draw(st.booleans())
    targets = targets_for(name, rng, values, axis, dense=dense)
    options = own_options(name, draw, classes)
    anchors = tuple(shape if axis is None else np.delete(shape, axis))
    if draw(st.booleans()):
        options["weight"] = draw(st.sampled_from([0.0, 2.5, rng.random(anchors)]))
        if name in PER_CLASS and draw(st.booleans()):
            options["weight"] = rng.random([n if draw(st.booleans()) else 1 for n in shape])
    if name != "distribution_focal_loss" and draw(st.booleans()):
        options["class_weight"] = rng.integers(0, 3, classes) * 0.75
    if not dense and draw(st.booleans()):
        ignored = rng.random(anchors) < 0.3
        targets = (np.where(ignored, -7, targets[0]), *targets[1:])
        options["ignore_index"] = draw(st.sampled_from([-7, (-7, 1)]))
    values = away_from_kinks(name, values, targets, axis, options)
    return values, targets, axis, options, rng


@every_loss
@given(data=st.data())
@settings(max_examples=60)
def test_every_partial_derivative(name, backend, data):
    """Of the losses of anchors, all of which are moved along one class at a time."""
    values, targets, axis, options, _ = data.draw(calls(name))
    dtype, rtol = data.draw(st.sampled_from([(np.float64, RTOL), (np.float32, 5e-6)]))
    values = values.astype(dtype)
    loss, gradient = public(name)(values, *targets, axis=axis, return_grad=True, **options)
    alone = public(name)(values, *targets, axis=axis, **options)
    np.testing.assert_allclose(loss, alone, rtol=rtol)
    assert gradient.shape == values.shape
    assert gradient.dtype == dtype
    values = values.astype(float)
    step = STEP[name in PROBABILITY_LOSSES]
    for c in range(1 if axis is None else values.shape[axis]):
        direction = np.zeros_like(values)
        np.moveaxis(direction, axis or 0, -1)[..., c if axis is not None else slice(None)] = 1
        slopes = derivative(
            lambda z: public(name)(z, *targets, axis=axis, **options), values, direction, step
        )
        partial = gradient if axis is None else np.take(gradient, c, axis)
        assert_near(partial, slopes, rtol, size=max(1, np.abs(slopes).max(initial=0)))


@every_loss
@given(data=st.data())
@settings(max_examples=60)
def test_what_is_returned_times_grad_output(name, backend, data):
    """Along random directions, for every reduction, normalizer and form of grad_output."""
    values, targets, axis, options, rng = data.draw(calls(name))
    options["reduction"] = data.draw(st.sampled_from(["anchor", "none", "sum", "mean"]))
    if options["reduction"] == "mean":
        normalizers = ["valid", "weight", "positive", "count", 7.5]
        if name == "distribution_focal_loss":
            normalizers.remove("positive")
        options["normalizer"] = data.draw(st.sampled_from(normalizers))
    loss, _ = public(name)(values, *targets, axis=axis, return_grad=True, **options)
    factor = data.draw(st.sampled_from([None, -2.5, np.float32(0.5), "array"]))
    if isinstance(factor, str):
        dtype = data.draw(st.sampled_from([np.float64, np.float32, np.float16, np.int8]))
        factor = (4 * rng.normal(size=np.shape(loss))).astype(dtype)
        if options["reduction"] == "none" and data.draw(st.booleans()):
            factor = np.array(factor, order="F")
    _, gradient = public(name)(
        values, *targets, axis=axis, return_grad=True, grad_output=factor, **options
    )
    factor = 1.0 if factor is None else np.asarray(factor, dtype=float)
    for _ in range(3):
        direction = rng.normal(size=values.shape)
        slopes = derivative(
            lambda z: public(name)(z, *targets, axis=axis, **options),
            values,
            direction,
            STEP[name in PROBABILITY_LOSSES],
        )
        assert_near(
            (gradient * direction).sum(),
            (slopes * factor).sum(),
            RTOL,
            size=1 + np.abs(slopes * factor).sum(),
        )


@pytest.mark.parametrize("name", SIGMOID_LOSSES)
def test_anchors_may_have_factors_where_each_class_has_a_loss(name, backend):
    """reduction="none" takes an array of the shape of the logits, "anchor" one of the anchors'."""
    rng = np.random.default_rng(0)
    logits = values_for(name, rng, (6, 4))
    targets = targets_for(name, rng, logits)
    factor = rng.normal(size=6)
    _, plain = public(name)(logits, *targets, return_grad=True)
    _, scaled = public(name)(logits, *targets, return_grad=True, grad_output=factor)
    np.testing.assert_allclose(scaled, plain * factor[:, None], rtol=1e-14)
    per_logit = rng.normal(size=(6, 4))
    _, scaled = public(name)(
        logits, *targets, return_grad=True, grad_output=per_logit, reduction="none"
    )
    np.testing.assert_allclose(scaled, plain * per_logit, rtol=1e-14)
    for wrong, reduction in ((per_logit, "anchor"), (factor, "sum"), (per_logit[:5], "none")):
        with pytest.raises(ValueError, match="grad_output"):
            public(name)(logits, *targets, return_grad=True, grad_output=wrong, reduction=reduction)


# --- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("gamma", [0, 0.5, 1, 2])
@pytest.mark.parametrize("size", [40, 200, 1e4])
def test_saturated_logits_have_finite_gradients(size, gamma, dtype, backend):
    """Where 1 - p is 0 in floats, autodiff of its power is NaN; the slope is that of -log p."""
    logits = np.array([size, -size], dtype)
    wrong, right = np.array([0, 1]), np.array([1, 0])
    sign = np.array([1, -1])
    factor = np.array([0.75, 0.25])  # 1 - alpha for y = 0, alpha for y = 1
    cases = {
        "sigmoid_focal_loss": ({"gamma": gamma}, factor),
        "varifocal_loss": ({"gamma": gamma}, np.array([0.75, 1])),
        "asymmetric_loss": ({"gamma_neg": gamma, "gamma_pos": gamma, "clip": 0}, 1),
    }
    for name, (options, expected) in cases.items():
        arguments = {"axis": None, "return_grad": True, **options}
        loss, gradient = public(name)(logits, wrong, **arguments)
        np.testing.assert_allclose(loss, expected * size, rtol=1e-5)
        np.testing.assert_allclose(gradient, sign * expected, rtol=1e-5)
        loss, gradient = public(name)(logits, right, **arguments)
        assert np.all(np.isfinite(gradient))
        assert np.all(np.abs(gradient) <= np.exp(-size) * 2)
    rows = np.array([[size, -size], [-size, size]], dtype)
    loss, gradient = fx.softmax_focal_loss(rows, [1, 0], gamma=gamma, return_grad=True)
    np.testing.assert_allclose(loss, 2 * size, rtol=1e-5)
    np.testing.assert_allclose(gradient, [[1, -1], [-1, 1]], rtol=1e-5)
    loss, gradient = fx.softmax_focal_loss(rows, [0, 1], gamma=gamma, return_grad=True)
    assert np.all(np.abs(gradient) <= 2 * np.exp(-2 * size))


SIGMOID_LIMITS = [  # logit, target, gradient of sigmoid cross-entropy
    (INF, 1, 0.0),
    (INF, 0, 1.0),
    (-INF, 1, -1.0),
    (-INF, 0, 0.0),
    (INF, 0.25, 0.75),
    (-INF, 0.25, -0.25),
    (NAN, 1, NAN),
    (NAN, 0, NAN),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_infinite_logits_of_sigmoids(dtype, backend):
    logits, targets, expected = map(np.array, zip(*SIGMOID_LIMITS, strict=True))
    logits = logits.astype(dtype)
    _, gradient = fx.sigmoid_cross_entropy(logits, targets, axis=None, return_grad=True)
    np.testing.assert_allclose(gradient, expected)
    hard = (targets != 0.25) & ~np.isnan(logits)
    for name, options in (
        ("sigmoid_focal_loss", {"alpha": None}),
        ("varifocal_loss", {"alpha": None}),
        ("asymmetric_loss", {"clip": 0}),
    ):
        _, gradient = public(name)(
            logits[hard], targets[hard], axis=None, return_grad=True, **options
        )
        np.testing.assert_allclose(gradient, expected[hard], err_msg=name)
    labels = targets[hard].astype(int)
    _, gradient = fx.quality_focal_loss(
        logits[hard], labels, np.ones(len(labels)), axis=None, return_grad=True
    )
    np.testing.assert_allclose(gradient, expected[hard])


#: Losses that may be infinite, with their usual exponents and others.
INFINITE = [
    ("sigmoid_cross_entropy", {}),
    *(("sigmoid_focal_loss", {"alpha": None, "gamma": gamma}) for gamma in (0, 0.5, 1, 1.5, 2, 3)),
    *(("asymmetric_loss", {"clip": 0, "gamma_neg": gamma}) for gamma in (0, 1.5, 4)),
    ("asymmetric_loss", {"clip": 0, "gamma_pos": 2}),
    ("varifocal_loss", {"alpha": None}),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("shape", [(2, 1), (20, 2), (20, 40)])
@pytest.mark.parametrize(("name", "options"), INFINITE)
def test_infinite_losses_have_gradients_of_one(name, options, shape, axis, dtype, backend):
    logits = np.ones(shape, dtype)
    logits[0, 0], logits[1, -1] = INF, -INF
    targets = np.zeros(shape, dtype)
    targets[1, -1] = 1
    losses, gradient = public(name)(
        logits if axis else logits.T.copy(),
        targets if axis else targets.T.copy(),
        axis=axis,
        return_grad=True,
        **options,
    )
    gradient = gradient if axis else gradient.T
    assert np.isinf(losses[:2]).all()
    assert gradient[0, 0] == 1
    assert gradient[1, -1] == -1
    assert np.isfinite(gradient).all()


SOFTMAX_LIMITS = [  # logits, class, gradient
    ([INF, 0, 1], 0, [0, 0, 0]),
    ([INF, 0, 1], 1, [1, -1, 0]),
    ([-INF, 0, 0], 1, [0, -0.5, 0.5]),
    ([-INF, 0, 0], 0, [-1, 0.5, 0.5]),
    ([-INF, -INF, 5], 2, [0, 0, 0]),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("classes", [3, 40])
def test_infinite_logits_of_softmax(classes, dtype, backend):
    rows, labels, expected = zip(*SOFTMAX_LIMITS, strict=True)
    logits = np.full((len(rows), classes), -INF, dtype)
    logits[:, :3] = rows
    wanted = np.zeros(logits.shape)
    wanted[:, :3] = expected
    _, gradient = fx.softmax_cross_entropy(logits, labels, return_grad=True)
    np.testing.assert_allclose(gradient, wanted, rtol=1e-6)
    logits[:, -1] = NAN
    _, gradient = fx.softmax_cross_entropy(logits, labels, return_grad=True)
    assert np.isnan(gradient).all()
