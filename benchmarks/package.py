"""What the benchmarks take from the package in the working tree: its catalogue, and its timing.

Both are read by their paths: the package that is timed may be another, and an older one.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).parents[1] / "fastxent"


def _load(name: str) -> ModuleType:
    """Return a module of the working tree that imports nothing but the standard library."""
    path = PACKAGE / f"{name.replace('.', '/')}.py"
    if not path.is_file():  # a source distribution whose package is installed elsewhere
        return importlib.import_module(f"fastxent.{name}")
    spec = importlib.util.spec_from_file_location(f"fastxent_tree.{name}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # data classes and named tuples look their module up
    spec.loader.exec_module(module)
    return module


_catalogue = _load("_catalogue")
LOSSES, SCORES = _catalogue.LOSSES, _catalogue.SCORES
RoundRobin = _load("cli.timing").RoundRobin
