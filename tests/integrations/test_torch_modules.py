"""The drop-in modules against torch's own, over the samples that torch tests those with."""

import copy
import re

import hypothesis
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest", reason="torch's samples need it")

from torch.testing._internal.common_methods_invocations import op_db  # noqa: E402
from torch.testing._internal.common_modules import module_db  # noqa: E402

import fastxent.torch as fxt  # noqa: E402

# torch's modules have loaded a profile of their own, for all tests that follow.
hypothesis.settings.load_profile("fastxent")

functional = torch.nn.functional
OPERATORS = {
    "nn.functional.cross_entropy": fxt.CrossEntropyLoss,
    "nn.functional.binary_cross_entropy_with_logits": fxt.BCEWithLogitsLoss,
}
MODULES = {
    "nn.CrossEntropyLoss": fxt.CrossEntropyLoss,
    "nn.BCEWithLogitsLoss": fxt.BCEWithLogitsLoss,
}
#: What the package refuses and torch does not.
CONTRACT = re.compile(r"is outside \[0, 1\]|negative or not finite|no classes|has one class")


def samples_of_operator(name, dtype):
    """Yield keywords, input and target of the calls of a function that torch tests."""
    for operator in op_db:
        if operator.name == name:
            for sample in operator.sample_inputs("cpu", dtype):
                yield sample.kwargs, sample.input, *sample.args


def samples_of_module(name, dtype):
    """Yield the same for the constructor of a module, and its call."""
    for module in module_db:
        if module.name == name:
            # The generator of some is not prepared for halves.
            for sample in module.module_inputs_func(
                module, device="cpu", dtype=dtype, requires_grad=False, training=True
            ):
                yield sample.constructor_input.kwargs, *sample.forward_input.args


def as_double(value):
    is_float = torch.is_tensor(value) and value.is_floating_point()
    return value.detach().double() if is_float else copy.deepcopy(value)


def check(ours, torchs, values, target):
    """Compare value and gradient in float64 arithmetic; return whether the call is refused."""
    values, target = values.detach().clone().requires_grad_(), target.detach()
    try:
        result = ours(values, target)
    except ValueError as error:
        if CONTRACT.search(str(error)):
            return True
        raise
    exact = values.detach().double().requires_grad_()
    expected = torchs(exact, as_double(target))
    assert result.dtype == (torch.float64 if values.dtype == torch.float64 else torch.float32)
    rtol = 1e-12 if values.dtype == torch.float64 else 1e-5
    torch.testing.assert_close(result.double(), expected, rtol=rtol, atol=rtol, equal_nan=True)
    factors = torch.rand_like(expected)
    result.backward(factors.to(result.dtype))
    expected.backward(factors)
    rtol = {torch.bfloat16: 1e-2, torch.float16: 2e-3}.get(values.dtype, rtol)
    torch.testing.assert_close(
        values.grad.double(), exact.grad, rtol=rtol, atol=rtol, equal_nan=True
    )
    return False


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((name, dtype) for name in OPERATORS for dtype in (torch.float16, torch.float64)),
        *((name, dtype) for name in MODULES for dtype in (torch.float32, torch.bfloat16)),
    ],
)
def test_torchs_samples(name, dtype):
    if name in OPERATORS:
        samples, ours = list(samples_of_operator(name, dtype)), OPERATORS[name]
    else:
        samples, ours = list(samples_of_module(name, dtype)), MODULES[name]
    theirs = getattr(torch.nn, ours.__name__)
    refused = 0
    for options, values, target in samples:
        double = {key: as_double(value) for key, value in options.items()}
        refused += check(ours(**options), theirs(**double), values, target)
    assert len(samples) > 5
    # Half of torch's samples of class weights and probabilities are drawn from [-9, 9].
    assert refused <= 0.5 * len(samples)
    print(f"{name} {dtype}: {len(samples)} samples, {refused} refused by contract")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torchs_samples_of_probabilities(dtype):
    count = 0
    for options, probs, target in samples_of_operator("nn.functional.binary_cross_entropy", dtype):
        reduction, weight = options.get("reduction", "mean"), options.get("weight")
        normalizer = {"normalizer": probs.numel()} if reduction == "mean" else {}

        def ours(values, targets, reduction=reduction, weight=weight, normalizer=normalizer):
            return fxt.binary_cross_entropy(
                values,
                targets,
                axis=None,
                eps=1e-12,
                reduction=reduction,
                weight=weight,
                **normalizer,
            )

        def theirs(values, targets, reduction=reduction, weight=weight):
            weight = as_double(weight)
            return functional.binary_cross_entropy(values, targets, weight, reduction=reduction)

        assert not check(ours, theirs, probs, target)
        count += 1
    assert count > 5


