"""The losses and scores where torch compiles, exports or transforms: its own checks of them."""

import pytest

torch = pytest.importorskip("torch")

from support.tensors import example  # noqa: E402

import fastxent.torch as fxt  # noqa: E402
from fastxent._catalogue import ARGUMENTS, LOSSES, SCORES  # noqa: E402
from fastxent.torch.arguments import SIGNATURES  # noqa: E402

functional = torch.nn.functional
grad, vmap = torch.func.grad, torch.func.vmap
functions = pytest.mark.parametrize("name", ARGUMENTS)
#: Compilation takes a second, so each has one reduction, and each reduction several losses.
REDUCTIONS = ("anchor", "none", "sum", "mean")
WITH_REDUCTION = [(name, REDUCTIONS[place % 4]) for place, name in enumerate(ARGUMENTS)]
every_function = pytest.mark.parametrize(("name", "reduction"), WITH_REDUCTION)
every_loss = pytest.mark.parametrize(("name", "reduction"), WITH_REDUCTION[: len(LOSSES)])

# What torch itself warns of, or uses, while it compiles.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning"),
]


@pytest.fixture(autouse=True)
def _fresh_compiler():
    yield
    torch._dynamo.reset()


def compiled(function, backend="aot_eager", **options):
    return torch.compile(function, fullgraph=True, backend=backend, **options)


def value_and_grad(function, values, *arguments):
    values = values.detach().requires_grad_()
    result = function(values, *arguments)
    factors = torch.linspace(0.5, 2, result.numel(), dtype=result.dtype).reshape(result.shape)
    result.backward(factors)
    return result.detach(), values.grad


def assert_same(results, expected, rtol=1e-12):
    for result, right in zip(results, expected, strict=True):
        assert result.dtype == right.dtype
        torch.testing.assert_close(result, right, rtol=rtol, atol=rtol)


# --- operators ------------------------------------------------------------------------------------


def operands(name, reduction="mean", shape=(6, 5), dtype=torch.float32):
    """Return the arguments of an operator."""
    signature = SIGNATURES[name]
    values, targets = example(name, shape, dtype=dtype)
    if name in SCORES:
        options = signature.defaults | ({"axis": [1]} if "axis" in signature.defaults else {})
        return values, *(options[key] for key in signature.static)
    options = signature.defaults | {
        "weight": torch.rand(shape[:-1]),
        "ignore_index": (-100, -1),
        "reduction": reduction,
    }
    tensors = [options.get(key) for key in signature.tensors[1 + len(targets) :]]
    tensors = [x if torch.is_tensor(x) else None for x in tensors]
    return values, *targets, *tensors, *(options[key] for key in signature.static)


@every_function
def test_operators(name, reduction):
    values, *rest = operands(name, reduction)
    torch.library.opcheck(fxt.operators.operator(name), (values.requires_grad_(), *rest))


@every_loss
def test_operators_of_gradients(name, reduction):
    inputs = operands(name, reduction)
    factors = torch.ones_like(fxt.operators.operator(name)(*inputs))
    torch.library.opcheck(fxt.operators.operator(f"{name}_gradient"), (factors, *inputs))


@pytest.mark.parametrize("layout", ["sliced", "transposed", "expanded", "channels_last"])
@pytest.mark.parametrize("name", ["sigmoid_cross_entropy", "softmax_cross_entropy", "softmax"])
def test_operators_of_strided_logits(name, layout):
    logits = {
        "sliced": lambda: torch.randn(3, 8, 5)[:, ::2],
        "transposed": lambda: torch.randn(5, 4, 3).transpose(0, 2),
        "expanded": lambda: torch.randn(4, 5).expand(3, 4, 5),
        "channels_last": lambda: torch.randn(3, 4, 5, 1).to(memory_format=torch.channels_last)[
            ..., 0
        ],
    }[layout]()
    _, *rest = operands(name, "none", (3, 4, 5))
    torch.library.opcheck(fxt.operators.operator(name), (logits, *rest))
    if name in LOSSES:
        factors = torch.ones_like(fxt.operators.operator(name)(logits, *rest))
        torch.library.opcheck(fxt.operators.operator(f"{name}_gradient"), (factors, logits, *rest))


# --- torch.compile and torch.export ---------------------------------------------------------------


@every_loss
def test_compiled_losses(name, reduction):
    values, targets = example(name)

    def head(values):
        return getattr(fxt, name)(values * 1.0, *targets, reduction=reduction)

    assert_same(value_and_grad(compiled(head), values), value_and_grad(head, values))


