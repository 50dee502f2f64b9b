"""The numbers that Numba's formulas are made of are those of the header for C."""

import re
from pathlib import Path

import pytest

from fastxent import native

pytest.importorskip("numba")
from fastxent.numba.simd import vector_math

SIMD = Path(native.__file__).with_name("simd")
PRECISIONS = {"double": vector_math.DOUBLE, "float": vector_math.FLOAT}


def number(text):
    """Return a number as C spells it."""
    text = text.removesuffix("f") if "x" not in text or "p" in text else text
    return float.fromhex(text) if "x" in text else float(text)


def header_numbers(precision):
    """Return what the headers define for a precision: numbers by their names, lists of tables."""
    source = "".join((SIMD / name).read_text("utf-8") for name in ("vector.h", "vector_math.h"))
    source = re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL)
    chosen = r"\1" if precision == "double" else r"\2"
    branches = r"#if FX_DOUBLE\n((?:(?!#e|#if).*\n)*?)#else\n((?:(?!#e|#if).*\n)*?)#endif"
    source = re.sub(branches, chosen, source)
    found = {
        name.lower(): number(value)
        for name, value in re.findall(r"#define FX_(\w+) (-?[\d.]\S*)\s", source)
    }
    for name, values in re.findall(r"real (\w+_tail)\[\] = \{([^}]*)\}", source):
        found[name] = tuple(map(number, re.split(r",\s*", values.strip())))
    return found


@pytest.mark.parametrize("precision", PRECISIONS)
def test_numbers_are_those_of_c(precision):
    """Limits, the parts of ln 2 and the coefficients of all polynomials, to the last bit."""
    expected, ours = header_numbers(precision), PRECISIONS[precision]._asdict()
    if precision == "double":  # it has no polynomial for this
        assert ours.pop("log1p_unit_tail") == ()
    assert {name: expected[name] for name in ours} == ours


def test_log2_e():
    source = (SIMD / "vector_math.h").read_text("utf-8")
    text = re.search(r"FX_LOG2_E \(\(real\)(\S+)\)", source).group(1)
    assert float.fromhex(text) == vector_math.LOG2_E
