"""Training a detector head in torch, with the loss and its gradient computed by fastxent.

A few convolutions learn to find handwritten digits (scikit-learn's) on noisy pictures. The head has
ten logits for each of 4 x 4 cells, and the loss is RetinaNet's focal loss. `train_step` shows how
loss and gradient get into torch: three lines. For comparison, torch's own loss and gradient of the
same logits are computed, too: both curves are the same up to rounding, and both are drawn.

    python examples/training.py --plot training.png
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from sklearn.datasets import load_digits
from torch.nn import functional

import fastxent as fx

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


def compute_loss(logits, labels):
    """Return the focal loss and its gradient: a number and an array like the logits."""
    return fx.sigmoid_focal_loss(
        logits.detach(),
        labels,
        alpha=ALPHA,
        gamma=GAMMA,
        axis=1,
        reduction="mean",
        normalizer="positive",
        return_grad=True,
    )


def train_step(network, optimizer, pictures, labels):
    """Take a step; return logits, loss and gradient."""
    optimizer.zero_grad()
    # The loss is computed outside of torch, which only has to be told its gradient.
    logits = network(pictures)
    loss, grad = compute_loss(logits, labels)
    logits.backward(torch.from_numpy(grad))
    optimizer.step()
    return logits.detach(), float(loss), grad


def torch_loss(logits, labels):
    """Compute the same loss as torchvision does, from dense targets."""
    targets = functional.one_hot(labels, CLASSES + 1)[..., :CLASSES].movedim(-1, 1).float()
    p = logits.sigmoid()
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    p_t = p * targets + (1 - p) * (1 - targets)
    alpha_t = ALPHA * targets + (1 - ALPHA) * (1 - targets)
    return (alpha_t * (1 - p_t) ** GAMMA * cross_entropy).sum() / targets.sum()


def torch_loss_and_grad(logits, labels):
    """Compute loss and gradient with torch alone."""
    logits = logits.clone().requires_grad_()
    loss = torch_loss(logits, labels)
    loss.backward()
    return loss.item(), logits.grad.numpy()


def train(steps, batch=16):
    """Train a network; return it, the losses of both (steps, 2), and how far gradients differ."""
    pictures, labels = make_pictures(2048)
    network = make_network()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses, differences = [], []
    for step in range(steps):
        chosen = torch.arange(step * batch, (step + 1) * batch) % len(pictures)
        logits, loss, grad = train_step(network, optimizer, pictures[chosen], labels[chosen])
        other_loss, other_grad = torch_loss_and_grad(logits, labels[chosen])
        losses.append((loss, other_loss))
        differences.append(np.abs(grad - other_grad).max() / np.abs(other_grad).max())
    return network, np.array(losses), max(differences)


def draw(path, losses, picture, found):
    """Draw both curves, and what the network finds on a picture that it has not seen."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(losses[:, 1], "C1", lw=4, label="torch's own loss")
    left.plot(losses[:, 0], "C0", lw=1.2, label="fastxent's, with which it is trained")
    left.set(title="Focal loss, mean over positives", xlabel="step", yscale="log")
    left.legend()
    right.imshow(picture[0], cmap="gray", vmax=1.5)
    right.set_axis_off()
    right.set_title("A picture that it has not seen")
    for anchor, label, score in zip(found.anchor, found.label, found.score, strict=True):
        y, x = np.array(divmod(anchor, CELLS)) * CELL
        right.add_patch(Rectangle((x, y), CELL - 1, CELL - 1, fill=False, ec="C1"))
        right.text(x + 0.5, y + 0.5, f"{label}: {score:.2f}", color="C1", va="top")
    figure.savefig(path, dpi=110)


def main():
    """Train, compare, count what is found, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--plot", type=Path, help="draw the curves into this file")
    parser.add_argument("--steps", type=int, default=800, help="how many to train")
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # so small a network gains nothing from more
    network, losses, grad_difference = train(arguments.steps)
    difference = np.abs(losses[:, 0] / losses[:, 1] - 1).max()
    print(f"loss {losses[0, 0]:.4f} at first, {losses[-1, 0]:.4f} after {arguments.steps} steps")
    print(f"torch's own differ by at most {difference:.1e}, gradients by {grad_difference:.1e}")

    pictures, labels = make_pictures(64, seed=1)
    with torch.no_grad():
        logits = network(pictures)
    found = fx.select_candidates(logits, axis=1, score_threshold=0.4, multi_label=False)
    right = labels.flatten(1).numpy()[found.image, found.anchor] == found.label
    digits = int((labels != BACKGROUND).sum())
    print(f"on other pictures: {right.sum()} of {digits} digits found, {(~right).sum()} mistakes")
    if arguments.plot:
        draw(arguments.plot, losses, pictures[0], found.per_image(0))


if __name__ == "__main__":
    main()
