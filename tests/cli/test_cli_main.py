"""The command itself: version, help, configuration, and life without typer."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution

import pytest
from support.cli import COMMAND, run

import fastxent


def test_version():
    result = run("--version")
    assert (result.exit_code, result.output) == (0, f"fastxent {fastxent.__version__}\n")


def test_help_lists_the_commands():
    result = run("--help")
    assert result.exit_code == 0
    for command in ("demo", "loss", "select", "bench", "info"):
        assert f"  {command} " in result.output


def test_info_is_show_config():
    result = run("info")
    assert (result.exit_code, result.output) == (0, f"{fastxent.show_config()}\n")


def test_unknown_commands_end_with_status_2():
    assert run("train").exit_code == 2


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra(missing):
    code = f"import sys; sys.modules[{missing!r}] = None; {COMMAND[-1]}"
    command = [sys.executable, "-c", code, "info"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr == 'fastxent: the command line needs pip install "fastxent[cli]"\n'


def test_other_missing_modules_are_not_hidden():
    code = f"import sys; sys.modules['fastxent.data'] = None; {COMMAND[-1]}"
    command = [sys.executable, "-c", code, "info"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "fastxent.data" in result.stderr


def test_importing_the_package_does_not_import_the_command_line():
    code = "import sys, fastxent; print({'typer', 'rich', 'fastxent.cli'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"


def test_entry_point():
    try:
        installed = distribution("fastxent")
    except PackageNotFoundError:
        pytest.skip("run from the source tree")
    (script,) = (point for point in installed.entry_points if point.name == "fastxent")
    assert script.value == "fastxent.cli:main"
