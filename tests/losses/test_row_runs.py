"""Rows of classes that lie side by side, which kernels take as one run, and long ones in pieces."""

import numpy as np
import pytest
from scipy import special
from support import family

import fastxent as fx

LOGIT_LOSSES = [name for name in family.PER_CLASS if name not in family.PROBABILITY_LOSSES]
#: More than a run has.
ROWS = 19


@pytest.mark.parametrize("name", LOGIT_LOSSES)
def test_one_row_with_a_factor_of_its_own(name, engine):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (ROWS, 20)).astype(np.float32)
    targets = family.targets_for(name, rng, logits, dense=False)
    function = family.public(name)
    _, gradient = function(logits, *targets, return_grad=True)
    for row in range(ROWS):
        factors = np.ones(ROWS)
        factors[row] = 4
        _, found = function(logits, *targets, return_grad=True, grad_output=factors)
        np.testing.assert_allclose(found, gradient * factors[:, None], 1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("classes", [63, 65, 127, 129, 300, 1024, 1025])
def test_focal_losses_of_long_rows(classes, dtype, engine):
    rng = np.random.default_rng(classes)
    logits = rng.normal(-2, 3, (5, classes)).astype(dtype)
    labels = rng.integers(0, classes + 1, 5)
    signs = np.where(np.arange(classes) == labels[:, None], 1, -1)
    signed = signs * logits.astype(np.float64)
    terms = special.expit(-signed) ** 2 * -special.log_expit(signed)
    losses = fx.sigmoid_focal_loss(logits, labels, alpha=None)
    np.testing.assert_allclose(losses, terms.sum(-1), 1e-6 if dtype == np.float32 else 1e-13)
