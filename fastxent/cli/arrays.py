"""Arrays in .npy and .npz files, read in pieces.

Pieces are read, not memory-mapped: a file that shrinks while it is mapped kills the process, and
mapped pages count as its memory.
"""

import io
import lzma
import math
import os
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy_format

from fastxent.cli.dtypes import find_dtype
from fastxent.cli.errors import CommandError, named_errors
from fastxent.cli.regions import Region, find_runs, is_sequential, region_shape
from fastxent.cli.text import list_some, summarize

#: No header of an array of numbers is longer.
HEADER_BYTES = 2**16
#: Compressed data is decompressed in pieces of this size.
PIECE_BYTES = 2**20

#: What ``numpy.save`` makes of bfloat16: two bytes that NumPy knows nothing else about.
SAVED_BFLOAT16 = np.dtype("V2")

#: What reading a damaged archive raises; OSError is for positions before its beginning.
BROKEN_ARCHIVE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    UnicodeDecodeError,
    struct.error,
    NotImplementedError,
)


class ByteSource(Protocol):
    """The bytes of an .npy file, wherever they are."""

    size: int

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer from this offset on; return how many bytes there were."""


class FileBytes:
    """A file, or a member of a zip archive that is stored without compression."""

    def __init__(self, file: io.FileIO, start: int, size: int) -> None:
        self.file, self.start, self.size = file, start, size

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer from this offset on; return how many bytes there were."""
        self.file.seek(self.start + offset)
        done = 0
        while done < len(buffer) and (count := self.file.readinto(buffer[done:])):
            done += count
        return done


