"""Candidates, hard negatives and matching costs of tensors."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import fastxent as fx  # noqa: E402
import fastxent.torch as fxt  # noqa: E402


def levels(dtype=torch.float32):
    generator = torch.Generator().manual_seed(3)
    shapes = ((2, 6, 4, 4), (2, 6, 2, 2))
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_candidates(dtype):
    logits = levels(dtype)
    options = {"axis": 1, "score_threshold": 0.4, "top_k": 5, "top_k_per": "level"}
    found = fxt.select_candidates(logits, **options)
    expected = fx.select_candidates([level.numpy() for level in logits], **options)
    assert len(found) == len(expected) > 0
    names = ("image", "anchor", "label", "score", "offsets", "found", "nan")
    for ours, theirs in ((found, expected), (found.per_image(-1), expected.per_image(-1))):
        assert ours.level_sizes == theirs.level_sizes
        for name in (*names, "counts", "level", "index"):
            tensor = getattr(ours, name)
            assert isinstance(tensor, torch.Tensor)
            np.testing.assert_array_equal(tensor.numpy(), getattr(theirs, name))
    assert found.score.dtype == dtype
    sigmoid = torch.cat([level.flatten(2).mT for level in logits], 1).sigmoid()
    torch.testing.assert_close(found.score, sigmoid[found.image, found.anchor, found.label])


def test_candidates_with_objectness_and_thresholds():
    logits, objectness = levels(), [level[:, 0] for level in levels()]
    options = {"axis": 1, "combine": "sqrt"}
    threshold, classes = torch.linspace(0.1, 0.6, 6), torch.tensor([1, 4])
    found = fxt.select_candidates(
        tuple(logits),
        objectness=objectness,
        score_threshold=threshold,
        classes=classes,
        **options,
    )
    assert set(found.label.tolist()) == {1, 4}
    scores = (logits[0].sigmoid() * objectness[0].sigmoid()[:, None]).sqrt()
    above = sum(int((scores[:, c] > threshold[c]).sum()) for c in (1, 4))
    assert int((found.level == 0).sum()) == above


def test_hard_negatives_choose_losses_with_derivatives():
    logits = torch.randn(2, 30, 4, requires_grad=True)
    labels = torch.zeros(2, 30, dtype=torch.int64)
    labels[:, :3] = 2
    losses = fxt.softmax_cross_entropy(logits, labels)
    mask = fxt.hard_negatives(losses, labels, ratio=2, background_index=0)
    assert mask.dtype == torch.bool
    assert mask.sum(1).tolist() == [6, 6]
    negatives = losses.detach().clone()
    negatives[:, :3] = -1
    assert torch.equal(negatives.topk(6).indices.sort().values, mask.nonzero()[:, 1].view(2, 6))
    losses[mask].sum().backward()
    assert torch.equal(logits.grad.abs().sum(-1) > 0, mask)


def test_ohem():
    losses = torch.rand(3, 20)
    mask = fxt.ohem(losses, torch.tensor([1, 2, 3]))
    assert mask.sum(1).tolist() == [1, 2, 3]
    assert torch.equal(fxt.ohem(losses, 4).nonzero()[:, 1].view(3, 4), losses.topk(4)[1].sort()[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_costs(dtype):
    logits = torch.randn(2, 5, 4).to(dtype)
    labels = [torch.tensor([0, 3, 1]), torch.tensor([], dtype=torch.int64)]
    costs = fxt.class_cost(logits, labels, kind="sigmoid")
    assert [cost.shape for cost in costs] == [(5, 3), (5, 0)]
    torch.testing.assert_close(costs[0], -logits[0].float().sigmoid()[:, labels[0]])
    cost = fxt.class_cost(logits[0], labels[0], batch_ndim=0, kind="softmax")
    torch.testing.assert_close(cost, -logits[0].float().softmax(-1)[:, labels[0]])


def test_derivatives_are_refused():
    logits = torch.randn(1, 5, 4, requires_grad=True)
    with pytest.raises(NotImplementedError, match=r"select_candidates has no derivative.*no_grad"):
        fxt.select_candidates([logits])
    with pytest.raises(NotImplementedError, match="class_cost has no derivative"):
        fxt.class_cost(logits, torch.zeros(1, 2, dtype=torch.int64))
    with torch.no_grad():
        fxt.select_candidates(logits)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_graphs_break_here_and_go_on():
    labels = torch.tensor([[0, 0, 1, 0, 0, 0]])

    def step(logits):
        losses = fxt.softmax_cross_entropy(logits * 2, labels)
        mask = fxt.hard_negatives(losses, labels, background_index=0, ratio=2)
        return losses[mask].sum() * 3

    logits = torch.randn(1, 6, 4)
    torch.testing.assert_close(torch.compile(step, backend="eager")(logits), step(logits))
    torch._dynamo.reset()
