"""From the graph of a custom loss to what a backend runs: derivative, then a list of instructions.

Forward mode: every expression gets its slope, d expression / d logit, from those of its operands,
in the order in which they are computed. What does not depend on the logit has the slope 0, and so
never meets an infinite factor.
"""

import hashlib
from collections.abc import Callable, Sequence

from fastxent._contract import Formula, Instruction, Program
from fastxent._tracing.expressions import (
    VARIABLES,
    Expression,
    Value,
    build,
    in_order,
    is_constant,
    substitute,
)

#: Operations of a loss and its derivative that are compiled: ten times what losses of papers have,
#: and half a minute at worst, of float64 logits.
MOST_OPERATIONS = 1000
#: A power counts as many.
POWER_OPERATIONS = 10
#: Integer exponents beyond it are not worth their multiplications, nor their rounding errors.
_MOST_SQUARINGS = 32


def is_product(exponent: float) -> bool:
    """Return whether a power is made of multiplications."""
    return exponent.is_integer() and abs(exponent) <= _MOST_SQUARINGS


def operations_of(*values: Value) -> int:
    """Return how many operations there are to compile, for as many results."""
    instructions = _program_of(values).instructions
    count = 0
    for operation, operands, _ in instructions:
        if operation in {"power", "power_slope"}:
            exponent = instructions[operands[1]]
            is_known = exponent.operation == "constant" and is_product(exponent.number)
            count += 1 if is_known else POWER_OPERATIONS
        elif operation not in {"constant", *VARIABLES}:
            count += 1
    return count


def formula_of(loss: Value, slope: Value) -> Formula:
    """Return the programs of a loss and its slope."""
    programs = {}
    for target in (None, 0.0, 1.0):
        values = [
            value if target is None else substitute(value, "target", target)
            for value in (loss, slope)
        ]
        programs[target, False] = _program_of(values[:1])
        programs[target, True] = _program_of(values)
    digest = hashlib.sha256(repr(sorted(programs.items(), key=repr)).encode()).hexdigest()
    return Formula(f"custom_{digest[:20]}", programs)


def _program_of(roots: Sequence[Value]) -> Program:
    """Put graphs in a row; what is computed twice is one instruction."""
    numbers: dict[int, int] = {}
    places: dict[Instruction, int] = {}

    def place_of(value: Value) -> int:
        if isinstance(value, Expression):
            return numbers[id(value)]
        return places.setdefault(Instruction("constant", (), float(value)), len(places))

    for root in roots:
        for node in in_order(root):
            if node.operation == "parameter":
                instruction = Instruction("parameter", (), node.operands[0])
            else:
                operands = [place_of(operand) for operand in node.operands]
                is_symmetric = node.operation in {"add", "multiply"}
                ordered = sorted(operands) if is_symmetric else operands
                instruction = Instruction(node.operation, tuple(ordered))
            numbers[id(node)] = places.setdefault(instruction, len(places))
    results = tuple(place_of(root) for root in roots)
    return Program(tuple(places), results)


# --- derivatives ----------------------------------------------------------------------------------


def slope_of(root: Value) -> Value:
    """Return the derivative of a value with respect to the logit."""
    if not isinstance(root, Expression):
        return 0.0
    slopes: dict[int, Value] = {}
    for node in in_order(root):
        if node.operation in VARIABLES:
            slopes[id(node)] = 1.0 if node.operation == "logit" else 0.0
            continue
        inner = [slopes.get(id(operand), 0.0) for operand in node.operands]
        slopes[id(node)] = 0.0
        if not all(is_constant(slope, 0) for slope in inner):
            slopes[id(node)] = _slope(node, inner)
    return slopes[id(root)]


def _slope(node: Expression, inner: Sequence[Value]) -> Value:
    if node.operation in _OUTER:
        return _times(_OUTER[node.operation](node, *node.operands), inner[0])
    if node.operation in _RULES:
        return _RULES[node.operation](node, *inner)
    return 0.0  # a condition


def _times(a: Value, b: Value) -> Value:
    return build("multiply", a, b)


def _multiply(node: Expression, da: Value, db: Value) -> Value:
    a, b = node.operands
    return build("add", _times(b, da), _times(a, db))


def _divide(node: Expression, da: Value, db: Value) -> Value:
    b = node.operands[1]
    return build("divide", build("subtract", da, _times(node, db)), b)


def _power(node: Expression, da: Value, db: Value) -> Value:
    base, exponent = node.operands
    of_base = _times(build("power_slope", base, exponent), da)
    if is_constant(db, 0):
        return of_base
    return build("add", of_base, _times(_times(node, build("log", base)), db))


def _maximum(node: Expression, da: Value, db: Value) -> Value:
    a, b = node.operands
    return build("where", build("less", b, a), da, db)


def _minimum(node: Expression, da: Value, db: Value) -> Value:
    a, b = node.operands
    return build("where", build("less", a, b), da, db)


def _sign(node: Expression, x: Value) -> Value:  # noqa: ARG001 - the interface of the table
    return build("where", x < 0, -1.0, build("where", x > 0, 1.0, 0.0))


#: The derivative of a function of one number, from its result and its argument.
_OUTER: dict[str, Callable[[Value, Value], Value]] = {
    "negative": lambda _node, _x: -1.0,
    "absolute": _sign,
    "sqrt": lambda node, _x: 0.5 / node,
    "exp": lambda node, _x: node,
    "expm1": lambda _node, x: build("exp", x),
    "log": lambda _node, x: 1.0 / x,
    "log1p": lambda _node, x: 1.0 / (1.0 + x),
    # 1 - tanh^2 would cancel.
    "tanh": lambda _node, x: 4.0 * build("sigmoid", x + x) * build("sigmoid", -(x + x)),
    "sigmoid": lambda node, x: node * build("sigmoid", -x),
    "softplus": lambda _node, x: build("sigmoid", x),
    "log_sigmoid": lambda _node, x: build("sigmoid", -x),
}
#: The derivatives of all others, from the result and the derivatives of the arguments.
_RULES: dict[str, Callable[..., Value]] = {
    "add": lambda _node, da, db: build("add", da, db),
    "subtract": lambda _node, da, db: build("subtract", da, db),
    "multiply": _multiply,
    "divide": _divide,
    "power": _power,
    "maximum": _maximum,
    "minimum": _minimum,
    "where": lambda node, _, dyes, dno: build("where", node.operands[0], dyes, dno),
}
