"""Record the speed of commits, and make pages of it with asv that need no network.

    python asv_bench/dashboard.py record     what is missing of the last commits
    python asv_bench/dashboard.py publish    pages in asv_bench/html, of what is recorded
    python asv_bench/dashboard.py serve      show them on localhost
    python asv_bench/dashboard.py commits    list the commits that may have changed speed

``make dashboard`` and ``make dashboard-serve`` call these; docs/dashboard.md says more.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated

import recorder
import typer
from compare import build
from suite import counting

HERE = Path(__file__).parent
ROOT = HERE.parent
HTML = HERE / "html"
RESULTS = HERE / "results"
CONFIGURATION = HERE / "asv.conf.json"

#: A commit may have changed speed if it touched one of these. The first one that did is the one
#: with the first kernels.
SPEED_PATHS = ("fastxent/native", "fastxent/numba", "setup.py")
#: The commit whose build is the unit of all times. Another one starts all of them afresh.
REFERENCE = "f8a6ebd12f5a6b6ed52ab32224f8d193d7bcfb79"
#: What the pages look for and we do not have. To a browser, a missing file is an error.
ABSENT = {"profiles.json": {"paths": {}}, "regressions-ignore.json": []}

app = typer.Typer(add_completion=False, help="Speed over commits.", no_args_is_help=True)


# --- commits and asv ------------------------------------------------------------------------------


def git(*arguments: str) -> list[str]:
    """Return the lines that git prints."""
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def commits_of_speed() -> list[str]:
    """Return the hashes of the commits that may have changed speed, the newest first."""
    return git("log", "--format=%H", "HEAD", "--", *SPEED_PATHS)


def run_asv(*arguments: str, configuration: Path) -> None:
    """Run asv with a configuration."""
    command = [sys.executable, "-m", "asv", *arguments, "--config", str(configuration)]
    done = subprocess.run(command, cwd=HERE, check=False)
    if done.returncode:
        raise typer.Exit(done.returncode)


# --- commands -------------------------------------------------------------------------------------


@app.command()
def commits() -> None:
    """List the commits that may have changed speed, the newest first."""
    for commit in commits_of_speed():
        typer.echo(" ".join(git("log", "-1", "--format=%h %cs %s", commit)))


@app.command()
def record(
    count: Annotated[str, typer.Option("--commits", help='How many, or "all".')] = "2",
    step: Annotated[int, typer.Option(min=1, help="Of these, every so many.")] = 1,
    counts: Annotated[bool, typer.Option(help="What depends on no machine.")] = True,
    times: Annotated[bool, typer.Option(help="Times in units of the reference's.")] = True,
) -> None:
    """Record what is missing of the last commits that may have changed speed.

    Each is written when it is complete: Ctrl-C loses the one that is being measured, and the same
    command goes on from there.
    """
    if not (count == "all" or count.isdecimal()):
        raise typer.BadParameter(f'{count} is neither a number nor "all"')
    if counts and (absent := counting.absence()):
        typer.echo(f"SKIPPED: instructions are not counted, for {absent}", err=True)
        counts = False
    here, anywhere = recorder.machine_of_times(), recorder.machine_of_counts()
    for commit in commits_of_speed()[: None if count == "all" else int(count)][::step]:
        wanted = [
            machine
            for machine, is_wanted in ((anywhere, counts), (here, times))
            if is_wanted and not recorder.path_of(RESULTS, machine, commit).exists()
        ]
        if wanted:
            start = time.monotonic()
            try:
                _record_commit(commit, wanted)
            except Exception as problem:  # noqa: BLE001 - of one commit; there are others
                typer.echo(f"{commit[:8]}: {type(problem).__name__}: {problem}", err=True)
            else:
                typer.echo(f"{commit[:8]}: {time.monotonic() - start:.0f} s")


def _record_commit(commit: str, machines: list[dict[str, str]]) -> None:
    """Build a commit, and write what is recorded of it on each of the machines."""
    date = 1000 * int(git("log", "-1", "--format=%ct", commit)[0])
    with tempfile.TemporaryDirectory() as folder:
        target = build(ROOT, commit, Path(folder, "commit"))
        for machine in machines:
            if machine["machine"] == recorder.COUNTS:
                results = recorder.record_counts(target)
            else:
                results = recorder.record_times(reference(), target)
            recorder.write(RESULTS, machine, commit, date, results)


def reference() -> Path:
    """Return where the build is that all times are compared with; made once."""
    folder = HERE / "env" / f"reference-{REFERENCE[:8]}"
    target = folder / "target"
    if not target.exists():
        shutil.rmtree(folder, ignore_errors=True)
        build(ROOT, REFERENCE, folder)
    return target


@app.command()
def publish(
    folder: Annotated[Path, typer.Option("--to", help="Where the pages go.")] = HTML,
    configuration: Annotated[Path, typer.Option("--config", help="That of asv.")] = CONFIGURATION,
) -> None:
    """Make the pages, of all recorded results."""
    run_asv("publish", "--html-dir", str(folder), configuration=configuration)
    install = [sys.executable, "-m", "asv_tachyon", "install", str(folder), "--no-backup"]
    subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
    complete_pages(folder)
    typer.echo(f"{folder / 'index.html'}: `make dashboard-serve` shows it, as any web server does.")


def complete_pages(folder: Path) -> None:
    """Tell the pages what asv does not know."""
    index_path = folder / "index.json"
    index = json.loads(index_path.read_text(encoding="utf-8"))
    for benchmark in index["benchmarks"].values():
        # asv has no word for it, and the pages take a rise of a "track" for a success.
        benchmark["less_is_better"] = True
    index_path.write_text(json.dumps(index, separators=(",", ":")), encoding="utf-8")

    subjects = dict(line.split(" ", 1) for line in git("log", "--format=%H %s", "HEAD"))
    for name, content in {"commits.json": subjects, **ABSENT}.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    graphs = folder / "graphs"
    for machine in {graph.parent for graph in graphs.rglob("*.json")}:
        for name in index["benchmarks"]:
            if not (machine / f"{name}.json").exists():  # counts have no times, and times no counts
                (machine / f"{name}.json").write_text("[]", encoding="utf-8")
    for graph in graphs.rglob("*.json"):
        samples = folder / "samples" / graph.relative_to(graphs)  # absent as well
        samples.parent.mkdir(parents=True, exist_ok=True)
        samples.write_text("{}", encoding="utf-8")


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files, and does not print a line for each."""

    def log_message(self, *_: object) -> None:
        pass


@app.command()
def serve(
    port: Annotated[int, typer.Option(help="0 chooses a free one.")] = 8080,
    folder: Annotated[Path, typer.Option("--from", help="Where the pages are.")] = HTML,
) -> None:
    """Show the pages on localhost, until Ctrl-C."""
    if not (folder / "index.json").exists():
        typer.echo("There are no pages yet: `make dashboard` makes them.", err=True)
        raise typer.Exit(1)
    handler = partial(QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        typer.echo(f"http://127.0.0.1:{server.server_port}/")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo()


if __name__ == "__main__":
    app()
