"""The best class of an anchor where anchors are contiguous, sought some classes at a time."""

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


def best_of(logits, axis, **options):
    """Return the best class of each anchor, -1 where there is none."""
    result = fx.select_candidates(
        logits, axis=axis, multi_label=False, score_threshold=None, top_k=None, **options
    )
    labels = np.full(logits.size // logits.shape[axis], -1)
    labels[result.anchor] = result.label
    return labels, result


@pytest.mark.parametrize("classes", [1, 2, 7, 8, 9, 16, 17, 80, 91])
@pytest.mark.parametrize("anchors", [1, 15, 16, 17, 100, 2100])
def test_lowest_of_the_largest(classes, anchors, isa):
    random = np.random.default_rng(classes * 10_000 + anchors)
    logits = random.integers(-3, 3, (1, classes, anchors)).astype(np.float32)
    logits[random.random(logits.shape) < 0.1] = -0.0
    logits[:, :, random.random(anchors) < 0.2] = -np.inf
    labels, result = best_of(logits, 1)
    np.testing.assert_array_equal(labels, logits[0].argmax(0))
    assert result.nan == 0
    for background in {0, classes // 2, classes - 1} if classes > 1 else {}:
        rest = np.delete(logits[0], background, axis=0)
        expected = rest.argmax(0)
        expected += expected >= background
        labels, _ = best_of(logits, 1, background_index=background)
        np.testing.assert_array_equal(labels, expected)
    logits[random.random(logits.shape) < 0.3] = np.nan
    labels, result = best_of(logits, 1)
    largest = np.fmax.reduce(logits[0], axis=0)  # NaN only where all are
    expected = np.where(np.isnan(largest), -1, (logits[0] == largest).argmax(0))
    np.testing.assert_array_equal(labels, expected)
    assert result.nan == np.isnan(logits).sum()


@pytest.mark.parametrize("wrong", [-0.25, 1.25])
@pytest.mark.parametrize("place", [0, 5, 40])
def test_a_wrong_score_next_to_nan(wrong, place, isa):
    """Of whatever class, and whatever its neighbours are."""
    for label in range(9):
        for other in {(label - 1) % 9, (label + 1) % 9, (label + 2) % 9}:
            scores = np.full((1, 9, 41), 0.5, np.float32)
            scores[0, label, place] = wrong
            scores[0, other] = np.nan
            with pytest.raises(ValueError, match=rf"^logits\[0, {label}, {place}\] = "):
                best_of(scores, 1, activation=None)
