"""Training a detector head in torch with a loss of fastxent.torch, under torch.compile.

A few convolutions learn to find handwritten digits (scikit-learn's) on noisy pictures. The head has
ten logits for each of 4 x 4 cells, and the loss is RetinaNet's focal loss. A second network, equal
at the start, is trained with torch's own operations: both curves are the same up to rounding, and
both are drawn. `train` is an ordinary loop, to be copied.

    python examples/training.py --plot training.png
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from sklearn.datasets import load_digits
from torch.nn import functional

import fastxent.torch as fxt

CLASSES, CELL, CELLS = 10, 16, 4
BACKGROUND = CLASSES
ALPHA, GAMMA = 0.25, 2.0


def make_pictures(count, seed=0):
    """Return pictures (count, 1, 64, 64) with six digits each, and the label of each cell."""
    generator = np.random.default_rng(seed)
    digits = load_digits()
    size = CELL * CELLS
    pictures = generator.uniform(0, 0.4, (count, 1, size, size)).astype(np.float32)
    labels = np.full((count, CELLS, CELLS), BACKGROUND)
    for picture, picture_labels in zip(pictures[:, 0], labels, strict=True):
        for cell in generator.choice(CELLS**2, 6, replace=False):
            digit = generator.integers(len(digits.images))
            image = np.kron(digits.images[digit] / 16, np.ones((2, 2)))
            row, column = divmod(cell, CELLS)
            moved = np.array([row, column]) * CELL + generator.integers(-2, 3, 2)
            y, x = moved.clip(0, size - 16)
            picture[y : y + 16, x : x + 16] = np.maximum(picture[y : y + 16, x : x + 16], image)
            picture_labels[row, column] = digits.target[digit]
    return torch.from_numpy(pictures), torch.from_numpy(labels)


def make_network(seed=0):
    """Return the network: logits (pictures, 10, 4, 4), classes first."""
    torch.manual_seed(seed)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 32, 4, stride=4),
        torch.nn.ReLU(),
        torch.nn.Conv2d(32, 64, 3, stride=2, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(64, 64, 3, stride=2, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(64, CLASSES, 1),
    )
    # As in RetinaNet's paper: at the start, every class of every cell has the probability 0.01.
    torch.nn.init.constant_(network[-1].bias, -4.6)
    return network


def fastxents_loss(logits, labels):
    """Compute the focal loss from class labels, of which `BACKGROUND` is no digit."""
    return fxt.sigmoid_focal_loss(
        logits,
        labels,
        alpha=ALPHA,
        gamma=GAMMA,
        axis=1,
        reduction="mean",
        normalizer="positive",
    )


def torchs_loss(logits, labels):
    """Compute the same loss as torchvision does, from dense targets."""
    targets = functional.one_hot(labels, CLASSES + 1)[..., :CLASSES].movedim(-1, 1).float()
    p = logits.sigmoid()
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    p_t = p * targets + (1 - p) * (1 - targets)
    alpha_t = ALPHA * targets + (1 - ALPHA) * (1 - targets)
    return (alpha_t * (1 - p_t) ** GAMMA * cross_entropy).sum() / targets.sum()


def train(compute_loss, steps, backend=None, batch=16):
    """Train a network; return it, the loss of each step, and the steps per second.

    With a backend, network and loss are one compiled graph. The first step, which compiles, is not
    timed.
    """
    pictures, labels = make_pictures(2048)
    network = make_network()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)

    def forward(pictures, labels):
        return compute_loss(network(pictures), labels)

    if backend:
        forward = torch.compile(forward, backend=backend, fullgraph=True)
    losses, start = [], 0.0
    for step in range(steps):
        chosen = torch.arange(step * batch, (step + 1) * batch) % len(pictures)
        optimizer.zero_grad()
        loss = forward(pictures[chosen], labels[chosen])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step == 0:
            start = time.perf_counter()
    return network, np.array(losses), (steps - 1) / (time.perf_counter() - start)


def draw(path, losses, picture, found):
    """Draw both curves, and what the network finds on a picture that it has not seen."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(losses[1], "C1", lw=4, label="trained with torch's own loss")
    left.plot(losses[0], "C0", lw=1.2, label="trained with fastxent's")
    left.set(title="Focal loss, mean over positives", xlabel="step", yscale="log")
    left.legend()
    right.imshow(picture[0], cmap="gray", vmax=1.5)
    right.set_axis_off()
    right.set_title("A picture that it has not seen")
    for anchor, label, score in zip(
        found.anchor.tolist(), found.label.tolist(), found.score.tolist(), strict=True
    ):
        y, x = np.array(divmod(anchor, CELLS)) * CELL
        right.add_patch(Rectangle((x, y), CELL - 1, CELL - 1, fill=False, ec="C1"))
        right.text(x + 0.5, y + 0.5, f"{label}: {score:.2f}", color="C1", va="top")
    figure.savefig(path, dpi=110)


def main():
    """Train, compare, count what is found, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--plot", type=Path, help="draw the curves into this file")
    parser.add_argument("--steps", type=int, default=800, help="how many to train")
    parser.add_argument("--backend", default="inductor", help="of torch.compile")
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # so small a network gains nothing from more
    steps, backend = arguments.steps, arguments.backend
    network, losses, speed = train(fastxents_loss, steps, backend)
    _, other_losses, other_speed = train(torchs_loss, steps, backend)
    difference = np.abs(losses / other_losses - 1)
    print(f"loss {losses[0]:.4f} at first, {losses[-1]:.4f} after {steps} steps")
    print(
        f"torch's own differ by {difference[:30].max():.1e} at first, {difference.max():.1e} later"
    )
    print(f"steps per second: {speed:.0f} with fastxent's loss, {other_speed:.0f} with torch's")

    pictures, labels = make_pictures(64, seed=1)
    with torch.no_grad():
        logits = network(pictures)
    found = fxt.select_candidates(logits, axis=1, score_threshold=0.4, multi_label=False)
    right = labels.flatten(1)[found.image, found.anchor] == found.label
    digits = int((labels != BACKGROUND).sum())
    print(f"on other pictures: {right.sum()} of {digits} digits found, {(~right).sum()} mistakes")
    if arguments.plot:
        draw(arguments.plot, (losses, other_losses), pictures[0], found.per_image(0))


if __name__ == "__main__":
    main()
