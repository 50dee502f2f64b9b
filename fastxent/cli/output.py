"""Result files that are there as a whole or not at all."""

import json
import os
import secrets
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy_format

from fastxent.cli.errors import CommandError, named_errors
from fastxent.cli.regions import Region, find_runs


class Destination(NamedTuple):
    """Where a file is to be written, found to be possible before the work begins.

    Attributes
    ----------
    option : str
        What the user gave the name to.
    path : Path
        The name.
    target : Path
        Where links lead from there.
    replaces : bool
        Whether there may be a file already. What appears during the work is always kept otherwise.
    special : bool
        Whether it is a device or a pipe, which is written to and not replaced.
    """

    option: str
    path: Path
    target: Path
    replaces: bool
    special: bool


def find_destination(option: str, path: Path) -> Destination:
    """Refuse a name of which no file can be made; one that exists is to be replaced."""
    with named_errors(path):
        target = Path(os.path.realpath(path))
    if not path.parent.is_dir():
        raise CommandError(f"{option} {path}: there is no folder {path.parent}")
    if path.is_dir():
        raise CommandError(f"{option} {path} is a folder")
    try:
        special = not stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:  # or a link that leads nowhere yet
        special = False
        if not target.parent.is_dir():
            raise CommandError(f"{option} {path}: there is no folder {target.parent}") from None
    if not special and not os.access(target.parent, os.W_OK | os.X_OK):
        raise CommandError(f"{option} {path}: no file can be made in {target.parent}")
    return Destination(option, path, target, os.path.lexists(path), special)


def check_output(
    path: Path | None, suffixes: tuple[str, ...], *, force: bool, inputs: list[Path]
) -> Destination | None:
    """Refuse a name that cannot become the result file, before any work is done."""
    if path is None:
        return None
    if path.suffix not in suffixes:
        raise CommandError(f"--out {path}: the name must end in {' or '.join(suffixes)}")
    if path.exists() and not path.is_file():
        raise CommandError(f"--out {path} is not a file")
    destination = find_destination("--out", path)
    if path.exists() and any(path.samefile(name) for name in inputs):
        raise CommandError(f"--out {path} is one of the inputs")
    if destination.replaces and not force:
        raise CommandError(f"--out {path} exists; --force replaces it")
    return destination._replace(replaces=force)


def check_json(name: str | None) -> Destination | None:
    """Refuse a name that cannot become the file of --json, before any work is done."""
    return None if name in {None, "-"} else find_destination("--json", Path(str(name)))


def write_json(destination: Destination | None, content: dict[str, Any]) -> None:
    """Write a file, or to standard output if there is none."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    if destination is None:
        sys.stdout.write(text)
        return
    with whole_file(destination) as file:
        file.write(text.encode())


@contextmanager
def whole_file(destination: Destination) -> Iterator[BinaryIO]:
    """Open a file that gets its name when the context ends without an exception.

    Until then it has a name of its own in the same folder, with an end that no pattern for results
    matches. Whatever ends the context early removes it; what kills the process leaves it.

    Parameters
    ----------
    destination : Destination
        The final name.

    Yields
    ------
    file
        What to write to.
    """
    target = destination.target
    temporary = target.with_name(f".fastxent-{secrets.token_hex(8)}.partial")
    with cleanup_on_signals(), named_errors(destination.path, temporary, target):
        if destination.special:
            with destination.path.open("wb") as file:
                yield file
            return
        try:
            with temporary.open("xb") as file:
                if destination.replaces:
                    _copy_access(target, file.fileno())
                yield file
                file.flush()
                os.fsync(file.fileno())
            _publish(temporary, destination)
        finally:
            with suppress(OSError):
                temporary.unlink()


def _copy_access(existing: Path, descriptor: int) -> None:
    """Give a file the mode of an existing one, and its owner and group as far as one may."""
    if os.name != "posix" or not existing.exists():
        return
    status = existing.stat()
    for owner, group in ((-1, status.st_gid), (status.st_uid, -1)):
        with suppress(OSError):
            os.fchown(descriptor, owner, group)
    with suppress(OSError):  # some file systems have no modes
        os.fchmod(descriptor, status.st_mode & 0o777)


def _publish(temporary: Path, destination: Destination) -> None:
    """Give a file its final name, which may exist only where it is to be replaced."""
    if destination.replaces:
        temporary.replace(destination.target)
        return
    try:
        os.link(temporary, destination.target)
    except FileExistsError:
        raise _appeared(destination) from None
    except OSError:  # some file systems have no links
        _replace_reserved(temporary, destination)


def _replace_reserved(temporary: Path, destination: Destination) -> None:
    """Rename a file to a name that does not exist, in two steps.

    A process that is killed between them leaves an empty file.
    """
    target = destination.target
    try:
        reserved = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        raise _appeared(destination) from None
    os.close(reserved)
    try:
        temporary.replace(target)
    except BaseException:
        target.unlink()
        raise


def _appeared(destination: Destination) -> CommandError:
    name = f"{destination.option} {destination.path}"
    return CommandError(f"{name} has appeared during the run, and is kept")


class ArrayWriter:
    """An .npy file that is filled region by region."""

    def __init__(
        self, file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any], *, fortran_order: bool
    ) -> None:
        self.file, self.shape, self.fortran_order = file, shape, fortran_order
        descr = npy_format.dtype_to_descr(dtype)
        header = {"shape": shape, "fortran_order": fortran_order, "descr": descr}
        npy_format.write_array_header_1_0(file, header)
        self.start = file.tell()

    def write(self, region: Region, values: npt.NDArray[Any]) -> None:
        """Write the values of a region; every region is written once."""
        flat = values.ravel(order="F" if self.fortran_order else "C")
        done = 0
        for offset, count in find_runs(self.shape, region, fortran_order=self.fortran_order):
            self.file.seek(self.start + offset * flat.itemsize)
            self.file.write(flat[done : done + count].data)
            done += count


@contextmanager
def write_array(
    destination: Destination | None,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    *,
    fortran_order: bool,
) -> Iterator[ArrayWriter | None]:
    """Open a result file; it gets its name when the context ends without an exception."""
    if destination is None:
        yield None
        return
    with whole_file(destination) as file:
        yield ArrayWriter(file, shape, dtype, fortran_order=fortran_order)


@contextmanager
def cleanup_on_signals() -> Iterator[None]:
    """Let signals end the process as an exception would, so that files are cleaned up."""

    def leave(number: int, _frame: FrameType | None) -> None:
        for handled in previous:  # one more of them shall not end the cleaning
            signal.signal(handled, signal.SIG_IGN)
        raise SystemExit(128 + number)

    names = ["SIGINT", "SIGTERM", "SIGHUP"]
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    # An ignored signal stays ignored: that is how nohup works.
    handlers = {number: signal.getsignal(number) for number in numbers}
    previous = {n: handler for n, handler in handlers.items() if handler != signal.SIG_IGN}
    for number in previous:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
