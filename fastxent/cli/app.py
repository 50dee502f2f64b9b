"""The commands of ``fastxent``, and the options of those that have no module for them."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import fastxent
from fastxent.cli import show
from fastxent.cli.bench import (
    DEFAULT_FUNCTIONS,
    BenchOptions,
    count_steps,
    parse_functions,
    parse_threads,
    run_bench,
)
from fastxent.cli.demo import make_workload, run_demo
from fastxent.cli.loss_command import loss
from fastxent.cli.options import Json, Threads, one_line_errors
from fastxent.cli.output import check_json, write_json
from fastxent.cli.plot import prepare_plot
from fastxent.cli.select_command import select

app = typer.Typer(
    help="Cross-entropy losses of object-detection heads, fast and exact, on the CPU.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class DType(StrEnum):
    """The dtypes of logits."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"


def print_version(wanted: bool) -> None:
    """Print the version, if that is wanted, and leave."""
    if wanted:
        typer.echo(f"fastxent {fastxent.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Take the options that come before the command."""


@app.command()
def demo(
    anchors: Annotated[int, typer.Option(min=2_000_000, help="How many.")] = 2_000_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the perturbation.")] = 0,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the losses into this .png, .svg or .pdf.")
    ] = None,
    num_threads: Threads = None,
) -> None:
    """Compute, check and time both cross-entropies of a real detection head."""
    with one_line_errors():
        save_plot = prepare_plot(plot) if plot else None
        result = run_demo(make_workload(anchors, seed), num_threads)
        try:
            if save_plot:
                save_plot(result)
        finally:
            show.print_demo(result)
        show.print_places(plot)
    if not result.correct:
        raise typer.Exit(1)


app.command()(loss)
app.command()(select)


@app.command()
def bench(
    *,
    anchors: Annotated[
        int | None,
        typer.Option(
            min=8,
            max=10**9,
            help="How many in each head; by default 200,000 as rows, and 8 x 8,732 with the class "
            "axis 1.",
        ),
    ] = None,
    classes: Annotated[
        int | None, typer.Option(min=2, max=10**6, help="How many; by default 80 and 81.")
    ] = None,
    threads: Annotated[
        list[str],
        typer.Option(help='A number, "all", or several: "1,all"; may be repeated.'),
    ] = ["all"],  # noqa: B006 - the help shows it
    dtype: Annotated[DType, typer.Option(help="Of the logits.")] = DType.FLOAT32,
    functions: Annotated[
        list[str],
        typer.Option(help='Names, separated by commas, or "all"; may be repeated.'),
    ] = [",".join(DEFAULT_FUNCTIONS)],  # noqa: B006, B008
    rounds: Annotated[int, typer.Option(min=1, help="Each time is the median of this many.")] = 7,
    seed: Annotated[int, typer.Option(min=0, help="Seed of logits and targets.")] = 0,
    numpy: Annotated[bool, typer.Option("--numpy/--no-numpy", help="Time NumPy as well.")] = True,
    json: Json = None,
) -> None:
    """Check and time functions of random heads, next to NumPy and the speed of reading."""
    with one_line_errors():
        destination = check_json(json)
        chosen = BenchOptions(
            anchors=anchors,
            classes=classes,
            threads=parse_threads(threads),
            dtype=dtype.value,
            functions=parse_functions(functions),
            rounds=rounds,
            seed=seed,
            numpy=numpy,
        )
        with show.progress(count_steps(chosen), "rounds", auto_refresh=False) as progress:
            result = run_bench(chosen, progress)
        try:
            if json is not None:
                write_json(destination, result.as_json())
        finally:
            if json != "-":
                show.print_bench(result)


@app.command()
def info() -> None:
    """Print version, backend, instruction set, threads and build."""
    with one_line_errors():
        show.print_lines(*str(fastxent.show_config()).splitlines())
