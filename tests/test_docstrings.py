"""Docstrings: examples run, every parameter is there, and so is what readers look for."""

import doctest
import inspect
import re

import pytest

import fastxent as fx
from fastxent import _config, losses, probability_losses, scores

PUBLIC = [getattr(fx, name) for name in fx.__all__ if callable(getattr(fx, name))]
NUMERIC = [
    getattr(module, name)
    for module in (losses, probability_losses, scores)
    for name in module.__all__
]
LOSSES = [
    getattr(module, name) for module in (losses, probability_losses) for name in module.__all__
]
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


@pytest.mark.parametrize("module", [losses, probability_losses, scores, _config])
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


@numeric
def test_sections(function):
    found = sections(function)
    expected = {"Parameters", "Returns", "See Also", "Notes", "References", "Examples"}
    assert expected <= set(found)
    assert re.search(r"^Accuracy: relative error at most \d+ ULP in float32", found["Notes"])
    assert "\nMemory: " in found["Notes"]
    assert "\nThreads: " in found["Notes"]
    if function in LOSSES:
        assert "Raises" in found
        assert "nats" in inspect.getdoc(function)


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
        "out",
        "num_threads",
        "backend",
    ]
    for loss in LOSSES:
        parameters = inspect.signature(loss).parameters
        assert [name for name in parameters if name in common] == common
        assert all(p.kind is p.KEYWORD_ONLY for p in list(parameters.values())[2:])
        defaults = {name: parameters[name].default for name in common}
        assert defaults["axis"] == -1
        assert defaults["ignore_index"] == -100
        assert (defaults["reduction"], defaults["normalizer"]) == ("anchor", "valid")
