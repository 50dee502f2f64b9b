"""Threads, backend, instruction set, kept memory: the one place that decides them.

A call takes the first of these that says something: its own argument; the innermost ``with
threads(...)`` or ``with backend(...)`` of the running thread or asyncio task; ``set_num_threads``
or ``set_backend``; the environment variable, read once at import; the automatic choice.
"""

import functools
import importlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import SupportsIndex, cast

import numpy as np

from fastxent import _cpus, _results, native
from fastxent._arguments import as_integer, listed, shown
from fastxent._contract import Backend, BackendName
from fastxent._version import __version__

MAX_THREADS = 1024

#: The process that imported the package: its forked children have other numbers.
HOME_PROCESS = os.getpid()

#: Every backend, and the module that computes. It is imported at the first use.
BACKENDS = {
    "native": "fastxent.native",
    "numba": "fastxent.numba",
    "numpy": "fastxent.reference",
}


@dataclass(slots=True)
class _Settings:
    """One level of settings; None: nothing said."""

    threads: int | None = None
    backend: BackendName | None = None


def check_threads(value: SupportsIndex, name: str) -> int:
    """Return a number of threads as an int, or raise an error that calls it `name`."""
    number = as_integer(value, name)
    if not 1 <= number <= MAX_THREADS:
        raise ValueError(f"{name} = {number} is not in 1..{MAX_THREADS}")
    return number


def check_backend(value: str, name: str) -> BackendName:
    """Return the name of a backend, or raise an error that calls it `name`."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, not {shown(value)}")
    if value not in BACKENDS:
        raise ValueError(f"{name} = {shown(value)} is not one of {listed(BACKENDS)}")
    return cast("BackendName", value)


# --- where the settings come from ----------------------------------------------------------------


def _apply_environment(environ: Mapping[str, str]) -> _Settings:
    """Read the environment variables and force the ISA; an empty variable says nothing."""
    settings = _Settings()
    if threads := environ.get("FASTXENT_NUM_THREADS"):
        if not threads.strip().isdecimal():
            raise ValueError(
                f"FASTXENT_NUM_THREADS = {threads!r} is not an integer in 1..{MAX_THREADS}"
            )
        settings.threads = check_threads(int(threads), "FASTXENT_NUM_THREADS")
    if backend_name := environ.get("FASTXENT_BACKEND"):
        settings.backend = check_backend(backend_name, "FASTXENT_BACKEND")
    if isa := environ.get("FASTXENT_ISA"):
        if isa not in native.available_isas():
            raise ValueError(
                f"FASTXENT_ISA = {isa!r} is not one of {listed(native.available_isas())}, "
                "which this build has and this CPU runs"
            )
        native.set_isa(isa)
    if size := environ.get("FASTXENT_RESULT_CACHE"):
        _set_result_cache(_parse_size(size), f"FASTXENT_RESULT_CACHE = {size!r}")
    return settings


def _parse_size(text: str) -> int:
    """Return the number of bytes that an environment variable names: "256M", "1G", "0"."""
    match = re.fullmatch(r"([0-9]+)\s*([KMG]?)", text.strip().upper())
    if match is None:
        raise ValueError(
            f"FASTXENT_RESULT_CACHE = {text!r} is not a number of bytes, like 256M, 1G or 0"
        )
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2]]


def _set_result_cache(limit: int, what: str) -> None:
    """Keep results up to a limit, or raise an error that begins with what was said."""
    if not 0 <= limit <= sys.maxsize:
        raise ValueError(f"{what} is not in 0..{sys.maxsize}")
    if not _results.set_limit(limit):
        raise NotImplementedError(f"{what}: there is no cache of results on this platform")


_environment = _apply_environment(os.environ)
_process = _Settings()
_context_threads: ContextVar[int | None] = ContextVar("fastxent_threads", default=None)
_context_backend: ContextVar[BackendName | None] = ContextVar("fastxent_backend", default=None)


# --- what a call asks ----------------------------------------------------------------------------


def thread_count(num_threads: SupportsIndex | None = None) -> int:
    """Return the number of threads for a call with this argument; 0: `automatic_threads`.

    A backend makes that choice where a call is long enough for several threads.
    """
    if type(num_threads) is int and 0 < num_threads <= MAX_THREADS:  # the shortest way
        return num_threads
    if num_threads is not None:
        return check_threads(num_threads, "num_threads")
    return _context_threads.get() or _process.threads or _environment.threads or 0


def automatic_threads() -> int:
    """Return the number of threads where none has been set: the smallest of all limits.

    They are asked every time, so that OMP_NUM_THREADS and threadpoolctl work, and changes of the
    CPU affinity. A forked child, which may not use the threads of its parent, is told 1 by OpenMP.
    """
    # In this order: LLVM's OpenMP gives a thread that it has not seen before all CPUs.
    cpus, maximum = min(MAX_THREADS, _cpus.count_cpus()), native.openmp_max_threads()
    if maximum >= cpus or _is_openmps_own(maximum):
        return cpus
    return max(1, maximum)  # LLVM's has none where OMP_NUM_THREADS is no number


def _is_openmps_own(maximum: int) -> bool:
    """Return whether OpenMP's maximum is but the number of CPUs that there were at the start."""
    return maximum == _initial_cpus and os.getpid() == HOME_PROCESS


