"""fastxent.math: on numbers and arrays, within compiled losses, and its derivatives."""

import doctest
import math as python_math
import re

import mpmath
import numpy as np
import pytest
from support.custom import (
    PRIMITIVES,
    assert_within_ulp,
    exact_values,
    inputs_of,
    loss_of,
    per_logit,
)

import fastxent as fx
from fastxent import math

primitive = pytest.mark.parametrize("name", PRIMITIVES)
SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -1, -2, 1e-45, 3e38], np.float32)
#: NumPy's own functions, or the limits of what has none there.
LIMITS = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "softplus": lambda x: np.logaddexp(0, x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "log_sigmoid": lambda x: -np.logaddexp(0, -x),
}


@primitive
def test_numbers_and_arrays(name):
    values = inputs_of(name, np.float64)
    function = getattr(math, name)
    np.testing.assert_allclose(
        function(values), exact_values(PRIMITIVES[name].exact, values), 1e-15
    )
    assert function(0.5) == pytest.approx(float(PRIMITIVES[name].exact(mpmath.mpf(0.5))), rel=1e-15)
    assert np.ndim(function(0.5)) == 0


def test_functions_of_several():
    assert math.absolute(-2) == math.abs(-2.0) == 2
    assert (math.maximum(1, 2), math.minimum(1, 2)) == (2, 1)
    assert (math.clip(3, 0, 1), math.clip(-3, 0, 1), math.clip(0.5, 0, 1)) == (1, 0, 0.5)
    assert math.power(2, -1) == 0.5  # integers are floats
    np.testing.assert_array_equal(math.where([True, False], 1, [2, 3]), [1, 3])


def test_the_standard_module_keeps_its_name():
    names = {"math": python_math}
    exec("from fastxent import *", names)
    assert names["math"] is python_math
    assert names["sigmoid"] is fx.sigmoid
    exec("import fastxent.math as fxm; from fastxent import math", names)
    assert names["fxm"] is names["math"] is fx.math is math


def test_docstring_examples():
    results = doctest.testmod(math)
    assert results.failed == 0
    assert results.attempted > 0


@pytest.mark.parametrize("name", math.__all__)
def test_docstrings(name):
    validate = pytest.importorskip("numpydoc.validate").validate
    accepted = {"ES01", "SA01", "EX01"}  # as in test_docstrings.py; the module has an example
    errors = validate(f"fastxent.math.{name}")["errors"]
    assert [error for error in errors if error[0] not in accepted] == []
    assert not re.search(r"<\w+>", getattr(math, name).__doc__)


@pytest.mark.parametrize("name", ["softplus", "log_sigmoid"])
def test_docstrings_state_the_bounds(name):
    (bound,) = re.findall(r"within (\d+) ULP in float32", getattr(math, name).__doc__)
    assert int(bound) == PRIMITIVES[name].ulp
    assert f"``softplus(-logit)`` is within {bound} ULP" in fx.custom_loss.__doc__


def test_limits_are_no_warnings():
    assert math.log(0.0) == -np.inf
    assert np.isnan(math.sqrt(-1.0))


@primitive
def test_compiled(name):
    pytest.importorskip("numba")
    values = inputs_of(name)
    exact = exact_values(PRIMITIVES[name].exact, values)
    assert_within_ulp(per_logit(loss_of(name), values), exact, PRIMITIVES[name].ulp, values)
    values = values.astype(float)
    np.testing.assert_allclose(per_logit(loss_of(name), values), exact, 1e-15)


@primitive
def test_compiled_limits(name):
    pytest.importorskip("numba")
    with np.errstate(all="ignore"):
        expected = LIMITS[name](SPECIAL.astype(float)).astype(np.float32)
    np.testing.assert_allclose(per_logit(loss_of(name), SPECIAL), expected, 1e-6)


@primitive
def test_slopes(name):
    """Compared with difference quotients of 50 digits."""
    pytest.importorskip("numba")
    values = inputs_of(name, np.float64)[::5]
    function = PRIMITIVES[name].exact
    exact = exact_values(lambda x: mpmath.diff(function, x, h=abs(x) * 1e-20), values)
    _, slopes = per_logit(loss_of(name), values, return_grad=True)
    np.testing.assert_allclose(slopes, exact, 1e-12)


# --- powers ---------------------------------------------------------------------------------------

EXPONENTS = (0, 0.5, 1, 2, 3, 4, 5, 0.3, 1.7, 40.0, -1, -2.5)


@fx.custom_loss
def power_loss(logit, target, exponent):
    return logit**exponent


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_powers(exponent):
    """One kernel for all exponents; those that are written in the function have another each."""
    pytest.importorskip("numba")
    rng = np.random.default_rng(0)
    values = np.concatenate([np.exp2(rng.uniform(-149, 127, 200)), rng.uniform(0, 2, 100)])
    values = values.astype(np.float32)
    with np.errstate(all="ignore"):
        exact = np.array([float(mpmath.mpf(float(v)) ** mpmath.mpf(exponent)) for v in values])
        slopes = exponent * exact / values.astype(float)
        of_range = (exact.astype(np.float32) < np.inf) & (
            np.abs(slopes).astype(np.float32) < np.inf
        )
    values, exact, slopes = values[of_range], exact[of_range], slopes[of_range]
    written = fx.custom_loss(lambda logit, target: logit**exponent)
    for loss, arguments in ((power_loss, {"exponent": exponent}), (written, {})):
        result, grad = per_logit(loss, values, return_grad=True, **arguments)
        assert_within_ulp(result, exact, 3 + 2 * abs(exponent), values)
        np.testing.assert_allclose(grad, slopes, 1e-5, 1e-43)


@pytest.mark.parametrize("exponent", [-1.5, -1, 0, 0.5, 0.7, 1, 1.5, 2, 3])
def test_powers_at_limits(exponent):
    pytest.importorskip("numba")
    values = np.array([0.0, 1.0, np.inf, np.nan])
    with np.errstate(all="ignore"):
        expected = values**exponent
    expected[-1] = np.nan  # not NumPy's 1 for the exponent 0
    result, grad = per_logit(power_loss, values, exponent=exponent, return_grad=True)
    np.testing.assert_allclose(result, expected, 1e-14)
    if exponent >= 1 or exponent == 0:
        assert grad[0] == (exponent == 1)
    assert grad[1] == pytest.approx(exponent)


def test_powers_of_negative_numbers():
    pytest.importorskip("numba")
    values = np.array([-2.0, -0.5])
    for exponent in (2, 3, 4):
        result = per_logit(power_loss, values, exponent=exponent)
        np.testing.assert_allclose(result, values**exponent, 1e-15)
    assert np.isnan(per_logit(power_loss, values, exponent=1.5)).all()
    cubic = fx.custom_loss(lambda logit, target: logit**-3)
    np.testing.assert_allclose(per_logit(cubic, values), values**-3.0, 1e-15)


def test_exponents_that_depend_on_the_logit():
    pytest.importorskip("numba")
    loss = fx.custom_loss(lambda logit, target, base: (base + logit**2) ** logit)
    values = np.linspace(-3, 3, 31)
    result, grad = per_logit(loss, values, base=1.5, return_grad=True)

    def exact(z):
        return (mpmath.mpf(1.5) + z * z) ** z

    np.testing.assert_allclose(result, exact_values(exact, values), 1e-14)
    slopes = exact_values(lambda z: mpmath.diff(exact, z), values)
    np.testing.assert_allclose(grad, slopes, 1e-12)
