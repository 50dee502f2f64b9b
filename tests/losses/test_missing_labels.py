"""Missing labels: dense targets that equal an ignore_index have no part in losses and means."""

import functools

import ml_dtypes
import numpy as np
import pytest
from support import family
from support import family_oracles as exact
from support.oracles import assert_accurate

import fastxent as fx
from fastxent import _catalogue

MISSING, NAN, LOG2 = -100, np.nan, np.log(2)
SOFTMAXES = tuple(name for name in family.WITH_DENSE if name not in family.PER_CLASS)
every_loss = pytest.mark.parametrize("name", family.WITH_DENSE)
every_softmax = pytest.mark.parametrize("name", SOFTMAXES)


def labelled_classes(name, rng, shape):
    """Return which classes have a label; all or none of an anchor, of softmaxes."""
    share = rng.choice([0, 0.3, 0.9, 1], (*shape[:-1], 1))
    return rng.random(shape if name in family.PER_CLASS else share.shape) < share


def with_missing(name, rng, shape, dtype=np.float32, *, targets_dtype=np.float32, axis=-1):
    """Return logits, NaN where a label is missing, dense targets, and where those are not."""
    values = family.values_for(name, rng, shape, dtype)
    targets = rng.integers(0, 2, shape)
    if np.dtype(targets_dtype).kind not in "iu":
        targets = rng.integers(0, 9, shape) / 8 * (rng.random(shape) < 0.5)
    labelled = labelled_classes(name, rng, np.moveaxis(values, axis, -1).shape)
    labelled = np.moveaxis(np.broadcast_to(labelled, np.moveaxis(values, axis, -1).shape), -1, axis)
    values[~labelled] = NAN
    return values, np.where(labelled, targets, MISSING).astype(targets_dtype), labelled


def assert_zero(gradient, labelled):
    """Check that nothing is learnt from a missing label; -0.0 is no zero."""
    bits = np.asarray(gradient)[~labelled]
    assert not bits.view(f"u{bits.itemsize}").any()


# --- values, against exact ones of the labelled classes alone -------------------------------------
OPTIONS = {
    "sigmoid_cross_entropy": {"pos_weight": 2.5, "label_smoothing": 0.25},
    "sigmoid_focal_loss": {"gamma": 1.5, "alpha": [0.25, 0.5, 0.75] * 7},
    "varifocal_loss": {"gamma": 1.0},
    "asymmetric_loss": {"clip": 0.125},
    "softmax_cross_entropy": {"label_smoothing": 0.25},
}


@functools.cache
def exact_case(name, classes, has_options):
    """Return the arguments of a call, its options, and the exact loss and gradient of anchors."""
    values, targets, labelled = with_missing(name, np.random.default_rng(classes), (24, classes))
    options = {}
    if has_options:
        options = dict(OPTIONS.get(name, {}))
        options["class_weight"] = np.float32([0.5, 2, 1] * 7)[:classes]
        if "alpha" in options:
            options["alpha"] = np.array(options["alpha"])[:classes]
    anchors = []
    for z, y, there in zip(values, targets, labelled, strict=True):
        of_labels = {k: v[there] if np.ndim(v) else v for k, v in options.items()}
        anchors.append(
            exact.exact_anchor(name, z[there], y[there], **of_labels) if there.any() else None
        )
    return values, targets, labelled, options, anchors


def stated_bounds(name, engine, options):
    """Return the largest errors of a loss and of its gradient."""
    if engine == "numpy":
        return 0.51, 0.51
    defaults = {"asymmetric_loss": 4, "sigmoid_cross_entropy": 0}
    return _catalogue.LOSSES[name].bounds.of(options.get("gamma", defaults.get(name, 2)))


