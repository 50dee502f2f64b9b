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
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
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
    summary = PROJECT["project"]["description"]
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


# --- what makes and publishes distributions -------------------------------------------------------

in_sources = pytest.mark.skipif(not (ROOT / ".github").is_dir(), reason="only in the source tree")


def read_yaml(*path):
    """Return what a YAML file says."""
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load(ROOT.joinpath(*path).read_text("utf-8"))


def steps_of(job):
    return [step["run"].strip() for step in job["steps"] if "run" in step]


def oldest(requirement):
    """Return the version in `name>=version`."""
    return re.search(r">=([\d.]+)", requirement)[1]


@in_sources
@pytest.mark.parametrize("name", ["ci", "wheels"])
def test_workflows_have_few_rights_and_end(name):
    workflow = read_yaml(".github", "workflows", f"{name}.yml")
    assert workflow["name"] == name
    assert workflow["permissions"] == {"contents": "read"}
    rights = {
        job: text["permissions"] for job, text in workflow["jobs"].items() if "permissions" in text
    }
    assert rights == ({"publish": {"id-token": "write"}} if name == "wheels" else {})
    for job in workflow["jobs"].values():
        assert 0 < job["timeout-minutes"] <= 180
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step), step


@in_sources
def test_hosted_ci_runs_what_ci_runs():
    """`.ci/run`, and in jobs of their own what it names at its end as not run."""
    jobs = read_yaml(".github", "workflows", "ci.yml")["jobs"]
    assert steps_of(jobs["run"])[-1] == "bash .ci/run"
    assert steps_of(jobs["others"])[-1] == 'make "$TARGET"'
    targets = set(jobs["others"]["strategy"]["matrix"]["target"])
    left_out = set(re.findall(r"NOT RUN: make ([\w-]+)", (ROOT / ".ci" / "run").read_text("utf-8")))
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert targets <= left_out <= set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    assert {"test-versions", "test-aarch64"} <= targets


@in_sources
def test_a_tag_publishes_what_was_built_for_each_platform():
    jobs = read_yaml(".github", "workflows", "wheels.yml")["jobs"]
    platforms = {row["platform"] for row in jobs["wheels"]["strategy"]["matrix"]["include"]}
    assert platforms == {
        *("linux-x86_64", "linux-aarch64", "macos-arm64", "macos-x86_64", "windows-x86_64")
    }
    publish = jobs["publish"]
    assert publish["if"] == "startsWith(github.ref, 'refs/tags/v')"
    assert set(publish["needs"]) == {"wheels", "sdist"}
    assert publish["environment"] == "pypi"
    uploads = [
        step["with"]["name"]
        for job in ("wheels", "sdist")
        for step in jobs[job]["steps"]
        if step.get("uses", "").startswith("actions/upload-artifact@")
    ]
    assert len(uploads) == 2


@in_sources
def test_wheels_are_built_for_the_oldest_python_and_tested_from_what_is_there():
    settings = PROJECT["tool"]["cibuildwheel"]
    version = oldest(PROJECT["project"]["requires-python"]).replace(".", "")
    assert f"cp{version}-*" in settings["build"]
    assert f'"py_limited_api": "cp{version}"' in (ROOT / "setup.py").read_text("utf-8")
    for path in settings["test-sources"]:
        assert (ROOT / path).exists(), path
    for command in (settings["test-command"], settings["windows"]["test-command"]):
        folders = re.findall(r"tests/\w+", command)
        assert folders
        assert all((ROOT / folder).is_dir() for folder in folders)


@in_sources
def test_recipe_of_conda_says_what_pyproject_says():
    recipe = read_yaml("packaging", "conda", "recipe.yaml")
    project, context = PROJECT["project"], recipe["context"]
    assert context["version"] == fastxent.__version__
    assert context["python_min"] == oldest(project["requires-python"])
    requirements = recipe["requirements"]
    built_with = {text.replace(" ", "") for text in requirements["host"] if isinstance(text, str)}
    assert set(PROJECT["build-system"]["requires"]) <= built_with
    runs_with = [text.replace(" ", "") for text in requirements["run"]]
    assert set(project["dependencies"]) <= set(runs_with)
    numba = [text.replace(" ", "") for text in requirements["run_constraints"]]
    assert numba == project["optional-dependencies"]["numba"]
    for script in recipe["tests"][1]["files"]["source"]:
        assert (ROOT / script).exists()


@in_sources
def test_versions_are_both_ends_of_what_is_promised():
    text = (ROOT / ".ci" / "versions").read_text("utf-8")
    rows = dict(re.findall(r'^    \[(\S+)\]="(.+)"$', text, re.MULTILINE))
    assert set(re.search(r"^order=\((.+)\)$", text, re.MULTILINE)[1].split()) == set(rows)
    python, numpy = (
        oldest(PROJECT["project"]["requires-python"]),
        PROJECT["project"]["dependencies"][0],
    )
    assert rows["numpy1.26"] == f"{python} numpy=={oldest(numpy)}.0"
    (numba,) = PROJECT["project"]["optional-dependencies"]["numba"]
    assert rows["numba-newest"].endswith(f" {numba}")
    assert rows["numba-oldest"] == f"{python} numba=={oldest(numba)}.0"
    assert any(row.split()[0].endswith("t") for row in rows.values())
