"""The threads around the blocks of a call, and what keeps them safe; design.md, section 6.

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
import numpy as np
from numba.core import types
from numba.core.compiler_lock import global_compiler_lock

from fastxent import native
from fastxent._binding import all_cpus
from fastxent._config import HOME_PROCESS, automatic_threads
from fastxent._contract import Array
from fastxent.numba.compilation import compile_cached
from fastxent.numba.jobs import VECTOR_BYTES, Job
from fastxent.numba.kernels import kernel_of
from fastxent.numba.simd.memory import call_six

_turn = threading.Lock()

if hasattr(os, "register_at_fork"):
    # A child that is forked while another thread compiles would wait for the compiler for ever.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


def _run_parallel(  # what run_worker takes, for each worker
    run_worker: int,
    function: int,
    job: int,
    counter: int,
    memory: int,
    step: int,
    team: int,
    workers: int,
) -> None:
    for worker in numba.prange(workers):
        call_six(run_worker, function, job, counter, memory + worker * step, team, worker)


@functools.cache
def _parallel_runner() -> Any:
    """Compile the parallel loop: one for all kernels, which it knows by their addresses."""
    return compile_cached(_run_parallel, types.void(*[types.intp] * 8), "parallel", parallel=True)


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


def run(job: Job, threads: int, *, is_map: bool = False) -> Array:
    """Run all blocks, and return what each of them adds up to."""
    step = job.plan_memory(is_map=is_map)
    totals = job.totals()
    plan = job.plan(
        "run_blocks", has_rows=job.has_rows, has_totals=job.has_totals, may_miss=job.may_miss
    )
    blocks, counter = int(job.record["blocks"]), np.zeros(1, np.int64)
    addresses = kernel_of(plan), job.record.ctypes.data, counter.ctypes.data
    workers = _count_workers(threads, blocks)
    if workers == 1 or not _turn.acquire(blocking=False):
        _run_alone(addresses, step)
        return totals
    try:
        workers, team = native.gather_numba_team(workers) if _launch() else (1, 0)
        if workers == 1:
            _run_alone(addresses, step)
        else:
            _run_together(addresses, step, team, workers)
    finally:
        _turn.release()
    return totals


def _run_alone(addresses: tuple[int, int, int], step: int) -> None:
    """Run all blocks on this thread; the addresses are of the kernel, the job and the counter."""
    memory = _memory(step)
    native.run_alone(*addresses, _aligned(memory))


def _run_together(addresses: tuple[int, int, int], step: int, team: int, workers: int) -> None:
    memory = _memory(workers * step)
    before = numba.get_num_threads()
    numba.set_num_threads(workers)
    try:
        _parallel_runner()(
            native.worker_address(), *addresses, _aligned(memory), step, team, workers
        )
    finally:
        numba.set_num_threads(before)


def _count_workers(threads: int, blocks: int) -> int:
    """Return how many of Numba's threads may share the blocks, of which 0 leaves the choice."""
    if blocks == 1 or os.getpid() != HOME_PROCESS:
        return 1
    return min(threads or automatic_threads(), blocks, numba.config.NUMBA_NUM_THREADS)


def _memory(size: int) -> Array:
    return np.empty(size + VECTOR_BYTES, np.uint8)


def _aligned(memory: Array) -> int:
    address = memory.ctypes.data
    return address + -address % VECTOR_BYTES
