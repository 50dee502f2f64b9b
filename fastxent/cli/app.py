"""The commands of ``fastxent``: options, errors and exit status."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import fastxent
from fastxent._config import MAX_THREADS
from fastxent.cli import show
from fastxent.cli.arrays import open_array, split_spec
from fastxent.cli.bench import (
    DEFAULT_FUNCTIONS,
    BenchOptions,
    count_steps,
    parse_functions,
    parse_threads,
    run_bench,
)
from fastxent.cli.demo import make_workload, run_demo
from fastxent.cli.errors import CommandError, report
from fastxent.cli.output import check_json, check_output, write_json
from fastxent.cli.plot import prepare_plot
from fastxent.cli.scan import LossOptions, Scan
from fastxent.cli.select import (
    SUFFIXES,
    Selector,
    parse_classes,
    parse_integer,
    parse_thresholds,
)

app = typer.Typer(
    help="Cross-entropy losses of object-detection heads, fast and exact, on the CPU.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class Loss(StrEnum):
    """The losses that ``fastxent loss`` computes."""

    SIGMOID = "sigmoid"
    SOFTMAX = "softmax"


class Reduction(StrEnum):
    """The reductions of the package."""

    ANCHOR = "anchor"
    NONE = "none"
    SUM = "sum"
    MEAN = "mean"


class DType(StrEnum):
    """The dtypes of logits."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"


class Activation(StrEnum):
    """What makes scores of logits."""

    SIGMOID = "sigmoid"
    SOFTMAX = "softmax"
    NONE = "none"


class TopKPer(StrEnum):
    """Of what ``--top-k`` is the limit."""

    IMAGE = "image"
    LEVEL = "level"
    CLASS = "class"


class Combine(StrEnum):
    """What makes one score of two."""

    PRODUCT = "product"
    SQRT = "sqrt"


class StoredDType(StrEnum):
    """What elements can be whose dtype an .npy file cannot tell."""

    BFLOAT16 = "bfloat16"


