"""How kernels are compiled and kept: the one place with options of Numba's."""

import functools
import hashlib
import inspect
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core.ccallback import CFunc
from numba.core.registry import cpu_target
from numba.core.sigutils import normalize_signature
from numba.extending import overload

from fastxent import native
from fastxent.numba.files import cache_of
from fastxent.numba.fragments import FragmentCompiler

Function = TypeVar("Function", bound=Callable[..., Any])

#: No fastmath: NaN, infinities and the order of sums are what the kernels are about. Numbers are
#: divided as NumPy does it, without Python's exception, and nothing needs the interpreter.
OPTIONS = {"error_model": "numpy", "nogil": True, "boundscheck": False}
#: What is called by kernels alone.
CALLED = {
    **OPTIONS,
    "forceinline": False,  # which else is what the caller's is
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "pipeline_class": FragmentCompiler,
}
#: And becomes a part of them.
INLINED = {**CALLED, "forceinline": True}


def inlined(function: Function) -> Function:
    """Let kernels call a function, which becomes part of them."""
    compiled: Function = numba.njit(**INLINED)(function)
    return compiled


def called(function: Function) -> Function:
    """Let kernels call a function, of which LLVM need not make a copy for each call."""
    compiled: Function = numba.njit(**CALLED)(function)
    return compiled


def digest_of(folder: Path) -> str:
    """Return a name for the sources in a folder."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def code_digest() -> str:
    """Return a name for what kernels are made of: sources, the CPU, and what C says.

    Numba looks at the file of a kernel alone to find out whether its code on disk is up to date.
    """
    cpu = cpu_target.target_context.codegen().magic_tuple()
    numbers = (native.kernel_constants(), *map(native.formula_constants, (False, True)))
    facts = repr((cpu, native.tile_layout(), native.matrix_layout(), numbers))
    return f"{digest_of(Path(__file__).parent)}{zlib.crc32(facts.encode()):08x}"


def compile_cached(function: Callable[..., Any], signature: Any, name: str, **options: Any) -> Any:
    """Compile a function for Python or C to call, or load it from the disk.

    A file of its own for every kernel: of two processes that write at once, the second then
    replaces what the first wrote by the same.
    """
    function.__qualname__ = function.__name__ = f"{name}-{code_digest()}"
    options = {**OPTIONS, **options}
    if options.get("parallel"):
        compiled = numba.njit(**options)(function)
        compiled._cache = cache_of(function)
        compiled.compile(signature)
        compiled.disable_compile()
    else:
        compiled = CFunc(function, normalize_signature(signature), locals={}, options=options)
        compiled._cache = cache_of(function)
        compiled.compile()
    return compiled


def chosen_by(choose: Callable[[Any], Callable[..., Any]]) -> Callable[[Function], Function]:
    """Return a decorator of functions that stand for another one, which depends on the plan.

    What `choose` returns has the parameters of the decorated function, the first of them a plan. It
    is the only one that is compiled: the others may not even make sense for this plan.
    """

    def decorate(stand_in: Function) -> Function:
        def typing(plan: Any, *others: Any) -> Callable[..., Any]:  # noqa: ARG001
            return choose(plan.plan)

        typing.__signature__ = inspect.signature(stand_in)  # type: ignore[attr-defined]
        overload(stand_in, jit_options=INLINED)(typing)
        return stand_in

    return decorate