@every_loss
@pytest.mark.parametrize("has_options", [False, True])
@pytest.mark.parametrize("classes", [3, 20])
def test_losses_and_gradients(name, classes, has_options, engine):
    values, targets, labelled, options, anchors = exact_case(name, classes, has_options)
    bound, grad_bound = stated_bounds(name, engine, options)
    loss, gradient = family.public(name)(values, targets, return_grad=True, **options)
    alone = family.public(name)(values, targets, **options)
    assert_zero(gradient, labelled)
    for i, anchor in enumerate(anchors):
        if anchor is None:
            assert loss[i] == alone[i] == 0
            continue
        assert_accurate(loss[i : i + 1], [anchor.loss], bound)
        assert_accurate(alone[i : i + 1], [anchor.loss], bound)
        sizes = np.float64(anchor.scale)
        assert_accurate(gradient[i, labelled[i]], anchor.gradient, grad_bound, sizes)


@pytest.mark.parametrize("name", [n for n in family.WITH_DENSE if n in family.PER_CLASS])
@pytest.mark.parametrize("has_options", [False, True])
def test_one_loss_per_class(name, has_options, engine):
    """As without missing labels, where there are others."""
    values, targets, labelled, options, _ = exact_case(name, 20, has_options)
    options = {**options, "reduction": "none", "return_grad": True}
    weight = np.where(labelled, 0.5, NAN)
    loss, gradient = family.public(name)(
        values, targets, weight=weight, grad_output=np.where(labelled, 2.0, np.inf), **options
    )
    assert_zero(loss, labelled)
    assert_zero(gradient, labelled)
    filled = np.where(labelled, values, 0), np.where(labelled, targets, 0)
    other = family.other_backend(engine)
    expected, slopes = family.public(name)(*filled, backend=other, **options)
    np.testing.assert_allclose(loss[labelled], expected[labelled] / 2, rtol=4e-6)
    np.testing.assert_allclose(gradient[labelled], slopes[labelled], rtol=4e-6, atol=1e-7)


# --- sums and means: all losses are log 2 or log 3 ------------------------------------------------
TARGETS = np.float32([[1, 0, MISSING], [MISSING] * 3, [0, 0, 0], [MISSING, 1, 1]])
LABELLED = TARGETS >= 0
COUNTS = np.array([2, 0, 3, 2])
ANCHOR_WEIGHT = np.array([2, NAN, 1, 0.5])
LOGIT_WEIGHT = np.where(LABELLED, [[1, 2, 0]] * 2 + [[3, 1, 2], [0, 1, 4]], NAN)
CLASS_WEIGHT = np.array([1, 2, 4.0])
#: Options; the weights of the terms; what the normalizer "weight" counts.
WEIGHTS = [
    ({}, 1, 3),
    ({"weight": ANCHOR_WEIGHT}, ANCHOR_WEIGHT[:, None], 3.5),
    ({"weight": LOGIT_WEIGHT}, LOGIT_WEIGHT, 1.5 + 2 + 2.5),
    ({"class_weight": CLASS_WEIGHT}, CLASS_WEIGHT, 1.5 + 7 / 3 + 3),
    (
        {"weight": LOGIT_WEIGHT, "class_weight": CLASS_WEIGHT},
        LOGIT_WEIGHT * CLASS_WEIGHT,
        (1 + 4) / 2 + (3 + 2 + 8) / 3 + (2 + 16) / 2,
    ),
]


@pytest.mark.parametrize("loss", [fx.sigmoid_cross_entropy, fx.binary_cross_entropy])
@pytest.mark.parametrize(("options", "weights", "total_weight"), WEIGHTS)
def test_normalizers(loss, options, weights, total_weight, backend):
    terms = np.where(LABELLED, weights, 0) * LOG2
    slopes = np.where(LABELLED, weights, 0) * (0.5 - TARGETS)
    values = np.zeros((4, 3))
    if loss is fx.binary_cross_entropy:
        values += 0.5
        counts = np.maximum(COUNTS, 1)[:, None]
        terms, slopes = terms / counts, 4 * slopes / counts
    values[~LABELLED] = NAN
    np.testing.assert_allclose(loss(values, TARGETS, **options), terms.sum(axis=1), rtol=1e-14)
    divisors = {"valid": 3, "positive": 2, "count": 4, "weight": total_weight, 7.0: 7}
    for normalizer, divisor in divisors.items():
        arguments = {**options, "reduction": "mean", "normalizer": normalizer}
        assert loss(values, TARGETS, **arguments) == pytest.approx(terms.sum() / divisor, 1e-14)
        mean, gradient = loss(values, TARGETS, return_grad=True, **arguments)
        assert mean == pytest.approx(terms.sum() / divisor, 1e-14)
        np.testing.assert_allclose(gradient, slopes / divisor, rtol=1e-14)
        assert_zero(gradient, LABELLED)


