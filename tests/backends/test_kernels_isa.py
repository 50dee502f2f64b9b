"""The builds of the kernels for different instruction sets give the same bits.

AVX2 works on the same 16 (double: 8) virtual lanes as AVX-512, with the same fused multiply-adds.
So does NEON, which `.ci/aarch64` compares with AVX2. The baseline has no such instruction; its own
accuracy is tested with that of the others.
"""

import platform

import numpy as np
import pytest

import fastxent as fx
from fastxent import native

FUSED = [isa for isa in native.available_isas() if isa != "baseline"]
several = pytest.mark.skipif(len(FUSED) < 2, reason="this CPU has one instruction set with fma")

# Around every switch between kernels: vectors, rows, products of 112 factors, rows of 1024.
CLASSES = [2, 7, 16, 31, 32, 33, 80, 112, 113, 257, 1024, 1025, 2100]


def bits_on_every_isa(compute, isa_setter):
    results = []
    for isa in FUSED:
        isa_setter(isa)
        result = compute()
        results.append(result.view(np.uint8).tobytes())
    return results


@pytest.fixture
def isa_setter():
    before = native.get_isa()
    yield native.set_isa
    native.set_isa(before)


@pytest.mark.skipif(platform.machine() not in {"aarch64", "arm64"}, reason="another processor")
def test_every_arm_processor_of_64_bits_has_neon():
    assert native.available_isas() == ("neon", "baseline")


@several
@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("spread", [1.0, 30.0, 1000.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("loss", [fx.sigmoid_cross_entropy, fx.softmax_cross_entropy])
def test_losses(loss, order, dtype, spread, classes, isa_setter):
    rng = np.random.default_rng(classes)
    logits = np.array(rng.normal(0, spread, (67, classes)), dtype, order=order)
    labels = rng.integers(0, classes, 67)
    weights = rng.uniform(0, 2, classes)
    dense = rng.uniform(0, 1, (67, classes)).astype(dtype)
    for arguments in ({}, {"class_weight": weights, "label_smoothing": 0.1}):
        for targets in (labels, dense):
            bits = bits_on_every_isa(
                lambda t=targets, a=arguments: loss(logits, t, **a), isa_setter
            )
            assert len(set(bits)) == 1


@several
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "score",
    [fx.sigmoid, fx.log_sigmoid, fx.softplus, fx.softmax, fx.log_softmax, fx.logsumexp],
)
def test_scores(score, dtype, isa_setter):
    logits = np.random.default_rng(0).normal(0, 20, (501, 21)).astype(dtype)
    assert len(set(bits_on_every_isa(lambda: score(logits), isa_setter))) == 1


@several
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("score", [fx.logit, fx.odds])
def test_links(score, dtype, isa_setter):
    probs = np.random.default_rng(0).uniform(0, 1, 4099).astype(dtype)
    assert len(set(bits_on_every_isa(lambda: score(probs), isa_setter))) == 1
