"""The site as a reader sees it: built, linked, searched and opened in a browser."""

import contextlib
import html.parser
import importlib
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import numpy as np
import pytest
from support.browser import opened, requests_elsewhere, served, wait_for

import fastxent as fx

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SITE = ROOT / "build" / "docs"
if not (DOCS / "conf.py").is_file():
    pytest.skip("only in the source tree", allow_module_level=True)
for package in ("sphinx", "skimage"):
    pytest.importorskip(package, reason="the extra docs is not installed")

#: What `make test` opens; `make test-all` opens all pages.
MAIN_PAGES = (
    "index",
    "which-loss",
    "mathematics",
    "playground",
    "performance",
    "generated/gallery/index",
)


OPTIONS = ("--quiet", "--fail-on-warning", "--keep-going", "-d", str(SITE.parent / "doctrees"))


@contextlib.contextmanager
def alone():
    """Let one process at a time build the site."""
    fcntl = pytest.importorskip("fcntl")
    SITE.parent.mkdir(exist_ok=True)
    with (SITE.parent / "docs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="module")
def site():
    """Build the site, or what has changed of it; warnings are errors."""
    with alone():
        done = subprocess.run(
            [sys.executable, "-m", "sphinx", *OPTIONS, str(DOCS), str(SITE)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"MPLBACKEND": "agg"},
        )
    assert done.returncode == 0, done.stdout + done.stderr
    return SITE


@pytest.fixture(scope="module")
def address(site):
    with served(site) as url:
        yield url


@pytest.fixture(scope="module")
def browser():
    with opened() as window:
        yield window


# --- the files ------------------------------------------------------------------------------------


class Page(html.parser.HTMLParser):
    """What a page refers to."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loaded, self.anchors = [], [], set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.anchors |= {values.get("id"), values.get("name")}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        elif tag == "link" and values.get("rel") in {"stylesheet", "preload", "icon"}:
            self.loaded.append(values["href"])
        elif tag in {"img", "script", "iframe", "source"} and values.get("src"):
            self.loaded.append(values["src"])


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in site.rglob("*.html") if "_static" not in path.parts}


def inside(path, reference):
    """Return the file that a reference of a page leads to, and the anchor; None: another host."""
    target, anchor = urldefrag(reference)
    if urlsplit(target).scheme or target.startswith("//"):
        return None
    return (path.parent / unquote(target.partition("?")[0])).resolve() if target else path, anchor


def test_no_link_within_the_site_is_broken(pages):
    broken = []
    for path, page in pages.items():
        for link in page.links:
            found = inside(path, link)
            if found is None:
                continue
            target, anchor = found
            known = pages.get(target)
            if not target.exists() or (anchor and known and anchor not in known.anchors):
                broken.append(f"{path.relative_to(SITE)}: {link}")
    assert broken == []


def test_all_that_is_loaded_lies_next_to_the_pages(pages):
    missing = [
        f"{path.relative_to(SITE)}: {reference}"
        for path, page in pages.items()
        for reference in page.loaded
        if not reference.startswith("data:")
        and ((found := inside(path, reference)) is None or not found[0].is_file())
    ]
    assert missing == []


def test_every_public_name_has_a_page(pages):
    names = {path.stem for path in pages}
    assert {f"fastxent.{name}" for name in fx.__all__ if name != "__version__"} <= names


@pytest.mark.parametrize(
    ("library", "module"),
    [
        ("torch", "fastxent.torch"),
        ("torch", "fastxent.torch.mmdetection"),
        ("jax", "fastxent.jax"),
        ("dask", "fastxent.dask"),
    ],
)
def test_every_public_name_for_another_library_is_documented(pages, library, module):
    pytest.importorskip(library)
    names = importlib.import_module(module).__all__
    assert len(names) >= 5
    documented = set().union(*(page.anchors for page in pages.values()))
    assert {f"{module}.{name}" for name in names} <= documented
    assert SITE / "api" / f"{library}.html" in pages


def test_formulas_are_mathml(pages):
    path = SITE / "mathematics.html"
    assert path.read_text("utf-8").count("<math") > 15
    assert not any("mathjax" in each.lower() for each in pages[path].loaded)


def test_gallery_has_its_pictures(site):
    pictures = list((site / "_images").glob("sphx_glr_plot_*_0*.png"))
    scripts = list((DOCS / "gallery").glob("plot_*.py"))
    assert len(scripts) >= 13
    assert {path.stem for path in scripts} == {
        path.stem.removeprefix("sphx_glr_")[:-4] for path in pictures
    }


def test_scripts_of_the_gallery_are_short():
    for path in (DOCS / "gallery").glob("*.py"):
        assert len(path.read_text("utf-8").splitlines()) <= 70, path.name


# --- in a browser ---------------------------------------------------------------------------------


def open_page(browser, address, name):
    """Open a page; return what is wrong with it."""
    browser.get(f"{address}{name}.html")
    wait_for(browser, "return document.readyState === 'complete'")
    broken = browser.execute_script(
        "return [...document.images].filter(each => each.loading !== 'lazy' && !each.naturalWidth)"
        ".map(each => each.src)"
    )
    # The theme says at level INFO which mode it has chosen.
    log = [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"]
    problems = [f"console: {entry['message']}" for entry in log]
    problems += [f"picture: {url}" for url in broken]
    problems += [f"elsewhere: {url}" for url in requests_elsewhere(browser, address)]
    wide = browser.execute_script("return document.documentElement.scrollWidth - innerWidth")
    if wide > 0:
        problems.append(f"{wide} pixels wider than the window")
    return [f"{name}: {problem}" for problem in problems]


@pytest.mark.parametrize("width", [1300, 400])
def test_main_pages_open_without_a_network(browser, address, width):
    device = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", device)
    problems = [each for name in MAIN_PAGES for each in open_page(browser, address, name)]
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert problems == []


@pytest.mark.exhaustive
def test_every_page_opens_without_a_network(browser, address, pages):
    names = [path.relative_to(SITE).with_suffix("").as_posix() for path in pages]
    assert len(names) > 80
    assert [each for name in names for each in open_page(browser, address, name)] == []


def test_search(browser, address):
    browser.get(f"{address}search.html?q=softmax_cross_entropy")
    links = wait_for(
        browser,
        "const done = /finished, found/.test(document.querySelector('#search-results').innerText);"
        "const found = [...document.querySelectorAll('#search-results li a')];"
        "return done ? found.map(each => each.href) : null",
    )
    assert any("fastxent.softmax_cross_entropy.html" in link for link in links)
    assert any("which-loss.html" in link for link in links)


def test_tables_filter_and_sort(browser, address):
    browser.get(f"{address}performance.html")
    rows = wait_for(browser, "return document.querySelectorAll('table.sortable').length")
    assert rows >= 3
    shown = """
        const table = document.querySelector('table.sortable');
        const input = document.querySelector('.table-filter');
        input.value = arguments[0];
        input.dispatchEvent(new Event('input'));
        return [...table.tBodies[0].rows].filter(row => !row.hidden)
            .map(row => [...row.cells].map(cell => cell.textContent));
    """
    everything = browser.execute_script(shown, "")
    some = browser.execute_script(shown, "softmax bfloat16")
    assert 0 < len(some) < len(everything)
    assert all("softmax" in " ".join(row) and "bfloat16" in " ".join(row) for row in some)
    column = browser.execute_script(
        "const heads = [...document.querySelector('table.sortable').tHead.rows[0].cells];"
        "const at = heads.findIndex(head => head.textContent.trim() === 'fastxent');"
        "heads[at].querySelector('button').click(); return at"
    )
    times = [float(row[column].replace(",", "")) for row in browser.execute_script(shown, "")]
    assert times == sorted(times)
    assert len(times) == len(everything) > 50


# --- the page to play with ------------------------------------------------------------------------

SET = """
    for (const [id, value] of Object.entries(arguments[0])) {
        const input = document.getElementById(id);
        input.value = value;
        input.dispatchEvent(new Event('input'));
    }
    for (const value of arguments[1]) document.querySelector(`input[value="${value}"]`).click();
    return Object.fromEntries([...document.querySelectorAll('[data-name]')]
        .map(each => [each.dataset.name, [Number(each.dataset.value), each.textContent]]));
"""
TARGETS = {
    "class 1": [1, 0, 0],
    "class 2": [0, 1, 0],
    "class 3": [0, 0, 1],
    "classes 1 and 2": [1, 1, 0],
    "none": [0, 0, 0],
}


@pytest.fixture(scope="module")
def playground(browser, address):
    browser.get(f"{address}playground.html")
    wait_for(browser, "return document.getElementById('z1')")
    return lambda sliders, *choices: browser.execute_script(SET, sliders, choices)


@pytest.mark.parametrize("choice", TARGETS)
@pytest.mark.parametrize("logits", [(2.0, 1.0, -1.0), (-6.0, 6.0, 0.05), (0.0, 0.0, 0.0)])
def test_sliders_show_what_the_package_computes(playground, logits, choice):
    found = playground(dict(zip(("z1", "z2", "z3"), logits, strict=True)), choice)
    for head, score, loss_function in (
        ("sigmoid", fx.sigmoid, fx.sigmoid_cross_entropy),
        ("softmax", fx.softmax, fx.softmax_cross_entropy),
    ):
        p = score(np.array(logits))
        loss, grad = loss_function(np.array([logits]), [TARGETS[choice]], return_grad=True)
        expected = {f"p{c}": p[c] for c in range(3)} | {"sum": p.sum(), "loss": loss[0]}
        expected |= {f"gradient{c}": grad[0, c] for c in range(3)}
        for name, value in expected.items():
            shown, text = found[f"{head} {name}"]
            assert shown == pytest.approx(value, rel=1e-12, abs=1e-15), (head, name)
            assert float(text) == pytest.approx(value, abs=5.1e-5)


@pytest.mark.parametrize("truth", ["positive", "negative"])
@pytest.mark.parametrize(
    ("logit", "gamma", "alpha"),
    [(1.0, 2.0, 0.25), (-4.5, 0.0, 0.5), (6.0, 5.0, 1.0), (0.0, 1.5, 0.0)],
)
def test_sliders_of_the_focal_loss(playground, logit, gamma, alpha, truth):
    found = playground({"logit": logit, "gamma": gamma, "alpha": alpha}, truth)
    target = int(truth == "positive")
    loss, grad = fx.sigmoid_focal_loss(
        np.float64(logit), target, axis=None, alpha=alpha, gamma=gamma, return_grad=True
    )
    plain = fx.sigmoid_cross_entropy(np.float64(logit), target, axis=None)
    expected = {
        "focal p": fx.sigmoid(np.float64(logit)),
        "focal loss": loss,
        "focal gradient": grad,
        "cross-entropy": plain,
    }
    for name, value in expected.items():
        assert found[name][0] == pytest.approx(float(value), rel=1e-11, abs=1e-15), name
