"""Nothing is read or written but what the arrays hold: around their rows, no memory is mapped."""

import subprocess
import sys
from pathlib import Path

import pytest

from fastxent import native

TESTS = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="protects pages by mprotect")


@pytest.mark.exhaustive
@pytest.mark.parametrize("program", ["support.guard", "support.guard_detection"])
@pytest.mark.parametrize("isa", [*native.available_isas(), "numba"])
def test_rows_between_unmapped_pages(isa, program, tmp_path):
    if isa == "numba":
        pytest.importorskip("numba")
    backend, log = "numba" if isa == "numba" else "native", tmp_path / "last call"
    command = [
        sys.executable,
        "-W",
        "error::DeprecationWarning",
        "-m",
        program,
        backend,
        isa,
        log,
    ]
    finished = subprocess.run(
        command, cwd=TESTS, capture_output=True, text=True, check=False, timeout=300
    )
    assert finished.returncode == 0, f"{log.read_text().strip()}: {finished.stderr}"
