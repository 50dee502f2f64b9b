"""fastxent loss with every loss of the package; stopped jobs that are gone on with; JSON."""

import inspect
import json
import os
import signal
import subprocess
import time

import numpy as np
import pytest
from support import family
from support.cli import COMMAND, fails, printed, run, table

import fastxent as fx
from fastxent._catalogue import LOSSES
from fastxent.cli import jobs, loss_command

SHAPE = (6, 7, 5)
#: A value of each parameter that is not its default, as the option and as the argument.
VALUES = {
    "alpha": ("0.1,0.2,0.3,0.4,0.5", [0.1, 0.2, 0.3, 0.4, 0.5]),
    "beta": ("1.5", 1.5),
    "clip": ("0.2", 0.2),
    "eps": ("0.01", 0.01),
    "epsilon": ("-0.5", -0.5),
    "gamma": ("1.5", 1.5),
    "gamma_neg": ("3", 3.0),
    "gamma_pos": ("0.5", 0.5),
    "iou_weighted": (None, False),
    "label_smoothing": ("0.1", 0.1),
    "pos_weight": ("1,2,3,4,5", [1.0, 2.0, 3.0, 4.0, 5.0]),
}


def saved(name, folder, *, dense=False):
    """Save the arrays of a loss; return them, and the arguments of the command."""
    rng = np.random.default_rng(0)
    values = family.values_for(name, rng, SHAPE, np.float32)
    others = family.targets_for(name, rng, values, dense=dense)
    for key, array in zip(("z", "y", "s"), (values, *others), strict=False):
        np.save(folder / f"{key}.npy", array)
    scores = ["--scores", folder / "s.npy"] * (len(others) > 1)
    return values, others, [folder / "z.npy", folder / "y.npy", "--loss", name, *scores]


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_with_its_parameters(name, tmp_path, monkeypatch):
    monkeypatch.setattr("fastxent.cli.regions.BLOCK_BYTES", 100)
    values, others, arguments = saved(name, tmp_path)
    parameters, options = {}, []
    for parameter in LOSSES[name].parameters.keys() - loss_command.LEFT_OUT:
        text, parameters[parameter] = VALUES[parameter]
        option = parameter.replace("_", "-")
        options += [f"--no-{option}"] if text is None else [f"--{option}", text]
    out = tmp_path / "out.npy"
    result = run("loss", *arguments, *options, "--out", out)
    assert result.exit_code == 0, result.output
    expected = getattr(fx, name)(values, *others, **parameters)
    np.testing.assert_array_equal(np.load(out), expected)
    assert printed(result.output, "sum") == pytest.approx(expected.sum(dtype=float), rel=1e-8)
    assert f"\nloss     {LOSSES[name].label}" in result.output
    if LOSSES[name].target_format == "classes":
        values, others, arguments = saved(name, tmp_path, dense=LOSSES[name].sigmoid)
        run("loss", *arguments, *options, "--out", out, "--force")
        expected = getattr(fx, name)(values, *others, **parameters)
        np.testing.assert_array_equal(np.load(out), expected)


def test_every_parameter_of_the_catalogue_is_an_option():
    options = inspect.signature(loss_command.loss).parameters.keys()
    known = {parameter for loss in LOSSES.values() for parameter in loss.parameters}
    assert known - options == loss_command.LEFT_OUT
    assert {*VALUES} == known - loss_command.LEFT_OUT
    assert {*loss_command.LossName} == {*LOSSES, *loss_command.SHORT_NAMES}


def test_parameters_of_other_losses(tmp_path):
    *_, arguments = saved("sigmoid_focal_loss", tmp_path)
    message = fails("loss", *arguments, "--pos-weight", "2")
    assert message == (
        "--pos-weight is not for --loss sigmoid_focal_loss, which takes --alpha, --gamma"
    )
    assert "--alpha 0.1,x: expected a number" in fails("loss", *arguments, "--alpha", "0.1,x")
    assert "--scores is not for" in fails("loss", *arguments, "--scores", tmp_path / "y.npy")
    arguments[3] = "quality_focal_loss"
    assert fails("loss", *arguments) == "--loss quality_focal_loss needs --scores"
    assert "expected shape (6, 7)" in fails("loss", *arguments, "--scores", tmp_path / "z.npy")
    assert run("loss", *arguments[:3], "softmax_focal_loss", "--alpha", "none").exit_code == 2