def _count_initial_cpus() -> int:
    """Return what OpenMP made its maximum of the CPUs; 0 where it has been set."""
    maximum = native.openmp_max_threads()
    counted = not os.environ.get("OMP_NUM_THREADS") and maximum == native.openmp_processors()
    return maximum if counted else 0


_initial_cpus = _count_initial_cpus()
native.set_automatic_choice(automatic_threads)


def backend_name() -> BackendName:
    """Return what computes a call that does not say it."""
    return _context_backend.get() or _process.backend or _environment.backend or "native"


@functools.cache
def _import_backend(name: BackendName) -> Backend:
    return cast("Backend", importlib.import_module(BACKENDS[name]))


def backend_module(name: BackendName | None = None) -> Backend:
    """Return the module that computes a call with this argument."""
    return _import_backend(backend_name() if name is None else check_backend(name, "backend"))


# --- public functions ----------------------------------------------------------------------------


def set_num_threads(n: SupportsIndex | None) -> None:
    """Set how many threads a call uses, for the whole process.

    Parameters
    ----------
    n : int or None
        From 1 to 1024. None takes back what was set: FASTXENT_NUM_THREADS decides again or, where
        that is not set, the smallest of OpenMP's maximum, the CPU affinity and the cgroup quota.

    See Also
    --------
    threads : The same for a block of code.

    Examples
    --------
    >>> import fastxent as fx
    >>> fx.set_num_threads(1)
    >>> fx.get_num_threads()
    1
    >>> fx.set_num_threads(None)
    """
    _process.threads = None if n is None else check_threads(n, "n")


def get_num_threads() -> int:
    """Return how many threads a call uses here, unless its ``num_threads`` says otherwise.

    Returns
    -------
    int
        The number set by :func:`threads`, :func:`set_num_threads` or FASTXENT_NUM_THREADS, in this
        order, or else the automatic choice. Short calls use fewer.
    """
    return thread_count() or automatic_threads()


@contextmanager
def threads(n: SupportsIndex) -> Iterator[None]:
    """Set how many threads calls use in a block of code.

    Other threads and asyncio tasks are not concerned.

    Parameters
    ----------
    n : int
        From 1 to 1024.

    Yields
    ------
    None
        There is nothing to bind.

    Examples
    --------
    >>> import fastxent as fx
    >>> with fx.threads(1):
    ...     fx.get_num_threads()
    1
    """
    token = _context_threads.set(check_threads(n, "n"))
    try:
        yield
    finally:
        _context_threads.reset(token)


def set_backend(name: BackendName | None) -> None:
    """Set which backend computes, for the whole process.

    Parameters
    ----------
    name : {"native", "numba", "numpy"} or None
        None takes back what was set: FASTXENT_BACKEND decides again or, where that is not set,
        "native" it is.

    See Also
    --------
    backend : The same for a block of code.
    """
    if name is not None:
        _import_backend(check_backend(name, "name"))
    _process.backend = name


@contextmanager
def backend(name: BackendName) -> Iterator[None]:
    """Set which backend computes in a block of code.

    Other threads and asyncio tasks are not concerned.

    Parameters
    ----------
    name : {"native", "numba", "numpy"}
        "numba" compiles the same kernels at their first use, and needs ``fastxent[numba]``;
        "numpy" is the float64 reference: slow, and right.

    Yields
    ------
    None
        There is nothing to bind.

    Examples
    --------
    >>> import fastxent as fx
    >>> with fx.backend("numpy"):
    ...     print(fx.softplus(0.0))
    0.6931471805599453
    """
    _import_backend(check_backend(name, "name"))
    token = _context_backend.set(name)
    try:
        yield
    finally:
        _context_backend.reset(token)


