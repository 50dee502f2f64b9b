"""Measure the errors of the vector functions that the kernels are made of.

``python scripts/primitive_errors.py`` samples each function of native/simd/primitives.def in its
domain, on every instruction set of this machine, and compares its largest error with the contract
there; an error beyond it ends the run with status 1. With ``--exhaustive`` it takes all floats
(`make exhaustive`; minutes). ``--write`` writes the table of docs/internals/kernels.md from the
contracts, ``--check`` only compares it.

The references are NumPy's functions in the next wider type: doubles for floats, and for doubles
long doubles where these are wider (x86).
"""

import argparse
import re
import sys
from pathlib import Path

import numpy as np

from fastxent import native

PAGE = Path(__file__).parents[1] / "docs" / "internals" / "kernels.md"
BEGIN, END = "<!-- primitives: begin -->", "<!-- primitives: end -->"

#: Values of a block, which fits the second-level cache.
BLOCK = 1 << 16
#: A prime, so that all low bits occur.
STRIDE = 4099
DOUBLES = 10_000_000


def sigmoid(x):
    e = np.exp(-abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


#: In the type of their argument.
REFERENCES = {
    "exp_nonpositive": np.exp,
    "exp_centred": np.exp,
    "expm1_nonpositive": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "log1p_unit": np.log1p,
    "pow_0_3": lambda x: x ** x.dtype.type(0.3),
    "pow_1_5": lambda x: x ** x.dtype.type(1.5),
    "pow_7_3": lambda x: x ** x.dtype.type(7.3),
    "sigmoid_part": sigmoid,
    "softplus_tail": lambda x: np.log1p(np.exp(-abs(x))),
}

FORMULAS = {
    "exp_nonpositive": "exp(x)",
    "exp_centred": "exp(x - c), here for c = 0",
    "expm1_nonpositive": "exp(x) - 1",
    "log": "log(x)",
    "log1p": "log(1 + x)",
    "log1p_unit": "log(1 + x)",
    "pow_0_3": "x^0.3",
    "pow_1_5": "x^1.5",
    "pow_7_3": "x^7.3",
    "sigmoid_part": "1 / (1 + exp(-x))",
    "softplus_tail": "log(1 + exp(-abs(x)))",
}


def wider(dtype):
    """Return the type of the references."""
    return np.float64 if dtype == np.float32 else np.longdouble


def ulp_errors(results, exact):
    """Return the distances in units in the last place of the exact results."""
    info = np.finfo(results.dtype)
    smallest = info.smallest_normal.astype(exact.dtype)
    if exact.dtype == np.float64:  # a power of two is its exponent field
        sizes = np.maximum(abs(exact), smallest).view(np.uint64) & np.uint64(0x7FF << 52)
        inverse_units = (np.uint64(2 * 1023 + info.nmant << 52) - sizes).view(np.float64)
    else:
        _, exponents = np.frexp(np.maximum(abs(exact), smallest))
        inverse_units = np.ldexp(exact.dtype.type(1), info.nmant + 1 - exponents)
    errors = abs(results - exact) * inverse_units
    errors[results == exact] = 0  # infinities
    return errors


def largest_error(name, values):
    """Return the largest error of all instruction sets, which one has it, and where."""
    largest = (-1.0, "", 0.0)
    with np.errstate(all="ignore"):
        exact = REFERENCES[name](values.astype(wider(values.dtype)))
        seen = []
        for isa in native.available_isas():
            native.set_isa(isa)
            results = np.empty_like(values)
            native.evaluate_primitive(name, values, results)
            if any(np.array_equal(results.view(np.uint8), other) for other in seen):
                continue
            seen.append(results.view(np.uint8))
            errors = ulp_errors(results, exact)
            errors[np.isnan(errors)] = np.inf
            place = int(errors.argmax())
            largest = max(largest, (float(errors[place]), isa, float(values[place])))
    return largest


def floats(lowest, highest, stride):
    """Yield all floats of a domain, or each `stride`-th, in blocks."""
    # Ordered as numbers: negative ones are counted down from -0.
    first, last = (order_of(np.float32(limit)) for limit in (lowest, highest))
    for start in range(first, last + 1, BLOCK * stride):
        stop = min(start + BLOCK * stride, last + 1)
        orders = np.arange(start, stop, stride, dtype=np.int64)
        bits = np.where(orders < 0, (1 << 31) - orders - 1, orders)
        yield bits.astype(np.uint32).view(np.float32)


def order_of(value):
    """Return the number of a float among all floats; that of 0 is 0."""
    bits = int(np.asarray(value, np.float32).view(np.uint32))
    return bits if bits < 1 << 31 else (1 << 31) - bits - 1


def doubles(lowest, highest, count):
    """Yield doubles of a domain: evenly spaced exponents, random mantissas; and its limits."""
    random = np.random.default_rng(6)
    info = np.finfo(np.float64)
    most = np.log2(max(min(-lowest, info.max), min(highest, info.max)))
    for _ in range(-(-count // BLOCK)):
        size = random.uniform(info.minexp - info.nmant, most, min(count, BLOCK))
        size = np.where(np.arange(len(size)) % 2, size, random.uniform(-8, min(most, 8), len(size)))
        values = np.exp2(size) * random.choice([-1.0, 1.0], len(size))
        values = values[(values >= lowest) & (values <= highest)]
        yield np.concatenate([values, [lowest, highest]])


def measure(name, dtype, stride=STRIDE, count=DOUBLES):
    """Return the largest error of a function, on which instruction set, and where."""
    lowest, highest, *_ = native.primitives(dtype == np.float64)[name]
    is_float = dtype == np.float32
    blocks = floats(lowest, highest, stride) if is_float else doubles(lowest, highest, count)
    before = native.get_isa()
    largest = max(largest_error(name, values) for values in blocks)
    native.set_isa(before)
    return largest


# --- the table ------------------------------------------------------------------------------------


def short(number):
    """Return a number in hex, or as an integer."""
    if number in {0, 1} or np.isinf(number):
        return f"{number:g}"
    return re.sub(r"\.?0*p", "p", number.hex())


def table():
    """Return the contracts as a table in Markdown."""
    lines = [
        "| function | computes | floats from | to | most ULP | worst input | of doubles |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    of_doubles = native.primitives(True)
    for name, (lowest, highest, ulps, worst) in native.primitives(False).items():
        limits = [f"`{short(limit)}`" for limit in (lowest, highest)]
        cells = [f"`{name}`", FORMULAS[name], *limits, f"{ulps:.3f}", f"`{short(worst)}`"]
        lines.append("| " + " | ".join([*cells, f"{of_doubles[name][2]:.3f}"]) + " |")
    return "\n".join(lines)


def page_with_table(page):
    """Return the page with the table between the markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--exhaustive", action="store_true", help="take all floats")
    parser.add_argument("--write", action="store_true", help=f"write the table of {PAGE.name}")
    parser.add_argument("--check", action="store_true", help="compare that table, measure nothing")
    parser.add_argument("names", nargs="*", metavar="FUNCTION", help="of these (all)")
    options = parser.parse_args()
    page = PAGE.read_text("utf-8")
    if options.write:
        PAGE.write_text(page_with_table(page), "utf-8")
        return 0
    if options.check:
        return int(page != page_with_table(page))
    status = 0
    for dtype in (np.float32, np.float64):
        contracts = native.primitives(dtype == np.float64)
        for name in options.names or contracts:
            stride = 1 if options.exhaustive else STRIDE
            ulps, isa, worst = measure(name, np.dtype(dtype), stride)
            is_kept = ulps <= contracts[name][2]
            status |= not is_kept
            print(
                f"{np.dtype(dtype).name} {name:18} {ulps:.5f} ULP at {worst.hex():24} {isa:9}"
                f"contract {contracts[name][2]:.3f}{'' if is_kept else ': EXCEEDED'}",
                flush=True,
            )
    return status


if __name__ == "__main__":
    sys.exit(main())
