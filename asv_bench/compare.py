"""Compare the speed of the working tree with another revision, and fail if it is slower.

    python asv_bench/compare.py                  with the base that base.toml names
    python asv_bench/compare.py v0.1.0           with that tag
    python asv_bench/compare.py v0.1.0 --head main

Two things are compared, row by row: the instructions of the AVX2 kernels per logit, which
are the same in every run, and times, for what instructions do not show. The two
revisions take turns, and what looks slower is measured again, in new processes.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from suite.turns import Ratio

HERE = Path(__file__).parent
ROOT = HERE.parent
BASE_FILE = "asv_bench/base.toml"
#: Whose instructions are counted. Those of the portable kernels are for the dashboard.
ISAS = ("avx2",)
#: Instructions may rise by this factor before somebody has to say why.
MOST_INSTRUCTIONS = 1.02
#: Times above this, beyond noise, are a regression,
LONGEST = 1.15
#: if so many measurements say so, each in processes of its own: where a process gets its memory,
#: it keeps it, and equal builds were once 1.3 apart twice. Only suspects are measured again.
MEASUREMENTS = 5
#: Half of the logits that are recorded: every minute counts before a change lands.
SCALE = "0.5"
LOG_WIDTH = 120

Row = tuple[str, str]


class Finding(NamedTuple):
    """One row that got worse."""

    row: Row
    what: str
    #: Infinite where head does not have it any more.
    ratio: float
    #: Why that is right, or "".
    reason: str = ""


# --- building -------------------------------------------------------------------------------------


def run(*command: str | Path, **options: object) -> str:
    """Run a command and return what it prints; if it fails, say so and end with status 2."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        typer.echo(
            f"{done.stdout}{done.stderr}This failed: {' '.join(map(str, command))}", err=True
        )
        raise typer.Exit(2)
    return done.stdout.strip()


def build(repository: Path, revision: str, folder: Path) -> Path:
    """Build a revision, away from the working tree, and return where it is installed."""
    folder.mkdir(parents=True)
    tree, target = folder / "tree", folder / "target"
    run("git", "-C", repository, "worktree", "add", "--quiet", "--detach", tree, revision)
    try:
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        # With the build requirements that are installed here; nothing is downloaded.
        wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir"]
        run(*wheel, folder, tree)
        (built,) = folder.glob("*.whl")
        run(*pip, "install", "--no-deps", "--target", target, built)
    finally:
        run("git", "-C", repository, "worktree", "remove", "--force", tree)
    return target


# --- instructions ---------------------------------------------------------------------------------


def compare_instructions(targets: tuple[Path, Path], groups: Iterable[str]) -> list[Finding]:
    """Return what takes more instructions than before, or is gone, and does so when counted again.

    Now and then Python grows a table in one call, and not in another.
    """
    suspects = count_both(targets, groups)
    if not suspects:
        return []
    again = {finding[:2] for finding in count_both(targets, {each.row[0] for each in suspects})}
    return [finding for finding in suspects if finding[:2] in again]


def count_both(targets: tuple[Path, Path], groups: Iterable[str]) -> list[Finding]:
    """Return what takes more instructions, on each instruction set."""
    from suite import counting

    jobs = [(isa, target) for isa in ISAS for target in targets]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = list(
            pool.map(
                lambda job: counting.count(job[0], groups, package=job[1], with_cycles=False), jobs
            )
        )
    pairs = zip(ISAS, counts[::2], counts[1::2], strict=True)
    return [finding for isa, old, new in pairs for finding in risen_counts(isa, old, new)]


def risen_counts(
    isa: str, old: dict[Row, tuple[float, float]], new: dict[Row, tuple[float, float]]
) -> list[Finding]:
    """Return the rows that take more instructions, and those that are gone."""
    what = f"instructions, {isa}"
    found = []
    for row, (before, _) in old.items():
        ratio = new[row][0] / before if row in new else math.inf
        if ratio > MOST_INSTRUCTIONS:
            found.append(Finding(row, what, ratio))
    return found


# --- times ----------------------------------------------------------------------------------------


