"""The work of ``fastxent demo``: a real detection head, enlarged, computed, checked and timed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

import fastxent
from fastxent import _catalogue, native
from fastxent.cli.machine import check_memory
from fastxent.cli.numpy_forms import NUMPY_FORMS, Array
from fastxent.cli.timing import RoundRobin
from fastxent.data import Sample, load_sample

#: Standard deviation of the noise that makes the copies of the sample differ.
NOISE = 0.1
#: How many anchors are compared with the float64 reference.
CHECKED_ANCHORS = 100_000
#: The NumPy formulas need several times the memory of the logits, so they get no more than this.
NUMPY_ANCHORS = 2_000_000
#: Each time is the median of this many rounds.
RUNS, NUMPY_RUNS = 21, 3

LOSSES = {
    "sigmoid": fastxent.sigmoid_cross_entropy,
    "softmax": fastxent.softmax_cross_entropy,
}
#: How far they may be off, in float32 units in the last place: the promise of the package.
MAX_ERROR_ULP = max(_catalogue.LOSSES[loss.__name__].bounds.loss for loss in LOSSES.values())
#: The same losses as one writes them in NumPy.
NUMPY_FORMULAS = {loss: NUMPY_FORMS[function.__name__] for loss, function in LOSSES.items()}


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
    """Repeat the sample until there are this many anchors, each copy with different noise."""
    sample = load_sample()
    count, classes = sample.logits.shape
    # The logits of both heads, the labels and some results.
    check_memory(anchors * (classes + classes + 1 + 6) * 4.0)
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

    seconds = _median_times(
        RUNS,
        fastxent=lambda: function(logits, labels, out=out, num_threads=threads),
        read=lambda: native.parallel_read(logits, threads),
    ) | _median_times(NUMPY_RUNS, numpy=lambda: formula(logits[few], labels[few]))
    return LossResult(
        losses=losses,
        fast=_measure(losses, losses[chosen], reference, seconds["fastxent"], logits.size),
        numpy=_measure(
            numpy_losses, numpy_losses[chosen], reference, seconds["numpy"], logits[few].size
        ),
        numpy_agrees=np.allclose(numpy_losses[chosen], reference, rtol=1e-3, atol=1e-5),
        read_seconds=seconds["read"],
    )


def _median_times(rounds: int, **runs: Callable[[], object]) -> dict[str, float]:
    contest = RoundRobin(runs, pause=0)
    for _ in range(rounds):
        contest.round()
    return {name: turns.median for name, turns in contest.turns.items()}


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
