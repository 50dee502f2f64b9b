"""Compare the speed of two revisions, and fail if the newer one is slower.

    python asv_bench/compare.py v0.1.0           the working tree against that tag
    python asv_bench/compare.py v0.1.0 --head main
    python asv_bench/compare.py                  against the last release

Both are built, and measured in interleaved processes: base, head, base, head... Each process
times functions next to a plain read of the same logits, so what is compared are times in units of
that read, and of neighbouring processes. What looks slower is measured once more.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
RELEASES = "v*"
#: Slower than this, beyond noise, is a regression.
THRESHOLD = 1.15
#: For normal noise, a median absolute deviation times this is a standard deviation.
DEVIATIONS = 1.4826
LOG_WIDTH = 120

#: Figures of one process, or of all: by the name of a row.
Row = tuple[str, str, str]
Ratios = dict[Row, list[float]]


class Verdict(NamedTuple):
    """What the processes say about one row."""

    base: float
    head: float
    #: The median of head / base in neighbouring processes.
    ratio: float
    #: About two standard errors of that.
    noise: float
    #: The same ratio of the best processes: what else runs makes few of them faster.
    of_best: float

    @property
    def is_slower(self) -> bool:
        """Whether it is a regression."""
        return min(self.ratio - self.noise, self.of_best) > THRESHOLD


def judge(base: list[float], head: list[float]) -> Verdict:
    """Compare the figures of processes that took turns."""
    ratios = [new / old for old, new in zip(base, head, strict=True)]
    ratio = statistics.median(ratios)
    # For five to nine ratios, two standard errors of their median are one standard deviation.
    noise = DEVIATIONS * statistics.median(abs(each - ratio) for each in ratios)
    medians = statistics.median(base), statistics.median(head)
    return Verdict(*medians, ratio, noise, min(head) / min(base))


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


def last_release(repository: Path) -> str:
    """Return the last release tag that the working tree comes from, or "" """
    command = ["git", "-C", repository, "describe", "--tags", "--abbrev=0", "--match", RELEASES]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else ""


def working_tree(repository: Path) -> str:
    """Return a commit of what is tracked in the working tree, changed or not."""
    return run("git", "-C", repository, "stash", "create") or "HEAD"


def build(repository: Path, revision: str, folder: Path) -> Path:
    """Build a revision, away from the working tree, and return where it is installed."""
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


# --- measuring ------------------------------------------------------------------------------------


def measure_here(functions: Iterable[str]) -> None:
    """Measure the package that this process imports, and print the figures as JSON."""
    sys.path.insert(0, str(HERE))
    from suite._cases import CONDITIONS
    from suite._measure import Figure, measure

    import fastxent

    quick = [condition for condition in CONDITIONS.values() if condition.quick]
    figures = measure(functions, quick)
    rows = [[row, each.over_read] for row, each in figures.items() if isinstance(each, Figure)]
    print(json.dumps({"package": fastxent.__file__, "rows": rows}))


def measure_in_process(target: Path, functions: Iterable[str]) -> dict[Row, float]:
    """Measure the package that is installed in a folder, in a process of its own."""
    program = "import sys; sys.path.insert(0, sys.argv[1]); import compare; "
    program += "compare.measure_here(sys.argv[2:])"
    environment = os.environ | {"PYTHONPATH": str(target)}
    command = [sys.executable, "-c", program, HERE, *functions]
    output = json.loads(run(*command, cwd=target, env=environment))
    if not Path(output["package"]).is_relative_to(target):
        raise RuntimeError(f"{output['package']} was measured, and not what is in {target}")
    return {tuple(row): figure for row, figure in output["rows"]}


def interleave(
    targets: tuple[Path, Path], functions: Iterable[str], rounds: int
) -> tuple[Ratios, Ratios]:
    """Return the figures of base and head, one of each for each round."""
    figures: tuple[Ratios, Ratios] = ({}, {})
    for _ in range(rounds):
        for target, its_figures in zip(targets, figures, strict=True):
            for row, figure in measure_in_process(target, functions).items():
                its_figures.setdefault(row, []).append(figure)
    return figures


def compare(
    targets: tuple[Path, Path], functions: Iterable[str], rounds: int
) -> tuple[dict[Row, Verdict], list[Row]]:
    """Return the verdicts on what both have, and the rows that head has not any more."""
    base, head = interleave(targets, functions, rounds)
    verdicts = {row: judge(base[row], head[row]) for row in base if row in head}
    suspects = dict.fromkeys(row[1] for row, verdict in verdicts.items() if verdict.is_slower)
    if suspects:
        for figures, more in zip((base, head), interleave(targets, suspects, rounds), strict=True):
            for row, values in more.items():
                figures[row] += values
        verdicts = {row: judge(base[row], head[row]) for row in verdicts}
    return verdicts, [row for row in base if row not in head]


# --- reporting ------------------------------------------------------------------------------------


def show(verdicts: dict[Row, Verdict], missing: list[Row], console: Console) -> None:
    """Print the table, the slowest first."""
    table = Table(title="Times in units of a plain read")
    for name in ("function", "kind", "case"):
        table.add_column(name, no_wrap=True)
    for name in ("base", "head", "ratio", "noise", ""):
        table.add_column(name, justify="right")
    for (kind, function, case), verdict in sorted(
        verdicts.items(), key=lambda item: item[1].ratio, reverse=True
    ):
        figures = [f"{verdict.base:.2f}", f"{verdict.head:.2f}", f"{verdict.ratio:.2f}"]
        word = "[red]slower[/red]" if verdict.is_slower else ""
        table.add_row(function, kind, case, *figures, f"{verdict.noise:.2f}", word)
    for kind, function, case in missing:
        table.add_row(function, kind, case, *[""] * 4, "[red]gone[/red]")
    console.print(table)


def main(
    base: Annotated[str, typer.Argument(help="A revision; the last release if empty.")] = "",
    head: Annotated[str, typer.Option(help="A revision; the working tree if empty.")] = "",
    rounds: Annotated[int, typer.Option(min=3, help="Processes of each revision.")] = 5,
    everything: Annotated[bool, typer.Option("--all", help="All losses and scores.")] = False,
    repository: Annotated[Path, typer.Option(help="Where the revisions are.")] = HERE.parent,
) -> None:
    """Compare the speed of two revisions; status 1: head is slower, 2: there is no telling."""
    base = base or last_release(repository)
    if not base:
        typer.echo(f"SKIPPED: there is no release ({RELEASES}) to compare with")
        return
    functions = chosen_functions(everything=everything)
    with tempfile.TemporaryDirectory() as folder:
        targets = []
        for name, revision in (("base", base), ("head", head or working_tree(repository))):
            typer.echo(f"Building {name}: {revision}")
            Path(folder, name).mkdir()
            targets.append(build(repository, revision, Path(folder, name)))
        verdicts, missing = compare((targets[0], targets[1]), functions, rounds)
    if not verdicts:
        typer.echo("The two have no benchmark in common.", err=True)
        raise typer.Exit(2)
    # A log has no width, and rich would take it for a narrow terminal.
    show(verdicts, missing, Console(width=None if sys.stdout.isatty() else LOG_WIDTH))
    slower = sum(verdict.is_slower for verdict in verdicts.values())
    typer.echo(
        f"{slower} of {len(verdicts)} are slower by more than {THRESHOLD - 1:.0%} and noise."
    )
    raise typer.Exit(int(slower > 0 or len(missing) > 0))


def chosen_functions(*, everything: bool) -> tuple[str, ...]:
    """Return the functions to compare."""
    sys.path.insert(0, str(HERE))
    from suite._package import LOSSES, SCORES

    from benchmarks.shapes import MAIN_LOSSES

    return LOSSES + SCORES if everything else (*MAIN_LOSSES, "sigmoid", "softmax")


if __name__ == "__main__":
    typer.run(main)
