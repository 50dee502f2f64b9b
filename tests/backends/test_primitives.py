"""The vector functions keep their contracts: the largest error of primitives.def, in the domain."""

import importlib.util
import math
from pathlib import Path

import mpmath
import numpy as np
import pytest

from fastxent import native

SCRIPT = Path(__file__).parents[2] / "scripts" / "primitive_errors.py"
specification = importlib.util.spec_from_file_location("primitive_errors", SCRIPT)
primitive_errors = importlib.util.module_from_spec(specification)
specification.loader.exec_module(primitive_errors)

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
NAMES = tuple(native.primitives(False))

#: Written out once more, with many digits: what the script's references are compared with.
EXACT = {
    "exp_nonpositive": mpmath.exp,
    "exp_centred": mpmath.exp,
    "expm1_nonpositive": mpmath.expm1,
    "log": mpmath.log,
    "log1p": mpmath.log1p,
    "log1p_unit": mpmath.log1p,
    "pow_0_3": lambda x: x ** mpmath.mpf(0.3),
    "pow_1_5": lambda x: x ** mpmath.mpf(1.5),
    "pow_7_3": lambda x: x ** mpmath.mpf(7.3),
    "sigmoid_part": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus_tail": lambda x: mpmath.log1p(mpmath.exp(-abs(x))),
}


@pytest.fixture(params=native.available_isas())
def isa(request):
    """Compute with this instruction set; Numba's functions have the bits of AVX2's."""
    before = native.get_isa()
    native.set_isa(request.param)
    yield
    native.set_isa(before)


def evaluate(name, value, dtype):
    values = np.full(17, value, dtype)
    results = np.empty_like(values)
    native.evaluate_primitive(name, values, results)
    assert np.array_equal(results, np.full_like(results, results[0]), equal_nan=True)
    return results[0]


def exact_error(name, value, dtype):
    """Return the error in units in the last place of the exact result."""
    info = np.finfo(dtype)
    with mpmath.workdps(60):
        exact = EXACT[name](mpmath.mpf(float(value)))
        _, exponent = mpmath.frexp(exact)
        unit = mpmath.mpf(2) ** max(exponent - 1 - info.nmant, info.minexp - info.nmant)
        return float(abs(mpmath.mpf(float(evaluate(name, value, dtype))) - exact) / unit)


def test_all_have_references():
    assert list(NAMES) == list(EXACT) == list(primitive_errors.REFERENCES)
    assert list(native.primitives(True)) == list(NAMES)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_errors_keep_the_contract(name, dtype):
    bound = native.primitives(dtype == np.float64)[name][2]
    ulps, isa, worst = primitive_errors.measure(name, dtype, stride=1_000_003, count=200_000)
    assert ulps <= bound, (isa, worst)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_the_worst_input_has_the_stated_error(name, dtype):
    """A contract that is too wide says as little as none."""
    _, _, bound, worst = native.primitives(dtype == np.float64)[name]
    before, errors = native.get_isa(), []
    for isa in native.available_isas():
        native.set_isa(isa)
        errors.append(exact_error(name, worst, dtype))
    native.set_isa(before)
    assert bound - 0.002 <= max(errors) <= bound


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("isa")
def test_limits_of_the_domain(name, dtype):
    lowest, highest, bound, _ = native.primitives(dtype == np.float64)[name]
    for value in (lowest, highest):
        if math.isinf(value):
            limit = {"expm1_nonpositive": -1, "sigmoid_part": value > 0}.get(name, 0)
            assert evaluate(name, value, dtype) == limit
        elif value == 0 and name.startswith("pow"):
            assert evaluate(name, value, dtype) == 0
        elif value != 0:
            assert exact_error(name, value, dtype) <= bound


@pytest.mark.usefixtures("isa")
def test_nan_stays_nan():
    """What the losses make of NaN rests on it."""
    assert np.isnan(evaluate("exp_nonpositive", np.nan, np.float32))


def test_the_page_has_the_contracts():
    page = primitive_errors.PAGE.read_text("utf-8")
    assert page == primitive_errors.page_with_table(page), "run scripts/primitive_errors.py --write"
