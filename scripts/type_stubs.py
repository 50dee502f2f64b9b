"""Write the stubs of the public modules: which call returns what, for type checkers and editors.

Run ``python scripts/type_stubs.py`` to write them, or with ``--check`` to learn whether they are up
to date. It needs nothing but Python. A stub has the public functions and classes of its module with
the parameters that are written there. A loss becomes overloads on its reduction and on each of its
parameters ``return_...``, a score becomes two: that of a scalar is a scalar. The losses and scores
of ``fastxent.torch`` and ``fastxent.jax`` have those parameters of NumPy's that it knows.
"""

import argparse
import ast
import runpy
import sys
import textwrap
from collections.abc import Iterator
from itertools import chain, product
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parents[1] / "fastxent"
MODULES = (
    "losses",
    "focal_losses",
    "focal_star",
    "quality_losses",
    "probability_losses",
    "custom",
    "scores",
)


class Library(NamedTuple):
    """How the parameters and results of NumPy's functions are called for another library."""

    imports: str
    result: str
    argument: str
    #: One that may be a number as well.
    option: str


LIBRARIES = {
    "torch": Library("from torch import Tensor\n", "Tensor", "Tensor", "Tensor | float"),
    "jax": Library(
        "import jax\nfrom jax.typing import ArrayLike\n", "jax.Array", "ArrayLike", "ArrayLike"
    ),
}
#: The stubs of their functions, and the modules that have these for NumPy.
LIBRARY_MODULES = {
    "losses": ("losses", "focal_losses", "focal_star", "quality_losses", "probability_losses"),
    "scores": ("scores",),
}
NUMPY_ONLY = runpy.run_path(str(PACKAGE / "_catalogue.py"))["NUMPY_ONLY"]

HEADER = """\
# scripts/type_stubs.py made this of {module}.py: change that, and run the script again.
# fmt: off

"""
LIBRARY_HEADER = """\
# scripts/type_stubs.py made this of the functions of arrays: change those, and run it again.
# fmt: off

"""
#: What the stubs need, whether or not the modules have it.
IMPORTS = "import numpy as np\nfrom typing import Any, Literal, overload\n"
#: What a loss is, by the parameter `reduction`.
LOSS_TYPES = {
    'reduction: Literal["anchor", "none"] = "anchor"': "Array",
    'reduction: Literal["sum", "mean"]': "np.float64",
}
#: Scores that are scalars for some arrays, too.
REDUCING_SCORES = {"logsumexp"}
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"
SCALAR = "float | np.number[Any]"

#: Parameters as they are written, by name; "/" and "*" are called so.
Parameters = dict[str, str]


def format_stub(module: str, source: str) -> str:
    """Return the stub of a module."""
    statements = ast.parse(source).body
    names = next(s for s in statements if isinstance(s, ast.Assign) and "__all__" in ast.unparse(s))
    members = format_members(list(filter(is_public, statements)), source)
    code = "\n".join([f"{ast.get_source_segment(source, names)}\n", *members]) + "\n"
    return HEADER.format(module=module) + format_imports(source, code) + f"\n{code}"


def is_public(statement: ast.stmt) -> bool:
    """Return whether a statement of a module or class is something that users may use."""
    if isinstance(statement, ast.AnnAssign):
        return ast.unparse(statement.target).startswith("__")
    is_definition = isinstance(statement, ast.ClassDef | ast.FunctionDef)
    return is_definition and (statement.name == "__call__" or statement.name[0] != "_")


def format_imports(source: str, code: str) -> str:
    """Return the imports that the code of a stub needs, of those of its module and our own."""
    needed = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    lines, members = set(), {}
    for statement in chain(ast.parse(IMPORTS).body, ast.parse(source).body):
        if isinstance(statement, ast.Import | ast.ImportFrom):
            for alias in statement.names:
                if (alias.asname or alias.name) not in needed:
                    continue
                if isinstance(statement, ast.ImportFrom):
                    members.setdefault(statement.module, set()).add(alias.name)
                else:
                    lines.add(f"import {ast.unparse(alias)}\n")
    for module, names in members.items():
        lines.add(f"from {module} import {', '.join(sorted(names))}\n")
    return "".join(sorted(lines))


def format_members(statements: list[ast.stmt], source: str) -> Iterator[str]:
    """Yield the definitions of a module or class as stubs have them."""
    overloaded = {s.name for s in statements if isinstance(s, ast.FunctionDef) and is_overload(s)}
    for statement in statements:
        if isinstance(statement, ast.ClassDef):
            members = format_members(list(filter(is_public, statement.body)), source)
            yield f"class {statement.name}:\n" + textwrap.indent("\n".join(members), "    ")
        elif not isinstance(statement, ast.FunctionDef):
            yield ast.unparse(statement)
        elif is_overload(statement) or statement.name not in overloaded:
            yield from format_function(statement, source)


def is_overload(function: ast.FunctionDef) -> bool:
    """Return whether a function is one of several overloads."""
    return any(ast.unparse(decorator) == "overload" for decorator in function.decorator_list)


def format_function(function: ast.FunctionDef, source: str) -> Iterator[str]:
    """Yield a function, or its overloads."""
    parameters = parameters_of(function, source)
    result = ast.get_source_segment(source, function.returns)
    variants = [(parameters, result)]
    if "reduction" in parameters:
        variants = list(loss_variants(parameters, result))
    elif result == "ArrayOrScalar" and function.name not in REDUCING_SCORES:
        name = next(iter(parameters))
        variants = [(parameters | {name: f"{name}: {SCALAR}"}, result), (parameters, "Array")]
    decorator = "@overload\n" if len(variants) > 1 or is_overload(function) else ""
    for chosen, kind in variants:
        yield f"{decorator}def {function.name}(\n{wrapped(chosen)}\n) -> {kind}: ..."


