"""Whole steps in torch: loss and backward with a fresh gradient, fastxent.torch next to torch.

    python -m benchmarks.training_steps --threads 2

prints the shortest time of each contender, in turns, as a multiple of that of fastxent.torch. For
the sigmoid losses torch needs dense targets, and making them is a part of the step.
"""

import argparse
import time

import torch
from torch.nn import functional

import fastxent.torch as fxt

SHAPES = {
    "100 x 80": ((100, 80), 1),
    "200,000 x 80": ((200_000, 80), 1),
    "(8, 80, 16800), axis 1": ((8, 80, 16_800), 1),
}


def dense(logits, labels):
    targets = functional.one_hot(labels, logits.shape[1] + 1)[..., :-1]
    return targets.movedim(-1, 1).to(logits.dtype)


def sigmoid_cross_entropy(logits, labels):
    targets = dense(logits, labels)
    loss = functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
    return loss / labels.numel()


def sigmoid_focal_loss(logits, labels):
    """Torchvision's formula."""
    targets, p = dense(logits, labels), logits.sigmoid()
    loss = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    p_t = p * targets + (1 - p) * (1 - targets)
    alpha_t = 0.25 * targets + 0.75 * (1 - targets)
    return (alpha_t * (1 - p_t) ** 2 * loss).sum() / labels.numel()


def softmax_cross_entropy(logits, labels):
    return functional.cross_entropy(logits, labels)


PEERS = {
    "sigmoid cross-entropy": (fxt.sigmoid_cross_entropy, sigmoid_cross_entropy),
    "softmax cross-entropy": (fxt.softmax_cross_entropy, softmax_cross_entropy),
    "sigmoid focal loss": (fxt.sigmoid_focal_loss, sigmoid_focal_loss),
}


def contenders(name, axis):
    """Return the ways to compute a mean, by what they are called."""
    ours, torchs = PEERS[name]

    def fastxents(logits, labels):
        return ours(logits, labels, axis=axis, reduction="mean")

    found = {
        "fastxent.torch": fastxents,
        "in torch.compile": torch.compile(fastxents, fullgraph=True),
        "torch": torchs,
        "torch.compile": torch.compile(torchs, fullgraph=True),
    }
    if name == "sigmoid cross-entropy":
        # What a step costs where dense targets are there already.
        targets = {}

        def given(logits, labels):
            if labels not in targets:
                targets[labels] = dense(logits, labels)
            loss = functional.binary_cross_entropy_with_logits
            return loss(logits, targets[labels], reduction="sum")

        found["torch, targets given"] = given
    return found


def measure(functions, logits, labels, rounds, clock, seconds=0.02):
    """Return the times of steps, in turns; of short ones, several make a time."""
    times = {name: [] for name in functions}
    calls = 1
    for place in range(rounds + 2):
        for name, function in functions.items():
            start = clock()
            for _ in range(calls):
                logits.grad = None
                function(logits, labels).backward()
            elapsed = clock() - start
            if place > 1:  # the first compile, and warm up
                times[name].append(elapsed / calls)
        if place == 1:
            calls = max(1, int(seconds / elapsed))
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cpu", action="store_true", help="measure CPU time: for a busy machine")
    parser.add_argument("--shape", choices=SHAPES, action="append", help="default: all")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    clock = time.process_time if arguments.cpu else time.perf_counter
    print("| loss and gradient | shape | fastxent.torch (ms) | the others, as multiples |")
    print("|---|---|--:|---|")
    for shape_name in arguments.shape or SHAPES:
        shape, axis = SHAPES[shape_name]
        for name in PEERS:
            torch.manual_seed(0)
            logits = torch.randn(shape).requires_grad_()
            anchors = (*shape[:axis], *shape[axis + 1 :])
            labels = torch.full(anchors, 80)
            is_object = torch.rand(anchors) < (1 if "softmax" in name else 0.01)
            labels[is_object] = torch.randint(0, 80, (int(is_object.sum()),))
            functions = contenders(name, axis)
            times = measure(functions, logits, labels, arguments.rounds, clock)
            best = {key: min(values) for key, values in times.items()}
            ours = best.pop("fastxent.torch")
            ratios = ", ".join(f"{key} {value / ours:.2f}" for key, value in best.items())
            print(f"| {name} | {shape_name} | {ours * 1e3:.3g} | {ratios} |", flush=True)
            torch._dynamo.reset()


if __name__ == "__main__":
    main()
