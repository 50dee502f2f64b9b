"""What a match costs: mpmath, the code of DETR's matchers, and images of their own."""

import doctest
from functools import cache

import ml_dtypes
import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from support.oracles import assert_accurate, exact_softplus

import fastxent as fx
from fastxent import matching, native

INF, NAN = np.inf, np.nan
KINDS = ("focal", "softmax", "sigmoid", "simota")
#: What is promised, in units of 2^-23; of "focal" 3 + gamma, relative to the larger of its terms.
ULPS = 4


def options_of(kind, logits, axis=-1):
    """Return the arguments that a kind needs, with an objectness for each query."""
    if kind != "simota":
        return {"kind": kind}
    shape = np.delete(logits.shape, axis)
    objectness = np.linspace(-3, 5, int(np.prod(shape))).reshape(shape)
    return {"kind": kind, "objectness": objectness.astype(logits.dtype)}


def head(images=3, queries=70, classes=9, dtype=np.float32, seed=0, scale=4.0):
    rng = np.random.default_rng(seed)
    logits = (scale * rng.normal(size=(images, queries, classes))).astype(dtype)
    labels = [rng.integers(0, classes, count) for count in (5, 0, 17, 1, 30)[:images]]
    return logits, labels


def test_examples(backend):
    results = doctest.testmod(matching)
    assert (results.failed, results.attempted > 0) == (0, True)


# --- exact ----------------------------------------------------------------------------------------

mpf = mpmath.mpf


def exact_focal(z, alpha=0.25, gamma=2.0):
    """Return a cost, and the larger of its two terms."""
    z, gamma = mpf(float(z)), mpf(gamma)
    p, q = 1 / (1 + mpmath.exp(-z)), 1 / (1 + mpmath.exp(z))
    weights = (1, 1) if alpha is None else (mpf(alpha), 1 - mpf(alpha))
    positive = weights[0] * q**gamma * exact_softplus(-z)
    negative = weights[1] * p**gamma * exact_softplus(z)
    return positive - negative, max(positive, negative)


@cache
def exact_surprises(z, objectness):
    """Return -log(q) and -log(1 - q) of q = sqrt(p o)."""
    size = max(abs(z), abs(objectness))
    if size <= 2000:
        with mpmath.workdps(60 + int(size / 2)):
            q = 1 / mpmath.sqrt((1 + mpmath.exp(-mpf(z))) * (1 + mpmath.exp(-mpf(objectness))))
            return -mpmath.log(q), -mpmath.log(1 - q)
    # 1 - q would take tens of thousands of digits: (1 - p o) / (1 + q).
    a, b = mpmath.exp(-mpf(z)), mpmath.exp(-mpf(objectness))
    product = (1 + a) * (1 + b)
    q = 1 / mpmath.sqrt(product)
    return -mpmath.log(q), mpmath.log1p(q) - mpmath.log1p(-1 / product) if q < 0.5 else (
        mpmath.log1p(q) - mpmath.log((a + b + a * b) / product)
    )


def exact_simota(z, objectness, label):
    """Return the sum of the cross-entropies of sqrt(p o) and a one-hot target."""
    surprises = [exact_surprises(float(value), float(objectness)) for value in z]
    return mpmath.fsum(pair[c != label] for c, pair in enumerate(surprises))


