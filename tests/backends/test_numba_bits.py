"""Backend "numba" gives the very bits of backend "native": the same formulas, lanes and blocks.

Native's baseline kernels have no fused multiply-add; there the bits differ.
"""

import ml_dtypes
import numpy as np
import pytest
from support import family

import fastxent as fx
from fastxent import native

pytest.importorskip("numba")
pytestmark = pytest.mark.skipif(
    native.get_isa() == "baseline", reason="the native kernels have no fused multiply-add"
)

# Around every switch between kernels: single, few, vectors, rows, products of 112 factors, pieces.
CLASSES = [2, 3, 5, 21, 33, 113, 1100]
SPECIAL = [np.inf, -np.inf, np.nan, 1e30, -1e30, 300.0]


def assert_same_bits(compute):
    """Compute on both backends, and compare bit by bit; all NaN are alike."""
    results = []
    for backend in ("native", "numba"):
        with fx.backend(backend):
            result = compute()
        results.append(result if isinstance(result, tuple) else (result,))
    for pair in zip(*results, strict=True):
        ours, theirs = map(np.asarray, pair)
        assert ours.dtype == theirs.dtype
        different = ours.view(f"u{ours.itemsize}") != theirs.view(f"u{theirs.itemsize}")
        different &= ~(np.isnan(ours) & np.isnan(theirs))
        assert not different.any(), (np.argwhere(different)[:3], ours[different], theirs[different])


def options_of(name):
    """Return the arguments that lead to other kernels, or to other parts of them."""
    yield {}
    yield {"reduction": "mean", "return_grad": True}
    yield {"reduction": "sum", "class_weight": True, "return_grad": True, "grad_output": 0.7}
    if name in family.PER_CLASS:
        yield {"reduction": "none", "weight": "logits", "return_grad": True}
    if name.endswith("cross_entropy") and name != "poly1_cross_entropy":
        yield {"label_smoothing": 0.1, "weight": "anchors", "return_grad": True}
    if name in family.PROBABILITY_LOSSES:
        yield {"eps": 1e-40, "return_grad": True}
    if "focal" in name and name != "distribution_focal_loss":
        yield {"gamma": 1.3, "return_grad": True}
    if name == "asymmetric_loss":
        yield {"gamma_neg": 2, "clip": 0, "return_grad": True}
    if name == "distribution_focal_loss":
        yield {"return_expectation": True, "return_grad": True}


def filled_in(options, name, rng, values, anchors, classes):
    options = dict(options)
    if name == "distribution_focal_loss":
        options.pop("class_weight", None)
    if options.get("class_weight"):
        options["class_weight"] = rng.uniform(0, 2, classes)
    if "gamma" in options and name == "quality_focal_loss":
        options["beta"] = options.pop("gamma")
    if options.get("weight") == "logits":
        options["weight"] = rng.uniform(0, 2, values.shape)
    elif options.get("weight") == "anchors":
        options["weight"] = rng.uniform(0, 2, anchors)
    return options


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("axis", [-1, 0])
@pytest.mark.parametrize("name", family.LOSSES)
def test_losses(name, axis, dtype):
    rng = np.random.default_rng(len(name))
    for classes in CLASSES:
        shape = (77, classes) if axis == -1 else (classes, 77)
        values = family.values_for(name, rng, shape, dtype)
        targets = [family.targets_for(name, rng, values, axis)]
        if name in family.WITH_DENSE:
            targets.append(family.targets_for(name, rng, values, axis, dense=True))
        for options in options_of(name):
            arguments = filled_in(options, name, rng, values, 77, classes)
            for given in targets:
                assert_same_bits(
                    lambda v=values, t=given, a=arguments: family.public(name)(
                        v, *t, axis=axis, **a
                    )
                )


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", family.LOGIT_LOSSES)
def test_limits(name, dtype):
    """Anchors that are repaired in scalar double."""
    rng = np.random.default_rng(0)
    for classes in (3, 40):
        values = family.values_for(name, rng, (50, classes), dtype)
        values[::3, 1] = np.resize(SPECIAL, len(values[::3]))
        targets = family.targets_for(name, rng, values)
        assert_same_bits(lambda v=values, t=targets: family.public(name)(v, *t, return_grad=True))


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float32, np.float64])
@pytest.mark.parametrize("classes", [3, 16, 40, 300])
def test_probabilities_of_labels(classes, dtype):
    """Clipped and undefined ones, ignored anchors; rows with a gap; wherever the label is."""
    rng = np.random.default_rng(classes)
    probs = rng.random((154, classes)).astype(dtype)
    labels = np.resize(np.arange(classes), 154)
    probs[::7, 1] = np.resize([np.inf, -5e-7, np.nan, 0], len(probs[::7]))
    probs[::11] = np.eye(classes, dtype=dtype)[labels[::11]]
    probs[5], labels[6::13] = 0, -100
    for given, chosen in ((probs, labels), (probs[::2], labels[::2])):
        for values, axis in ((given, 1), (given.T.copy(), 0)):
            for return_grad in (False, True):
                assert_same_bits(
                    lambda p=values, y=chosen, a=axis, g=return_grad: fx.categorical_cross_entropy(
                        p, y, axis=a, return_grad=g
                    )
                )


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float32, np.float64])
@pytest.mark.parametrize("name", family.PROBABILITY_LOSSES)
def test_tiny_probabilities(name, dtype):
    """Clipped, subnormal or below all numbers when they are divided by their sum."""
    rng = np.random.default_rng(0)
    for classes in (3, 40):
        probs = np.exp(rng.uniform(-750 if dtype == np.float64 else -103, 0, (77, classes)))
        probs[::7, 0], probs[::11, 1] = 1, 0
        if name == "categorical_cross_entropy":
            probs[::5] *= 1e30
        probs = probs.astype(dtype)
        for targets in (rng.integers(0, classes, 77), rng.integers(0, 9, probs.shape) / 8):
            for eps in (1e-30, 1e-40, 1e-60, 1e-310):
                for smoothing in (0, 0.1):
                    assert_same_bits(
                        lambda p=probs, y=targets, e=eps, s=smoothing: family.public(name)(
                            p, y, eps=e, label_smoothing=s, return_grad=True
                        )
                    )


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("classes", [3, 4, 21, 40])
def test_sums_out_of_range(classes, dtype):
    """Vectors of anchors whose sums start again from their maxima; ignored anchors among them."""
    rng = np.random.default_rng(classes)
    for anchors in (16, 77):
        logits = rng.normal(0, 9, (anchors, classes)).astype(dtype)
        labels = rng.integers(0, classes, anchors)
        logits[3, (labels[3] + 1) % classes] += 2000
        logits[5] -= 1e5  # far, and in range
        logits[-1, -1], labels[-1] = 3000, -100
        in_front = logits.T.copy()
        for options in ({}, {"return_grad": True}):
            for given, axis in ((logits, 1), (in_front, 0)):
                assert_same_bits(
                    lambda z=given, y=labels, a=axis, o=options: fx.softmax_cross_entropy(
                        z, y, axis=a, **o
                    )
                )


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int32", "int64", "float16", "float64"])
def test_dense_targets_of_other_types(dtype):
    """Converted by rows, wherever they lie; packed, where classes are few."""
    rng = np.random.default_rng(0)
    for classes in (5, 45):
        logits = rng.normal(0, 4, (77, classes)).astype(np.float32)
        targets = (rng.random((154, classes)) < 0.2).astype(dtype)
        for given in (targets[:77], targets[::2]):
            assert_same_bits(
                lambda z=logits, y=given: fx.sigmoid_cross_entropy(z, y, return_grad=True)
            )


