"""``fastxent select``: the candidates of stored heads, in every kind of file."""

import errno
import json
import os
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from scipy.special import expit, softmax
from support.cli import COMMAND, fails, run

from fastxent.cli import output
from fastxent.cli.regions import BLOCK_BYTES

FIELDS = ["image", "anchor", "level", "index", "label", "score"]
COLUMN = np.dtype([(name, np.float64 if name == "score" else np.intp) for name in FIELDS])


def make_logits(shape=(3, 40, 6), dtype=np.float32, seed=0):
    return np.random.default_rng(seed).normal(-2, 2, shape).astype(dtype)


def expected_rows(levels, threshold=0.05, top_k=1000, activation=expit):
    """The candidates of levels (B, anchors, C) by sorting all pairs, image by image."""
    logits = np.concatenate(levels, axis=1)
    scores = activation(logits.astype(np.float64))
    starts = np.cumsum([0, *(level.shape[1] for level in levels)])
    rows = []
    for image in range(len(logits)):
        anchors, labels = np.nonzero(scores[image] > np.float32(threshold))
        found = scores[image][anchors, labels]
        for i in np.argsort(-found, kind="stable")[:top_k]:
            level = int(np.searchsorted(starts, anchors[i], side="right")) - 1
            index = anchors[i] - starts[level]
            rows.append((image, anchors[i], level, index, labels[i], found[i]))
    return np.array(rows, COLUMN)


def read_result(path):
    """The rows of a result file, of any kind; scores to the digits of float32 or better."""
    if path.suffix == ".csv":
        lines = path.read_text().splitlines()
        assert lines[0].split(",") == FIELDS
        return np.array([tuple(map(float, line.split(","))) for line in lines[1:]], COLUMN)
    if path.suffix == ".json":
        images = json.loads(path.read_text())["images"]
        assert [image["image"] for image in images] == list(range(len(images)))
        rows = [
            (image["image"], *(candidate[name] for name in FIELDS[1:]))
            for image in images
            for candidate in image["candidates"]
        ]
        return np.array(rows, COLUMN)
    with np.load(path) as arrays:
        rows = np.empty(len(arrays["anchor"]), COLUMN)
        for name in FIELDS:
            assert arrays[name].dtype == (np.float32 if name == "score" else np.intp)
            rows[name] = arrays[name]
        assert arrays["offsets"].tolist() == [
            np.searchsorted(arrays["image"], i) for i in range(len(arrays["offsets"]))
        ]
        return rows


def agree(found, expected):
    assert len(found) == len(expected)
    for name in FIELDS[:-1]:
        assert found[name].tolist() == expected[name].tolist(), name
    np.testing.assert_allclose(found["score"], expected["score"], 1e-6)


def select(path, *words):
    """Run the command, which must succeed; return its rows."""
    result = run("select", *words, "--out", path)
    assert result.exit_code == 0, result.output
    return read_result(path)


def printed(output, name):
    (line,) = (line for line in output.splitlines() if line.startswith(f"{name} "))
    return int(line.split()[-1].replace(",", ""))


@pytest.fixture
def logits(tmp_path):
    path = tmp_path / "z.npy"
    np.save(path, make_logits())
    return path


KINDS = pytest.mark.parametrize("suffix", [".csv", ".json", ".npz"])

# --- results -------------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize("name", ["z.npy", "z.npz", "compressed.npz"])
def test_every_kind_of_file(name, suffix, tmp_path):
    levels = [make_logits(), make_logits((3, 7, 6), seed=1)]
    if name == "z.npy":
        specs = [tmp_path / f"{i}.npy" for i in range(2)]
        for spec, level in zip(specs, levels, strict=True):
            np.save(spec, level)
    else:
        writer = np.savez_compressed if "compressed" in name else np.savez
        writer(tmp_path / name, p3=levels[0], p4=levels[1])
        specs = [f"{tmp_path / name}:{key}" for key in ("p3", "p4")]
    agree(select(tmp_path / f"out{suffix}", *specs), expected_rows(levels))