def set_result_cache(limit: SupportsIndex) -> None:
    """Set how many bytes of unused results are kept for later results, for the whole process.

    The operating system clears memory before a process gets it, which takes as long as many a
    kernel: a call whose result has 32 MiB or more takes 1.2 to 2 times as long as with ``out=``.
    With a limit, the memory of such a result is kept when nothing refers to it any more, and the
    next one that it fits is put there. Passing ``out=`` does the same for one array, without this.

    Parameters
    ----------
    limit : int
        In bytes; 0, as at the start, keeps nothing, and gives back what is kept. Results larger
        than the limit are not kept.

    Raises
    ------
    NotImplementedError
        On Windows, for a limit other than 0.

    See Also
    --------
    clear_result_cache : Give back what is kept.

    Notes
    -----
    At most four blocks are kept; one that has not been used for ten seconds is given back by the
    next call that needs or frees one. All are given back before a fork. The system may take their
    pages while they are kept (MADV_FREE), although it goes on counting them as the process's until
    it does. Arrays in such memory have ``flags.owndata`` False; a view of one keeps all of it, as
    views do. FASTXENT_RESULT_CACHE sets the limit at the start: 256M, 1G.

    Without any of this, glibc recycles memory of any size if the environment has
    ``MALLOC_MMAP_THRESHOLD_`` and ``MALLOC_TRIM_THRESHOLD_`` of 2147483648, in the whole process.

    Examples
    --------
    >>> import fastxent as fx
    >>> fx.set_result_cache(256 << 20)
    >>> fx.show_config().result_cache
    268435456
    >>> fx.set_result_cache(0)
    """
    number = as_integer(limit, "limit")
    _set_result_cache(number, f"limit = {number}")


def clear_result_cache() -> None:
    """Give the memory of results that are kept back to the operating system.

    See Also
    --------
    set_result_cache : Set how many bytes are kept.
    """
    native.clear_result_cache()


@dataclass(frozen=True, repr=False)
class Configuration:
    """What :func:`show_config` found; prints as a table."""

    version: str
    backend: BackendName
    isa: str
    available_isas: tuple[str, ...]
    threads: int
    #: What the number of threads comes from.
    threads_source: str
    numpy: str
    #: How many bytes of unused results are kept at most.
    result_cache: int
    #: How many are.
    result_cache_held: int
    #: What the extension was built with: compiler, OpenMP.
    build: dict[str, str]

    def __repr__(self) -> str:
        rows = {
            "fastxent": self.version,
            "backend": f"{self.backend} (known: {', '.join(BACKENDS)})",
            "isa": f"{self.isa} (available: {', '.join(self.available_isas)})",
            "threads": f"{self.threads} ({self.threads_source})",
            "numpy": self.numpy,
            "result cache": f"{self.result_cache_held:,} of {self.result_cache:,} bytes",
            **self.build,
        }
        width = max(map(len, rows))
        return "\n".join(f"{name:{width}}  {value}" for name, value in rows.items())


def show_config() -> Configuration:
    """Return version, backend, instruction set, threads and build of the package.

    Returns
    -------
    Configuration
        An object that prints as a table, with the attributes ``version``, ``backend``, ``isa``,
        ``available_isas``, ``threads``, ``threads_source``, ``numpy``, ``result_cache``,
        ``result_cache_held`` and ``build``.
    """
    return Configuration(
        version=__version__,
        backend=backend_name(),
        isa=native.get_isa(),
        available_isas=native.available_isas(),
        threads=get_num_threads(),
        threads_source=_threads_source(),
        numpy=np.__version__,
        result_cache=_results.get_limit(),
        result_cache_held=native.held_by_result_cache(),
        build=native.build_info(),
    )


def _threads_source() -> str:
    """Say what :func:`get_num_threads` followed."""
    if _context_threads.get():
        return "threads()"
    if _process.threads:
        return "set_num_threads"
    if _environment.threads:
        return "FASTXENT_NUM_THREADS"
    limits = _cpus.cpu_limits()
    maximum = native.openmp_max_threads()
    if not _is_openmps_own(maximum):
        limits = {"OpenMP maximum": maximum, **limits}
    return min(limits, key=lambda name: limits[name])
