"""The gate against slower kernels: finds what is slower, and equal builds equal."""

import math
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support import requirements

import fastxent as fx

ROOT = Path(__file__).parents[2]
ASV_BENCH = ROOT / "asv_bench"
if not ASV_BENCH.is_dir():
    pytest.skip("only in the source tree", allow_module_level=True)
sys.path.append(str(ASV_BENCH))

import compare  # noqa: E402
from suite import rows, turns  # noqa: E402

TWICE = """
_once = odds

def odds(*arguments, **options):
    _once(*arguments, **options)
    return _once(*arguments, **options)
"""
without_valgrind = requirements.absence("valgrind")
needs_valgrind = pytest.mark.skipif(bool(without_valgrind), reason=without_valgrind)


@pytest.fixture
def copies(tmp_path, monkeypatch):
    """Two copies of the package under test, which are called on few logits."""
    monkeypatch.setenv("FASTXENT_ASV_SCALE", "0.2")
    targets = tmp_path / "base", tmp_path / "head"
    for target in targets:
        shutil.copytree(Path(fx.__file__).parent, target / "fastxent")
    return targets


def append(target, text):
    with (target / "fastxent" / "__init__.py").open("a") as file:
        file.write(text)


# --- planted regressions --------------------------------------------------------------------------


@pytest.mark.exhaustive
@needs_valgrind
def test_a_kernel_that_works_twice_takes_more_instructions(copies, monkeypatch):
    monkeypatch.setattr(compare, "ISAS", ["baseline"])
    append(copies[1], TWICE)
    findings = compare.compare_instructions(copies, ["odds", "logit"])
    assert [(finding.row, finding.what) for finding in findings] == [
        (("odds", "80 classes"), f"instructions, {isa}") for isa in compare.ISAS
    ]
    assert all(1.9 < finding.ratio < 2.1 for finding in findings)


@pytest.mark.exhaustive
@needs_valgrind
def test_equal_builds_take_equal_instructions(copies, monkeypatch):
    monkeypatch.setattr(compare, "ISAS", ["avx2"])
    assert compare.compare_instructions(copies, ["softmax", "odds"]) == []


# --- what is measured again -----------------------------------------------------------------------

LONGER, EQUAL = turns.Ratio(1.3, 0.1, 1.3), turns.Ratio(1.02, 0.1, 1.01)


def measured(monkeypatch, *rounds):
    """Have ``turns.measure`` return these ratios by name; return the lists of names asked for."""
    asked = []

    def measure(base, head, suspects):
        names = [row.name for row in suspects]
        asked.append(names)
        ratios = rounds[min(len(asked), len(rounds)) - 1]
        return {(row.group, row.name): ratios.get(row.name, EQUAL) for row in suspects}

    monkeypatch.setattr(turns, "measure", measure)
    return asked


def test_only_what_every_measurement_finds_longer_is_refused(monkeypatch):
    names = [row.name for row in rows.GROUPS["softmax"]]
    assert len(names) > 1
    asked = measured(monkeypatch, dict.fromkeys(names, LONGER), {names[-1]: LONGER})
    findings = compare.compare_times((Path(), Path()), ["softmax"])
    assert findings == [compare.Finding(("softmax", names[-1]), "time", 1.3)]
    assert asked == [names, names] + [names[-1:]] * (compare.MEASUREMENTS - 2)


def test_what_was_longer_by_chance_is_not_refused(monkeypatch):
    names = [row.name for row in rows.GROUPS["softmax"]]
    chances = [dict.fromkeys(names, LONGER)] * (compare.MEASUREMENTS - 1)
    asked = measured(monkeypatch, *chances, {})
    assert compare.compare_times((Path(), Path()), ["softmax"]) == []
    assert asked == [names] * compare.MEASUREMENTS


def test_what_is_not_longer_is_not_measured_again(monkeypatch):
    asked = measured(monkeypatch, {})
    assert compare.compare_times((Path(), Path()), ["softmax"]) == []
    assert len(asked) == 1


# --- judgement ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "head", "median", "is_longer"),
    [
        ([10, 10, 10], [12, 12, 12], 1.2, True),
        ([10, 10, 10], [11, 11, 11], 1.1, False),
        ([10, 10, 10], [5, 5, 5], 0.5, False),
        # Neighbours are compared: a machine that becomes half as fast meets both.
        ([10, 20, 40], [10, 20, 40], 1.0, False),
        ([10, 20, 40], [13, 26, 52], 1.3, True),
        # Quartiles of 1.05 and 1.35: half of their distance is more than what is above 1.15.
        ([10, 10, 10], [9, 12, 15], 1.2, False),
        # The shortest turns do not say so.
        ([10, 15, 20], [10.5, 19.5, 26], 1.3, False),
    ],
)
def test_times(base, head, median, is_longer):
    ratio = turns.ratio_of(base, head)
    assert ratio.median == pytest.approx(median)
    assert compare.is_longer(ratio) is is_longer


