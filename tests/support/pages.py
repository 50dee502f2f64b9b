"""The pages of docs/ and the examples in them."""

import doctest
import importlib.util
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
IMPORT = re.compile(r"^>>> (?:import|from) (\w+)", re.MULTILINE)


def pages_with_examples():
    """Return the pages, as names of files within docs/, that have code with a prompt."""
    pages = (path for path in DOCS.rglob("*.md") if "generated" not in path.parts)
    found = (path for path in pages if ">>> " in path.read_text("utf-8"))
    return sorted(path.relative_to(DOCS).as_posix() for path in found)


def blocks_of(page):
    """Return the blocks of code with prompts of a page, each with the number of its first line."""
    text = (DOCS / page).read_text("utf-8")
    for match in FENCE.finditer(text):
        if ">>> " in match[1]:
            yield text.count("\n", 0, match.start()) + 1, match[1]


def missing_package(code):
    """Return a package that a block needs and that is not installed, or an empty string."""
    names = IMPORT.findall(code)
    if "@fx.custom_loss" in code:
        names.append("numba")
    return next((name for name in names if importlib.util.find_spec(name) is None), "")


def run_block(page, line, code, variables):
    """Run a block as a doctest; return how many of its examples failed."""
    test = doctest.DocTestParser().get_doctest(code, variables, page, str(DOCS / page), line)
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(test, clear_globs=False)
    variables.update(test.globs)
    return runner.failures


def import_torchvision():
    """Import torchvision even where its compiled part does not fit torch; its formulas do."""
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for _ in range(99):
        try:
            import torchvision
        except RuntimeError as error:
            missing = re.match(r"operator torchvision::(\w+) does not exist", str(error))
            if missing is None:
                raise
            library.define(f"{missing[1]}(Tensor x) -> Tensor")
            for name in [name for name in sys.modules if name.startswith("torchvision")]:
                del sys.modules[name]
        else:
            return torchvision, library
    raise RuntimeError("torchvision cannot be imported")
