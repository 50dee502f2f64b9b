"""Branches that are decided while a kernel runs, in lane functions; calls that stay calls."""

from collections.abc import Callable, Mapping
from typing import Any

from llvmlite import ir

from fastxent.numba.simd.lanes import Number, lane_function

#: Writes one branch, and returns lanes or a tuple of them.
Branch = Callable[[], Any]


def choose_case(number: Number, cases: Mapping[int, Branch], otherwise: Branch) -> Any:
    """Return the result of the branch of a number."""
    builder = number.builder
    blocks = {case: builder.append_basic_block(f"case{case}") for case in cases}
    default, end = builder.append_basic_block("otherwise"), builder.append_basic_block("chosen")
    switch = builder.switch(number.value, default)
    arrivals: list[tuple[ir.Block, Any]] = []
    for case, block in blocks.items():
        switch.add_case(number.value.type(case), block)
        arrivals.append(_branch(builder, block, end, cases[case]))
    arrivals.append(_branch(builder, default, end, otherwise))
    builder.position_at_end(end)
    return _join(builder, arrivals)


def smaller(number: int, limit: Number) -> Number:
    """Return a constant, or the limit where that is smaller."""
    builder, constant = limit.builder, limit.value.type(number)
    is_less = builder.icmp_signed("<", constant, limit.value)
    return Number(builder, builder.select(is_less, constant, limit.value), limit.type)


@lane_function
def stay_apart(like: Number) -> None:
    """Keep the calling function one of its own, for its constants to have all registers."""
    like.builder.function.attributes.add("noinline")


def choose_if(condition: Number, yes: Branch, no: Branch) -> Any:
    """Return the result of one of two branches."""
    return choose_case(condition, {1: yes}, no)


def _branch(
    builder: ir.IRBuilder, block: ir.Block, end: ir.Block, write: Branch
) -> tuple[ir.Block, Any]:
    builder.position_at_end(block)
    result = write()
    arrival = builder.block, result
    builder.branch(end)
    return arrival


def _join(builder: ir.IRBuilder, arrivals: list[tuple[ir.Block, Any]]) -> Any:
    """Return whichever value arrives."""
    model = arrivals[0][1]
    if isinstance(model, tuple):
        columns = zip(*(values for _, values in arrivals), strict=True)
        blocks = [block for block, _ in arrivals]
        items = [_join(builder, list(zip(blocks, column, strict=True))) for column in columns]
        return type(model)(*items) if hasattr(model, "_fields") else tuple(items)
    phi = builder.phi(model.value.type)
    for block, value in arrivals:
        phi.add_incoming(value.value, block)
    return model.make(phi)
