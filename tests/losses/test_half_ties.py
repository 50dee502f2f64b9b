"""Gradients of 16 bits: in the middle between two numbers the even one, and in rows with gaps."""

import ml_dtypes
import numpy as np
import pytest

import fastxent as fx

#: Fractions of the distance of neighbours above 1, and what they are rounded to.
TIES = {0.5: 0, 1.5: 2, 2.5: 2, 0.5 + 2**-6: 1, 1.5 - 2**-6: 1}
DTYPES = {np.dtype(np.float16): 2.0**-10, np.dtype(ml_dtypes.bfloat16): 2.0**-7}


def memory(layout, anchors, classes, dtype):
    """Return an array (anchors, classes) of zeros."""
    if layout == "rows":
        return np.zeros((anchors, classes), dtype)
    if layout == "every other class":
        return np.zeros((anchors, 2 * classes), dtype)[:, ::2]
    return np.zeros((classes, anchors), dtype).T


@pytest.mark.parametrize("classes", [3, 40])
@pytest.mark.parametrize("layout", ["rows", "every other class", "class axis first"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sign", [1, -1])
def test_ties(sign, dtype, layout, classes, backend):
    """Where the target is 0 the slope at 0 is one half, exactly."""
    step = DTYPES[dtype]
    exact = 1 + step * np.array(list(TIES))
    expected = sign * (1 + step * np.array(list(TIES.values())))
    logits = memory(layout, len(TIES), classes, dtype)
    grad_out = memory(layout, len(TIES), classes, dtype)
    _, grad = fx.sigmoid_cross_entropy(
        logits,
        np.full(len(TIES), classes),
        return_grad=True,
        grad_output=2 * sign * exact,
        grad_out=grad_out,
    )
    np.testing.assert_array_equal(grad.astype(float), np.repeat(expected[:, None], classes, 1))


@pytest.mark.parametrize("classes", [2, 16, 64])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("loss", [fx.softmax_cross_entropy, fx.softmax_focal_loss])
def test_rows_with_gaps(loss, dtype, classes, backend):
    """Of equal logits the slopes are fractions that 16 bits hold, and gaps stay as they are."""
    wide = np.full((50, classes + 3), 7, dtype)
    labels = np.arange(50) % classes
    logits = np.zeros((50, classes), dtype)
    options = {} if loss is fx.softmax_cross_entropy else {"gamma": 0.0}
    loss(logits, labels, return_grad=True, grad_out=wide[:, :classes], **options)
    expected = np.full(wide.shape, 7.0)
    expected[:, :classes] = 1 / classes - np.eye(classes)[labels]
    np.testing.assert_array_equal(wide.astype(float), expected)
