"""Labels of every integer dtype, up to the ends of what it holds: classes, and ignored ones."""

import numpy as np
import pytest

import fastxent as fx

#: Equal logits: an anchor of C classes loses log(C), or C log(2).
LOSSES = {
    fx.softmax_cross_entropy: np.log,
    fx.sigmoid_cross_entropy: lambda classes: classes * np.log(2),
}
every_loss = pytest.mark.parametrize("loss", LOSSES)
every_dtype = pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])


@every_loss
@every_dtype
def test_ends_that_are_ignored(loss, dtype, backend):
    ends = np.iinfo(dtype)
    marks = [mark for mark in (ends.min, ends.max) if mark and mark < 2**63]
    labels = np.array([0, 1, 2, *marks], dtype)
    expected = [LOSSES[loss](3)] * 3 + [0] * len(marks)
    for given in (labels, np.repeat(labels, 2)[::2]):
        for logits in (np.zeros((len(labels), 3)), np.zeros((len(labels), 3), np.float32)):
            result = loss(logits, given, ignore_index=tuple(marks))
            np.testing.assert_allclose(result, expected, rtol=1e-6)


@every_loss
@every_dtype
def test_classes_up_to_the_largest_number(loss, dtype, backend):
    """Or the largest of 16 bits, where there are more."""
    highest = min(np.iinfo(dtype).max, 2**16 - 1)
    logits = np.zeros((2, highest + 1), np.float32)
    logits[:, highest] = 3
    _, grad = loss(logits, np.array([0, highest], dtype), return_grad=True)
    np.testing.assert_array_equal(grad < 0, np.eye(highest + 1, dtype=bool)[[0, highest]])


@every_loss
def test_numbers_beyond_63_bits_are_no_marks(loss, backend):
    """As signed numbers they would be -1 and -100."""
    for number in (2**64 - 1, 2**64 - 100):
        with pytest.raises(ValueError, match=rf"targets\[0\] = {number} is not a class label"):
            loss(np.zeros((1, 3)), np.array([number], np.uint64), ignore_index=(-1, -100))
