"""Fixtures for each backend and instruction set; what `make test` selects and a run leaves out."""

import os

import hypothesis
import pytest
from support import requirements, tiers

import fastxent as fx
from fastxent import _config, native

# Examples are the same in every run; a slow machine, or fixtures that only choose what computes,
# are no reason to fail.
hypothesis.settings.register_profile(
    "fastxent",
    deadline=None,
    derandomize=True,
    suppress_health_check=[
        hypothesis.HealthCheck.function_scoped_fixture,
        hypothesis.HealthCheck.too_slow,
    ],
)
hypothesis.settings.load_profile("fastxent")


def pytest_configure(config):
    if errors := requirements.errors(os.environ.get("FASTXENT_REQUIRE", "")):
        raise pytest.UsageError("\n".join(f"FASTXENT_REQUIRE: {error}" for error in errors))


@pytest.hookimpl(tryfirst=True)  # before -m deselects
def pytest_collection_modifyitems(items):
    tiers.mark_exhaustive(items)


def pytest_terminal_summary(terminalreporter, config):
    terminalreporter.section("not tested here")
    for name, reason in requirements.absences().items():
        terminalreporter.write_line(f"{name}: {reason}")
    if "not exhaustive" in config.option.markexpr:
        terminalreporter.write_line("exhaustive: cases that `make test-all` runs")


@pytest.fixture(params=_config.BACKENDS)
def backend(request):
    """Compute with this backend."""
    if request.param == "numba":
        pytest.importorskip("numba")
    with fx.backend(request.param):
        yield request.param


@pytest.fixture(params=[*native.available_isas(), "numba"])
def isa(request):
    """Compute with the native backend's kernels for this instruction set, or with Numba's."""
    yield from _computing_with(request.param)


@pytest.fixture(params=["numpy", "numba", *native.available_isas()])
def engine(request):
    """The same, or the backend "numpy"."""
    yield from _computing_with(request.param)


def _computing_with(name):
    if name == "numba":
        pytest.importorskip("numba")
    if name in {"numpy", "numba"}:
        with fx.backend(name):
            yield name
        return
    before = native.get_isa()
    native.set_isa(name)
    with fx.backend("native"):
        yield name
    native.set_isa(before)