class CompressedBytes:
    """A compressed member of a zip archive, which can only be read from front to back."""

    def __init__(self, member: IO[bytes], size: int) -> None:
        self.member, self.size = member, size
        self.position = 0

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer from this offset on; return how many bytes there were."""
        if offset < self.position:
            raise CommandError(
                "compressed data cannot be read in this order: store it uncompressed "
                "(numpy.savez) or as .npy"
            )
        while self.position < offset and self._read(offset - self.position):
            pass
        done = 0
        while done < len(buffer) and (piece := self._read(len(buffer) - done)):
            buffer[done : done + len(piece)] = piece
            done += len(piece)
        return done

    def _read(self, limit: int) -> bytes:
        piece = self.member.read(min(PIECE_BYTES, limit))
        self.position += len(piece)
        return piece


class HeaderReader:
    """What numpy.lib.format reads a header from; it never reads more than a header can have."""

    def __init__(self, source: ByteSource) -> None:
        self.source = source
        self.position = 0

    def read(self, size: int = HEADER_BYTES, /) -> bytes:
        """Return at most this many bytes."""
        piece = bytearray(min(size, HEADER_BYTES - self.position))
        count = self.source.read_into(self.position, memoryview(piece))
        self.position += count
        return bytes(piece[:count])


class StoredArray:
    """An array of numbers in a file, of which only the header has been read.

    Parameters
    ----------
    name : str
        What error messages call it.
    source : ByteSource
        The bytes of an .npy file.
    dtype : str, optional
        What elements of dtype ``|V2`` are: "bfloat16".
    """

    def __init__(self, name: str, source: ByteSource, dtype: str | None = None) -> None:
        self.name, self.source = name, source
        reader = HeaderReader(source)
        try:
            self.shape, self.fortran_order, self.dtype = _read_header(reader)
        except BROKEN_ARCHIVE as error:
            raise CommandError(f"{name} is damaged: {summarize(error)}") from error
        except Exception as error:  # NumPy evaluates the header, which can fail in any way
            raise _header_error(name, error) from error
        self.start = reader.position
        if dtype and self.dtype == SAVED_BFLOAT16:
            self.dtype = find_dtype(dtype)
        self._check()

    def _check(self) -> None:
        """Refuse what is not numbers, and what is not all there."""
        if self.dtype.hasobject:
            raise CommandError(f"{self.name} holds pickled Python objects, which are never loaded")
        if self.dtype.kind not in "biuf" and self.dtype.name != "bfloat16":
            hint = " (with --dtype bfloat16, that is what these are)"
            hint = hint if self.dtype == SAVED_BFLOAT16 else ""
            found = summarize(self.dtype)
            raise CommandError(f"{self.name} has dtype {found}, expected numbers{hint}")
        if not all(0 <= length < 2**63 for length in self.shape):
            raise _header_error(self.name, f"shape {self.shape}")
        try:
            np.empty((0,) * len(self.shape))
        except ValueError as error:
            raise _header_error(self.name, error) from error
        expected = self.start + math.prod(self.shape) * self.dtype.itemsize
        if self.source.size < expected:
            raise CommandError(
                f"{self.name} is truncated: {self.source.size:,} of {expected:,} bytes are there"
            )

    def __str__(self) -> str:
        shape = " x ".join(f"{length:,}" for length in self.shape) or "a single value"
        return f"{self.name} ({self.dtype.name}, {shape})"

    def check_order(self, regions: Iterator[Region]) -> None:
        """Refuse compressed data that these regions, read one by one, would need to reread."""
        if not isinstance(self.source, CompressedBytes):
            return
        # Where the order is wrong, it is wrong from the second region on.
        first = list(islice(regions, 2))
        if not is_sequential(self.shape, first, fortran_order=self.fortran_order):
            raise CommandError(
                f"{self.name} is compressed, and its axes are in an order that cannot be "
                "streamed: store it uncompressed (numpy.savez) or as .npy"
            )

    def read(self, region: Region) -> npt.NDArray[Any]:
        """Read the values in a region."""
        order: Literal["F", "C"] = "F" if self.fortran_order else "C"
        values: npt.NDArray[Any] = np.empty(region_shape(region), self.dtype, order)
        buffer = values.ravel(order="K").view(np.uint8).data
        itemsize = self.dtype.itemsize
        done = 0
        for offset, count in find_runs(self.shape, region, fortran_order=self.fortran_order):
            piece = buffer[done : done + count * itemsize]
            try:
                found = self.source.read_into(self.start + offset * itemsize, piece)
            except BROKEN_ARCHIVE as error:
                raise CommandError(f"{self.name} is damaged: {summarize(error)}") from error
            if found < len(piece):
                raise CommandError(f"{self.name} is truncated")
            done += len(piece)
        return values


def _header_error(name: str, reason: object) -> CommandError:
    return CommandError(f"{name} has no valid .npy header: {summarize(reason)}")


def _read_header(reader: HeaderReader) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy_format.read_magic(reader)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about headers that Python 2 wrote, which are fine
        if version == (1, 0):
            return npy_format.read_array_header_1_0(reader)
        if version == (2, 0):
            return npy_format.read_array_header_2_0(reader)
        if version == (3, 0):
            return npy_format.read_array_header_2_0(_in_latin_1(reader))
    raise ValueError(f"format version {version} is not one of (1, 0), (2, 0) and (3, 0)")


def _in_latin_1(reader: HeaderReader) -> io.BytesIO:
    """Turn a header of version 3, which is in UTF-8, into one of version 2.

    Only names of fields are anything but ASCII, and escapes mean the same in them.
    """
    (length,) = struct.unpack("<I", reader.read(4))
    header = reader.read(length)
    encoded = header.decode("utf-8").encode("latin-1", "backslashreplace")
    # What is missing of the header is missing of the other one.
    length += len(encoded) - len(header)
    return io.BytesIO(struct.pack("<I", length) + encoded)


@contextmanager
def open_array(spec: str, dtype: str | None = None) -> Iterator[StoredArray]:
    """Open ``file.npy``, ``file.npz:key``, or a ``file.npz`` with a single array.

    Parameters
    ----------
    spec : str
        The file, and for .npz files the name of the array in it.
    dtype : str, optional
        What elements of dtype ``|V2`` are: "bfloat16".

    Yields
    ------
    StoredArray
        The array, readable as long as the context lasts.
    """
    path, key = split_spec(spec)
    if path.exists() and not path.is_file():
        raise CommandError(f"{path} is not a file")
    with io.FileIO(path) as file:
        with named_errors(path):
            is_archive = file.read(4) in {b"PK\x03\x04", b"PK\x05\x06"}
        if not is_archive:
            if key is not None:
                raise CommandError(f"{path} is not an .npz file")
            yield StoredArray(spec, FileBytes(file, 0, os.fstat(file.fileno()).st_size), dtype)
            return
        file.seek(0)
        try:
            archive = zipfile.ZipFile(file)
            source = _open_member(file, archive, _find_member(archive, path, key))
        except BROKEN_ARCHIVE as error:
            raise CommandError(f"{path} is damaged: {summarize(error)}") from error
        with archive:
            yield StoredArray(spec, source, dtype)


def split_spec(spec: str) -> tuple[Path, str | None]:
    """Split ``file.npz:key`` into the file and the key, which is None where there is none."""
    match = re.fullmatch(r"(.+\.npz):(.+)", spec, re.IGNORECASE | re.DOTALL)
    return (Path(match[1]), match[2]) if match else (Path(spec), None)


def _find_member(archive: zipfile.ZipFile, path: Path, key: str | None) -> zipfile.ZipInfo:
    members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
    listed = list_some(list(members)) or "nothing"
    if key is None:
        if len(members) != 1:
            raise CommandError(f"{path} holds {listed}: name one, as in {path}:KEY")
        key = next(iter(members))
    if key not in members:
        raise CommandError(f"{path} has no array {key!r}; it holds {listed}")
    if members[key].flag_bits & 1:
        raise CommandError(f"{path} is encrypted")
    return members[key]


def _open_member(file: io.FileIO, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> ByteSource:
    if member.compress_type != zipfile.ZIP_STORED:
        return CompressedBytes(archive.open(member), member.file_size)
    # Before the data comes a header of its own, of any length.
    file.seek(member.header_offset)
    name_length, extra_length = struct.unpack_from("<HH", file.read(30), 26)
    start = member.header_offset + 30 + name_length + extra_length
    return FileBytes(file, start, member.file_size)
