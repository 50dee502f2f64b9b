"""Arrays in files: read piece by piece like NumPy reads them whole, or refused with a line."""

import errno
import io
import os
import struct
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.cli import fails

from fastxent.cli.arrays import open_array, split_spec
from fastxent.cli.errors import CommandError

DTYPES = ["<f4", ">f4", "<f8", "|u1", "<i2", ">i8", "|b1"]
WHOLE = (slice(0, 4), slice(0, 3))


def header(shape, dtype="<f4", version=(1, 0)):
    """The bytes before the data of an .npy file."""
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    length = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + length + text


def save(path, array):
    """Save in the format that the name asks for; return what the command line calls it."""
    if path.suffix == ".npy":
        np.save(path, array)
        return str(path)
    # The other member makes the archive one that needs a key.
    writer = np.savez_compressed if "compressed" in path.name else np.savez
    writer(path, other=np.arange(7), array=array)
    return f"{path}:array"


@pytest.fixture
def logits(tmp_path):
    """A small valid file, to go with a bad one."""
    path = tmp_path / "logits.npy"
    np.save(path, np.zeros((4, 3), np.float32))
    return path


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "compressed.npz"])
@pytest.mark.parametrize("order", ["C", "F"])
@settings(max_examples=30)
@given(data=st.data())
def test_pieces_are_what_numpy_reads(tmp_path_factory, name, order, data):
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=3, max_side=5))
    dtype = data.draw(st.sampled_from(DTYPES))
    array = np.asarray(data.draw(hnp.arrays(dtype, shape)), order=order)
    spec = save(tmp_path_factory.mktemp("files") / name, array)
    region = []
    for length in shape:
        start = data.draw(st.integers(0, length - 1))
        region.append(slice(start, data.draw(st.integers(start + 1, length))))
    with open_array(spec) as stored:
        assert stored.shape == shape
        assert stored.dtype == array.dtype
        found = stored.read(tuple(region))
    np.testing.assert_array_equal(found, array[(*region, ...)], strict=True)


def test_version_2_headers_are_read(tmp_path):
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    path = tmp_path / "a.npy"
    path.write_bytes(header((4, 3), version=(2, 0)) + values.tobytes())
    with open_array(str(path)) as stored:
        assert np.array_equal(stored.read(WHOLE), values)


def test_version_3_headers_are_read(tmp_path):
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    path = tmp_path / "a.npy"
    path.write_bytes(header((4, 3), version=(3, 0)) + values.tobytes())
    assert np.array_equal(np.load(path), values)  # as NumPy does
    with open_array(str(path)) as stored:
        assert np.array_equal(stored.read(WHOLE), values)


