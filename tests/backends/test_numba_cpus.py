"""Backend "numba" compiles for the CPU at hand: for lesser ones, it gives the same bits.

What takes an instruction of AVX-512 or F16C is written in others there.
"""

import os
import platform
import subprocess
import sys

import pytest

from fastxent import native

pytest.importorskip("numba")
pytestmark = pytest.mark.skipif(
    platform.machine() not in {"x86_64", "AMD64"} or native.get_isa() == "baseline",
    reason="compares with native kernels that have a fused multiply-add",
)

CPUS = {
    "haswell": "+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+popcnt",
    "x86-64": "+sse2",
}
PROGRAM = """
import ml_dtypes
import numpy as np, fastxent as fx
bits = np.arange(0, 1 << 16, 3, dtype=np.uint16)
values = bits[: len(bits) // 47 * 47].reshape(-1, 47)
labels = np.arange(len(values)) % 47
halves = [lambda z: fx.sigmoid_cross_entropy(z, labels, return_grad=True)]
calls = {
    "float16": halves,
    "bfloat16": halves,
    "float32": [lambda z: fx.softmax(z)],
    "float64": [
        lambda z: fx.logit(z),
        lambda z: fx.varifocal_loss(z[:, :5], labels % 5, gamma=1.5),
    ],
}
for dtype in calls:
    with np.errstate(all="ignore"):
        logits = values.view(np.float16).astype(dtype) if dtype[-2:] != "16" else values.view(dtype)
    for call in calls[dtype]:
        results = []
        for backend in ("native", "numba"):
            with fx.backend(backend):
                result = call(logits)
                results.append(result if isinstance(result, tuple) else (result,))
        for ours, theirs in zip(*results):
            kind = f"u{ours.itemsize}"
            same = (ours.view(kind) == theirs.view(kind)) | (np.isnan(ours) & np.isnan(theirs))
            assert same.all(), (dtype, np.argwhere(~same)[:3])
print(fx.numba.simd.vector.has_feature("avx512f"))
"""


@pytest.mark.exhaustive
@pytest.mark.parametrize("cpu", CPUS)
def test_same_bits(cpu, tmp_path):
    chosen = {
        "NUMBA_CPU_NAME": cpu,
        "NUMBA_CPU_FEATURES": CPUS[cpu],
        "NUMBA_CACHE_DIR": str(tmp_path),
    }
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **chosen},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.stdout == "False\n", run.stderr
