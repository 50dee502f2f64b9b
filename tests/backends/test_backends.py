"""Every backend has every loss and every score, and says so where its library is missing."""

import subprocess
import sys

import numpy as np
import pytest
from support import family

import fastxent as fx
from fastxent import _config, native, scores
from fastxent._contract import Backend

of_natives = pytest.mark.parametrize("isa", native.available_isas(), indirect=True)
of_numbas = pytest.mark.parametrize("isa", ["numba"], indirect=True)
losses = pytest.mark.parametrize(
    ("name", "dense"),
    [*((name, False) for name in family.LOSSES), *((name, True) for name in family.WITH_DENSE)],
)


@losses
@of_natives
def test_losses(name, dense, isa):
    """Compared with the reference; other tests are about the last digits."""
    check_loss(name, dense=dense)


@losses
@of_numbas
def test_losses_of_numba(name, dense, isa):
    """One kernel of each loss; test_numba_bits.py has the others."""
    check_loss(name, dense=dense, counts=[40])


def check_loss(name, *, dense, counts=(2, 6, 40)):
    rng = np.random.default_rng(0)
    for classes in counts:
        values = family.values_for(name, rng, (9, classes))
        targets = family.targets_for(name, rng, values, dense=dense)
        arguments = {"return_grad": True, "reduction": "mean"}
        result = family.public(name)(values, *targets, **arguments)
        expected = family.public(name)(values, *targets, backend="numpy", **arguments)
        for ours, theirs in zip(result, expected, strict=True):
            family.assert_near(ours, theirs, 1e-12)


@pytest.mark.parametrize("name", scores.__all__)
@of_natives
def test_scores(name, isa):
    check_score(name)


@pytest.mark.parametrize("name", scores.__all__)
@of_numbas
def test_scores_of_numba(name, isa):
    check_score(name)


def check_score(name):
    values = np.random.default_rng(0).uniform(0.1, 0.9, (9, 40))
    score = getattr(fx, name)
    family.assert_near(score(values), score(values, backend="numpy"), 1e-12)


def run_without_numba(code):
    """Run code in an interpreter that finds no Numba."""
    block = "import sys; sys.modules['numba'] = None\n"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", block + code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("code", ["fx.sigmoid(0.0, backend='numba')", "fx.set_backend('numba')"])
def test_without_numba(code):
    result = run_without_numba(f"import fastxent as fx\n{code}")
    assert result.returncode != 0
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert "pip install fastxent[numba]" in last


def test_without_numba_the_others_work():
    code = "import fastxent as fx; fx.sigmoid(0.0); print(fx.sigmoid(0.0, backend='numpy'))"
    result = run_without_numba(code)
    assert result.stdout == "0.5\n", result.stderr


def test_nothing_is_imported_before_it_is_used():
    code = (
        "import sys, fastxent as fx; fx.sigmoid(0.0); "
        "print([name for name in sys.modules if name.split('.')[0] in ('numba', 'llvmlite')])"
    )
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert run.stdout == "[]\n"


@pytest.mark.parametrize("name", _config.BACKENDS)
def test_backends_have_what_the_contract_names(name):
    if name == "numba":
        pytest.importorskip("numba")
    members = {member for member in vars(Backend) if not member.startswith("_")}
    members |= Backend.__annotations__.keys()
    assert len(members) >= 4
    assert members <= set(dir(_config.backend_module(name)))


def test_backends_are_modules_of_the_package():
    assert set(_config.BACKENDS) == {"native", "numba", "numpy"}