def test_headers_of_python_2_are_read_without_a_warning(tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(header("(4L, 3L)") + np.ones((4, 3), np.float32).tobytes())
    with open_array(str(path)) as stored:
        assert np.array_equal(stored.read(WHOLE), np.ones((4, 3)))


def test_a_single_array_needs_no_key(tmp_path):
    np.savez(tmp_path / "a.npz", only=np.arange(12.0).reshape(4, 3))
    with open_array(f"{tmp_path}/a.npz") as stored:
        assert np.array_equal(stored.read(WHOLE), np.arange(12.0).reshape(4, 3))


def test_compressed_data_is_never_reread(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", np.zeros((4, 3)))
    with open_array(f"{tmp_path}/a.npz") as stored:
        stored.read((slice(2, 4), slice(0, 3)))
        with pytest.raises(CommandError, match="cannot be read in this order"):
            stored.read((slice(0, 2), slice(0, 3)))


@pytest.mark.parametrize(
    ("spec", "path", "key"),
    [
        ("a.npy", "a.npy", None),
        ("a.npz", "a.npz", None),
        ("a.npz:key", "a.npz", "key"),
        ("A.NPZ:key", "A.NPZ", "key"),
        ("C:/a.npz:key:2", "C:/a.npz", "key:2"),
        ("odd:name.npy", "odd:name.npy", None),
    ],
)
def test_names_of_files_and_keys(spec, path, key):
    found_path, found_key = split_spec(spec)
    assert (found_path.as_posix(), found_key) == (path, key)


# --- files that are refused ----------------------------------------------------------------------


BAD_FILES = {
    "empty": (b"", "has no valid .npy header"),
    "text": (b"0.5 0.5 0.5\n" * 20, "has no valid .npy header"),
    "half a header": (header((4, 3))[:30], "has no valid .npy header"),
    "no header": (header((4, 3))[:10] + b"garbage" * 20, "has no valid .npy header"),
    "unclosed": (header((4, 3)).replace(b")}", b"  ") + b"x" * 48, "has no valid .npy header"),
    "endless header": (b"\x93NUMPY\2\0\xff\xff\xff\xff" + b" " * 100_000, "no valid .npy header"),
    "endless shape": (header(f"({10**4000}, {10**4000})"), "has no valid .npy header"),
    "no dtype": (header((4, 3), ()), "has no valid .npy header"),
    "odd keys": (header((4, 3)).replace(b"'shape'", b"1234567"), "has no valid .npy header"),
    "negative": (header((-4, 3)), "has no valid .npy header"),
    "fields": (header((4,), [("a", "<f4")]) + bytes(16), "expected numbers"),
    "fields of version 3": (
        header((4,), [("\u043b\u00e9", "<f4")], version=(3, 0)) + bytes(16),
        "has dtype [('\u043b\u00e9', '<f4')], expected numbers",
    ),
    "half a header of version 3": (header((4, 3), version=(3, 0))[:40], "EOF: reading array head"),
    "bytes of no character": (
        header((4, 3), version=(3, 0)).replace(b"<f4", b"<f\xff"),
        "is damaged: 'utf-8' codec can't decode",
    ),
    "unsaid bfloat16": (header((4, 3), "|V2") + bytes(24), "with --dtype bfloat16"),
    "pairs of bytes": (header((4,), [("a", "u1"), ("b", "u1")]) + bytes(8), "expected numbers"),
    "too many axes": (header((1,) * 70) + bytes(4), "has no valid .npy header: maximum supported"),
    "other version": (header((4, 3), version=(4, 0)), "format version (4, 0)"),
    "strings": (header((4, 3), "<U1") + bytes(48), "expected numbers"),
    "complex": (header((4, 3), "<c8") + bytes(96), "expected numbers"),
    "objects": (header((4, 3), "|O") + bytes(96), "pickled Python objects"),
    "no data": (header((4, 3)), "is truncated"),
    "half the data": (header((4, 3)) + bytes(24), "is truncated: 92 of 116 bytes are there"),
    "huge": (header((10**9, 10**9)), "is truncated"),
    "wrong dtype": (header((4, 3), "<i2") + bytes(24), "int16"),
    "integers": (header((4, 3), "<i4") + bytes(48), "int32"),
    "wrong shape": (header((5, 3)) + bytes(60), "(5,) for class labels or (5, 3) for dense"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_logits(case, logits, tmp_path):
    content, message = BAD_FILES[case]
    path = tmp_path / "bad.npy"
    path.write_bytes(content)
    assert message in fails("loss", path, logits, "--loss", "sigmoid", "--out", tmp_path / "o.npy")
    assert not (tmp_path / "o.npy").exists()


@pytest.mark.parametrize("case", ["text", "objects", "half the data", "strings", "wrong shape"])
def test_bad_targets(case, logits, tmp_path):
    content, message = BAD_FILES[case]
    path = tmp_path / "bad.npy"
    path.write_bytes(content)
    if case == "wrong shape":
        message = "expected shape (4,) for class labels or (4, 3) for dense targets"
    assert message in fails("loss", logits, path, "--loss", "softmax")


def test_pickled_objects_are_never_loaded(logits, tmp_path):
    class Bomb:
        def __reduce__(self):
            return print, ("loaded",)

    np.save(tmp_path / "bomb.npy", np.array([Bomb()] * 4), allow_pickle=True)
    assert "pickled" in fails("loss", logits, tmp_path / "bomb.npy", "--loss", "softmax")


def test_missing_files(logits, tmp_path):
    missing = tmp_path / "missing.npy"
    assert fails("loss", missing, logits, "--loss", "softmax") == (
        f"{missing}: No such file or directory"
    )
    assert "is not a file" in fails("loss", tmp_path, logits, "--loss", "softmax")


def test_files_that_cannot_be_read(logits):
    memory = Path("/proc/self/mem")  # there is nothing at address 0
    if not memory.exists():
        pytest.skip("a file of Linux")
    message = fails("loss", memory, logits, "--loss", "softmax")
    assert message == f"{memory}: {os.strerror(errno.EIO)}"


def test_missing_keys(logits, tmp_path):
    np.savez(tmp_path / "two.npz", a=np.zeros(4), b=np.zeros(4))
    two = f"{tmp_path}/two.npz"
    assert f"{two} holds a, b: name one" in fails("loss", logits, two, "--loss", "softmax")
    message = fails("loss", logits, f"{two}:c", "--loss", "softmax")
    assert message == f"{two} has no array 'c'; it holds a, b"
    logits.rename(tmp_path / "not.npz")
    assert "is not an .npz file" in fails("loss", f"{tmp_path}/not.npz:a", two, "--loss", "softmax")


# --- lines that stay short -----------------------------------------------------------------------


def test_many_keys_are_not_all_listed(logits, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for number in range(20_000):
            archive.writestr(f"{number}.npy", b"")
    listed = "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 19,990 more"
    path = tmp_path / "a.npz"
    message = fails("loss", logits, path, "--loss", "softmax")
    assert message == f"{path} holds {listed}: name one, as in {path}:KEY"
    message = fails("loss", logits, f"{path}:x", "--loss", "softmax")
    assert message == f"{path} has no array 'x'; it holds {listed}"


@pytest.mark.parametrize(
    "content",
    [
        header((4, 3), [(f"field{number}", "<f4") for number in range(300)]),
        header(f"({10**4000}, {10**4000})"),
        header("(" + "7, " * 3000 + ")"),
        header((4, 3)).replace(b"}", b", " * 4000 + b"}"),
    ],
    ids=["dtype", "length", "axes", "text"],
)
def test_headers_are_not_quoted_in_full(content, logits, tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    assert len(fails("loss", path, logits, "--loss", "softmax")) < len(str(path)) + 300


def test_long_keys_are_not_quoted_in_full(logits, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("k" * 60_000, b"")
        archive.writestr("b", b"")
    path = tmp_path / "a.npz"
    assert len(fails("loss", logits, path, "--loss", "softmax")) < 3 * len(str(path)) + 200


def damaged_archives():
    stream = io.BytesIO()
    np.savez_compressed(stream, a=np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32))
    content = stream.getvalue()
    middle = content.index(b"NUMPY") if b"NUMPY" in content else len(content) // 3
    flipped = bytearray(content)
    flipped[middle + 20] ^= 0xFF
    return {"truncated": content[:-30], "damaged": bytes(flipped), "header only": content[:40]}


@pytest.mark.parametrize("case", damaged_archives())
def test_damaged_archives(case, tmp_path):
    path = tmp_path / "bad.npz"
    path.write_bytes(damaged_archives()[case])
    np.save(tmp_path / "targets.npy", np.zeros(4, int))
    message = fails("loss", path, tmp_path / "targets.npy", "--loss", "sigmoid")
    assert message.startswith(str(path))


def test_members_that_are_no_arrays(logits, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("note.txt", "hello")
    message = fails("loss", logits, f"{tmp_path}/a.npz:note.txt", "--loss", "softmax")
    assert "has no valid .npy header" in message


def test_compressed_data_in_an_unreadable_order(monkeypatch, tmp_path):
    monkeypatch.setattr("fastxent.cli.regions.BLOCK_BYTES", 64)
    np.savez_compressed(tmp_path / "a.npz", np.zeros((3, 40), np.float32))
    np.save(tmp_path / "targets.npy", np.zeros(40, int))
    arguments = f"{tmp_path}/a.npz", tmp_path / "targets.npy", "--loss", "softmax", "--axis", 0
    assert "store it uncompressed" in fails("loss", *arguments)


@settings(max_examples=500)
@given(data=st.data())
def test_no_content_makes_a_traceback(tmp_path_factory, data):
    """Change bytes of valid files at random: either it still works, or it is one line."""
    stream = io.BytesIO()
    kind = data.draw(st.sampled_from([np.save, np.savez, np.savez_compressed]))
    kind(stream, np.zeros((4, 3), np.float32))
    content = bytearray(stream.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "a.npz").write_bytes(content[: data.draw(st.integers(0, len(content)))])
    # Anything but CommandError would end this test.
    with suppress(CommandError), open_array(f"{folder}/a.npz") as stored:
        if len(stored.shape) == 2:
            stored.read(tuple(slice(0, min(n, 5)) for n in stored.shape))
