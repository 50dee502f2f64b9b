"""How accurate costs are: mpmath, and finite for all finite logits."""

from functools import cache

import ml_dtypes
import mpmath
import numpy as np
import pytest
from support.costs import KINDS, head, options_of
from support.oracles import assert_accurate, dtype_named, exact_softplus

import fastxent as fx

INF, NAN = np.inf, np.nan
#: What is promised, in units of 2^-23; of "focal" 3 + gamma, relative to the larger of its terms.
ULPS = 4


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
def exact_losses(z, objectness):
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
    losses = [exact_losses(float(value), float(objectness)) for value in z]
    return mpmath.fsum(pair[c != label] for c, pair in enumerate(losses))


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
