"""What `make test` takes of the cases: a sample in which everything occurs."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import family, tiers

from fastxent import _config, native, scores

ROOT = Path(__file__).parents[2]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_every_value_is_in_the_sample(sizes, random):
    values = itertools.product(*(range(size) for size in sizes))
    cases = {"-".join(map(str, case)): set(enumerate(case)) for case in values}
    sample = tiers.sample_of(cases)
    assert set.union(*(cases[name] for name in sample)) == set.union(*cases.values())
    assert len(sample) <= sum(sizes)
    shuffled = random.sample(list(cases), len(cases))
    assert tiers.sample_of({name: cases[name] for name in shuffled}) == sample


def test_a_test_without_parameters_is_in_the_sample():
    assert tiers.sample_of({"test": set()}) == ["test"]


def test_tests_have_samples_of_their_own():
    values = list(itertools.product(range(8), range(8)))
    samples = []
    for test in ("test_losses", "test_scores"):
        cases = {f"{test}[{a}-{b}]": {("a", a), ("b", b)} for a, b in values}
        samples.append({frozenset(cases[name]) for name in tiers.sample_of(cases)})
    assert samples[0] != samples[1]


def collected(*arguments):
    """Return the names of the cases that pytest would run."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "--quiet",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if "::" in line]


@pytest.mark.exhaustive
def test_values_of_fixtures_and_marks():
    test = "tests/backends/test_backends.py::test_losses"
    every, sample = collected(test), collected(test, "-m", "not exhaustive")
    assert len(sample) < len(every)
    parts = {part for name in sample for part in name.partition("[")[2].rstrip("]").split("-")}
    assert parts == {*family.LOSSES, *native.available_isas(), "True", "False"}
    named = min(set(every) - set(sample))
    assert collected(named, "-m", "not exhaustive") == [named]


@pytest.mark.exhaustive
def test_the_sample_of_all_tests():
    """Something of nearly each module; each function, backend and instruction set."""
    every, sample = collected(), collected("-m", "not exhaustive")
    assert 4 * len(sample) < len(every)
    of_sample, of_every = ({name.partition("::")[0] for name in names} for names in (sample, every))
    slow = {
        "backends/test_guard_pages",
        "backends/test_numba_cpus",
        "cli/test_cli_cluster",
        "custom/test_custom_cpus",
    }
    assert of_every - of_sample == {f"tests/{name}.py" for name in slow}
    words = "".join(sample)
    for name in (*family.LOSSES, *scores.__all__, *_config.BACKENDS, *native.available_isas()):
        assert name in words
