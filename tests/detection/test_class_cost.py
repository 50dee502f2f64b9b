"""What a match costs: the code of DETR's matchers, and images of their own."""

import doctest

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from support.costs import KINDS, head, options_of
from support.oracles import dtype_named

import fastxent as fx
from fastxent import matching

INF, NAN = np.inf, np.nan


def test_examples(backend):
    results = doctest.testmod(matching)
    assert (results.failed, results.attempted > 0) == (0, True)


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
    one_sided = fx.class_cost(z, [0], batch_ndim=0, alpha=0.0)[:, 0]
    np.testing.assert_array_equal(one_sided, [-INF, 0])
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
