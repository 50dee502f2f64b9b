"""Docstrings: examples run, every parameter is there, and so is what readers look for."""

import doctest
import inspect
import re
from pathlib import Path

import pytest

import fastxent as fx
from fastxent import (
    _catalogue,
    _config,
    candidates,
    focal_losses,
    focal_star,
    losses,
    probability_losses,
    quality_losses,
    scores,
)

PUBLIC = [getattr(fx, name) for name in fx.__all__ if callable(getattr(fx, name))]
LOSS_MODULES = (losses, focal_losses, focal_star, quality_losses, probability_losses)
LOSSES = [getattr(module, name) for module in LOSS_MODULES for name in module.__all__]
NUMERIC = LOSSES + [getattr(scores, name) for name in scores.__all__]
public = pytest.mark.parametrize("function", PUBLIC, ids=lambda function: function.__name__)
numeric = pytest.mark.parametrize("function", NUMERIC, ids=lambda function: function.__name__)


def sections(function):
    """Return the text of each section of a numpydoc docstring by its title."""
    parts = re.split(r"^(.+)\n-{3,}\n", inspect.getdoc(function), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_public_names():
    assert fx.__all__ == sorted(fx.__all__)
    assert set(NUMERIC) <= set(PUBLIC)
    for name in fx.__all__:
        assert hasattr(fx, name)


@pytest.mark.parametrize("module", [*LOSS_MODULES, scores, candidates, _config])
def test_examples(module, backend):
    results = doctest.testmod(module)
    assert results.failed == 0
    assert results.attempted > 0


@public
def test_parameters(function):
    documented = re.findall(r"^(\w+) : ", sections(function).get("Parameters", ""), re.MULTILINE)
    assert documented == list(inspect.signature(function).parameters)


@public
def test_nothing_is_left_to_fill_in(function):
    assert not re.search(r"^\s*<.*>$", inspect.getdoc(function), re.MULTILINE)


SCRIPTS = Path(__file__).parents[2] / "scripts"
in_the_source_tree = pytest.mark.skipif(
    not (SCRIPTS / "docstrings.py").is_file() or not (SCRIPTS.parent / "fastxent").is_dir(),
    reason="only in the source tree",
)


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import docstrings

    return docstrings


@in_the_source_tree
def test_the_text_that_docstrings_share_is_in_the_sources(script):
    """Another bound or another wording: run scripts/docstrings.py."""
    for module in script.USES:
        source = (script.PACKAGE / f"{module}.py").read_text("utf-8")
        assert script.rewrite_module(module, source) == source, module


@in_the_source_tree
def test_every_loss_and_score_has_the_text_that_docstrings_share(script):
    written = {name for functions in script.USES.values() for name in functions}
    assert written >= _catalogue.LOSSES.keys() | _catalogue.SCORES.keys()


@in_the_source_tree
@pytest.mark.parametrize(
    "function", [fx.softmax_cross_entropy, fx.log_sigmoid, fx.ohem, fx.class_cost]
)
def test_an_older_wording_and_a_new_docstring_get_the_text(function, script):
    module = function.__module__.removeprefix("fastxent.")
    parts, names = script.USES[module][function.__name__]
    docstring = inspect.getdoc(function)
    for name in names:
        text = "\n".join(
            script.fit(script.accuracy(function.__name__) if name == "accuracy" else parts[name])
        )
        assert docstring.count(text) == 1
        older = docstring.replace(text, f"{text} or so")
        for before in (older, docstring.replace(text, f"<{name}>")):
            assert before != docstring
            assert script.rewrite(before, function.__name__, parts, (name,)) == docstring


@numeric
def test_sections(function):
    found = sections(function)
    expected = {"Parameters", "Returns", "See Also", "Notes", "References", "Examples"}
    assert expected <= set(found)
    assert "\nAccuracy: relative error at most " in "\n" + found["Notes"]
    assert "\nMemory: " in found["Notes"]
    assert "\nThreads: " in found["Notes"]
    if function in LOSSES:
        assert "gradients; " in found["Notes"]
        assert "Raises" in found
        assert "nats" in inspect.getdoc(function)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_catalogue_has_each_parameter_and_its_default(loss):
    common = inspect.signature(fx.softmax_cross_entropy).parameters.keys() - {"label_smoothing"}
    signature = inspect.signature(loss).parameters.values()
    positional = [x.name for x in signature if x.kind is x.POSITIONAL_OR_KEYWORD]
    own = {x.name: x.default for x in signature if x.name not in {*common, *positional}}
    facts = _catalogue.LOSSES[loss.__name__]
    assert positional[:2] == [facts.values, facts.targets]
    assert own == facts.parameters


def test_every_row_of_the_catalogue_is_a_function():
    assert _catalogue.LOSSES.keys() == {loss.__name__ for loss in LOSSES}
    assert _catalogue.SCORES.keys() == set(scores.__all__)


@public
def test_numpydoc_finds_nothing_wrong(function):
    validate = pytest.importorskip("numpydoc.validate").validate
    # No extended summary needed; examples and references are the business of the tests above.
    accepted = {"ES01", "SA01", "EX01", "SA04"}
    errors = validate(f"fastxent.{function.__name__}")["errors"]
    assert [error for error in errors if error[0] not in accepted] == []


@public
def test_types_can_be_resolved(function):
    hints = inspect.get_annotations(inspect.unwrap(function), eval_str=True)
    assert set(inspect.signature(function).parameters) <= set(hints)


def test_losses_write_out_the_common_parameters():
    common = [
        "axis",
        "reduction",
        "normalizer",
        "empty",
        "weight",
        "class_weight",
        "ignore_index",
        "background_index",
        "return_grad",
        "grad_output",
        "out",
        "grad_out",
        "num_threads",
        "backend",
    ]
    for loss in LOSSES:
        parameters = inspect.signature(loss).parameters
        absent = {
            fx.distribution_focal_loss: {"class_weight", "background_index"},
        }.get(loss, set())
        expected = [name for name in common if name not in absent]
        assert [name for name in parameters if name in common] == expected
        positional = 3 if loss is fx.quality_focal_loss else 2
        assert all(p.kind is p.KEYWORD_ONLY for p in list(parameters.values())[positional:])
        defaults = {name: parameters[name].default for name in expected}
        assert defaults["axis"] == -1
        assert defaults["ignore_index"] == -100
        assert (defaults["reduction"], defaults["normalizer"]) == ("anchor", "valid")
