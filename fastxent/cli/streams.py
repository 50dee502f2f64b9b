"""The standard streams of the command: no character and no full disk ends in a traceback.

What is written to them is written as ever; ``prepare`` replaces what Python has made of them.
"""

import io
import os
import select
import signal
import sys
from typing import Any, TextIO


class Stream(io.FileIO):
    """A file descriptor that is waited for where it is set not to block."""

    def write(self, data: Any) -> int:  # noqa: ANN401 - any buffer
        """Write some of the bytes, and return how many."""
        while (written := super().write(data)) is None:
            select.select((), (self,), ())
        return written


class StandardOutput(Stream):
    """Standard output, whose error says what could not be written.

    What comes after an error is dropped: buffers are written once more when Python ends.
    """

    failed = False

    def write(self, data: Any) -> int:  # noqa: ANN401
        """Write some of the bytes, and return how many."""
        if self.failed:
            return len(data)
        try:
            return super().write(data)
        except BrokenPipeError:
            # End as other commands do, by a signal that Python ignores: nothing reads on.
            self.failed = True
            raise SystemExit(128 + signal.SIGPIPE) from None
        except OSError as error:
            self.failed = True
            error.filename = "standard output"
            raise


class StandardError(Stream):
    """Standard error, which drops what it cannot write: there is no other place to say so."""

    def write(self, data: Any) -> int:  # noqa: ANN401
        """Write some of the bytes, and return how many."""
        try:
            return super().write(data)
        except OSError:
            return len(data)


def prepare() -> None:
    """Let the standard streams of this process escape what they cannot show, and report errors.

    Streams that are not Python's own are left alone.
    """
    if os.name != "posix":  # consoles of Windows have streams of another kind
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        return
    # No file that the command opens may get the number of a stream that is closed. What takes the
    # number here can be read only, so that writing to the stream stays an error.
    while (descriptor := os.open(os.devnull, os.O_RDONLY)) <= 2:
        pass
    os.close(descriptor)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _open_text(StandardOutput(1, "w", closefd=False), sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _open_text(StandardError(2, "w", closefd=False), sys.stderr)
        sys.stderr.reconfigure(line_buffering=True)


def _open_text(raw: Stream, replaced: TextIO | None) -> io.TextIOWrapper:
    """Return a stream of text in the encoding of the one that it replaces, if that is open."""
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=replaced.encoding if replaced else "utf-8",
        errors="backslashreplace",
        line_buffering=raw.isatty(),
    )
