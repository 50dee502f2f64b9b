"""docs/peers.md: what its script writes, with parameters that are ours and parameters of peers."""

import importlib.util
import inspect
import re
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from scipy import special

import fastxent as fx
from fastxent import _catalogue

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "peer_table.py"
PAGE = ROOT / "docs" / "peers.md"
if not (SCRIPT.is_file() and PAGE.is_file()):
    pytest.skip("only in the source tree", allow_module_level=True)


def load_script():
    sys.path.insert(0, str(SCRIPT.parent))  # where its own modules are
    spec = importlib.util.spec_from_file_location("peer_table", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(SCRIPT.parent))
    return module


table = load_script()
PEERS = [(ours, peer) for ours, peers in (table.LOSSES | table.SCORES).items() for peer in peers]
IDS = [f"{ours}-{peer.function}" for ours, peer in PEERS]
# The distributions that tests may compare with, by the first part of a function's name.
INSTALLABLE = {"torch": "torch", "sklearn": "scikit-learn", "scipy": "scipy"}


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


def test_page_is_what_the_script_writes():
    assert PAGE.read_text(encoding="utf-8") == table.format_page()
    assert table.main(["--check"]) == 0


def test_check_finds_an_old_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(table, "PAGE", tmp_path / "docs" / "peers.md")
    assert table.main(["--check"]) == 1
    assert "out of date" in capsys.readouterr().err
    assert table.main([]) == 0
    assert table.main(["--check"]) == 0


def test_every_loss_and_score_has_a_section():
    assert set(table.LOSSES) == set(_catalogue.LOSSES)
    assert set(table.SCORES) == set(_catalogue.SCORES)
    headings = re.findall(r"^### (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == [*table.LOSSES, *table.SCORES]
    assert set(headings) <= set(fx.__all__)


@pytest.mark.parametrize(("ours", "peer"), PEERS, ids=IDS)
def test_parameters_of_ours_exist(ours, peer):
    parameters = set(inspect.signature(getattr(fx, ours)).parameters)
    for text in [*peer.parameters.values(), peer.lacks]:
        assert named_parameters(text) <= parameters, text
    # Each of theirs is one of ours, or it is said that it is not.
    for name, text in peer.parameters.items():
        assert named_parameters(text) or text.startswith("none"), name


@pytest.mark.parametrize(("ours", "peer"), PEERS, ids=IDS)
def test_parameters_that_we_lack_are_the_peers(ours, peer):
    assert named_parameters(peer.we_lack) <= set(peer.parameters)


@pytest.mark.parametrize(("ours", "peer"), PEERS, ids=IDS)
def test_functions_of_ours_exist(ours, peer):
    for text in [*peer.parameters.values(), peer.lacks, peer.we_lack]:
        for name in re.findall(r"`fx\.(\w+)`", text):
            assert name in fx.__all__


@pytest.mark.parametrize(
    "peer", {peer.function: peer for _, peer in PEERS}.values(), ids=lambda peer: peer.function
)
def test_parameters_are_those_of_the_installed_peer(peer):
    library = peer.function.split(".")[0]
    if library not in INSTALLABLE:
        assert library in table.LIBRARIES
        pytest.skip("not among the packages of the tests")
    function = find_function(peer.function)
    installed = version(INSTALLABLE[library])
    if release(installed) < release(table.LIBRARIES[library].version):
        pytest.skip(f"{library} {installed} is older than the table")
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:  # NumPy before 2.4 does not know the signatures of ufuncs
        pytest.skip("its signature is not to be had")
    assert [name for name in parameters if name != "self"] == list(peer.parameters)


def test_what_the_page_says_of_empty_class_axes():
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    page = PAGE.read_text(encoding="utf-8")
    assert "An empty class axis is an error for losses." in page
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


def test_script_runs_on_its_own():
    """Nothing but the standard library and the modules beside it."""
    own = list(SCRIPT.parent.glob("peer_*.py"))
    texts = [path.read_text(encoding="utf-8") for path in own]
    modules = re.findall(r"^(?:from|import) (\w+)", "\n".join(texts), re.MULTILINE)
    assert set(modules) <= sys.stdlib_module_names | {path.stem for path in own}
