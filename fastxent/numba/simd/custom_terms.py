"""One logit of a custom loss: its program's instructions, one after the other, on lanes."""

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import types

from fastxent._contract import Formula, Instruction, Program
from fastxent.numba.compilation import inlined
from fastxent.numba.records import POWER
from fastxent.numba.simd import wide_math
from fastxent.numba.simd.branches import choose_if
from fastxent.numba.simd.lanes import REALS, Lanes, Mask, Number, lane_function, splat_value
from fastxent.numba.simd.memory import write_double
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.sigmoid_terms import SigmoidParts, SigmoidValue, sigmoid_parts
from fastxent.numba.simd.tile import settings_of
from fastxent.numba.simd.vector import (
    any_lane,
    maximum,
    minimum,
    negative_abs,
    pointer_to,
    relu,
    select,
    square_root,
)
from fastxent.numba.simd.vector_math import Power
from fastxent.numba.simd.wide_math import PowerValue, power_any, power_given, power_known

#: What plans name, by its name.
FORMULAS: dict[str, Formula] = {}
_FIELDS: Any = POWER.fields


class Inputs(NamedTuple):
    """What a program's variables stand for."""

    logit: Lanes
    target: Lanes
    #: The address of a record of powers.
    parameters: Number


def run_program(program: Program, inputs: Inputs, *, exact: bool = False) -> list[Lanes]:
    """Return the results of a program."""
    return _Run(program, inputs, exact=exact).results()


class _Run:
    """One run, and what its instructions have in common."""

    def __init__(self, program: Program, inputs: Inputs, *, exact: bool) -> None:
        self.program = program
        self.inputs = inputs
        #: An infinity times 0 is 0.
        self.exact = exact
        self.values: list[Any] = []
        self._parts: dict[int, SigmoidParts] = {}
        self._powers: dict[tuple[int, int], PowerValue] = {}

    def results(self) -> list[Lanes]:
        for instruction in self.program.instructions:
            self.values.append(self._value(instruction))
        return [self.values[result] for result in self.program.results]

    def _value(self, instruction: Instruction) -> Lanes | Mask:
        operation, operands, number = instruction
        if operation == "constant":
            return self.inputs.logit.like(number)
        if operation == "parameter":
            return self.inputs.logit.like(self._field(number, "value"))
        own = getattr(self, f"_{operation}", None)
        result: Lanes | Mask
        if own is not None:
            result = own(*operands)
        else:
            result = _SIMPLE[operation](*(self.values[operand] for operand in operands))
        return result

    # --- variables ---

    def _logit(self) -> Lanes:
        return self.inputs.logit

    def _target(self) -> Lanes:
        return self.inputs.target

    def _field(self, parameter: float, name: str) -> Number:
        """Return a field of a parameter's record, which never changes while a kernel runs."""
        offset = int(parameter) * POWER.itemsize + _FIELDS[name][1]
        place = self.inputs.parameters + offset
        builder, is_kind = place.builder, name == "kind"
        kind = ir.IntType(64) if is_kind else ir.DoubleType()
        value = builder.load(pointer_to(builder, place, kind), align=8)
        value.set_metadata("invariant.load", builder.module.add_metadata([]))
        return Number(builder, value, types.intp if is_kind else types.float64)

    # --- operations with something in common ---

    def _multiply(self, a: int, b: int) -> Lanes:
        left, right = self.values[a], self.values[b]
        product: Lanes = left * right
        if not self.exact:
            return product
        is_zero = (left == 0.0) | (right == 0.0)
        is_infinite = (negative_abs(left) == -float("inf")) | (negative_abs(right) == -float("inf"))
        return select(is_zero & is_infinite, 0.0, product)

    def _parts_of(self, operand: int) -> SigmoidParts:
        """Return the parts of a sigmoid; those of x and -x are the same, the other way round."""
        instruction = self.program.instructions[operand]
        if instruction.operation == "negative":
            parts = self._parts_of(instruction.operands[0])
            return SigmoidParts(parts.q, parts.p, parts.tail)
        if operand not in self._parts:
            self._parts[operand] = sigmoid_parts(self.values[operand])
        return self._parts[operand]

    def _sigmoid(self, x: int) -> Lanes:
        return self._parts_of(x).p

    def _softplus(self, x: int) -> Lanes:
        return relu(self.values[x]) + self._parts_of(x).tail

    def _log_sigmoid(self, x: int) -> Lanes:
        return -(relu(-self.values[x]) + self._parts_of(x).tail)

    def _power(self, base: int, exponent: int) -> Lanes:
        return self._both_powers(base, exponent).value

    def _power_slope(self, base: int, exponent: int) -> Lanes:
        return self._both_powers(base, exponent).slope

    def _both_powers(self, base: int, exponent: int) -> PowerValue:
        key = (base, exponent)
        if key not in self._powers:
            self._powers[key] = self._power_of(self.values[base], exponent)
        return self._powers[key]

    def _power_of(self, x: Lanes, exponent: int) -> PowerValue:
        operation, _, number = self.program.instructions[exponent]
        if operation == "constant":
            return power_known(x, number)
        if operation != "parameter":
            return power_any(x, self.values[exponent], 0.0)
        kind = self._field(number, "kind")
        if self.exact:
            return power_given(x, Power(kind, self._field(number, "value"), 0.0))
        high, low = (self._field(number, name) for name in ("exponent", "exponent_low"))
        return power_given(x, Power(kind, high, low))


