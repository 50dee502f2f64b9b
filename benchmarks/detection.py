"""Selection, mining and matching: heads as detectors have them, and what is written by hand there.

The peers' forms are those of the libraries, without boxes: `tests/support/peer_selections.py` has
them in full.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

import fastxent as fx
from benchmarks.contenders import OURS, READ, Contenders, Run, read_run
from benchmarks.inputs import Array
from benchmarks.shapes import CHANNELS, COCO, Shape

KIND = "detection"
THRESHOLD, BEST = 0.05, 1000
OBJECT_THRESHOLD = 0.25
YOLO, BEST_CLASS, IMAGE = Shape((25_200, 85)), Shape((1, 84, 8_400), 1), Shape((8_400, 80))
WITH_BACKGROUND = Shape((200_000, 81))
MINING, COST = Shape((64, 8_732)), Shape((16, 900, 80))
GROUND_TRUTHS = 30


@dataclass(frozen=True)
class Work:
    """One row: a name, the function, the shape, and who takes part."""

    name: str
    function: str
    shape: Shape
    #: From the shape to the values that are read, our call, and those of the peers by module.
    make: Callable[[Shape], Task]
    is_quick: bool = True


@dataclass(frozen=True)
class Task:
    """Calls that shall have the same results, which `agree` compares with ours."""

    values: Array
    ours: Callable[..., Any]
    agree: Callable[[Any, Any], bool]
    #: By module of benchmarks/peers and name; made when torch is there.
    peers: dict[str, dict[str, Callable[[], Any]]] = field(default_factory=dict)


def make_contenders(work: Work, shape: Shape, threads: int, wanted: list[str]) -> Contenders:
    """Return a plain read, fastxent, and the peers whose results are equal."""
    task = work.make(shape)
    ours: Run = partial(task.ours, num_threads=threads)
    contenders = Contenders({READ: read_run(task.values, threads), OURS: ours})
    expected = ours()
    for module, runs in task.peers.items():
        if module not in wanted:
            continue
        if module == "torch_eager":
            _torch().set_num_threads(threads)
        for name, run in runs.items():
            if task.agree(expected, run()):
                contenders.runs[name] = run
            else:
                contenders.failed[name] = "its results are others"
    return contenders


def _torch() -> Any:
    import torch

    return torch


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def _normal(shape: tuple[int, ...], scale: float = 1, mean: float = 0) -> Array:
    values = np.random.default_rng(7).standard_normal(shape, np.float32)
    return values * np.float32(scale) + np.float32(mean)


# --- selection -----------------------------------------------------------------------------------


def same_candidates(result: fx.Candidates, theirs: list[tuple[Any, Any, Any]]) -> bool:
    """Compare scores, anchors and classes of each image; among equal scores nothing is promised."""
    for number, parts in enumerate(theirs):
        score, anchor, label = (np.asarray(part) for part in parts)
        ours = result.per_image(number)
        if len(score) != len(ours):
            return False
        order = np.argsort(-score, kind="stable")
        if not np.allclose(score[order], ours.score, rtol=1e-5):
            return False
        above = ours.score.min(initial=1) * (1 + 1e-5)
        pairs = set(zip(anchor[score > above].tolist(), label[score > above].tolist(), strict=True))
        chosen = ours.score > above
        mine = zip(ours.anchor[chosen].tolist(), ours.label[chosen].tolist(), strict=True)
        if len(pairs.symmetric_difference(mine)) > 2:  # next to the lowest score
            return False
    return True


def retinanet(logits: Any, k: int = BEST) -> list[tuple[Any, Any, Any]]:
    """torchvision RetinaNet: images of (anchors, classes)."""
    torch = _torch()
    found = []
    for level in logits:
        scores = torch.sigmoid(level).flatten()
        keep = scores > THRESHOLD
        scores, places = scores[keep], torch.where(keep)[0]
        scores, best = scores.topk(min(k, len(places)))
        places, classes = places[best], level.shape[-1]
        anchors = torch.div(places, classes, rounding_mode="floor")
        found.append((scores, anchors, places % classes))
    return found


def _sigmoid_head(share: float, shape: Shape) -> Task:
    """So many of the scores lie above the threshold."""
    dims = shape.dims if shape.axis == 1 else (1, *shape.dims)
    logits = _normal(dims)
    logits += np.float32(_logit(THRESHOLD) - np.quantile(logits.ravel()[:2_000_000], 1 - share))

    def peer() -> Any:
        values = _torch().from_numpy(logits)
        if shape.axis == 1:
            values = values.permute(0, 2, 1).reshape(dims[0], dims[2], dims[1])
        return retinanet(values)

    ours = partial(fx.select_candidates, logits, axis=shape.axis)
    return Task(logits, ours, same_candidates, {"torch_eager": {"torch eager, RetinaNet": peer}})


def _objectness(shape: Shape) -> Task:
    """Half of a percent of the anchors have an object."""
    rows = _normal((1, *shape.dims), 1.5, -3)
    rows[..., 4] -= 2

    def pruned() -> Any:
        torch = _torch()
        values = torch.from_numpy(rows)[0]
        objects = torch.sigmoid(values[:, 4])
        keep = objects > OBJECT_THRESHOLD
        anchors = torch.where(keep)[0]
        scores = torch.sigmoid(values[keep][:, 5:]) * objects[keep][:, None]
        passing = scores > OBJECT_THRESHOLD
        places, scores = torch.nonzero(passing), scores[passing]
        scores, best = scores.topk(min(BEST, len(scores)))
        return [(scores, anchors[places[best, 0]], places[best, 1])]

    ours = partial(
        fx.select_candidates,
        rows[..., 5:],
        objectness=rows[..., 4],
        score_threshold=OBJECT_THRESHOLD,
    )
    return Task(rows, ours, same_candidates, {"torch_eager": {"torch eager, pruned first": pruned}})


def _best_class(shape: Shape, *, from_logits: bool) -> Task:
    """ultralytics' output, 4 + classes: a twentieth of the anchors pass."""
    output = _normal(shape.dims, 1.5, -6)
    if not from_logits:
        output = fx.sigmoid(output)

    def ultralytics() -> Any:
        torch = _torch()
        values = torch.from_numpy(output)
        if from_logits:
            values = torch.sigmoid(values)
        passing = values[:, 4:].amax(1) > OBJECT_THRESHOLD
        found = []
        for image, kept in zip(values.transpose(-1, -2), passing, strict=True):
            anchors = torch.where(kept)[0]
            scores, labels = image[kept][:, 4:].max(1)
            order = scores.argsort(descending=True)[:30_000]
            found.append((scores[order], anchors[order], labels[order]))
        return found

    ours = partial(
        fx.select_candidates,
        output[:, 4:],
        activation="sigmoid" if from_logits else None,
        axis=1,
        multi_label=False,
        score_threshold=OBJECT_THRESHOLD,
        top_k=30_000,
    )
    peers = {"torch_eager": {"torch eager, ultralytics": ultralytics}}
    return Task(output, ours, same_candidates, peers)


