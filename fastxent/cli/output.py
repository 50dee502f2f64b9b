"""Result files that are there as a whole or not at all."""

import json
import os
import secrets
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy_format

from fastxent.cli.errors import CommandError
from fastxent.cli.regions import Region, find_runs


def check_output(path: Path, *, force: bool, inputs: list[Path]) -> None:
    """Refuse a name that cannot become the result file, before any work is done."""
    if path.suffix != ".npy":
        raise CommandError(f"--out {path}: the name must end in .npy")
    if not path.parent.is_dir():
        raise CommandError(f"--out {path}: there is no folder {path.parent}")
    if not path.exists():
        return
    if not path.is_file():
        raise CommandError(f"--out {path} is not a file")
    if any(path.samefile(name) for name in inputs):
        raise CommandError(f"--out {path} is one of the inputs")
    if not force:
        raise CommandError(f"--out {path} exists; --force replaces it")


def check_json(name: str | None) -> None:
    """Refuse a name that cannot become the file of --json, before any work is done."""
    if name in {None, "-"}:
        return
    path = Path(str(name))
    if path.is_dir():
        raise CommandError(f"--json {path} is a folder")
    if not path.parent.is_dir():
        raise CommandError(f"--json {path}: there is no folder {path.parent}")


def write_json(name: str, content: dict[str, Any]) -> None:
    """Write a file, replacing one that exists, or to standard output if it is called "-"."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    if name == "-":
        sys.stdout.write(text)
        return
    with whole_file(Path(name)) as temporary:
        temporary.write_text(text, "utf-8")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`, and rename that file at the end.

    Whatever ends the context early removes the file.

    Parameters
    ----------
    path : Path
        The final name, which is replaced if it exists.

    Yields
    ------
    Path
        The name to write to.
    """
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
    path: Path | None, shape: tuple[int, ...], dtype: np.dtype[Any], *, fortran_order: bool
) -> Iterator[ArrayWriter | None]:
    """Open a result file; it gets its name when the context ends without an exception."""
    if path is None:
        yield None
        return
    with cleanup_on_signals(), whole_file(path) as temporary, temporary.open("xb") as file:
        yield ArrayWriter(file, shape, dtype, fortran_order=fortran_order)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def cleanup_on_signals() -> Iterator[None]:
    """Let termination end the process as an exception would, so that files are cleaned up."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    names = ["SIGTERM", "SIGHUP"]  # SIGINT raises KeyboardInterrupt already
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    # An ignored signal stays ignored: that is how nohup works.
    previous = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) != signal.SIG_IGN}
    for number in previous:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
