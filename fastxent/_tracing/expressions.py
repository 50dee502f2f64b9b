"""What a custom loss computes, as a graph of operations, written down while it is traced.

Operations on numbers and arrays alone are NumPy's, in float64; with an :class:`Expression` among
the operands they make another one. Constants stay Python's floats.
"""

from collections.abc import Callable, Iterator
from numbers import Real
from typing import Any

import numpy as np

from fastxent.reference.score_formulas import sigmoid, softplus

#: What each operation means, on float64.
OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "negative": np.negative,
    "power": np.power,
    "power_slope": lambda base, exponent: exponent * np.power(base, exponent - 1),
    "absolute": np.absolute,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "softplus": softplus,
    "log_sigmoid": lambda x: -softplus(-x),
    "less": np.less,
    "less_equal": np.less_equal,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "not": np.logical_not,
    "where": np.where,
}
#: An Expression, or a float or bool that is known; what operators return is Any for mypy.
Value = Any

#: Those whose results are true or false.
_CONDITIONS = frozenset({"less", "less_equal", "equal", "not_equal", "and", "or", "not"})
#: What is known when a kernel runs; "parameter" has its number for an operand.
VARIABLES = frozenset({"logit", "target", "parameter"})

_ADVICE = "the functions and operators of fastxent.math are what a custom loss is made of"


class TraceError(TypeError):
    """Something that a custom loss cannot do."""


def _binary(operation: str, *, reflected: bool = False) -> Callable[[Any, Any], Any]:
    def method(self: "Expression", other: object) -> Value:
        return build(operation, other, self) if reflected else build(operation, self, other)

    return method


def _refuse(reason: str) -> Callable[..., Any]:
    def method(self: "Expression", *_: object) -> Value:
        kind = "condition" if self.is_condition else "value"
        raise TraceError(reason.format(kind))

    return method


class Expression:
    """A number, or a condition, that differs from logit to logit."""

    __slots__ = ("operands", "operation")
    #: NumPy's own numbers leave operators to this class.
    __array_ufunc__ = None
    __hash__ = object.__hash__

    def __init__(self, operation: str, *operands: Value) -> None:
        self.operation = operation
        self.operands = operands

    @staticmethod
    def as_number(value: object) -> Value:
        """Return a value that a function returned: a condition counts 1 or 0."""
        return _as_operand("add", 0, value)

    @property
    def is_condition(self) -> bool:
        """Return whether this is true or false, and no number."""
        return self.operation in _CONDITIONS

    __add__, __radd__ = _binary("add"), _binary("add", reflected=True)
    __sub__, __rsub__ = _binary("subtract"), _binary("subtract", reflected=True)
    __mul__, __rmul__ = _binary("multiply"), _binary("multiply", reflected=True)
    __truediv__, __rtruediv__ = _binary("divide"), _binary("divide", reflected=True)
    __pow__, __rpow__ = _binary("power"), _binary("power", reflected=True)
    __lt__, __gt__ = _binary("less"), _binary("less", reflected=True)
    __le__, __ge__ = _binary("less_equal"), _binary("less_equal", reflected=True)
    __eq__, __ne__ = _binary("equal"), _binary("not_equal")
    __and__, __rand__ = _binary("and"), _binary("and", reflected=True)
    __or__, __ror__ = _binary("or"), _binary("or", reflected=True)

    def __neg__(self) -> Value:
        return build("negative", self)

    def __pos__(self) -> Value:
        return self

    def __abs__(self) -> Value:
        return build("absolute", self)

    def __invert__(self) -> Value:
        return build("not", self)

    __bool__ = _refuse(
        "this {} differs from logit to logit, so that `if`, `and`, `or`, `not`, min() and max() "
        "cannot follow it; use where(condition, yes, no), maximum and minimum of fastxent.math, "
        "and & | ~ for conditions"
    )
    __float__ = __int__ = __index__ = __complex__ = _refuse(
        f"this {{}} has no number yet; {_ADVICE}"
    )
    __iter__ = __len__ = __getitem__ = _refuse(
        "this {} is that of a single logit, not an array: a custom loss sees one class at a time"
    )
    __mod__ = __rmod__ = __floordiv__ = __rfloordiv__ = _refuse(
        f"this {{}} has no % and no //; {_ADVICE}"
    )


def apply(operation: str, *operands: Value) -> Value:
    """Return the result of an operation on arrays and numbers, or on traced values."""
    if any(isinstance(operand, Expression) for operand in operands):
        return build(operation, *operands)
    with np.errstate(all="ignore"):
        arrays = (np.asarray(operand) for operand in operands)
        result = OPERATIONS[operation](
            *(a if a.dtype == bool else a.astype(np.float64) for a in arrays)
        )
    return result if np.ndim(result) else result[()]


def build(operation: str, *operands: Value) -> Value:
    """Return the traced result of an operation, as simple as it gets."""
    values = [_as_operand(operation, place, operand) for place, operand in enumerate(operands)]
    if not any(isinstance(value, Expression) for value in values):
        return apply(operation, *values).item()
    simplify = _SIMPLER.get(operation)
    simpler = simplify(*values) if simplify else None
    return Expression(operation, *values) if simpler is None else simpler


