"""The errors that end a command with a line instead of a traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastxent.cli.text import printable


class CommandError(Exception):
    """What the user gave cannot be used; the message is one line and says why."""

    #: The exit status of the command.
    status = 2


class WrongResultError(CommandError):
    """A result is not what it should be, which is the package's fault."""

    status = 1


def report(error: CommandError | OSError | MemoryError) -> int:
    """Say in one line on standard error what ended the command, and return its exit status."""
    message, status = str(error), 2
    if isinstance(error, CommandError):
        status = error.status
    elif isinstance(error, MemoryError):
        message = "there is not enough memory" + f": {message}" * bool(message)
    elif error.filename is not None:
        message = f"{error.filename}: {error.strerror}"
    print(f"fastxent: {printable(message)}", file=sys.stderr)
    return status


@contextmanager
def named_errors(path: Path, *aliases: Path) -> Iterator[None]:
    """Let the errors of the system name this file, where they name none or one of the aliases.

    Those of reading and writing name no file by themselves.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None or Path(error.filename) in aliases:
            error.filename, error.filename2 = str(path), None
        raise
