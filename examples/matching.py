"""Matching queries with ground truths, as DETR and its heirs do, in a batch of 16 images.

The cost of a pair is 2 * class + 5 * L1 + 2 * GIoU, and the Hungarian algorithm of SciPy finds the
cheapest assignment. `class_cost` computes the class term from logits. The usual form takes
log(p + 1e-8) of all queries with the ground truths of all images, and throws most of it away. In
float16 its 1e-8 is zero: where no query believes in a class, the costs are infinite, and SciPy says
"cost matrix is infeasible", as several projects have been told by their users.

    python examples/matching.py --plot matching.png
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy.optimize import linear_sum_assignment

import fastxent as fx

IMAGES, QUERIES, CLASSES = 16, 300, 80
ALPHA, GAMMA = 0.25, 2.0


def make_batch(seed=0):
    """Return logits and boxes of queries, and labels and boxes of ground truths, per image.

    Boxes are x, y, width and height in the unit square. Five queries are close to each ground
    truth; the others have logits as low as those of a detector that is sure of its background.
    """
    generator = np.random.default_rng(seed)
    logits = generator.normal(-9, 3, (IMAGES, QUERIES, CLASSES)).astype(np.float32)
    boxes = generator.uniform(0.1, 0.9, (IMAGES, QUERIES, 4))
    boxes[..., 2:] *= 0.3
    labels, true_boxes = [], []
    for image in range(IMAGES):
        count = int(generator.integers(5, 30))
        labels.append(generator.integers(0, CLASSES, count))
        true_boxes.append(
            generator.uniform([0.1, 0.1, 0.05, 0.05], [0.9, 0.9, 0.3, 0.3], (count, 4))
        )
        near = generator.choice(QUERIES, (count, 5), replace=False)
        noise = generator.normal(0, 0.02, (count, 5, 4))
        boxes[image, near] = np.maximum(true_boxes[-1][:, None] + noise, 0.01)
        logits[image, near, labels[-1][:, None]] = generator.normal(1, 2, (count, 5))
    # Of the last ground truth of the first image the detector has no idea.
    logits[0, :, labels[0][-1]] = generator.uniform(-30, -18, QUERIES)
    return logits, boxes, labels, true_boxes


def box_costs(boxes, true_boxes):
    """Return 5 * L1 + 2 * (1 - GIoU) of an image, (queries, ground truths)."""
    boxes, true_boxes = boxes[:, None], true_boxes[None]
    lengths = np.abs(boxes - true_boxes).sum(-1)
    low, high = boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2
    true_low = true_boxes[..., :2] - true_boxes[..., 2:] / 2
    true_high = true_boxes[..., :2] + true_boxes[..., 2:] / 2
    sides = np.maximum(0, np.minimum(high, true_high) - np.maximum(low, true_low))
    shared = sides.prod(-1)
    union = boxes[..., 2:].prod(-1) + true_boxes[..., 2:].prod(-1) - shared
    hull = (np.maximum(high, true_high) - np.minimum(low, true_low)).prod(-1)
    return 5 * lengths + 2 * (1 - shared / union + (hull - union) / hull)


def usual_class_costs(logits, labels):
    """Compute the class term as Deformable DETR does, in the dtype of the logits."""
    p = torch.from_numpy(logits).flatten(0, 1).sigmoid()
    all_labels = torch.from_numpy(np.concatenate(labels))
    negative = (1 - ALPHA) * (p**GAMMA) * (-(1 - p + 1e-8).log())
    positive = ALPHA * ((1 - p) ** GAMMA) * (-(p + 1e-8).log())
    cost = positive[:, all_labels] - negative[:, all_labels]
    cost = cost.view(*logits.shape[:2], -1)
    parts = cost.split([len(label) for label in labels], -1)
    return [part[image].numpy() for image, part in enumerate(parts)]


def class_costs(logits, labels):
    """Compute the class term from logits."""
    return fx.class_cost(logits, labels, alpha=ALPHA, gamma=GAMMA)


def match(class_terms, boxes, true_boxes):
    """Return the queries of the ground truths of each image; SciPy's error where there are none."""
    matches = []
    for term, image_boxes, image_truth in zip(class_terms, boxes, true_boxes, strict=True):
        # In practice: np.nan_to_num(term, nan=1e9), so that a NaN logit costs its query, no more.
        cost = 2 * term.astype(np.float64) + box_costs(image_boxes, image_truth)
        rows, columns = linear_sum_assignment(cost)
        matches.append(rows[np.argsort(columns)])
    return matches


