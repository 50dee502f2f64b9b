"""Kernels are kept on disk: found again, shared by processes, and done without where need be."""

import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import pytest

numba = pytest.importorskip("numba")
from fastxent.numba import compilation, files  # noqa: E402 - where there is Numba

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
    assert len([file for file in tmp_path.rglob("*") if file.is_file()]) == kernels
    assert finish(start(tmp_path)) == (kernels, kernels)


@pytest.mark.exhaustive
def test_two_processes_at_once(tmp_path):
    """Numba keeps an index of what it has; two that write the same one lose what the other wrote,
    or read code that is not theirs. Each kernel is a file of its own.
    """
    both = [start(tmp_path, step) for step in (1, -1, 1)]
    kernels = {finish(process)[1] for process in both}
    assert len(kernels) == 1
    assert finish(start(tmp_path)) == (*kernels, *kernels)


@pytest.mark.exhaustive
def test_without_a_folder_to_write_to():
    """An installation that is read-only, and a user without a home."""
    before = "import numba.core.caching as c; c.CacheImpl._locator_classes = []"
    hits, kernels = finish(start("", before=before))
    assert hits == 0
    assert kernels > 0


@pytest.mark.exhaustive
def test_a_full_disk(tmp_path):
    """Half a file is not left behind either."""
    pytest.importorskip("resource")
    before = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))"
    assert finish(start(tmp_path, before=before))[0] == 0
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_a_folder_that_vanishes(kept, monkeypatch):
    """And whose place a file takes, after Numba has chosen it."""

    def block(self, sig, data, save=files.FunctionCache.save_overload):
        folder = self._cache_file.path.parent
        folder.rmdir()
        folder.touch()
        save(self, sig, data)

    monkeypatch.setattr(files.FunctionCache, "save_overload", block)
    assert compiled("one", 1) == (1, 0)


@pytest.mark.exhaustive
def test_other_sources_are_other_kernels(tmp_path):
    """Numba itself would look at the file of a kernel alone."""
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


# --- damaged files --------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Keep kernels in a folder of the test's own; return what finds the file of one."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))

    def file_of(name):
        (file,) = tmp_path.rglob(f"*.{name}-*")
        return file

    return file_of


def compiled(name, number):
    """Return what a kernel computes that adds a number to 0, and whether it was found on disk."""

    def add(x):
        return x + number

    kernel = compilation.compile_cached(add, numba.types.intp(numba.types.intp), name)
    return kernel.ctypes(0), kernel.cache_hits


class Call:
    """Pickled as a call, which fails."""

    def __reduce__(self):
        return int, ("seven",)


def of_numba(content):
    """Return what Numba itself would write: a pickle without a digest."""
    return content[files.DIGEST_BYTES :]


def flipped(content, place):
    """Change one bit."""
    index = int(place * len(content))
    return content[:index] + bytes([content[index] ^ 4]) + content[index + 1 :]


DAMAGES = {
    "empty": lambda content: b"",
    "a byte": lambda content: content[:1],
    "the digest": lambda content: content[: files.DIGEST_BYTES],
    "a tenth": lambda content: content[: len(content) // 10],
    "half": lambda content: content[: len(content) // 2],
    "all but a byte": lambda content: content[:-1],
    "more": lambda content: content + b"\0",
    "zeros": lambda content: bytes(len(content)),
    "random": lambda content: random.Random(0).randbytes(len(content)),
    "text": lambda content: "кэш".encode("utf-16"),
    "without digest": of_numba,
    "another object": lambda content: pickle.dumps({"a": 1}),
    "another object with the digest": lambda content: content[:32] + pickle.dumps({"a": 1}),
    "a missing module": lambda content: content[:32] + b"cno_such_module\nname\n.",
    "a call": lambda content: content[:32] + pickle.dumps(Call()),
    **{
        f"flipped at {place}": lambda content, place=place: flipped(content, place)
        for place in (0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.999)
    },
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_files_are_replaced(kept, damage):
    assert compiled("one", 1) == (1, 0)
    file = kept("one")
    file.write_bytes(damage(file.read_bytes()))
    assert compiled("one", 1) == (1, 0)
    assert kept("one") == file
    assert compiled("one", 1) == (1, 1)


def test_something_else_in_the_place_of_a_file(kept, tmp_path):
    assert compiled("one", 1) == (1, 0)
    file = kept("one")
    file.unlink()
    file.mkdir()
    assert compiled("one", 1) == (1, 0)
    assert compiled("one", 1) == (1, 1)
    file.unlink()
    file.symlink_to(tmp_path / "nowhere")
    assert compiled("one", 1) == (1, 0)
    assert compiled("one", 1) == (1, 1)
    file.unlink()
    (file / "of the user").mkdir(parents=True)
    for _ in range(2):
        assert compiled("one", 1) == (1, 0)
    assert (file / "of the user").is_dir()


def test_files_of_other_kernels(kept):
    """Code of one kernel never runs under another's name, or for other constants."""
    assert compiled("one", 1) == (1, 0)
    assert compiled("two", 2) == (2, 0)
    one, two = kept("one"), kept("two")
    contents = one.read_bytes(), two.read_bytes()
    one.write_bytes(contents[1])
    two.write_bytes(contents[0])
    assert compiled("one", 1) == (1, 0)
    assert compiled("two", 2) == (2, 0)
    assert compiled("two", 3) == (3, 0)
    assert compiled("one", 1) == (1, 1)


@pytest.mark.exhaustive
def test_every_bit_and_every_length(tmp_path):
    """Nothing that was changed is unpickled."""
    file = files.KernelFile(tmp_path / "kernel")
    file.save("key", ["data", 1.5])
    assert file.load("key") == ["data", 1.5]
    assert file.load("another key") is None
    content = file.path.read_bytes()
    others = [content[:length] for length in range(len(content))]
    others += [
        content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]
        for place in range(len(content))
        for bit in range(8)
    ]
    for other in others:
        file.path.write_bytes(other)
        assert file.load("key") is None
    file.path.write_bytes(content)
    assert file.load("key") == ["data", 1.5]


@pytest.mark.exhaustive
def test_damaged_kernels_of_a_process(tmp_path):
    kernels = finish(start(tmp_path))[1]
    for file in tmp_path.rglob("*.kernel"):
        file.write_bytes(flipped(file.read_bytes(), 0.97))
    assert finish(start(tmp_path)) == (0, kernels)
    assert finish(start(tmp_path)) == (kernels, kernels)
