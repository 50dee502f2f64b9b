"""fastxent demo: what it computes is right, checked, and printed."""

import numpy as np
import pytest
from support.cli import expected_losses, fails, run, table

import fastxent
from fastxent.cli import demo, plot, show
from fastxent.cli.demo import NUMPY_FORMULAS, make_workload, run_demo
from fastxent.data import FEATURE_MAPS, load_sample

ANCHORS = 200_000
ROWS = ["sigmoid fastxent", "sigmoid NumPy", "reading alone", "softmax fastxent", "softmax NumPy"]


@pytest.fixture(scope="module")
def workload():
    return make_workload(ANCHORS, seed=3)


@pytest.fixture(scope="module")
def result(workload):
    return run_demo(workload, num_threads=2)


def test_workload_is_the_sample_with_noise(workload):
    sample = load_sample()
    copies = np.resize(np.arange(len(sample.labels)), ANCHORS)
    noise = workload.logits - sample.logits[copies]
    assert np.array_equal(workload.labels, sample.labels[copies])
    assert workload.logits.dtype == np.float32
    assert abs(noise.mean()) < 0.001
    assert noise.std() == pytest.approx(0.1, rel=0.01)
    # Every copy has noise of its own.
    assert len(np.unique(noise[:: len(sample.labels), 0])) > 15


def test_workload_depends_on_the_seed_alone(workload):
    assert np.array_equal(make_workload(ANCHORS, seed=3).logits, workload.logits)
    assert not np.array_equal(make_workload(ANCHORS, seed=4).logits, workload.logits)


def test_softmax_head_keeps_the_odds(workload):
    extended = workload.head_logits("softmax")
    assert np.array_equal(extended[:, :10], workload.logits)
    # The odds of a class against the background are those of the sigmoid.
    odds = np.exp(extended[:, :10] - extended[:, 10:])
    np.testing.assert_allclose(odds, np.exp(workload.logits))


@pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
def test_losses_are_right(loss, workload, result):
    expected = expected_losses(loss, workload.head_logits(loss), workload.labels)
    found = result.results[loss]
    np.testing.assert_allclose(found.losses, expected, rtol=1e-6)
    hardest = np.sort(expected)[-ANCHORS // 100 :].sum() / expected.sum()
    for measured in (found.fast, found.numpy):
        assert measured.mean == pytest.approx(expected.mean(), rel=1e-5)
        assert measured.hardest_share == pytest.approx(hardest, rel=1e-4)
        assert measured.seconds > 0
        assert measured.logits == ANCHORS * (10 if loss == "sigmoid" else 11)
    assert 0 < found.fast.max_error_ulp <= 4
    assert found.read_seconds > 0
    assert result.correct


@pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
def test_numpy_formulas_are_right(loss, workload):
    logits, labels = workload.head_logits(loss)[:20_000], workload.labels[:20_000]
    found = NUMPY_FORMULAS[loss](logits.astype(np.float64), labels)
    np.testing.assert_allclose(found, expected_losses(loss, logits, labels), rtol=1e-9)


@pytest.mark.parametrize("wrong", ["value", "nan"])
def test_wrong_results_are_noticed(wrong, workload, monkeypatch):
    def broken(*arguments, backend=None, **options):
        losses = fastxent.sigmoid_cross_entropy(*arguments, backend=backend, **options)
        if backend is None:
            losses *= np.float32(1.00001 if wrong == "value" else np.nan)
        return losses

    monkeypatch.setitem(demo.LOSSES, "sigmoid", broken)
    result = run_demo(workload, num_threads=1)
    assert not result.results["sigmoid"].correct
    assert result.results["softmax"].correct
    assert not result.correct


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def printed_demo(tmp_path_factory):
    picture = tmp_path_factory.mktemp("plot") / "losses.png"
    return run("demo", "--seed", 5, "--plot", picture), picture


@pytest.mark.exhaustive
def test_command_prints_everything(printed_demo):
    found, _ = printed_demo
    assert found.exit_code == 0, found.output
    assert "repeated to 2,000,000" in found.output
    assert "with a background logit of 0 appended" in found.output
    assert "own confident detections" in found.output
    classes = table(found.output, "Loss per class")
    assert [row[0] for row in classes] == ["text", "title", "no object"]
    assert sum(int(row[1].replace(",", "")) for row in classes) == 2_000_000
    for column in (3, 5):
        assert sum(float(row[column].strip("%")) for row in classes) == pytest.approx(100, abs=0.2)
    assert [row[0] for row in table(found.output, "Speed")] == [*ROWS, "reading alone"]
    assert found.output.count(" ULP: ok\n") == 2
    lines = found.output.splitlines()
    assert max(len(line) for line in lines if not line.startswith(("Picture: ", "Pages: "))) <= 84


def test_command_draws(printed_demo):
    found, picture = printed_demo
    assert f"\nPicture: {picture}\n" in found.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 10_000
    assert [path.name for path in picture.parent.iterdir()] == ["losses.png"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ((), "docs/ of the source; make docs builds a site of them, with a gallery"),
        (("docs/conf.py",), "make docs builds them, with a gallery: {site}"),
        (("docs/conf.py", "build/docs/index.html"), "{site}"),
    ],
)
def test_places(files, expected, monkeypatch, tmp_path, capsys):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(fastxent, "__file__", str(tmp_path / "fastxent" / "__init__.py"))
    show.print_places(None)
    site = tmp_path / "build" / "docs" / "index.html"
    assert capsys.readouterr().out.splitlines() == [
        "",
        "Picture: fastxent demo --plot losses.png draws one",
        f"Pages: {expected.format(site=site)}",
    ]