def _as_operand(operation: str, place: int, value: object) -> Value:
    """Return what an operation takes: a number, or a condition."""
    takes_condition = operation in {"and", "or", "not"} or (operation == "where" and place == 0)
    if isinstance(value, Expression):
        if takes_condition == value.is_condition:
            return value
        return build("not_equal", value, 0.0) if takes_condition else build("where", value, 1, 0)
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if not isinstance(value, Real | np.bool_):
        raise TraceError(
            f"{type(value).__name__} is no number: constants are single numbers, and {_ADVICE}"
        )
    return bool(value) if takes_condition else float(value)


# --- simpler forms --------------------------------------------------------------------------------


def is_constant(value: Value, number: float) -> bool:
    """Return whether a value is known to be a number."""
    return not isinstance(value, Expression) and value == number


def _is(value: Value, operation: str) -> bool:
    return isinstance(value, Expression) and value.operation == operation


def _add(a: Value, b: Value) -> Value:
    if is_constant(a, 0):
        return b
    return a if is_constant(b, 0) else None


def _subtract(a: Value, b: Value) -> Value:
    if is_constant(b, 0):
        return a
    if is_constant(a, 0):
        return build("negative", b)
    if is_constant(a, 1) and _is(b, "sigmoid"):  # without cancellation
        return build("sigmoid", build("negative", b.operands[0]))
    return None


def _multiply(a: Value, b: Value) -> Value:
    """Leave factors of 1 out; one of 0 removes a term, even if that is infinite."""
    if is_constant(a, 0) or is_constant(b, 0):
        return 0.0
    for factor, other in ((a, b), (b, a)):
        if is_constant(factor, 1):
            return other
        if is_constant(factor, -1):
            return build("negative", other)
    return None


def _divide(a: Value, b: Value) -> Value:
    if is_constant(a, 0):
        return 0.0
    return a if is_constant(b, 1) else None


def _negative(a: Value) -> Value:
    return a.operands[0] if _is(a, "negative") else None


def _power(base: Value, exponent: Value) -> Value:
    if is_constant(exponent, 0) or is_constant(base, 1):
        return 1.0
    return base if is_constant(exponent, 1) else None


def _power_slope(base: Value, exponent: Value) -> Value:
    return build("multiply", exponent, base) if is_constant(exponent, 2) else None


def _log(a: Value) -> Value:
    """Return log(sigmoid(x)) as one function, right where sigmoid(x) underflows."""
    return build("log_sigmoid", a.operands[0]) if _is(a, "sigmoid") else None


def _log1p(a: Value) -> Value:
    """Return log(1 + exp(x)) as one function, right where exp(x) overflows."""
    return build("softplus", a.operands[0]) if _is(a, "exp") else None


def _and(a: Value, b: Value) -> Value:
    if isinstance(a, bool):
        return b if a else False
    return _and(b, a) if isinstance(b, bool) else None


def _or(a: Value, b: Value) -> Value:
    if isinstance(a, bool):
        return True if a else b
    return _or(b, a) if isinstance(b, bool) else None


def _where(condition: Value, yes: Value, no: Value) -> Value:
    if isinstance(condition, bool):
        return yes if condition else no
    is_same = yes is no or (isinstance(yes, float) and isinstance(no, float) and yes == no)
    return yes if is_same else None


_SIMPLER: dict[str, Callable[..., Value]] = {
    "add": _add,
    "subtract": _subtract,
    "multiply": _multiply,
    "divide": _divide,
    "negative": _negative,
    "power": _power,
    "power_slope": _power_slope,
    "log": _log,
    "log1p": _log1p,
    "and": _and,
    "or": _or,
    "where": _where,
}


# --- walks over a graph ---------------------------------------------------------------------------


def in_order(root: Value) -> Iterator[Expression]:
    """Yield every expression that a value is made of once, after its operands."""
    seen: set[int] = set()
    waiting: list[tuple[Value, bool]] = [(root, False)]
    while waiting:
        node, is_ready = waiting.pop()
        if not isinstance(node, Expression) or (id(node) in seen and not is_ready):
            continue
        if is_ready:
            yield node
            continue
        seen.add(id(node))
        waiting.append((node, True))
        waiting.extend((operand, False) for operand in reversed(node.operands))


def substitute(root: Value, variable: str, number: float) -> Value:
    """Return a value with a variable known."""
    known: dict[int, Value] = {}
    for node in in_order(root):
        if node.operation == variable:
            known[id(node)] = number
        elif node.operation in VARIABLES:
            known[id(node)] = node
        else:
            known[id(node)] = build(node.operation, *(_known(known, x) for x in node.operands))
    return _known(known, root)


def _known(known: dict[int, Value], operand: Value) -> Value:
    return known[id(operand)] if isinstance(operand, Expression) else operand
