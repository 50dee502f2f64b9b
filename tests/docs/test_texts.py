"""README and the files next to it: their length, what they link to, and what they state."""

import re
from pathlib import Path

import pytest

import fastxent
from fastxent import _catalogue

ROOT = Path(__file__).parents[2]
TEXTS = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY")]
if not all(path.is_file() for path in TEXTS):
    pytest.skip("only in the source tree", allow_module_level=True)


def test_readme_is_short():
    assert len(TEXTS[0].read_text("utf-8").splitlines()) <= 150


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    links = re.findall(r"\]\(([^)#]+)", path.read_text("utf-8"))
    missing = [link for link in links if "://" not in link and not (ROOT / link).is_file()]
    assert missing == []


def test_citation_names_this_version():
    text = (ROOT / "CITATION.cff").read_text("utf-8")
    assert re.search(r"^version: (.+)$", text, re.MULTILINE)[1] == fastxent.__version__
    assert re.search(r"^cff-version: 1\.2\.0$", text, re.MULTILINE)
    assert re.search(r"^license: BSD-3-Clause$", text, re.MULTILINE)


def rows_of(section):
    """The rows of a table of docs/accuracy.md, as lists of cells."""
    page = (ROOT / "docs" / "accuracy.md").read_text("utf-8")
    table = page.partition(f"### {section}\n")[2].partition("\n### ")[0]
    lines = re.findall(r"^\| (.+?) ?\|$", table, re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")] for line in lines[1:]]


def test_accuracy_states_the_bounds_of_the_catalogue():
    """Another bound: run scripts/accuracy_page.py."""
    rows = rows_of("Every function")
    assert [row[0] for row in rows] == [*_catalogue.SCORES, *_catalogue.LOSSES]
    for name, bound, found, *of_gradient in rows:
        if name in _catalogue.SCORES:
            expected = (_catalogue.SCORES[name].bound,)
        else:
            expected = _catalogue.LOSSES[name].bounds.of(_catalogue.LOSSES[name].gamma)
        stated = [bound, *of_gradient[:1]] if len(expected) == 2 else [bound]
        assert [float(each) for each in stated] == list(expected), name
        assert 0 < float(found) <= expected[0]
        if len(expected) == 2:
            assert 0 < float(of_gradient[1]) <= expected[1]


@pytest.mark.parametrize("section", ["Usual", "Tiny losses", "Extremes"])
def test_accuracy_is_within_the_bounds_on_the_inputs_of_the_page(section):
    rows = rows_of(section)
    assert len(rows) == 12
    cross_entropies = {row[0]: float(row[1]) for row in rows if row[0].endswith("cross-entropy")}
    assert len(cross_entropies) == 2
    assert max(cross_entropies.values()) <= 4