def test_torchs_errors():
    count = 0
    for module in module_db:
        if module.name in MODULES and module.module_error_inputs_func:
            for sample in module.module_error_inputs_func(
                module, device="cpu", dtype=torch.float32, requires_grad=False, training=True
            ):
                inputs = sample.module_error_input
                with pytest.raises((ValueError, TypeError, IndexError, RuntimeError)):
                    MODULES[module.name](**inputs.constructor_input.kwargs)(
                        *inputs.forward_input.args
                    )
                count += 1
    if not count:
        pytest.skip("torch 2.4 has none")


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("shape", [(5,), (1,), (5, 1), (5, 1, 1)])
def test_positive_weights(shape, reduction):
    sizes = {(5,): (3, 5), (1,): (3, 4), (5, 1): (3, 5, 4), (5, 1, 1): (3, 5, 4, 2)}[shape]
    weight, pos_weight = torch.rand(sizes[-1]), torch.rand(shape) * 3
    options = {"weight": weight, "pos_weight": pos_weight, "reduction": reduction}
    module, theirs = fxt.BCEWithLogitsLoss(**options), torch.nn.BCEWithLogitsLoss(**options)
    logits, targets = torch.randn(sizes), torch.rand(sizes)
    torch.testing.assert_close(module(logits, targets), theirs(logits, targets))


def test_positive_weights_that_are_refused():
    logits, targets = torch.randn(3, 5, 4), torch.rand(3, 5, 4)
    module = fxt.BCEWithLogitsLoss(pos_weight=torch.ones(5, 4))
    with pytest.raises(ValueError, match=r"pos_weight has shape \(5, 4\), expected"):
        module(logits, targets)
    with pytest.raises(ValueError, match="target has shape"):
        module(logits, targets[0])


def torchvisions_focal_loss(inputs, targets, alpha, gamma, reduction):
    """Torchvision's formula, in its own words."""
    p = torch.sigmoid(inputs)
    ce = functional.binary_cross_entropy_with_logits(inputs, targets, reduction="none")
    p_t = p * targets + (1 - p) * (1 - targets)
    loss = ce * (1 - p_t) ** gamma
    if alpha >= 0:
        loss = (alpha * targets + (1 - alpha) * (1 - targets)) * loss
    return {"none": lambda x: x, "mean": torch.mean, "sum": torch.sum}[reduction](loss)


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("alpha", [0.25, 0.8, -1])
def test_sigmoid_focal_loss(alpha, reduction, labels):
    logits = torch.randn(3, 5, 4, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 6, (3, 4))
    dense = functional.one_hot(target, 6)[..., :5].movedim(-1, 1).double()
    module = fxt.SigmoidFocalLoss(alpha=alpha, gamma=1.5, reduction=reduction)
    result = module(logits, target if labels else dense)
    expected = torchvisions_focal_loss(logits, dense, alpha, 1.5, reduction)
    torch.testing.assert_close(result, expected)
    factors = torch.rand_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad(result, logits, factors),
        torch.autograd.grad(expected, logits, factors),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_they_are_modules(tmp_path):
    weight = torch.rand(5)
    module = fxt.CrossEntropyLoss(weight, label_smoothing=0.1)
    theirs = torch.nn.CrossEntropyLoss(weight, label_smoothing=0.1)
    assert module.state_dict().keys() == theirs.state_dict().keys()
    assert (
        repr(fxt.SigmoidFocalLoss()) == "SigmoidFocalLoss(alpha=0.25, gamma=2.0, reduction='none')"
    )
    torch.save(module, tmp_path / "loss.pt")
    loaded = torch.load(tmp_path / "loss.pt", weights_only=False)
    logits, labels = torch.randn(4, 5), torch.tensor([0, 1, -100, 4])
    for copied in (loaded, copy.deepcopy(module)):
        torch.testing.assert_close(copied(logits, labels), theirs(logits, labels))
    with pytest.raises(ValueError, match="reduction = 'max'"):
        fxt.CrossEntropyLoss(reduction="max")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", [*OPERATORS.values(), fxt.SigmoidFocalLoss])
def test_compiled(name):
    module = name()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager", dynamic=True)
    for count in (4, 6):
        logits = torch.randn(count, 5)
        target = torch.rand(count, 5)
        torch.testing.assert_close(compiled(logits, target), module(logits, target))
    torch._dynamo.reset()
