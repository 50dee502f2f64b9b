"""fastxent loss: streamed in blocks, it finds what the textbook formulas find on whole arrays."""

import ml_dtypes
import numpy as np
import pytest
from support.cli import expected_losses, fails, printed, run, table

CLASSES = 7


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of a few anchors, so that small files have many of them."""
    monkeypatch.setattr("fastxent.cli.regions.BLOCK_BYTES", 20 * CLASSES * 4)


def make_logits(shape=(3, 5, 11), dtype=np.float32, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(scale=4, size=(*shape, CLASSES)).astype(dtype)


def make_labels(shape=(3, 5, 11), highest=CLASSES - 1, dtype=np.int64, seed=1):
    return np.random.default_rng(seed).integers(0, highest + 1, shape).astype(dtype)


def save(folder, name, array):
    """Save an array; a name ending in .npz or -compressed.npz stores it as the key "a"."""
    path = folder / name
    if path.suffix == ".npy":
        np.save(path, array)
        return path
    writer = np.savez_compressed if "compressed" in name else np.savez
    writer(path, a=array)
    return f"{path}:a"


def check(result, losses, valid=None):
    """Compare what was printed with the losses of all anchors."""
    assert result.exit_code == 0, result.output
    valid = losses.size if valid is None else valid
    assert printed(result.output, "sum") == pytest.approx(losses.sum(), rel=1e-6)
    assert printed(result.output, "mean") == pytest.approx(losses.sum() / valid, rel=1e-6)
    assert printed(result.output, "valid") == valid
    assert printed(result.output, "ignored") == losses.size - valid
    ranked = np.argsort(-losses, axis=None)
    hardest = table(result.output, "Hardest anchors")
    for flat, (position, _, loss) in zip(ranked, hardest, strict=False):
        found = tuple(int(i) for i in position.split(","))
        assert found == tuple(map(int, np.unravel_index(flat, losses.shape)))
        assert float(loss) == pytest.approx(losses[found], rel=1e-5)


@pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
@pytest.mark.parametrize("name", ["logits.npy", "logits.npz", "logits-compressed.npz"])
@pytest.mark.parametrize("dtype", ["<f2", ">f2", "<f4", ">f4", "<f8"])
@pytest.mark.usefixtures("small_blocks")
def test_every_container(loss, name, dtype, tmp_path):
    logits = make_logits(dtype=dtype)
    labels = make_labels(highest=CLASSES - (loss == "softmax"), dtype=np.uint8)
    out = tmp_path / "out.npy"
    logits_file = save(tmp_path, name, logits)
    labels_file = save(tmp_path, name.replace("logits", "labels"), labels)
    result = run("loss", logits_file, labels_file, "--loss", loss, "--out", out)
    losses = expected_losses(loss, logits, labels)
    check(result, losses)
    written = np.load(out)
    assert written.dtype == (np.float64 if dtype == "<f8" else np.float32)
    np.testing.assert_allclose(written, losses, rtol=1e-6)


@pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -4])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.usefixtures("small_blocks")
def test_every_axis_and_order(loss, axis, order, dense, tmp_path):
    logits, labels = make_logits(), make_labels()
    targets = np.eye(CLASSES, dtype=np.float32)[labels] if dense else labels
    stored = np.asarray(np.moveaxis(logits, -1, axis), order=order)
    stored_targets = np.moveaxis(targets, -1, axis) if dense else targets
    out = tmp_path / "out.npy"
    files = save(tmp_path, "z.npy", stored), save(tmp_path, "y.npy", stored_targets)
    result = run("loss", *files, "--loss", loss, "--axis", axis, "--out", out)
    losses = expected_losses(loss, logits, labels)
    check(result, losses)
    np.testing.assert_allclose(np.load(out), losses, rtol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.usefixtures("small_blocks")
def test_a_loss_per_logit(axis, order, tmp_path):
    logits, labels = make_logits((4, 9)), make_labels((4, 9))
    stored = np.asarray(np.moveaxis(logits, -1, axis), order=order)
    files = save(tmp_path, "z.npy", stored), save(tmp_path, "y.npy", labels)
    out = tmp_path / "out.npy"
    options = "--axis", axis, "--reduction", "none", "--out", out
    check(
        run("loss", *files, "--loss", "sigmoid", *options),
        expected_losses("sigmoid", logits, labels),
    )
    logits = logits.astype(np.float64)
    per_logit = np.logaddexp(0, logits) - np.eye(CLASSES)[labels] * logits
    np.testing.assert_allclose(np.load(out), np.moveaxis(per_logit, -1, axis), rtol=1e-6)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.usefixtures("small_blocks")
def test_scalar_results(reduction, tmp_path):
    logits, labels = make_logits(), make_labels()
    labels[0] = -100
    files = save(tmp_path, "z.npy", logits), save(tmp_path, "y.npy", labels)
    out = tmp_path / "out.npy"
    run("loss", *files, "--loss", "softmax", "--reduction", reduction, "--out", out)
    losses = expected_losses("softmax", logits, labels)
    expected = losses.sum() if reduction == "sum" else losses.sum() / 110
    written = np.load(out)
    assert written.dtype == np.float64
    assert written.shape == ()
    assert written == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
@pytest.mark.usefixtures("small_blocks")
def test_ignored_anchors_do_not_count(loss, tmp_path):
    logits, labels = make_logits(), make_labels()
    labels[0, :, :3], labels[2, 1], labels[1, 1, 1] = 255, -100, -7
    logits[labels == 255] = np.nan
    files = save(tmp_path, "z.npy", logits), save(tmp_path, "y.npy", labels)
    ignore = (255, -100, -7)
    options = [word for label in ignore for word in ("--ignore-index", label)]
    result = run("loss", *files, "--loss", loss, *options)
    losses = expected_losses(loss, np.nan_to_num(logits), labels, ignore)
    check(result, losses, valid=165 - 15 - 11 - 1)
    # With one of them forgotten, its first position is named.
    assert fails("loss", *files, "--loss", loss, *options[:4]).startswith("targets[1, 1, 1] = -7 ")


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
@pytest.mark.usefixtures("small_blocks")
def test_missing_labels_do_not_count(loss, axis, tmp_path):
    logits, labels = make_logits(), make_labels()
    targets = np.eye(CLASSES, dtype=np.float32)[labels]
    targets[0, :, :3] = 255  # anchors without any label
    if loss == "sigmoid":
        targets[1, 2, :, 4] = targets[2, 1, 1, :6] = -7
    labelled = (targets >= 0) & (targets <= 1)
    filled = np.where(labelled, targets, 0)
    terms = filled * -logits + np.logaddexp(0, logits.astype(float))
    losses = np.where(labelled, terms, 0).sum(axis=-1)
    if loss == "softmax":
        losses = expected_losses(loss, logits, filled)
    moved = np.moveaxis(np.where(labelled, logits, np.nan), -1, axis)
    files = [
        save(tmp_path, "z.npy", moved),
        save(tmp_path, "y.npy", np.moveaxis(targets, -1, axis)),
    ]
    out = tmp_path / "out.npy"
    options = ["--axis", axis, "--ignore-index", 255, "--ignore-index", -7]
    result = run("loss", *files, "--loss", loss, *options, "--out", out)
    check(result, losses, valid=165 - 15)
    np.testing.assert_allclose(np.load(out), losses, rtol=1e-6)
    rows = {name.split()[0]: float(n) for name, n, _ in table(result.output, "Mean loss per")}
    counted = filled.reshape(-1, CLASSES).sum(axis=0)
    assert rows.pop("no", 0) == np.count_nonzero(labelled.any(-1) & ~filled.any(-1))
    assert rows == {str(k): n for k, n in enumerate(counted) if n}
    message = fails("loss", *files, "--loss", loss, "--axis", axis)
    place = "[0, 0, 0, 0]"
    assert message.startswith(f"targets{place} = 255.0 is outside [0, 1]")


def test_some_labels_of_an_anchor_are_too_few_for_a_softmax(tmp_path):
    targets = np.zeros((5, 3), np.int8)
    targets[4, 1] = -1
    files = save(tmp_path, "z.npy", np.zeros((5, 3))), save(tmp_path, "y.npy", targets)
    message = fails("loss", *files, "--loss", "softmax", "--ignore-index", -1)
    assert message.startswith("targets[4, 1] = -1 is an ignore_index, but other targets of its")
    message = fails("loss", *files, "--loss", "sigmoid", "--ignore-index", 0)
    assert message.startswith("ignore_index = 0 cannot mark missing labels")


@pytest.mark.usefixtures("small_blocks")
def test_means_per_class(tmp_path):
    logits, labels = make_logits(), make_labels(highest=CLASSES)
    labels[labels == 3] = 4
    files = save(tmp_path, "z.npy", logits), save(tmp_path, "y.npy", labels)
    result = run("loss", *files, "--loss", "sigmoid")
    losses = expected_losses("sigmoid", logits, labels)
    rows = {name.split()[0]: (n, mean) for name, n, mean in table(result.output, "Mean loss per")}
    assert rows.keys() == {"0", "1", "2", "4", "5", "6", "7"}
    assert "7 (no class)" in result.output
    for name, (anchors, mean) in rows.items():
        chosen = labels == int(name)
        assert int(anchors) == chosen.sum()
        assert float(mean) == pytest.approx(losses[chosen].mean(), rel=1e-5)
    means = [float(mean) for _, mean in rows.values()]
    assert means == sorted(means, reverse=True)


@pytest.mark.parametrize("background", [0, 3, 255, -1])
@pytest.mark.usefixtures("small_blocks")
def test_background_index(background, tmp_path):
    logits, labels = make_logits(), make_labels(highest=CLASSES)
    # Columns 0..6 and "no class" (7) in the numbering that this background_index means.
    names = np.arange(CLASSES + 1)
    if 0 <= background <= CLASSES:
        names = np.delete(names, background)
    named = np.append(names[:CLASSES], background)[labels]
    files = save(tmp_path, "z.npy", logits), save(tmp_path, "y.npy", named)
    result = run("loss", *files, "--loss", "sigmoid", "--background-index", background)
    check(result, expected_losses("sigmoid", logits, labels))
    rows = {row[0]: int(row[1]) for row in table(result.output, "Mean loss per class")}
    assert rows.pop(f"{background} (no class)") == (labels == CLASSES).sum()
    assert rows == {str(name): (named == name).sum() for name in names[:CLASSES]}


@pytest.mark.usefixtures("small_blocks")
def test_soft_targets_count_in_proportion(tmp_path):
    logits = make_logits((40,))
    targets = np.random.default_rng(5).random((40, CLASSES))
    targets[:9] = 0
    files = save(tmp_path, "z.npy", logits), save(tmp_path, "y.npy", targets)
    result = run("loss", *files, "--loss", "sigmoid")
    losses = expected_losses("sigmoid", logits, targets)
    check(result, losses)
    rows = {row[0]: (float(row[1]), float(row[2])) for row in table(result.output, "Mean loss per")}
    assert rows.pop("no class") == (9, pytest.approx(losses[:9].mean(), rel=1e-5))
    for name, row in rows.items():
        shares = targets[:, int(name)]
        mean = (losses * shares).sum() / shares.sum()
        assert row == (pytest.approx(shares.sum(), rel=1e-6), pytest.approx(mean, rel=1e-5))


@pytest.mark.parametrize("dtype", [np.int8, bool, np.float64])
@pytest.mark.usefixtures("small_blocks")
def test_every_logit_is_an_anchor(dtype, tmp_path):
    logits = make_logits((4,))
    targets = make_labels((4, CLASSES), highest=1, dtype=dtype)
    files = save(tmp_path, "z.npy", logits), save(tmp_path, "y.npy", targets)
    result = run("loss", *files, "--loss", "sigmoid", "--axis", "none")
    check(result, np.logaddexp(0, logits.astype(np.float64)) - targets * logits)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a-compressed.npz"])
@pytest.mark.parametrize("half", ["logits", "targets", "both"])
@pytest.mark.usefixtures("small_blocks")
def test_bfloat16(half, name, tmp_path):
    logits = make_logits((4, 9), np.float32 if half == "targets" else ml_dtypes.bfloat16)
    targets = np.random.default_rng(5).random((4, 9, CLASSES))
    if half != "logits":
        targets = targets.astype(ml_dtypes.bfloat16)
    files = save(tmp_path, f"z{name}", logits), save(tmp_path, f"y{name}", targets)
    out = tmp_path / "out.npy"
    result = run("loss", *files, "--loss", "sigmoid", "--dtype", "bfloat16", "--out", out)
    losses = expected_losses("sigmoid", logits, targets.astype(np.float64))
    check(result, losses)
    assert f"({'float32' if half == 'targets' else 'bfloat16'}, 4 x 9 x {CLASSES})" in result.output
    written = np.load(out)
    assert written.dtype == np.float32
    np.testing.assert_allclose(written, losses, rtol=1e-6)
    # Nothing is taken for bfloat16 without a word.
    assert "has dtype |V2, expected numbers" in fails("loss", *files, "--loss", "sigmoid")


def test_bfloat16_with_labels(tmp_path):
    logits, labels = make_logits(dtype=ml_dtypes.bfloat16), make_labels(dtype=np.int16)
    files = save(tmp_path, "z.npy", logits), save(tmp_path, "y.npy", labels)
    result = run("loss", *files, "--loss", "softmax", "--dtype", "bfloat16")
    check(result, expected_losses("softmax", logits, labels))


def test_the_option_is_for_bfloat16_alone(tmp_path):
    files = save(tmp_path, "z.npy", make_logits()), save(tmp_path, "y.npy", make_labels())
    message = fails("loss", *files, "--loss", "softmax", "--dtype", "bfloat16")
    assert message.startswith("--dtype bfloat16 is for arrays of dtype |V2: ")
    np.save(tmp_path / "z.npy", make_logits(dtype=ml_dtypes.bfloat16))
    for other in ("float16", "float32", "int16", "|V2"):
        result = run("loss", *files, "--loss", "softmax", "--dtype", other)
        assert result.exit_code == 2
        assert "'bfloat16'" in result.output


@pytest.mark.usefixtures("small_blocks")
def test_options_of_the_losses(tmp_path):
    logits, labels = make_logits(), make_labels()
    targets = np.eye(CLASSES)[labels]
    files = save(tmp_path, "z.npy", logits), save(tmp_path, "y.npy", labels)
    logits = logits.astype(np.float64)

    smooth = 0.9 * targets + 0.1 / CLASSES
    result = run("loss", *files, "--loss", "softmax", "--label-smoothing", 0.1)
    check(result, expected_losses("softmax", logits, smooth))

    weighted = (1 - targets) * np.logaddexp(0, logits) + 3 * targets * np.logaddexp(0, -logits)
    result = run("loss", *files, "--loss", "sigmoid", "--pos-weight", 3, "--num-threads", 2)
    check(result, weighted.sum(axis=-1))


@pytest.mark.usefixtures("small_blocks")
def test_nan_stays_where_it_is(tmp_path):
    logits, labels = make_logits((50,)), make_labels((50,))
    logits[30, 2] = np.nan
    for targets in (labels, np.eye(CLASSES)[labels]):
        files = save(tmp_path, "z.npy", logits), save(tmp_path, "y.npy", targets)
        result = run("loss", *files, "--loss", "softmax")
        assert result.exit_code == 0
        assert "NaN      1 anchors" in result.output
        assert table(result.output, "Hardest anchors")[0] == ["30", str(labels[30]), "nan"]
        means = {row[0]: row[2] for row in table(result.output, "Mean loss per class")}
        assert {name for name, mean in means.items() if mean == "nan"} == {str(labels[30])}


def test_top(tmp_path):
    files = save(tmp_path, "z.npy", make_logits()), save(tmp_path, "y.npy", make_labels())
    output = run("loss", *files, "--loss", "softmax", "--top", 3).output
    assert len(table(output, "Mean loss per class (the 3 hardest of 7)")) == 3
    assert len(table(output, "Hardest anchors")) == 3
    output = run("loss", *files, "--loss", "softmax", "--top", 0).output
    assert "Hardest" not in output
    assert printed(output, "valid") == 165


@pytest.mark.parametrize("axis", [0, 1])
def test_no_anchors(axis, tmp_path):
    logits = np.zeros((0, CLASSES), np.float32)
    files = (
        save(tmp_path, "z.npy", np.moveaxis(logits, 1, axis)),
        save(tmp_path, "y.npy", np.zeros(0, int)),
    )
    out = tmp_path / "out.npy"
    result = run("loss", *files, "--loss", "sigmoid", "--axis", axis, "--out", out)
    assert result.exit_code == 0
    assert printed(result.output, "sum") == printed(result.output, "valid") == 0
    assert np.load(out).shape == (0,)


def test_a_single_anchor(tmp_path):
    logits, label = make_logits(()), np.array(3)
    files = save(tmp_path, "z.npy", logits), save(tmp_path, "y.npy", label)
    result = run("loss", *files, "--loss", "softmax", "--out", tmp_path / "out.npy")
    expected = expected_losses("softmax", logits, label)
    assert printed(result.output, "sum") == pytest.approx(expected, rel=1e-6)
    assert np.load(tmp_path / "out.npy") == pytest.approx(expected, rel=1e-6)


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_blocks")
def test_bad_labels_are_named_by_their_position_in_the_file(tmp_path):
    labels = make_labels()
    labels[2, 3, 7] = 81
    files = save(tmp_path, "z.npy", make_logits()), save(tmp_path, "y.npy", labels)
    out = tmp_path / "out.npy"
    message = fails("loss", *files, "--loss", "softmax", "--out", out)
    assert message.startswith("targets[2, 3, 7] = 81 is not a class label")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["y.npy", "z.npy"]


@pytest.mark.usefixtures("small_blocks")
def test_bad_labels_of_a_part_are_named_by_their_position_in_the_file(tmp_path):
    """Parts that are kept are larger than the blocks that they are computed by."""
    labels = make_labels()
    labels[2, 3, 7] = 81
    files = save(tmp_path, "z.npy", make_logits()), save(tmp_path, "y.npy", labels)
    out = tmp_path / "out.npy"
    message = fails("loss", *files, "--loss", "softmax", "--out", out, "--resume")
    assert message.startswith("targets[2, 3, 7] = 81 is not a class label")


@pytest.mark.usefixtures("small_blocks")
def test_bad_dense_targets_are_named_by_their_position_in_the_file(tmp_path):
    targets = np.zeros((3, CLASSES, 5, 11))
    targets[2, 4, 3, 7] = np.nan
    logits = np.moveaxis(make_logits(), -1, 1)
    files = save(tmp_path, "z.npy", logits), save(tmp_path, "y.npy", targets)
    message = fails("loss", *files, "--loss", "sigmoid", "--axis", 1)
    assert message.startswith("targets[2, 4, 3, 7] = nan is outside [0, 1]")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--axis", "4"], "--axis 4 is out of range"),
        (["--axis", "last"], '--axis last is neither an integer nor "none"'),
        (["--axis", "none"], "expected shape (3, 5, 11, 7)"),
        (["--axis", "none", "--loss", "softmax"], "--axis none is for --loss sigmoid"),
        (["--pos-weight", "2", "--loss", "softmax"], "--pos-weight is not for --loss softmax"),
        (["--pos-weight", "-2"], "pos_weight"),
        (["--label-smoothing", "2"], "label_smoothing"),
        (["--background-index", "9", "--loss", "softmax"], "background_index"),
    ],
)
def test_bad_options(options, message, tmp_path):
    files = save(tmp_path, "z.npy", make_logits()), save(tmp_path, "y.npy", make_labels())
    out = tmp_path / "out.npy"
    assert message in fails("loss", *files, "--loss", "sigmoid", *options, "--out", out)
    assert not out.exists()


@pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
@pytest.mark.parametrize("shape", [(2**40,), (1, 2**40), (2**24 + 1,)])
def test_more_classes_than_there_can_be(loss, shape, tmp_path):
    """Such files take no room, and no memory either."""
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with (tmp_path / "z.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + 4 * shape[-1])
    np.save(tmp_path / "y.npy", np.zeros(shape[:-1], int))
    message = fails("loss", tmp_path / "z.npy", tmp_path / "y.npy", "--loss", loss)
    assert message.endswith(f"has more than 16,777,216 classes on axis {len(shape) - 1}")


@pytest.mark.parametrize("error", [MemoryError("no 9 GiB"), MemoryError()])
def test_too_little_memory(error, tmp_path, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr("fastxent.cli.arrays.StoredArray.read", fail)
    files = save(tmp_path, "z.npy", make_logits()), save(tmp_path, "y.npy", make_labels())
    message = fails("loss", *files, "--loss", "softmax")
    assert message == "there is not enough memory" + (": no 9 GiB" if error.args else "")


def test_options_are_checked_before_a_single_anchor_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("fastxent.cli.arrays.StoredArray.read", lambda *_: pytest.fail("read"))
    files = save(tmp_path, "z.npy", np.zeros(3)), save(tmp_path, "y.npy", np.array(0))
    assert "background_index" in fails("loss", *files, "--loss", "softmax", "--background-index", 9)


def test_labels_for_a_single_class_are_refused(tmp_path):
    files = save(tmp_path, "z.npy", np.zeros((5, 1))), save(tmp_path, "y.npy", np.zeros(5, int))
    assert "axis=None" in fails("loss", *files, "--loss", "sigmoid")


def test_usage_errors_end_with_status_2(tmp_path):
    files = save(tmp_path, "z.npy", make_logits()), save(tmp_path, "y.npy", make_labels())
    assert run("loss", *files, "--loss", "focal").exit_code == 2
    assert run("loss", *files).exit_code == 2
    assert run("loss", *files, "--loss", "sigmoid", "--num-threads", 0).exit_code == 2
    assert run("loss", files[0], "--loss", "sigmoid").exit_code == 2
