"""docs/peers.md: its tables name parameters that are ours, and parameters that peers have."""

import inspect
import re
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from scipy import special

import fastxent as fx
from fastxent import _catalogue

PAGE = Path(__file__).parents[2] / "docs" / "peers.md"
if not PAGE.is_file():
    pytest.skip("only in the source tree", allow_module_level=True)
TEXT = PAGE.read_text(encoding="utf-8")
LIBRARY_HEADER = ["library", "name", "version", "it lacks", "we lack"]
PEER_HEADER = ["peer", "its parameters -> ours", "it lacks", "we lack"]
# The distributions that tests may compare with, by the first part of a function's name.
INSTALLABLE = {"torch": "torch", "sklearn": "scikit-learn", "scipy": "scipy"}


class Peer(NamedTuple):
    """A row about a function of another library."""

    ours: str
    function: str
    #: What stands for each of its parameters here.
    parameters: dict[str, str]
    lacks: str
    we_lack: str


def read_tables(section):
    """The rows of the tables of a section, as lists of cells, headers included."""
    lines = re.findall(r"^\| (.*) \|$", section, re.MULTILINE)
    return [line.split(" | ") for line in lines if set(line) != set("- |")]


def read_peers(ours, section):
    """The rows of the section of one of our functions."""
    _, *rows = read_tables(section) or [PEER_HEADER]
    for peer, parameters, lacks, we_lack in rows:
        pairs = [line.split(" -> ", maxsplit=1) for line in parameters.split("<br>")]
        names = {name.strip("`"): text for name, text in pairs}
        yield Peer(ours, peer.split("<br>")[0].strip("`"), names, lacks, we_lack)


INTRODUCTION, *SECTIONS = re.split(r"^### ", TEXT, flags=re.MULTILINE)
SECTIONS = dict(section.split("\n", maxsplit=1) for section in SECTIONS)
VERSIONS = {name.strip("`"): number for _, name, number, _, _ in read_tables(INTRODUCTION)[1:]}
PEERS = [peer for ours, section in SECTIONS.items() for peer in read_peers(ours, section)]
IDS = [f"{peer.ours}-{peer.function}" for peer in PEERS]


def named_parameters(text):
    """The words in backticks that are no functions of ours, without the values after them."""
    return {span.split("=")[0] for span in re.findall("`(.+?)`", text) if span[:3] != "fx."}


def find_function(name):
    """The function of another library, or a skip."""
    library, *attributes = name.split(".")
    found = pytest.importorskip(library)
    for i, attribute in enumerate(attributes):
        if not hasattr(found, attribute):
            pytest.importorskip(".".join([library, *attributes[: i + 1]]))
        found = getattr(found, attribute)
    return found


def release(text):
    """The first two numbers of a version."""
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])


def test_every_table_is_read():
    """What is not read is not compared."""
    assert read_tables(INTRODUCTION)[0] == LIBRARY_HEADER
    headers = [rows[0] for rows in map(read_tables, SECTIONS.values()) if rows]
    assert headers == [PEER_HEADER] * len(headers)
    rows = [line for line in TEXT.splitlines() if line.startswith("|")]
    assert len(rows) == len(VERSIONS) + len(PEERS) + 2 * (1 + len(headers))
    assert all(cell.strip() == cell != "" for row in rows for cell in row[2:-2].split(" | "))


def test_every_function_is_of_a_library_of_the_page():
    assert {peer.function.split(".")[0] for peer in PEERS} == set(VERSIONS)


def test_every_loss_and_score_has_a_section():
    losses, scores, detection = re.split("\n## Scores\n|\n## Detection\n", TEXT)
    parts = (losses, scores, detection)
    headings = [re.findall(r"^### (.*)$", part, re.MULTILINE) for part in parts]
    assert sorted(headings[0]) == sorted(_catalogue.LOSSES)
    assert headings[1] == list(_catalogue.SCORES)
    assert all(callable(getattr(fx, name)) for name in headings[2])
    assert all(list(read_peers("", SECTIONS[loss])) for loss in headings[0])


@pytest.mark.parametrize("peer", PEERS, ids=IDS)
def test_parameters_of_ours_exist(peer):
    parameters = set(inspect.signature(getattr(fx, peer.ours)).parameters)
    for text in [*peer.parameters.values(), peer.lacks]:
        assert named_parameters(text) <= parameters, text
    # Each of theirs is one of ours, or it is said that it is not.
    for name, text in peer.parameters.items():
        assert named_parameters(text) or text.startswith("none"), name


@pytest.mark.parametrize("peer", PEERS, ids=IDS)
def test_parameters_that_we_lack_are_the_peers(peer):
    assert named_parameters(peer.we_lack) <= set(peer.parameters)


@pytest.mark.parametrize("peer", PEERS, ids=IDS)
def test_functions_of_ours_exist(peer):
    for text in [*peer.parameters.values(), peer.lacks, peer.we_lack]:
        for name in re.findall(r"`fx\.(\w+)`", text):
            assert name in fx.__all__


@pytest.mark.parametrize(
    "peer", {peer.function: peer for peer in PEERS}.values(), ids=lambda peer: peer.function
)
def test_parameters_are_those_of_the_installed_peer(peer):
    library = peer.function.split(".")[0]
    if library not in INSTALLABLE:
        pytest.skip("not among the packages of the tests")
    function = find_function(peer.function)
    installed = version(INSTALLABLE[library])
    if release(installed) < release(VERSIONS[library]):
        pytest.skip(f"{library} {installed} is older than the page")
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:  # NumPy before 2.4 does not know the signatures of ufuncs
        pytest.skip("its signature is not to be had")
    assert [name for name in parameters if name != "self"] == list(peer.parameters)


def test_what_the_page_says_of_empty_class_axes():
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    assert "An empty class axis is an error for losses." in TEXT
    logits = np.empty((3, 0), np.float32)
    tensor, array = torch.from_numpy(logits), jax.numpy.asarray(logits)
    losses = torch.nn.functional
    assert losses.cross_entropy(tensor, tensor, reduction="sum") == 0
    assert losses.binary_cross_entropy_with_logits(tensor, tensor, reduction="sum") == 0
    assert losses.binary_cross_entropy_with_logits(tensor, tensor).isnan()
    for loss in (fx.sigmoid_cross_entropy, fx.softmax_cross_entropy):
        with pytest.raises(ValueError, match="no classes on axis -1"):
            loss(logits, logits)
    result = fx.logsumexp(logits)
    np.testing.assert_array_equal(result, torch.logsumexp(tensor, 1))
    np.testing.assert_array_equal(result, jax.nn.logsumexp(array, axis=1))
    np.testing.assert_array_equal(result, special.logsumexp(logits, axis=1))
    for ours, of_torch, of_jax, of_scipy in (
        (fx.softmax, torch.softmax, jax.nn.softmax, special.softmax),
        (fx.log_softmax, torch.log_softmax, jax.nn.log_softmax, special.log_softmax),
    ):
        assert ours(logits).shape == of_torch(tensor, 1).shape == of_jax(array, axis=1).shape
        with pytest.raises(ValueError, match="zero-size array"):
            of_scipy(logits, axis=1)
