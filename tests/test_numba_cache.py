"""Kernels are kept on disk: found again, shared by processes, and done without where need be."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

PROGRAM = """
import numpy as np, fastxent as fx
fx.set_backend("numba")
logits = np.linspace(-9, 9, 800, dtype=np.float32)
for function in [fx.sigmoid, fx.softplus, fx.odds][::STEP]:
    result = function(logits, num_threads=1)
    np.testing.assert_allclose(result, function(logits, backend="numpy"), 1e-6)
from fastxent.numba import kernels
print(sum(kernel.cache_hits for kernel in kernels._compiled.values()), len(kernels._compiled))
"""


def start(folder, step=1, before=""):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder)}
    command = [sys.executable, "-W", "error", "-c", f"STEP = {step}\n{before}\n{PROGRAM}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=environment, text=True, **pipes)


def finish(process):
    """Return how many kernels were found on disk, and how many there are."""
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert not errors
    return tuple(map(int, output.split()))


def test_found_again(tmp_path):
    hits, kernels = finish(start(tmp_path))
    assert hits == 0
    assert len(list(tmp_path.rglob("*.nbi"))) == kernels
    assert finish(start(tmp_path)) == (kernels, kernels)


def test_two_processes_at_once(tmp_path):
    """Numba keeps an index of what it has; two that write the same one lose what the other wrote,
    or read code that is not theirs. Each kernel has files of its own.
    """
    both = [start(tmp_path, step) for step in (1, -1, 1)]
    kernels = {finish(process)[1] for process in both}
    assert len(kernels) == 1
    assert finish(start(tmp_path)) == (*kernels, *kernels)


def test_without_a_folder_to_write_to():
    """An installation that is read-only, and a user without a home."""
    before = "import numba.core.caching as c; c.CacheImpl._locator_classes = []"
    hits, kernels = finish(start("", before=before))
    assert hits == 0
    assert kernels > 0


def test_damaged_files(tmp_path):
    finish(start(tmp_path))
    for file in tmp_path.rglob("*.nbc"):
        file.write_bytes(file.read_bytes()[:99])
    hits, kernels = finish(start(tmp_path))
    assert hits < kernels


def test_a_full_disk(tmp_path):
    before = """
import numba.core.caching as c
def save(*arguments):
    raise OSError(28, "No space left on device")
c.IndexDataCacheFile.save = save
"""
    assert finish(start(tmp_path, before=before))[0] == 0


def test_other_sources_are_other_kernels(tmp_path):
    """Numba itself would look at the file of a kernel alone."""
    from fastxent.numba import compilation

    package = Path(compilation.__file__).parent
    copy = tmp_path / "numba"
    for file in package.rglob("*.py"):
        target = copy / file.relative_to(package)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    before = compilation.digest_of(copy)
    assert before == compilation.digest_of(package)
    with (copy / "simd" / "vector_math.py").open("a") as file:
        file.write("#\n")
    assert compilation.digest_of(copy) != before
