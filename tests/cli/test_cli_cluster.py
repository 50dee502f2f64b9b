"""Jobs on a cluster of dask.distributed, of whose processes some are killed."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
from support.cli import COMMAND, fails, printed, run

import fastxent as fx
from fastxent.cli import cluster, jobs

distributed = pytest.importorskip("distributed")
da = pytest.importorskip("dask.array")
psutil = pytest.importorskip("psutil")
import fastxent.dask as fxd  # noqa: E402

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.skipif(sys.platform != "linux", reason="signals, and processes of Linux"),
]

SHAPE = (40, 6, 50)
LOGITS = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
LABELS = np.random.default_rng(1).integers(0, 7, (40, 50))


class Cluster:
    """A scheduler, and a process that keeps two workers alive, each with little memory."""

    def __init__(self, folder):
        file = folder / "scheduler.json"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        start = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0"]
        start += ["--host", "127.0.0.1", "--dashboard-address", ":0", "--scheduler-file", str(file)]
        self.scheduler = subprocess.Popen(start, **quiet)
        start = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(file)]
        start += ["--nworkers", "2", "--nthreads", "1", "--no-dashboard", "--death-timeout", "60"]
        start += ["--memory-limit", "400MiB", "--local-directory", str(folder)]
        self.nannies = subprocess.Popen(start, **quiet)
        self.address = self._wait_for_workers(file)

    @staticmethod
    def _wait_for_workers(file):
        deadline = time.monotonic() + 60
        while not file.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        with distributed.Client(address, timeout=30) as client:
            client.wait_for_workers(2, timeout=60)
        return address

    def kill_worker(self):
        """Kill a worker, which its nanny replaces."""
        children = psutil.Process(self.nannies.pid).children()
        next(child for child in children if "spawn_main" in " ".join(child.cmdline())).kill()

    def close(self):
        for process in (self.nannies, self.scheduler):
            process.terminate()
            process.wait(timeout=30)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A cluster for all tests; the last one kills its scheduler."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.close()


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Logits and labels, and chunks of two images."""
    monkeypatch.setattr(jobs, "CHUNK_BYTES", 2 * LOGITS[0].nbytes)
    np.save(tmp_path / "z.npy", LOGITS)
    np.save(tmp_path / "y.npy", LABELS)
    return tmp_path / "z.npy", tmp_path / "y.npy", "--loss", "sigmoid", "--axis", 1


def after_chunks(count, action, monkeypatch):
    """Do something when the results of so many chunks have been kept."""
    save, done = jobs.Store.save, []

    def keep(store, number, arrays):
        save(store, number, arrays)
        done.append(number)
        if len(done) == count:
            action()

    monkeypatch.setattr(jobs.Store, "save", keep)
    return done


def test_a_worker_that_is_killed(running, files, tmp_path, monkeypatch):
    out, file = tmp_path / "out.npy", tmp_path / "out.json"
    done = after_chunks(3, running.kill_worker, monkeypatch)
    options = "--out", out, "--json", file, "--scheduler", running.address
    result = run("loss", *files, *options)
    assert result.exit_code == 0, result.output
    assert sorted(done) == list(range(20))
    np.testing.assert_array_equal(np.load(out), fx.sigmoid_cross_entropy(LOGITS, LABELS, axis=1))
    alone = json.loads(run("loss", *files, "--json", "-").output)
    found = json.loads(file.read_text())
    assert abs(found["sum"] - alone["sum"]) <= np.spacing(alone["sum"])
    assert found["hardest"] == alone["hardest"]
    assert found["histogram"] == alone["histogram"]
    assert not (tmp_path / "out.npy.parts").exists()


def test_candidates(running, files, tmp_path):
    out = tmp_path / "out.csv"
    options = "--axis", 1, "--top-k", 7, "--out", out
    assert run("select", files[0], *options, "--scheduler", running.address).exit_code == 0
    found = out.read_text()
    run("select", files[0], *options, "--force")
    assert out.read_text() == found


def test_a_truncated_chunk_is_named(running, files, tmp_path):
    zarr = pytest.importorskip("zarr", minversion="3")
    array = zarr.create_array(str(tmp_path / "z.zarr"), data=LOGITS, chunks=(4, 6, 50))
    chunk = tmp_path / "z.zarr" / "c" / "7" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:100])
    store = tmp_path / "z.zarr"
    message = fails("loss", store, *files[1:], "--scheduler", running.address)
    assert array.shape == SHAPE
    assert message.startswith(f"{store} is damaged in chunk [7, 0, 0]: ")


def test_arrays_of_dask(running):
    logits = da.from_array(LOGITS, chunks=(7, 6, 20))
    options = {"axis": 1, "reduction": "mean", "return_grad": True, "normalizer": "positive"}
    lazy = fxd.sigmoid_focal_loss(logits, LABELS, **options)
    expected = da.compute(*lazy, scheduler="synchronous")
    labels = LABELS % 6
    labels[33, 44] = 99
    with distributed.Client(running.address):
        found = da.compute(*lazy)
        with pytest.raises(ValueError, match=r"targets\[33, 44\] = 99 is not a class label"):
            fxd.softmax_cross_entropy(logits, labels, axis=1).compute()
        selected = fxd.select_candidates(logits, axis=1).compute()
    assert found[0] == expected[0]
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_array_equal(selected.score, fx.select_candidates(LOGITS, axis=1).score)


def test_more_data_than_memory(running, tmp_path):
    shape = (1_500_000, 80)  # 480 MB, with workers of 420
    np.lib.format.open_memmap(tmp_path / "z.npy", "w+", np.float32, shape).flush()
    np.lib.format.open_memmap(tmp_path / "y.npy", "w+", np.uint8, shape[:1]).flush()
    files = tmp_path / "z.npy", tmp_path / "y.npy"
    output = run("loss", *files, "--loss", "sigmoid", "--scheduler", running.address).output
    assert printed(output, "mean") == pytest.approx(80 * np.log(2))


def test_a_scheduler_that_goes_away(running, files, tmp_path, monkeypatch):
    out = tmp_path / "out.npy"
    after_chunks(3, running.scheduler.kill, monkeypatch)
    options = "--out", out, "--scheduler", running.address
    result = run("loss", *files, *options)
    assert result.exit_code == 2
    note, line = result.output.splitlines()
    assert "finished chunks are kept in" in note
    assert line == f"fastxent: the scheduler at {running.address} has gone away"
    assert not out.exists()
    assert run("loss", *files, "--out", out, "--resume").exit_code == 0
    np.testing.assert_array_equal(np.load(out), fx.sigmoid_cross_entropy(LOGITS, LABELS, axis=1))


def test_workers_of_this_machine(files, tmp_path):
    out = tmp_path / "out.npy"
    command = [str(word) for word in (*COMMAND, "loss", *files, "--workers", 1, "--out", out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    np.testing.assert_array_equal(np.load(out), fx.sigmoid_cross_entropy(LOGITS, LABELS, axis=1))


def test_options_of_clusters(files, monkeypatch):
    monkeypatch.setattr(cluster, "PATIENCE", 0.2)
    message = fails("loss", *files, "--scheduler", "tcp://127.0.0.1:9")
    assert message.startswith("--scheduler tcp://127.0.0.1:9 cannot be reached: ")
    assert "exclude each other" in fails("loss", *files, "--scheduler", "x", "--workers", 1)
    monkeypatch.setitem(sys.modules, "distributed", None)
    message = fails("loss", *files, "--workers", 1)
    assert message == '--workers needs distributed: pip install "fastxent[distributed]"'
