"""The work of ``fastxent select``: candidates of stored logits, some images at a time."""

import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

import fastxent
from fastxent._arguments import ElementError
from fastxent._call.selection import selection_request
from fastxent.cli.errors import CommandError
from fastxent.cli.jobs import Chunks, Job
from fastxent.cli.output import Destination, whole_file
from fastxent.cli.regions import BLOCK_BYTES, Region, region_shape
from fastxent.cli.sources import Piece, Source, read_pieces

#: What a result file can be, by the end of its name.
SUFFIXES = (".csv", ".json", ".npz")
#: What is said of each candidate: arrays of an .npz file, columns of a CSV, names in JSON.
FIELDS = ("image", "anchor", "level", "index", "label", "score")

Writer = Callable[[fastxent.Candidates], object]


@dataclass
class Counts:
    """What was counted per image, and how many candidates were returned of it."""

    found: list[int]
    nan: list[int]
    returned: list[int]

    def as_json(self) -> dict[str, Any]:
        """Return what the --json file holds."""
        rows = zip(self.found, self.nan, self.returned, strict=True)
        images = [{"found": f, "nan": n, "returned": r} for f, n, r in rows]
        return {
            "fastxent": fastxent.__version__,
            "candidates": sum(self.returned),
            "found": sum(self.found),
            "nan": sum(self.nan),
            "images": images,
        }


class SelectTask(NamedTuple):
    """Some images, for a process that has no file open."""

    levels: list[list[Piece]]
    objectness: list[list[Piece]]
    options: dict[str, Any]
    #: Where they begin in the batch.
    start: tuple[int, ...]


