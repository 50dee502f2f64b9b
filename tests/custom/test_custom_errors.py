"""What a custom loss cannot be: one message that names the function, the line and the way out."""

import builtins
import math as python_math
import subprocess
import sys

import numpy as np
import pytest

import fastxent as fx
from fastxent import math


def helper(x):
    return 1 if x > 0 else math.exp(x)


def branches(logit, target):
    if logit > 0:
        return logit
    return target


def branches_on_numbers(logit, target):
    return 1.0 if target else logit


def joins_conditions(logit, target):
    return math.where(logit > 0 and target > 0, 1, 0)


def chains_comparisons(logit, target):
    return math.where(0 < logit < 1, 1, 0)


def takes_the_builtin_maximum(logit, target):
    return builtins.max(logit, 0)


def calls_a_helper(logit, target):
    return helper(logit)


def knows_no_such_name(logit, target):
    return sigmod(logit)  # noqa: F821


def knows_no_such_function(logit, target):
    return math.sigmod(logit)


def uses_the_standard_library(logit, target):
    return python_math.exp(logit)


def uses_numpy(logit, target):
    return np.exp(logit)


def adds_an_array(logit, target):
    return logit + np.ones(3)


def adds_a_list(logit, target):
    return math.maximum(logit, [1, 2])


def adds_text(logit, target):
    return logit + "1"


def loops_over_classes(logit, target):
    return sum(z for z in logit)


def takes_a_class(logit, target):
    return logit[0]


def takes_a_remainder(logit, target):
    return logit % 2


def fails(logit, target):
    raise RuntimeError("nothing works")


def recurses(logit, target):
    return recurses(logit, target)


def returns_nothing(logit, target):
    logit * 2


def returns_two(logit, target):
    return logit, target


SELECT = "use where(condition, yes, no)"
MODULE = "fastxent.math"
#: The line that is to blame, and what the message says.
MISTAKES = {
    branches: ("if logit > 0:", SELECT),
    branches_on_numbers: ("return 1.0 if target else logit", SELECT),
    joins_conditions: ("return math.where(logit > 0 and target > 0, 1, 0)", "& | ~ for conditions"),
    chains_comparisons: ("return math.where(0 < logit < 1, 1, 0)", "& | ~ for conditions"),
    takes_the_builtin_maximum: ("return builtins.max(logit, 0)", "maximum and minimum"),
    calls_a_helper: ("return 1 if x > 0 else math.exp(x)", SELECT),
    knows_no_such_name: ("return sigmod(logit)  # noqa: F821", "name 'sigmod' is not defined"),
    knows_no_such_function: ("return math.sigmod(logit)", "has no attribute 'sigmod'"),
    uses_the_standard_library: ("return python_math.exp(logit)", MODULE),
    uses_numpy: ("return np.exp(logit)", MODULE),
    adds_an_array: ("return logit + np.ones(3)", "ndarray is no number"),
    adds_a_list: ("return math.maximum(logit, [1, 2])", "list is no number"),
    adds_text: ('return logit + "1"', "str is no number"),
    loops_over_classes: ("return sum(z for z in logit)", "one class at a time"),
    takes_a_class: ("return logit[0]", "one class at a time"),
    takes_a_remainder: ("return logit % 2", "has no % and no //"),
    fails: ('raise RuntimeError("nothing works")', "nothing works"),
    recurses: ("return recurses(logit, target)", "recursion"),
    returns_nothing: ("", "NoneType is no number"),
    returns_two: ("", "tuple is no number"),
}


@pytest.mark.parametrize("function", MISTAKES, ids=lambda function: function.__name__)
def test_functions_that_are_no_formulas(function):
    """Found while tracing, before anything is compiled."""
    line, reason = MISTAKES[function]
    loss = fx.custom_loss(function)
    with pytest.raises(TypeError) as caught:
        loss([[1.0, 2.0]], [0])
    message = str(caught.value)
    assert message.startswith(
        f"custom_loss cannot use {function.__name__} (test_custom_errors.py, "
    )
    assert f": `{line}`): " in message if line else True
    assert reason in message
    assert "\n" not in message
    assert len(message) < 420
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_objects_that_can_be_called():
    class Loss:
        def __call__(self, logit, target):
            return 1 if logit > 0 else target

    with pytest.raises(TypeError, match=r"cannot use Loss \(test_custom_errors\.py, line \d+: "):
        fx.custom_loss(Loss())([[1.0, 2.0]], [0])


def test_a_derivative_that_is_no_formula():
    loss = fx.custom_loss(lambda logit, target: logit, derivative=branches)
    with pytest.raises(TypeError, match=r"cannot use branches .*if logit > 0:"):
        loss([[1.0, 2.0]], [0])


@pytest.mark.parametrize(
    ("function", "given"),
    [
        (lambda: 1, "()"),
        (lambda logit: 1, "(logit)"),
        (lambda logit, target, *others: 1, "(logit, target, *others)"),
        (lambda logit, target, **others: 1, "(logit, target, **others)"),
        (lambda logit, target, *, gamma: 1, "(logit, target, gamma)"),
    ],
)
def test_wrong_parameters(function, given):
    with pytest.raises(TypeError) as caught:
        fx.custom_loss(function)
    assert f"line {function.__code__.co_firstlineno}) has the parameters {given}" in str(
        caught.value
    )
    assert "expected (logit, target, ...)" in str(caught.value)


# --- formulas that are too long -------------------------------------------------------------------


