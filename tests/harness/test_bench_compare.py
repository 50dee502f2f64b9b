"""The gate against slower kernels: finds what is slower, and equal builds equal."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastxent as fx

ROOT = Path(__file__).parents[2]
ASV_BENCH = ROOT / "asv_bench"
if not ASV_BENCH.is_dir():
    pytest.skip("only in the source tree", allow_module_level=True)
sys.path.append(str(ASV_BENCH))

import compare  # noqa: E402

TWICE = """
_once = sigmoid_cross_entropy

def sigmoid_cross_entropy(*arguments, **options):
    _once(*arguments, **options)
    return _once(*arguments, **options)
"""


@pytest.fixture
def small(monkeypatch):
    """Arrays of a few thousand anchors: what is compared does not depend on it."""
    monkeypatch.setenv("FASTXENT_ASV_SCALE", "0.02")


@pytest.fixture
def copies(tmp_path, small):
    """Two copies of the package under test."""
    targets = tmp_path / "base", tmp_path / "head"
    for target in targets:
        shutil.copytree(Path(fx.__file__).parent, target / "fastxent")
    return targets


def compare_again(copies, functions, expected):
    """Return the verdicts, and which functions each of up to three comparisons calls slower.

    What other processes do to one comparison they seldom do to the next.
    """
    always = set(functions)
    for _ in range(3):
        verdicts, missing = compare.compare(copies, functions, rounds=3)
        assert not missing
        always &= {row[1] for row, verdict in verdicts.items() if verdict.is_slower}
        if always == expected:
            break
    return verdicts, always


@pytest.mark.exhaustive
def test_a_kernel_that_works_twice_is_found(copies):
    with (copies[1] / "fastxent" / "__init__.py").open("a") as file:
        file.write(TWICE)
    expected = {"sigmoid_cross_entropy"}
    verdicts, slower = compare_again(copies, ("sigmoid_cross_entropy", "odds"), expected)
    assert slower == expected
    assert ("loss", "sigmoid_cross_entropy", "200000x80") in verdicts


@pytest.mark.exhaustive
def test_equal_builds_are_equal(copies):
    verdicts, slower = compare_again(copies, ("softmax_cross_entropy",), set())
    assert len(verdicts) >= 4
    assert not slower


@pytest.mark.parametrize(
    ("base", "head", "ratio", "is_slower"),
    [
        ([10, 10, 10], [12, 12, 12], 1.2, True),
        ([10, 10, 10], [11, 11, 11], 1.1, False),
        ([10, 10, 10], [5, 5, 5], 0.5, False),
        # Neighbours are compared: a machine that becomes half as fast meets both.
        ([10, 20, 40], [10, 20, 40], 1.0, False),
        ([10, 20, 40], [13, 26, 52], 1.3, True),
        # Ratios of 0.9, 1.2 and 1.5: their median is too much, and so is their distance.
        ([10, 10, 10], [9, 12, 15], 1.2, False),
        # The best processes do not say so.
        ([10, 15, 20], [10.5, 19.5, 26], 1.3, False),
    ],
)
def test_judgement(base, head, ratio, is_slower):
    verdict = compare.judge(base, head)
    assert verdict.ratio == pytest.approx(ratio)
    assert verdict.is_slower is is_slower


# --- from revisions to an exit status -------------------------------------------------------------

#: A package of one function that takes as long as it is told; the rest is what measuring needs.
FAKE_PACKAGE = """
import contextlib, time

@contextlib.contextmanager
def backend(name):
    yield

def sigmoid_cross_entropy(*arguments, **options):
    time.sleep({seconds})
"""
FAKE_NATIVE = """
import time

def parallel_read(array, threads):
    time.sleep(0.001)
"""
FAKE_PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "fastxent"
version = "0.1"

[tool.setuptools]
packages = ["fastxent"]
"""


def commit(repository, seconds, *, tag=None):
    package = repository / "fastxent"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text(FAKE_PACKAGE.format(seconds=seconds))
    (package / "native.py").write_text(FAKE_NATIVE)
    (repository / "pyproject.toml").write_text(FAKE_PROJECT)
    git = ["git", "-C", str(repository), "-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", f"{seconds}"], check=True)
    if tag:
        subprocess.run([*git, "tag", tag], check=True)


@pytest.fixture
def repository(tmp_path):
    pytest.importorskip("setuptools", minversion="70")  # builds the package without isolation
    folder = tmp_path / "repository"
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    return folder


def run_gate(repository, *arguments):
    command = [sys.executable, ASV_BENCH / "compare.py", "--repository", repository, *arguments]
    command += ["--rounds", "3"]
    environment = os.environ | {"FASTXENT_ASV_SCALE": "0.001"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_without_a_release_there_is_nothing_to_compare(repository):
    commit(repository, 0.002)
    done = run_gate(repository)
    assert done.returncode == 0
    assert done.stdout == "SKIPPED: there is no release (v*) to compare with\n"


@pytest.mark.exhaustive
def test_a_slower_working_tree_is_refused_and_an_equal_one_is_not(repository):
    commit(repository, 0.002, tag="v0.1.0")
    commit(repository, 0.009)
    source = repository / "fastxent" / "__init__.py"
    source.write_text(FAKE_PACKAGE.format(seconds=0.006))  # what is compared, uncommitted as it is

    done = run_gate(repository)
    assert done.returncode == 1, done.stderr
    assert "slower" in done.stdout
    row = next(line for line in done.stdout.splitlines() if "│ loss" in line)
    assert "sigmoid_cross_entropy" in row
    ratio = float(row.split("│")[6])
    assert 2 < ratio < 4

    same = run_gate(repository, "v0.1.0", "--head", "v0.1.0")
    assert same.returncode == 0, same.stderr
    assert "0 of " in same.stdout
    worktrees = ["git", "-C", str(repository), "worktree", "list"]
    left = subprocess.run(worktrees, capture_output=True, text=True, check=True).stdout
    assert len(left.splitlines()) == 1


def test_an_unknown_revision_is_an_error(repository):
    commit(repository, 0.002)
    done = run_gate(repository, "nowhere")
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.exhaustive
def test_what_has_no_benchmark_in_common_is_an_error(repository):
    package = repository / "fastxent" / "__init__.py"
    commit(repository, 0.002, tag="v0.1.0")
    package.write_text(package.read_text().replace("sigmoid_cross_entropy", "another"))
    done = run_gate(repository)
    assert done.returncode == 2
    assert "no benchmark in common" in done.stderr
