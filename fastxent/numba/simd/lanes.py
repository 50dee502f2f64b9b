"""Vectors for Numba: a type of 16 floats or 8 doubles, and functions that write LLVM IR for it.

Numba has no vector type, and what it makes of scalar loops is LLVM's choice. So the kernels are
written on a type of their own, as the C kernels are (native/simd/vector.h). A :func:`lane_function`
is plain Python on :class:`Lanes`: it runs while the kernel that calls it is compiled, and each of
its operations writes an instruction. Nothing of it is left when the kernel runs, no call and no
branch that was decided by Python's own ``if``. Numba neither reads nor types its body, which is
most of what it does with a compiled function.

A compiled function calls lane functions like any others. What they see as an argument:

    ======================  =============================================================
    in a compiled function  in the lane function
    ======================  =============================================================
    lanes, a mask           :class:`Lanes`, :class:`Mask`
    a number                :class:`Number`, known when the kernel runs
    a record                the :class:`Number` of its address
    a literal               the Python number
    a plan                  the :class:`Plan`
    a lane function         the function
    a tuple                 a tuple of these
    ======================  =============================================================
"""

import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import CallableTemplate, infer_global
from numba.extending import lower_builtin, models, register_model, type_callable

INDEX = ir.IntType(64)
BIT = ir.IntType(1)


class Real(NamedTuple):
    """What a precision is made of."""

    name: str
    lanes: int
    ir: ir.Type
    bits: ir.IntType
    mantissa: int
    bias: int
    #: The smallest normal number; dividing by less is slow.
    smallest: float

    @property
    def size(self) -> int:
        """Return the bytes of a number."""
        return int(self.bits.width) // 8

    @property
    def scalar(self) -> types.Type:
        """Return Numba's type of a number."""
        return types.float32 if self.size == 4 else types.float64


#: Sixteen floats or eight doubles on every CPU: narrower registers hold them in parts, so that sums
#: have the same order and the same bits everywhere.
REALS = {
    "float32": Real("float32", 16, ir.FloatType(), ir.IntType(32), 23, 127, 2.0**-126),
    "float64": Real("float64", 8, ir.DoubleType(), ir.IntType(64), 52, 1023, 2.0**-1022),
}


# --- the types, as Numba sees them ----------------------------------------------------------------


class LanesType(types.Type):
    """A vector of floats or doubles."""

    def __init__(self, real: str) -> None:
        self.real = REALS[real]
        super().__init__(name=f"lanes({real})")


class MaskType(types.Type):
    """One truth value a lane."""

    def __init__(self, real: str) -> None:
        self.real = REALS[real]
        super().__init__(name=f"mask({real})")


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: LanesType) -> None:
        super().__init__(manager, lanes, ir.VectorType(lanes.real.ir, lanes.real.lanes))


@register_model(MaskType)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, mask: MaskType) -> None:
        super().__init__(manager, mask, ir.VectorType(BIT, mask.real.lanes))


# --- values while the code is written -------------------------------------------------------------


class Number:
    """A number that is known when the kernel runs."""

    __slots__ = ("builder", "type", "value")

    def __init__(self, builder: ir.IRBuilder, value: ir.Value, numba_type: types.Type) -> None:
        self.builder = builder
        self.value = value
        self.type = numba_type

    def _integers(self, instruction: str, other: "Number | int") -> "Number":
        right = other.value if isinstance(other, Number) else self.value.type(other)
        return Number(
            self.builder, getattr(self.builder, instruction)(self.value, right), self.type
        )

    def __add__(self, other: "Number | int") -> "Number":
        return self._integers("add", other)

    def __mul__(self, other: "Number | int") -> "Number":
        return self._integers("mul", other)

    def equals(self, other: int) -> "Number":
        """Compare with a constant."""
        bit = self.builder.icmp_signed("==", self.value, self.value.type(other))
        return Number(self.builder, bit, types.boolean)


class _Vector:
    """What lanes and masks have in common: they know where their instructions go."""

    __slots__ = ("builder", "real", "value")

    def __init__(self, builder: ir.IRBuilder, value: ir.Value, real: Real) -> None:
        self.builder = builder
        self.value = value
        self.real = real


class Mask(_Vector):
    """One truth value a lane."""

    __slots__ = ()

    @property
    def type(self) -> MaskType:
        """Return Numba's type."""
        return MaskType(self.real.name)

    def __and__(self, other: "Mask") -> "Mask":
        return Mask(self.builder, self.builder.and_(self.value, other.value), self.real)

    def __or__(self, other: "Mask") -> "Mask":
        return Mask(self.builder, self.builder.or_(self.value, other.value), self.real)

    def __invert__(self) -> "Mask":
        return Mask(self.builder, self.builder.not_(self.value), self.real)