@pytest.mark.parametrize(("options", "weights"), [({}, 1), ({"class_weight": CLASS_WEIGHT}, 4)])
def test_normalizers_of_a_softmax(options, weights, backend):
    targets = np.array([[0, 0, 1.0], [255, 255, 255], [-1, -1, 255], [0, 0, 1]])
    values = np.where(targets > 1, NAN, 0.0)
    arguments = {**options, "ignore_index": (255, -1), "reduction": "mean"}
    expected = {"valid": 2, "positive": 2, "count": 4, "weight": 2 * weights}
    for normalizer, divisor in expected.items():
        mean = fx.softmax_cross_entropy(values, targets, normalizer=normalizer, **arguments)
        assert mean == pytest.approx(2 * weights * np.log(3) / divisor, 1e-14)
    arguments |= {"normalizer": "positive", "background_index": 2, "empty": 9.0}
    assert fx.softmax_cross_entropy(values, targets, **arguments) == 9


@every_loss
def test_nothing_is_labelled(name, backend):
    """All anchors are ignored: no losses, no gradients, nothing to average over."""
    function, values = family.public(name), np.full((40, 30), NAN, np.float32)
    targets = np.full((40, 30), MISSING, np.int8)
    loss, gradient = function(values, targets, weight=np.full(40, NAN), return_grad=True)
    assert_zero(loss, np.zeros(40, bool))
    assert_zero(gradient, np.zeros((40, 30), bool))
    for normalizer in ("valid", "weight", "positive"):
        arguments = {"reduction": "mean", "normalizer": normalizer, "empty": 5.0}
        assert function(values, targets, **arguments) == 5
        mean, gradient = function(values, targets, return_grad=True, **arguments)
        assert mean == 5
        assert not gradient.any()


def test_against_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    values, targets, labelled = with_missing("sigmoid_cross_entropy", rng, (6, 5, 7), axis=1)
    weight, pos_weight = rng.random((6, 5, 7)), rng.random(5)
    z = torch.from_numpy(np.where(labelled, values, 0).astype(float)).requires_grad_()
    terms = torch.nn.functional.binary_cross_entropy_with_logits(
        z,
        torch.from_numpy(np.where(labelled, targets, 0).astype(float)),
        torch.from_numpy(np.where(labelled, weight, 0)),
        reduction="none",
        pos_weight=torch.from_numpy(pos_weight[:, None]),
    )
    mean = terms.sum() / np.count_nonzero(labelled.any(axis=1))
    mean.backward()
    options = {"weight": weight, "pos_weight": pos_weight, "axis": 1, "return_grad": True}
    loss, gradient = fx.sigmoid_cross_entropy(values, targets, reduction="mean", **options)
    assert loss == pytest.approx(mean.item(), 1e-6)
    np.testing.assert_allclose(gradient, z.grad.numpy(), rtol=1e-5, atol=1e-8)


