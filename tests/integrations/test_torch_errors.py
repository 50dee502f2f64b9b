"""What fastxent.torch refuses, and what it says: nothing is detached in silence."""

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

from support.tensors import example  # noqa: E402

import fastxent.torch as fxt  # noqa: E402
from fastxent._catalogue import ARGUMENTS, LOSSES, SCORES  # noqa: E402

forward_ad = torch.autograd.forward_ad
grad, vmap = torch.func.grad, torch.func.vmap
losses = pytest.mark.parametrize("name", LOSSES)

# Of torch.func, on its first use.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def logits_and_labels():
    logits, (labels,) = example("softmax_cross_entropy")
    return logits, labels


@pytest.mark.parametrize("reduction", ["sum", "anchor"])
@losses
def test_second_derivatives(name, reduction):
    values, targets = example(name)
    values.requires_grad_()
    loss = getattr(fxt, name)(values, *targets, reduction=reduction).sum()
    (slope,) = torch.autograd.grad(loss, values, create_graph=True)
    with pytest.raises(NotImplementedError, match=f"{name} has no second derivative"):
        torch.autograd.grad(slope.sum(), values)
    # A penalty of gradients ends there, too.
    loss = getattr(fxt, name)(values, *targets, reduction=reduction).sum()
    (slope,) = torch.autograd.grad(loss, values, create_graph=True)
    with pytest.raises(NotImplementedError, match=f"{name} has no second derivative"):
        (loss + slope.square().sum()).backward()


@losses
def test_second_derivatives_of_transforms(name):
    values, targets = example(name)

    def loss(values):
        return getattr(fxt, name)(values, *targets, reduction="sum")

    with pytest.raises(NotImplementedError, match=f"{name} has no second derivative"):
        torch.func.jacrev(torch.func.jacrev(loss))(values)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_forward_mode(name):
    values, targets = example(name)

    def function(values):
        return getattr(fxt, name)(values, *targets)

    with pytest.raises(NotImplementedError, match=f"{name} has no derivative in forward mode"):
        torch.func.jvp(function, (values,), (values,))
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(values, values)
        with pytest.raises(NotImplementedError, match="forward mode"):
            function(dual)


@pytest.mark.parametrize("name", SCORES)
def test_scores_have_second_derivatives(name):
    values, _ = example(name, (2, 3))
    assert torch.autograd.gradgradcheck(getattr(fxt, name), (values.requires_grad_(),))


@pytest.mark.parametrize("key", ["targets", "weight", "class_weight", "pos_weight", "normalizer"])
def test_derivatives_of_other_arguments(key):
    logits, _ = logits_and_labels()
    options = {
        "targets": torch.rand(6, 5),
        "weight": torch.rand(6),
        "class_weight": torch.rand(5),
        "pos_weight": torch.rand(5),
        "normalizer": torch.tensor(2.0),
    }
    options[key].requires_grad_()
    message = f"{key} requires grad, but .* respect to logits alone: pass {key}.detach"
    with pytest.raises(NotImplementedError, match=message):
        fxt.sigmoid_cross_entropy(logits, reduction="mean", **options)
    with torch.no_grad():
        fxt.sigmoid_cross_entropy(logits, reduction="mean", **options)


def test_derivatives_of_weights_within_transforms():
    logits, labels = example("softmax_cross_entropy", (3, 6, 5))[0], torch.zeros(3, 6).long()

    def loss(logits, labels, weight):
        return fxt.softmax_cross_entropy(logits, labels, weight=weight, reduction="sum")

    weight = torch.ones(3, 6)
    with pytest.raises(NotImplementedError, match="weight requires grad"):
        grad(lambda weight: loss(logits, labels, weight))(weight)
    with pytest.raises(NotImplementedError, match="with respect to logits alone"):
        grad(lambda weight: vmap(loss)(logits, labels, weight).sum())(weight)
    compiled = torch.compile(
        grad(lambda weight: vmap(loss)(logits, labels, weight).sum()), backend="eager"
    )
    with pytest.raises(Exception, match="with respect to logits alone"):
        compiled(weight)
    torch._dynamo.reset()


def test_devices_and_layouts():
    logits, labels = logits_and_labels()
    with pytest.raises(NotImplementedError, match=r"layout torch.sparse_coo.*logits.to_dense\(\)"):
        fxt.softmax_cross_entropy(logits.to_sparse(), labels)

    class OnGpu(torch.Tensor):
        device = torch.device("cuda", 0)
        is_cpu = False

    for function in (fxt.softmax_cross_entropy, fxt.class_cost):
        with pytest.raises(NotImplementedError, match=r"logits is on the device cuda:0.*\.cpu\(\)"):
            function(logits.as_subclass(OnGpu), labels)


def test_what_is_no_tensor():
    logits, labels = logits_and_labels()
    with pytest.raises(TypeError, match=r"targets is of type list: pass a tensor"):
        fxt.softmax_cross_entropy(logits, labels.tolist())
    with pytest.raises(TypeError, match=r"logits is of type ndarray"):
        fxt.softmax_cross_entropy(logits.numpy(), labels)
    with pytest.raises(TypeError, match=r"gamma is a tensor: pass a number"):
        fxt.sigmoid_focal_loss(logits, labels, gamma=torch.tensor(2.0))
    with pytest.raises(ValueError, match=r"normalizer has shape \(1,\), expected a number"):
        fxt.softmax_cross_entropy(logits, labels, reduction="mean", normalizer=torch.ones(1))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (2, {"return_grad": True}, "unexpected keyword argument 'return_grad'"),
        (2, {"out": None}, "unexpected keyword argument 'out'"),
        (2, {"backend": "numpy"}, "unexpected keyword argument 'backend'"),
        (2, {"gama": 2.0}, "unexpected keyword argument 'gama'"),
        (1, {}, "missing a required argument: 'targets'"),
        (3, {}, "too many positional arguments"),
        (2, {"targets": None}, "multiple values for argument 'targets'"),
    ],
)
def test_calls_that_python_would_refuse(arguments, options, message):
    logits, labels = logits_and_labels()
    with pytest.raises(TypeError, match=f"fastxent.torch.sigmoid_focal_loss: .*{message}"):
        fxt.sigmoid_focal_loss(*(logits, labels, labels)[:arguments], **options)


def test_errors_of_the_arrays():
    logits, labels = logits_and_labels()
    labels[3] = 99
    for function in (fxt.softmax_cross_entropy, torch.ops.fastxent.softmax_cross_entropy):
        static = () if function is fxt.softmax_cross_entropy else (
            None, None, None, 0.0, -1, "anchor", "valid", 0.0, [-100], None, None,
        )  # fmt: skip
        with pytest.raises(ValueError, match=r"targets\[3\] = 99 is not a class label"):
            function(logits, labels, *static)
    with pytest.raises(ValueError, match="logits has shape"):
        fxt.softmax_cross_entropy(logits[:, :0], labels)


def test_without_torch(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('no torch')")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import fastxent.torch"
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: fastxent.torch needs PyTorch, which is not installed: ")
    assert last.endswith('pip install "fastxent[torch]"')


def test_without_ml_dtypes(monkeypatch):
    monkeypatch.setattr(fxt.tensors, "bfloat16", None)
    logits, labels = logits_and_labels()
    with pytest.raises(ImportError, match=r"ml_dtypes.*fastxent\[torch\]"):
        fxt.softmax_cross_entropy(logits.bfloat16(), labels)