def time_costs(logits, labels, rounds=7):
    """Return the milliseconds of both forms, in turns."""
    seconds = {class_costs: [], usual_class_costs: []}
    for _ in range(rounds):
        for function, times in seconds.items():
            start = time.perf_counter()
            function(logits, labels)
            times.append(time.perf_counter() - start)
    return [float(np.median(times)) * 1e3 for times in seconds.values()]


def draw(path, truth, matched):
    """Draw the cost over the logit in all forms, and the matched boxes of an image."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    z = np.linspace(-32, 32, 641)[None, :, None]
    for dtype, function, name, style, width in (
        (np.float16, usual_class_costs, "log(p + 1e-8), float16", "C3", 7),
        (np.float32, usual_class_costs, "log(p + 1e-8), float32", "C1", 3),
        (np.float16, class_costs, "class_cost, any dtype", "C2", 1.5),
    ):
        cost = function(z.astype(dtype), [np.zeros(1, np.int64)])[0][:, 0]
        finite = np.where(np.isfinite(cost), cost, np.nan)
        left.plot(z[0, :, 0], finite, style, lw=width, label=name)
    left.set(title="Cost of a class, where it is finite", xlabel="logit", ylabel="cost")
    left.legend()
    for boxes, name, colour, width in (
        (truth, "ground truth", "C0", 3),
        (matched, "query", "C1", 1.5),
    ):
        for i, (x, y, w, h) in enumerate(boxes):
            label = name if i == 0 else None
            right.add_patch(
                Rectangle(
                    (x - w / 2, y - h / 2), w, h, fill=False, ec=colour, lw=width, label=label
                )
            )
    for (x, y), (u, v) in zip(truth[:, :2], matched[:, :2], strict=True):
        right.plot([x, u], [y, v], color="C7", lw=0.8)
    right.set(title="Ground truths of an image and their queries", xlim=(-0.05, 1.05))
    right.set(ylim=(1.05, -0.05), xticks=[], yticks=[], aspect="equal")
    right.legend(loc="upper right")
    figure.savefig(path, dpi=110)


def main():
    """Match in both forms and two dtypes, time and draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--plot", type=Path, help="draw costs and matches into this file")
    arguments = parser.parse_args()

    logits, boxes, labels, true_boxes = make_batch()
    ours = match(class_costs(logits, labels), boxes, true_boxes)
    usual = match(usual_class_costs(logits, labels), boxes, true_boxes)
    same = sum(int((a == b).sum()) for a, b in zip(ours, usual, strict=True))
    total = sum(map(len, labels))
    print(f"{IMAGES} images, {total} ground truths; float32: {same} of them match the same query")

    half = logits.astype(np.float16)
    matched = match(class_costs(half, labels), boxes, true_boxes)
    same = sum(int((a == b).sum()) for a, b in zip(ours, matched, strict=True))
    print(f"class_cost in float16: {same} of {total} match the query of float32")
    try:
        match(usual_class_costs(half, labels), boxes, true_boxes)
    except ValueError as error:
        print(f"log(p + 1e-8) in float16: ValueError: {error}")
    milliseconds = time_costs(logits, labels)
    print("class_cost {:.2f} ms, log(p + 1e-8) {:.2f} ms".format(*milliseconds))
    if arguments.plot:
        draw(arguments.plot, true_boxes[0], boxes[0, ours[0]])


if __name__ == "__main__":
    main()