# --- single-class heads, custom losses ------------------------------------------------------------
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
def test_single_class_heads(dtype, backend):
    """Each element is an anchor, which is labelled or ignored."""
    targets = np.array([[1, MISSING, 0], [0.5, 0, 255]], dtype)
    values = np.where((targets < 0) | (targets > 1), NAN, 0.0)
    arguments = {"axis": None, "ignore_index": (MISSING, 255)}
    loss, gradient = fx.sigmoid_cross_entropy(values, targets, return_grad=True, **arguments)
    np.testing.assert_allclose(loss, LOG2 * np.array([[1, 0, 1], [1, 1, 0]]), rtol=1e-15)
    np.testing.assert_array_equal(gradient, [[-0.5, 0, 0.5], [0, 0.5, 0]])
    for normalizer, divisor in {"valid": 4, "positive": 2, "count": 6}.items():
        arguments |= {"reduction": "mean", "normalizer": normalizer}
        mean = fx.sigmoid_cross_entropy(values, targets, **arguments)
        assert mean == pytest.approx(4 * LOG2 / divisor, 1e-15)


@pytest.mark.exhaustive
def test_custom_losses():
    """Whatever a formula is at 0: here it is infinite, and its slope NaN."""
    pytest.importorskip("numba")

    @fx.custom_loss
    def distance(logit, target, power=-1.0):
        return (logit - target) ** power

    rng = np.random.default_rng(0)
    for classes in (3, 20):
        targets = rng.integers(0, 2, (300, classes)).astype(np.float32)
        values = targets + rng.integers(1, 9, targets.shape).astype(np.float32)
        labelled = rng.random(targets.shape) < rng.choice([0, 0.5, 1], (300, 1))
        labelled[:, 0] |= ~labelled.any(axis=1)  # not even those without others
        labelled[:7] = False
        expected = np.where(labelled, 1 / (values - targets), 0)
        values[~labelled], targets[~labelled] = NAN, 255
        loss, gradient = distance(values, targets, return_grad=True, ignore_index=255)
        np.testing.assert_allclose(loss, expected.sum(axis=1), rtol=1e-6)
        np.testing.assert_allclose(gradient, -(expected**2), rtol=1e-6)
        mean = distance(values, targets, reduction="mean", ignore_index=255)
        assert mean == pytest.approx(expected.sum() / 293, 1e-6)


# --- what marks them ------------------------------------------------------------------------------
MARKS = [
    (np.uint8, 255),
    (np.uint64, 2**63 - 1),
    (np.int8, -1),
    (np.int16, -100),
    (np.int64, -(2**63)),
]
MARKS += [(np.int32, 2), (np.uint32, 7), (np.uint16, 65535), (np.float16, 2), (np.float32, -1)]
MARKS += [(np.float64, 2**60), (ml_dtypes.bfloat16, 255), (np.float32, -100)]


@pytest.mark.parametrize("reduction", ["anchor", "none"])
@pytest.mark.parametrize(("dtype", "mark"), MARKS)
def test_dtypes(dtype, mark, reduction, backend):
    targets = np.zeros((50, 9), dtype)
    targets[::2, 3] = 1
    targets[4, 2:] = targets[7] = mark
    values = np.where(targets == targets[7, 0], NAN, 0).astype(np.float32)
    expected = LOG2 * ~np.isnan(values)
    arguments = {"reduction": reduction}
    if reduction == "anchor":
        expected = expected.sum(axis=1)
    for ignore in ((mark, -3), (5, mark)):
        loss = fx.sigmoid_cross_entropy(values, targets, ignore_index=ignore, **arguments)
        np.testing.assert_allclose(loss, expected, rtol=1e-6)
        out = np.full(expected.shape, 7, np.float32)
        arguments["out"] = out
        assert fx.sigmoid_cross_entropy(values, targets, ignore_index=ignore, **arguments) is out
        np.testing.assert_allclose(out, expected, rtol=1e-6)
        del arguments["out"]


@every_loss
@pytest.mark.parametrize("mark", [0, 1, (255, 1)])
@pytest.mark.parametrize("dtype", [bool, np.int8, np.float32])
def test_a_target_cannot_be_the_mark(name, mark, dtype):
    wrong = mark if np.ndim(mark) == 0 else mark[-1]
    message = f"ignore_index = {wrong} cannot mark missing labels: in dense targets {wrong} is"
    with pytest.raises(ValueError, match=message):
        family.public(name)(np.full((2, 3), 0.5), np.ones((2, 3), dtype), ignore_index=mark)


