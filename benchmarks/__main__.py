"""Run the benchmarks, once for each number of threads, and write what the documents say.

    python -m benchmarks --quick            a few rows, on all CPUs
    python -m benchmarks                    the grid, on one CPU and on all
    python -m benchmarks --scale 0.001      a trial, which changes no document
    FASTXENT_ISA=avx2 python -m benchmarks  the AVX2 kernels, and peers with AVX2 as far as they can

Other options go to pytest: see "fastxent" in the output of `pytest benchmarks --help`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.instruction_sets import limits

ROOT = Path(__file__).parents[1]


def main(arguments: list[str]) -> int:
    """Run pytest, in processes of their own, and the report."""
    start = time.monotonic()
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if any(argument.split("=")[0] == "--threads" for argument in arguments):
        choices = [[]]
    elif "--quick" in arguments or cpus == 1:
        choices = [["--threads", "all"]]
    else:
        choices = [["--threads", "all"], ["--threads", "1"]]
    environment = os.environ | limits()
    status = 0
    for threads in choices:
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "-p",
            "no:logging",
        ]
        command += ["--benchmark-disable-gc", "--benchmark-columns=rounds", "--benchmark-quiet"]
        command += ["benchmarks", *threads, *arguments]
        status |= subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    print(f"This took {(time.monotonic() - start) / 60:.1f} minutes.")

    is_trial = any(argument.split("=")[0] in {"--scale", "--results"} for argument in arguments)
    if status or is_trial:
        print("The documents are left as they are: python -m benchmarks.report writes them.")
        return int(status != 0)
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.report"], cwd=ROOT, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
