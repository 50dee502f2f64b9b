"""Mining hard negatives where batches are made: in the forked workers of a torch DataLoader.

Of 10,105 anchors on a page, 19 lie on an object. A step that takes three negatives for each of
them, those that the detector is most wrong about, needs 76. The data set holds what a real PicoDet
said of such pages (the sample of the package, noise added); `collate_fn` computes the losses of a
batch and hands on the anchors to train with. Forking after a call is safe, and the worker keeps to
its one thread.

    python examples/dataloader.py --plot mined.png
"""

import argparse
import os
import threading
import time
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch.utils.data import DataLoader, Dataset

import fastxent as fx
from fastxent.data import load_sample

RATIO = 3
BATCH = 16


class Pages(Dataset):
    """Logits (10105, 10) and labels of pages, 10 for anchors without an object."""

    def __init__(self, images):
        sample = load_sample()
        noise = np.random.default_rng(0).normal(scale=0.5, size=(images, *sample.logits.shape))
        self.logits = sample.logits + noise.astype(np.float32)
        self.labels = sample.labels.astype(np.int64)
        self.background = sample.logits.shape[1]

    def __len__(self):
        """Return the number of pages."""
        return len(self.logits)

    def __getitem__(self, i):
        """Return a page."""
        return self.logits[i], self.labels


def compute_losses(pages):
    """Return losses and labels (images, anchors) of a list of pages."""
    logits, labels = (np.stack(arrays) for arrays in zip(*pages, strict=True))
    return fx.sigmoid_cross_entropy(logits, labels), labels


def mine(losses, labels, background=10):
    """Mark the hard negatives of each image."""
    return fx.hard_negatives(losses, labels, ratio=RATIO, background_index=background)


def mine_by_two_sorts(losses, labels, background=10):
    """Do the same as torchvision's SSD: an anchor is chosen by its rank among all."""
    losses, positive = torch.from_numpy(losses), torch.from_numpy(labels != background)
    negative_losses = losses.clone()
    negative_losses[positive] = -torch.inf
    order = negative_losses.sort(1, descending=True)[1]
    return (order.sort(1)[1] < RATIO * positive.sum(1, keepdim=True)).numpy()


class Collate:
    """A `collate_fn` that keeps the anchors that count; it also counts threads of the worker."""

    def __init__(self, mining):
        self.mining = mining

    def __call__(self, pages):
        """Return image and anchor of what to train with, and the number of threads."""
        losses, labels = compute_losses(pages)
        chosen = self.mining(losses, labels) | (labels != 10)
        image, anchor = np.nonzero(chosen)
        return torch.from_numpy(image), torch.from_numpy(anchor), count_threads()


def count_threads():
    """Count the threads that compute: this one, and any that Python has not started."""
    tasks = Path("/proc/self/task")
    if not tasks.exists():  # Linux alone says so
        return 1
    return 1 + len(list(tasks.iterdir())) - threading.active_count()


def make_loader(pages, mining):
    """Make a loader whose workers are forks of this process and stay for all epochs."""
    workers = min(2, os.cpu_count() or 1)
    return DataLoader(
        pages,
        BATCH,
        collate_fn=Collate(mining),
        num_workers=workers,
        multiprocessing_context="fork",
        persistent_workers=True,
    )


def compare_speed(pages, epochs=3):
    """Return images per second of both forms, and the threads that their workers had."""
    loaders = {
        "hard_negatives": make_loader(pages, mine),
        "two sorts": make_loader(pages, mine_by_two_sorts),
    }
    rates, threads = {name: [] for name in loaders}, dict.fromkeys(loaders, 0)
    for epoch in range(epochs + 1):
        for name, loader in loaders.items():  # in turns, so that noise meets both
            start = time.perf_counter()
            for _, _, counted in loader:
                threads[name] = max(threads[name], counted)
            if epoch:  # workers start in the first one
                rates[name].append(len(pages) / (time.perf_counter() - start))
    return {name: float(np.median(found)) for name, found in rates.items()}, threads


def place_anchors():
    """Return x, y and stride of all anchors, in pixels of a page of 608 x 800."""
    places = []
    for stride, rows, columns in ((8, 100, 76), (16, 50, 38), (32, 25, 19), (64, 13, 10)):
        y, x = np.mgrid[:rows, :columns] * stride + stride / 2
        places.append(np.stack([x.ravel(), y.ravel(), np.full(x.size, stride)]))
    return np.concatenate(places, axis=1)


def draw(path, losses, labels, mask, rates):
    """Draw what is mined of a page, and the rates."""
    figure = Figure(figsize=(9, 5.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    finest = np.log10(losses[: 100 * 76]).reshape(100, 76)
    shown = left.imshow(finest, cmap="Greys", extent=(0, 608, 800, 0))
    figure.colorbar(shown, ax=left, label="log10 of the loss, finest level")
    x, y, stride = place_anchors()
    for chosen, name, colour in (
        (labels != 10, "positives", "C0"),
        (mask, "hard negatives", "C3"),
    ):
        label, size = f"{chosen.sum()} {name}", 2 * stride[chosen]
        left.scatter(x[chosen], y[chosen], s=size, label=label, facecolor="none", color=colour)
    left.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2)
    left.set(title="A page; larger circles, coarser levels", xticks=[], yticks=[])
    bars = right.bar(list(rates), list(rates.values()), color=["C2", "C7"], width=0.6)
    right.bar_label(bars, fmt="{:,.0f}")
    right.set(title="Images per second, from two workers")
    right.margins(y=0.1)
    figure.savefig(path, dpi=110)


def main():
    """Mine, compare and draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--plot", type=Path, help="draw what is mined into this file")
    parser.add_argument("--pages", type=int, default=128, help="how many there are")
    arguments = parser.parse_args()

    pages = Pages(arguments.pages)
    # This runs on all threads of the parent, before its workers are forked.
    losses, labels = compute_losses([pages[i] for i in range(min(BATCH, len(pages)))])
    mask = mine(losses, labels)
    same = np.array_equal(mask, mine_by_two_sorts(losses, labels))
    print(f"{mask[0].sum()} hard negatives and {(labels[0] != 10).sum()} positives on a page")
    print(f"two sorts choose {'the same' if same else 'OTHERS'}")
    rates, threads = compare_speed(pages)
    for name, rate in rates.items():
        print(f"{name:15} {rate:7,.0f} images per second; {threads[name]} thread in each worker")
    if arguments.plot:
        draw(arguments.plot, losses[0], labels[0], mask[0], rates)


if __name__ == "__main__":
    main()
