"""Standard output and standard error: any character, any terminal, full, closed or broken."""

import errno
import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from support.cli import COMMAND, run

from fastxent.cli.streams import StandardError, StandardOutput
from fastxent.cli.text import list_some, printable, shorten

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
POSIX = pytest.mark.skipif(os.name != "posix", reason="descriptors of POSIX")
TINY = ("--anchors", "40", "--classes", "5", "--rounds", "1", "--functions", "sigmoid")
CYRILLIC = "\u043b\u043e\u0433\u0438\u0442\u044b.npy"
#: Name in the file system, and on the terminal.
ODD_NAMES = {
    "markup": ("[bold]x.npy", "[bold]x.npy"),
    "end of markup": ("[/].npy", "[/].npy"),  # a file in a folder
    "emoji": (":smile:.npy", ":smile:.npy"),
    "two spaces": ("a  b.npy", "a  b.npy"),
    "line": ("a\nb.npy", r"a\nb.npy"),
    "red": ("\x1b[31mred.npy", r"\x1b[31mred.npy"),
    "title of the window": ("\x1b]0;x\x07.npy", r"\x1b]0;x\x07.npy"),
    "C1": ("\x9b31mred.npy", r"\x9b31mred.npy"),
    "right to left": ("a\u202eypn.npy", r"a\u202eypn.npy"),
    "separator": ("a\u2028b.npy", r"a\u2028b.npy"),
    "bytes": (os.fsdecode(b"a\xff.npy"), r"a\udcff.npy"),
    "accents": ("\u00e9\u0142.npy", "\u00e9\u0142.npy"),
}


@pytest.fixture
def folder(tmp_path):
    """A folder with logits, labels, and logits of a Cyrillic name."""
    np.save(tmp_path / "z.npy", np.zeros((4, 3), np.float32))
    np.save(tmp_path / CYRILLIC, np.zeros((4, 3), np.float32))
    np.save(tmp_path / "y.npy", np.zeros(4, int))
    return tmp_path


def start(folder, *words, redirected="", **options):
    """Run the command in a process of its own, with what a shell redirects."""
    shell = ["sh", "-c", f'exec "$@" {redirected}', "sh"] if redirected else []
    command = [*shell, *COMMAND, *words]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False, **options)


# --- characters ----------------------------------------------------------------------------------

ENCODINGS = {
    "cp1252": ({"PYTHONIOENCODING": "cp1252"}, "cp1252"),
    "cp1252:strict": ({"PYTHONIOENCODING": "cp1252:strict"}, "cp1252"),
    "ascii": ({"PYTHONIOENCODING": "ascii"}, "ascii"),
    "cp1251": ({"PYTHONIOENCODING": "cp1251"}, "cp1251"),
    "C": ({"LC_ALL": "C"}, "utf-8"),  # Python takes C for UTF-8
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("case", ENCODINGS)
@pytest.mark.parametrize("option", [(), ("--out", "\u0440.npy")])
def test_names_that_a_stream_cannot_show(case, option, folder):
    variables, encoding = ENCODINGS[case]
    environment = {**os.environ, **variables}
    words = "loss", CYRILLIC, "y.npy", "--loss", "softmax", *option
    result = start(folder, *words, env=environment)
    assert result.stderr == b""
    assert result.returncode == 0
    shown = CYRILLIC.encode(encoding, "backslashreplace")
    assert b"logits   " + shown + b" (float32, 4 x 3)" in result.stdout
    assert not option or np.load(folder / option[1]).shape == (4,)
    missing = start(folder, "loss", f"no {CYRILLIC}", "y.npy", "--loss", "softmax", env=environment)
    assert missing.returncode == 2
    assert missing.stderr == b"fastxent: no " + shown + b": No such file or directory\n"


@LINUX
def test_names_that_are_bytes_to_python(folder):
    """Without UTF-8, Python knows Cyrillic names by their bytes, as surrogates."""
    variables = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    words = "loss", CYRILLIC, "y.npy", "--loss", "softmax", "--out", "\u0440.npy"
    result = start(folder, *words, env={**os.environ, **variables})
    assert (result.returncode, result.stderr) == (0, b"")
    shown = "".join(rf"\udc{byte:02x}" if byte > 127 else chr(byte) for byte in CYRILLIC.encode())
    assert f"logits   {shown} (float32, 4 x 3)".encode() in result.stdout
    assert np.load(folder / "\u0440.npy").shape == (4,)


@LINUX
@pytest.mark.parametrize("case", ODD_NAMES)
def test_odd_names_are_shown_as_they_are_or_escaped(case, folder):
    name, shown = ODD_NAMES[case]
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / "z.npy").rename(folder / name)
    result = run("loss", folder / name, folder / "y.npy", "--loss", "softmax")
    assert f"logits   {folder}/{shown} (float32, 4 x 3)\n" in result.output
    result = run("loss", folder / f"no{name}", folder / "y.npy", "--loss", "softmax")
    assert result.output == f"fastxent: {folder}/no{shown}: No such file or directory\n"


