"""Records that compiled functions read and write where they lie, described by NumPy dtypes.

Numba has a type for them, whose name spells out all fields: in the names of functions it made
compiling a quarter slower. This one has a short name, and is the record's address.
"""

import zlib
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    infer_getattr,
    intrinsic,
    lower_getattr_generic,
    lower_setattr_generic,
    models,
    register_model,
)
from numba.np.numpy_support import from_dtype

_ADDRESS = ir.IntType(64)


class StructType(types.Type):
    """A record at an address."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        super().__init__(name=f"struct({zlib.crc32(repr(dtype).encode()):x})")

    def field(self, name: str) -> tuple[types.Type, int]:
        """Return the type of a field, and where it lies."""
        fields: Any = self.dtype.fields
        dtype, offset = fields[name][:2]
        kind = StructType(dtype) if dtype.fields else from_dtype(dtype)
        return kind, offset


@register_model(StructType)
class _StructModel(models.PrimitiveModel):
    def __init__(self, manager: Any, struct: StructType) -> None:
        super().__init__(manager, struct, _ADDRESS)


@infer_getattr
class _Fields(AttributeTemplate):
    key = StructType

    def generic_resolve(self, struct: StructType, name: str) -> types.Type:
        return struct.field(name)[0]


@lower_getattr_generic(StructType)
def _read_field(
    context: Any, builder: ir.IRBuilder, struct: StructType, address: ir.Value, name: str
) -> ir.Value:
    kind, offset = struct.field(name)
    place = builder.add(address, _ADDRESS(offset))
    if isinstance(kind, StructType):
        return place
    value = context.get_value_type(kind)
    return builder.load(builder.inttoptr(place, ir.PointerType(value)), align=kind.bitwidth // 8)


@lower_setattr_generic(StructType)
def _write_field(context: Any, builder: ir.IRBuilder, sig: Any, arguments: Any, name: str) -> None:
    struct, given = sig.args
    kind, offset = struct.field(name)
    address, number = arguments
    value = context.cast(builder, number, given, kind)
    place = builder.add(address, _ADDRESS(offset))
    pointer = builder.inttoptr(place, ir.PointerType(value.type))
    builder.store(value, pointer, align=kind.bitwidth // 8)


def _as_it_is(
    context: Any,  # noqa: ARG001 - Numba's interface
    builder: ir.IRBuilder,  # noqa: ARG001
    sig: Any,  # noqa: ARG001
    values: Any,
) -> ir.Value:
    """Return the one argument: a record is its address."""
    return values[0]


def struct_at(dtype: np.dtype[Any]) -> Any:
    """Return a function from an address to the record that lies there."""
    struct = StructType(dtype)

    @intrinsic
    def at(typing_context: Any, address: types.Type) -> Any:  # noqa: ARG001 - Numba's interface
        return struct(types.intp), _as_it_is

    return at


@intrinsic
def address_of(typing_context: Any, struct: types.Type) -> Any:  # noqa: ARG001 - Numba's interface
    """Return where a record lies."""
    return types.intp(struct), _as_it_is
