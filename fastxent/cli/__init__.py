"""The command line ``fastxent``; it needs the extra "cli"."""

import sys

from fastxent.cli.errors import report
from fastxent.cli.streams import prepare

__all__ = ["main"]


def main() -> None:
    """Run the command line, or say what to install for it."""
    prepare()
    try:
        from fastxent.cli.app import app  # noqa: PLC0415 - this module must import without typer
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"typer", "rich"}:
            raise
        print('fastxent: the command line needs pip install "fastxent[cli]"', file=sys.stderr)
        sys.exit(2)
    try:
        try:
            app(prog_name="fastxent")
        finally:
            sys.stdout.flush()
    except OSError as error:
        # Those of the commands have been reported: this is standard output.
        sys.exit(report(error))