#: From where everything is flat to where exponentials overflow, in every dtype.
EXTREMES = [
    0.0,
    -0.0,
    1e-8,
    1e-4,
    0.3,
    1,
    3,
    8,
    11.5,
    16,
    17,
    18,
    30,
    60,
    87,
    88,
    89,
    103,
    104,
    110,
]
EXTREMES += [200, 700, 710, 745, 2e3, 1e4, 6.5e4]
EXTREMES = sorted({sign * value for value in EXTREMES for sign in (1, -1)})


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (None, 2.0), (0.5, 0.0), (0.25, 1.5)])
def test_focal_is_exact(dtype, alpha, gamma, engine):
    logits = np.array(EXTREMES).astype(dtype_named(dtype))[:, None]
    costs = fx.class_cost(logits, [0], batch_ndim=0, alpha=alpha, gamma=gamma)[:, 0]
    assert np.isfinite(costs).all()
    with mpmath.workdps(80):
        exact = [exact_focal(z, alpha, gamma) for z in logits[:, 0]]
        units = 2.0**-52 if dtype == "float64" else 2.0**-23
        for z, cost, (value, scale) in zip(logits[:, 0], costs, exact, strict=True):
            error = abs(mpf(float(cost)) - value)
            assert error <= (3 + gamma) * units * scale + 1e-42, (z, cost, value)


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (None, 0.5), (0.9, 5.0), (0.5, 1.0)])
def test_focal_is_accurate(alpha, gamma, engine):
    """Tens of thousands of logits, in float64 as a textbook has it."""
    rng = np.random.default_rng(8)
    z = np.concatenate([rng.normal(0, 4, 30000), rng.uniform(-100, 100, 10000)])
    z = z.astype(np.float32).astype(np.float64)
    weights = (1, 1) if alpha is None else (alpha, 1 - alpha)
    positive = weights[0] / (1 + np.exp(z)) ** gamma * np.logaddexp(0, -z)
    negative = weights[1] / (1 + np.exp(-z)) ** gamma * np.logaddexp(0, z)
    logits = z[:, None].astype(np.float32)
    costs = fx.class_cost(logits, [0], batch_ndim=0, alpha=alpha, gamma=gamma)[:, 0]
    error = np.abs(costs - (positive - negative)) - 1e-42
    assert (error <= (3 + gamma) * 2.0**-23 * np.maximum(positive, negative)).all()


@pytest.mark.parametrize(("scale", "classes"), [(3, 4), (10, 80), (60, 80), (5, 1203)])
def test_simota_is_accurate(scale, classes, engine):
    """In float64, as a sum of the other classes' terms, where 1 - q has digits enough."""
    rng = np.random.default_rng(9)
    z = np.minimum(rng.normal(0, scale, (2000, classes)), 12).astype(np.float32)
    o = np.minimum(rng.normal(0, scale, 2000), 12).astype(np.float32)
    costs = fx.class_cost(z, [0, 1, 2], batch_ndim=0, kind="simota", objectness=o)
    p, q = 1 / (1 + np.exp(-z.astype(np.float64))), 1 / (1 + np.exp(-o.astype(np.float64)))
    q = np.sqrt(p * q[:, None])
    others = -np.log1p(-q)
    for label in range(3):
        exact = np.delete(others, label, axis=1).sum(axis=1) - np.log(q[:, label])
        assert (np.abs(costs[:, label] - exact) <= ULPS * 2.0**-23 * exact).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_simota_is_exact(dtype, engine):
    """Each class alone dominates, or is drowned by, another one."""
    rng = np.random.default_rng(1)
    logits = rng.choice(EXTREMES, (100, 4)).astype(dtype_named(dtype))
    objectness = rng.choice(EXTREMES, 100).astype(dtype_named(dtype))
    costs = fx.class_cost(logits, [0, 1, 2, 3], batch_ndim=0, kind="simota", objectness=objectness)
    assert np.isfinite(costs).all()
    with mpmath.workdps(60):
        exact = [
            [exact_simota(z, o, label) for label in range(4)]
            for z, o in zip(logits, objectness, strict=True)
        ]
    ulps = 2 * ULPS  # a unit in the last place is up to twice as small as 2^-23
    assert_accurate(costs, np.array(exact), ulps)


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_probabilities_are_those_of_the_scores(kind, dtype, engine):
    logits, labels = head(dtype=dtype_named(dtype), scale=30)
    scores = fx.softmax(logits) if kind == "softmax" else fx.sigmoid(logits)
    costs = fx.class_cost(logits, labels, kind=kind)
    for cost, p, classes in zip(costs, scores, labels, strict=True):
        assert cost.dtype == scores.dtype
        np.testing.assert_allclose(cost, -p[:, classes], rtol=1e-6, atol=1e-42)