def test_odd_keys_are_escaped(folder):
    listed = rf"\x1b[31mred, [/bold], {CYRILLIC}"
    np.savez(folder / "a.npz", **dict.fromkeys(["\x1b[31mred", "[/bold]", CYRILLIC], np.zeros(4)))
    result = run("loss", folder / "z.npy", folder / "a.npz", "--loss", "softmax")
    assert f"holds {listed}: name one" in result.output
    result = run("loss", folder / "z.npy", f"{folder}/a.npz:\x1b[32m", "--loss", "softmax")
    assert r"has no array '\x1b[32m'; it holds " + listed in result.output
    np.savez(folder / "b.npz", **{"\x1b[31mred": np.zeros(4, int)})
    result = run("loss", folder / "z.npy", f"{folder}/b.npz:\x1b[31mred", "--loss", "softmax")
    assert rf"targets  {folder}/b.npz:\x1b[31mred (int64, 4), class labels" in result.output


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain [text] \u00e9 \u4e2d \U0001f600", "plain [text] \u00e9 \u4e2d \U0001f600"),
        ("\t\r\n\x00\x7f\x85\xa0", r"\t\r\n\x00\x7f\x85\xa0"),
        ("\udc80\ud83d\U000e0001", r"\udc80\ud83d\U000e0001"),
    ],
)
def test_printable(text, expected):
    assert printable(text) == expected
    assert printable(expected) == expected


def test_texts_that_are_too_long():
    assert shorten("a" * 200) == "a" * 200
    assert shorten("a" * 100 + "b" * 1000) == "a" * 97 + " ... " + "b" * 97
    assert list_some(["a", "b"]) == "a, b"
    assert list_some([]) == ""
    assert list_some(["a"] * 1234, most=2) == "a, a and 1,232 more"


# --- terminals of any width ----------------------------------------------------------------------


@pytest.mark.parametrize("columns", ["0", "1", "30", "", "many", "-5"])
def test_nothing_is_lost_on_narrow_terminals(columns, folder, monkeypatch):
    words = "loss", folder / "z.npy", folder / "y.npy", "--loss", "softmax"
    monkeypatch.delenv("COLUMNS", raising=False)
    expected = run(*words).output
    assert "Hardest anchors" in expected
    monkeypatch.setenv("COLUMNS", columns)
    assert run(*words).output == expected
    bench = run("bench", *TINY).output
    assert "reading alone" in bench
    assert "8 x 5 x 5" not in bench  # only functions with classes have that head
    assert run("info").output.startswith("fastxent ")
    assert "--ignore-index" in run("loss", "--help").output