def chain(step, length):
    """Return a loss that takes a step so many times."""

    def chained(logit, target, gamma=1.5):
        value = logit
        for number in range(length):
            value = step(value, number + 2.5, gamma)
        return value

    return fx.custom_loss(chained)


#: Steps, how many are too many, and the operations that these are.
TOO_LONG = {
    "arithmetic": (lambda x, k, g: x * 1.01 + k, 501, 1002, "without"),
    "exponentials": (lambda x, k, g: math.exp(x * k), 1000, 2000, "without"),
    "conditions": (lambda x, k, g: math.where(x > k, x, g), 501, 1002, "without"),
    "powers": (lambda x, k, g: x**k, 101, 1010, "without"),
    "powers by request": (lambda x, k, g: x**g, 101, 1010, "without"),
    "very long": (lambda x, k, g: x * 1.01 + k, 100_000, 200_000, "without"),
    # x * k; exp; for the slope exp * k, and but for the first * the slope so far.
    "slopes": (lambda x, k, g: math.exp(x * k), 251, 4 * 251 - 1, "with"),
    # x^k with slope k x^(k - 1); but for the first * the slope so far.
    "slopes of powers": (lambda x, k, g: x**k, 48, 21 * 48 - 1, "with"),
}


@pytest.mark.exhaustive
@pytest.mark.parametrize(("step", "length", "count", "of"), TOO_LONG.values(), ids=TOO_LONG)
def test_too_many_operations(step, length, count, of):
    """Found before anything is compiled, which would take minutes."""
    with pytest.raises(ValueError, match="at most 1,000 of both are compiled") as caught:
        chain(step, length)([[1.0, 2.0]], [0])
    assert str(caught.value).startswith("custom_loss cannot use chained (test_custom_errors.py, ")
    assert f"it takes {count:,} operations {of} its derivative" in str(caught.value)


def test_a_derivative_with_too_many_operations():
    loss = fx.custom_loss(
        lambda logit, target: logit,
        derivative=lambda logit, target: sum(math.exp(k * logit) for k in range(2, 400)),
    )
    with pytest.raises(ValueError, match="it takes 1,193 operations with its derivative"):
        loss([[1.0, 2.0]], [0])


def test_as_many_operations_as_there_may_be():
    """Powers by small integers are a few multiplications, and equal operations are one."""
    pytest.importorskip("numba")

    def inverse(x, k, g):  # three operations, and two of the slope
        return (x + 1 / k - 1 / k) ** -1

    with pytest.raises(ValueError, match="1,004 operations with its derivative"):
        chain(inverse, 201)([0.5], [1], axis=None)
    loss = chain(inverse, 199)
    for z in (0.5, 3.0):
        value, slope = loss([z], [1], axis=None, return_grad=True)
        assert value == pytest.approx([1 / z], rel=1e-12)
        assert slope == pytest.approx([-1 / z**2], rel=1e-12)
    repeated = chain(lambda x, k, g: x + sum(math.exp(x) for _ in range(450)), 1)
    assert repeated([0.0], [0], axis=None) == pytest.approx([450.0], rel=1e-12)


def test_the_limit_is_documented():
    assert "at most 1,000 operations are compiled" in " ".join(fx.custom_loss.__doc__.split())


def test_wrong_parameters_of_a_derivative():
    with pytest.raises(TypeError, match=r"\(logit, target\), expected those of .*gamma=2\.0\)"):
        fx.custom_loss(lambda logit, target, gamma=2.0: logit, derivative=lambda logit, target: 1)


def test_names_that_are_taken():
    with pytest.raises(TypeError, match="'weight', which all losses have: give it another name"):
        fx.custom_loss(lambda logit, target, weight: 1)


@pytest.mark.parametrize("value", [3, "f", None])
def test_no_function(value):
    if value is None:
        assert callable(fx.custom_loss(derivative=branches))
        return
    with pytest.raises(TypeError, match="takes a function of logit and target"):
        fx.custom_loss(value)


@fx.custom_loss
def scaled(logit, target, factor, power=1.0):
    return factor * logit**power


def test_wrong_arguments():
    pytest.importorskip("numba")
    logits, labels = [[1.0, 2.0]], [0]
    with pytest.raises(TypeError, match=r"scaled\(\) needs the keyword argument 'factor'"):
        scaled(logits, labels)
    with pytest.raises(TypeError, match=r"scaled\(\) got an unexpected keyword argument 'gamma'"):
        scaled(logits, labels, factor=1, gamma=2)
    with pytest.raises(TypeError, match="positional"):
        scaled(logits, labels, 1.0)
    for value in ("1", None, [1.0], True):
        with pytest.raises(TypeError, match="factor must be a number"):
            scaled(logits, labels, factor=value)
    with pytest.raises(ValueError, match=r"targets\[0\] = 5 is not a class label"):
        scaled(logits, [5], factor=1)
    with pytest.raises(ValueError, match="reduction = 'all'"):
        scaled(logits, labels, factor=1, reduction="all")


def test_without_numba():
    code = (
        "import sys; sys.modules['numba'] = None; import fastxent as fx\n"
        "@fx.custom_loss\ndef loss(logit, target): return logit\n"
        "print(loss.__wrapped__(1.0, 0)); loss([[1.0, 2.0]], [0])"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.stdout == "1.0\n"
    assert "pip install fastxent[numba]" in run.stderr.strip().splitlines()[-1]


def test_import_leaves_numba_alone():
    code = (
        "import sys, fastxent as fx\n"
        "fx.custom_loss(lambda logit, target: fx.math.exp(logit)); fx.math.exp(1.0)\n"
        "print('numba' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert run.stdout == "False\n"
