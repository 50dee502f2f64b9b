"""Stored arrays of any kind: one file, several as one, folders of dask, and zarr."""

import glob
import math
import pickle
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastxent.cli.arrays import StoredArray, open_array, split_spec
from fastxent.cli.dtypes import find_dtype
from fastxent.cli.errors import CommandError
from fastxent.cli.regions import Region, region_shape
from fastxent.cli.text import list_some, summarize

Array = npt.NDArray[Any]


class Piece(NamedTuple):
    """A region of one stored array, which another process can open and read."""

    spec: str
    dtype: str | None
    region: Region
    #: Where it is to be in what is read together.
    destination: Region


class Source(ABC):
    """An array of which only the description has been read."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool = False
    #: The lengths of the chunks in which it is stored, where it is.
    grid: tuple[int, ...] | None = None

    @property
    @abstractmethod
    def paths(self) -> list[Path]:
        """The files and folders that it is read from."""

    @abstractmethod
    def check_order(self, regions: Iterator[Region]) -> None:
        """Refuse regions that cannot be read one after the other."""

    @abstractmethod
    def read(self, region: Region) -> Array:
        """Read the values in a region."""

    @abstractmethod
    def pieces(self, region: Region) -> list[Piece]:
        """Return what another process has to read for a region."""


@contextmanager
def open_source(spec: str, dtype: str | None = None) -> Iterator[Source]:
    """Open an array by what the user calls it.

    Parameters
    ----------
    spec : str
        ``file.npy``, ``file.npz:key``, a pattern of such files, ``store.zarr:path``, or a folder of
        dask's ``to_npy_stack``.
    dtype : str, optional
        What elements of dtype ``|V2`` are: "bfloat16".

    Yields
    ------
    Source
        The array, readable as long as the context lasts.
    """
    path, key = split_spec(spec)
    if match := re.fullmatch(r"(.+\.zarr/?)(?::(.+))?", spec, re.IGNORECASE | re.DOTALL):
        yield ZarrArray(spec, Path(match[1]), match[2], dtype)
    elif path.is_dir() and (path / "info").is_file():
        axis, lengths = _read_stack_info(path)
        names = [str(path / f"{number}.npy") for number in range(len(lengths))]
        with ExitStack() as stack:
            yield JoinedArray(spec, names, axis, dtype, stack, lengths)
    elif path.is_dir() and any((path / n).is_file() for n in ("zarr.json", ".zarray", ".zgroup")):
        yield ZarrArray(spec, path, None, dtype)
    elif not path.exists() and {"*", "?"} & {*str(path)}:
        found = sorted(glob.glob(str(path)), key=natural_key)  # noqa: PTH207
        if not found:
            raise CommandError(f"no file matches {path}")
        with ExitStack() as stack:
            names = [name if key is None else f"{name}:{key}" for name in found]
            yield JoinedArray(spec, names, 0, dtype, stack)
    else:
        with open_array(spec, dtype) as array:
            yield FileArray(spec, array, dtype)


def natural_key(name: str) -> list[tuple[bool, int, str]]:
    """Return what sorts numbers in names by their value: part2 before part10."""
    parts = re.split(r"(\d+)", name)
    return [(False, int(p), p) if p.isdecimal() else (True, 0, p) for p in parts if p]


def read_pieces(pieces: Sequence[Piece]) -> Array:
    """Read a region, in a process that has none of its arrays open."""
    result: Array | None = None
    for piece in pieces:
        with open_source(piece.spec, piece.dtype) as source:
            if len(pieces) == 1:
                return source.read(piece.region)
            values = source.read(piece.region)
        if result is None:
            ends = [other.destination for other in pieces]
            shape = [max(end[i].stop for end in ends) for i in range(values.ndim)]
            result = np.empty(shape, values.dtype)
        result[piece.destination] = values
    if result is None:
        raise CommandError("there is nothing to read")
    return result


class FileArray(Source):
    """An array in one file, which stays open."""

    def __init__(self, spec: str, array: StoredArray, dtype: str | None) -> None:
        self.name, self.array, self.dtype_option = spec, array, dtype
        self.shape, self.dtype = array.shape, array.dtype
        self.fortran_order = array.fortran_order

    def __str__(self) -> str:
        return str(self.array)

    @property
    def paths(self) -> list[Path]:
        """The file."""
        return [split_spec(self.name)[0]]

    def check_order(self, regions: Iterator[Region]) -> None:
        """Refuse compressed data that these regions would need to reread."""
        self.array.check_order(regions)

    def read(self, region: Region) -> Array:
        """Read the values in a region."""
        return self.array.read(region)

    def pieces(self, region: Region) -> list[Piece]:
        """Return the region of this file."""
        return [Piece(_absolute(self.name), self.dtype_option, region, _from_zero(region))]


class JoinedArray(Source):
    """Arrays in several files, one after the other along an axis; one is open at a time."""

    def __init__(  # noqa: PLR0917
        self,
        name: str,
        specs: list[str],
        axis: int,
        dtype: str | None,
        stack: ExitStack,
        lengths: Sequence[int] | None = None,
    ) -> None:
        self.name, self.specs, self.axis, self.dtype_option = name, specs, axis, dtype
        self.stack = stack
        self.opened: tuple[int, StoredArray | None] = (-1, None)
        found = []
        for spec in specs:
            with open_array(spec, dtype) as array:
                found.append((str(array), array.shape, array.dtype))
        described, shape, self.dtype = found[0]
        if axis >= len(shape):
            raise CommandError(f"{described} has no axis {axis} along which to join it to others")
        for number, (other, of_other, its_dtype) in enumerate(found):
            rest = (_without(of_other, axis), its_dtype)
            if len(of_other) != len(shape) or rest != (_without(shape, axis), self.dtype):
                raise CommandError(f"{other} does not fit {described} along axis {axis}")
            if lengths is not None and of_other[axis] != lengths[number]:
                raise CommandError(f"{other} is not as long as info says: {lengths[number]:,}")
        self.starts = np.cumsum([0, *(of_one[axis] for _, of_one, _ in found)]).tolist()
        self.shape = (*shape[:axis], self.starts[-1], *shape[axis + 1 :])

    def __str__(self) -> str:
        shape = " x ".join(f"{length:,}" for length in self.shape)
        return f"{self.name} ({len(self.specs):,} files, {self.dtype.name}, {shape})"

    @property
    def paths(self) -> list[Path]:
        """All files."""
        return [split_spec(spec)[0] for spec in self.specs]

    def check_order(self, regions: Iterator[Region]) -> None:
        """Leave it to reading: compressed files in a wrong order are an error there."""

    def read(self, region: Region) -> Array:
        """Read the values in a region."""
        pieces = self._cut(region)
        if len(pieces) == 1:
            number, inside, _ = pieces[0]
            return self._open(number).read(inside)
        values: Array = np.empty(region_shape(region), self.dtype)
        for number, inside, destination in pieces:
            values[destination] = self._open(number).read(inside)
        return values

    def pieces(self, region: Region) -> list[Piece]:
        """Return the regions of the files that this one is made of."""
        return [
            Piece(_absolute(self.specs[number]), self.dtype_option, inside, destination)
            for number, inside, destination in self._cut(region)
        ]

    def _cut(self, region: Region) -> list[tuple[int, Region, Region]]:
        """Return the files of a region, and where it is in each and each in it."""
        part, axis = region[self.axis], self.axis
        first = int(np.searchsorted(self.starts, part.start, side="right")) - 1
        first = max(0, min(first, len(self.specs) - 1))
        pieces = []
        for number in range(first, len(self.specs)):
            begin, end = self.starts[number : number + 2]
            start, stop = max(part.start, begin), min(part.stop, end)
            if stop > start or (part.stop == part.start and number == first):
                inside = (*region[:axis], slice(start - begin, stop - begin), *region[axis + 1 :])
                whole = list(_from_zero(region))
                whole[axis] = slice(start - part.start, stop - part.start)
                pieces.append((number, inside, tuple(whole)))
            if end >= part.stop:
                break
        return pieces

    def _open(self, number: int) -> StoredArray:
        opened, array = self.opened
        if array is None or opened != number:
            self.stack.close()
            array = self.stack.enter_context(open_array(self.specs[number], self.dtype_option))
            self.opened = number, array
        return array


class ZarrArray(Source):
    """An array of zarr, in a folder of its own or a path of a group."""

    def __init__(self, spec: str, path: Path, key: str | None, dtype: str | None) -> None:
        self.name, self.path, self.dtype_option = spec, path, dtype
        if not path.is_dir():
            raise CommandError(f"{path}: there is no such folder")
        try:
            zarr = import_module("zarr")
        except ModuleNotFoundError:
            raise CommandError(f'{spec} needs zarr: pip install "fastxent[zarr]"') from None
        try:
            node = zarr.open(str(path), mode="r", path=key)
        except Exception as error:  # whatever zarr finds wrong
            raise CommandError(f"{spec} is no array of zarr: {summarize(error)}") from error
        if not hasattr(node, "shape"):
            held = list_some(sorted(name for name, _ in node.arrays())) or "nothing"
            raise CommandError(f"{path} holds {held}: name one, as in {path}:NAME")
        self.array = node
        self.shape, self.dtype = tuple(node.shape), np.dtype(node.dtype)
        self.grid = self.chunk_shape = tuple(node.chunks)
        if dtype and self.dtype == np.dtype("V2"):
            self.dtype = find_dtype(dtype)
        if self.dtype.kind not in "biuf" and self.dtype.name != "bfloat16":
            raise CommandError(f"{spec} has dtype {summarize(self.dtype)}, expected numbers")

    def __str__(self) -> str:
        shape = " x ".join(f"{length:,}" for length in self.shape) or "a single value"
        return f"{self.name} ({self.dtype.name}, {shape})"

    @property
    def paths(self) -> list[Path]:
        """The folder."""
        return [self.path]

    def check_order(self, regions: Iterator[Region]) -> None:
        """Chunks can be read in any order."""

    def read(self, region: Region) -> Array:
        """Read the values in a region; an error names the chunk."""
        try:
            return self._read(region)
        except Exception as error:
            for chunk in self._chunks(region):
                try:
                    self._read(tuple(map(_slice, chunk, self.chunk_shape, self.shape)))
                except Exception as cause:
                    message = f"{self.name} is damaged in chunk {list(chunk)}: {summarize(cause)}"
                    raise CommandError(message) from cause
            raise CommandError(f"{self.name} cannot be read: {summarize(error)}") from error

    def _read(self, region: Region) -> Array:
        values = np.asarray(self.array[region])
        return values if values.dtype == self.dtype else values.view(self.dtype)

    def _chunks(self, region: Region) -> Iterator[tuple[int, ...]]:
        """Yield the numbers of the chunks that a region has a part of."""
        of = self.chunk_shape
        firsts = [part.start // length for part, length in zip(region, of, strict=True)]
        counts = [-(-p.stop // n) - f for p, n, f in zip(region, of, firsts, strict=True)]
        for index in np.ndindex(*counts):
            yield tuple(map(sum, zip(firsts, index, strict=True)))

    def pieces(self, region: Region) -> list[Piece]:
        """Return the region of this store."""
        return [Piece(_absolute(self.name), self.dtype_option, region, _from_zero(region))]


def _slice(number: int, length: int, whole: int) -> slice:
    return slice(number * length, min((number + 1) * length, whole))


def _absolute(spec: str) -> str:
    return str(Path.cwd() / spec)


def _from_zero(region: Region) -> Region:
    return tuple(slice(0, length) for length in region_shape(region))


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]


# --- folders of dask -----------------------------------------------------------------------------


class _InfoReader(pickle.Unpickler):
    """Reads a dict of tuples, integers and a dtype, and runs nothing else."""

    def find_class(self, module_name: str, global_name: str) -> Any:  # noqa: ANN401
        if (module_name, global_name) == ("numpy", "dtype"):
            return np.dtype
        raise pickle.UnpicklingError(f"it names {module_name}.{global_name}")


def _read_stack_info(folder: Path) -> tuple[int, tuple[int, ...]]:
    """Return the axis along which a folder's files follow each other, and their lengths."""
    try:
        with (folder / "info").open("rb") as file:
            info = _InfoReader(file).load()
        axis, lengths = int(info["axis"]), tuple(map(int, info["chunks"][info["axis"]]))
    except Exception as error:  # a pickle of anything
        raise CommandError(f"{folder}/info is not what to_npy_stack writes: {error}") from error
    if not lengths or math.prod(map(len, info["chunks"])) != len(lengths):
        raise CommandError(f"{folder}/info has chunks along several axes")
    return axis, lengths
