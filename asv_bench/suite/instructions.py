"""Instructions per logit of the AVX2 kernels, counted by callgrind: the same on every machine.

Valgrind knows no AVX-512, so it is the AVX2 build that is counted. One process calls everything,
each function on few anchors and on many: what a call costs before its first logit, Python
included, is the same for both, and goes away in the difference.
"""

import ctypes
import gc
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import fastxent as fx
from benchmarks.contenders import our_run
from benchmarks.inputs import make_inputs
from benchmarks.shapes import Case, Shape

from ._package import LOSSES, SCORES

CLASSES, FEW, MANY = 80, 16, 4_016
KINDS = ("loss", "gradient", "score")
TIMEOUT = 900

Counts = dict[tuple[str, str], float]


def setup_cache() -> Counts:
    if platform.machine() != "x86_64" or not (shutil.which("valgrind") and shutil.which("vgdb")):
        return {}
    return count_instructions(LOSSES + SCORES)


setup_cache.timeout = TIMEOUT


def count_instructions(functions: Sequence[str]) -> Counts:
    """Return instructions per logit by function and kind."""
    program = "import sys; sys.path.insert(0, sys.argv[1]); from suite import instructions; "
    program += "instructions.call_all(sys.argv[2:])"
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/counts"]
        command += ["--collect-atstart=no", "--toggle-collect=ffi_call"]
        command += [sys.executable, "-c", program, str(Path(__file__).parents[1]), *functions]
        # What a dictionary of strings costs depends on the seed of their hashes.
        environment = os.environ | {"FASTXENT_ISA": "avx2", "PYTHONHASHSEED": "0"}
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=TIMEOUT)
        return _read_counts(Path(folder))


def call_all(functions: Sequence[str]) -> None:
    """Have callgrind count a call of each function. Runs under valgrind."""
    gc.disable()
    for function in functions:
        for kind in KINDS[2:] if function in SCORES else KINDS[:2]:
            for anchors in (FEW, MANY):
                _count_call(function, kind, anchors)


def _count_call(function: str, kind: str, anchors: int) -> None:
    if not hasattr(fx, function):
        return
    case = Case(function, Shape((anchors, CLASSES)), gradient=kind == "gradient")
    run = our_run(make_inputs(case), 1)
    try:
        run()  # which also loads what is loaded once
    except TypeError:  # this commit has no gradients
        return
    _tell_callgrind("zero")
    _call_through_ctypes(run)
    _tell_callgrind("dump", f"{kind}:{function}:{anchors}")


def _call_through_ctypes(run: Callable[[], object]) -> None:
    """Call via ``ffi_call``, within which callgrind counts; nothing else uses it."""
    call = ctypes.pythonapi.PyObject_CallNoArgs
    call.argtypes, call.restype = [ctypes.py_object], ctypes.py_object
    call(run)


def _tell_callgrind(*command: str) -> None:
    """Have the callgrind around this process do something."""
    messenger = subprocess.Popen(
        ["vgdb", f"--pid={os.getpid()}", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    # Valgrind looks for messages while it runs code; in a system call it had to be interrupted,
    # which not every container allows.
    while messenger.poll() is None:
        pass


def _read_counts(folder: Path) -> Counts:
    """Return what the files say: instructions per logit, to the digits that repeat."""
    totals = {}
    for path in folder.glob("counts.*"):
        text = path.read_text(encoding="utf-8")
        call = re.search(r"^desc: Trigger: dump (\w+):(\w+):(\d+)$", text, re.MULTILINE)
        total = re.search(r"^totals: (\d+)$", text, re.MULTILINE)
        if call and total and int(total[1]):  # 0 where libffi has no names
            totals[call[2], call[1], int(call[3])] = int(total[1])
    return {
        (function, kind): round((count - totals[function, kind, FEW]) / (MANY - FEW) / CLASSES, 2)
        for (function, kind, anchors), count in totals.items()
        if anchors == MANY
    }


class Instructions:
    params = (LOSSES + SCORES, KINDS)
    param_names = ("function", "kind")
    version = "1"

    def setup(self, counts: Counts, function: str, kind: str) -> None:
        if (function, kind) not in counts:
            raise NotImplementedError("this commit or machine does not have it")

    def track_avx2_per_logit(self, counts: Counts, function: str, kind: str) -> float:
        return counts[function, kind]

    track_avx2_per_logit.unit = "instr"
