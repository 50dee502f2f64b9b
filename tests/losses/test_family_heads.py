"""Two heads, one model: probability, loss and gradient of a sigmoid are those of a softmax of two.

With more classes they are not, whatever the logits.
"""

import numpy as np
import pytest

import fastxent as fx

LOGITS = np.concatenate([np.linspace(-40, 40, 401), [-700.0, -88.0, 1e-9, 88.0, 700.0]])


@pytest.fixture(params=[np.float32, np.float64])
def dtype(request):
    return request.param


@pytest.mark.parametrize("target", [0, 1])
def test_probability_loss_and_gradient(target, dtype, backend):
    logits = LOGITS.astype(dtype)
    pairs = fx.sigmoid_to_softmax_logits(logits)
    rtol = 1e-6 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose(fx.softmax(pairs)[:, 1], fx.sigmoid(logits), rtol=rtol)
    labels = np.full(len(logits), target)
    one = fx.sigmoid_cross_entropy(logits, labels, axis=None, return_grad=True)
    two = fx.softmax_cross_entropy(pairs, labels, return_grad=True)
    np.testing.assert_allclose(two[0], one[0], rtol=rtol)
    # z moves the pair by (-1/2, 1/2).
    np.testing.assert_allclose((two[1][:, 1] - two[1][:, 0]) / 2, one[1], rtol=rtol, atol=1e-38)
    np.testing.assert_allclose(two[1][:, 0], -two[1][:, 1], rtol=rtol, atol=1e-38)


def test_what_the_gradient_is(dtype, backend):
    """Neither head is right only because the other is wrong alike."""
    z = np.array([np.log(3)], dtype)
    _, gradient = fx.sigmoid_cross_entropy(z, [1], axis=None, return_grad=True)
    np.testing.assert_allclose(gradient, [-0.25], rtol=1e-6)
    pair = fx.sigmoid_to_softmax_logits(z)
    _, gradient = fx.softmax_cross_entropy(pair, [1], return_grad=True)
    np.testing.assert_allclose(gradient, [[0.25, -0.25]], rtol=1e-6)


@pytest.mark.parametrize("gamma", [0, 0.5, 1, 2, 5])
@pytest.mark.parametrize("target", [0, 1])
def test_focal_heads(target, gamma, dtype, backend):
    """The two-class softmax form has the same focal loss: 1 - p of the class is the same."""
    logits = LOGITS.astype(dtype)
    pairs = fx.sigmoid_to_softmax_logits(logits)
    labels = np.full(len(logits), target)
    options = {"alpha": None, "gamma": gamma, "return_grad": True}
    one = fx.sigmoid_focal_loss(logits, labels, axis=None, **options)
    two = fx.softmax_focal_loss(pairs, labels, **options)
    rtol = 3e-6 if dtype == np.float32 else 1e-12
    tiny = 1e-44 if dtype == np.float32 else 1e-322
    np.testing.assert_allclose(two[0], one[0], rtol=rtol, atol=tiny)
    np.testing.assert_allclose((two[1][:, 1] - two[1][:, 0]) / 2, one[1], rtol=rtol, atol=tiny)


def test_soft_targets(dtype, backend):
    rng = np.random.default_rng(0)
    logits, y = rng.normal(0, 5, 300).astype(dtype), rng.integers(0, 9, 300) / 8
    one = fx.sigmoid_cross_entropy(logits, y, axis=None, return_grad=True)
    pairs = fx.sigmoid_to_softmax_logits(logits)
    two = fx.softmax_cross_entropy(pairs, np.stack([1 - y, y], axis=-1), return_grad=True)
    tolerance = 1e-6 if dtype == np.float32 else 1e-14
    np.testing.assert_allclose(two[0], one[0], rtol=tolerance)
    np.testing.assert_allclose((two[1][:, 1] - two[1][:, 0]) / 2, one[1], atol=tolerance)


def test_three_sigmoids_are_no_softmax_of_three(dtype, backend):
    """Softmax gradients add up to 0 over the classes, and those of sigmoids do not."""
    logits = np.array([[2.0, 0.0, -1.0]], dtype)
    softmax_loss, softmax_gradient = fx.softmax_cross_entropy(logits, [0], return_grad=True)
    sigmoid_loss, sigmoid_gradient = fx.sigmoid_cross_entropy(logits, [0], return_grad=True)
    e = np.exp([2.0, 0.0, -1.0])
    np.testing.assert_allclose(softmax_gradient[0], e / e.sum() - [1, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(sigmoid_gradient[0], e / (1 + e) - [1, 0, 0], rtol=1e-6)
    assert abs(softmax_gradient.sum()) < 1e-7
    assert sigmoid_gradient.sum() > 0.6
    assert sigmoid_loss > 3 * softmax_loss
    # A shift of all logits is nothing to a softmax. No sigmoid has that freedom.
    shifted = logits + 1
    loss, gradient = fx.softmax_cross_entropy(shifted, [0], return_grad=True)
    np.testing.assert_allclose(loss, softmax_loss, rtol=1e-6)
    np.testing.assert_allclose(gradient, softmax_gradient, rtol=1e-5)
    loss, gradient = fx.sigmoid_cross_entropy(shifted, [0], return_grad=True)
    assert abs(loss - sigmoid_loss) > 0.5
    assert np.abs(gradient - sigmoid_gradient).max() > 0.1
