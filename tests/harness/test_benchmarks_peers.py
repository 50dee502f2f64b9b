"""The peers of the benchmarks compute what fastxent computes.

Each peer has a process of its own: tests fork, which the threads of some libraries do not survive.
"""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import special

ROOT = Path(__file__).parents[2]
if not (ROOT / "benchmarks").is_dir():
    pytest.skip("only in the source tree", allow_module_level=True)
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from benchmarks import check, contenders, inputs, peers, shapes  # noqa: E402

CASES = list(check.tiny_cases())
#: Those whose compilers take their time check a few cases only.
CHOSEN = {
    "torch_compile": ["quality_focal_loss-2x5x9_axis1-float32-50%-gradient"],
    "jax_optax": [
        "sigmoid_focal_loss-40x7-float32-50%-gradient",
        "softmax_cross_entropy-2x5x9_axis1-float32-50%",
        "distribution_focal_loss-40x7-float64-50%",
        "sigmoid-40x7-bfloat16-50%",
    ],
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", peers.PEERS)
def test_peer_is_equal(name):
    if missing := peers.missing(name):
        pytest.skip(f"{missing} is not installed")
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.check", name]
    result = subprocess.run(
        [*command, *CHOSEN.get(name, [])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    assert found
    assert len(found) >= len(CHOSEN.get(name, []))
    # With older operators, onnxruntime has no Softplus in float64, and says so.
    wrong = [item for item in found if item[2] != 0 and "NotImplemented" not in str(item[2])]
    assert not wrong


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["torch_compile", "torch_eager"])
def test_torch_follows_the_exponent(name):
    if missing := peers.missing(name):
        pytest.skip(f"{missing} is not installed")
    chosen = {case.name for case in CASES if case.variant == shapes.GENERAL_GAMMA}
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.check", name, *chosen]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert {(case, error) for case, _, error in found} == {(case, 0) for case in chosen}


def test_missing_peers_are_found_out(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnx" else name)
    assert peers.missing("onnx_runtime") == "onnx"
    assert not peers.available("openvino_runtime")
    assert peers.available("numpy_formulas")


def test_numpy_is_a_peer_of_every_function():
    admitted = {name for name, *_ in check.check("numpy_formulas", CASES)}
    # Its formulas have an exponent of 2.
    assert admitted == {case.name for case in CASES if case.variant != shapes.GENERAL_GAMMA}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fastxent_is_equal(case):
    pytest.importorskip("ml_dtypes")
    made = inputs.make_inputs(case)
    run = contenders.our_run(made, threads=1)
    assert inputs.error(contenders.our_arrays(run()), inputs.reference(made), case) <= 1
    contenders.read_run(made.values, threads=1)()


def test_only_fastxent_gets_dense_targets_for_a_dense_row():
    case = shapes.Case("sigmoid_cross_entropy", shapes.Shape((40, 7)), dense=True)
    made = inputs.make_inputs(case)
    (targets,) = contenders.our_run(made, threads=1).args[1:]
    np.testing.assert_array_equal(targets, made.one_hot())
    (for_peers,) = made.targets()
    assert for_peers.shape == (40,)


def test_reference_is_what_scipy_says():
    """Two references from another library's functions; the peers are witnesses for the others."""
    for function, background in (("sigmoid_cross_entropy", 7), ("softmax_cross_entropy", 0)):
        made = inputs.make_inputs(shapes.Case(function, shapes.Shape((40, 7)), foreground=0.5))
        z, y = made.values.astype(float), made.one_hot(float)
        is_background = made.labels == background
        assert 0 < is_background.sum() < 40
        if function == "sigmoid_cross_entropy":
            expected = -(y * special.log_expit(z) + (1 - y) * special.log_expit(-z)).sum(axis=1)
        else:
            expected = -(y * special.log_softmax(z, axis=1)).sum(axis=1)
        np.testing.assert_allclose(inputs.reference(made)[0], expected, rtol=1e-12)


def test_inputs_are_the_same_every_time():
    case = shapes.Case("varifocal_loss", shapes.TWO_CLASSES.scaled(1e-4), foreground=0.5)
    first = inputs.make_inputs(case)
    inputs.make_inputs.cache_clear()
    second = inputs.make_inputs(case)
    assert first is not second
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_array_equal(first.one_hot(), second.one_hot())
    assert 0.4 < (first.labels < 2).mean() < 0.6
