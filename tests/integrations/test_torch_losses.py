"""The losses on ordinary tensors: NumPy's values, and derivatives that torch checks."""

import inspect
import threading

import numpy as np
import pytest
from support import family
from support.oracles import one_hot

torch = pytest.importorskip("torch")

from support import tensors  # noqa: E402

import fastxent as fx  # noqa: E402
import fastxent.torch as fxt  # noqa: E402
from fastxent._catalogue import ARGUMENTS, LOSSES, NUMPY_ONLY  # noqa: E402

functional = torch.nn.functional
losses = pytest.mark.parametrize("name", LOSSES)
REDUCTIONS = ("anchor", "none", "sum", "mean")


def example(name, shape=(6, 5), axis=-1, dtype=torch.float64):
    """Return values that require grad, and targets."""
    values, targets = tensors.example(name, shape, axis, dtype)
    return values.requires_grad_(), targets


def numpy_result(name, values, targets, **options):
    arrays = [target.numpy() for target in targets]
    options = {key: x.numpy() if torch.is_tensor(x) else x for key, x in options.items()}
    return family.public(name)(values.detach().numpy(), *arrays, **options)


def test_every_loss_and_score_is_here():
    assert set(ARGUMENTS) <= set(fxt.__all__)
    for name in ARGUMENTS:
        function = getattr(fxt, name)
        expected = inspect.signature(getattr(fx, name)).parameters
        assert list(inspect.signature(function).parameters) == [
            key for key in expected if key not in NUMPY_ONLY
        ]
        assert function.__name__ == name
        assert function.__doc__.startswith(getattr(fx, name).__doc__.partition("\n")[0])
        assert not set(NUMPY_ONLY) & set(function.__doc__.replace("\n", " : ").split(" : "))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@losses
