"""The work of ``fastxent demo``: a real detection head, enlarged, computed, checked and timed."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import fastxent
from fastxent import native
from fastxent._docs import ULP_BOUNDS
from fastxent.data import Sample, load_sample

Array = npt.NDArray[Any]

#: Standard deviation of the noise that makes the copies of the sample differ.
NOISE = 0.1
#: How many anchors are compared with the float64 reference.
CHECKED_ANCHORS = 100_000
#: The NumPy formulas need several times the memory of the logits, so they get no more than this.
NUMPY_ANCHORS = 2_000_000
#: Each time is the median of so many runs, after one that does not count.
RUNS, NUMPY_RUNS = 21, 3

LOSSES = {
    "sigmoid": fastxent.sigmoid_cross_entropy,
    "softmax": fastxent.softmax_cross_entropy,
}
#: How far they may be off, in float32 units in the last place: the promise of the package.
MAX_ERROR_ULP = max(ULP_BOUNDS[loss.__name__][0] for loss in LOSSES.values())


class Workload(NamedTuple):
    """The sample, repeated."""

    sample: Sample
    logits: Array
    labels: Array
    seed: int

    def head_logits(self, loss: str) -> Array:
        """Return the logits for one of the losses.

        The head is made for the sigmoid: an anchor without an object has a low logit for every
        class, and no class of its own. For the softmax it gets one, with a logit of 0, so that
        the odds of every class against the background stay what they were.
        """
        if loss == "sigmoid":
            return self.logits
        anchors, classes = self.logits.shape
        extended = np.zeros((anchors, classes + 1), np.float32)
        extended[:, :classes] = self.logits
        return extended


@dataclass(frozen=True, slots=True)
class Measurement:
    """One implementation of one loss."""

    mean: float
    hardest_share: float
    max_error_ulp: float
    seconds: float
    logits: int

    @property
    def ns_per_logit(self) -> float:
        """Nanoseconds per logit."""
        return self.seconds / self.logits * 1e9


@dataclass(frozen=True, slots=True)
class LossResult:
    """All about one of the losses."""

    losses: Array
    fast: Measurement
    numpy: Measurement
    numpy_agrees: bool
    #: Time of nothing but reading the logits, with as many threads.
    read_seconds: float

    @property
    def correct(self) -> bool:
        """Whether every checked anchor is as good as promised, and NumPy computes the same."""
        return self.fast.max_error_ulp <= MAX_ERROR_ULP and self.numpy_agrees


class DemoResult(NamedTuple):
    """What the command prints."""

    workload: Workload
    threads: int
    results: dict[str, LossResult]

    @property
    def correct(self) -> bool:
        """Whether all checks passed."""
        return all(result.correct for result in self.results.values())


def make_workload(anchors: int, seed: int) -> Workload:
    """Repeat the sample until there are so many anchors, each copy with noise of its own."""
    sample = load_sample()
    count, classes = sample.logits.shape
    generator = np.random.default_rng(seed)
    logits = np.empty((anchors, classes), np.float32)
    for start in range(0, anchors, count):
        block = logits[start : start + count]
        generator.standard_normal(out=block, dtype=np.float32)
        block *= NOISE
        block += sample.logits[: len(block)]
    return Workload(sample, logits, np.resize(sample.labels, anchors), seed)


def run_demo(workload: Workload, num_threads: int | None) -> DemoResult:
    """Compute, check and time both losses."""
    threads = num_threads or fastxent.get_num_threads()
    results = {loss: _run_loss(loss, workload, threads) for loss in LOSSES}
    return DemoResult(workload, threads, results)


def _run_loss(loss: str, workload: Workload, threads: int) -> LossResult:
    function, formula = LOSSES[loss], NUMPY_FORMULAS[loss]
    logits, labels = workload.head_logits(loss), workload.labels
    few = slice(0, NUMPY_ANCHORS)
    out = np.empty(len(labels), np.float32)

    # First that the results are right, then how fast they come.
    losses = function(logits, labels, num_threads=threads)
    numpy_losses = formula(logits[few], labels[few])
    generator = np.random.default_rng(workload.seed)
    chosen = generator.choice(len(numpy_losses), CHECKED_ANCHORS, replace=False)
    reference = function(logits[chosen].astype(np.float64), labels[chosen], backend="numpy")

    seconds, read_seconds = _time(
        RUNS,
        lambda: function(logits, labels, out=out, num_threads=threads),
        lambda: native.parallel_read(logits, threads),
    )
    (numpy_seconds,) = _time(NUMPY_RUNS, lambda: formula(logits[few], labels[few]))
    return LossResult(
        losses=losses,
        fast=_measure(losses, losses[chosen], reference, seconds, logits.size),
        numpy=_measure(
            numpy_losses, numpy_losses[chosen], reference, numpy_seconds, logits[few].size
        ),
        numpy_agrees=np.allclose(numpy_losses[chosen], reference, rtol=1e-3, atol=1e-5),
        read_seconds=read_seconds,
    )


def _measure(
    losses: Array, chosen: Array, reference: Array, seconds: float, logits: int
) -> Measurement:
    total = losses.sum(dtype=np.float64)
    hardest = np.partition(losses, -(len(losses) // 100))[-(len(losses) // 100) :]
    error = np.abs(chosen - reference) / np.spacing(reference.astype(np.float32))
    return Measurement(
        mean=float(total / len(losses)),
        hardest_share=float(hardest.sum(dtype=np.float64) / total),
        max_error_ulp=float(error.max()),
        seconds=seconds,
        logits=logits,
    )


def _time(runs: int, *functions: Callable[[], object]) -> list[float]:
    """Return the median time of each function in seconds, after a run to warm up.

    The functions take turns, so that a busy moment of the machine meets all of them.
    """
    times: list[list[float]] = [[] for _ in functions]
    for run in range(runs + 1):
        for function, its_times in zip(functions, times, strict=True):
            start = perf_counter()
            function()
            if run > 0:
                its_times.append(perf_counter() - start)
    return [median(its_times) for its_times in times]


# --- the same losses as one writes them in NumPy -------------------------------------------------


def numpy_sigmoid_cross_entropy(logits: Array, labels: Array) -> Array:
    """Sum over classes of the binary cross-entropies with one-hot targets."""
    classes = logits.shape[1]
    targets = np.eye(classes + 1, classes, dtype=logits.dtype)[labels]
    losses = np.maximum(logits, 0) - logits * targets + np.log1p(np.exp(-np.abs(logits)))
    result: Array = losses.sum(axis=1)
    return result


def numpy_softmax_cross_entropy(logits: Array, labels: Array) -> Array:
    """Minus the log-probability of the label, by one-hot targets."""
    targets = np.eye(logits.shape[1], dtype=logits.dtype)[labels]
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    result: Array = -(targets * log_probabilities).sum(axis=1)
    return result


NUMPY_FORMULAS = {
    "sigmoid": numpy_sigmoid_cross_entropy,
    "softmax": numpy_softmax_cross_entropy,
}
