"""The command ``fastxent loss``: its options, and what they become."""

import math
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from fastxent._catalogue import LOSSES
from fastxent.cli import show_loss
from fastxent.cli.blocks import LossOptions
from fastxent.cli.cluster import open_workers
from fastxent.cli.errors import CommandError
from fastxent.cli.jobs import Job, describe, open_store
from fastxent.cli.options import (
    Force,
    Json,
    Resume,
    Scheduler,
    StoredAs,
    Threads,
    Workers,
    check_dtype,
    one_line_errors,
)
from fastxent.cli.output import check_json, check_output, write_json
from fastxent.cli.scan import Scan
from fastxent.cli.select import parse_integer, parse_numbers
from fastxent.cli.show import progress
from fastxent.cli.sources import open_source

#: The losses of most heads have short names, too.
SHORT_NAMES = {"sigmoid": "sigmoid_cross_entropy", "softmax": "softmax_cross_entropy"}
#: Parameters that are no options here: a second result.
LEFT_OUT = {"return_expectation"}

LossName = StrEnum("LossName", {n: n for n in (*SHORT_NAMES, *LOSSES)})  # type: ignore[misc]


class Reduction(StrEnum):
    """The reductions of the package."""

    ANCHOR = "anchor"
    NONE = "none"
    SUM = "sum"
    MEAN = "mean"


def loss(
    logits: Annotated[
        str,
        typer.Argument(
            help="file.npy, file.npz:key, store.zarr:path, a folder of to_npy_stack, or a pattern "
            "of files ('part*.npy') that follow each other along the first axis; "
            "float16, 32 or 64."
        ),
    ],
    targets: Annotated[str, typer.Argument(help="Class labels or dense targets, in such a file.")],
    *,
    loss: Annotated[
        LossName,
        typer.Option(
            help="sigmoid or softmax (cross-entropy), or a function's name: sigmoid_focal_loss ...",
            metavar="NAME",
        ),
    ],
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
    dtype: StoredAs = None,
    scores: Annotated[
        str | None, typer.Option(help="A file of a score for each label (quality_focal_loss).")
    ] = None,
    alpha: Annotated[
        str | None,
        typer.Option(help='Weight: a number, one for each class ("0.3,0.5"), or "none".'),
    ] = None,
    beta: Annotated[
        float | None, typer.Option(help="quality_focal_loss: exponent; focal_loss_star: shift.")
    ] = None,
    clip: Annotated[
        float | None, typer.Option(help="asymmetric_loss: what negatives are spared.")
    ] = None,
    eps: Annotated[float | None, typer.Option(help="Where probabilities are clipped.")] = None,
    epsilon: Annotated[
        float | None, typer.Option(help="poly1_cross_entropy: its coefficient.")
    ] = None,
    gamma: Annotated[float | None, typer.Option(help="Exponent of focal losses.")] = None,
    gamma_neg: Annotated[
        float | None, typer.Option(help="asymmetric_loss: exponent of negatives.")
    ] = None,
    gamma_pos: Annotated[
        float | None, typer.Option(help="asymmetric_loss: exponent of positives.")
    ] = None,
    iou_weighted: Annotated[
        bool | None,
        typer.Option("--iou-weighted/--no-iou-weighted", help="varifocal_loss: weigh by targets."),
    ] = None,
    label_smoothing: Annotated[float | None, typer.Option(help="Between 0 and 1.")] = None,
    pos_weight: Annotated[
        str | None, typer.Option(help="Weight of positive targets, or one for each class.")
    ] = None,
    top: Annotated[int, typer.Option(min=0, help="Lines in each table.")] = 10,
    out: Annotated[Path | None, typer.Option(help="Write the losses to this .npy file.")] = None,
    json: Json = None,
    force: Force = False,
    scheduler: Scheduler = None,
    workers: Workers = None,
    resume: Resume = False,
    num_threads: Threads = None,
) -> None:
    """Compute a loss of the package, of logits and targets in files of any size."""
    name = SHORT_NAMES.get(loss.value, loss.value)
    with one_line_errors(), ExitStack() as stack:
        given = {
            "alpha": _numbers(alpha, "--alpha"),
            "beta": beta,
            "clip": clip,
            "eps": eps,
            "epsilon": epsilon,
            "gamma": gamma,
            "gamma_neg": gamma_neg,
            "gamma_pos": gamma_pos,
            "iou_weighted": iou_weighted,
            "label_smoothing": label_smoothing,
            "pos_weight": _numbers(pos_weight, "--pos-weight"),
        }
        specs = {"logits": logits, "targets": targets, "scores": scores}
        stored = {
            argument: stack.enter_context(open_source(spec, dtype.value if dtype else None))
            for argument, spec in specs.items()
            if spec is not None
        }
        check_dtype(dtype, list(stored.values()))
        paths = {argument: source.paths for argument, source in stored.items()}
        inputs = [path for found in paths.values() for path in found]
        destination = check_output(out, (".npy",), force=force, inputs=inputs)
        json_destination = check_json(json)
        on_cluster = scheduler is not None or workers is not None
        options = LossOptions(
            loss=name,
            parameters=_parameters(name, loss.value, given),
            axis=parse_integer(axis, "--axis"),
            reduction=reduction.value,
            ignore_index=tuple(ignore_index),
            background_index=background_index,
            num_threads=num_threads or (1 if on_cluster else None),
        )
        scan = Scan(stored["logits"], stored["targets"], options, stored.get("scores"))
        kept = {"loss": name, "top": top, "reduction": reduction.value, **options.parameters}
        kept |= {"axis": scan.axis, "ignore_index": ignore_index, "background": background_index}
        cluster = stack.enter_context(open_workers(scheduler, workers))
        store = stack.enter_context(
            open_store(
                destination,
                describe(paths, kept) if resume or on_cluster else {},
                resume=resume,
                keep=on_cluster,
            )
        )
        bar = stack.enter_context(progress(math.prod(scan.anchor_shape)))
        summary = scan.run(top, destination, bar, Job(cluster, store))
        stack.close()  # the bar is gone before tables are printed
        if json is not None:
            write_json(json_destination, show_loss.as_json(scan, summary, top))
        if json != "-":
            show_loss.print_loss(scan, summary, top)


def _parameters(name: str, called: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of a loss that are given, and refuse those of others."""
    known = LOSSES[name].parameters
    result = {}
    for parameter, value in given.items():
        if value is None:
            continue
        if parameter not in known:
            option = f"--{parameter.replace('_', '-')}"
            takes = [f"--{p.replace('_', '-')}" for p in known if p not in LEFT_OUT]
            raise CommandError(
                f"{option} is not for --loss {called}, which takes {', '.join(takes) or 'none'}"
            )
        result[parameter] = None if value == "none" else value
    return result


def _numbers(text: str | None, option: str) -> float | list[float] | str | None:
    """Return numbers, the word "none", which is a value of such options, or None: not given."""
    if text is None:
        return None
    numbers = parse_numbers(text, option)
    return "none" if numbers is None else numbers