def test_finite_up_to_the_largest_logits(engine):
    for dtype in (np.float16, ml_dtypes.bfloat16, np.float32, np.float64):
        largest = float(ml_dtypes.finfo(dtype).max)
        values = np.array([-largest, -largest / 4, -1, 0, 1, largest / 4, largest]).astype(dtype)
        logits = np.array(np.meshgrid(values, values, indexing="ij")).reshape(2, -1).T
        for kind in KINDS:
            options = options_of(kind, logits)
            if kind == "simota":
                options["objectness"] = np.resize(values[::-1], len(logits))
            costs = fx.class_cost(logits, [0, 1], batch_ndim=0, **options)
            assert not np.isnan(costs).any()
            # Of "simota" the sum of two largest numbers overflows.
            assert (np.abs(costs) < INF).all() or kind == "simota", kind
            if dtype == np.float16:
                assert np.isfinite(costs).all()


# --- as matchers write it -------------------------------------------------------------------------


def test_form_of_deformable_detr(engine):
    """All queries against all ground truths of the batch, and then its own for each image."""
    torch = pytest.importorskip("torch")
    logits, labels = head(4, 60, 20)
    all_labels = torch.as_tensor(np.concatenate(labels))
    p = torch.tensor(logits).flatten(0, 1).sigmoid()
    negative = 0.75 * p**2 * -(1 - p + 1e-8).log()
    positive = 0.25 * (1 - p) ** 2 * -(p + 1e-8).log()
    combined = (positive[:, all_labels] - negative[:, all_labels]).view(4, 60, -1)
    theirs = [c[i] for i, c in enumerate(combined.split([len(y) for y in labels], -1))]
    for ours, cost, z, classes in zip(
        fx.class_cost(logits, labels), theirs, logits, labels, strict=True
    ):
        is_near = np.abs(z[:, classes]) < 11.5
        assert np.abs(ours - cost.numpy())[is_near].max(initial=0) < 3e-3


def test_form_with_logsigmoid(engine):
    torch = pytest.importorskip("torch")
    logits, labels = head(4, 60, 20, scale=8)
    for cost, z, classes in zip(fx.class_cost(logits, labels), logits, labels, strict=True):
        own = torch.tensor(z[:, classes])
        p, log_p, log_q = own.sigmoid(), *(torch.nn.functional.logsigmoid(x) for x in (own, -own))
        expected = 0.25 * (1 - p) ** 2 * -log_p - 0.75 * p**2 * -log_q
        np.testing.assert_allclose(cost, expected.numpy(), rtol=2e-6, atol=5e-7)


def test_form_of_detr(engine):
    torch = pytest.importorskip("torch")
    logits, labels = head(4, 60, 21)
    p = torch.tensor(logits).flatten(0, 1).softmax(-1)
    combined = -p[:, torch.as_tensor(np.concatenate(labels))].view(4, 60, -1)
    theirs = combined.split([len(y) for y in labels], -1)
    for image, cost in enumerate(fx.class_cost(logits, labels, kind="softmax")):
        np.testing.assert_allclose(cost, theirs[image][image].numpy(), rtol=2e-6, atol=1e-7)


