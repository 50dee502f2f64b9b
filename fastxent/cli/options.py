"""What the commands have in common: options, and how they end."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated

import typer

from fastxent._config import MAX_THREADS
from fastxent.cli.errors import CommandError, report


class StoredDType(StrEnum):
    """What elements can be whose dtype an .npy file cannot tell."""

    BFLOAT16 = "bfloat16"


Threads = Annotated[
    int | None,
    typer.Option(
        "--num-threads", min=1, max=MAX_THREADS, help="Threads; by default one per available CPU."
    ),
]
StoredAs = Annotated[StoredDType | None, typer.Option(help="What an array of dtype |V2 holds.")]
Json = Annotated[
    str | None,
    typer.Option(help='Write all numbers to this file; "-": to standard output, and no table.'),
]
Scheduler = Annotated[
    str | None,
    typer.Option(help="Run on the cluster of the Dask scheduler with this address."),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, max=MAX_THREADS, help="Run in this many processes of this machine."),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Keep finished chunks next to --out if the job is stopped, and go on with those of a "
        "stopped one. With --scheduler or --workers they are always kept.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing --out.")]


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the command with one line, and status 2 for what the user can set right."""
    try:
        yield
    except (CommandError, OSError, MemoryError) as error:
        raise typer.Exit(report(error)) from error


def check_dtype(dtype: StoredDType | None, files: list[object]) -> None:
    """Refuse a --dtype that no file has a use for."""
    names = [str(getattr(file, "dtype", "")) for file in files]
    if dtype is None or "bfloat16" in names:
        return
    others = "have others" if len(files) > 1 else "has another"
    raise CommandError(
        f"--dtype {dtype} is for arrays of dtype |V2: {' and '.join(map(str, files))} {others}"
    )
