"""What the commands read: patterns of files, stacks of dask, and zarr."""

import pickle
from contextlib import ExitStack

import numpy as np
import pytest
from support.cli import fails, printed, run

import fastxent as fx
from fastxent.cli.sources import natural_key, open_source, read_pieces

LOGITS = np.random.default_rng(0).normal(size=(23, 5, 8)).astype(np.float32)
LABELS = np.random.default_rng(1).integers(0, 6, (23, 8)).astype(np.uint8)
CUTS = (2, 7, 8, 8, 19)


def make_parts(folder):
    for i, part in enumerate(np.split(LOGITS, CUTS)):
        np.save(folder / f"part{2 * i}.npy", part)
    for i, part in enumerate(np.split(LABELS, (9, 20))):
        np.savez(folder / f"labels{i * 9}.npz", y=part)
    return folder / "part*.npy", f"{folder}/labels*.npz:y"


def make_zarr(folder):
    zarr = pytest.importorskip("zarr", minversion="3")
    group = zarr.open_group(str(folder / "s.zarr"), mode="w")
    group.create_array("logits", data=LOGITS, chunks=(4, 5, 3))
    group.create_array("labels", data=LABELS, chunks=(7, 7))
    return f"{folder}/s.zarr:logits", f"{folder}/s.zarr:labels"


def make_stacks(folder):
    da = pytest.importorskip("dask.array")
    da.to_npy_stack(folder / "z", da.from_array(LOGITS, chunks=(6, 5, 8)))
    da.to_npy_stack(folder / "y", da.from_array(LABELS, chunks=(23, 3)), axis=1)
    return folder / "z", folder / "y"


MAKERS = [make_parts, make_zarr, make_stacks]


@pytest.mark.parametrize("make", MAKERS)
def test_regions(make, tmp_path):
    specs = make(tmp_path)
    for spec, array in zip(specs, (LOGITS, LABELS), strict=True):
        with open_source(str(spec)) as source:
            assert source.shape == array.shape
            assert source.dtype == array.dtype
            for start, stop in ((0, 23), (3, 4), (6, 21), (7, 8), (22, 23), (5, 5)):
                rest = tuple(slice(i, length - i) for i, length in enumerate(array.shape[1:]))
                region = (slice(start, stop), *rest)
                np.testing.assert_array_equal(source.read(region), array[region])
                pieces = pickle.loads(pickle.dumps(source.pieces(region)))
                np.testing.assert_array_equal(read_pieces(pieces), array[region])


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("block_bytes", [200, 2**20])
def test_losses_and_candidates(make, block_bytes, tmp_path, monkeypatch):
    monkeypatch.setattr("fastxent.cli.regions.BLOCK_BYTES", block_bytes)
    monkeypatch.setattr("fastxent.cli.select.BLOCK_BYTES", block_bytes)
    logits, labels = make(tmp_path)
    out = tmp_path / "out.npy"
    result = run("loss", logits, labels, "--loss", "sigmoid", "--axis", 1, "--out", out)
    losses = fx.sigmoid_cross_entropy(LOGITS, LABELS, axis=1)
    assert printed(result.output, "sum") == pytest.approx(losses.sum(dtype=float), rel=1e-7)
    np.testing.assert_array_equal(np.load(out), losses)
    out = tmp_path / "out.npz"
    assert run("select", logits, "--axis", 1, "--out", out).exit_code == 0
    expected = fx.select_candidates(LOGITS, axis=1)
    with np.load(out) as found:
        for name in ("image", "anchor", "label", "score", "offsets", "found"):
            np.testing.assert_array_equal(found[name], getattr(expected, name))


def test_numbers_in_names_are_numbers():
    names = ["part10.npy", "part9.npy", "part9b.npy", "part.npy", "part09a.npy", "a/2/x"]
    assert sorted(names, key=natural_key) == [
        "a/2/x",
        "part09a.npy",
        "part9.npy",
        "part9b.npy",
        "part10.npy",
        "part.npy",
    ]


def test_one_file_is_open_at_a_time(tmp_path):
    for i in range(300):
        np.save(tmp_path / f"{i}.npy", np.full((1, 2), i, np.float32))
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, before[1]))
    try:
        with open_source(f"{tmp_path}/*.npy") as source:
            assert source.read((slice(0, 300), slice(0, 1))).ravel().tolist() == [*range(300)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_file_whose_name_is_a_pattern(tmp_path):
    np.save(tmp_path / "a[1].npy", np.zeros((2, 3), np.float32))
    with open_source(f"{tmp_path}/a[1].npy") as source:
        assert source.shape == (2, 3)


def test_what_cannot_be_opened(tmp_path):
    def message(spec):
        return fails("loss", spec, tmp_path / "y.npy", "--loss", "softmax")

    np.save(tmp_path / "y.npy", np.zeros(3, int))
    assert message(tmp_path / "none*.npy") == f"no file matches {tmp_path}/none*.npy"
    np.save(tmp_path / "a0.npy", np.zeros((2, 3), np.float32))
    np.save(tmp_path / "a1.npy", np.zeros((2, 4), np.float32))
    assert "a1.npy (float32, 2 x 4) does not fit " in message(tmp_path / "a*.npy")
    np.save(tmp_path / "a1.npy", np.zeros((2, 3)))
    assert "a1.npy (float64, 2 x 3) does not fit " in message(tmp_path / "a*.npy")
    assert "there is no such folder" in message(tmp_path / "none.zarr")
    (tmp_path / "empty").mkdir()
    assert "is not a file" in message(tmp_path / "empty")


def test_stacks_whose_info_is_wrong(tmp_path):
    folder, _ = make_stacks(tmp_path)
    options = tmp_path / "y", "--loss", "sigmoid", "--axis", 1
    (folder / "3.npy").unlink()
    assert "z/3.npy" in fails("loss", folder, *options)
    np.save(folder / "3.npy", LOGITS[:2])
    assert "is not as long as info says: 5" in fails("loss", folder, *options)
    # A pickle that would run a function is refused, not run.
    (folder / "info").write_bytes(pickle.dumps({"axis": Bomb()}))
    assert "info is not what to_npy_stack writes" in fails("loss", folder, *options)


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("it has run",)


def test_errors_of_zarr(tmp_path):
    logits, labels = make_zarr(tmp_path)
    store = logits.partition(":")[0]
    options = "--loss", "sigmoid", "--axis", 1
    assert f"{store} holds labels, logits: name one" in fails("loss", store, labels, *options)
    assert "is no array of zarr" in fails("loss", f"{store}:other", labels, *options)
    chunk = tmp_path / "s.zarr" / "logits" / "c" / "4" / "0" / "1"
    chunk.write_bytes(chunk.read_bytes()[:-9])
    assert f"{logits} is damaged in chunk [4, 0, 1]: " in fails("loss", logits, labels, *options)


def test_a_source_closes_its_files(tmp_path):
    make_parts(tmp_path)
    with ExitStack() as stack:
        source = stack.enter_context(open_source(f"{tmp_path}/part*.npy"))
        source.read((slice(0, 1), slice(0, 5), slice(0, 8)))
        opened = source.opened[1].source.file
    assert opened.closed
