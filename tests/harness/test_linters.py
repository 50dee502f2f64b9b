"""The linters of `make lint`, of pre-commit and of the extra `lint`; what `make help` lists."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / ".pre-commit-config.yaml"
if not CONFIGURATION.is_file():
    pytest.skip("only in the source tree", allow_module_level=True)


def pinned():
    """Return the versions of the extra `lint` by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    requirements = project["optional-dependencies"]["lint"]
    assert all("==" in requirement for requirement in requirements)
    return dict(requirement.split("==") for requirement in requirements)


def lint_recipe():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    return re.search(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)[1]


def test_every_pinned_linter_is_run_by_make_and_by_pre_commit():
    hooks = re.findall(r"entry: (.*)", CONFIGURATION.read_text("utf-8"))
    for name in pinned().keys() - {"pre-commit"}:
        assert any(re.search(rf"\b{name}\b", hook) for hook in hooks), name
        assert re.search(rf"\b{name}\b", lint_recipe()), name


def test_hooks_are_programs_of_the_environment():
    """Without a network: no repository of hooks, and no environment of their own."""
    text = CONFIGURATION.read_text("utf-8")
    assert re.findall(r"repo: (.*)", text) == ["local"]
    assert set(re.findall(r"language: (.*)", text)) == {"system"}
    hooks = re.findall(r"entry: (.*)", text)
    assert len(hooks) == len(re.findall(r"- id: ", text))
    assert all(".venv/bin" in hook for hook in hooks)


def test_make_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text("utf-8").replace("\\\n", "")
    targets = re.search(r"^\.PHONY: (.*)", makefile, re.MULTILINE)[1].split()
    assert sorted(targets) == sorted(re.findall(r"^([a-z0-9-]+):.*## ", makefile, re.MULTILINE))