def compare_times(targets: tuple[Path, Path], groups: Iterable[str]) -> list[Finding]:
    """Return what takes longer than before, or is gone."""
    from suite import turns
    from suite.rows import ROWS

    suspects = [row for row in ROWS if row.group in groups]
    found: list[Finding] = []
    for _ in range(MEASUREMENTS):
        ratios = turns.measure(*targets, suspects) if suspects else {}
        found = [
            Finding(row, "time", each.median if each else math.inf)
            for row, each in ratios.items()
            if is_longer(each)
        ]
        rows = {finding.row for finding in found}
        suspects = [row for row in suspects if (row.group, row.name) in rows]
    return found


def is_longer(ratio: Ratio | None) -> bool:
    """Return whether a ratio of times says so beyond noise, and its shortest turns do too."""
    if ratio is None:
        return True
    # Half of the distance of the quartiles is about two standard errors of eleven rounds' median.
    return min(ratio.median - ratio.spread / 2, ratio.of_best) > LONGEST


# --- the verdict ----------------------------------------------------------------------------------


def with_reasons(findings: list[Finding], reasons: dict[str, str]) -> list[Finding]:
    """Return the findings with what base.toml says about their rows. Of times it says nothing."""
    return [
        finding._replace(reason=reason_for(finding.row, reasons))
        if finding.what != "time" and finding.ratio < math.inf
        else finding
        for finding in findings
    ]


def reason_for(row: Row, reasons: dict[str, str]) -> str:
    """Return why the instructions of a row have risen, or "" """
    name = " ".join(row)
    return next((reason for pattern, reason in reasons.items() if fnmatchcase(name, pattern)), "")


def show(findings: list[Finding], console: Console) -> None:
    """Print the table, the worst first."""
    table = Table(title="What is slower")
    for name in ("row", "what"):
        table.add_column(name, no_wrap=True)
    table.add_column("ratio", justify="right")
    table.add_column("why")
    for finding in sorted(findings, key=lambda each: -each.ratio):
        ratio = f"{finding.ratio:.2f}" if finding.ratio < math.inf else "gone"
        table.add_row(" ".join(finding.row), finding.what, ratio, finding.reason)
    console.print(table)


def main(
    base: Annotated[str, typer.Argument(help="A revision; that of base.toml if empty.")] = "",
    head: Annotated[str, typer.Option(help="A revision; the working tree if empty.")] = "",
    only: Annotated[str, typer.Option(help="A regular expression of groups of rows.")] = "",
    instructions: Annotated[bool, typer.Option(help="Count instructions, if possible.")] = True,
    repository: Annotated[Path, typer.Option(help="Where the revisions are.")] = ROOT,
) -> None:
    """Compare the speed of two revisions; status 1: head is slower, 2: there is no telling."""
    os.environ.setdefault("FASTXENT_ASV_SCALE", SCALE)
    sys.path.insert(0, str(HERE))
    from suite import counting
    from suite.rows import GROUPS

    settings = tomllib.loads((repository / BASE_FILE).read_text(encoding="utf-8"))
    base = base or settings["base"]
    groups = [group for group in GROUPS if re.search(only, group)]
    with tempfile.TemporaryDirectory() as folder:
        typer.echo(f"Building the base: {base}")
        # What is in the working tree is built: `make` sees to that.
        targets = build(repository, base, Path(folder, "base")), repository.resolve()
        if head:
            typer.echo(f"Building the head: {head}")
            targets = targets[0], build(repository, head, Path(folder, "head"))
        typer.echo(f"Timing {len(groups)} groups of rows")
        findings = compare_times(targets, groups)
        if instructions and (absent := counting.absence()):
            typer.echo(f"SKIPPED: instructions are not counted, for {absent}")
        elif instructions:
            typer.echo("Counting instructions")
            findings += compare_instructions(targets, groups)
    findings = with_reasons(findings, settings["risen"])
    # A log has no width, and rich would take it for a narrow terminal.
    console = Console(width=None if sys.stdout.isatty() else LOG_WIDTH)
    if findings:
        show(findings, console)
    refused = [finding for finding in findings if not finding.reason]
    typer.echo(f"{len(refused)} rows are slower, {len(findings) - len(refused)} for a reason.")
    raise typer.Exit(int(bool(refused)))


if __name__ == "__main__":
    typer.run(main)
