"""The threads around the blocks of a call, and what keeps them safe.

Numba's threading layers have limits of their own. OpenMP's, which is what there is on Linux, ends
a forked child that computes in parallel; "workqueue" ends the process when two threads of Python do
so at once. So at most one call at a time runs in parallel, one that comes meanwhile works on its
own thread, and so does every forked child. Nobody has to set an environment variable.
"""

import functools
import os
import threading
from contextlib import suppress
from typing import Any

import numba
from numba.core import types
from numba.core.compiler_lock import global_compiler_lock

from fastxent import native
from fastxent._binding import all_cpus
from fastxent._config import HOME_PROCESS, automatic_threads
from fastxent.native import Call
from fastxent.numba.compilation import compile_cached
from fastxent.numba.simd.memory import call_worker

_turn = threading.Lock()

if hasattr(os, "register_at_fork"):
    # A child that is forked while another thread compiles would wait for the compiler for ever.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


def _run_parallel(run_worker: int, call: int, workers: int) -> None:
    for worker in numba.prange(workers):
        call_worker(run_worker, call, worker)


@functools.cache
def _parallel_runner() -> Any:
    """Compile the parallel loop: one for all calls, which it knows by their addresses."""
    return compile_cached(_run_parallel, types.void(*[types.intp] * 3), "parallel", parallel=True)


def _launch() -> bool:
    """Let Numba launch its threads; some kinds of them wait for ever for one that is missing."""
    with suppress(ValueError):  # there are none yet
        return bool(numba.threading_layer())
    threads = numba.config.NUMBA_NUM_THREADS
    if native.count_creatable_threads(threads) < threads:
        return False
    with all_cpus():  # they inherit the CPUs of this thread
        numba.get_num_threads()
    return True


def run(call: Call, blocks: int, threads: int) -> None:
    """Run all blocks of a call."""
    workers = _count_workers(threads, blocks)
    if workers == 1 or not _turn.acquire(blocking=False):
        call.run()
        return
    try:
        workers, team = native.gather_numba_team(workers) if _launch() else (1, 0)
        if workers == 1:
            call.run()
        else:
            _run_together(call, team, workers)
    finally:
        _turn.release()


def _run_together(call: Call, team: int, workers: int) -> None:
    call.begin(workers, team)
    before = numba.get_num_threads()
    numba.set_num_threads(workers)
    try:
        while call.resume():  # in between Python runs the handlers of signals
            _parallel_runner()(native.worker_address(), call.address, workers)
    finally:
        numba.set_num_threads(before)


def _count_workers(threads: int, blocks: int) -> int:
    """Return how many of Numba's threads may share the blocks, of which 0 leaves the choice."""
    if blocks == 1 or os.getpid() != HOME_PROCESS:
        return 1
    return min(threads or automatic_threads(), blocks, numba.config.NUMBA_NUM_THREADS)