def test_derivatives(name, reduction):
    values, targets = example(name)
    assert torch.autograd.gradcheck(
        lambda values: getattr(fxt, name)(values, *targets, reduction=reduction), (values,)
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@losses
def test_values_and_gradients_are_those_of_arrays(name, reduction):
    values, targets = example(name, (4, 5, 3), axis=1, dtype=torch.float32)
    weight = torch.linspace(0.5, 2, 12).reshape(4, 3)
    options = {"axis": 1, "weight": weight, "reduction": reduction}
    loss = getattr(fxt, name)(values, *targets, **options)
    factors = torch.linspace(-1, 3, loss.numel()).reshape(loss.shape)
    loss.backward(factors)
    expected, grad = numpy_result(
        name, values, targets, **options, return_grad=True, grad_output=factors
    )
    assert loss.dtype == torch.float32
    # With its gradient a loss may differ by 1 ULP.
    np.testing.assert_allclose(loss.detach().numpy(), np.float32(expected), 2.4e-7)
    np.testing.assert_allclose(values.grad.numpy(), grad, 2.4e-7)


@losses
def test_results_without_gradients(name):
    values, targets = example(name)
    for reduction in REDUCTIONS:
        expected = numpy_result(name, values, targets, reduction=reduction)
        with torch.no_grad():
            loss = getattr(fxt, name)(values, *targets, reduction=reduction)
        assert not loss.requires_grad
        np.testing.assert_array_equal(loss.numpy(), expected)


def test_torchs_own_cross_entropies():
    logits, (labels,) = example("softmax_cross_entropy", (8, 5), dtype=torch.float32)
    loss = fxt.softmax_cross_entropy(logits, labels, reduction="mean")
    torch.testing.assert_close(loss, functional.cross_entropy(logits, labels))
    dense = torch.from_numpy(one_hot(labels.numpy(), 5))
    loss = fxt.sigmoid_cross_entropy(logits, labels, reduction="sum")
    expected = functional.binary_cross_entropy_with_logits(logits, dense.float(), reduction="sum")
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@losses
def test_halves(name, dtype):
    values, targets = example(name, (7, 5, 4), axis=1, dtype=torch.float32)
    halves = values.detach().to(dtype).requires_grad_()
    for reduction in ("sum", "anchor"):
        halves.grad = None
        loss = getattr(fxt, name)(halves, *targets, axis=1, reduction=reduction)
        assert loss.dtype == torch.float32
        loss.sum().backward()
        exact = halves.detach().double().requires_grad_()
        expected = getattr(fxt, name)(exact, *targets, axis=1, reduction=reduction)
        expected.sum().backward()
        torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
        assert halves.grad.dtype == dtype
        torch.testing.assert_close(halves.grad.double(), exact.grad, rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_memory_orders(reduction, dtype):
    logits = torch.randn(2, 5, 6, 4).to(dtype)
    labels = torch.randint(0, 5, (2, 6, 4))
    expected, leaves = [], []
    for layout in (
        logits,
        logits.contiguous(memory_format=torch.channels_last),
        logits.repeat(1, 1, 2, 1)[:, :, ::2],
        logits.transpose(0, 3).contiguous().transpose(0, 3),
    ):
        leaf = layout.clone().copy_(logits).requires_grad_()
        loss = fxt.sigmoid_focal_loss(leaf, labels, axis=1, reduction=reduction)
        loss.sum().backward()
        assert leaf.grad.stride() == leaf.stride()
        expected.append(loss.detach())
        leaves.append(leaf.grad)
    for loss, grad in zip(expected, leaves, strict=True):
        torch.testing.assert_close(loss, expected[0])
        torch.testing.assert_close(grad, leaves[0])
    assert leaves[1].is_contiguous(memory_format=torch.channels_last)


def test_expanded_and_negative_views():
    base = torch.randn(5).requires_grad_()
    labels = torch.tensor([0, 4, 2])
    fxt.softmax_cross_entropy(base.expand(3, 5), labels, reduction="sum").backward()
    grad, base.grad = base.grad, None
    functional.cross_entropy(base.expand(3, 5), labels, reduction="sum").backward()
    torch.testing.assert_close(grad, base.grad)
    negative = torch.complex(torch.zeros(3, 5), torch.randn(3, 5)).conj().imag
    assert negative.is_neg()
    torch.testing.assert_close(
        fxt.softmax_cross_entropy(negative, labels),
        functional.cross_entropy(negative, labels, reduction="none"),
    )


def test_no_copies():
    logits = torch.randn(50, 9, requires_grad=True)
    labels = torch.randint(0, 9, (50,))
    seen = []
    evaluate = fx.softmax_cross_entropy

    def spy(**options):
        seen.append(options["logits"].ctypes.data)
        result = evaluate(**options)
        seen.append(result[1].ctypes.data)
        return result

    signature = fxt.arguments.SIGNATURES["softmax_cross_entropy"]
    signature.function = spy
    try:
        fxt.softmax_cross_entropy(logits, labels, reduction="sum").backward()
    finally:
        signature.function = evaluate
    assert seen == [logits.data_ptr(), logits.grad.data_ptr()]


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_factors_of_a_sum(reduction):
    logits, (labels,) = example("sigmoid_focal_loss")
    loss = fxt.sigmoid_focal_loss(logits, labels, reduction=reduction)
    (once,) = torch.autograd.grad(loss, logits, retain_graph=True)
    (scaled,) = torch.autograd.grad(loss * -2.5, logits, retain_graph=True)
    (again,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(scaled, -2.5 * once)
    torch.testing.assert_close(again, once, rtol=0, atol=0)


def test_gradients_add_up():
    logits, (labels,) = example("sigmoid_focal_loss")
    a = fxt.sigmoid_focal_loss(logits, labels, reduction="sum")
    b = fxt.sigmoid_cross_entropy(logits, labels, reduction="mean")
    (a + b).backward(retain_graph=True)
    first = logits.grad.clone()
    (a + b).backward()
    torch.testing.assert_close(logits.grad, 2 * first)


@pytest.mark.parametrize("kind", [float, torch.tensor])
def test_normalizers(kind):
    logits, (labels,) = example("sigmoid_focal_loss", dtype=torch.float32)
    loss = fxt.sigmoid_focal_loss(logits, labels, reduction="mean", normalizer=kind(7.0))
    expected = fxt.sigmoid_focal_loss(logits, labels, reduction="sum") / 7
    torch.testing.assert_close(loss, expected)
    empty = fxt.sigmoid_focal_loss(
        logits, labels, reduction="mean", normalizer=kind(0.0), empty=torch.nan
    )
    assert empty.isnan()


def test_arrays_among_the_options():
    logits, (labels,) = example("sigmoid_focal_loss")
    weight, alpha = torch.rand(5, dtype=torch.float64), torch.rand(5, dtype=torch.float64)
    loss = fxt.sigmoid_focal_loss(logits, labels, alpha=alpha, class_weight=weight)
    expected = numpy_result(
        "sigmoid_focal_loss", logits, (labels,), alpha=alpha, class_weight=weight
    )
    np.testing.assert_array_equal(loss.detach().numpy(), expected)
    positive = fxt.sigmoid_cross_entropy(logits, labels, pos_weight=weight)
    expected = numpy_result("sigmoid_cross_entropy", logits, (labels,), pos_weight=weight)
    np.testing.assert_array_equal(positive.detach().numpy(), expected)


def test_expected_positions_have_derivatives():
    logits, targets = example("distribution_focal_loss")
    loss, mean = fxt.distribution_focal_loss(logits, *targets, return_expectation=True)
    _, expected = numpy_result("distribution_focal_loss", logits, targets, return_expectation=True)
    np.testing.assert_allclose(mean.detach().numpy(), expected)
    assert loss.shape == mean.shape == (6,)

    def both(logits):
        return fxt.distribution_focal_loss(
            logits, *targets, reduction="mean", return_expectation=True
        )

    assert torch.autograd.gradcheck(both, (logits,))


def test_a_sum_that_overflows():
    logits = torch.tensor([[3e38, 0.0], [3e38, 0.0]], requires_grad=True)
    loss = fxt.softmax_cross_entropy(logits, torch.tensor([1, 1]), reduction="sum")
    assert loss.item() == torch.inf


def test_threads_are_torchs(monkeypatch):
    seen = []
    signature = fxt.arguments.SIGNATURES["softmax_cross_entropy"]
    evaluate = signature.function
    monkeypatch.setattr(
        signature, "function", lambda **options: seen.append(options) or evaluate(**options)
    )
    logits, (labels,) = example("softmax_cross_entropy")
    before = torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            fxt.softmax_cross_entropy(logits, labels).sum().backward()
    finally:
        torch.set_num_threads(before)
    fxt.softmax_cross_entropy(logits, labels, num_threads=2)
    assert [options["num_threads"] for options in seen] == [1, 1, 3, 3, 2]


def test_changes_before_backward_are_noticed():
    for changed in ("logits", "labels"):
        logits, (labels,) = example("softmax_cross_entropy")
        logits = logits * 1
        loss = fxt.softmax_cross_entropy(logits, labels).sum()
        {"logits": logits, "labels": labels}[changed].zero_()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def test_autocast():
    layer = torch.nn.Linear(8, 5)
    inputs, labels = torch.randn(4, 8), torch.tensor([0, 1, 2, 5])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = layer(inputs)
        loss = fxt.sigmoid_focal_loss(logits, labels, reduction="mean")
    assert (logits.dtype, loss.dtype) == (torch.bfloat16, torch.float32)
    loss.backward()
    assert layer.weight.grad.dtype == torch.float32


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoints(reentrant):
    layer = torch.nn.Linear(8, 5)
    inputs, labels = torch.randn(4, 8, requires_grad=True), torch.tensor([0, 1, 2, 4])

    def head(inputs):
        return fxt.softmax_cross_entropy(layer(inputs), labels, reduction="sum")

    torch.utils.checkpoint.checkpoint(head, inputs, use_reentrant=reentrant).backward()
    grad, layer.weight.grad = layer.weight.grad, None
    functional.cross_entropy(layer(inputs), labels, reduction="sum").backward()
    torch.testing.assert_close(grad, layer.weight.grad)


def test_several_threads_of_python():
    logits, (labels,) = example("sigmoid_focal_loss", (500, 20))
    expected = fxt.sigmoid_focal_loss(logits, labels, reduction="sum")
    (grad,) = torch.autograd.grad(expected, logits)
    results = []

    def work():
        leaf = logits.detach().clone().requires_grad_()
        fxt.sigmoid_focal_loss(leaf, labels, reduction="sum").backward()
        results.append(leaf.grad)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(torch.equal(result, grad) for result in results)
