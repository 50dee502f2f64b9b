"""The benchmarks: their grid, what is timed, and how."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import fastxent as fx
from fastxent import _catalogue

ROOT = Path(__file__).parents[2]
if not (ROOT / "benchmarks").is_dir():
    pytest.skip("only in the source tree", allow_module_level=True)
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from benchmarks import conftest, contenders, inputs, instruction_sets, shapes  # noqa: E402

# --- the grid -------------------------------------------------------------------------------------


def cases(grid, **options):
    return [case for kind in shapes.KINDS for case in shapes.cases(grid, kind, **options)]


def test_every_loss_and_score_is_timed():
    assert set(shapes.LOSSES) == set(_catalogue.LOSSES)
    assert set(shapes.SCORES) == set(_catalogue.SCORES)
    full = cases("full")
    for function in shapes.LOSSES:
        kinds = {case.gradient for case in full if case.function == function}
        assert kinds == {False, True}
    assert {case.function for case in full} == set(shapes.LOSSES + shapes.SCORES)


def test_grid_has_the_shapes_of_detection_heads():
    named = [
        ((8_000_000,), None),
        ((4_000_000, 2), -1),
        ((2_000_000, 4), -1),
        ((800_000, 21), -1),
        ((200_000, 80), -1),
        ((200_000, 91), -1),
        ((13_000, 1_203), -1),
        ((32, 81, 8_732), 1),
        ((8, 80, 16_800), 1),
        ((100, 80), -1),
    ]
    assert [(shape.dims, shape.axis) for shape in shapes.SHAPES] == named
    for function in shapes.MAIN_LOSSES:
        seen = {case.shape for case in cases("full") if case.function == function}
        assert seen == {shape for shape in shapes.SHAPES if shapes.fits(function, shape)}


@pytest.mark.parametrize("grid", ["full", "cross"])
def test_grid_varies_dtype_and_foreground(grid):
    for function in shapes.LOSSES:
        of_function = [case for case in cases(grid) if case.function == function]
        assert {case.dtype for case in of_function} == {"float32", "float64", "bfloat16"}
        assert {case.foreground for case in of_function} == {0.01, 0.5}


def test_quick_grid_is_part_of_the_full_one():
    quick = cases("quick")
    assert set(quick) <= set(cases("full")) <= set(cases("cross"))
    assert {case.kind for case in quick} == set(shapes.KINDS)
    assert {case.shape for case in quick} == set(shapes.SHAPES)


def test_rows_of_the_targets_have_variants():
    timed = {case.name for case in cases("quick") if case.has_variants}
    assert timed == {
        f"{function}-200000x80-float32-1%{kind}"
        for function in shapes.MAIN_LOSSES
        for kind in ("", "-gradient")
    }
    assert {case.name for case in cases("cross") if case.has_variants} == timed


def test_variants_are_in_the_full_grid():
    found = {(case.function, case.variant) for case in cases("full") if case.variant}
    everywhere = {*shapes.MAIN_LOSSES, "sigmoid", "softmax"}
    for variant in (shapes.MASKED, shapes.NEW_RESULT):
        assert {function for function, other in found if other == variant} == everywhere
    assert ("softmax_focal_loss", shapes.GENERAL_GAMMA) in found
    for variant in (shapes.INT64_TARGETS, shapes.FLOAT_TARGETS):
        assert ("sigmoid_focal_loss", variant) in found


def test_names_tell_cases_apart():
    every = cases("cross")
    assert len({case.name for case in every}) == len(every)


def test_scale_leaves_the_classes_alone():
    scaled = {case.shape for case in cases("full", scale=0.001)}
    assert {shape.classes for shape in scaled} == {shape.classes for shape in shapes.SHAPES}
    assert max(shape.size for shape in scaled) < 100_000


# --- what is timed, and how -----------------------------------------------------------------------


@pytest.mark.parametrize("gradient", [False, True])
def test_variants_of_ours_take_part(gradient):
    pytest.importorskip("numba")
    case = shapes.Case("sigmoid_focal_loss", shapes.COCO.scaled(0.001), gradient=gradient)
    admitted = contenders.make_contenders(inputs.make_inputs(case), 1, [])
    ours = ["fastxent", "fastxent, Numba", "fastxent, custom loss"]
    if gradient and importlib.util.find_spec("jax"):
        ours.append("fastxent, JAX")
    assert list(admitted.runs) == ["parallel read", *ours]
    results = [contenders.our_arrays(admitted.runs[name]()) for name in ours]
    kept = {id(array) for arrays in results for array in arrays}
    assert len(kept) == sum(map(len, results)), "two write to one array"


VARIANTS = [case for case in cases("full", scale=0.0001) if case.variant]


@pytest.mark.parametrize("case", VARIANTS, ids=lambda case: case.name)
def test_variants_of_rows(case):
    made = inputs.make_inputs(case)
    # Which raises where fastxent's result is wrong.
    run = contenders.make_contenders(made, 1, []).runs["fastxent"]
    arguments, options = run.args, run.keywords
    if case.variant == shapes.MASKED:
        masks = np.isin(arguments[0], [inputs.SIGMOID_MASK, inputs.SOFTMAX_MASK])
        assert 0.05 < masks.mean() < 0.2
    elif case.variant == shapes.NEW_RESULT:
        assert not options.keys() & {"out", "grad_out"}
    elif case.variant == shapes.GENERAL_GAMMA:
        assert options["gamma"] == 1.5
    else:
        assert arguments[1].dtype == case.variant.split()[0].replace("float", "float32")
        assert made.shape.axis is None


def test_results_are_written_into_arrays_that_exist():
    case = shapes.Case("sigmoid", shapes.COCO.scaled(0.0001))
    assert "out" in contenders.our_run(inputs.make_inputs(case), 1).keywords


def test_peers_are_limited_to_our_instruction_set(monkeypatch):
    monkeypatch.delenv("FASTXENT_ISA", raising=False)
    assert instruction_sets.limits() == {}
    assert instruction_sets.describe_limits() == ""
    monkeypatch.setenv("FASTXENT_ISA", "avx2")
    for name in instruction_sets.limits():
        monkeypatch.delenv(name, raising=False)
    assert instruction_sets.describe_limits().startswith("not limited; onnxruntime")
    for name, value in instruction_sets.limits().items():
        monkeypatch.setenv(name, value)
    text = instruction_sets.describe_limits()
    assert text.startswith("limited to avx2 by ATEN_CPU_CAPABILITY=avx2; ")


def test_torch_is_limited(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setenv("FASTXENT_ISA", "avx2")
    program = "import torch; print(torch.backends.cpu.get_cpu_capability())"
    environment = os.environ | instruction_sets.limits()
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() in {"AVX2", "DEFAULT", "NO AVX"}


def test_wrong_variants_are_an_error(monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.setattr(contenders, "focal_loss", lambda logit, target: logit * target)
    case = shapes.Case("sigmoid_focal_loss", shapes.COCO.scaled(0.001))
    with pytest.raises(AssertionError, match="fastxent, custom loss is wrong"):
        contenders.make_contenders(inputs.make_inputs(case), 1, [])


def test_variants_that_are_not_installed_are_left_out(monkeypatch):
    monkeypatch.setattr(contenders, "find_spec", lambda name: None)
    case = shapes.Case("sigmoid_focal_loss", shapes.COCO.scaled(0.001))
    admitted = contenders.make_contenders(inputs.make_inputs(case), 1, [])
    assert list(admitted.runs) == ["parallel read", "fastxent"]


def test_contenders_that_are_missing_are_named(monkeypatch):
    absent = {"numba", "onnxruntime"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name not in absent or None)
    monkeypatch.setattr(conftest, "find_spec", importlib.util.find_spec)
    config = SimpleNamespace(getoption={"peers": "numpy_formulas,onnx_runtime"}.get)
    assert conftest.pytest_report_header(config) == [
        "SKIPPED: onnx_runtime, for onnxruntime is not installed",
        "SKIPPED: fastxent on backend numba, for numba is not installed",
    ]


def test_wrong_results_are_not_timed():
    case = shapes.Case("sigmoid", shapes.Shape((40, 7)))
    made = inputs.make_inputs(case)
    right = fx.sigmoid(made.values)
    wrong = right.copy()
    wrong[3, 4] += 0.001
    broken = np.where(right == right.max(), np.float32(np.nan), right)
    admitted = contenders.Contenders()
    for name, array in {"right": right, "wrong": wrong, "nan": broken, "few": right[1:]}.items():
        admitted.admit(name, lambda array=array: array, made, lambda result: (result,))
    assert list(admitted.runs) == ["right"]
    assert admitted.unequal["wrong"] > 1
    assert admitted.unequal["nan"] == admitted.unequal["few"] == np.inf