@pytest.mark.parametrize("name", SCORES)
def test_compiled_scores(name):
    values, _ = example(name)
    function = getattr(fxt, name)
    assert_same(value_and_grad(compiled(function), values), value_and_grad(function, values))


def test_options_of_compiled_losses():
    logits, (labels,) = example("sigmoid_focal_loss")
    arrays = {"weight": torch.rand(6), "class_weight": torch.rand(5), "alpha": torch.rand(5)}
    options = {"ignore_index": (-1, -100), "background_index": 5, "gamma": 1.5, "empty": torch.nan}

    def head(logits, divisor, arrays):
        return fxt.sigmoid_focal_loss(
            logits, labels, reduction="mean", normalizer=divisor, **arrays, **options
        )

    for divisor in (torch.tensor(3.0), 4.0, "positive"):
        results = value_and_grad(compiled(head), logits, divisor, arrays)
        assert_same(results, value_and_grad(head, logits, divisor, arrays))


def test_inductor():
    layer = torch.nn.Conv2d(3, 5, 3, padding=1)
    pictures = torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 5, (2, 8, 8))

    def step(loss):
        result = loss(layer(pictures), labels)
        result.backward()
        derivative, layer.weight.grad = layer.weight.grad, None
        return result.detach(), derivative

    @torch.compile(fullgraph=True)
    def ours(logits, labels):
        return fxt.softmax_cross_entropy(logits * 2, labels, axis=1, reduction="mean")

    expected = step(lambda logits, labels: functional.cross_entropy(logits * 2, labels))
    assert_same(step(ours), expected, 1e-5)


def test_one_graph_for_all_sizes():
    from torch._dynamo.testing import CompileCounterWithBackend

    counter = CompileCounterWithBackend("aot_eager")
    head = compiled(
        lambda logits, labels: fxt.sigmoid_focal_loss(logits, labels, reduction="sum"),
        backend=counter,
        dynamic=True,
    )
    counts = []
    for count in (3, 7, 20, 9):
        logits = torch.randn(count, 5, requires_grad=True)
        labels = torch.randint(0, 6, (count,))
        loss = head(logits, labels)
        torch.testing.assert_close(loss, fxt.sigmoid_focal_loss(logits, labels, reduction="sum"))
        counts.append(counter.frame_count)
    # The compiler may start over, but not for another size.
    assert counts == [counts[0]] * 4


def test_one_node():
    graphs = []

    def backend(graph, _inputs):
        graphs.append(graph)
        return graph

    labels = torch.tensor([0, 1])
    compiled(lambda z: fxt.softmax_cross_entropy(z, labels), backend=backend)(torch.randn(2, 3))
    calls = [node.target for node in graphs[0].graph.nodes if node.op == "call_function"]
    assert calls == [torch.ops.fastxent.softmax_cross_entropy.default]


@pytest.mark.parametrize("name", ["sigmoid_focal_loss", "quality_focal_loss", "softmax"])
def test_export(name):
    values, targets = example(name)

    class Model(torch.nn.Module):
        def forward(self, values, *targets):
            return getattr(fxt, name)(values, *targets)

    program = torch.export.export(Model(), (values, *targets))
    result = program.module()(values, *targets)
    torch.testing.assert_close(result, getattr(fxt, name)(values, *targets))


def test_compiled_autocast():
    layer, labels = torch.nn.Linear(8, 5), torch.tensor([0, 1, 2, 5])
    inputs = torch.randn(4, 8)

    def head(inputs):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return fxt.sigmoid_focal_loss(layer(inputs), labels, reduction="mean")

    loss = compiled(head)(inputs)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, head(inputs))
    loss.backward()
    assert layer.weight.grad is not None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_compiled_halves(dtype):
    logits, (labels,) = example("sigmoid_focal_loss", dtype=dtype)

    def head(logits):
        return fxt.sigmoid_focal_loss(logits, labels)

    assert_same(value_and_grad(compiled(head), logits), value_and_grad(head, logits), 1e-6)


# --- torch.func -----------------------------------------------------------------------------------


def check_derivatives(name, transform):
    values, targets = example(name, (3, 6, 5))

    def head(values, *targets):
        return getattr(fxt, name)(values, *targets).sum()

    leaf = values.clone().requires_grad_()
    head(leaf, *targets).backward()
    for derivative in (grad(head), vmap(grad(head))):
        torch.testing.assert_close(transform(derivative)(values, *targets), leaf.grad)


