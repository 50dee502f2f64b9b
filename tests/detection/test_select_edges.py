"""Scores next to a threshold or to the k-th best: the last bits of a score decide, not its logit.

The sigmoid is not monotone in its last bits, so no cut in logits could.
"""

import numpy as np
import pytest

import fastxent as fx
from fastxent import native

pytestmark = pytest.mark.parametrize("isa", native.available_isas())


@pytest.fixture(autouse=True)
def _on_isa(isa):
    before = native.get_isa()
    native.set_isa(isa)
    yield
    native.set_isa(before)


def neighbours(centre, count, dtype=np.float32, seed=0):
    """Return so many consecutive floats around one, in random order."""
    bits = {4: np.int32, 8: np.int64}[np.dtype(dtype).itemsize]
    middle = int(np.array(centre, dtype).view(bits))
    values = (middle + np.arange(count) - count // 2).astype(bits).view(dtype)
    return np.random.default_rng(seed).permutation(values)


def best(scores, logits, k):
    """Return the order of the best k."""
    return np.lexsort((np.arange(len(scores)), -logits, -scores))[:k]


CENTRES = [-3.0, -2.944439, -1.7, -0.4, -80.0, 0.3, 3.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("centre", CENTRES)
@pytest.mark.parametrize("top_k", [0, 5, None])
def test_next_to_the_threshold(centre, dtype, top_k, isa):
    """Counted before the cut rises, after it, and by vectors or by what is left of them."""
    logits = neighbours(centre, 3000, dtype)
    scores = fx.sigmoid(logits)
    high = np.full(2000, 9, dtype)  # raise the cut
    for threshold in np.quantile(scores, [0.2, 0.5, 0.9], method="nearest"):
        passing = np.count_nonzero(scores > threshold)
        for head in (logits[None], np.concatenate([high, logits])[None]):
            result = fx.select_candidates(
                head, axis=None, score_threshold=threshold, top_k=top_k, num_threads=1
            )
            assert result.found == passing + head.size - logits.size
            one = fx.select_candidates(
                head[..., None], score_threshold=[threshold], multi_label=False, top_k=top_k
            )
            assert one.found == result.found


@pytest.mark.parametrize("top_k", [0, 5])
def test_next_to_a_score_that_steps_back(top_k, isa):
    """Of logits between two that pass, one does not: the threshold has two edges."""
    tried = 0
    for centre in CENTRES:
        logits = np.sort(neighbours(centre, 20_000))
        scores = fx.sigmoid(logits)
        for place in np.flatnonzero(np.diff(scores) < 0)[:5]:
            tried += 1
            near, threshold = logits[place - 30 : place + 30], scores[place + 1]
            head = np.concatenate([np.full(2000, 9, np.float32), np.resize(near, 3000)])
            result = fx.select_candidates(
                head[None], axis=None, score_threshold=threshold, top_k=top_k, num_threads=1
            )
            assert result.found == np.count_nonzero(fx.sigmoid(head) > threshold)
    assert tried


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("centre", CENTRES)
@pytest.mark.parametrize("k", [1, 100, 1000])
def test_next_to_the_best(centre, dtype, k, isa):
    for seed in range(3):
        logits = neighbours(centre, 40_000, dtype, seed)
        scores = fx.sigmoid(logits)
        result = fx.select_candidates(logits[None], axis=None, score_threshold=0, top_k=k)
        np.testing.assert_array_equal(result.anchor, best(scores, logits, k))


@pytest.mark.parametrize("combine", ["product", "sqrt"])
@pytest.mark.parametrize("centre", [-3.0, -1.0, 2.0])
def test_next_to_the_threshold_with_objectness(centre, combine, isa):
    logits = neighbours(centre, 3000).reshape(1, 150, 20)
    objectness = neighbours(0.7, 150)[None]
    scores = fx.sigmoid(logits) * fx.sigmoid(objectness)[..., None]
    scores = np.sqrt(scores) if combine == "sqrt" else scores
    for threshold in np.quantile(scores, [0.1, 0.5, 0.9], method="nearest"):
        for head, axis in ((logits, -1), (np.ascontiguousarray(logits.swapaxes(1, 2)), 1)):
            result = fx.select_candidates(
                head, axis=axis, objectness=objectness, combine=combine, score_threshold=threshold
            )
            assert result.found == np.count_nonzero(scores > threshold)


@pytest.mark.parametrize("centre", [-3.0, -1.0, 0.5, 2.0])
@pytest.mark.parametrize("classes", [3, 33])
def test_next_to_the_threshold_with_a_background(centre, classes, isa):
    """All other logits are far below, so that the bound by the background is the score."""
    head = np.full((1, 4000, classes), -30, np.float32)
    head[0, :, 0] = 0.25
    head[0, :, 2] = 0.25 + neighbours(centre, 4000)
    for values, axis in ((head, -1), (np.ascontiguousarray(head.swapaxes(1, 2)), 1)):
        scores = fx.softmax(values, axis=axis).take(2, axis)
        for threshold in np.quantile(scores, [0.1, 0.5, 0.9], method="nearest"):
            result = fx.select_candidates(
                values,
                axis=axis,
                activation="softmax",
                background_index=0,
                score_threshold=threshold,
            )
            assert result.found == np.count_nonzero(scores > threshold)