def test_json(tmp_path):
    values, (labels,), arguments = saved("sigmoid_focal_loss", tmp_path)
    file = tmp_path / "out.json"
    result = run("loss", *arguments, "--gamma", "1.5", "--json", file, "--top", 3)
    assert "Anchors by their loss" in result.output
    found = json.loads(file.read_text())
    losses = fx.sigmoid_focal_loss(values, labels, gamma=1.5).astype(float)
    assert found["loss"] == "sigmoid_focal_loss"
    assert found["parameters"] == {"gamma": 1.5}
    assert found["mean"] == pytest.approx(losses.mean(), rel=1e-14)
    assert found["valid"] == losses.size
    assert found["logits"] == {"name": str(arguments[0]), "shape": [*SHAPE], "dtype": "float32"}
    for row in found["classes"]:
        chosen = losses[labels == (5 if "no class" in row["class"] else int(row["class"]))]
        assert row["anchors"] == chosen.size
        assert row["mean"] == pytest.approx(chosen.mean())
    hardest = np.sort(losses, axis=None)[::-1][:3]
    assert [row["loss"] for row in found["hardest"]] == pytest.approx(hardest.tolist())
    edges = [-np.inf, *found["histogram"]["edges"], np.inf]
    expected, _ = np.histogram(losses, edges)
    assert found["histogram"]["anchors"] == expected.tolist()
    rows = table(result.output, "Anchors by their loss")
    assert [int(row[1]) for row in rows] == [n for n in expected.tolist() if n]
    output = run("loss", *arguments, "--gamma", "1.5", "--json", "-").output
    assert json.loads(output)["sum"] == found["sum"]


def test_json_of_numbers_that_are_not_finite(tmp_path):
    np.save(tmp_path / "z.npy", np.full((2, 3), np.nan, np.float32))
    np.save(tmp_path / "y.npy", np.zeros(2, int))
    files = tmp_path / "z.npy", tmp_path / "y.npy"
    found = json.loads(run("loss", *files, "--loss", "softmax", "--json", "-").output)
    assert found["mean"] is None
    assert found["nan"] == 2
    assert sum(found["histogram"]["anchors"]) == 0


def test_counts_of_candidates_as_json(tmp_path):
    np.save(tmp_path / "z.npy", np.zeros((2, 3, 4), np.float32))
    out, file = tmp_path / "out.csv", tmp_path / "out.json"
    run("select", tmp_path / "z.npy", "--out", out, "--json", file, "--top-k", 5)
    image = {"found": 12, "nan": 0, "returned": 5}
    found = json.loads(file.read_text())
    assert found.pop("fastxent") == fx.__version__
    assert found == {"candidates": 10, "found": 24, "nan": 0, "images": [image, image]}
    assert "--json - needs --out" in fails("select", tmp_path / "z.npy", "--json", "-")


# --- jobs that are stopped -----------------------------------------------------------------------


@pytest.fixture
def many_chunks(monkeypatch):
    """Chunks of one image: six of them."""
    monkeypatch.setattr(jobs, "CHUNK_BYTES", 7 * 5 * 4)


def stop_after(count, monkeypatch, error=RuntimeError):
    """Let a job fail when it keeps the results of a chunk after so many."""
    save = jobs.Store.save

    def fail(store, number, arrays):
        if len(store.finished()) == count:
            raise error
        save(store, number, arrays)

    monkeypatch.setattr(jobs.Store, "save", fail)
    return lambda: monkeypatch.setattr(jobs.Store, "save", save)


def counted(monkeypatch):
    """Return a list of the regions that are computed."""
    seen, evaluate = [], fx.sigmoid_focal_loss

    def count(values, *others, **options):
        if values.size:
            seen.append(values)
        return evaluate(values, *others, **options)

    monkeypatch.setattr(fx, "sigmoid_focal_loss", count)
    return seen


@pytest.mark.parametrize("reduction", ["anchor", "none", "mean"])
@pytest.mark.usefixtures("many_chunks")
def test_a_stopped_job_goes_on(reduction, tmp_path, monkeypatch):
    values, others, arguments = saved("sigmoid_focal_loss", tmp_path)
    out = tmp_path / "out.npy"
    options = ["--reduction", reduction, "--out", out, "--resume"]
    mend = stop_after(4, monkeypatch)
    stopped = run("loss", *arguments, *options)
    assert isinstance(stopped.exception, RuntimeError)
    assert stopped.output == (
        f"fastxent: 4 finished chunks are kept in {out}.parts: --resume goes on with them\n"
    )
    assert not out.exists()
    mend()
    seen = counted(monkeypatch)
    result = run("loss", *arguments, *options)
    assert result.exit_code == 0
    assert len(seen) == 2 * (1 + (reduction == "none"))
    assert not (tmp_path / "out.npy.parts").exists()
    expected = fx.sigmoid_focal_loss(values, *others, reduction=reduction)
    np.testing.assert_allclose(np.load(out), expected, rtol=1e-15)
    whole = run("loss", *arguments).output
    assert result.output == whole


