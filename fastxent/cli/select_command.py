"""The command ``fastxent select``: its options, and what they become."""

from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fastxent.cli import show
from fastxent.cli.cluster import open_workers
from fastxent.cli.errors import CommandError
from fastxent.cli.jobs import Job, describe, open_store
from fastxent.cli.options import (
    Force,
    Resume,
    Scheduler,
    StoredAs,
    Threads,
    Workers,
    check_dtype,
    one_line_errors,
)
from fastxent.cli.output import check_json, check_output, write_json
from fastxent.cli.select import (
    SUFFIXES,
    Selector,
    parse_classes,
    parse_integer,
    parse_numbers,
)
from fastxent.cli.sources import open_source


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


def select(
    logits: Annotated[
        list[str],
        typer.Argument(
            help="file.npy, file.npz:key, store.zarr:path, a folder of to_npy_stack, or a pattern "
            "of files ('part*.npy') that follow each other along the first axis; several: levels."
        ),
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
    dtype: StoredAs = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write .csv, .json or .npz; without it, CSV to standard output."),
    ] = None,
    json: Annotated[
        str | None,
        typer.Option(help='Write the counts of each image to this file; "-": to standard output.'),
    ] = None,
    force: Force = False,
    scheduler: Scheduler = None,
    workers: Workers = None,
    resume: Resume = False,
    num_threads: Threads = None,
) -> None:
    """Select candidates, the scores above a threshold, of logits in files, image by image."""
    stored_dtype = dtype.value if dtype else None
    with one_line_errors(), ExitStack() as stack:
        levels, objects = (
            [stack.enter_context(open_source(spec, stored_dtype)) for spec in specs]
            for specs in (logits, objectness)
        )
        check_dtype(dtype, [*levels, *objects])
        paths = {"logits": levels, "objectness": objects}
        files = {name: [p for s in found for p in s.paths] for name, found in paths.items()}
        destination = check_output(
            out, SUFFIXES, force=force, inputs=[path for found in files.values() for path in found]
        )
        json_destination = check_json(json)
        if json == "-" and out is None:
            raise CommandError("--json - needs --out: without it, candidates go to standard output")
        on_cluster = scheduler is not None or workers is not None
        options = {
            "score_threshold": parse_numbers(score_threshold, "--score-threshold"),
            "top_k": parse_integer(top_k, "--top-k"),
            "top_k_per": top_k_per.value,
            "activation": None if activation is Activation.NONE else activation.value,
            "axis": parse_integer(axis, "--axis"),
            "batch_ndim": batch_ndim,
            "combine": combine.value,
            "background_index": background_index,
            "multi_label": multi_label,
            "classes": parse_classes(classes),
        }
        kept = describe(files, options) if resume or on_cluster else {}
        options["num_threads"] = num_threads or (1 if on_cluster else None)
        selector = Selector(levels, objects, options)
        cluster = stack.enter_context(open_workers(scheduler, workers))
        store = stack.enter_context(open_store(destination, kept, resume=resume, keep=on_cluster))
        bar = stack.enter_context(show.progress(selector.images, "images"))
        suffix = out.suffix if out else ".csv"
        counts = selector.run(destination, suffix, bar, Job(cluster, store))
        stack.close()  # the bar is gone before counts are printed
        if json is not None:
            write_json(json_destination, counts.as_json())
        show.print_counts(counts)
