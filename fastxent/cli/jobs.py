"""How the parts of a job are run: one after the other here, or by the workers of a cluster.

Of a job that can be resumed, the results of finished parts are kept in a folder next to the result
file, one ``.npz`` for each, and put together at the end.
"""

import hashlib
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

import fastxent
from fastxent.cli.errors import CommandError, named_errors
from fastxent.cli.output import Destination, cleanup_on_signals
from fastxent.cli.regions import Region

Array = npt.NDArray[Any]
Arrays = dict[str, Array]

#: Logits in a part of a job that workers run, or that can be resumed: large enough that what the
#: scheduler does for each of them does not count.
CHUNK_BYTES = 64 * 2**20

#: What a file in the folder is called until it is whole.
_UNFINISHED = ".unfinished"


class Chunks(NamedTuple):
    """The parts of a job, in the order of its results."""

    #: Where each lies, as an iterator from the first.
    regions: Callable[[], Iterator[Region]]
    #: Compute one in this process, which has all files open.
    run_here: Callable[[Region], Arrays]
    #: Return what another process needs to know, and what it is to call with that.
    task: Callable[[Region], Any]
    run_there: Callable[[Any], Arrays]
    #: How far the progress bar goes for it.
    size: Callable[[Region], int]


class Workers(Protocol):
    """The workers of a cluster."""

    def run(
        self, function: Callable[[Any], Arrays], tasks: Iterable[tuple[int, Any]]
    ) -> Iterator[tuple[int, Arrays]]:
        """Yield the numbers and results of tasks as they are finished."""


class Job:
    """What runs the parts of a job, and where their results are kept.

    Parameters
    ----------
    workers : Workers or None
        None: the parts are computed here.
    store : Store or None
        Where the results of finished parts are kept; None: nowhere.
    """

    def __init__(self, workers: Workers | None = None, store: "Store | None" = None) -> None:
        self.workers, self.store = workers, store

    @property
    def chunk_bytes(self) -> int:
        """The size of a part; 0: as is best for one process."""
        return CHUNK_BYTES if self.workers or self.store else 0

    def results(
        self, chunks: Chunks, progress: Callable[[int], object]
    ) -> Iterator[tuple[Region, Arrays]]:
        """Yield where each part lies, and its result, in their order."""
        if self.store is None:
            yield from self._in_order(chunks, progress)
            return
        regions = list(chunks.regions())
        finished = self.store.finished()
        for number in finished:
            progress(chunks.size(regions[number]))
        missing = [(i, region) for i, region in enumerate(regions) if i not in finished]
        for number, arrays in self._run(chunks, missing):
            self.store.save(number, arrays)
            progress(chunks.size(regions[number]))
        for number, region in enumerate(regions):
            yield region, self.store.load(number)

    def _run(
        self, chunks: Chunks, regions: Iterable[tuple[int, Region]]
    ) -> Iterator[tuple[int, Arrays]]:
        if self.workers is None:
            return ((number, chunks.run_here(region)) for number, region in regions)
        tasks = ((number, chunks.task(region)) for number, region in regions)
        return self.workers.run(chunks.run_there, tasks)

    def _in_order(
        self, chunks: Chunks, progress: Callable[[int], object]
    ) -> Iterator[tuple[Region, Arrays]]:
        early: dict[int, Arrays] = {}
        following, regions = 0, chunks.regions()
        for number, arrays in self._run(chunks, enumerate(chunks.regions())):
            early[number] = arrays
            while following in early:
                region = next(regions)
                progress(chunks.size(region))
                yield region, early.pop(following)
                following += 1


# --- results of finished parts -------------------------------------------------------------------


class Store:
    """The results of the finished parts of a job, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def finished(self) -> set[int]:
        """Return the numbers of the finished parts."""
        return {int(path.stem) for path in self.folder.glob("*.npz") if path.stem.isdecimal()}

    def save(self, number: int, arrays: Arrays) -> None:
        """Keep the result of a part."""
        path = self.folder / f"{number:08}.npz"
        unfinished = path.with_suffix(_UNFINISHED)
        with named_errors(path, unfinished), unfinished.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)

    def load(self, number: int) -> Arrays:
        """Return the result of a part."""
        path = self.folder / f"{number:08}.npz"
        try:
            with path.open("rb") as file, np.load(file) as found:
                return dict(found)
        except (zipfile.BadZipFile, ValueError, EOFError) as error:
            raise CommandError(f"{path} is damaged: remove it, and resume again") from error

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder)


@contextmanager
def open_store(
    out: Destination | None, description: dict[str, Any], *, resume: bool, keep: bool
) -> Iterator[Store | None]:
    """Open the folder of a job that can be resumed; it is removed when the job is done.

    Parameters
    ----------
    out : Destination or None
        The result file.
    description : dict
        Whatever the results depend on: another one is another job.
    resume : bool
        Whether what is there is to be gone on with.
    keep : bool
        Whether finished parts are to be kept, if the job is a new one.

    Yields
    ------
    Store or None
        Where to keep them; None: nowhere.
    """
    if out is None or out.special or not (resume or keep):
        if resume:
            raise CommandError("--resume needs --out: finished chunks are kept next to that file")
        yield None
        return
    folder = out.target.with_name(f"{out.target.name}.parts")
    text = json.dumps(description, indent=1, sort_keys=True)
    with named_errors(folder):
        _prepare(folder, text, resume=resume)
    store = Store(folder)
    with cleanup_on_signals():
        try:
            yield store
        except BaseException:
            if kept := len(store.finished()):
                print(
                    f"fastxent: {kept:,} finished chunks are kept in {folder}: "
                    "--resume goes on with them",
                    file=sys.stderr,
                )
            else:
                store.remove()
            raise
    store.remove()


def _prepare(folder: Path, text: str, *, resume: bool) -> None:
    """Make the folder of a job, or find that of the same one."""
    file = folder / "job.json"
    if folder.exists() and not file.is_file():
        raise CommandError(f"{folder} is there, and not of a stopped job: remove it")
    if folder.exists() and resume:
        before, now = json.loads(file.read_text("utf-8")), json.loads(text)
        changed = [name for name in {*before, *now} if before.get(name) != now.get(name)]
        if changed:
            raise CommandError(
                f"{folder} is of another job, with other {' and '.join(sorted(changed))}: "
                "remove it, or start anew without --resume"
            )
        return
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    file.write_text(text, "utf-8")


def describe(inputs: Mapping[str, Sequence[Path]], options: dict[str, Any]) -> dict[str, Any]:
    """Return what the results of a job depend on: its options, and the state of its files."""
    files = {name: _state(paths) for name, paths in inputs.items() if paths}
    return {**files, "options": repr(sorted(options.items())), "version": fastxent.__version__}


def _state(paths: Sequence[Path]) -> str:
    """Return a digest of names, sizes and times of files, and of all files in folders."""
    digest = hashlib.sha256()
    for path in paths:
        found = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in found:
            status = file.stat()
            line = f"{file.resolve()} {status.st_size} {status.st_mtime_ns}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
