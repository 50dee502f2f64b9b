"""What fastxent.jax refuses: by shapes when it traces, by values when it computes."""

import re

import numpy as np
import pytest
from support import family, jax_versions

jax = pytest.importorskip("jax")

import fastxent as fx  # noqa: E402 - without JAX nothing of this is needed
import fastxent.jax as fxj  # noqa: E402
from fastxent import native  # noqa: E402
from fastxent._catalogue import LOSSES  # noqa: E402

Z = np.zeros((4, 3), np.float32)
LABELS = np.array([0, 1, 2, 0])


def message_of(function, *arguments, **options):
    with pytest.raises((ValueError, TypeError, jax.errors.JaxRuntimeError)) as caught:
        jax.block_until_ready(function(*arguments, **options))
    return str(caught.value).removeprefix("INVALID_ARGUMENT: ")


#: A loss, its arguments, and options: refused by their values.
VALUES = {
    "label": ("sigmoid_cross_entropy", (Z, [0, 7, 2, -1]), {}),
    "label of a softmax": ("softmax_cross_entropy", (Z, [0, 1, 3, 0]), {"ignore_index": -1}),
    "label of a background": ("sigmoid_focal_loss", (Z, [0, 4, 2, 1]), {"background_index": 0}),
    "label of one class": ("sigmoid_focal_loss", (Z[:, 0], [0, 1, 2, 1]), {"axis": None}),
    "dense": ("sigmoid_cross_entropy", (Z, np.where(np.eye(4, 3), 1.25, 0)), {}),
    "dense, negative": ("softmax_cross_entropy", (Z, -np.eye(4, 3)), {"ignore_index": 7}),
    "dense, nan": ("sigmoid_focal_loss", (Z, np.full((4, 3), np.nan)), {}),
    "position": ("distribution_focal_loss", (Z, [0.5, 2.5, 0, 0]), {}),
    "score": ("quality_focal_loss", (Z, LABELS, [0.5, 1.5, 0, 0]), {}),
    "probability": ("binary_cross_entropy", (Z + 3, LABELS), {}),
    "probability, negative": ("categorical_cross_entropy", (Z - 0.5, LABELS), {}),
    "class weight": ("softmax_cross_entropy", (Z, LABELS), {"class_weight": [1.0, -2.0, 1]}),
    "positive weight": ("sigmoid_cross_entropy", (Z, LABELS), {"pos_weight": [1.0, np.inf, 1]}),
    "alpha": ("sigmoid_focal_loss", (Z, LABELS), {"alpha": [0.5, 1.5, 0]}),
}


@pytest.mark.parametrize("reduction", ["anchor", "mean"])
@pytest.mark.parametrize("case", VALUES)
def test_values_are_refused_as_by_numpy(case, reduction):
    name, arrays, options = VALUES[case]
    arrays = tuple(np.asarray(array) for array in arrays)
    options = {
        key: np.asarray(value) if isinstance(value, list) else value
        for key, value in options.items()
    }
    expected = message_of(getattr(fx, name), *arrays, **options, reduction=reduction)

    def loss(z, *others):
        return getattr(fxj, name)(z, *others, **options, reduction=reduction).sum()

    with jax_versions.enable_x64(True):
        for function in (loss, jax.jit(loss), jax.value_and_grad(loss), jax.jit(jax.grad(loss))):
            assert message_of(function, *arrays) == expected


def test_missing_labels_of_some_classes():
    dense = np.zeros((4, 3))
    dense[2, 1] = -100
    message = message_of(fxj.softmax_cross_entropy, Z, dense)
    assert "targets[2, 1] = -100.0 is an ignore_index, but other targets" in message


def test_probabilities_of_ignored_anchors():
    probs = np.full((4, 3), 0.5, np.float32)
    probs[1] = 7
    labels = np.array([0, -100, 1, 2])
    expected = fx.binary_cross_entropy(probs, labels, backend="numpy")
    np.testing.assert_allclose(fxj.binary_cross_entropy(probs, labels), expected, 1e-6)


def test_nothing_to_average_over():
    labels = np.full(4, -100)
    options = {"reduction": "mean", "empty": "raise"}
    message = message_of(fxj.softmax_cross_entropy, Z, labels, **options)
    assert message.startswith("there is nothing to average over")
    assert np.isnan(fxj.softmax_cross_entropy(Z, labels, reduction="mean", empty=np.nan))
    loss, gradient = jax.value_and_grad(fxj.softmax_cross_entropy)(Z, labels, reduction="mean")
    assert loss == 0
    np.testing.assert_array_equal(gradient, 0)


