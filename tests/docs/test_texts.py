"""README and the files next to it: their length, what they link to, and what they state."""

import re
from pathlib import Path

import pytest

import fastxent

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