@pytest.mark.exhaustive
@pytest.mark.parametrize("half", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("name", family.LOSSES)
def test_halves(name, half):
    rng = np.random.default_rng(0)
    for shape, axis in (((70, 45), -1), ((70, 7), -1), ((7, 70), 0)):
        values = family.values_for(name, rng, shape).astype(half)
        targets = family.targets_for(name, rng, values, axis)
        assert_same_bits(
            lambda v=values, t=targets, a=axis: family.public(name)(v, *t, axis=a, return_grad=True)
        )


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", ["sigmoid_cross_entropy", "softmax_cross_entropy"])
def test_rows_around_a_chunk(name, dtype):
    """Rows that are packed by 16 bytes: fewer, and one more; fewer rows than lanes; gaps."""
    rng = np.random.default_rng(0)
    for classes in (2, 3, 4, 5, 7, 8, 9, 15, 21):
        for anchors in (5, 77):
            values = rng.normal(0, 4, (2 * anchors, classes)).astype(dtype)
            targets = rng.integers(0, classes, anchors)
            for given in (values[:anchors], values[::2]):
                assert_same_bits(
                    lambda z=given, y=targets: getattr(fx, name)(z, y, reduction="none")
                )


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_scores_of_classes(name, dtype):
    rng = np.random.default_rng(0)
    for classes in CLASSES:
        logits = rng.normal(0, 9, (77, classes)).astype(dtype)
        logits[::5, 1] = np.resize([np.inf, -np.inf, np.nan, 300], len(logits[::5]))
        assert_same_bits(lambda z=logits: getattr(fx, name)(z))
        assert_same_bits(lambda z=logits.T: getattr(fx, name)(z, axis=0))
        assert_same_bits(lambda z=logits[::2]: getattr(fx, name)(z))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", ["sigmoid", "log_sigmoid", "softplus", "logit", "odds"])
def test_scores_of_values(name, dtype):
    """All bit patterns of every seventh float16; a spread of the others."""
    bits = np.arange(0, 1 << 16, 7, dtype=np.uint16)
    with np.errstate(invalid="ignore"):  # signalling NaN
        values = bits.view(np.float16).astype(dtype)
    if name in ("logit", "odds"):
        values = np.concatenate([values, np.random.default_rng(0).uniform(0, 1, 999).astype(dtype)])
    assert_same_bits(lambda: getattr(fx, name)(values))
    assert_same_bits(lambda: getattr(fx, name)(values[::3]))


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "sigmoid"])
def test_in_place(name):
    rng = np.random.default_rng(0)
    for shape, axis in (((40, 70), -1), ((5, 70), 0), ((37, 3), -1)):
        logits = rng.normal(0, 3, shape).astype(np.float32)
        logits.flat[::11] = -np.inf
        logits.flat[::13] = np.inf
        arguments = {} if name == "sigmoid" else {"axis": axis}
        expected = getattr(fx, name)(logits, backend="native", **arguments)
        result = getattr(fx, name)(logits, out=logits, backend="numba", **arguments)
        assert result is logits
        np.testing.assert_array_equal(result.view(np.int32), expected.view(np.int32))


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_totals_do_not_depend_on_threads(reduction):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (30_000, 21)).astype(np.float32)
    labels = rng.integers(0, 22, 30_000)
    arguments = (
        {"reduction": reduction, "normalizer": "positive"}
        if reduction == "mean"
        else {"reduction": reduction}
    )
    results = {
        fx.sigmoid_focal_loss(logits, labels, num_threads=threads, backend=backend, **arguments)
        for threads in (1, 2, 3, 64)
        for backend in ("native", "numba")
    }
    assert len(results) == 1