#: What operators and functions of lanes take: numbers stand for all lanes.
Operand: TypeAlias = "Lanes | Number | float"


class Lanes(_Vector):
    """A vector; its operators take other vectors, and numbers for all lanes."""

    __slots__ = ()

    @property
    def type(self) -> LanesType:
        """Return Numba's type."""
        return LanesType(self.real.name)

    def like(self, number: "Operand") -> "Lanes":
        """Return a number in all lanes of a vector of this precision."""
        if isinstance(number, Lanes):
            return number
        return splat_value(self.builder, self.real, number)

    def make(self, value: ir.Value) -> "Lanes":
        """Wrap the result of an instruction."""
        return Lanes(self.builder, value, self.real)

    def _binary(self, instruction: str, left: "Operand", right: "Operand") -> "Lanes":
        operands = self.like(left).value, self.like(right).value
        return self.make(getattr(self.builder, instruction)(*operands))

    def __add__(self, other: "Operand") -> "Lanes":
        return self._binary("fadd", self, other)

    def __radd__(self, other: "Operand") -> "Lanes":
        return self._binary("fadd", other, self)

    def __sub__(self, other: "Operand") -> "Lanes":
        return self._binary("fsub", self, other)

    def __rsub__(self, other: "Operand") -> "Lanes":
        return self._binary("fsub", other, self)

    def __mul__(self, other: "Operand") -> "Lanes":
        return self._binary("fmul", self, other)

    def __rmul__(self, other: "Operand") -> "Lanes":
        return self._binary("fmul", other, self)

    def __truediv__(self, other: "Operand") -> "Lanes":
        return self._binary("fdiv", self, other)

    def __rtruediv__(self, other: "Operand") -> "Lanes":
        return self._binary("fdiv", other, self)

    def __neg__(self) -> "Lanes":
        return self.make(self.builder.fneg(self.value))

    def _compare(self, sign: str, other: "Operand") -> Mask:
        bits = self.builder.fcmp_ordered(sign, self.value, self.like(other).value)
        return Mask(self.builder, bits, self.real)

    def __lt__(self, other: "Operand") -> Mask:
        return self._compare("<", other)

    def __le__(self, other: "Operand") -> Mask:
        return self._compare("<=", other)

    def __gt__(self, other: "Operand") -> Mask:
        return self._compare(">", other)

    def __ge__(self, other: "Operand") -> Mask:
        return self._compare(">=", other)

    def __eq__(self, other: object) -> Mask:  # type: ignore[override]
        return self._compare("==", other)  # type: ignore[arg-type]

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise TypeError("lanes differ: a branch cannot follow them all; use select()")


def splat_value(builder: ir.IRBuilder, real: Real, number: "Number | float") -> Lanes:
    """Return a number in all lanes, rounded to their precision."""
    if not isinstance(number, Number):
        constant = ir.VectorType(real.ir, real.lanes)([float(number)] * real.lanes)
        return Lanes(builder, constant, real)
    scalar = real_value(builder, real, number)
    first = builder.insert_element(
        ir.VectorType(real.ir, real.lanes)(ir.Undefined), scalar, ir.IntType(32)(0)
    )
    zeros = ir.VectorType(ir.IntType(32), real.lanes)([0] * real.lanes)
    return Lanes(builder, builder.shuffle_vector(first, first, zeros), real)


def real_value(builder: ir.IRBuilder, real: Real, number: Number) -> ir.Value:
    """Convert a number to a precision."""
    if isinstance(number.type, types.Integer):
        return builder.sitofp(number.value, real.ir)
    if number.value.type == real.ir:
        return number.value
    convert = builder.fptrunc if real.name == "float32" else builder.fpext
    return convert(number.value, real.ir)


# --- from a compiled function to a lane function and back -----------------------------------------


