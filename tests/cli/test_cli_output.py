"""Result files are there as a whole or not at all, and a large file needs little memory."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from support.cli import COMMAND, fails, run

from fastxent.cli import output

ANCHORS, CLASSES = 5_000_000, 20  # 400 MB of float32 logits


def save_zeros(path, shape, dtype):
    """Make a valid .npy file of zeros that takes no room on the disk."""
    np.lib.format.open_memmap(path, "w+", dtype, shape).flush()


@pytest.fixture
def files(tmp_path):
    """A small pair of files."""
    np.save(tmp_path / "z.npy", np.zeros((4, 3), np.float32))
    np.save(tmp_path / "y.npy", np.zeros(4, int))
    return tmp_path / "z.npy", tmp_path / "y.npy"


@pytest.fixture
def large_files(tmp_path):
    """A pair that takes a while."""
    save_zeros(tmp_path / "z.npy", (ANCHORS, CLASSES), np.float32)
    save_zeros(tmp_path / "y.npy", (ANCHORS,), np.uint8)
    return tmp_path / "z.npy", tmp_path / "y.npy"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# --- --out and --force ---------------------------------------------------------------------------


def test_existing_results_are_kept(files, tmp_path):
    out = tmp_path / "out.npy"
    out.write_text("precious")
    message = fails("loss", *files, "--loss", "softmax", "--out", out)
    assert message == f"--out {out} exists; --force replaces it"
    assert out.read_text() == "precious"


def test_force_replaces(files, tmp_path):
    out = tmp_path / "out.npy"
    out.write_text("not needed")
    assert run("loss", *files, "--loss", "softmax", "--out", out, "--force").exit_code == 0
    np.testing.assert_allclose(np.load(out), np.log(3), rtol=1e-6)
    assert names(tmp_path) == ["out.npy", "y.npy", "z.npy"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.txt", "must end in .npy"),
        ("out.npz", "must end in .npy"),
        ("missing/out.npy", "there is no folder"),
        ("folder.npy", "is not a file"),
        ("z.npy", "is one of the inputs"),
        ("link.npy", "is one of the inputs"),
    ],
)
def test_names_that_are_refused(files, name, message, tmp_path):
    (tmp_path / "folder.npy").mkdir()
    (tmp_path / "link.npy").symlink_to(files[1])
    options = "--out", tmp_path / name, "--force"
    assert message in fails("loss", *files, "--loss", "softmax", *options)
    assert np.load(files[0]).shape == (4, 3)


def test_results_are_readable_by_others(files, tmp_path):
    run("loss", *files, "--loss", "softmax", "--out", tmp_path / "out.npy")
    assert (tmp_path / "out.npy").stat().st_mode == files[0].stat().st_mode


# --- interruption --------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError(28, "No space left")])
@pytest.mark.parametrize("existing", [False, True])
def test_exceptions_leave_nothing(error, existing, files, tmp_path, monkeypatch):
    out = tmp_path / "out.npy"
    if existing:
        out.write_text("precious")
    before = names(tmp_path)

    def fail(*_):
        assert len(names(tmp_path)) == len(before) + 1
        raise error

    monkeypatch.setattr(output.ArrayWriter, "write", fail)
    result = run("loss", *files, "--loss", "softmax", "--out", out, "--force")
    assert result.exit_code != 0
    assert names(tmp_path) == before
    assert not existing or out.read_text() == "precious"


def start_and_wait_for_output(large_files, out):
    """Start the command in another process, and wait until it has begun to write."""
    command = [*COMMAND, "loss", *large_files, "--loss", "softmax", "--out", out, "--force"]
    process = subprocess.Popen(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size > 10_000 for path in out.parent.glob(".fastxent-*.partial")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    return process


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signals_leave_nothing(name, large_files, tmp_path):
    out = tmp_path / "out.npy"
    out.write_text("precious")
    number = getattr(signal, name)
    # A shell's background job has SIGINT ignored, and so would the command.
    inherited = signal.signal(number, signal.default_int_handler)
    process = start_and_wait_for_output(large_files, out)
    signal.signal(number, inherited)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Traceback" not in errors
    assert names(tmp_path) == ["out.npy", "y.npy", "z.npy"]
    assert out.read_text() == "precious"


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ignored_signals_stay_ignored():
    handlers = signal.getsignal(signal.SIGTERM), signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with output.cleanup_on_signals():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) != handlers[0]
        assert signal.getsignal(signal.SIGTERM) == handlers[0]
    finally:
        signal.signal(signal.SIGHUP, handlers[1])


# --- memory --------------------------------------------------------------------------------------

MEASURE = """
import json, resource, sys
from fastxent.cli.app import app

def peak_kilobytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

small, large = json.loads(sys.argv[1])
app(small, standalone_mode=False)
before = peak_kilobytes()
app(large, standalone_mode=False)
print(peak_kilobytes() - before, file=sys.stderr)
"""


def grown_megabytes(files, large_files, *options):
    """How much more memory the large files take than the small ones, in a fresh process."""
    commands = [["loss", *map(str, pair), *map(str, options)] for pair in (files, large_files)]
    command = [sys.executable, "-c", MEASURE, json.dumps(commands)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "anchors" in result.stdout
    return int(result.stderr) / 1024


@pytest.mark.exhaustive
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
@pytest.mark.parametrize("axis", [0, 1])
def test_memory_of_a_large_file(axis, tmp_path):
    pairs = []
    for name, anchors in (("small", 100), ("large", ANCHORS)):
        pairs.append((tmp_path / f"{name}-z.npy", tmp_path / f"{name}-y.npy"))
        shape = (CLASSES, anchors) if axis == 0 else (anchors, CLASSES)
        save_zeros(pairs[-1][0], shape, np.float32)
        save_zeros(pairs[-1][1], (anchors,), np.uint8)
    options = "--loss", "sigmoid", "--axis", axis, "--out", tmp_path / "out.npy", "--force"
    assert grown_megabytes(*pairs, *options) < 48
    assert np.load(tmp_path / "out.npy", mmap_mode="r").shape == (ANCHORS,)


@pytest.mark.exhaustive
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
def test_memory_of_a_large_compressed_file(tmp_path):
    pairs = []
    for name, anchors in (("small", 100), ("large", ANCHORS // 2)):
        path = tmp_path / f"{name}.npz"
        labels = np.zeros(anchors, np.uint8)
        np.savez_compressed(path, z=np.zeros((anchors, CLASSES), np.float32), y=labels)
        pairs.append((f"{path}:z", f"{path}:y"))
    assert grown_megabytes(*pairs, "--loss", "sigmoid") < 48


# --- progress ------------------------------------------------------------------------------------


def test_no_progress_bar_away_from_a_terminal(files):
    command = [str(word) for word in (*COMMAND, "loss", *files, "--loss", "softmax")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stderr == ""


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals of POSIX")
def test_progress_bar_on_a_terminal(files):
    leader, follower = os.openpty()
    command = [str(word) for word in (*COMMAND, "loss", *files, "--loss", "softmax")]
    environment = {**os.environ, "TERM": "xterm"}
    subprocess.run(command, stdout=subprocess.PIPE, stderr=follower, env=environment, check=True)
    os.set_blocking(leader, False)
    assert b"anchors" in os.read(leader, 10_000)
    os.close(follower)
    os.close(leader)
