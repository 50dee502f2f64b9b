"""Speed over commits: what is recorded, what is made of it, and how that looks in a browser."""

import json
import math
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import requirements
from support.browser import events, opened, served, wait_for

import fastxent as fx

ROOT = Path(__file__).parents[2]
ASV_BENCH = ROOT / "asv_bench"
if not ASV_BENCH.is_dir():
    pytest.skip("only in the source tree", allow_module_level=True)
sys.path.append(str(ASV_BENCH))

import dashboard  # noqa: E402
import recorder  # noqa: E402

RESULTS = sorted(ASV_BENCH.glob("results/**/*.json"))
#: What the graph that the browser opens shows.
BENCHMARK = "instructions.sigmoid_cross_entropy"
#: A rise by this factor from one commit to the next is what the overview calls a regression.
RISE = 1.05


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


def test_results_are_complete():
    """Every commit has the same parameters of a benchmark, and as many figures."""
    needs_results()
    every = json.loads((ASV_BENCH / "results" / "benchmarks.json").read_text())
    for path in RESULTS:
        for name, (figures, parameters, *_) in (
            json.loads(path.read_text()).get("results", {}).items()
        ):
            assert parameters == every[name]["params"], path.name
            assert len(figures) == math.prod(map(len, parameters))
            assert None not in figures


def needs_results():
    if not RESULTS:
        pytest.skip("no commit is recorded")


def needs_history():
    if reason := requirements.absence("history"):
        pytest.skip(reason)


def test_a_machine_is_described_by_its_kind(monkeypatch):
    machine = recorder.machine_of_times()
    assert platform.node() not in " ".join(machine.values())
    assert set(machine) == {"machine", "os", "arch", "cpu", "num_cpu", "ram"}
    assert set(recorder.machine_of_counts()) == set(machine)
    monkeypatch.setattr(
        "fastxent.cli.machine.cpu_model", lambda: "Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz"
    )
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setattr("fastxent.native.get_isa", lambda: "avx2")
    expected = "times-intel-xeon-e5-2680-v4-avx2-8cpu"
    assert recorder.machine_of_times()["machine"] == expected


def test_what_is_recorded_is_not_recorded_again(tmp_path, monkeypatch, capsys):
    measured = []

    def record_counts(target):
        measured.append(target)
        if measured == ["a", "c"]:
            raise RuntimeError("too bad")
        return {}

    monkeypatch.setattr(dashboard, "RESULTS", tmp_path)
    monkeypatch.setattr(dashboard, "commits_of_speed", lambda: ["a" * 40, "b" * 40, "c" * 40])
    monkeypatch.setattr(dashboard, "git", lambda *_: ["1700000000"])
    monkeypatch.setattr(dashboard, "build", lambda _, commit, folder: commit[0])
    monkeypatch.setattr(dashboard.counting, "absence", lambda: "")
    monkeypatch.setattr(recorder, "record_counts", record_counts)
    dashboard.record(count="all", step=2, counts=True, times=False)
    assert measured == ["a", "c"]
    dashboard.record(count="all", step=1, counts=True, times=False)
    assert measured == ["a", "c", "b", "c"]
    assert "cccccccc: RuntimeError: too bad" in capsys.readouterr().err
    written = json.loads((tmp_path / recorder.COUNTS / "bbbbbbbb.json").read_text())
    assert written["date"] == 1_700_000_000_000


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


def publish(results, folder):
    """Make pages of results, with our configuration but for where they are."""
    pytest.importorskip("asv", reason="the extra asv is not installed")
    pytest.importorskip("asv_tachyon", reason="the extra asv is not installed")
    text = dashboard.CONFIGURATION.read_text("utf-8")
    text = text.replace('"repo": ".."', f'"repo": "{ROOT}"')
    text = text.replace('"results_dir": "results"', f'"results_dir": "{results}"')
    configuration = folder / "asv.conf.json"
    configuration.write_text(text, "utf-8")
    dashboard.publish(folder / "html", configuration)
    return folder / "html"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The pages of the recorded results, as a user makes them."""
    pytest.importorskip("asv", reason="the extra asv is not installed")
    pytest.importorskip("asv_tachyon", reason="the extra asv is not installed")
    needs_history()
    needs_results()
    folder = tmp_path_factory.mktemp("dashboard") / "html"
    dashboard.publish(folder, dashboard.CONFIGURATION)
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
    assert len(with_values) == sum(path.parent.name == recorder.COUNTS for path in RESULTS) - 1

    assert browser.get_log("browser") == []
    elsewhere = [url for url in requests if not url.startswith((address, "data:", "blob:"))]
    assert elsewhere == []
    browser.save_screenshot(str(request.getfixturevalue("tmp_path") / "dashboard.png"))


# --- regressions on the overview ------------------------------------------------------------------


def listed_as_regressed(browser, address):
    """Return what the overview lists when it is asked for regressions only."""
    browser.get(address)
    chip = "//button[contains(., 'only-regressed')]"
    wait_for(browser, "return document.body.innerText.match(/\\d+ benchmarks/)")
    # The graphs are loaded one by one, and so grows what is shown of them.
    text = ""
    while text != (text := browser.execute_script("return document.body.innerText")):
        time.sleep(3)
    browser.find_element("xpath", chip).click()
    text = wait_for(browser, "return document.body.innerText")
    assert browser.get_log("browser") == []
    return set(re.findall(r"^[a-z]+\.[a-z0-9_]+$", text, re.MULTILINE))


def test_the_overview_lists_no_regression_that_is_none(browser, address):
    """What is listed are counts, which every recording confirms, and that have risen."""
    needs_history()
    order = [commit[:8] for commit in dashboard.commits_of_speed()]
    folder = ASV_BENCH / "results" / recorder.COUNTS
    newest, before = [
        json.loads((folder / f"{commit}.json").read_text())["results"]
        for commit in order
        if (folder / f"{commit}.json").exists()
    ][:2]
    for name in listed_as_regressed(browser, address):
        assert name.startswith(("instructions.", "cycles.", "memory.", "size.")), name
        rises = [a / b for a, b in zip(newest[name][0], before[name][0], strict=True)]
        assert max(rises) > RISE, name


TWICE = """
def _twice(once):
    def twice(*arguments, **options):
        once(*arguments, **options)
        return once(*arguments, **options)
    return twice

odds = _twice(odds)
"""


@pytest.mark.exhaustive
def test_the_overview_lists_a_kernel_that_works_twice(browser, tmp_path):
    needs_history()
    if reason := requirements.absence("valgrind"):
        pytest.skip(reason)
    pytest.importorskip("asv", reason="the extra asv is not installed")
    results = tmp_path / "results"
    machine = recorder.machine_of_counts()
    planted, before = dashboard.commits_of_speed()[:2]
    groups = ["odds", "logit"]
    for commit, text in ((before, ""), (planted, TWICE)):
        target = tmp_path / commit
        shutil.copytree(Path(fx.__file__).parent, target / "fastxent")
        with (target / "fastxent" / "__init__.py").open("a") as file:
            file.write(text)
        date = 1000 * int(dashboard.git("log", "-1", "--format=%ct", commit)[0])
        recorder.write(results, machine, commit, date, recorder.record_counts(target, groups))
    with served(publish(results, tmp_path), dashboard.QuietHandler) as address:
        listed = listed_as_regressed(browser, address)
    assert listed == {"instructions.odds", "cycles.odds"}
