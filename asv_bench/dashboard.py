"""Record the speed of commits with airspeed velocity, and make pages of it that need no network.

    python asv_bench/dashboard.py record     what is missing for the last commits, quickly
    python asv_bench/dashboard.py publish    pages in asv_bench/html, of what is recorded
    python asv_bench/dashboard.py serve      show them on localhost
    python asv_bench/dashboard.py commits    list the commits that may have changed speed

``make dashboard`` and ``make dashboard-serve`` call these; docs/dashboard.md says more.
"""

import json
import os
import platform
import re
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated

import recordings
import typer

HERE = Path(__file__).parent
ROOT = HERE.parent
HTML = HERE / "html"
RESULTS = HERE / "results"

#: A commit may have changed speed if it touched one of these. The first one that did is the one
#: with the first kernels.
SPEED_PATHS = ("fastxent/native", "fastxent/numba", "setup.py")
#: Modules of the suite whose benchmarks are not run under several conditions.
WITHOUT_CONDITIONS = r"^(calls|detection|heads|instructions|memory|size|start)\."
#: What the pages look for and we do not have. To a browser, a missing file is an error.
ABSENT = {"profiles.json": {"paths": {}}, "regressions-ignore.json": []}

app = typer.Typer(add_completion=False, help="Speed over commits.", no_args_is_help=True)


# --- commits and machines -------------------------------------------------------------------------


def git(*arguments: str) -> list[str]:
    """Return the lines that git prints."""
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def commits_of_speed() -> list[str]:
    """Return the hashes of the commits that may have changed speed, the newest first."""
    return git("log", "--format=%H", "HEAD", "--", *SPEED_PATHS)


def describe_machine() -> dict[str, str]:
    """Return what asv keeps of a machine: its kind, and not which one it is.

    Each of these is a parameter of every curve, so nothing that the next update changes is in it.
    """
    from fastxent.cli.machine import cpu_model, memory_bytes

    cpu, count = cpu_model(), os.cpu_count() or 1
    words = re.sub(r"\((r|tm)\)|@.*|\b(cpu|processor)\b", " ", cpu.lower())
    name = "-".join(re.findall(r"[a-z0-9.]+", words))
    return {
        "machine": f"{name}-{count}cpu",
        "os": platform.system(),
        "arch": platform.machine(),
        "cpu": cpu,
        "num_cpu": str(count),
        "ram": f"{memory_bytes() / 2**30:.0f} GiB",
    }


def register_machine() -> str:
    """Tell asv about this machine, in its file in the home folder, and return the name."""
    # `asv machine` drops what equals its own defaults, and has the host's name among them.
    from asv.machine import MachineCollection

    machine = describe_machine()
    MachineCollection.save(machine["machine"], machine)
    return machine["machine"]


def run_asv(*arguments: str, environment: dict[str, str] | None = None, stdin: str = "") -> None:
    """Run asv with our configuration."""
    command = [sys.executable, "-m", "asv", *arguments, "--config", str(HERE / "asv.conf.json")]
    variables = os.environ | (environment or {})
    done = subprocess.run(command, cwd=HERE, env=variables, input=stdin, text=True, check=False)
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
    full: Annotated[bool, typer.Option("--full", help="All conditions; minutes each.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Also what is recorded; the smaller figures are kept.")
    ] = False,
    only: Annotated[str, typer.Option(help="A regular expression of benchmarks.")] = "",
) -> None:
    """Run the benchmarks of the last commits that may have changed speed."""
    sys.path.insert(0, str(HERE))
    from suite._cases import QUICK

    if not (count == "all" or count.isdecimal()):
        raise typer.BadParameter(f'{count} is neither a number nor "all"')
    chosen = commits_of_speed()[: None if count == "all" else int(count)]
    environment = {} if full else {"FASTXENT_ASV_CASES": QUICK}
    selected = [only] if only else [] if full else [QUICK, WITHOUT_CONDITIONS]
    machine = register_machine()
    arguments = ["run", "--machine", machine]
    arguments += [f"--bench={pattern}" for pattern in selected]
    # A quick run leaves gaps, which a full one fills.
    missing = "--skip-existing-successful" if full else "--skip-existing-commits"
    arguments += [] if again else [missing]
    earlier = recordings.read_recordings(RESULTS / machine, chosen if again else ())
    try:
        run_asv(*arguments, "HASHFILE:-", environment=environment, stdin="\n".join(chosen))
    finally:
        recordings.keep_smallest(earlier)


@app.command()
def publish(
    folder: Annotated[Path, typer.Option("--to", help="Where the pages go.")] = HTML,
) -> None:
    """Make the pages, of all recorded results."""
    run_asv("publish", "--html-dir", str(folder))
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