def _enter(builder: ir.IRBuilder, numba_type: types.Type, value: ir.Value) -> Any:
    """Return an argument as the lane function sees it."""
    if isinstance(numba_type, (LanesType, MaskType)):
        wrap = Lanes if isinstance(numba_type, LanesType) else Mask
        return wrap(builder, value, numba_type.real)
    if isinstance(numba_type, types.Literal):
        return numba_type.literal_value
    if isinstance(numba_type, types.Function):
        return numba_type.typing_key
    if hasattr(numba_type, "plan"):
        return numba_type.plan
    if isinstance(numba_type, types.BaseTuple):
        items = [
            _enter(builder, item, builder.extract_value(value, place))
            for place, item in enumerate(numba_type.types)
        ]
        make = getattr(numba_type, "instance_class", None)
        return make(*items) if make else tuple(items)
    return Number(builder, value, numba_type)


def _type_of(result: Any) -> types.Type:
    """Return Numba's type of what a lane function returned."""
    if result is None:
        return types.none
    if isinstance(result, tuple):
        kinds = [_type_of(item) for item in result]
        if hasattr(result, "_fields"):
            alike = all(kind == kinds[0] for kind in kinds)
            if alike:
                return types.NamedUniTuple(kinds[0], len(kinds), type(result))
            return types.NamedTuple(kinds, type(result))
        return types.Tuple(kinds)
    return result.type


def _leave(context: Any, builder: ir.IRBuilder, result: Any) -> ir.Value:
    """Return a result as the compiled function sees it."""
    if result is None:
        return context.get_dummy_value()
    if isinstance(result, tuple):
        items = [_leave(context, builder, item) for item in result]
        return context.make_tuple(builder, _type_of(result), items)
    return result.value


def _rehearse(function: Callable[..., Any], arguments: Sequence[types.Type]) -> types.Type:
    """Find the type of a result, by writing the instructions into a function that is dropped."""
    from numba.core.registry import cpu_target  # noqa: PLC0415 - Numba sets it up at the first use

    context = cpu_target.target_context
    kinds = [context.get_value_type(argument) for argument in arguments]
    module = ir.Module()
    rehearsal = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), "rehearsal")
    builder = ir.IRBuilder(rehearsal.append_basic_block())
    values = zip(arguments, rehearsal.args, strict=True)
    return _type_of(function(*(_enter(builder, kind, value) for kind, value in values)))


def lane_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let compiled functions call a function that writes instructions.

    For type checkers it takes and returns anything: numbers of a compiled function are ints and
    floats there, and Numbers here.
    """
    signature = inspect.signature(function)
    known: dict[tuple[types.Type, ...], types.Type] = {}

    def result_type(*arguments: types.Type) -> types.Type:
        if arguments not in known:
            known[arguments] = _rehearse(function, arguments)
        return known[arguments]

    result_type.__signature__ = signature  # type: ignore[attr-defined]

    class Template(CallableTemplate):
        key = function
        prefer_literal = True

        def generic(self) -> Callable[..., types.Type]:
            return result_type

    infer_global(function, types.Function(Template))

    @lower_builtin(function, types.VarArg(types.Any))
    def lower(context: Any, builder: ir.IRBuilder, sig: Any, values: Sequence[ir.Value]) -> Any:
        arguments = (_enter(builder, *pair) for pair in zip(sig.args, values, strict=True))
        return _leave(context, builder, function(*arguments))

    return function


def _register_operators() -> None:
    """Let compiled functions use the operators of lanes and masks."""
    for name in ("add", "sub", "mul", "truediv", "lt", "le", "gt", "ge", "eq"):
        _register_operator(getattr(operator, name), LanesType)
    for name in ("and_", "or_"):
        _register_operator(getattr(operator, name), MaskType)
    _register_operator(operator.neg, LanesType)
    _register_operator(operator.invert, MaskType)


def _register_operator(function: Callable[..., Any], vector: type) -> None:
    count = len(inspect.signature(function).parameters)
    allowed = (vector, types.Number) if vector is LanesType else (vector,)

    @type_callable(function)
    def typing(context: Any) -> Callable[..., types.Type | None]:  # noqa: ARG001
        def result_type(*arguments: types.Type) -> types.Type | None:
            suits = len(arguments) == count and all(isinstance(a, allowed) for a in arguments)
            if not suits or not any(isinstance(a, vector) for a in arguments):
                return None
            return _rehearse(function, arguments)

        return result_type

    def lower(context: Any, builder: ir.IRBuilder, sig: Any, values: Sequence[ir.Value]) -> Any:
        arguments = (_enter(builder, *pair) for pair in zip(sig.args, values, strict=True))
        return _leave(context, builder, function(*arguments))

    lower_builtin(function, vector, *[types.Any] * (count - 1))(lower)
    if count == 2 and vector is LanesType:
        lower_builtin(function, types.Number, vector)(lower)


_register_operators()