@functions
def test_derivatives(name):
    check_derivatives(name, lambda function: function)


@pytest.mark.parametrize("name", ["sigmoid_focal_loss", "quality_focal_loss", "softmax"])
def test_compiled_derivatives(name):
    check_derivatives(name, compiled)


@functions
def test_vmap(name):
    values, targets = example(name, (3, 6, 5))
    function = getattr(fxt, name)
    expected = function(values, *targets)
    torch.testing.assert_close(vmap(function)(values, *targets), expected)
    # Along another axis, and of the derivative of a vmap.
    moved = values.movedim(0, 1)
    result = vmap(function, in_dims=(1, *[0] * len(targets)))(moved, *targets)
    torch.testing.assert_close(result, expected)
    leaf = values.clone().requires_grad_()
    function(leaf, *targets).sum().backward()
    derivative = grad(lambda values: vmap(function)(values, *targets).sum())
    torch.testing.assert_close(derivative(values), leaf.grad)


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [0, -1, (0, 2), None])
def test_vmap_of_several_axes(axis, keepdims):
    logits = torch.randn(4, 2, 3, 5, dtype=torch.float64)
    function = lambda z: fxt.logsumexp(z, axis=axis, keepdims=keepdims)  # noqa: E731
    dims = tuple(range(3)) if axis is None else axis
    expected = torch.stack([torch.logsumexp(z, dims, keepdim=keepdims) for z in logits])
    torch.testing.assert_close(vmap(function)(logits), expected)


def test_each_element_of_a_batch_has_its_own_mean():
    logits = torch.randn(3, 6, 5, dtype=torch.float64)
    labels = torch.randint(0, 5, (3, 6))
    labels[1, :4] = -100
    weight = torch.rand(3, 6, dtype=torch.float64)

    def mean(logits, labels, weight):
        return fxt.softmax_cross_entropy(
            logits, labels, weight=weight, reduction="mean", normalizer="weight"
        )

    result = vmap(mean)(logits, labels, weight)
    expected = functional.cross_entropy(logits.movedim(-1, 1), labels, reduction="none") * weight
    kept = weight * (labels != -100)
    torch.testing.assert_close(result, expected.sum(1) / kept.sum(1))


def test_jacobians():
    logits, (labels,) = example("softmax_cross_entropy")
    function = torch.func.jacrev(lambda z: fxt.softmax_cross_entropy(z, labels))
    expected = torch.func.jacrev(lambda z: functional.cross_entropy(z, labels, reduction="none"))
    torch.testing.assert_close(function(logits), expected(logits))


# --- without memory -------------------------------------------------------------------------------


@functions
def test_meta(name):
    values, targets = example(name)
    result = getattr(fxt, name)(values.to("meta"), *(target.to("meta") for target in targets))
    expected = getattr(fxt, name)(values, *targets)
    assert (result.shape, result.dtype, result.device.type) == (
        expected.shape,
        expected.dtype,
        "meta",
    )


def test_fake_tensors():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode() as mode:
        logits = mode.from_tensor(torch.randn(4, 5, 6))
        labels = mode.from_tensor(torch.zeros(4, 6, dtype=torch.int64))
        assert fxt.sigmoid_focal_loss(logits, labels, axis=1).shape == (4, 6)
        assert fxt.logsumexp(logits, axis=(0, 1)).shape == (6,)


def test_modes_see_one_operator():
    from torch.utils._python_dispatch import TorchDispatchMode

    seen = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.append(str(function))
            return function(*args, **(kwargs or {}))

    logits, (labels,) = example("softmax_cross_entropy")
    with Watch():
        fxt.softmax_cross_entropy(logits, labels)
    assert seen == ["fastxent.softmax_cross_entropy.default"]


def test_subclasses():
    class Marked(torch.Tensor):
        pass

    logits, (labels,) = example("softmax_cross_entropy")
    marked = logits.as_subclass(Marked).requires_grad_()
    loss = fxt.softmax_cross_entropy(marked, labels, reduction="sum")
    loss.backward()
    leaf = logits.clone().requires_grad_()
    fxt.softmax_cross_entropy(leaf, labels, reduction="sum").backward()
    torch.testing.assert_close(marked.grad.as_subclass(torch.Tensor), leaf.grad)