def _softmax_head(pruned: float, shape: Shape) -> Task:
    """In so many rows the background leaves no class above the threshold."""
    logits = _normal((1, *shape.dims))
    largest = logits[0, :, :-1].max(1) - np.float32(_logit(THRESHOLD))
    is_pruned = np.random.default_rng(8).random(len(largest)) < pruned
    logits[0, :, -1] = np.where(is_pruned, largest + 1, largest - 1)

    def peer() -> Any:
        torch = _torch()
        scores = torch.softmax(torch.from_numpy(logits)[0], -1)[:, :-1]
        keep = scores > THRESHOLD
        places, scores = torch.nonzero(keep), scores[keep]
        scores, best = scores.topk(min(BEST, len(scores)))
        return [(scores, places[best, 0], places[best, 1])]

    ours = partial(fx.select_candidates, logits, activation="softmax", background_index=-1)
    return Task(logits, ours, same_candidates, {"torch_eager": {"torch eager, softmax": peer}})


# --- mining and matching -------------------------------------------------------------------------


def _mining(shape: Shape) -> Task:
    """SSD: three negatives for each positive, of which there is one in a hundred."""
    generator = np.random.default_rng(7)
    losses = generator.exponential(1, shape.dims).astype(np.float32)
    positive = generator.random(shape.dims) < 0.01
    counts = 3 * positive.sum(1)

    def two_sorts() -> Any:
        torch = _torch()
        values, mask = torch.from_numpy(losses).clone(), torch.from_numpy(positive)
        values[mask] = -math.inf
        rank = values.sort(1, descending=True)[1].sort(1)[1]
        return (rank < 3 * mask.sum(1, keepdim=True)).numpy()

    def argpartition() -> Array:
        values, chosen = np.where(positive, -np.inf, losses), np.zeros(shape.dims, bool)
        for row, count, mask in zip(values, counts, chosen, strict=True):
            if count:
                mask[np.argpartition(row, -count)[-count:]] = True
        return chosen

    peers = {
        "torch_eager": {"torch eager, two sorts": two_sorts},
        "numpy_formulas": {"NumPy, argpartition": argpartition},
    }
    return Task(losses, partial(fx.hard_negatives, losses, positive), np.array_equal, peers)