def wrapped(parameters: Parameters) -> str:
    """Return parameters in lines, none of which ends within a parameter."""
    texts = [text.replace(" ", NO_BREAK_SPACE) for text in parameters.values()]
    lines = textwrap.fill(", ".join(texts), 92, break_long_words=False, break_on_hyphens=False)
    return textwrap.indent(lines.replace(NO_BREAK_SPACE, " "), "    ")


def parameters_of(function: ast.FunctionDef, source: str) -> Parameters:
    """Return the parameters of a function as they are written."""
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(positional) - len(given.defaults)) + given.defaults
    texts = {}
    for argument, default in zip(
        positional + given.kwonlyargs, defaults + given.kw_defaults, strict=True
    ):
        if argument in given.kwonlyargs[:1]:
            texts["*"] = "*"
        texts[argument.arg] = ast.get_source_segment(source, argument)
        if default is not None:
            texts[argument.arg] += f" = {ast.get_source_segment(source, default)}"
        if argument in given.posonlyargs[-1:]:
            texts["/"] = "/"
    if given.kwarg is not None:
        texts[given.kwarg.arg] = f"**{ast.get_source_segment(source, given.kwarg)}"
    return texts


def loss_variants(parameters: Parameters, result: str) -> Iterator[tuple[Parameters, str]]:
    """Yield the parameters of each overload of a loss, and the type of its result.

    The last one takes what is not known before the call, such as ``return_grad=wants_grad``.
    """
    flags = [name for name in parameters if name.startswith("return_")]
    for wanted in product((False, True), repeat=len(flags)):
        arrays = ", Array" * sum(wanted)
        chosen = {
            flag: f"{flag}: Literal[True]" if is_wanted else f"{flag}: Literal[False] = False"
            for flag, is_wanted in zip(flags, wanted, strict=True)
        }
        for reduction, loss in LOSS_TYPES.items():
            kind = f"tuple[{loss}{arrays}]" if arrays else loss
            yield parameters | chosen | {"reduction": reduction}, kind
    if len(flags) == 1:  # a call without it has found its overload above
        parameters = parameters | {flags[0]: f"{flags[0]}: bool"}
    yield parameters, result


def format_library_stub(library: Library, modules: tuple[str, ...]) -> str:
    """Return the stub of a library's functions that have counterparts in these modules."""
    functions = {}
    imports = library.imports
    for module in modules:
        source = (PACKAGE / f"{module}.py").read_text(encoding="utf-8")
        imports += "".join(ast.unparse(s) + "\n" for s in ast.parse(source).body if is_import(s))
        for function in filter(is_public, ast.parse(source).body):
            functions[function.name] = "\n".join(format_for(library, function, source))
    names = "".join(f'    "{name}",\n' for name in sorted(functions))
    members = "\n".join(functions[name] for name in sorted(functions))
    code = f"__all__ = [\n{names}]\n\n{members}\n"
    return LIBRARY_HEADER + format_imports(imports, code) + f"\n{code}"


def is_import(statement: ast.stmt) -> bool:
    """Return whether a statement imports names that are not of NumPy's arrays."""
    return isinstance(statement, ast.ImportFrom) and statement.module != "numpy.typing"


def format_for(library: Library, function: ast.FunctionDef, source: str) -> Iterator[str]:
    """Yield a function of a library, or its overloads, given that of NumPy."""
    parameters = {
        name: translated(library, name, text)
        for name, text in parameters_of(function, source).items()
        if name not in NUMPY_ONLY
    }
    kind = library.result
    variants = [(parameters, kind)]
    flag = "return_expectation"
    if flag in parameters:
        variants = [
            (parameters | {flag: f"{flag}: Literal[False] = False"}, kind),
            (parameters | {flag: f"{flag}: Literal[True]"}, f"tuple[{kind}, {kind}]"),
        ]
    decorator = "@overload\n" if len(variants) > 1 else ""
    for chosen, result in variants:
        yield f"{decorator}def {function.name}(\n{wrapped(chosen)}\n) -> {result}: ..."


def translated(library: Library, name: str, parameter: str) -> str:
    """Return a parameter of NumPy's function as one of the library's."""
    if name == "normalizer":
        return parameter.replace("Normalizer | float", f"Normalizer | {library.option}")
    return parameter.replace("ArrayLike | None", f"{library.option} | None").replace(
        "ArrayLike", library.argument
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the stubs of the public modules.")
    parser.add_argument("--check", action="store_true", help="compare the files, write nothing")
    is_check = parser.parse_args(arguments).check
    stubs = {
        PACKAGE / f"{module}.pyi": format_stub(
            module, (PACKAGE / f"{module}.py").read_text(encoding="utf-8")
        )
        for module in MODULES
    }
    for (folder, library), (name, modules) in product(LIBRARIES.items(), LIBRARY_MODULES.items()):
        stubs[PACKAGE / folder / f"{name}.pyi"] = format_library_stub(library, modules)
    status = 0
    for path, stub in stubs.items():
        if not is_check:
            path.write_text(stub, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != stub:
            print(f"{path} is out of date: run python scripts/type_stubs.py", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
