"""fastxent.jax as a package: its names, what it imports, and what is said where JAX is missing."""

import inspect
import subprocess
import sys

import pytest

import fastxent as fx
from fastxent._catalogue import ARGUMENTS, NUMPY_ONLY


def run_python(code):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_package_itself_does_not_import_jax():
    result = run_python("import fastxent, sys; print([m for m in sys.modules if 'jax' in m])")
    assert result.stdout == "[]\n"


def test_one_line_says_which_extra_is_missing():
    code = "import sys; sys.modules['jax'] = None; import fastxent.jax"
    last = run_python(code).stderr.splitlines()[-1]
    expected = 'fastxent.jax needs JAX, which is not installed: pip install "fastxent[jax]"'
    assert last == f"ImportError: {expected}"


def test_every_loss_and_score_is_there():
    pytest.importorskip("jax")
    import fastxent.jax as fxj

    assert set(fxj.__all__) == set(ARGUMENTS)
    for name, facts in ARGUMENTS.items():
        function = getattr(fxj, name)
        parameters = inspect.signature(function).parameters
        of_numpy = inspect.signature(getattr(fx, name)).parameters
        assert [*parameters] == [key for key in of_numpy if key not in NUMPY_ONLY]
        assert all(parameters[key].default == of_numpy[key].default for key in parameters)
        assert (function.__name__, function.__module__) == (name, "fastxent.jax")
        for key in (facts.differentiable, *facts.arrays, *facts.array_options, *facts.static):
            assert f"\n{key}" in function.__doc__, key
        assert not any(f"\n{key} :" in function.__doc__ for key in NUMPY_ONLY)
