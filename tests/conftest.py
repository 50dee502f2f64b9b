"""Every test runs on every backend, or every instruction set, that it asks a fixture for."""

import hypothesis
import pytest

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