def test_the_feature_maps_are_those_of_the_sample():
    anchors = sum(rows * columns for _, rows, columns in FEATURE_MAPS)
    assert anchors == len(load_sample().labels)
    for stride, rows, columns in FEATURE_MAPS:
        assert (rows, columns) == (-(-800 // stride), -(-608 // stride))


@pytest.mark.parametrize("level", range(4))
def test_the_largest_loss_is_shown_where_its_anchor_is(level):
    losses = np.full(len(load_sample().labels), 0.5)
    start = sum(rows * columns for _, rows, columns in FEATURE_MAPS[:level])
    stride, _, columns = FEATURE_MAPS[level]
    losses[start + 3 * columns + 2] = 2.0
    shown = plot.losses_on_page(losses)
    y, x = np.nonzero(shown == 2.0)
    assert shown.shape == (100, 76)
    assert set(shown.flat) == {0.5, 2.0}
    scale = stride // 8
    assert (y.min(), y.max() + 1) == (3 * scale, 4 * scale)
    assert (x.min(), x.max() + 1) == (2 * scale, 3 * scale)


def test_failed_checks_end_with_status_1(monkeypatch, workload):
    monkeypatch.setattr(demo, "MAX_ERROR_ULP", 0.0)
    monkeypatch.setattr("fastxent.cli.app.make_workload", lambda *_: workload)
    found = run("demo")
    assert found.exit_code == 1
    assert found.output.count(" ULP: FAILED\n") == 2


def test_fewer_anchors_are_refused():
    assert run("demo", "--anchors", 1_999_999).exit_code == 2


@pytest.mark.parametrize("anchors", [10**11, 10**30])
def test_more_than_the_memory(anchors):
    message = fails("demo", "--anchors", anchors)
    assert message.startswith(
        f"this many logits need about {anchors * 108 / 1e9:,.0f} GB of memory"
    )


@pytest.fixture
def no_work(monkeypatch):
    """Fail where the work would begin."""

    def fail(*_):
        raise AssertionError("the work has begun")

    monkeypatch.setattr("fastxent.cli.app.make_workload", fail)


@pytest.mark.usefixtures("no_work")
def test_plot_without_matplotlib(monkeypatch, tmp_path):
    def missing(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(plot, "import_module", missing)
    message = fails("demo", "--plot", tmp_path / "losses.png")
    assert message == '--plot needs matplotlib: pip install "fastxent[plot]"'


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("losses.npy", "must end in one of"),
        ("losses", "must end in one of"),
        ("missing/losses.png", "there is no folder"),
    ],
)
def test_plots_that_cannot_be(name, message, tmp_path):
    assert message in fails("demo", "--plot", tmp_path / name)


@pytest.mark.usefixtures("no_work")
def test_bad_number_of_threads():
    assert run("demo", "--num-threads", 0).exit_code == 2