class Selector:
    """Stored logits, checked as far as possible without reading them.

    Parameters
    ----------
    logits, objectness : sequence of Source
        One per level; `objectness` may be empty.
    options : dict
        The other arguments of ``select_candidates``.
    """

    def __init__(
        self,
        logits: Sequence[Source],
        objectness: Sequence[Source],
        options: dict[str, Any],
    ) -> None:
        self.logits, self.objectness, self.options = logits, objectness, options
        self.batch_shape = self._try_arguments()

    @property
    def images(self) -> int:
        """How many there are."""
        return math.prod(self.batch_shape)

    def run(
        self, out: Destination | None, suffix: str, progress: Callable[[int], object], job: Job
    ) -> Counts:
        """Select the candidates of every image.

        Parameters
        ----------
        out : Destination or None
            The file to write; None: standard output.
        suffix : str
            What kind of file it is, one of `SUFFIXES`.
        progress : callable
            Called with the number of images that are done.
        job : Job
            What selects the candidates of some images, and what it keeps of them.

        Returns
        -------
        Counts
            Numbers per image.
        """
        counts = Counts([], [], [])
        chunks = Chunks(
            lambda: self._batches(job.chunk_bytes),
            self._select_here,
            self._task,
            run_selection,
            lambda batch: math.prod(region_shape(batch)),
        )
        with open_writer(out, suffix) as write:
            for _, arrays in job.results(chunks, progress):
                sizes = tuple(arrays.pop("level_sizes").tolist())
                found = fastxent.Candidates(level_sizes=sizes, **arrays)
                write(replace(found, image=found.image + len(counts.found)))
                counts.found += found.found.tolist()
                counts.nan += found.nan.tolist()
                counts.returned += found.counts.tolist()
        return counts

    def _try_arguments(self) -> tuple[int, ...]:
        """Let the package check everything but the values; return the shape of the batch."""
        request = _call(
            selection_request,
            _as_given([_without_values(level) for level in self.logits]),
            objectness=_as_given([_without_values(level) for level in self.objectness]),
            **self.options,
        )
        return tuple(request.levels[0].shape[: request.batch_ndim])

    def _batches(self, most_bytes: int) -> Iterator[Region]:
        """Cut the batch into images that are read together: one, or several small ones.

        Those of a file in Fortran order lie scattered among each other, and are read all at once.
        """
        shape = self.batch_shape
        files = *self.logits, *self.objectness
        if not shape or 0 in shape or any(array.fortran_order for array in files):
            return iter([tuple(slice(0, length) for length in shape)])
        image_bytes = sum(
            array.dtype.itemsize * math.prod(array.shape[len(shape) :]) for array in files
        )
        step = max(1, (most_bytes or BLOCK_BYTES) // max(1, image_bytes))
        steps = [1] * (len(shape) - 1) + [step]
        starts = product(*(range(0, n, s) for n, s in zip(shape, steps, strict=True)))
        return (
            tuple(slice(i, min(i + s, n)) for i, s, n in zip(start, steps, shape, strict=True))
            for start in starts
        )

    def _select_here(self, batch: Region) -> dict[str, npt.NDArray[Any]]:
        levels, objects = (
            [source.read(_region_of(source, batch)) for source in sources]
            for sources in (self.logits, self.objectness)
        )
        return _select(levels, objects, self.options, tuple(part.start for part in batch))

    def _task(self, batch: Region) -> SelectTask:
        """Return some images for a process that has no file open."""
        levels, objects = (
            [source.pieces(_region_of(source, batch)) for source in sources]
            for sources in (self.logits, self.objectness)
        )
        return SelectTask(levels, objects, self.options, tuple(part.start for part in batch))


def run_selection(task: SelectTask) -> dict[str, npt.NDArray[Any]]:
    """Read some images, and select their candidates."""
    levels, objects = (
        [read_pieces(pieces) for pieces in of_levels]
        for of_levels in (task.levels, task.objectness)
    )
    return _select(levels, objects, task.options, task.start)


def _select(
    levels: list[npt.NDArray[Any]],
    objectness: list[npt.NDArray[Any]],
    options: dict[str, Any],
    start: tuple[int, ...],
) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of the candidates of images that begin at `start` in the batch."""
    found: fastxent.Candidates = _call(
        fastxent.select_candidates,
        _as_given(levels),
        start,
        objectness=_as_given(objectness),
        **options,
    )
    names = "image", "anchor", "label", "score", "offsets", "found", "nan"
    sizes = np.array(found.level_sizes, np.intp)
    return {"level_sizes": sizes, **{name: getattr(found, name) for name in names}}


def _region_of(source: Source, batch: Region) -> Region:
    return (*batch, *(slice(0, length) for length in source.shape[len(batch) :]))


def _as_given(levels: list[npt.NDArray[Any]]) -> Any:  # noqa: ANN401 - what the package takes
    """Return one array as it is, several as a list, and None for none."""
    return levels if len(levels) > 1 else levels[0] if levels else None


def _without_values(stored: Source) -> npt.NDArray[Any]:
    """Return an array of the same shape and dtype that takes no memory."""
    return np.broadcast_to(np.zeros((), stored.dtype.newbyteorder("=")), stored.shape)


def _call(
    function: Callable[..., Any],
    logits: Any,  # noqa: ANN401
    start: tuple[int, ...] = (),
    **options: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """Call a function of the package on images that begin at `start` in the files."""
    try:
        return function(logits, **options)
    except ElementError as error:
        inside = (0,) * (len(error.position) - len(start))
        raise CommandError(str(error.shifted((*start, *inside)))) from error
    except (TypeError, ValueError) as error:
        raise CommandError(str(error)) from error


# --- result files --------------------------------------------------------------------------------


@contextmanager
def open_writer(out: Destination | None, suffix: str) -> Iterator[Writer]:
    """Open a result file, or standard output; yield what takes the candidates of some images."""
    if out is None:
        with WRITERS[suffix](sys.stdout.write) as writer:
            yield writer
        return
    with whole_file(out) as file:
        if suffix == ".npz":
            opened = write_npz(file)
        else:
            opened = WRITERS[suffix](lambda text: file.write(text.encode("ascii")))
        with opened as writer:
            yield writer


@contextmanager
def write_csv(write: Callable[[str], object]) -> Iterator[Writer]:
    """Write a line for each candidate; counts have no place in it."""
    write(",".join(FIELDS) + "\n")
    yield lambda found: write("".join(f"{','.join(map(str, row))}\n" for row in _rows(found)))


@contextmanager
def write_json(write: Callable[[str], object]) -> Iterator[Writer]:
    """Write an object for each image, with its counts and a list of its candidates."""
    images = 0

    def write_images(found: fastxent.Candidates) -> None:
        nonlocal images
        rows = list(_rows(found))
        for number, (start, stop) in enumerate(pairwise(found.offsets.tolist())):
            candidates = [dict(zip(FIELDS[1:], row[1:], strict=True)) for row in rows[start:stop]]
            counts = {"found": int(found.found[number]), "nan": int(found.nan[number])}
            image = {"image": images, **counts, "candidates": candidates}
            write(("," if images else "") + "\n" + json.dumps(image, allow_nan=False))
            images += 1

    write('{"images": [')
    yield write_images
    write("\n]}\n")


@contextmanager
def write_npz(file: IO[bytes]) -> Iterator[Writer]:
    """Write the arrays of the result as `Candidates` has them; they are held until the end."""
    parts: list[dict[str, npt.NDArray[Any]]] = []
    names = (*FIELDS, "counts", "found", "nan")
    yield lambda found: parts.append({name: getattr(found, name) for name in names})
    arrays: dict[str, Any] = {n: np.concatenate([part[n] for part in parts]) for n in names}
    counts = arrays.pop("counts")
    np.savez(file, **arrays, offsets=np.cumsum((0, *counts), dtype=np.intp))


WRITERS = {".csv": write_csv, ".json": write_json}


def _rows(found: fastxent.Candidates) -> Iterator[tuple[Any, ...]]:
    """Yield the fields of each candidate; a score has the digits that its dtype needs."""
    columns = [getattr(found, name).tolist() for name in FIELDS[:-1]]
    return zip(*columns, (float(str(score)) for score in found.score), strict=True)


# --- options -------------------------------------------------------------------------------------


def parse_integer(text: str, option: str) -> int | None:
    """Turn an integer, or "none", into what the package takes."""
    if text.lower() == "none":
        return None
    try:
        return int(text)
    except ValueError:
        raise CommandError(f'{option} {text} is neither an integer nor "none"') from None


def parse_numbers(text: str, option: str) -> float | list[float] | None:
    """Turn a number, several separated by commas, or "none", into what the package takes."""
    if text.lower() == "none":
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        raise CommandError(
            f'{option} {text}: expected a number, one for each class, or "none"'
        ) from None
    return numbers if "," in text else numbers[0]


def parse_classes(texts: Sequence[str]) -> list[int] | None:
    """Turn integers, separated by commas or given one by one, into what the package takes."""
    try:
        return [int(part) for text in texts for part in text.split(",")] or None
    except ValueError:
        raise CommandError(f"--classes {' '.join(texts)}: expected integers") from None
