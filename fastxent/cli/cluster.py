"""Workers of dask.distributed, on this machine or elsewhere; it needs the extra "distributed"."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from itertools import islice
from typing import Any

from fastxent.cli.errors import CommandError
from fastxent.cli.text import summarize

#: Parts that a thread of a worker has before it, so that it never waits for the next.
AHEAD = 2
#: How long to wait for a scheduler, and for its workers, in seconds.
PATIENCE = 15.0

Task = tuple[int, Any]
Result = tuple[int, dict[str, Any]]


class ClusterWorkers:
    """The workers that a client of distributed has.

    Parameters
    ----------
    client : distributed.Client
        A client that is connected.
    address : str
        What messages call the scheduler.
    """

    def __init__(self, client: Any, address: str) -> None:  # noqa: ANN401
        self.client, self.address = client, address

    def run(
        self, function: Callable[[Any], dict[str, Any]], tasks: Iterable[Task]
    ) -> Iterator[Result]:
        """Yield the numbers and results of tasks as they are finished.

        Not all are submitted at once: a scheduler that has a million of them is slow.
        """
        distributed = import_module("distributed")
        tasks = iter(tasks)
        numbers: dict[Any, int] = {}
        try:
            running = distributed.as_completed(with_results=False)
            for task in islice(tasks, AHEAD * self._threads()):
                self._submit(running, numbers, function, task)
            for future in running:
                number = numbers.pop(future.key)
                result = self._result(future)
                future.release()
                for task in islice(tasks, 1):
                    self._submit(running, numbers, function, task)
                yield number, result
        except OSError as error:  # a time-out, too
            if error.filename is not None:
                raise  # of a worker, about a file
            raise self._gone() from error

    def _submit(
        self,
        running: Any,  # noqa: ANN401
        numbers: dict[Any, int],
        function: Callable[[Any], dict[str, Any]],
        task: Task,
    ) -> None:
        if self.client.status != "running":
            raise self._gone()
        number, argument = task
        future = self.client.submit(function, argument, pure=False)
        numbers[future.key] = number
        running.add(future)

    def _result(self, future: Any) -> dict[str, Any]:  # noqa: ANN401
        """Return the result of a task, or raise what ended it."""
        cancelled = import_module("distributed").CancelledError
        killed = import_module("distributed.scheduler").KilledWorker
        try:
            result: dict[str, Any] = future.result(timeout=PATIENCE)
        except cancelled as error:
            raise self._gone() from error
        except killed as error:
            raise CommandError(
                "a chunk was given up after all workers that tried it had ended: perhaps "
                "they have too little memory"
            ) from error
        return result

    def _threads(self) -> int:
        """Wait for a worker, and return how many threads there are."""
        end = time.monotonic() + PATIENCE
        while True:
            threads: int = sum(self.client.nthreads().values())
            if threads:
                return threads
            if time.monotonic() > end:
                raise CommandError(f"the scheduler at {self.address} has no workers")
            time.sleep(0.1)

    def _gone(self) -> CommandError:
        return CommandError(f"the scheduler at {self.address} has gone away")


@contextmanager
def open_workers(scheduler: str | None, count: int | None) -> Iterator[ClusterWorkers | None]:
    """Connect to a scheduler, or start workers on this machine.

    Parameters
    ----------
    scheduler : str or None
        Its address.
    count : int or None
        How many workers to start, each with one thread.

    Yields
    ------
    ClusterWorkers or None
        None: neither is wanted.
    """
    if scheduler is None and count is None:
        yield None
        return
    if scheduler is not None and count is not None:
        raise CommandError("--scheduler and --workers exclude each other")
    option = "--workers" if scheduler is None else "--scheduler"
    try:
        distributed = import_module("distributed")
    except ModuleNotFoundError:
        raise CommandError(
            f'{option} needs distributed: pip install "fastxent[distributed]"'
        ) from None
    # What it logs would be lines between those of the command.
    for name in ("distributed", "asyncio", "tornado"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        if count is not None:
            stack.enter_context(_main_hidden())
            cluster = distributed.LocalCluster(
                n_workers=count, threads_per_worker=1, dashboard_address=":0", silence_logs=50
            )
            stack.callback(_closed, cluster)
            address = cluster.scheduler_address
        else:
            address = str(scheduler)
        try:
            client = distributed.Client(address, timeout=PATIENCE)
        except (OSError, ValueError, TypeError) as error:
            raise CommandError(
                f"--scheduler {scheduler} cannot be reached: {summarize(error)}"
            ) from error
        stack.callback(_closed, client)
        yield ClusterWorkers(client, address)


@contextmanager
def _main_hidden() -> Iterator[None]:
    """Keep new processes from running the script of the command again, as a module.

    They have no use for it, and not every script is guarded.
    """
    main = sys.modules["__main__"]
    spec, file = main.__spec__, getattr(main, "__file__", None)
    main.__spec__ = main.__file__ = None
    try:
        yield
    finally:
        main.__spec__, main.__file__ = spec, file


def _closed(what: Any) -> None:  # noqa: ANN401 - a client or a cluster
    """Close what may be closed already, with its other end gone."""
    with suppress(Exception):
        what.close(timeout=5)