def test_bool_targets_are_all_there(backend):
    loss = fx.sigmoid_cross_entropy(np.zeros((2, 3)), np.ones((2, 3), bool), ignore_index=255)
    np.testing.assert_allclose(loss, 3 * LOG2)


NEARLY = [(np.float32, np.nextafter(np.float32(-100), np.float32(0)), -100)]
NEARLY += [(np.float64, -100.000001, -100)]
NEARLY += [(np.int64, 2**53 + 1, 2**53), (np.uint64, 2**64 - 100, -100), (np.uint8, 156, -100)]
NEARLY += [(np.float32, NAN, -100), (np.float16, -np.inf, -100), (np.int8, -100, ())]


@pytest.mark.parametrize(("dtype", "value", "mark"), NEARLY)
def test_marks_are_exact(dtype, value, mark, backend):
    targets = np.zeros((20, 30), dtype)
    targets[3, 4] = value
    for options in ({}, {"out": np.empty((20, 30), np.float32), "reduction": "none"}):
        with pytest.raises(ValueError, match=r"^targets\[3, 4\] = .* is outside \[0, 1\]"):
            fx.sigmoid_cross_entropy(
                np.zeros((20, 30), np.float32), targets, ignore_index=mark, **options
            )


def test_what_else_would_be_valid_is_said():
    message = r"^targets\[1\] = 9.0 is outside \[0, 1\], and is no ignore_index \(255, -1\)$"
    with pytest.raises(ValueError, match=message):
        fx.sigmoid_cross_entropy(np.zeros(2), [0.5, 9], axis=None, ignore_index=(255, -1))


# --- softmaxes need the labels of all classes -----------------------------------------------------
@every_softmax
@pytest.mark.parametrize("axis", [-1, 0])
@pytest.mark.parametrize("names", [[], ["out"], ["out", "grad_out"], ["grad_out"]])
def test_softmaxes_refuse_some_labels(name, names, axis, backend):
    """The first missing label of the first such anchor is named, and nothing is written."""
    anchors, classes = 3000, 20
    rng = np.random.default_rng(0)
    targets = np.eye(classes, dtype=np.float32)[rng.integers(0, classes, anchors)]
    targets[::7] = MISSING  # these are ignored
    targets[2001, 3:5] = targets[2900] = targets[2900, 0] = 255
    targets[2900, 7] = 0
    targets = np.moveaxis(targets, -1, axis)
    arrays = {
        "out": np.full(anchors, 7, np.float32),
        "grad_out": np.full(targets.shape, 7, np.float32),
    }
    options = {name: arrays[name] for name in names}
    if "grad_out" in names:
        options["return_grad"] = True
    place = "2001, 3" if axis == -1 else "3, 2001"
    values = np.full(targets.shape, 0.5, np.float32)
    for reduction in ("anchor", "mean", "sum")[: 3 if "out" not in names else 1]:
        with pytest.raises(ValueError, match=rf"^targets\[{place}\] = 255.0 is an ignore_index"):
            family.public(name)(
                values,
                targets,
                axis=axis,
                ignore_index=(MISSING, 255),
                reduction=reduction,
                **options,
            )
    for array in arrays.values():
        assert (array == 7).all()


def test_one_anchor_of_a_softmax(backend):
    values = np.array([1.0, 2, 3])
    assert fx.softmax_cross_entropy(np.full(3, NAN), [-1.0, -1, -1], ignore_index=-1) == 0
    with pytest.raises(ValueError, match=r"^targets\[1\] = -1.0 is an ignore_index, but other"):
        fx.softmax_cross_entropy(values, [0, -1.0, 1], ignore_index=-1)
