"""Custom losses as they are compiled for CPUs without AVX-512, where exponents are put together."""

import os
import platform
import subprocess
import sys

import pytest

pytest.importorskip("numba")
pytestmark = pytest.mark.skipif(
    platform.machine() not in {"x86_64", "AMD64"}, reason="names features of x86"
)

PROGRAM = """
import numpy as np, fastxent as fx
from fastxent import math

@fx.custom_loss
def everything(logit, target, g):
    return math.where(target == 1, math.exp(logit) + math.expm1(logit), 0) + (
        math.log1p(logit * logit) + math.tanh(logit) + math.softplus(logit) ** g
    )

for dtype, highest in ((np.float32, 88), (np.float64, 708)):
    logits = np.linspace(-highest, highest, 331).astype(dtype)
    for target in (0, 1):
        for g in (2.0, 2.5):
            targets = np.full(logits.shape, target)
            loss, grad = everything(logits, targets, g=g, axis=None, return_grad=True)
            z = logits.astype(float)
            np.testing.assert_allclose(loss, everything.__wrapped__(z, target, g), 1e-5, 1e-6)
            p = math.sigmoid(z)
            slope = 2 * np.exp(z) * target + 2 * z / (1 + z * z) + 1 - np.tanh(z) ** 2
            slope += g * math.softplus(z) ** (g - 1) * p
            np.testing.assert_allclose(grad, slope, 1e-5, 1e-6)
print(fx.numba.simd.vector.has_feature("avx512f"))
"""


@pytest.mark.exhaustive
def test_without_avx512(tmp_path):
    chosen = {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+popcnt",
        "NUMBA_CACHE_DIR": str(tmp_path),
    }
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        env={**os.environ, **chosen},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.stdout == "False\n", run.stderr
