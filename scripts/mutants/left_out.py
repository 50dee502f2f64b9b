"""A plugin of pytest that leaves out what a mutant does not touch, before tests are sampled."""

import os

import pytest

LEFT_OUT = set(os.environ["FASTXENT_MUTATION_LEAVES_OUT"].split(","))


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items):
    """Keep the cases that have none of the backends and instruction sets as a parameter."""
    items[:] = [case for case in items if not LEFT_OUT & texts_of(case)]
    return (yield)


def texts_of(case):
    """Return the parameters of a case that are texts."""
    values = case.callspec.params.values() if hasattr(case, "callspec") else ()
    return {value for value in values if isinstance(value, str)}