def test_normalizer_that_is_negative():
    mean = jax.jit(lambda n: fxj.sigmoid_focal_loss(Z, LABELS, reduction="mean", normalizer=n))
    assert message_of(mean, -2.0) == "normalizer = -2.0 is negative or not finite"


def test_computations_go_on_after_an_error():
    loss = jax.jit(fxj.softmax_cross_entropy)
    for _ in range(3):
        assert "not a class label" in message_of(loss, Z, LABELS + 9)
        np.testing.assert_allclose(loss(Z, LABELS), np.log(3), 1e-6)


#: The same, refused by shapes, dtypes and options.
SHAPES = [
    ("sigmoid_cross_entropy", (Z, LABELS[:3]), {}),
    ("sigmoid_cross_entropy", (Z, LABELS.astype(np.float32)), {}),
    ("sigmoid_cross_entropy", (Z, LABELS), {"axis": 2}),
    ("softmax_cross_entropy", (Z, LABELS), {"axis": None}),
    ("softmax_cross_entropy", (Z[:, :1], LABELS), {}),
    ("softmax_cross_entropy", (Z.astype(int), LABELS), {}),
    ("softmax_cross_entropy", (Z, LABELS), {"reduction": "total"}),
    ("softmax_cross_entropy", (Z, LABELS), {"normalizer": "count"}),
    ("softmax_cross_entropy", (Z, LABELS), {"weight": np.ones((2, 3), np.float32)}),
    ("softmax_cross_entropy", (Z, LABELS), {"class_weight": np.ones(4, np.float32)}),
    ("sigmoid_focal_loss", (Z, LABELS), {"gamma": -1.0}),
    ("sigmoid_focal_loss", (Z, LABELS), {"alpha": 2.0}),
    ("sigmoid_focal_loss", (Z, LABELS), {"ignore_index": [1]}),
    ("sigmoid_focal_loss", (Z, LABELS), {"num_threads": 0}),
    ("quality_focal_loss", (Z, LABELS, LABELS[:2]), {}),
]


@pytest.mark.parametrize(("name", "arrays", "options"), SHAPES)
def test_shapes_and_options_are_refused_as_by_numpy(name, arrays, options):
    expected = message_of(getattr(fx, name), *arrays, **options)
    with jax_versions.enable_x64(True):
        assert message_of(getattr(fxj, name), *arrays, **options) == expected
        function = jax.jit(lambda *arrays: getattr(fxj, name)(*arrays, **options))
        assert message_of(function, *arrays) == expected


def test_names_of_arguments():
    for name in ("gama", "backend", "return_grad", "out", "grad_out", "grad_output"):
        with pytest.raises(TypeError, match=rf"fastxent\.jax\.sigmoid_focal_loss: .*'{name}'"):
            fxj.sigmoid_focal_loss(Z, LABELS, **{name: None})


def test_options_that_are_not_known_to_the_compiler():
    with pytest.raises(TypeError, match=r"gamma is not known .*static_argnames=\"gamma\""):
        jax.jit(fxj.sigmoid_focal_loss)(Z, LABELS, gamma=2.0)
    with pytest.raises(TypeError, match=r"axis is not known .*static_argnames=\"axis\""):
        jax.jit(fxj.softmax)(Z, axis=0)
    loss = jax.jit(fxj.sigmoid_focal_loss, static_argnames="gamma")
    expected = fx.sigmoid_focal_loss(Z, LABELS, gamma=3.0)
    np.testing.assert_array_equal(loss(Z, LABELS, gamma=3.0), expected)


@pytest.mark.parametrize("reduction", ["anchor", "sum"])
@pytest.mark.parametrize("name", LOSSES)
def test_second_derivatives(name, reduction):
    values = family.values_for(name, np.random.default_rng(0), (4, 3), np.float32)
    targets = family.targets_for(name, np.random.default_rng(0), values)

    def loss(z):
        return getattr(fxj, name)(z, *targets, reduction=reduction).sum()

    for twice in (jax.hessian(loss), jax.jacrev(jax.grad(loss)), jax.jit(jax.hessian(loss))):
        with pytest.raises(NotImplementedError, match=f"{name} has first derivatives only"):
            twice(values)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(loss, (values,), (values,))


