"""The figures that the benchmarks keep, and the report on them."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
if not (ROOT / "benchmarks").is_dir():
    pytest.skip("only in the source tree", allow_module_level=True)
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from benchmarks import records, report  # noqa: E402
from benchmarks.figures import digits, figures_of  # noqa: E402


def case_row(function, seconds, **fields):
    row = {
        "id": f"{function}-{fields.get('shape')}-{fields.get('dtype')}",
        "kind": "losses",
        "function": function,
        "shape": "200,000 x 80",
        "logits": 16_000_000,
        "dtype": "float32",
        "threads": 2,
        "foreground": 0.01,
        "dense": False,
        "seconds": seconds,
        "spread": dict.fromkeys(seconds, 0.02),
        "rounds": dict.fromkeys(seconds, 7),
        "unequal": {},
        "failed": {},
    }
    return row | fields


def recorded():
    """A file of figures, small enough to be checked by hand."""
    environment = {
        "date": "2026-02-03",
        "cpu": "Some CPU",
        "cpus": 2,
        "isa": "avx512",
        "build": {"compiler": "GCC 12.2.0"},
        "system": "Linux x86_64",
        "python": "3.11.7",
        "fastxent": "0.1.0",
        "versions": {"numpy": "2.4.6", "torch": ""},
    }
    rows = [
        case_row(
            "sigmoid_cross_entropy",
            {
                "parallel read": 0.8e-3,
                "fastxent": 1.6e-3,
                "fastxent, Numba": 2.4e-3,
                "torch eager": 16e-3,
                "JAX": 8e-3,
            },
        ),
        case_row(
            "softmax_cross_entropy",
            {"parallel read": 0.8e-3, "fastxent": 4e-3, "torch eager": 3.2e-3},
            unequal={"JAX": 12.3},
        ),
        case_row(
            "sigmoid_focal_loss",
            {
                "parallel read": 0.8e-3,
                "fastxent": 3.2e-3,
                "fastxent, Numba": 4e-3,
                "fastxent, custom loss": 5e-3,
                "torch.compile": 400e-3,
                "NumPy": 320e-3,
            },
            kind="gradients",
            failed={"JAX": "TypeError: no"},
        ),
        case_row(
            "softmax",
            {"parallel read": 1e-6, "fastxent": 4e-6, "SciPy": 36e-6},
            kind="scores",
            shape="100 x 80",
            logits=8000,
        ),
        case_row(
            "sigmoid",
            {"parallel read": 1e-3, "model alone": 9e-3, "fastxent": 16e-3, "SciPy": 32e-3},
            kind="pipeline, spinning",
        ),
    ]
    return {"environment": environment, "rows": rows}


def another_machine():
    """The same rows but one, measured with AVX2 alone, in twice the time."""
    file = recorded()
    file["environment"] |= {"isa": "avx2", "peers": "limited to avx2 by A=b"}
    file["rows"] = file["rows"][1:]
    for row in file["rows"]:
        row["seconds"]["fastxent"] *= 2
    return file


PAGE_NAMES = [
    "setup",
    "outcome",
    "losses",
    "gradients",
    "scores",
    "numba",
    "jax",
    "calls",
    "pipeline",
    "detection",
    "absent",
]


def empty_texts():
    page = "".join(
        f"# {name}, by hand\n<!-- {name} -->\nold\n<!-- /{name} -->\n" for name in PAGE_NAMES
    )
    readme = "before\n\n<!-- performance -->\nold\n<!-- /performance -->\n\nafter\n"
    return {"docs/performance.md": page, "docs/index.md": readme}


def between(text, name):
    return text.split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0].strip()


@pytest.fixture(scope="module")
def rendered():
    return report.render([recorded()], empty_texts())


# --- the figures ----------------------------------------------------------------------------------


def test_rows_are_kept_for_the_same_environment(tmp_path):
    path = tmp_path / "folder" / "results.json"
    file = recorded()
    recorder = records.Recorder(path, file["environment"])
    for row in file["rows"]:
        recorder.add(row)
    assert records.load(path) == file

    another_day = file["environment"] | {"date": "2026-02-04"}
    recorder = records.Recorder(path, another_day)
    recorder.add(file["rows"][0] | {"logits": 1})
    again = records.load(path)
    assert again["environment"] == another_day
    assert [row["id"] for row in again["rows"]] == [row["id"] for row in file["rows"]]
    assert again["rows"][0]["logits"] == 1

    recorder = records.Recorder(path, another_day | {"cpu": "another"})
    recorder.add(file["rows"][0])
    assert records.load(path)["rows"] == file["rows"][:1]


# --- the report -----------------------------------------------------------------------------------


def test_losses_are_in_nanoseconds_per_logit(rendered):
    assert between(rendered["docs/performance.md"], "losses").splitlines() == [
        (
            "| function | shape | dtype | threads | foreground | fastxent | of read speed | ratio "
            "| best peer | other peers |"
        ),
        "|---|---|---|--:|--:|--:|--:|--:|---|---|",
        (
            "| sigmoid cross-entropy | 200,000 x 80 | float32 | 2 | 1% | 0.10 | 50% | 5.0x "
            "| JAX 0.50 | torch eager 1.00 |"
        ),
        (
            "| softmax cross-entropy | 200,000 x 80 | float32 | 2 | 1% | 0.25 | 20% "
            "| **0.80x (slower)** | torch eager 0.20 | - |"
        ),
    ]


def test_machines_are_side_by_side():
    rendered = report.render([recorded(), another_machine()], empty_texts())
    page = rendered["docs/performance.md"]
    assert between(page, "losses").splitlines() == [
        (
            "| function | shape | dtype | threads | foreground "
            "| fastxent, avx512 | of read speed, avx512 | ratio, avx512 | best peer, avx512 "
            "| fastxent, avx2 | of read speed, avx2 | ratio, avx2 | best peer, avx2 |"
        ),
        "|---|---|---|--:|--:|--:|--:|--:|---|--:|--:|--:|---|",
        (
            "| sigmoid cross-entropy | 200,000 x 80 | float32 | 2 | 1% "
            "| 0.10 | 50% | 5.0x | JAX 0.50 | - | - | - | - |"
        ),
        (
            "| softmax cross-entropy | 200,000 x 80 | float32 | 2 | 1% "
            "| 0.25 | 20% | **0.80x (slower)** | torch eager 0.20 "
            "| 0.50 | 10% | **0.40x (slower)** | torch eager 0.20 |"
        ),
    ]
    for name in ("setup", "outcome", "numba", "absent"):
        assert between(page, name).startswith("**avx512**\n\n")
        assert "\n\n**avx2**\n\n" in between(page, name)
    assert "Peers: limited to avx2 by A=b." in between(page, "setup")
    # The page that leads with a short table has the first machine's.
    alone = report.render([recorded()], empty_texts())
    assert rendered["docs/index.md"] == alone["docs/index.md"]


def test_variants_are_named():
    file = recorded()
    file["rows"] = [file["rows"][0] | {"variant": "masked"}]
    page = report.render([file], empty_texts())["docs/performance.md"]
    assert "| sigmoid cross-entropy | 200,000 x 80 | float32, masked | 2 |" in between(
        page, "losses"
    )


def test_detection_is_in_microseconds_per_call():
    file = recorded()
    seconds = {"parallel read": 50e-6, "fastxent": 100e-6, "NumPy, sorts": 900e-6, "torch": 400e-6}
    row = case_row("class_cost", seconds, kind="detection, focal cost, 6 classes", logits=1_000)
    file["rows"].append(row)
    page = report.render([file], empty_texts())["docs/performance.md"]
    assert between(page, "detection").splitlines() == [
        (
            "| function | work | shape | threads | fastxent | of read speed | ratio | best peer "
            "| other peers |"
        ),
        "|---|---|---|--:|--:|--:|--:|---|---|",
        (
            "| class cost | focal cost, 6 classes | 200,000 x 80 | 2 | 100 | 50% | 4.0x "
            "| torch 400 | NumPy, sorts 900 |"
        ),
    ]
    assert "class cost" not in between(page, "scores")


def test_lost_rows_are_named(rendered):
    assert between(rendered["docs/performance.md"], "outcome").splitlines() == [
        "fastxent is the fastest in 4 of 5 rows.",
        "It is slower than the best peer in these:",
        "",
        "- softmax cross-entropy, 200,000 x 80, float32, 2 threads: 0.80x, torch eager",
    ]


def test_other_tables(rendered):
    page = rendered["docs/performance.md"]
    gradients = (
        "| sigmoid focal loss + gradient | 200,000 x 80 | float32 | 2 | 1% | 0.20 | 25% | 100x "
    )
    assert gradients in between(page, "gradients")
    assert between(page, "scores") == report.NOTHING
    calls = "| softmax | 100 x 80 | float32 | 2 | 1% | 4.0 | 25% | 9.0x | SciPy 36 | - |"
    assert calls in between(page, "calls")
    pipeline = "| sigmoid | 200,000 x 80 | 2 | spinning | 9.0 | 16 | 2.0x | SciPy 32 | - |"
    assert pipeline in between(page, "pipeline")


def test_variants_of_ours_have_a_table(rendered):
    assert between(rendered["docs/performance.md"], "numba").splitlines() == [
        (
            "| function | shape | dtype | threads | native | Numba | Numba / native "
            "| torch.compile / Numba | custom loss | custom loss / Numba |"
        ),
        "|---|---|---|--:|--:|--:|--:|--:|--:|--:|",
        "| sigmoid cross-entropy | 200,000 x 80 | float32 | 2 | 0.10 | 0.15 | 1.50 | - | - | - |",
        (
            "| sigmoid focal loss + gradient | 200,000 x 80 | float32 | 2 | 0.20 | 0.25 | 1.25 "
            "| 100 | 0.31 | 1.25 |"
        ),
    ]


def test_gradients_in_jax_have_a_table():
    row = case_row(
        "sigmoid_focal_loss",
        {"parallel read": 1e-3, "fastxent": 3.2e-3, "fastxent, JAX": 4.8e-3, "JAX": 96e-3},
        kind="gradients",
    )
    page = report.render([recorded() | {"rows": [row]}], empty_texts())["docs/performance.md"]
    assert between(page, "jax").splitlines() == [
        (
            "| function | shape | dtype | threads | NumPy | fastxent.jax | optax "
            "| optax / fastxent.jax |"
        ),
        "|---|---|---|--:|--:|--:|--:|--:|",
        "| sigmoid focal loss + gradient | 200,000 x 80 | float32 | 2 | 0.20 | 0.30 | 6.0 | 20 |",
    ]


def test_variants_of_ours_are_no_peers():
    seconds = {"parallel read": 1e-3, "fastxent": 4e-3, "fastxent, Numba": 3e-3}
    row = case_row("sigmoid_focal_loss", seconds | {"fastxent, custom loss": 2e-3})
    assert figures_of(row).peers == []
    row["seconds"]["JAX"] = 5e-3
    figures = figures_of(row)
    assert [name for name, _ in figures.peers] == ["JAX"]
    assert figures.ratio == pytest.approx(1.25)


def test_no_variants_are_one_sentence():
    row = case_row("sigmoid_cross_entropy", {"parallel read": 1e-3, "fastxent": 4e-3})
    page = report.render([recorded() | {"rows": [row]}], empty_texts())["docs/performance.md"]
    assert between(page, "numba") == report.NOTHING


def test_absent_peers_are_reported(rendered):
    assert between(rendered["docs/performance.md"], "absent").splitlines() == [
        "- JAX: sigmoid focal loss + gradient, 200,000 x 80, float32, 2 threads: `TypeError: no`",
        (
            "- JAX: softmax cross-entropy, 200,000 x 80, float32, 2 threads: not equal, "
            "12 times the tolerance"
        ),
    ]


def test_setup_names_what_was_measured(rendered):
    setup = between(rendered["docs/performance.md"], "setup")
    for text in ("2026-02-03", "Some CPU", "avx512", "GCC 12.2.0", "numpy 2.4.6", "7 to 7"):
        assert text in setup
    assert "Not installed: torch" in setup


def test_short_table_has_lost_rows(rendered):
    readme = rendered["docs/index.md"]
    assert between(readme, "performance").splitlines()[2:] == [
        "| sigmoid cross-entropy | 200,000 x 80 | 0.10 | 50% | JAX 0.50 | 5.0x |",
        (
            "| softmax cross-entropy | 200,000 x 80 | 0.25 | 20% | torch eager 0.20 "
            "| **0.80x (slower)** |"
        ),
        "| sigmoid focal loss + gradient | 200,000 x 80 | 0.20 | 25% | NumPy 20 | 100x |",
    ]


def test_only_what_is_between_markers_changes(rendered):
    assert rendered["docs/index.md"].startswith("before\n\n<!-- performance -->\n")
    assert rendered["docs/index.md"].endswith("<!-- /performance -->\n\nafter\n")
    for name in PAGE_NAMES:
        assert f"# {name}, by hand\n" in rendered["docs/performance.md"]
    assert "old" not in "".join(rendered.values())
    assert report.render([recorded()], rendered) == rendered


def test_order_of_rows_does_not_show(rendered):
    file = recorded()
    file["rows"].reverse()
    assert report.render([file], empty_texts()) == rendered


@pytest.mark.parametrize("text", ["", "<!-- a -->", "<!-- /a -->", 2 * "<!-- a --><!-- /a -->"])
def test_missing_markers_are_an_error(text):
    with pytest.raises(ValueError, match="once each"):
        report.fill(text, "a", "body")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234.5, "1,234"),
        (123.4, "123"),
        (12.34, "12"),
        (2.34, "2.3"),
        (0.996, "1.00"),
        (0.0123, "0.012"),
    ],
)
def test_digits(value, text):
    assert digits(value) == text


def test_a_row_without_peers_is_neither_won_nor_lost():
    figures = figures_of(case_row("odds", {"parallel read": 1e-3, "fastxent": 2e-3}))
    assert figures.ratio is None
    assert not figures.loses
    assert report.ratio_cell(figures) == "-"


def test_pages_have_the_markers():
    texts = {name: (ROOT / name).read_text("utf-8") for name in empty_texts()}
    report.render([recorded()], texts)
    assert "## Kernels: operations, floors" in texts["docs/performance.md"]


def test_pages_are_what_the_report_writes():
    try:
        report.newest_results()
    except SystemExit:
        pytest.skip("no figures are recorded")
    assert report.main(["--check"]) == 0


def test_report_writes_the_same_charts_again(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    results = tmp_path / "results.json"
    results.write_text(json.dumps(recorded()), encoding="utf-8")
    (tmp_path / "docs").mkdir()
    for name, text in empty_texts().items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = [str(results), "--root", str(tmp_path)]
    assert report.main([*command, "--check"]) == 1
    assert "out of date" in capsys.readouterr().err
    assert report.main(command) == 0
    assert report.main([*command, "--check"]) == 0
    charts = {path: path.read_bytes() for path in (tmp_path / "docs").glob("*.svg")}
    assert {path.name for path in charts} == {"performance-functions.svg", "performance-shapes.svg"}
    for path, drawn in charts.items():
        assert b"<dc:date>" not in drawn
        path.unlink()
    assert report.main(command) == 0
    assert charts == {path: path.read_bytes() for path in charts}
