"""Labels may change while a call reads them: the result may be any number, but memory is safe.

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
    backend = "numba" if isa == "numba" else "native"
    command = [
        sys.executable,
        "-W",
        "error::DeprecationWarning",
        "-m",
        "support.changing",
        kind,
        backend,
        isa,
    ]
    finished = subprocess.run(
        command, cwd=TESTS, capture_output=True, text=True, check=False, timeout=300
    )
    assert finished.returncode == 0, finished.stderr