def test_form_of_simota(engine):
    """YOLOX and mmdetection: a cross-entropy of (T, A, C) one-hots and probabilities."""
    torch = pytest.importorskip("torch")
    logits, labels = head(1, 50, 12, scale=2)
    objectness = np.random.default_rng(2).normal(size=50).astype(np.float32)
    z, y = torch.tensor(logits[0]), torch.as_tensor(labels[0])
    one_hot = torch.nn.functional.one_hot(y, 12).float().unsqueeze(1).repeat(1, 50, 1)
    p = (z.sigmoid() * torch.tensor(objectness).sigmoid()[:, None]).sqrt()
    expected = torch.nn.functional.binary_cross_entropy(
        p.unsqueeze(0).repeat(len(y), 1, 1), one_hot, reduction="none"
    ).sum(-1)
    (cost,) = fx.class_cost(logits, labels, kind="simota", objectness=objectness[None])
    np.testing.assert_allclose(cost, expected.numpy().T, rtol=1e-5)


def test_half_precision_where_the_common_form_is_infeasible(engine):
    """In float16 1e-8 is zero, the logarithm of 0 infinite, and 0 times that NaN."""
    logits = np.float16([[-20, 20], [20, -20], [-18, -19]])
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        p = (1 / (1 + np.exp(-logits))).astype(np.float16)
        small = np.float16(1e-8)
        theirs = np.float16(0.25) * (1 - p) ** 2 * -np.log(p + small)
        theirs -= np.float16(0.75) * p**2 * -np.log(1 - p + small)
    with pytest.raises(ValueError, match=r"infeasible|invalid numeric entries"):
        linear_sum_assignment(theirs.astype(np.float64))
    costs = fx.class_cost(logits, [0, 1], batch_ndim=0)
    rows, columns = linear_sum_assignment(costs)
    assert dict(zip(rows.tolist(), columns.tolist(), strict=True)) == {0: 1, 1: 0}


# --- an image's own -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_images_alone_are_as_in_a_batch(kind, engine):
    logits, labels = head(5)
    options = options_of(kind, logits)
    costs = fx.class_cost(logits, labels, **options)
    assert isinstance(costs, list)
    assert [cost.shape for cost in costs] == [(70, len(y)) for y in labels]
    for image in range(5):
        own = {name: x[image] if name == "objectness" else x for name, x in options.items()}
        alone = fx.class_cost(logits[image], labels[image], batch_ndim=0, **own)
        np.testing.assert_array_equal(costs[image], alone)
    assert len({id(cost.base) for cost in costs}) == 1


def test_a_nan_or_an_infinity_stays_in_its_image(engine):
    logits, labels = head(5)
    before = fx.class_cost(logits, labels)
    logits[2], logits[0, 3] = NAN, INF
    for image, cost in enumerate(fx.class_cost(logits, labels)):
        if image in {1, 3, 4}:
            np.testing.assert_array_equal(cost, before[image])


@pytest.mark.parametrize("kind", KINDS)
def test_nan_in_nan_out_for_what_depends_on_it(kind, engine):
    logits, _ = head(1)
    logits[0, 4, 2] = NAN
    options = options_of(kind, logits)
    costs = fx.class_cost(logits[0], range(9), batch_ndim=0, **without_images(options))
    expected = np.zeros((70, 9), bool)
    expected[4, 2 if kind in {"focal", "sigmoid"} else slice(None)] = True
    np.testing.assert_array_equal(np.isnan(costs), expected)
    assert np.isfinite(np.nan_to_num(costs, nan=1e9)).all()
    if kind == "simota":
        options["objectness"][0, 7] = NAN
        costs = fx.class_cost(logits[0], range(9), batch_ndim=0, **without_images(options))
        np.testing.assert_array_equal(np.flatnonzero(np.isnan(costs).any(axis=1)), [4, 7])


def without_images(options):
    return {name: x[0] if name == "objectness" else x for name, x in options.items()}