def test_instructions_may_rise_by_two_percent():
    old = {("softmax", layout): (100.0, 0.0) for layout in ("a", "b", "c", "d")}
    new = {
        row: (count, 0.0) for row, count in zip(list(old)[:3], (102.0, 103.0, 90.0), strict=True)
    }
    assert compare.risen_counts("avx2", old, new) == [
        compare.Finding(("softmax", "b"), "instructions, avx2", 1.03),
        compare.Finding(("softmax", "d"), "instructions, avx2", math.inf),
    ]


def test_reasons_are_for_instructions_of_the_rows_that_they_name():
    reasons = {"softmax* 4 classes": "a pass for the maximum"}
    finding = compare.Finding(("softmax_focal_loss", "4 classes"), "instructions, avx2", 1.3)
    with_reason = finding._replace(reason="a pass for the maximum")
    assert compare.with_reasons([finding], reasons) == [with_reason]
    for unexplained in (
        finding._replace(what="time"),
        finding._replace(ratio=math.inf),
        finding._replace(row=("softmax_focal_loss", "80 classes")),
    ):
        assert compare.with_reasons([unexplained], reasons) == [unexplained]


def test_the_base_is_a_commit_and_reasons_are_sentences():
    settings = tomllib.loads((ROOT / compare.BASE_FILE).read_text("utf-8"))
    assert set(settings) == {"base", "risen"}
    assert all(isinstance(why, str) and why for why in settings["risen"].values())
    if reason := requirements.absence("history"):
        pytest.skip(reason)
    ancestry = ["git", "-C", ROOT, "merge-base", "--is-ancestor", settings["base"], "HEAD"]
    assert subprocess.run(ancestry, check=False).returncode == 0


# --- from revisions to an exit status -------------------------------------------------------------

#: A package of one function, which takes as many seconds as it is told by a clock of its own: so on
#: every machine, whatever else runs there. The rest is what measuring needs.
FAKE_PACKAGE = """
import time

now = 0.0
time.thread_time = lambda: now  # before the rows take it for their clock

def parallel_read(*arguments):
    pass

def sigmoid(logits, **options):
    global now
    now += {seconds}
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
FAKE_BASE = 'base = "{base}"\n[risen]\n'


def commit(repository, *, tag):
    package = repository / "fastxent"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text(FAKE_PACKAGE.format(seconds=0.001))
    (package / "native.py").write_text("")
    (repository / "pyproject.toml").write_text(FAKE_PROJECT)
    (repository / "asv_bench").mkdir(exist_ok=True)
    (repository / compare.BASE_FILE).write_text(FAKE_BASE.format(base="first"))
    git = ["git", "-C", str(repository), "-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", tag], check=True)
    subprocess.run([*git, "tag", tag], check=True)


@pytest.fixture
def repository(tmp_path):
    pytest.importorskip("setuptools", minversion="70")  # builds the package without isolation
    folder = tmp_path / "repository"
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    return folder


def run_gate(repository, *arguments):
    command = [sys.executable, ASV_BENCH / "compare.py", "--repository", repository, *arguments]
    command += ["--only", "^sigmoid$", "--no-instructions"]
    environment = os.environ | {"FASTXENT_ASV_SCALE": "0.01"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.exhaustive
def test_a_slower_working_tree_is_refused_and_an_equal_one_is_not(repository):
    commit(repository, tag="first")
    source = repository / "fastxent" / "__init__.py"
    source.write_text(FAKE_PACKAGE.format(seconds=0.004))  # what is compared, uncommitted as it is

    done = run_gate(repository)
    assert done.returncode == 1, done.stderr
    row = next(line for line in done.stdout.splitlines() if "sigmoid 80 classes" in line)
    assert row.split("│")[3].strip() == "4.00"
    assert "1 rows are slower" in done.stdout

    same = run_gate(repository, "first", "--head", "first")
    assert same.returncode == 0, same.stderr
    assert "0 rows are slower" in same.stdout
    worktrees = ["git", "-C", str(repository), "worktree", "list"]
    left = subprocess.run(worktrees, capture_output=True, text=True, check=True).stdout
    assert len(left.splitlines()) == 1


def test_an_unknown_revision_is_an_error(repository):
    commit(repository, tag="first")
    done = run_gate(repository, "nowhere")
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.exhaustive
def test_what_is_gone_is_refused(repository):
    commit(repository, tag="first")
    package = repository / "fastxent" / "__init__.py"
    package.write_text(package.read_text().replace("sigmoid", "another"))
    done = run_gate(repository)
    assert done.returncode == 1
    assert "gone" in done.stdout