@pytest.mark.usefixtures("many_chunks")
def test_candidates_of_a_stopped_job(tmp_path, monkeypatch):
    *_, arguments = saved("sigmoid_focal_loss", tmp_path)
    out = tmp_path / "out.csv"
    mend = stop_after(2, monkeypatch, OSError(28, "No space left on device"))
    stopped = run("select", arguments[0], "--out", out, "--resume")
    assert stopped.exit_code == 2
    assert "2 finished chunks are kept" in stopped.output
    mend()
    assert run("select", arguments[0], "--out", out, "--resume").exit_code == 0
    run("select", arguments[0], "--out", tmp_path / "whole.csv")
    assert out.read_text() == (tmp_path / "whole.csv").read_text()


@pytest.mark.usefixtures("many_chunks")
def test_another_job_is_not_gone_on_with(tmp_path, monkeypatch):
    values, _, arguments = saved("sigmoid_focal_loss", tmp_path)
    options = ["--out", tmp_path / "out.npy", "--resume"]
    mend = stop_after(2, monkeypatch)
    run("loss", *arguments, *options)
    mend()
    message = fails("loss", *arguments, *options, "--gamma", "3")
    assert "out.npy.parts is of another job, with other options: " in message
    np.save(arguments[0], values + 1)
    assert "with other logits: remove it" in fails("loss", *arguments, *options)
    # Without --resume, nothing of it is used.
    assert run("loss", *arguments, *options[:2]).exit_code == 0
    assert (tmp_path / "out.npy.parts").is_dir()


@pytest.mark.usefixtures("many_chunks")
def test_folders_that_are_something_else(tmp_path):
    *_, arguments = saved("sigmoid_focal_loss", tmp_path)
    options = ["--out", tmp_path / "out.npy", "--resume"]
    (tmp_path / "out.npy.parts").mkdir()
    assert "is there, and not of a stopped job" in fails("loss", *arguments, *options)
    assert "--resume needs --out" in fails("loss", *arguments, "--resume")
    (tmp_path / "out.npy.parts").rmdir()
    assert run("loss", *arguments, *options).exit_code == 0  # nothing to resume is a start


@pytest.mark.usefixtures("many_chunks")
def test_a_damaged_result_is_named(tmp_path, monkeypatch):
    *_, arguments = saved("sigmoid_focal_loss", tmp_path)
    options = ["--out", tmp_path / "out.npy", "--resume"]
    mend = stop_after(2, monkeypatch)
    run("loss", *arguments, *options)
    mend()
    file = tmp_path / "out.npy.parts" / "00000001.npz"
    file.write_bytes(file.read_bytes()[:100])
    message = fails_with_note("loss", *arguments, *options)
    assert "00000001.npz is damaged: remove it, and resume again" in message
    file.unlink()
    assert run("loss", *arguments, *options).exit_code == 0


def fails_with_note(*arguments):
    result = run(*arguments)
    assert result.exit_code == 2
    return result.output


@pytest.mark.exhaustive
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_job_that_is_killed(tmp_path):
    shape = (2_000_000, 20)
    np.lib.format.open_memmap(tmp_path / "z.npy", "w+", np.float32, shape).flush()
    np.lib.format.open_memmap(tmp_path / "y.npy", "w+", np.uint8, shape[:1]).flush()
    out = tmp_path / "out.npy"
    command = [*COMMAND, "loss", tmp_path / "z.npy", tmp_path / "y.npy", "--loss", "sigmoid"]
    command = [str(word) for word in (*command, "--out", out, "--resume")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "out.npy.parts" / "00000000.npz").exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    _, errors = process.communicate(timeout=60)
    assert not out.exists()
    assert process.returncode == -signal.SIGKILL
    assert "Traceback" not in errors
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert printed(done.stdout, "valid") == shape[0]
    np.testing.assert_allclose(np.load(out), 20 * np.log(2), rtol=1e-6)