Threads = Annotated[
    int | None,
    typer.Option(
        "--num-threads", min=1, max=MAX_THREADS, help="Threads; by default one per available CPU."
    ),
]


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the command with one line, and status 2 for what the user can set right."""
    try:
        yield
    except (CommandError, OSError, MemoryError) as error:
        raise typer.Exit(report(error)) from error


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
        Path | None, typer.Option(help="Draw a histogram of the losses (.png, .svg or .pdf).")
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
    if not result.correct:
        raise typer.Exit(1)


@app.command()
def loss(
    logits: Annotated[str, typer.Argument(help="file.npy or file.npz:key, float16, 32 or 64.")],
    targets: Annotated[str, typer.Argument(help="Class labels or dense targets, in such a file.")],
    *,
    loss: Annotated[Loss, typer.Option(help="Which loss.")],
    axis: Annotated[
        str, typer.Option(help='The class axis, or "none" if every logit is an anchor.')
    ] = "-1",
    reduction: Annotated[Reduction, typer.Option(help="What --out holds.")] = Reduction.ANCHOR,
    ignore_index: Annotated[
        list[int],
        typer.Option(
            help="A label that does not count, or a dense target that is missing; may be repeated."
        ),
    ] = [-100],  # noqa: B006 - the help shows it
    background_index: Annotated[
        int | None, typer.Option(help='The label "no class"; the number of classes if not given.')
    ] = None,
    dtype: Annotated[
        StoredDType | None, typer.Option(help="What an array of dtype |V2 holds.")
    ] = None,
    label_smoothing: Annotated[float, typer.Option(help="Between 0 and 1.")] = 0.0,
    pos_weight: Annotated[
        float | None, typer.Option(help="Weight of positive targets (sigmoid).")
    ] = None,
    top: Annotated[int, typer.Option(min=0, help="Lines in each table.")] = 10,
    out: Annotated[Path | None, typer.Option(help="Write the losses to this .npy file.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing --out.")] = False,
    num_threads: Threads = None,
) -> None:
    """Compute the loss of logits and targets in files of any size."""
    stored_dtype = dtype.value if dtype else None
    with (
        one_line_errors(),
        open_array(logits, stored_dtype) as logits_file,
        open_array(targets, stored_dtype) as targets_file,
    ):
        if dtype and "bfloat16" not in {logits_file.dtype.name, targets_file.dtype.name}:
            raise CommandError(
                f"--dtype {dtype} is for arrays of dtype |V2: {logits_file} and {targets_file} "
                "have others"
            )
        inputs = [split_spec(spec)[0] for spec in (logits, targets)]
        destination = check_output(out, (".npy",), force=force, inputs=inputs)
        scan = Scan(
            logits_file,
            targets_file,
            LossOptions(
                loss=loss.value,
                axis=parse_integer(axis, "--axis"),
                reduction=reduction.value,
                ignore_index=tuple(ignore_index),
                background_index=background_index,
                label_smoothing=label_smoothing,
                pos_weight=pos_weight,
                num_threads=num_threads,
            ),
        )
        with show.progress(math.prod(scan.anchor_shape)) as progress:
            summary = scan.run(top, destination, progress)
        show.print_loss(scan, summary, top)


@app.command()
def select(
    logits: Annotated[
        list[str], typer.Argument(help="file.npy or file.npz:key; several are levels.")
    ],
    *,
    score_threshold: Annotated[
        str, typer.Option(help='Of all classes, or one for each: "0.3,0.5"; "none": no threshold.')
    ] = "0.05",
    top_k: Annotated[str, typer.Option(help='How many at most, the best; "none": all.')] = "1000",
    top_k_per: Annotated[TopKPer, typer.Option(help="Of what that is the limit.")] = TopKPer.IMAGE,
    activation: Annotated[
        Activation, typer.Option(help='What makes scores of logits; "none": they are scores.')
    ] = Activation.SIGMOID,
    axis: Annotated[
        str, typer.Option(help='The class axis, or "none" if every logit is an anchor.')
    ] = "-1",
    batch_ndim: Annotated[int, typer.Option(help="How many leading axes are images.")] = 1,
    objectness: Annotated[
        list[str], typer.Option(help="A file like LOGITS, without the class axis; one per level.")
    ] = [],  # noqa: B006
    combine: Annotated[
        Combine, typer.Option(help="What makes one score of class and objectness.")
    ] = Combine.PRODUCT,
    background_index: Annotated[
        int | None, typer.Option(help="A class that is never returned.")
    ] = None,
    multi_label: Annotated[
        bool,
        typer.Option(
            "--multi-label/--no-multi-label", help="All classes of an anchor, or the best."
        ),
    ] = True,
    classes: Annotated[
        list[str],
        typer.Option(help="Which ones to return, separated by commas; may be repeated."),
    ] = [],  # noqa: B006
    dtype: Annotated[
        StoredDType | None, typer.Option(help="What an array of dtype |V2 holds.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write .csv, .json or .npz; without it, CSV to standard output."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing --out.")] = False,
    num_threads: Threads = None,
) -> None:
    """Select candidates, the scores above a threshold, of logits in files, image by image."""
    stored_dtype = dtype.value if dtype else None
    with one_line_errors(), ExitStack() as stack:
        levels, objects = (
            [stack.enter_context(open_array(spec, stored_dtype)) for spec in specs]
            for specs in (logits, objectness)
        )
        files = [*levels, *objects]
        if dtype and all(file.dtype.name != "bfloat16" for file in files):
            others = "others" if len(files) > 1 else "another"
            raise CommandError(
                f"--dtype {dtype} is for arrays of dtype |V2: {' and '.join(map(str, files))} "
                f"{'have' if len(files) > 1 else 'has'} {others}"
            )
        inputs = [split_spec(spec)[0] for spec in (*logits, *objectness)]
        destination = check_output(out, SUFFIXES, force=force, inputs=inputs)
        selector = Selector(
            levels,
            objects,
            {
                "score_threshold": parse_thresholds(score_threshold),
                "top_k": parse_integer(top_k, "--top-k"),
                "top_k_per": top_k_per.value,
                "activation": None if activation is Activation.NONE else activation.value,
                "axis": parse_integer(axis, "--axis"),
                "batch_ndim": batch_ndim,
                "combine": combine.value,
                "background_index": background_index,
                "multi_label": multi_label,
                "classes": parse_classes(classes),
                "num_threads": num_threads,
            },
        )
        with show.progress(selector.images, "images") as progress:
            counts = selector.run(destination, out.suffix if out else ".csv", progress)
        show.print_counts(counts)


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
    json: Annotated[
        str | None,
        typer.Option(help='Write all numbers to this file; "-": to standard output, and no table.'),
    ] = None,
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
