"""The losses in examples/, compared with the formulas of their papers in 50 digits."""

import runpy
from pathlib import Path

import mpmath
import numpy as np
import pytest

pytest.importorskip("numba")

FOLDER = Path(__file__).parents[2] / "examples"
LOGITS = np.concatenate([np.linspace(-90, 90, 37), [-1e-3, 0.25, 1e-6]])

mpmath.mp.dps = 50


def example(name):
    return runpy.run_path(str(FOLDER / f"{name}.py"))[name]


def exact_reduced_focal_loss(p, gamma, threshold):
    factor = 1 if p < threshold else (1 - p) ** gamma / mpmath.mpf(threshold) ** gamma
    return -factor * mpmath.log(p)


def exact_reduced_focal_slope(p, gamma, threshold):
    """Return d loss / d p."""
    if p < threshold:
        return -1 / p
    modulation = (1 - p) ** gamma / mpmath.mpf(threshold) ** gamma
    return gamma / (1 - p) * modulation * mpmath.log(p) - modulation / p


def exact_generalized_cross_entropy(p, q):
    return (1 - p**q) / q


def exact_generalized_slope(p, q):
    """Return d loss / d p, the paper's -p^(q - 1)."""
    return -(p ** (q - 1))


CASES = {
    "reduced_focal_loss": (
        exact_reduced_focal_loss,
        exact_reduced_focal_slope,
        [{"gamma": 2.0, "threshold": 0.5}, {"gamma": 1.5, "threshold": 0.25}],
    ),
    "generalized_cross_entropy": (
        exact_generalized_cross_entropy,
        exact_generalized_slope,
        [{"q": 0.7}, {"q": 0.1}, {"q": 1.0}],
    ),
}
DEFAULTS = {
    "reduced_focal_loss": {"gamma": 2.0, "threshold": 0.5},
    "generalized_cross_entropy": {"q": 0.7},
}


@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("name", CASES)
def test_papers_formula(name, target):
    formula, slope, choices = CASES[name]
    function = example(name)
    expected, slopes = [], []
    for parameters in choices:
        for z in LOGITS:
            right = mpmath.mpf(float(z)) * (1 if target else -1)
            p, rest = 1 / (1 + mpmath.exp(-right)), 1 / (1 + mpmath.exp(right))
            expected.append(float(formula(p, **parameters)))
            sign = 1 if target else -1
            slopes.append(float(sign * slope(p, **parameters) * p * rest))
    targets = np.full(LOGITS.shape, target)
    for dtype, digits in ((np.float64, 1e-13), (np.float32, 3e-6)):
        # In float32 the logits are others.
        logits = LOGITS if dtype == np.float64 else LOGITS.astype(dtype)
        results = [
            function(logits, targets, axis=None, return_grad=True, **parameters)
            for parameters in choices
        ]
        losses, grads = (np.concatenate(arrays) for arrays in zip(*results, strict=True))
        smallest = 1e-30 if dtype == np.float64 else 1e-36
        np.testing.assert_allclose(losses, expected, digits, smallest)
        np.testing.assert_allclose(grads, slopes, digits, smallest)


@pytest.mark.parametrize("name", CASES)
def test_defaults_are_the_papers(name):
    function = example(name)
    targets = np.ones(LOGITS.shape, int)
    np.testing.assert_array_equal(
        function(LOGITS, targets, axis=None),
        function(LOGITS, targets, axis=None, **DEFAULTS[name]),
    )


@pytest.mark.parametrize("name", CASES)
def test_scripts_run(name, capsys):
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    assert len(capsys.readouterr().out.splitlines()) >= 3


def test_every_loss_is_tested():
    losses = {path.stem for path in FOLDER.glob("*.py") if "custom_loss" in path.read_text("utf-8")}
    assert losses == set(CASES)
