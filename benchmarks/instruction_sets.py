"""Peers on a CPU that has less than this one: FASTXENT_ISA=avx2 alone would limit fastxent only.

These variables are read when a library is imported, so ``python -m benchmarks`` sets them for the
processes that measure. A machine that has no AVX-512 needs none of this, and says more.
"""

from __future__ import annotations

import os

#: By the instruction set of FASTXENT_ISA.
VARIABLES = {
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",  # torch, and what torch.compile generates
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
        "ONEDNN_MAX_CPU_ISA": "AVX2",  # torch, OpenVINO
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    }
}
#: What has no such variable.
UNLIMITED = ("onnxruntime", "OpenVINO's own kernels", "SciPy", "numexpr")


def limits() -> dict[str, str]:
    """Return the variables that limit peers to FASTXENT_ISA, none where it is not set."""
    return dict(VARIABLES.get(os.environ.get("FASTXENT_ISA", ""), {}))


def describe_limits() -> str:
    """Say what limits the peers in this process, or "" where nothing does."""
    wanted = limits()
    if not wanted:
        return ""
    isa = os.environ["FASTXENT_ISA"]
    said = [f"{name}={value}" for name, value in wanted.items() if os.environ.get(name) == value]
    limited = f"limited to {isa} by {'; '.join(said)}" if said else "not limited"
    return f"{limited}; {', '.join(UNLIMITED)} use what the CPU has"