def _cost(shape: Shape) -> Task:
    images, queries, classes = shape.dims
    logits = _normal(shape.dims, 2)
    labels = np.random.default_rng(8).integers(0, classes, (images, GROUND_TRUTHS))

    def detr() -> Any:
        torch = _torch()
        scores = torch.from_numpy(logits).flatten(0, 1).sigmoid()
        wanted = torch.from_numpy(labels).flatten()
        negative = 0.75 * scores**2 * -(1 - scores + 1e-8).log()
        positive = 0.25 * (1 - scores) ** 2 * -(scores + 1e-8).log()
        cost = (positive[:, wanted] - negative[:, wanted]).view(images, queries, -1)
        return [part[i] for i, part in enumerate(cost.split([GROUND_TRUTHS] * images, -1))]

    def gather() -> Any:
        torch = _torch()
        log_sigmoid = torch.nn.functional.logsigmoid
        found = []
        for values, wanted in zip(torch.from_numpy(logits), torch.from_numpy(labels), strict=True):
            z = values[:, wanted]
            p = z.sigmoid()
            cost = -0.25 * (1 - p) ** 2 * log_sigmoid(z) + 0.75 * p**2 * log_sigmoid(-z)
            found.append(cost)
        return found

    def agree(ours: Array, theirs: Any) -> bool:
        # DETR adds 1e-8 to probabilities before the logarithm.
        return np.allclose(ours, np.stack([np.asarray(one) for one in theirs]), atol=5e-3)

    names = {"torch eager, DETR": detr, "torch eager, gathered": gather}
    return Task(logits, partial(fx.class_cost, logits, labels), agree, {"torch_eager": names})


def works() -> Iterator[Work]:
    """Yield all rows, in the order of the report."""
    for share in (0.001, 0.01, 0.1):
        head = partial(_sigmoid_head, share)
        name = f"sigmoid, {share:.1%} above".replace(".0%", "%")
        for shape in (COCO, CHANNELS):
            yield Work(name, "select_candidates", shape, head, is_quick=share == 0.01)
    yield Work("objectness", "select_candidates", YOLO, _objectness)
    for from_logits in (True, False):
        name = f"best class, of {'logits' if from_logits else 'probabilities'}"
        make = partial(_best_class, from_logits=from_logits)
        yield Work(name, "select_candidates", BEST_CLASS, make)
    for pruned in (0.97, 0.84):
        name = f"softmax, {pruned:.0%} of the rows ruled out"
        make = partial(_softmax_head, pruned)
        yield Work(name, "select_candidates", WITH_BACKGROUND, make, is_quick=pruned == 0.97)
    yield Work("one image", "select_candidates", IMAGE, partial(_sigmoid_head, 0.001))
    yield Work("hard negatives", "hard_negatives", MINING, _mining)
    yield Work("focal cost", "class_cost", COST, _cost)