@KINDS
def test_scores_keep_all_their_digits(suffix, logits, tmp_path):
    rows = select(tmp_path / f"out{suffix}", logits, "--top-k", "none")
    with np.load(run_to_npz(logits, tmp_path)) as arrays:
        assert rows["score"].astype(np.float32).tolist() == arrays["score"].tolist()


def run_to_npz(logits, tmp_path):
    path = tmp_path / "exact.npz"
    assert run("select", logits, "--top-k", "none", "--out", path).exit_code == 0
    return path


@KINDS
def test_nothing_found(suffix, logits, tmp_path):
    assert len(select(tmp_path / f"out{suffix}", logits, "--score-threshold", 1)) == 0


@KINDS
@pytest.mark.parametrize("shape", [(0, 4, 3), (2, 0, 3)])
def test_nothing_there(suffix, shape, tmp_path):
    np.save(tmp_path / "z.npy", np.zeros(shape, np.float32))
    path = tmp_path / f"out{suffix}"
    assert len(select(path, tmp_path / "z.npy")) == 0
    if suffix == ".json":
        assert len(json.loads(path.read_text())["images"]) == shape[0]


def test_without_a_file_it_is_csv_to_standard_output(logits, tmp_path):
    command = [*COMMAND, "select", str(logits)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    (tmp_path / "out.csv").write_text(result.stdout)
    agree(read_result(tmp_path / "out.csv"), expected_rows([make_logits()]))
    assert printed(result.stderr, "images") == 3


@KINDS
def test_counts_are_on_standard_error(suffix, tmp_path):
    logits = make_logits()
    logits[1, 5, :4] = np.nan
    np.save(tmp_path / "z.npy", logits)
    path = tmp_path / f"out{suffix}"
    command = [*COMMAND, "select", str(tmp_path / "z.npy"), "--top-k", "20", "--out", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == ""
    above = (expit(logits.astype(float)) > np.float32(0.05)).sum((1, 2))
    assert printed(result.stderr, "found") == above.sum()
    assert printed(result.stderr, "nan") == 4
    assert printed(result.stderr, "candidates") == 60
    assert f"image 1: {above[1]:,} found, 20 returned, 4 NaN" in result.stderr.splitlines()
    if suffix == ".json":
        images = json.loads(path.read_text())["images"]
        assert [image["found"] for image in images] == above.tolist()
        assert [image["nan"] for image in images] == [0, 4, 0]
    elif suffix == ".npz":
        with np.load(path) as arrays:
            assert arrays["found"].tolist() == above.tolist()
            assert arrays["nan"].tolist() == [0, 4, 0]


def test_only_some_images_have_a_line(tmp_path):
    np.save(tmp_path / "z.npy", np.zeros((50, 4, 3), np.float32))
    result = run("select", tmp_path / "z.npy", "--top-k", 2, "--out", tmp_path / "out.csv")
    lines = result.output.splitlines()
    assert sum(line.startswith("image ") for line in lines) == 10
    assert lines[-1] == "and 40 images more with some left out, or with NaN"


# --- options -------------------------------------------------------------------------------------


def test_thresholds_of_classes(logits, tmp_path):
    thresholds = [0.05, 0.2, 1, 0.5, 0.1, 0.9]
    words = "--score-threshold", ",".join(map(str, thresholds))
    found = select(tmp_path / "out.npz", logits, *words)
    expected = expected_rows([make_logits()], 0, 10**9)
    agree(found, expected[expected["score"] > np.float32(thresholds)[expected["label"]]])


def test_no_threshold_and_no_limit(logits, tmp_path):
    words = "--score-threshold", "none", "--top-k", "none"
    agree(select(tmp_path / "out.csv", logits, *words), expected_rows([make_logits()], 0, 10**9))


@pytest.mark.parametrize("words", [("--classes", "4,1"), ("--classes", 4, "--classes", 1)])
def test_classes(words, logits, tmp_path):
    expected = expected_rows([make_logits()])
    agree(
        select(tmp_path / "out.csv", logits, *words), expected[np.isin(expected["label"], [1, 4])]
    )


def test_softmax_with_background(logits, tmp_path):
    words = "--activation", "softmax", "--background-index", -1
    expected = expected_rows([make_logits()], activation=lambda z: softmax(z, axis=-1))
    agree(select(tmp_path / "out.csv", logits, *words), expected[expected["label"] != 5])


def test_best_class_of_an_anchor(logits, tmp_path):
    found = select(tmp_path / "out.csv", logits, "--no-multi-label")
    expected = expected_rows([make_logits()])
    best = make_logits().argmax(-1)[expected["image"], expected["anchor"]]
    agree(found, expected[expected["label"] == best])


@pytest.mark.parametrize("per", ["level", "class"])
def test_limit_per_level_and_class(per, tmp_path):
    levels = [make_logits(), make_logits((3, 9, 6), seed=1)]
    for i, level in enumerate(levels):
        np.save(tmp_path / f"{i}.npy", level)
    specs = [tmp_path / f"{i}.npy" for i in range(2)]
    found = select(tmp_path / "out.csv", *specs, "--top-k", 3, "--top-k-per", per)
    expected = expected_rows(levels)
    group = expected["image"] * 10 + expected["level" if per == "level" else "label"]
    rank = np.array([(group[:i] == g).sum() for i, g in enumerate(group)])
    agree(found, expected[rank < 3])


@pytest.mark.parametrize("combine", ["product", "sqrt"])
def test_objectness(combine, logits, tmp_path):
    objectness = make_logits((3, 40), seed=3) + 2
    np.save(tmp_path / "o.npy", objectness)
    words = "--objectness", tmp_path / "o.npy", "--combine", combine
    root = np.sqrt if combine == "sqrt" else np.asarray
    expected = expected_rows(
        [make_logits()], activation=lambda z: root(expit(z) * expit(objectness)[..., None])
    )
    agree(select(tmp_path / "out.json", logits, *words), expected)


@pytest.mark.parametrize("order", ["C", "F"])
def test_class_axis_and_stored_order(order, tmp_path):
    logits = make_logits((4, 6, 5, 8))
    np.save(tmp_path / "z.npy", np.asarray(logits, order=order))
    found = select(tmp_path / "out.csv", tmp_path / "z.npy", "--axis", 1)
    agree(found, expected_rows([np.moveaxis(logits, 1, -1).reshape(4, 40, 6)]))


def test_single_class(tmp_path):
    logits = make_logits((2, 30, 5))
    np.save(tmp_path / "z.npy", logits)
    found = select(tmp_path / "out.csv", tmp_path / "z.npy", "--axis", "none")
    agree(found, expected_rows([logits.reshape(2, 150, 1)]))


@pytest.mark.parametrize("batch_ndim", [0, 2])
def test_axes_of_images(batch_ndim, tmp_path):
    logits = make_logits((2, 3, 40, 6))
    np.save(tmp_path / "z.npy", logits)
    found = select(tmp_path / "out.csv", tmp_path / "z.npy", "--batch-ndim", batch_ndim)
    agree(found, expected_rows([logits.reshape(6 if batch_ndim else 1, -1, 6)]))


@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8"])
def test_dtypes(dtype, tmp_path):
    logits = make_logits(dtype=dtype)
    np.save(tmp_path / "z.npy", logits)
    agree(select(tmp_path / "out.csv", tmp_path / "z.npy"), expected_rows([logits]))


def test_bfloat16(tmp_path):
    logits = make_logits(dtype=ml_dtypes.bfloat16)
    np.save(tmp_path / "z.npy", logits)
    found = select(tmp_path / "out.csv", tmp_path / "z.npy", "--dtype", "bfloat16")
    # Of equal scores, those of the lower anchor and class come first; both sorts are stable.
    agree(found, expected_rows([logits]))
    np.save(tmp_path / "f.npy", make_logits())
    message = fails("select", tmp_path / "f.npy", "--dtype", "bfloat16")
    assert message.startswith("--dtype bfloat16 is for arrays of dtype |V2: ")


def test_images_that_are_read_one_by_one(tmp_path, monkeypatch):
    logits = make_logits((7, 40, 6))
    np.save(tmp_path / "z.npy", logits)
    for images in (1, 2, 7):
        monkeypatch.setattr("fastxent.cli.select.BLOCK_BYTES", images * logits[0].nbytes)
        agree(select(tmp_path / f"{images}.csv", tmp_path / "z.npy"), expected_rows([logits]))


# --- resources -----------------------------------------------------------------------------------

GROWTH = """
import resource, sys
from support.cli import run
def grown():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
run("select", sys.argv[1], "--out", sys.argv[3])
before = grown()
assert run("select", sys.argv[2], "--out", sys.argv[3], "--force").exit_code == 0
print(grown() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="units of ru_maxrss")
def test_memory_is_that_of_an_image(tmp_path):
    """The large file has 64 images of 4 MB."""
    for name, images in (("small", 1), ("large", 64)):
        shape = images, BLOCK_BYTES // 16, 4
        array = np.lib.format.open_memmap(tmp_path / f"{name}.npy", "w+", np.float32, shape)
        array[:] = -9
        array.flush()
    paths = [str(tmp_path / name) for name in ("small.npy", "large.npy", "out.npz")]
    command = [sys.executable, "-c", GROWTH, *paths]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert float(result.stdout) < 48


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals of POSIX")
def test_progress_bar_on_a_terminal(logits, tmp_path):
    leader, follower = os.openpty()
    command = [str(word) for word in (*COMMAND, "select", logits, "--out", tmp_path / "out.csv")]
    environment = {**os.environ, "TERM": "xterm"}
    subprocess.run(command, stdout=subprocess.PIPE, stderr=follower, env=environment, check=True)
    os.set_blocking(leader, False)
    shown = os.read(leader, 10_000)
    assert b"\x1b[" in shown.partition(b"found")[0]
    os.close(follower)
    os.close(leader)


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--score-threshold", "x"),
            '--score-threshold x: expected a number, one for each class, or "none"',
        ),
        (("--score-threshold", "0.5,none"), "--score-threshold 0.5,none: expected a number"),
        (("--score-threshold", "1.5"), "score_threshold = 1.5 is outside [0, 1]"),
        (("--score-threshold", "0.5,0.5"), "score_threshold has shape (2,), expected"),
        (("--top-k", "all"), '--top-k all is neither an integer nor "none"'),
        (("--top-k", "-1"), "top_k = -1 is negative"),
        (("--axis", "x"), '--axis x is neither an integer nor "none"'),
        (
            ("--axis", "0"),
            "axis 0 of logits, with shape (3, 40, 6), is one of the first batch_ndim",
        ),
        (("--axis", "3"), "axis 3 is out of range"),
        (("--batch-ndim", "2"), "logits has shape (3, 40, 6), and no axis of anchors with axis=-1"),
        (("--classes", "1,x"), "--classes 1,x: expected integers"),
        (("--classes", "6"), "classes[0] = 6 is not in 0..5"),
        (("--background-index", "6"), "background_index = 6 is not a class of the 6"),
        (("--combine", "sqrt"), "combine = 'sqrt' is for scores with objectness"),
        (("--activation", "none"), "is outside [0, 1], and activation=None is for scores"),
    ],
)
def test_options_are_checked(words, message, logits, tmp_path):
    path = tmp_path / "out.csv"
    assert message in fails("select", logits, *words, "--out", path)
    assert not path.exists()


def test_all_but_values_is_checked_before_anything_is_read(logits, tmp_path, monkeypatch):
    monkeypatch.setattr("fastxent.cli.arrays.StoredArray.read", lambda *_: pytest.fail("is read"))
    np.save(tmp_path / "o.npy", np.zeros((3, 41), np.float32))
    message = fails(
        "select", logits, "--objectness", tmp_path / "o.npy", "--out", tmp_path / "o.csv"
    )
    assert message == "objectness has shape (3, 41), expected (3, 40)"
    np.save(tmp_path / "z4.npy", np.zeros((3, 40, 5), np.float32))
    message = fails("select", logits, tmp_path / "z4.npy", "--out", tmp_path / "o.csv")
    assert message == "logits[1] has 5 classes, but logits[0] has 6"
    np.save(tmp_path / "i.npy", np.zeros((3, 40, 5), np.int32))
    assert "logits has dtype int32" in fails("select", tmp_path / "i.npy")


@pytest.mark.parametrize("images", [1, 7])
@pytest.mark.parametrize("axis", [1, 2])
def test_values_that_are_no_scores_are_named_by_their_place_in_the_file(
    axis, images, tmp_path, monkeypatch
):
    scores = np.full((7, 40, 6), 0.5, np.float32)
    scores[5, 30, 2] = 1.5
    np.save(tmp_path / "p.npy", scores)
    monkeypatch.setattr("fastxent.cli.select.BLOCK_BYTES", images * scores[0].nbytes)
    path = tmp_path / "out.csv"
    words = "--activation", "none", "--axis", axis, "--out", path
    message = fails("select", tmp_path / "p.npy", *words)
    assert message.startswith("logits[5, 30, 2] = 1.5 is outside [0, 1]")
    np.save(tmp_path / "q.npy", np.zeros((7, 40, 6), np.float32))
    message = fails("select", tmp_path / "q.npy", tmp_path / "p.npy", *words)
    assert message.startswith("logits[1][5, 30, 2] = 1.5 is outside [0, 1]")
    assert not path.exists()


# --- result files --------------------------------------------------------------------------------


def test_names_of_result_files(logits, tmp_path):
    message = fails("select", logits, "--out", tmp_path / "out.npy")
    assert message.endswith("out.npy: the name must end in .csv or .json or .npz")
    np.savez(tmp_path / "z.npz", z=make_logits())
    message = fails("select", f"{tmp_path / 'z.npz'}:z", "--out", tmp_path / "z.npz", "--force")
    assert message.endswith("z.npz is one of the inputs")
    np.savez(tmp_path / "o.npz", o=make_logits((3, 40)))
    words = "--objectness", tmp_path / "o.npz", "--out", tmp_path / "o.npz", "--force"
    assert fails("select", logits, *words).endswith("o.npz is one of the inputs")


@KINDS
def test_files_are_replaced_by_force_alone(suffix, logits, tmp_path):
    path = tmp_path / f"out{suffix}"
    path.write_text("of another run")
    assert fails("select", logits, "--out", path) == f"--out {path} exists; --force replaces it"
    assert path.read_text() == "of another run"
    agree(select(path, logits, "--force"), expected_rows([make_logits()]))


@KINDS
def test_files_that_appear_during_the_run_are_kept(suffix, logits, tmp_path, monkeypatch):
    path = tmp_path / f"out{suffix}"

    def publish(temporary, destination, publish=output._publish):
        path.write_text("of another run")
        publish(temporary, destination)

    monkeypatch.setattr(output, "_publish", publish)
    assert fails("select", logits, "--out", path).endswith(
        "has appeared during the run, and is kept"
    )
    assert path.read_text() == "of another run"
    assert sorted(found.name for found in tmp_path.iterdir()) == [path.name, "z.npy"]


LIMITED = """
import resource
import fastxent  # LLVM's OpenMP runtime begins with a file, too
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
from fastxent.cli import main
main()
"""


@KINDS
@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
def test_a_full_disk_is_reported_with_the_name(suffix, logits, tmp_path):
    path = tmp_path / f"out{suffix}"
    words = [sys.executable, "-c", LIMITED, "select", str(logits), "--out", str(path)]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == f"fastxent: {path}: {os.strerror(errno.EFBIG)}\n"
    assert [found.name for found in tmp_path.iterdir()] == ["z.npy"]
