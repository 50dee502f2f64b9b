"""What type checkers say about calls, and whether the calls keep to it."""

import importlib.util
import inspect
import itertools
import subprocess
import sys
import typing
from pathlib import Path

import numpy as np
import pytest
from support import typed_calls

import fastxent as fx
from fastxent._config import BACKENDS
from fastxent._contract import BackendName
from fastxent.custom import CustomLoss

ROOT = Path(__file__).parents[2]
PACKAGE = Path(fx.__file__).parent
SCRIPT = ROOT / "scripts" / "type_stubs.py"
STUBS = sorted(PACKAGE.rglob("*.pyi"))

FUNCTIONS = [getattr(fx, name) for name in fx.__all__ if inspect.isfunction(getattr(fx, name))]
LOSSES = [f for f in FUNCTIONS if "reduction" in inspect.signature(f).parameters]
losses = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)

#: The results without a gradient, by the arguments that say so.
RESULTS = {
    "": "Array",
    'reduction="anchor"': "Array",
    'reduction="none"': "Array",
    'reduction="sum"': "np.float64",
    'reduction="mean"': "np.float64",
}
VALUES = np.full((4, 3), 0.25, np.float32)
LABELS = np.array([0, 1, 2, 1])

#: What Cython adds to a module, and what users of a custom loss do not call.
NOT_IN_STUBS = [
    "fastxent.native._native.__test__",
    "fastxent.native._native.__(reduce|setstate)_cython__",
    "fastxent.native._native.Call",
    "fastxent.custom.CustomLoss.__(init|copy|deepcopy)__",
]


def run_module(*arguments):
    """Run a module of Python in the source tree; return the finished process."""
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        cwd=ROOT,
    )


def check_types(path, folder):
    """Run mypy over code of a user; return what it complains about."""
    pytest.importorskip("mypy")
    options = ["--strict", "--config-file=", "--follow-imports=silent", f"--cache-dir={folder}"]
    return run_module("mypy", *options, path).stdout


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """What mypy found out about NumPy, which takes seconds."""
    return tmp_path_factory.mktemp("mypy")


def calls_of(loss):
    """Return calls of a loss, as text, with the types of their results."""
    targets = "LABELS, np.ones(4)" if loss is fx.quality_focal_loss else "LABELS"
    flags = [name for name in inspect.signature(loss).parameters if name.startswith("return_")]
    calls = []
    for wanted in itertools.product(("", "=True"), repeat=len(flags)):
        chosen = [flag + value for flag, value in zip(flags, wanted, strict=True) if value]
        for reduction, kind in RESULTS.items():
            options = ", ".join(filter(None, [targets, reduction, *chosen]))
            calls.append(
                (f"fx.{loss.__name__}(VALUES, {options})", [kind, *["Array"] * len(chosen)])
            )
    return calls


@pytest.mark.exhaustive
def test_user_code_has_the_types_that_it_expects(cache):
    assert "Success" in (output := check_types(typed_calls.__file__, cache)), output


def test_every_loss_has_the_types_of_its_results(tmp_path, cache):
    lines = [
        "from typing import Any, assert_type",
        "import numpy as np",
        "from numpy.typing import NDArray",
        "import fastxent as fx",
        "Array = NDArray[Any]",
        "VALUES, LABELS = np.zeros((4, 3)), np.zeros(4, int)",
    ]
    for loss in LOSSES:
        for call, kinds in calls_of(loss):
            kind = kinds[0] if len(kinds) == 1 else f"tuple[{', '.join(kinds)}]"
            lines.append(f"assert_type({call}, {kind})")
    path = tmp_path / "calls.py"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    assert "Success" in (output := check_types(path, cache)), output


@losses
def test_results_are_what_their_types_say(loss):
    types = {"Array": np.ndarray, "np.float64": np.float64}
    for call, kinds in calls_of(loss):
        result = eval(call, {"fx": fx, "np": np, "VALUES": VALUES, "LABELS": LABELS})
        results = result if isinstance(result, tuple) else (result,)
        assert [type(value) for value in results] == [types[kind] for kind in kinds], call


