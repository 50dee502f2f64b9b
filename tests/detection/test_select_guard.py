"""Nothing is read but what the arrays hold: around their rows, no memory is mapped."""

import subprocess
import sys
from pathlib import Path

import pytest

from fastxent import native

TESTS = Path(__file__).parents[1]


@pytest.mark.skipif(sys.platform == "win32", reason="protects pages by mprotect")
@pytest.mark.parametrize("isa", native.available_isas())
def test_rows_between_unmapped_pages(isa):
    command = [sys.executable, "-m", "support.guard_selection", isa]
    finished = subprocess.run(
        command, cwd=TESTS, capture_output=True, text=True, check=False, timeout=300
    )
    assert finished.returncode == 0, finished.stderr
