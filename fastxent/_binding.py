"""OpenMP's binding of threads to CPUs (OMP_PROC_BIND, OMP_PLACES, GOMP_CPU_AFFINITY).

An OpenMP runtime that binds takes all CPUs but those of its first place from the thread that loads
it. What is loaded, or launched, by that thread afterwards takes these for all CPUs there are.
"""

import ctypes
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

_VARIABLES = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")
#: The files of libgomp, LLVM's and Intel's OpenMP in a list of what is mapped into memory.
_RUNTIMES = re.compile(r"/\S*/lib(?:g|i)?omp[^/\s]*\.so\S*")


class Binding(NamedTuple):
    """What a runtime that binds its threads says."""

    #: The CPUs of each place.
    places: tuple[frozenset[int], ...]
    #: How many CPUs the process had when the runtime was loaded.
    processors: int

    @property
    def cpus(self) -> frozenset[int]:
        """Return the CPUs of all places."""
        return frozenset().union(*self.places)


def binding_of(library: str) -> Binding | None:
    """Return what the OpenMP that a library is, or uses, says; None: it binds no threads."""
    try:
        functions = ctypes.CDLL(library, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
        if functions.omp_get_proc_bind() == 0:
            return None
        places = []
        for number in range(functions.omp_get_num_places()):
            cpus = (ctypes.c_int * functions.omp_get_place_num_procs(number))()
            functions.omp_get_place_proc_ids(number, cpus)
            places.append(frozenset(cpus))
        return Binding(tuple(places), functions.omp_get_num_procs()) if places else None
    except (OSError, AttributeError):  # it is no longer there; it knows no places
        return None


def _loaded_runtimes() -> Iterable[str]:
    with suppress(OSError):
        return dict.fromkeys(_RUNTIMES.findall(Path("/proc/self/maps").read_text()))
    return ()


@contextmanager
def all_cpus() -> Iterator[None]:
    """Let the calling thread run on all CPUs of the process, if it is bound to some of them.

    A runtime that is loaded meanwhile shares out all CPUs, and threads that are created inherit
    them. Whoever binds this thread meanwhile has the last word.
    """
    if not (any(map(os.environ.get, _VARIABLES)) and hasattr(os, "sched_setaffinity")):
        yield
        return
    bound = cpus = frozenset(os.sched_getaffinity(0))
    for library in _loaded_runtimes():
        binding = binding_of(library)
        # Places that the process was not allowed to use are none of its CPUs.
        if binding and bound in binding.places and len(binding.cpus) <= binding.processors:
            cpus = max(cpus, binding.cpus, key=len)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        if os.sched_getaffinity(0) == cpus:
            os.sched_setaffinity(0, bound)
