"""What the package in the working tree has, read without importing it: another one is installed."""

import ast
import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "fastxent"


def _statements(module: str) -> list[ast.stmt]:
    return ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8")).body


def _keys_of(module: str, name: str) -> tuple[str, ...]:
    """Return the keys of a dictionary that a module assigns to a name."""
    for statement in _statements(module):
        if isinstance(statement, ast.Assign):
            targets, value = statement.targets, statement.value
        elif isinstance(statement, ast.AnnAssign):
            targets, value = [statement.target], statement.value
        else:
            continue
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            if isinstance(value, ast.Dict):
                return tuple(ast.literal_eval(key) for key in value.keys if key is not None)
            if isinstance(value, ast.Call):  # dict.fromkeys(keys, ...)
                return tuple(ast.literal_eval(value.args[0]))
    raise LookupError(f"fastxent/{module}.py has no dictionary {name}")


def public_functions(module: str) -> tuple[str, ...]:
    """Return the names of the public functions of a module of the package."""
    names = (each.name for each in _statements(module) if isinstance(each, ast.FunctionDef))
    return tuple(dict.fromkeys(name for name in names if not name.startswith("_")))  # overloads


BACKENDS = _keys_of("_config", "BACKENDS")


def _load_benchmarks() -> None:
    """Make ``benchmarks``, a neighbour of this folder, importable.

    Its folder cannot go onto the path: the package in the working tree would come along.
    """
    if "benchmarks" in sys.modules:
        return
    folder = ROOT / "benchmarks"
    spec = importlib.util.spec_from_file_location(
        "benchmarks", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["benchmarks"] = module
    spec.loader.exec_module(module)


_load_benchmarks()

from benchmarks import package  # noqa: E402 - importable now

LOSSES = tuple(package.LOSSES)
SCORES = tuple(package.SCORES)


def losses_of(module: str) -> tuple[str, ...]:
    """Return the names of the losses that a module of the package has."""
    return tuple(name for name in public_functions(module) if name in LOSSES)
