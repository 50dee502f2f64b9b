"""Results have the bits of golden_hashes.txt, on any number of threads and wherever arrays lie.

Where they are meant to have others: ``python scripts/golden_hashes.py --write``, and a line of the
changelog that says so.
"""

import importlib.util
import sys
from pathlib import Path

import pytest

import fastxent as fx
from fastxent import native

pytest.importorskip("ml_dtypes")
SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.append(str(SCRIPTS))  # of a script that imports another
specification = importlib.util.spec_from_file_location(
    "golden_hashes", SCRIPTS / "golden_hashes.py"
)
golden_hashes = importlib.util.module_from_spec(specification)
specification.loader.exec_module(golden_hashes)
sys.path.remove(str(SCRIPTS))

COMMITTED = golden_hashes.read_file()
HAS_FMA = native.available_isas()[0] != "baseline"


def differences(function, precision, dtypes=golden_hashes.DTYPES, **where):
    """Return the lines and dtypes of a function that have other bits than in the file."""
    found = golden_hashes.hash_lines(function, dtypes, **where)
    assert found.keys() == COMMITTED[function].keys(), "other options than in the file"
    return [
        f"{function} {options} {dtype}"
        for options, hashes in found.items()
        for dtype, value in hashes.items()
        if COMMITTED[function][options][precision, dtype] != value
    ]


@pytest.fixture(params=native.available_isas())
def isa(request):
    """Compute with this instruction set."""
    before = native.get_isa()
    native.set_isa(request.param)
    yield request.param
    native.set_isa(before)


def test_every_function_has_lines():
    assert COMMITTED.keys() == set(golden_hashes.FUNCTIONS)
    for function, lines in COMMITTED.items():
        assert list(lines) == golden_hashes.table_of(function)[0]


@pytest.mark.parametrize("function", golden_hashes.FUNCTIONS)
def test_bits(function, isa):
    assert not differences(function, golden_hashes.precision_of_isa())


@pytest.mark.skipif(not HAS_FMA, reason="no fused multiply-add")
@pytest.mark.parametrize(
    "where",
    [
        *({"threads": threads} for threads in (1, 3, 7, 16)),
        {"place": golden_hashes.unaligned},
        {"place": golden_hashes.with_gaps},
    ],
    ids=["1 thread", "3 threads", "7 threads", "16 threads", "unaligned", "with gaps"],
)
@pytest.mark.parametrize("function", golden_hashes.FUNCTIONS)
def test_bits_do_not_depend_on_threads_and_layout(function, where):
    """On two threads, the other test."""
    assert not differences(function, "fma", **where)


@pytest.mark.exhaustive
@pytest.mark.skipif(not HAS_FMA, reason="no fused multiply-add")
@pytest.mark.parametrize("function", golden_hashes.FUNCTIONS)
def test_bits_of_numba(function):
    """Of floats, for each dtype has kernels of its own, which take seconds to compile."""
    pytest.importorskip("numba")
    with fx.backend("numba"):
        assert not differences(function, "fma", ("float32",))
