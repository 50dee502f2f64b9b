"""The functions of a vec against plain C, on each instruction set; NEON elsewhere under qemu."""

import os
import platform
import shlex
import subprocess
import sys

import pytest
from support import requirements

SIMD = requirements.ROOT / "fastxent" / "native" / "simd"
PROGRAM = requirements.ROOT / "tests" / "support" / "vector_contract.c"
AVX2 = ("avx2", "fma", "f16c")
FEATURES = {"avx2": AVX2, "avx512": (*AVX2, "avx512f", "avx512dq", "avx512bw", "avx512vl")}
IS_ARM = platform.machine() in {"aarch64", "arm64"}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="protects pages by mprotect")


def commands_for(isa):
    """Return the compiler for an instruction set, with its options, and what runs a program."""
    if isa == "neon" and not IS_ARM:
        if absence := requirements.absence("qemu"):
            pytest.skip(absence)
        return ["aarch64-linux-gnu-gcc", "-static"], ["qemu-aarch64"]
    if absence := requirements.absence(isa):
        pytest.skip(absence)
    flags = [f"-m{feature}" for feature in FEATURES.get(isa, ())]
    return [*shlex.split(os.environ.get("CC", "cc")), *flags], []


@pytest.mark.skipif(bool(requirements.absence("sources")), reason="only in the source tree")
@pytest.mark.parametrize("is_double", [0, 1])
@pytest.mark.parametrize("isa", requirements.ISAS)
def test_contract(isa, is_double, tmp_path):
    compiler, runner = commands_for(isa)
    options = ["-O1", "-ffp-contract=off", "-Wno-psabi", f"-I{SIMD}", f"-DFX_DOUBLE={is_double}"]
    options += ["-fsanitize=signed-integer-overflow", "-fsanitize-undefined-trap-on-error"]
    if isa != "baseline":
        options.append(f"-DFX_ISA_{isa.upper()}")
    program = tmp_path / "contract"
    subprocess.run([*compiler, *options, PROGRAM, "-o", program, "-lm"], check=True, timeout=120)
    finished = subprocess.run(
        [*runner, program], capture_output=True, text=True, check=False, timeout=120
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