def _absolute(x: Lanes) -> Lanes:
    return -negative_abs(x)


def _maximum(a: Lanes, b: Lanes) -> Lanes:
    return select(a == a, maximum(a, b), a)


def _minimum(a: Lanes, b: Lanes) -> Lanes:
    return select(a == a, minimum(a, b), a)


_SIMPLE: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "divide": lambda a, b: a / b,
    "negative": lambda a: -a,
    "absolute": _absolute,
    "maximum": _maximum,
    "minimum": _minimum,
    "sqrt": square_root,
    "exp": wide_math.exp,
    "expm1": wide_math.expm1,
    "log": wide_math.log,
    "log1p": wide_math.log1p,
    "tanh": wide_math.tanh,
    "less": lambda a, b: a < b,
    "less_equal": lambda a, b: a <= b,
    "equal": lambda a, b: a == b,
    "not_equal": lambda a, b: ~(a == b),
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "not": lambda a: ~a,
    "where": select,
}


# --- what kernels call ----------------------------------------------------------------------------


@lane_function
def custom_value(
    plan: Plan, parameters: Number, z: Lanes, y: Lanes, target: float | None
) -> SigmoidValue:
    """Return loss and slope of a logit; `target` is the target where the compiler knows it.

    A slope is only there where the plan has gradients. A loss is NaN where its slope is not finite:
    then the anchor is repaired.
    """
    program = FORMULAS[plan.loss].programs[target, plan.has_grads]
    loss, *slopes = run_program(program, Inputs(z, y, parameters))
    slope = slopes[0] if slopes else z.like(0.0)
    if slopes:
        loss = loss + (slope - slope)
    is_number = z == z
    return SigmoidValue(select(is_number, loss, z), select(is_number, slope, z))


@lane_function
def custom_class(plan: Plan, parameters: Number, z: Lanes, y: Lanes) -> SigmoidValue:
    """Return the same where labels and other classes, or all targets, come together.

    Few vectors have a label among their targets.
    """
    if plan.has_targets:
        return custom_value(plan, parameters, z, y, None)
    others = custom_value(plan, parameters, z, y, 0.0)
    is_label = y == 1.0

    def with_labels() -> SigmoidValue:
        value = custom_value(plan, parameters, z, y, 1.0)
        pairs = zip(value, others, strict=True)
        return SigmoidValue(*(select(is_label, *pair) for pair in pairs))

    result: SigmoidValue = choose_if(any_lane(is_label), with_labels, lambda: others)
    return result


@lane_function
def exact_custom_value(
    plan: Plan, parameters: Number, z: Number, y: Number
) -> tuple[Number, Number]:
    """Return loss and slope in double, where 0 takes an infinity away."""
    logit, target = (splat_value(z.builder, REALS["float64"], number) for number in (z, y))
    inputs = Inputs(logit, target, parameters)
    programs = FORMULAS[plan.loss].programs
    if plan.has_targets:
        loss, slope = run_program(programs[None, True], inputs, exact=True)
        return _first(loss), _first(slope)
    of_label, of_others = (
        run_program(programs[known, True], inputs, exact=True) for known in (1.0, 0.0)
    )
    is_label = inputs.target == 1.0
    loss, slope = (select(is_label, *pair) for pair in zip(of_label, of_others, strict=True))
    return _first(loss), _first(slope)


def _first(x: Lanes) -> Number:
    value = x.builder.extract_element(x.value, ir.IntType(32)(0))
    return Number(x.builder, value, types.float64)


@inlined
def custom_exact_value(plan: Plan, tile: Any, z: float, y: float, loss_and_slope: int) -> None:
    """Write loss and slope, for the repair of anchors."""
    loss, slope = exact_custom_value(plan, settings_of(tile).parameters, z, y)
    write_double(loss_and_slope, loss)
    write_double(loss_and_slope + 8, slope)
