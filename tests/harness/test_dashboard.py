"""Speed over commits: what is recorded, what is made of it, and how that looks in a browser."""

import json
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import requirements
from support.browser import events, opened, served, wait_for

ROOT = Path(__file__).parents[2]
ASV_BENCH = ROOT / "asv_bench"
if not (ASV_BENCH / "results").is_dir():
    pytest.skip("only in the source tree", allow_module_level=True)
sys.path.append(str(ASV_BENCH))

import dashboard  # noqa: E402

RESULTS = sorted(ASV_BENCH.glob("results/**/*.json"))
#: What the graph that the browser opens shows.
BENCHMARK = "losses.Loss.track_over_read"
FEWEST_COMMITS = 5


# --- what is recorded -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.name[:40])
def test_results_name_no_place_and_no_host(path):
    text = path.read_text(encoding="utf-8")
    json.loads(text)
    assert platform.node() not in re.findall(r"[\w.-]+", text)
    # Absolute paths of Unix and Windows, and addresses.
    assert not re.search(r"""["'\s=:](/(home|root|tmp|usr|opt|var|mnt|work)\b|[A-Z]:\\\\)""", text)
    assert not re.search(r"\w+://", text)


def test_results_are_of_commits_that_exist():
    needs_history()
    recorded = {
        json.loads(path.read_text())["commit_hash"]
        for path in RESULTS
        if path.name not in {"machine.json", "benchmarks.json"}
    }
    assert recorded <= set(dashboard.commits_of_speed())
    assert len(recorded) >= FEWEST_COMMITS


def needs_history():
    if reason := requirements.absence("history"):
        pytest.skip(reason)


def test_a_machine_is_described_by_its_kind(monkeypatch):
    machine = dashboard.describe_machine()
    assert platform.node() not in " ".join(machine.values())
    assert set(machine) == {"machine", "os", "arch", "cpu", "num_cpu", "ram"}
    monkeypatch.setattr(
        "fastxent.cli.machine.cpu_model", lambda: "Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz"
    )
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert dashboard.describe_machine()["machine"] == "intel-xeon-e5-2680-v4-8cpu"


def test_commits_of_speed_are_those_that_touch_the_kernels(tmp_path, monkeypatch):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    for number, name in enumerate(
        ["README.md", "fastxent/native/a.c", "fastxent/losses.py", "setup.py", "docs/a.md"]
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(number))
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "--quiet", "--message", name], check=True)
    monkeypatch.setattr(dashboard, "ROOT", tmp_path)
    subjects = [
        dashboard.git("log", "-1", "--format=%s", commit)[0]
        for commit in dashboard.commits_of_speed()
    ]
    assert subjects == ["setup.py", "fastxent/native/a.c"]


# --- what is made of it ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The pages of the recorded results."""
    pytest.importorskip("asv", reason="the extra asv is not installed")
    pytest.importorskip("asv_tachyon", reason="the extra asv is not installed")
    needs_history()
    folder = tmp_path_factory.mktemp("dashboard") / "html"
    dashboard.publish(folder)
    return folder


def test_lower_is_better_everywhere(pages):
    index = json.loads((pages / "index.json").read_text())
    assert BENCHMARK in index["benchmarks"]
    assert all(each["less_is_better"] is True for each in index["benchmarks"].values())


def test_pages_name_the_commits(pages):
    index = json.loads((pages / "index.json").read_text())
    subjects = json.loads((pages / "commits.json").read_text())
    assert set(index["revision_to_hash"].values()) <= set(subjects)


# --- in a browser ---------------------------------------------------------------------------------


@pytest.fixture
def address(pages):
    with served(pages, dashboard.QuietHandler) as url:
        yield url


@pytest.fixture
def browser():
    with opened() as window:
        yield window


DRAWN = """
const chart = document.querySelector(".uplot canvas");
if (!chart || !chart.width) return 0;
const pixels = chart.getContext("2d").getImageData(0, 0, chart.width, chart.height).data;
let colourful = 0;
for (let at = 0; at < pixels.length; at += 4) {
    const rgb = pixels.slice(at, at + 3);
    if (pixels[at + 3] && Math.max(...rgb) - Math.min(...rgb) > 60) colourful++;
}
return colourful;
"""


def test_in_a_browser_without_a_network(browser, address, request):
    browser.get(address)
    shown = wait_for(browser, "return document.body.innerText.match(/\\d+ benchmarks/)")
    index = json.loads((request.getfixturevalue("pages") / "index.json").read_text())
    assert shown == [f"{len(index['benchmarks'])} benchmarks"]
    revisions = wait_for(browser, "return document.body.innerText.match(/(\\d+) revisions/)")
    assert int(revisions[1]) >= FEWEST_COMMITS

    browser.find_element("css selector", "input[type=search], input").send_keys(BENCHMARK)
    tile = f"//*[normalize-space(text())='{BENCHMARK}']"
    browser.find_element("xpath", tile).click()
    wait_for(browser, "return location.hash.includes('view=explore')")
    assert BENCHMARK in browser.current_url
    assert wait_for(browser, DRAWN) > 100  # of the axes and the grid, none are

    # What the graph was made of: the file that the page asked for.
    requests = [each["request"]["url"] for each in events(browser, "Network.requestWillBeSent")]
    (graph,) = {url for url in requests if "/graphs/" in url and url.endswith(f"/{BENCHMARK}.json")}
    points = browser.execute_script("return fetch(arguments[0]).then(each => each.json())", graph)
    with_values = [values for _, values in points if any(value is not None for value in values)]
    assert len(with_values) >= FEWEST_COMMITS

    assert browser.get_log("browser") == []
    elsewhere = [url for url in requests if not url.startswith((address, "data:", "blob:"))]
    assert elsewhere == []
    browser.save_screenshot(str(request.getfixturevalue("tmp_path") / "dashboard.png"))