def test_infinite_logits_follow_the_limit(engine):
    z = np.float32([[INF], [-INF]])
    np.testing.assert_array_equal(fx.class_cost(z, [0], batch_ndim=0)[:, 0], [-INF, INF])
    one_sided = fx.class_cost(z, [0], batch_ndim=0, alpha=1.0)[:, 0]
    np.testing.assert_array_equal(one_sided, [0, INF])
    costs = fx.class_cost(
        np.float32([[INF, INF, 0], [INF, 0, 0], [-INF, 0, 0], [-INF, 0, 0]]),
        [0, 1, 2],
        batch_ndim=0,
        kind="simota",
        objectness=np.float32([INF, INF, INF, -INF]),
    )
    at_zero = -np.log(1 - np.sqrt(0.5))
    rest = np.log(2) / 2
    expected = [
        [INF, INF, INF],
        [2 * at_zero, INF, INF],
        [INF, rest + at_zero, rest + at_zero],
        [INF, INF, INF],
    ]
    np.testing.assert_allclose(costs, expected, rtol=1e-6)


# --- layouts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_any_class_axis(kind, dtype, engine):
    rng = np.random.default_rng(3)
    logits = (3 * rng.normal(size=(2, 7, 5, 6))).astype(dtype_named(dtype))  # (B, C, H, W)
    labels = [[0, 6, 6], [3]]
    last = np.ascontiguousarray(np.moveaxis(logits, 1, -1))
    options = options_of(kind, last)
    expected = fx.class_cost(last.reshape(2, 30, 7), labels, **reshaped(options, (2, 30)))
    sliced = np.repeat(np.repeat(logits, 2, axis=2), 3, axis=3)[:, :, ::2, ::3]
    reversed_ = np.ascontiguousarray(logits[:, ::-1, ::-1])[:, ::-1, ::-1]
    for same in (logits, sliced, reversed_, np.asfortranarray(logits)):
        costs = fx.class_cost(same, labels, axis=1, **options)
        for cost, other in zip(costs, expected, strict=True):
            np.testing.assert_array_equal(cost, other)
    costs = fx.class_cost(np.moveaxis(logits, 1, 2), labels, axis=-2, **options)
    for cost, other in zip(costs, expected, strict=True):
        np.testing.assert_array_equal(cost, other)


