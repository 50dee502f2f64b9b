"""Instructions and simulated cycles per logit, counted by callgrind: the same on every machine.

Valgrind knows no AVX-512, so the AVX2 kernels are counted, and the portable ones. One process calls
everything, each row on few logits and on many: what a call costs before its first logit, Python
included, is the same for both, and goes away in the difference.
"""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .rows import ROWS, Row, make_call

if TYPE_CHECKING:
    from collections.abc import Iterable

FEW, MANY = 7_680, 89_600
#: Python counts how often code runs before it specializes it.
WARM_UP = 8
#: Seconds; on a machine that does nothing else, one or two minutes suffice.
TIMEOUT = 14_400
#: The caches of many CPUs, in place of those of the machine that counts.
CACHES = ["--I1=32768,8,64", "--D1=32768,8,64", "--LL=8388608,16,64"]
#: What the profiler KCachegrind takes a miss of the first and of the last cache, and of the branch
#: prediction for.
NEAR_MISS, FAR_MISS, MISPREDICTION = 10, 100, 10
#: Callgrind's requests, which are macros of its header.
REQUESTS = """
#include <valgrind/callgrind.h>
void start(void) { CALLGRIND_START_INSTRUMENTATION; }
void begin(void) { CALLGRIND_ZERO_STATS; CALLGRIND_TOGGLE_COLLECT; }
void end(const char *name) { CALLGRIND_TOGGLE_COLLECT; CALLGRIND_DUMP_STATS_AT(name); }
"""


def absence() -> str:
    """Return why nothing can be counted here, or ""."""
    if platform.machine() != "x86_64":
        return f"the kernels of {platform.machine()} are others"
    if not shutil.which("valgrind"):
        return "there is no valgrind"
    return "" if Path("/usr/include/valgrind/callgrind.h").exists() else "it has no headers"


class Count(NamedTuple):
    """What one row takes, per logit."""

    instructions: float
    #: 0 where they are not simulated, which takes longer.
    cycles: float = 0.0


#: By group and name.
Counts = dict[tuple[str, str], Count]


def count(
    isa: str,
    groups: Iterable[str] = (),
    *,
    package: Path | None = None,
    with_cycles: bool = True,
) -> Counts:
    """Return the counts of groups of rows, or of all, by the package in a folder or installed."""
    program = "import sys; sys.path.insert(0, sys.argv[1]); from suite import counting; "
    program += "counting.call_all(*sys.argv[2:4], sys.argv[4:])"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library = _compile_requests(folder)
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/counts"]
        command += ["--instr-atstart=no", "--collect-atstart=no"]
        command += ["--cache-sim=yes", "--branch-sim=yes", *CACHES] if with_cycles else []
        command += [sys.executable, "-P", "-c", program, str(Path(__file__).parents[1])]
        command += [str(library), str(package or ""), *groups]
        # What a dictionary of strings costs depends on the seed of their hashes.
        environment = os.environ | {"FASTXENT_ISA": isa, "PYTHONHASHSEED": "0"}
        if package:
            environment["PYTHONPATH"] = str(package)
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT
        )
        if done.returncode:
            raise RuntimeError(f"counting {isa} failed:\n{done.stderr[-2000:]}")
        return _read_counts(folder)


def _compile_requests(folder: Path) -> Path:
    source, library = folder / "requests.c", folder / "requests.so"
    source.write_text(REQUESTS, encoding="utf-8")
    command = [os.environ.get("CC", "cc").split()[-1], "-shared", "-fPIC", "-O1"]
    subprocess.run([*command, source, "-o", library], check=True)
    return library


def call_all(library: str, package: str, groups: list[str]) -> None:
    """Have callgrind count the calls of each row. Runs under valgrind."""
    import fastxent

    if package and not Path(fastxent.__file__).is_relative_to(package):
        raise RuntimeError(f"{fastxent.__file__} was loaded, and not what is in {package}")
    requests = ctypes.CDLL(library)
    requests.start()
    gc.disable()
    for number, row in enumerate(ROWS):
        if row.is_counted and (not groups or row.group in groups):
            _count_row(requests, number, row)


def _count_row(requests: ctypes.CDLL, number: int, row: Row) -> None:
    for logits in (FEW, MANY):
        call = make_call(row, logits)
        if call is None:
            return
        for _ in range(WARM_UP if logits == FEW else 1):
            call.run()
        requests.begin()
        call.run()
        requests.end(f"{number} {call.logits}".encode())


def _read_counts(folder: Path) -> Counts:
    """Return what the files say, to the digits that repeat."""
    totals: dict[int, dict[int, list[int]]] = {}
    for path in folder.glob("counts.*"):
        text = path.read_text(encoding="utf-8")
        call = re.search(r"^desc: Trigger: Client Request: (\d+) (\d+)$", text, re.MULTILINE)
        total = re.search(r"^totals: (.+)$", text, re.MULTILINE)
        if call and total:
            events = [int(number) for number in total[1].split()]
            totals.setdefault(int(call[1]), {})[int(call[2])] = events
    counts = {}
    for number, by_size in sorted(totals.items()):
        (few, less), (many, more) = sorted(by_size.items())
        events = [(b - a) / (many - few) for a, b in zip(less, more, strict=True)]
        row = ROWS[number]
        counts[row.group, row.name] = Count(round(events[0], 2), _cycles(events))
    return counts


def _cycles(events: list[float]) -> float:
    """Return cycles as KCachegrind estimates them; loads and stores are in the instructions."""
    if len(events) == 1:
        return 0.0
    instructions, _, _, i1, d1_read, d1_write, i_last, d_last_read, d_last_write, *branches = events
    _, mispredicted, _, mispredicted_indirect = branches
    near = i1 + d1_read + d1_write
    far = i_last + d_last_read + d_last_write
    estimate = instructions + NEAR_MISS * near + FAR_MISS * far
    return round(estimate + MISPREDICTION * (mispredicted + mispredicted_indirect), 2)