OTHERS = {
    "targets": lambda x: fxj.sigmoid_cross_entropy(Z, x + 0 * Z),
    "weight": lambda x: fxj.softmax_cross_entropy(Z, LABELS, weight=x),
    "class_weight": lambda x: fxj.softmax_cross_entropy(Z, LABELS, class_weight=x * np.ones(3)),
    "pos_weight": lambda x: fxj.sigmoid_cross_entropy(Z, LABELS, pos_weight=x),
    "alpha": lambda x: fxj.sigmoid_focal_loss(Z, LABELS, alpha=x),
    "scores": lambda x: fxj.quality_focal_loss(Z, LABELS, x * np.ones(4, np.float32)),
    "normalizer": lambda x: fxj.softmax_cross_entropy(Z, LABELS, reduction="mean", normalizer=x),
}


@pytest.mark.parametrize("name", OTHERS)
def test_derivatives_by_other_arguments(name):
    function = OTHERS[name]
    derivative = jax.grad(lambda x: function(x).sum())
    for slope in (derivative, jax.jit(derivative), derivative):
        with pytest.raises(NotImplementedError, match=rf"respect to {name}: .*stop_gradient"):
            slope(0.5)
    stopped = jax.grad(lambda x: function(jax.lax.stop_gradient(x)).sum())
    assert stopped(0.5) == 0


def test_targets_made_of_the_logits():
    """A target that is a function of the logits must be stopped, not be a constant silently."""

    def loss(z, stop):
        return fxj.quality_focal_loss(z, LABELS, stop(jax.nn.sigmoid(z).max(-1))).sum()

    with pytest.raises(NotImplementedError, match="respect to scores"):
        jax.grad(lambda z: loss(z, lambda x: x))(Z)
    gradient = jax.grad(lambda z: loss(z, jax.lax.stop_gradient))(Z)
    expected = fx.quality_focal_loss(
        Z, LABELS, np.full(4, 0.5), reduction="sum", return_grad=True, backend="numpy"
    )[1]
    np.testing.assert_allclose(gradient, expected, 1e-6)


# --- what Python cannot pass by -------------------------------------------------------------------


def raw_call(arrays, result=np.float32, **changes):
    """Call the handler with attributes of another call."""
    from fastxent.jax.arguments import Signature, split_loss

    signature = Signature("softmax_cross_entropy")
    plan, _ = split_loss(signature, signature.bind((Z, LABELS), {}))
    attributes = dict(plan.attributes) | {"operands": "logits,labels", "results": "loss"} | changes
    attributes["ignored"] = np.array(attributes["ignored"], np.int64)
    attributes = {key: value for key, value in attributes.items() if value is not None}
    call = jax.ffi.ffi_call("fastxent_loss", jax.ShapeDtypeStruct((4,), result))
    return call(*arrays, **attributes)


@pytest.mark.parametrize(
    ("arrays", "changes", "message"),
    [
        ((Z.astype(int), LABELS), {}, "other dtypes"),
        ((Z, Z[:, 0]), {}, "other dtypes"),
        ((Z, LABELS), {"result": np.float16}, "other dtypes"),
        ((Z, Z), {}, "labels has dtype 11 and 2 dimensions"),
        ((Z[0], LABELS), {}, "no logits of 2 dimensions"),
        ((Z, LABELS[:2]), {}, "labels has length 2 on axis 0, expected 4"),
        ((Z, LABELS), {"loss": "hinge"}, "no loss of this name"),
        ((Z, LABELS), {"clip": None}, "no attribute clip"),
        ((Z, LABELS), {"clip": 3}, "attribute clip is not of dtype 12"),
        ((Z, Z.astype(np.complex64)), {"operands": "logits,dense"}, "dense has dtype 15"),
    ],
)
def test_the_handler_checks_dtypes_ranks_and_attributes(arrays, changes, message):
    with pytest.raises(Exception, match=re.escape(message)):
        jax.block_until_ready(raw_call(arrays, **changes))


def test_other_devices():
    """The handler that is registered for them; here it answers on the CPU."""
    refuse = native.xla_handlers()["fastxent_refuse"]
    jax.ffi.register_ffi_target("fastxent_elsewhere", refuse, platform="cpu")
    call = jax.ffi.ffi_call("fastxent_elsewhere", jax.ShapeDtypeStruct((4, 3), np.float32))
    with pytest.raises(Exception, match=r"fastxent\.jax computes on CPUs: .*device_put"):
        jax.block_until_ready(call(Z))


def test_arrays_on_other_devices(monkeypatch):
    class Device:
        platform = "gpu"

        def __str__(self):
            return "cuda:0"

    array = jax.numpy.asarray(Z)
    monkeypatch.setattr(type(array), "devices", lambda _: {Device()})
    with pytest.raises(NotImplementedError, match=r"logits is on cuda:0.*device_put\(logits"):
        fxj.softmax_cross_entropy(array, LABELS)
