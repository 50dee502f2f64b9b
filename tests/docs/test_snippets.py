"""The examples in docs/, run page by page, and the pages for users of other libraries."""

import re
import sys

import numpy as np
import pytest
from support import pages

import fastxent as fx

if not (pages.DOCS / "index.md").is_file():
    pytest.skip("only in the source tree", allow_module_level=True)
sys.path.append(str(pages.DOCS / "_ext"))

PAGES = pages.pages_with_examples()
COMING_FROM = sorted((pages.DOCS / "coming-from").glob("*.md"))
#: Which page has the functions of a library, by the first part of their names. The others of
#: peers.md have no page.
LIBRARIES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "mmdet": "mmdetection",
    "keras": "keras",
    "optax": "optax",
    "sklearn": "scikit-learn",
    "scipy": "scipy",
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of other libraries at their import
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")
@pytest.mark.parametrize("page", PAGES)
def test_examples_print_what_they_say(page, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    variables = {}
    for line, code in pages.blocks_of(page):
        if package := pages.missing_package(code):
            pytest.skip(f"{package} is not installed, from line {line} on")
        if "import torchvision" in code:
            kept = pages.import_torchvision()
            assert kept
        assert pages.run_block(page, line, code, variables) == 0, f"{page}, block at line {line}"


def test_every_section_has_examples():
    assert {"getting-started.md", "which-loss.md", "mathematics.md"} <= set(PAGES)
    assert len([page for page in PAGES if page.startswith("guide/")]) >= 13
    assert len([page for page in PAGES if page.startswith("coming-from/")]) == 8


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_peer_has_an_example_that_computes_both(library):
    from peer_rows import read_rows

    text = (pages.DOCS / "coming-from" / f"{LIBRARIES[library]}.md").read_text("utf-8")
    rows = [row for row in read_rows() if row.function.split(".")[0] == library]
    assert rows
    for row in rows:
        before, found, _ = text.partition(
            f"{{peer-row}} {row.ours} {row.function}{_variant(row)}\n"
        )
        assert found, f"{row.function} is not on the page of {library}"
        example = before.rpartition("{peer-row}")[2]
        assert f"fx.{row.ours}(" in example, row
        assert library == "mmdet" or row.function.split(".")[-1] in example or _by_hand(row), row


def _variant(row):
    """Return what tells rows of one function apart."""
    return f" {row.variant}" if row.variant.startswith("from_logits") else ""


def _by_hand(row):
    """Return whether a method of a detector is written down, not called: it needs a whole model."""
    return row.function.startswith("torchvision.models.detection.")


def test_numbers_that_the_texts_state():
    """Those that no example prints: in getting-started, which-loss, the playground, the gallery."""
    assert round(np.log(2), 2) == 0.69
    assert round(2 * np.log(2), 3) == 1.386
    for p, plain, focal in ((0.9, 0.105, 0.001), (0.1, 2.3, 1.9)):
        z = np.log(p / (1 - p))
        found = fx.sigmoid_cross_entropy(z, 1, axis=None)
        assert round(float(found), 3) == pytest.approx(plain, abs=0.004)
        found = fx.sigmoid_focal_loss(z, 1, axis=None, alpha=None, gamma=2.0)
        assert float(found) == pytest.approx((1 - p) ** 2 * -np.log(p))
        assert float(found) == pytest.approx(focal, abs=0.05 * focal + 5e-5)
    naive = -np.log(1 / (1 + np.exp(-np.float32([16, 18]))))
    assert list(naive > 0) == [True, False]
    # A one-hot copy of 10,000,000 anchors and 80 classes, in float32.
    assert 10_000_000 * 80 * 4 == 3.2e9


def test_rows_are_all_of_the_table():
    from peer_rows import PAGE, read_rows

    lines = re.findall(r"^\| `[\w.]+\.\w+`.*->", PAGE.read_text("utf-8"), re.MULTILINE)
    assert len(read_rows()) == len(lines) > 30