@POSIX
@pytest.mark.parametrize("columns", ["0", "1", "80"])
def test_progress_bars_of_any_width(columns, folder):
    leader, follower = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": columns}
    command = [*COMMAND, "loss", CYRILLIC, "y.npy", "--loss", "softmax"]
    result = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=follower, env=environment, check=True
    )
    os.set_blocking(leader, False)
    drawn = os.read(leader, 10_000)
    os.close(follower)
    os.close(leader)
    assert b"mean " in result.stdout
    assert columns == "1" or b"anchors" in drawn


# --- streams that take nothing -------------------------------------------------------------------

COMMANDS = pytest.mark.parametrize(
    "words",
    [
        ("info",),
        ("--help",),
        ("--version",),
        ("loss", "--help"),
        ("loss", "z.npy", "y.npy", "--loss", "softmax"),
        ("bench", *TINY),
        ("bench", *TINY, "--json", "-"),
    ],
    ids=" ".join,
)


@POSIX
@COMMANDS
@pytest.mark.parametrize(
    ("redirected", "error"), [(">/dev/full", errno.ENOSPC), (">&-", errno.EBADF)]
)
def test_output_that_cannot_be_written(words, redirected, error, folder):
    if not Path("/dev/full").exists():
        pytest.skip("a device of Linux")
    result = start(folder, *words, redirected=redirected)
    assert result.stderr == f"fastxent: standard output: {os.strerror(error)}\n".encode()
    assert result.returncode == 2


@POSIX
@COMMANDS
def test_closed_pipes_are_no_error(words, folder):
    reading, writing = os.pipe()
    os.close(reading)
    command = [*COMMAND, *words]
    result = subprocess.run(
        command, cwd=folder, stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert result.stderr == b""
    assert result.returncode == 141  # what a shell says of the others


@POSIX
def test_files_are_written_before_the_output_fails(folder):
    words = "loss", "z.npy", "y.npy", "--loss", "softmax", "--out", "out.npy"
    assert start(folder, *words, redirected=">/dev/full").returncode == 2
    assert np.load(folder / "out.npy").shape == (4,)
    words = "bench", *TINY, "--json", "times.json"
    assert start(folder, *words, redirected=">/dev/full").returncode == 2
    assert (folder / "times.json").exists()


@pytest.mark.exhaustive
@POSIX
@pytest.mark.parametrize("redirected", ["2>/dev/full", "2>&-", "2>&- <&-"])
def test_a_lost_standard_error_changes_no_status(redirected, folder):
    assert start(folder, "nonsense", redirected=redirected).returncode == 2
    words = "loss", "z.npy", "y.npy", "--loss", "softmax", "--out"
    assert start(folder, *words, "z.npy", redirected=redirected).returncode == 2
    result = start(folder, *words, "out.npy", redirected=redirected)
    assert result.returncode == 0
    assert b"mean " in result.stdout
    assert np.load(folder / "out.npy").shape == (4,)


@POSIX
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_files_never_get_the_number_of_a_standard_stream(closed, folder):
    code = "import os, sys\nfrom fastxent.cli import streams\nstreams.prepare()\n"
    code += "sys.exit(os.open('z.npy', os.O_RDONLY))"
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", code]
    assert subprocess.run(command, cwd=folder, check=False).returncode > 2


def test_streams_of_others_are_left_alone():
    """A program that captures what the command prints goes on doing so."""
    code = """
import contextlib, io, sys
from fastxent.cli import main
sys.argv = ["fastxent", "--version"]
with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
    main()
print("captured", text.getvalue())
"""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.startswith("captured fastxent ")


@POSIX
@pytest.mark.parametrize("kind", [StandardOutput, StandardError])
def test_streams_that_do_not_block_are_waited_for(kind):
    """Another process can set a terminal not to block."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    received = []

    def read():
        while piece := os.read(reading, 4096):
            received.append(piece)

    reader = threading.Thread(target=read)
    with io.BufferedWriter(kind(writing, "w")) as stream:
        reader.start()
        stream.write(b"0123456789" * 100_000)
    reader.join()
    os.close(reading)
    assert b"".join(received) == b"0123456789" * 100_000
