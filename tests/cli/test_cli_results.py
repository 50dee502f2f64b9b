"""Names of result files: nothing is replaced unasked, and every name that can be is."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support.cli import COMMAND, fails, run

from fastxent.cli import output

POSIX = pytest.mark.skipif(os.name != "posix", reason="modes, links and signals of POSIX")


@pytest.fixture
def files(tmp_path):
    """A small pair of files."""
    np.save(tmp_path / "z.npy", np.zeros((4, 3), np.float32))
    np.save(tmp_path / "y.npy", np.zeros(4, int))
    return tmp_path / "z.npy", tmp_path / "y.npy"


@pytest.fixture
def large_files(tmp_path):
    """A pair that takes a while, and no room."""
    for name, dtype, shape in (("z", np.float32, (1_000_000, 20)), ("y", np.uint8, (1_000_000,))):
        np.lib.format.open_memmap(tmp_path / f"{name}.npy", "w+", dtype, shape).flush()
    return tmp_path / "z.npy", tmp_path / "y.npy"


def write_loss(path, files, *options):
    """Write a file by --out of the loss."""
    return "loss", *files, "--loss", "softmax", "--out", path, *options


def write_candidates(path, files, *options):
    """Write a file by --out of the selection."""
    return "select", files[0], "--batch-ndim", 0, "--out", path, *options


def write_json(path, _files, *_options):
    """Write a file by --json of the bench."""
    tiny = "--anchors", 40, "--classes", 5, "--rounds", 1, "--functions", "sigmoid"
    return "bench", *tiny, "--json", path


def write_plot(path, _files, *_options):
    """Write a file by --plot of the demo."""
    return "demo", "--plot", path


@pytest.fixture
def quick_demo(monkeypatch):
    """Let the demo draw two empty histograms, without any work."""
    workload = SimpleNamespace(labels=np.zeros(9), sample=SimpleNamespace(class_names=[]))
    result = SimpleNamespace(workload=workload, results={"a": 0, "b": 0}, correct=True)
    monkeypatch.setattr("fastxent.cli.plot._draw_histogram", lambda *_: None)
    monkeypatch.setattr("fastxent.cli.plot._draw_page", lambda *_: None)
    monkeypatch.setattr("fastxent.cli.app.make_workload", lambda *_: None)
    monkeypatch.setattr("fastxent.cli.app.run_demo", lambda *_: result)
    monkeypatch.setattr("fastxent.cli.show.print_demo", lambda _: print("the tables"))


WRITERS = pytest.mark.parametrize(
    ("command", "suffix"),
    [
        (write_loss, ".npy"),
        (write_candidates, ".csv"),
        (write_json, ".json"),
        (write_plot, ".png"),
    ],
    ids=["loss", "select", "bench", "demo"],
)


def is_result(path):
    """Whether it is the file that the command writes."""
    if path.suffix == ".npy":
        return np.load(path) == pytest.approx(np.log(3), rel=1e-6)
    if path.suffix == ".csv":
        return np.all(np.loadtxt(path, delimiter=",", skiprows=1)[:, -1] == 0.5)
    if path.suffix == ".json":
        return json.loads(path.read_text())["results"][0]["function"] == "sigmoid"
    return path.read_bytes().startswith(b"\x89PNG")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def before_publishing(monkeypatch, action):
    """Do something when the file is complete, and has not got its name yet."""

    def publish(temporary, destination, publish=output._publish):
        action()
        publish(temporary, destination)

    monkeypatch.setattr(output, "_publish", publish)


# --- what is there already -----------------------------------------------------------------------


@WRITERS
@pytest.mark.parametrize("links", [True, False])
@pytest.mark.usefixtures("quick_demo")
def test_files_that_appear_during_the_run_are_kept(
    command, suffix, links, files, tmp_path, monkeypatch
):
    path = tmp_path / f"result{suffix}"
    before_publishing(monkeypatch, lambda: path.write_text("of another run"))
    if not links:
        forbid_links(monkeypatch)
    result = run(*command(path, files))
    assert result.exit_code == 2
    assert result.output.endswith(f" {path} has appeared during the run, and is kept\n")
    assert path.read_text() == "of another run"
    assert names(tmp_path) == sorted([path.name, "y.npy", "z.npy"])
    # The work is not lost where it can be printed.
    if command not in {write_loss, write_candidates}:
        assert "the tables" in result.output or "reading alone" in result.output


@POSIX
@pytest.mark.parametrize("links", [True, False])
def test_links_that_appear_during_the_run_are_kept(links, files, tmp_path, monkeypatch):
    path = tmp_path / "result.npy"
    before_publishing(monkeypatch, lambda: path.symlink_to("nothing"))
    if not links:
        forbid_links(monkeypatch)
    fails(*write_loss(path, files))
    assert path.readlink().name == "nothing"
    assert not path.exists()


def forbid_links(monkeypatch):
    """Be a file system without hard links."""

    def fail(*names):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM), *map(str, names))

    monkeypatch.setattr(os, "link", fail)


@WRITERS
@pytest.mark.usefixtures("quick_demo")
def test_without_hard_links(command, suffix, files, tmp_path, monkeypatch):
    forbid_links(monkeypatch)
    path = tmp_path / f"result{suffix}"
    assert run(*command(path, files)).exit_code == 0
    assert is_result(path)
    assert names(tmp_path) == sorted([path.name, "y.npy", "z.npy"])


def test_the_name_is_given_back_where_the_last_step_fails(files, tmp_path, monkeypatch):
    def fail(temporary, target):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(temporary), None, str(target))

    forbid_links(monkeypatch)
    monkeypatch.setattr(Path, "replace", fail)
    path = tmp_path / "result.npy"
    assert fails(*write_loss(path, files)) == f"{path}: {os.strerror(errno.EIO)}"
    assert names(tmp_path) == ["y.npy", "z.npy"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("options", [(), ("--force",)])
def test_two_runs_at_once(options, large_files, tmp_path):
    path = tmp_path / "result.npy"
    command = [*COMMAND, *map(str, write_loss(path, large_files, *options))]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert sorted(p.returncode for p in processes) == ([0, 0] if options else [0, 2])
    assert len(np.load(path, mmap_mode="r")) == 1_000_000
    assert names(tmp_path) == ["result.npy", "y.npy", "z.npy"]
    assert options or str(path) in "".join(errors)


# --- killed runs ---------------------------------------------------------------------------------


@POSIX
def test_killed_runs_leave_nothing_that_looks_like_a_result(large_files, tmp_path):
    path = tmp_path / "result.npy"
    command = [*COMMAND, *map(str, write_loss(path, large_files))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while len(names(tmp_path)) < 3:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    process.kill()
    process.communicate()
    assert {found.name for found in tmp_path.glob("*.npy")} == {"y.npy", "z.npy"}
    (left,) = set(names(tmp_path)) - {"y.npy", "z.npy"}
    assert left.startswith(".fastxent-")
    assert left.endswith(".partial")


@WRITERS
@POSIX
@pytest.mark.usefixtures("quick_demo")
def test_terminated_runs_clean_up(command, suffix, files, tmp_path, monkeypatch):
    def terminate():
        assert len(names(tmp_path)) == 3
        os.kill(os.getpid(), signal.SIGTERM)

    def unlink(path, unlink=Path.unlink):
        for number in (signal.SIGTERM, signal.SIGINT):  # impatience does not end the cleaning
            os.kill(os.getpid(), number)
        unlink(path)

    before_publishing(monkeypatch, terminate)
    monkeypatch.setattr(Path, "unlink", unlink)
    result = run(*command(tmp_path / f"result{suffix}", files))
    assert result.exit_code == 128 + signal.SIGTERM
    assert names(tmp_path) == ["y.npy", "z.npy"]


# --- names ---------------------------------------------------------------------------------------


@WRITERS
@pytest.mark.usefixtures("quick_demo")
def test_the_longest_name(command, suffix, files, tmp_path):
    path = tmp_path / ("x" * (255 - len(suffix)) + suffix)
    try:
        path.touch()
    except OSError:
        pytest.skip("the file system has no names of 255 bytes")
    path.unlink()
    assert run(*command(path, files)).exit_code == 0
    assert is_result(path)
    message = fails(*command(path.with_name(f"x{path.name}"), files))
    assert os.strerror(errno.ENAMETOOLONG) in message


@WRITERS
@POSIX
@pytest.mark.usefixtures("quick_demo")
def test_links_are_followed(command, suffix, files, tmp_path):
    target, link = tmp_path / "folder" / f"target{suffix}", tmp_path / f"link{suffix}"
    target.parent.mkdir()
    link.symlink_to(target)
    if command in {write_loss, write_candidates}:  # a link is there, wherever it leads
        assert fails(*command(link, files)) == f"--out {link} exists; --force replaces it"
    for _ in ("a link that leads nowhere", "a link to a file"):
        assert run(*command(link, files, "--force")).exit_code == 0
        assert link.is_symlink()
        assert is_result(target)
        assert names(target.parent) == [target.name]
    target.parent.rename(tmp_path / "elsewhere")
    assert fails(*command(link, files, "--force")).endswith(
        f"{link}: there is no folder {target.parent}"
    )
    link.unlink()
    link.symlink_to(link)
    assert fails(*command(link, files, "--force")) == f"{link}: {os.strerror(errno.ELOOP)}"


@WRITERS
@POSIX
@pytest.mark.parametrize("mode", [0o600, 0o444, 0o664])
@pytest.mark.usefixtures("quick_demo")
def test_replacing_keeps_mode_and_owner(command, suffix, mode, files, tmp_path, monkeypatch):
    path = tmp_path / f"result{suffix}"
    path.touch()
    path.chmod(mode)
    if os.geteuid() == 0:
        os.chown(path, 1234, 1235)
    before = path.stat()
    seen = []

    def look():
        (temporary,) = tmp_path.glob(".fastxent-*.partial")
        seen.append(temporary.stat().st_mode)

    before_publishing(monkeypatch, look)
    assert run(*command(path, files, "--force")).exit_code == 0
    after = path.stat()
    assert is_result(path)
    assert after.st_ino != before.st_ino
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )
    assert seen == [before.st_mode]  # others never see more than they should


@WRITERS
@POSIX
@pytest.mark.usefixtures("quick_demo")
def test_new_files_have_the_usual_mode(command, suffix, files, tmp_path):
    path = tmp_path / f"result{suffix}"
    previous = os.umask(0o027)
    try:
        assert run(*command(path, files)).exit_code == 0
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


# --- what is no file, and no folder --------------------------------------------------------------


@POSIX
@pytest.mark.parametrize("command", [write_json, write_plot])
@pytest.mark.usefixtures("quick_demo")
def test_pipes_are_written_to_and_stay(command, files, tmp_path):
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    received = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()), daemon=True)
    reader.start()
    assert run(*command(pipe, files)).exit_code == 0
    assert pipe.is_fifo()
    reader.join()
    assert received[0].startswith(b"{" if command is write_json else b"\x89PNG")
    assert fails(*write_loss(pipe.rename(tmp_path / "pipe.npy"), files, "--force")).endswith(
        "pipe.npy is not a file"
    )


@POSIX
def test_names_of_descriptors_are_written_to(tmp_path):
    """Such as /dev/stderr, which a mistake here would replace."""
    link = tmp_path / "stderr"
    link.symlink_to("/dev/fd/2")
    command = [*COMMAND, *map(str, write_json(link, None))]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(result.stderr)["results"]
    assert "reading alone" in result.stdout
    assert link.is_symlink()


@WRITERS
@pytest.mark.usefixtures("quick_demo")
def test_folders_in_which_nothing_can_be_made(command, suffix, files, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may do everything
    monkeypatch.setattr("fastxent.cli.app.run_demo", lambda *_: pytest.fail("the work has begun"))
    path = tmp_path / f"result{suffix}"
    assert fails(*command(path, files)).endswith(f"{path}: no file can be made in {tmp_path}")


@WRITERS
@POSIX
@pytest.mark.usefixtures("quick_demo")
def test_folders_that_vanish(command, suffix, files, tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    folder.mkdir()
    before_publishing(monkeypatch, lambda: folder.rename(tmp_path / "elsewhere"))
    path = folder / f"result{suffix}"
    result = run(*command(path, files))
    assert result.exit_code == 2
    assert result.output.endswith(f"fastxent: {path}: {os.strerror(errno.ENOENT)}\n")


# --- a full disk ---------------------------------------------------------------------------------

LIMITED = """
import resource, sys
import fastxent  # LLVM's OpenMP runtime begins with a file, too
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
from fastxent.cli import main
main()
"""


@POSIX
@pytest.mark.parametrize("command", [write_loss, write_json])
def test_a_full_disk_is_reported_with_the_name(command, files, tmp_path):
    """The limit of a file's size stands in for the end of a disk."""
    path = tmp_path / "result.npy"
    words = [sys.executable, "-c", LIMITED, *map(str, command(path, files))]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == f"fastxent: {path}: {os.strerror(errno.EFBIG)}\n"
    assert names(tmp_path) == ["y.npy", "z.npy"]


@WRITERS
@pytest.mark.usefixtures("quick_demo")
def test_an_error_at_the_end_is_reported_with_the_name(
    command, suffix, files, tmp_path, monkeypatch
):
    def fail(_):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "fsync", fail)
    path = tmp_path / f"result{suffix}"
    result = run(*command(path, files))
    assert result.exit_code == 2
    assert result.output.endswith(f"fastxent: {path}: {os.strerror(errno.EDQUOT)}\n")
    assert names(tmp_path) == ["y.npy", "z.npy"]