def reshaped(options, shape):
    return {name: x.reshape(shape) if name == "objectness" else x for name, x in options.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_several_axes_of_images(kind, engine):
    logits, labels = head(4)
    expected = fx.class_cost(logits, labels, **options_of(kind, logits))
    split = logits.reshape(2, 2, 70, 9)
    costs = fx.class_cost(split, labels, batch_ndim=2, **options_of(kind, split))
    for cost, other in zip(costs, expected, strict=True):
        np.testing.assert_array_equal(cost, other)
    same = np.arange(12).reshape(2, 2, 3) % 9
    costs = fx.class_cost(split, same, batch_ndim=2, **options_of(kind, split))
    assert costs.shape == (2, 2, 70, 3)
    expected = fx.class_cost(logits, same.reshape(4, 3), **options_of(kind, logits))
    np.testing.assert_array_equal(costs.reshape(4, 70, 3), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_labels_as_lists(kind, engine):
    logits, _ = head(3)
    labels = np.array([[0, 8, 8], [1, 2, 3], [4, 4, 4]], np.uint8)
    costs = fx.class_cost(logits, labels, **options_of(kind, logits))
    assert costs.shape == (3, 70, 3)
    for same in (list(labels), tuple(labels.tolist()), list(labels.astype(np.int16))):
        others = fx.class_cost(logits, same, **options_of(kind, logits))
        for cost, other in zip(costs, others, strict=True):
            np.testing.assert_array_equal(cost, other)
    strided = fx.class_cost(
        logits, np.repeat(labels, 2, axis=1)[:, ::2], **options_of(kind, logits)
    )
    np.testing.assert_array_equal(costs, strided)


def test_nothing_to_match(engine):
    logits, _ = head(2)
    for empty in ([[], []], [np.zeros(0), np.zeros(0, np.float16)], ([], ())):
        assert [cost.shape for cost in fx.class_cost(logits, empty)] == [(70, 0), (70, 0)]
    for empty in (np.zeros((2, 0)), np.zeros((2, 0), int)):
        assert fx.class_cost(logits, empty).shape == (2, 70, 0)
    assert fx.class_cost(logits[0], [], batch_ndim=0).shape == (70, 0)
    assert fx.class_cost(logits[:0], []) == []
    assert fx.class_cost(logits[:0], np.zeros((0, 4), int)).shape == (0, 70, 4)
    (first, second) = fx.class_cost(logits[:, :0], [[1, 2], [3]])
    assert (first.shape, second.shape) == ((0, 2), (0, 1))


@given(
    seed=st.integers(0, 999),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 140), st.integers(1, 90)),
    kind=st.sampled_from(KINDS),
    threads=st.integers(1, 3),
    data=st.data(),
)
def test_any_shape(seed, shape, kind, threads, data, engine):
    rng = np.random.default_rng(seed)
    logits = (5 * rng.normal(size=shape)).astype(np.float32)
    counts = data.draw(st.lists(st.integers(0, 40), min_size=shape[0], max_size=shape[0]))
    labels = [rng.integers(0, shape[2], count) for count in counts]
    options = options_of(kind, logits)
    costs = fx.class_cost(logits, labels, num_threads=threads, **options)
    wide = {n: x.astype(np.float64) if n == "objectness" else x for n, x in options.items()}
    expected = fx.class_cost(logits.astype(np.float64), labels, backend="numpy", **wide)
    for cost, other in zip(costs, expected, strict=True):
        np.testing.assert_allclose(cost, other, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_the_same_bits_for_any_number_of_threads(kind, dtype, engine):
    logits, labels = head(5, 700, 40, dtype=dtype)
    options = options_of(kind, logits)
    first = fx.class_cost(logits, labels, num_threads=1, **options)
    for threads in (2, 3, 7):
        for cost, other in zip(
            first, fx.class_cost(logits, labels, num_threads=threads, **options), strict=True
        ):
            np.testing.assert_array_equal(cost.view(np.uint8), other.view(np.uint8))


def test_tensors(engine):
    """Of torch, bfloat16 too, with labels as a data loader has them."""
    torch = pytest.importorskip("torch")
    logits, labels = head(3)
    expected = fx.class_cost(logits.astype(ml_dtypes.bfloat16), labels)
    tensors = [torch.as_tensor(y, dtype=torch.int32) for y in labels]
    costs = fx.class_cost(torch.tensor(logits).bfloat16(), tensors)
    for cost, other in zip(costs, expected, strict=True):
        np.testing.assert_array_equal(cost, other)
    padded = torch.tensor([[0, 1], [2, 3], [4, 4]])
    np.testing.assert_array_equal(
        fx.class_cost(torch.tensor(logits), padded), fx.class_cost(logits, padded.numpy())
    )


def test_arguments_are_left_alone(engine):
    logits, labels = head(3)
    before = logits.copy()
    logits.flags.writeable = False
    for array in labels:
        array.flags.writeable = False
    for kind in KINDS:
        fx.class_cost(logits, labels, **options_of(kind, logits))
    np.testing.assert_array_equal(logits, before)


# --- errors ---------------------------------------------------------------------------------------

LOGITS = np.zeros((2, 3, 4), np.float32)
OBJECTNESS = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": [[0, 4], [1]]}, r"labels\[0\]\[1\] = 4 is not a class label: expected 0\.\.3$"),
        ({"labels": [[0], [], [1]]}, "labels has 3 sequences, but logits has 2 images$"),
        ({"labels": [[0], [1, 2, -1]]}, r"labels\[1\]\[2\] = -1 is not a class label"),
        (
            {"labels": [[], np.uint64([2**64 - 1])]},
            r"labels\[1\]\[0\] = 18446744073709551615 is not",
        ),
        ({"labels": [0, 1]}, r"labels\[0\] has shape \(\), expected one axis; batch_ndim=0 is for"),
        ({"labels": [[[0]], [[1]]]}, r"labels\[0\] has shape \(1, 1\), expected one axis$"),
        ({"labels": np.array([[0, 1], [2, 9]])}, r"labels\[1, 1\] = 9 is not a class label"),
        (
            {"labels": np.array([0, 1])},
            r"labels has shape \(2,\), expected \(2, T\), or a list of one sequence for each image",
        ),
        ({"labels": np.zeros((3, 1), int)}, r"labels has shape \(3, 1\), expected \(2, T\)"),
        ({"kind": "giou"}, "kind = 'giou' is not one of 'focal', 'softmax', 'sigmoid', 'simota'"),
        ({"kind": "simota"}, "objectness is missing: kind='simota' needs its logits"),
        ({"objectness": OBJECTNESS}, "objectness is for kind='simota', not for 'focal'"),
        (
            {"kind": "simota", "objectness": OBJECTNESS[0]},
            r"objectness has shape \(3,\), expected \(2, 3\), that of logits without the class",
        ),
        ({"kind": "softmax", "alpha": 0.5}, "alpha is for kind='focal', not for 'softmax'"),
        ({"kind": "sigmoid", "alpha": None}, "alpha is for kind='focal', not for 'sigmoid'"),
        ({"kind": "sigmoid", "gamma": 1}, "gamma is for kind='focal', not for 'sigmoid'"),
        ({"alpha": 1.5}, r"alpha = 1.5 is outside \[0, 1\]"),
        ({"alpha": NAN}, r"alpha = nan is outside \[0, 1\]"),
        ({"gamma": -1}, "gamma = -1.0 is negative or not finite"),
        ({"gamma": INF}, "gamma = inf is negative or not finite"),
        ({"axis": 3}, "axis 3 is out of range for logits with 3 dimensions"),
        ({"axis": 0}, "axis 0 of logits with batch_ndim=1 is one of images, not of classes"),
        ({"batch_ndim": -1}, "batch_ndim = -1 is negative"),
        (
            {"logits": LOGITS[0]},
            (
                r"logits has shape \(3, 4\), of which batch_ndim=1 leaves no axis for the queries: "
                r"pass batch_ndim=0 for a single image, or logits\[None\]$"
            ),
        ),
        (
            {"batch_ndim": 2},
            r"logits has shape \(2, 3, 4\), of which batch_ndim=2 leaves .*: pass batch_ndim=1$",
        ),
        (
            {"logits": LOGITS[0, 0], "batch_ndim": 0},
            r"logits has shape \(4,\), of which batch_ndim=0 leaves .*: expected \(images, queries",
        ),
        ({"logits": LOGITS[..., :0]}, r"logits has shape \(2, 3, 0\): no classes on axis 2"),
    ],
)
def test_errors(options, message, engine):
    with pytest.raises(ValueError, match=f"^{message}"):
        fx.class_cost(**{"logits": LOGITS, "labels": [[0], [1]], **options})


def test_nothing_is_computed_before_an_error(monkeypatch):
    monkeypatch.setattr(native, "evaluate_cost", None)
    for labels in ([[0, 1], [2, 4]], np.array([[0], [-1]]), [[0], [1.5]]):
        with pytest.raises((TypeError, ValueError), match=r"^labels\[?.* class labels? ?"):
            fx.class_cost(LOGITS, labels, backend="native")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[0.0], [1]], r"labels\[0\] has dtype float64, but class labels are integers"),
        ([[1], [True]], r"labels\[1\] has dtype bool, but class labels are integers"),
        (np.zeros((2, 1)), "labels has dtype float64, but class labels are integers"),
        ([[0], None], r"labels\[1\] has dtype object"),
    ],
)
def test_labels_are_integers(labels, message, engine):
    with pytest.raises(TypeError, match=f"^{message}"):
        fx.class_cost(LOGITS, labels)


def dtype_named(name):
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
