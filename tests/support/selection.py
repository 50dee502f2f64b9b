"""What ``select_candidates`` has to return, pair by pair in Python, from scores that are given."""

import math

import numpy as np


def naive_selection(  # noqa: C901 - one pair after the other
    values,
    scores,
    *,
    score_threshold=0.05,
    top_k=1000,
    top_k_per="image",
    objectness=None,
    combine="product",
    background_index=None,
    multi_label=True,
    classes=None,
):
    """Return tuples of image, anchor, class and score, and of each image what was found, and NaN.

    `values` and `scores` are lists of levels (images, anchors, classes), and `objectness` one of
    the scores (images, anchors).
    """
    chosen, found, nan = [], [], []
    count = values[0].shape[-1]
    background = None if background_index is None else background_index % count
    wanted = [
        label
        for label in range(count)
        if label != background and (classes is None or label in np.arange(count)[classes])
    ]
    dtype = scores[0].dtype.type
    thresholds = np.full(count, -1) if score_threshold is None else score_threshold
    thresholds = np.broadcast_to(thresholds, count).astype(dtype)
    least = min((thresholds[label] for label in wanted), default=math.inf)
    for image in range(len(values[0])):
        pairs, nan_count, first = [], 0, 0
        for level in range(len(values)):
            for index in range(values[level].shape[1]):
                z = values[level][image, index]
                p = scores[level][image, index]
                is_open = True
                if objectness is not None:
                    o = dtype(objectness[level][image, index])
                    is_open = not (np.sqrt(o) if combine == "sqrt" else o) <= least
                    p = [score * o for score in p]
                    p = [np.sqrt(score) for score in p] if combine == "sqrt" else p
                usable = [c for c in range(count) if c != background and z[c] == z[c]]
                best = max(usable, key=lambda c: z[c], default=None)
                for label in range(count):
                    if label == background:
                        continue
                    nan_count += is_open and math.isnan(p[label])
                    if label not in wanted or not (multi_label or label == best):
                        continue
                    if p[label] > thresholds[label]:
                        pairs.append((-p[label], -z[label], first + index, label, level))
            first += values[level].shape[1]
        pairs.sort()
        taken = {}
        for score, _, anchor, label, level in pairs:
            group = {"image": 0, "level": level, "class": label}[top_k_per]
            taken[group] = taken.get(group, 0) + 1
            if top_k is None or taken[group] <= top_k:
                chosen.append((image, anchor, label, -score))
        found.append(len(pairs))
        nan.append(nan_count)
    return chosen, found, nan


def check_selection(result, expected):
    """Compare a result with that of the naive form."""
    chosen, found, nan = expected
    columns = [np.array(column) for column in zip(*chosen, strict=True)] or [np.zeros(0)] * 4
    for name, column in zip(("image", "anchor", "label", "score"), columns, strict=True):
        np.testing.assert_array_equal(getattr(result, name), column, err_msg=name)
    np.testing.assert_array_equal(result.found, found, err_msg="found")
    np.testing.assert_array_equal(result.nan, nan, err_msg="nan")
    for name in ("image", "anchor", "label", "offsets", "found", "nan"):
        assert getattr(result, name).dtype == np.intp
    images = np.searchsorted(result.image, np.arange(len(found) + 1))
    np.testing.assert_array_equal(result.offsets, images)
