"""Arrays may change while a call reads them: the result may be any number, but memory is safe.

Another thread may write them, or another process, where they are a memory map. A check is of no use
then, so nothing that labels have become may be taken for an index.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from fastxent import native

TESTS = Path(__file__).parents[1]
OTHERS = [*native.available_isas()[1:], "numba"]
ISAS = [
    native.available_isas()[0],
    *(pytest.param(x, marks=pytest.mark.exhaustive) for x in OTHERS),
]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="protects pages by mprotect")


@pytest.mark.parametrize("kind", ["unchecked", "racing"])
@pytest.mark.parametrize("isa", ISAS)
def test_labels_that_become_invalid_touch_no_other_memory(kind, isa):
    if isa == "numba":
        pytest.importorskip("numba")
    run_program("support.changing", kind, "numba" if isa == "numba" else "native", isa)


@pytest.mark.parametrize("isa", ISAS)
def test_logits_losses_and_targets_that_change(isa):
    """Passes over the same values find others: no result has room for fewer than there are."""
    if isa == "numba":
        pytest.importorskip("numba")
    run_program("support.changing_detection", "numba" if isa == "numba" else "native", isa)


def run_program(module, *arguments):
    command = [sys.executable, "-W", "error::DeprecationWarning", "-m", module, *arguments]
    finished = subprocess.run(
        command, cwd=TESTS, capture_output=True, text=True, check=False, timeout=300
    )
    assert finished.returncode == 0, finished.stderr
