"""What the installed distribution promises: its metadata, its extension, and README."""

import importlib.metadata
import importlib.resources
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fastxent
from fastxent import _catalogue
from fastxent.native import _native

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
README_EXAMPLES = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, re.DOTALL)


def run_python(code):
    """Run code in a fresh interpreter whose warnings are errors; return the finished process."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_import_keeps_subnormal_numbers():
    """Built with -ffast-math, the extension would set flush-to-zero for the whole process."""
    code = "import fastxent, numpy as np; print(np.float32(1e-38) / np.float32(8) > 0)"
    result = run_python(code)
    assert result.stdout.strip() == "True", result.stderr


def test_numpy_is_the_only_requirement():
    requirements = importlib.metadata.requires("fastxent")
    unconditional = [text for text in requirements if "extra ==" not in text]
    assert [re.match(r"[\w.-]+", text)[0] for text in unconditional] == ["numpy"]


def test_package_is_typed():
    for name in ("py.typed", "losses.pyi", "native/_native.pyi"):
        assert (importlib.resources.files("fastxent") / name).is_file()


def test_extension_uses_the_stable_abi():
    assert re.search(r"_native(\.abi3\.so|\.pyd)$", _native.__file__)


def test_version_is_the_latest_of_the_changelog():
    latest = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert latest[1] == fastxent.__version__ == importlib.metadata.version("fastxent")


def test_stated_accuracy_is_the_bound_of_every_cross_entropy():
    """The bounds of the catalogue are those that the tests of accuracy take."""
    losses = [loss for name, loss in _catalogue.LOSSES.items() if name.endswith("_cross_entropy")]
    (bound,) = {loss.bounds.loss for loss in losses}
    summary = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["description"]
    for text in (README.partition("## ")[0], summary):
        assert re.findall(r"cross-entropies within (\d+) ULP", text) == [str(bound)]
    detail = re.findall(r"float32 cross-entropy per anchor is at most (\d+) ULP", README)
    assert detail == [str(bound)]


def test_readme_has_examples():
    assert README_EXAMPLES


@pytest.mark.parametrize(("code", "output"), README_EXAMPLES)
def test_readme_example_prints_what_it_says(code, output):
    result = run_python(code)
    assert result.returncode == 0, result.stderr
    assert result.stdout == output


def test_readme_tables_list_every_public_name():
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", README, re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"\w+", row)}
    assert listed == set(fastxent.__all__) - {"__version__"}
