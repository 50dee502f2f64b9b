"""Which cases `make test` leaves to `make test-all`: those with the marker `exhaustive`.

A test with parameters (losses, dtypes, layouts, backends, ...) has a case for each combination of
their values. Of these `make test` takes a sample in which every value of every parameter occurs:
each function, backend and instruction set is called by each test that is about it. The sample
depends on the names of the cases alone, so it is the same in every run and in every process. A case
named on the command line is the only one of its test that is collected, so it is in the sample.

Numba compiles each kernel for seconds when it is first used, so its cases are in the samples of
tests/backends alone, which call every function on it. A test that takes seconds, whatever its
parameters, has the marker in its module.
"""

import itertools
import zlib
from pathlib import Path

import pytest

BACKENDS = Path(__file__).parents[1] / "backends"


def mark_exhaustive(items):
    """Give the marker `exhaustive` to all collected cases that are not in the sample."""
    for _, group in itertools.groupby(items, lambda case: case.nodeid.partition("[")[0]):
        cases = list(group)
        candidates = [case for case in cases if not _compiles(case)] or cases
        sample = set(sample_of({case.name: _values_of(case) for case in candidates}))
        for case in cases:
            if case.name not in sample:
                case.add_marker(pytest.mark.exhaustive)


def sample_of(cases):
    """Return names of cases in which every value occurs, given the set of values of each name.

    Ordered by checksums, cases mix the values of their parameters, and differently in each test.
    """
    chosen, covered = [], set()
    for name in sorted(cases, key=lambda name: zlib.crc32(name.encode())):
        if not chosen or not cases[name] <= covered:
            chosen.append(name)
            covered |= cases[name]
    return chosen


def _compiles(case):
    """Return whether a case is one of Numba's, of another folder than its own."""
    values = case.callspec.params.values() if hasattr(case, "callspec") else ()
    is_numbas = any(isinstance(value, str) and value == "numba" for value in values)
    return is_numbas and case.path.parent != BACKENDS


def _values_of(case):
    """Return what identifies the values of a case; those of one `parametrize` are one value."""
    if not hasattr(case, "callspec"):
        return set()
    values = case.callspec.params
    of_marks = [mark.args[0] for mark in case.iter_markers("parametrize")]
    of_marks = [(names,) if isinstance(names, str) else tuple(names) for names in of_marks]
    of_fixtures = values.keys() - set(itertools.chain(*of_marks))
    together = [*of_marks, *((name,) for name in of_fixtures)]
    # The cases of a test share the objects of its lists.
    return {(names, *(id(values[name]) for name in names)) for names in together}
