"""What a module of the package may import: modules of lower layers, and of its own folder."""

import ast
from pathlib import Path

import pytest

import fastxent

PACKAGE = Path(fastxent.__file__).parent

#: From the ground up. The modules of a layer do not import each other.
LAYERS = (
    {"_version", "_catalogue", "_clipping", "_binding", "_selection", "data"},
    {"_contract", "_docs", "_docstrings"},
    {"native"},
    {"_foreign", "_floats", "_cpus", "_results", "_target_counts"},
    {"_arguments", "reference"},
    {"_config", "_tracing"},
    {"numba", "_call"},
    {"math", "custom", "candidates", "detection", "heads", "matching", "mining", "scores"}
    | {"losses", "focal_losses", "focal_star", "quality_losses", "probability_losses"},
    {"torch", "jax", "dask"},
    {"__init__", "cli"},
    {"jax"},
)
LEVELS = {part: level for level, parts in enumerate(LAYERS) for part in parts}


def part_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


MODULES = [path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts]


def imports_of(path):
    """Return the parts of the package that a module imports, wherever it does so."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "fastxent":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module.startswith("fastxent."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            yield from (name.split(".")[1] for name in names if name.startswith("fastxent."))


def test_every_part_has_a_layer():
    assert LEVELS.keys() == {part_of(path) for path in MODULES}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_import_goes_up(path):
    own = part_of(path)
    upwards = {part for part in imports_of(path) if LEVELS[part] >= LEVELS[own]} - {own}
    assert not upwards


def test_the_contract_imports_numpy_alone():
    tree = ast.parse((PACKAGE / "_contract.py").read_text("utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    ours = {name for name in modules if name.startswith("fastxent")}
    assert ours == {"fastxent._catalogue", "fastxent._clipping", "fastxent._selection"}
    others = {name.split(".")[0] for name in modules - ours}
    assert others <= {"numpy", "collections", "dataclasses", "typing", "math"}