@pytest.mark.parametrize("name", [name for name in dir(typed_calls) if name.startswith("take_")])
def test_user_code_runs(name):
    arguments = {
        "take_what_is_not_known": (True, "sum", typed_calls.LOGITS),
        "take_scores": (typed_calls.LOGITS,),
        "take_settings": ("numpy",),
    }
    if name == "take_custom_losses":
        pytest.importorskip("numba")
    getattr(typed_calls, name)(*arguments.get(name, ()))


def test_stubs_are_those_of_the_sources():
    """A parameter that is new, or another type: run scripts/type_stubs.py."""
    if not (SCRIPT.is_file() and PACKAGE.parent == ROOT):
        pytest.skip("only in the source tree")
    specification = importlib.util.spec_from_file_location("type_stubs", SCRIPT)
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    assert script.main(["--check"]) == 0


@pytest.mark.exhaustive
def test_stubs_fit_what_is_imported(tmp_path):
    """Names, kinds and defaults of parameters, of the extension too; and stubs without errors."""
    pytest.importorskip("mypy")
    allowed = tmp_path / "allowed.txt"
    allowed.write_text("\n".join(NOT_IN_STUBS), "utf-8")
    modules = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in STUBS]
    assert "fastxent.native._native" in modules
    for library in ("jax", "torch"):
        if importlib.util.find_spec(library) is None:
            modules = [name for name in modules if not name.startswith(f"fastxent.{library}.")]
    result = run_module("mypy.stubtest", "--allowlist", allowed, *modules)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_loss_is_in_a_stub():
    text = "".join(path.read_text("utf-8") for path in STUBS)
    for loss in LOSSES:
        assert text.count(f"def {loss.__name__}(") > 4


CALLS_IN_JAX = """
from typing import assert_type
import jax
import jax.numpy as jnp
import numpy as np
import fastxent.jax as fxj

LOGITS, LABELS = jnp.zeros((4, 3)), np.zeros(4, int)

def take_results() -> None:
    assert_type(fxj.sigmoid_cross_entropy(LOGITS, LABELS, reduction="mean"), jax.Array)
    assert_type(fxj.softmax_focal_loss(LOGITS, LABELS, axis=0, gamma=1.0), jax.Array)
    assert_type(fxj.sigmoid_focal_loss(LOGITS, LABELS, alpha=None, weight=LABELS), jax.Array)
    assert_type(fxj.poly1_cross_entropy(LOGITS, LABELS, normalizer=LOGITS.sum()), jax.Array)
    assert_type(fxj.distribution_focal_loss(LOGITS, LABELS), jax.Array)
    loss, edge = fxj.distribution_focal_loss(LOGITS, LABELS, return_expectation=True)
    assert_type(edge, jax.Array)
    assert_type(fxj.logsumexp(LOGITS, axis=(0, 1), keepdims=True), jax.Array)

def refuse() -> None:
    fxj.sigmoid_cross_entropy(LOGITS, LABELS, reduction="avg")  # type: ignore[arg-type]
    fxj.sigmoid_cross_entropy(LOGITS, LABELS, return_grad=True)  # type: ignore[call-arg]
    fxj.softmax(LOGITS, backend="numpy")  # type: ignore[call-arg]
    fxj.softmax(LOGITS, axes=1)  # type: ignore[call-arg]
    fxj.varifocal_loss(LOGITS)  # type: ignore[call-arg]
    text: str = fxj.softmax(LOGITS)  # type: ignore[assignment]
"""


def test_functions_of_jax_have_types(tmp_path, cache):
    pytest.importorskip("jax")
    path = tmp_path / "calls.py"
    path.write_text(CALLS_IN_JAX, "utf-8")
    assert "Success" in (output := check_types(path, cache)), output


@pytest.mark.parametrize(
    "function", [*FUNCTIONS, CustomLoss.__call__], ids=lambda function: function.__qualname__
)
def test_choices_are_literals(function):
    """A parameter that takes a few words says which ones; what is like an array takes any."""
    annotations = inspect.get_annotations(inspect.unwrap(function), eval_str=True)
    for name, annotation in annotations.items():
        kinds = {annotation, *typing.get_args(annotation)}
        assert str not in kinds or bytes in kinds, name


def test_backends_are_those_of_their_type():
    assert set(typing.get_args(BackendName)) == set(BACKENDS)
