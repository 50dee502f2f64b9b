"""What a machine lacks ends each report, and is an error where FASTXENT_REQUIRE names it."""

import ast
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import requirements

from fastxent import native

TESTS = Path(__file__).parents[1]


def run_pytest(*arguments, without=(), **environment):
    """Run one quick test where some packages cannot be imported; return the finished process."""
    code = (
        f"import sys, pytest; sys.modules.update(dict.fromkeys({list(without)})); "
        "sys.exit(pytest.console_main())"
    )
    test = "tests/harness/test_layers.py::test_every_part_has_a_layer"
    return subprocess.run(
        [sys.executable, "-c", code, "-p", "no:cacheprovider", test, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=TESTS.parent,
        env=os.environ | environment,
    )


@pytest.mark.parametrize("processes", ["0", pytest.param("2", marks=pytest.mark.exhaustive)])
def test_a_run_ends_with_what_it_did_not_test(processes):
    environment = {"FASTXENT_REQUIRE": "", "FASTXENT_TEST_LARGE": ""}
    done = run_pytest("--numprocesses", processes, without=["numba", "xarray"], **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.partition("not tested here")[2].splitlines()
    assert "numba: not installed" in lines
    assert "xarray: not installed" in lines
    assert "large: needs 13 GB of memory and FASTXENT_TEST_LARGE=1" in lines
    assert not any("exhaustive" in line for line in lines)
    here = {*requirements.NAMES} - requirements.absences().keys() - {"numba", "xarray"}
    assert not any(line.startswith(f"{name}:") for name in here for line in lines)


@pytest.mark.exhaustive
def test_a_run_says_that_it_was_a_sample():
    done = run_pytest("-m", "not exhaustive", FASTXENT_REQUIRE="")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "exhaustive: cases that `make test-all` runs\n" in done.stdout


@pytest.mark.parametrize("processes", ["0", pytest.param("2", marks=pytest.mark.exhaustive)])
def test_what_is_required_and_absent_fails_the_run(processes):
    required = {"FASTXENT_REQUIRE": "baseline, numba,avx1024,"}
    done = run_pytest("--numprocesses", processes, without=["numba"], **required)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert done.stdout == ""
    assert "FASTXENT_REQUIRE: numba is required, and absent: not installed\n" in done.stderr
    assert "FASTXENT_REQUIRE: 'avx1024' is not one of baseline, avx2, avx512, " in done.stderr
    assert "baseline is required" not in done.stderr


@pytest.mark.exhaustive
def test_what_is_required_and_here_changes_nothing():
    done = run_pytest(FASTXENT_REQUIRE="numpydoc")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_instruction_sets(monkeypatch):
    monkeypatch.setattr(native, "available_isas", lambda: ("avx2", "baseline"))
    assert not requirements.errors("avx2,baseline")
    (error,) = requirements.errors("avx2,avx512")
    assert error.startswith("avx512 is required, and absent: ")
    assert {"avx2", "avx512"} & requirements.absences().keys() == {"avx512"}


def test_every_instruction_set_of_this_machine_has_a_name():
    assert {*native.available_isas()} <= {*requirements.ISAS}


def test_programs(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None if name == "chromedriver" else name)
    assert requirements.absence("browser") == "no chromedriver"
    assert requirements.absence("valgrind") == ""


def imported_or_skipped(path):
    """Return the packages without which tests of a module are skipped."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        is_skip = isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.importorskip"
        if is_skip and isinstance(node.args[0], ast.Constant):
            yield node.args[0].value.partition(".")[0]


def test_every_package_that_tests_skip_without_has_a_name():
    packages = {name for path in TESTS.rglob("*.py") for name in imported_or_skipped(path)}
    assert "numba" in packages
    # Modules of POSIX, of the standard library.
    assert packages - {"fcntl", "resource"} <= {*requirements.PACKAGES}


def test_every_peer_has_a_name():
    if requirements.absence("sources"):
        pytest.skip(requirements.absence("sources"))
    sys.path.append(str(TESTS.parent))
    from benchmarks import peers

    sys.path.remove(str(TESTS.parent))
    needed = {*peers.PEERS.values(), *itertools.chain(*peers.ALSO_NEEDED.values())}
    # The requirements of the package and of its tests.
    assert needed - {"numpy", "scipy"} <= {*requirements.PACKAGES}
