"""What ``fastxent bench`` times: random heads, and each function of them, checked."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

import fastxent
from fastxent import native
from fastxent._catalogue import LOSSES, SCORES, Loss
from fastxent.cli.errors import WrongResultError
from fastxent.cli.numpy_forms import NUMPY_FORMS, Array, run_in_blocks

#: So many logits of a head, those of whole anchors, are compared with the float64 reference.
CHECKED_LOGITS = 1_000_000
#: float64 results may be off by this many times the ULP of float32 results: the reference, which is
#: float64 as well, rounds too, and an exponential enlarges what its argument is off.
FLOAT64_SLACK = 10
#: Relative errors are small down to these magnitudes.
LEAST_FLOAT32, LEAST_FLOAT16 = 1e-36, 2.0**-14


class Function(NamedTuple):
    """What a public function is called with: the names of properties of a :class:`Head`."""

    values: str = "logits"
    targets: tuple[str, ...] = ()
    has_axis: bool = True
    #: The exponent that its errors grow with.
    gamma: float = 0.0
    #: Targets between 0 and 1, where gradients are differences that may cancel.
    soft: bool = False

    @property
    def is_loss(self) -> bool:
        """Whether it has targets, and a gradient."""
        return bool(self.targets)


def _targets_of(loss: Loss) -> tuple[str, ...]:
    """Return what a loss is called with after the values: properties of a :class:`Head`."""
    match loss.target_format:
        case "positions":
            return ("positions",)
        case "labels":
            return ("labels", "qualities")
        case "classes":
            if loss.has_soft_targets:
                return ("dense",)
            return ("labels",) if loss.sigmoid else ("classes_of_anchors",)


FUNCTIONS = {
    name: Function(loss.values, _targets_of(loss), gamma=loss.gamma, soft=loss.has_soft_targets)
    for name, loss in LOSSES.items()
} | {name: Function(score.values, has_axis=score.over_classes) for name, score in SCORES.items()}


class Head:
    """A head's random logits and targets; the class axis is 1, and the last but it the anchors'.

    What is not asked for is not made. No array depends on which others are made.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], seed: int) -> None:
        self.shape, self.dtype, self.seed = shape, dtype, seed
        self.anchor_shape = (shape[0], *shape[2:])

    def __str__(self) -> str:
        return f"{' x '.join(f'{length:,}' for length in self.shape)} {self.dtype.name}"

    def _generator(self, *key: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, len(self.shape), *key])

    @cached_property
    def logits(self) -> Array:
        """Normal, with a standard deviation of 3."""
        logits = self._generator(0).standard_normal(self.shape, np.float32)
        logits *= 3
        return logits.astype(self.dtype, copy=False)

    @cached_property
    def probs(self) -> Array:
        """Uniform, and far enough from 0 and 1."""
        probs = self._generator(1).random(self.shape, np.float32)
        probs *= 0.9
        probs += 0.05
        return probs.astype(self.dtype, copy=False)

    @cached_property
    def classes_of_anchors(self) -> Array:
        """One class for each anchor."""
        return self._generator(2).integers(0, self.shape[1], self.anchor_shape)

    @cached_property
    def labels(self) -> Array:
        """The same for one anchor in four, and no class for the others."""
        has_class = self._generator(3).random(self.anchor_shape) < 0.25
        return np.where(has_class, self.classes_of_anchors, self.shape[1])

    @cached_property
    def qualities(self) -> Array:
        """One number in [0, 1) for each anchor."""
        return self._generator(4).random(self.anchor_shape, np.float32)

    @cached_property
    def dense(self) -> Array:
        """The qualities at the labels, and 0 elsewhere."""
        dense = np.zeros(self.shape, np.float32)
        labels = np.expand_dims(np.minimum(self.labels, self.shape[1] - 1), 1)
        qualities = np.where(self.labels < self.shape[1], self.qualities, 0)
        np.put_along_axis(dense, labels, np.expand_dims(qualities, 1), axis=1)
        return dense

    @cached_property
    def positions(self) -> Array:
        """One number in [0, C - 1) for each anchor."""
        return self._generator(5).random(self.anchor_shape, np.float32) * (self.shape[1] - 1)

    @cached_property
    def checked(self) -> Array:
        """Which anchors, by their last index, are compared with the reference."""
        count = self.anchor_shape[-1]
        few = max(1, CHECKED_LOGITS * count // int(np.prod(self.shape)))
        return np.sort(self._generator(6).choice(count, min(few, count), replace=False))

    def checked_part(self, array: Array) -> Array:
        """Return the part of an array of values, or of anchors, that is compared."""
        is_row = array.ndim == len(self.shape) == 2
        return array.take(self.checked, axis=0 if is_row else -1)


@dataclass
class Case:
    """One function of one head, with or without its gradient, and where the result goes."""

    name: str
    head: Head
    gradient: bool

    def __post_init__(self) -> None:
        self.function = FUNCTIONS[self.name]
        sources = (self.function.values, *self.function.targets)
        self.arrays: tuple[Array, ...] = tuple(getattr(self.head, source) for source in sources)
        per_anchor = self.function.is_loss or self.name == "logsumexp"
        shape = self.head.anchor_shape if per_anchor else self.head.shape
        precision = np.float64 if self.head.dtype == np.float64 else np.float32
        self.outs = [np.empty(shape, precision)]
        if self.gradient:
            self.outs.append(np.empty_like(self.arrays[0]))
        self.options: dict[str, Any] = {"axis": 1} if self.function.has_axis else {}

    @property
    def label(self) -> str:
        """What tables call it."""
        return f"{self.name} + grad" if self.gradient else self.name

    def call(self, threads: int) -> None:
        """Compute with the package."""
        outs = dict(zip(("out", "grad_out"), self.outs, strict=False))
        flags = {"return_grad": True} if self.gradient else {}
        public = getattr(fastxent, self.name)
        public(*self.arrays, **self.options, **flags, **outs, num_threads=threads)

    def call_numpy(self) -> None:
        """Compute with NumPy."""
        run_in_blocks(NUMPY_FORMS[self.name], self.arrays, tuple(self.outs))

    def read(self, threads: int) -> None:
        """Read the values and do nothing with them; of 16-bit floats, two at a time."""
        flat = self.arrays[0].reshape(-1)
        if flat.itemsize == 2:
            flat = flat[: flat.size // 2 * 2].view(np.float32)
        native.parallel_read(flat, threads)

    @cached_property
    def reference(self) -> list[Array]:
        """The results of the checked anchors by the float64 formulas."""
        values, *targets = (self.head.checked_part(array) for array in self.arrays)
        flags = {"return_grad": True} if self.gradient else {}
        public = getattr(fastxent, self.name)
        found = public(
            values.astype(np.float64), *targets, **self.options, **flags, backend="numpy"
        )
        return list(found) if self.gradient else [found]

    def check(self) -> float:
        """Return the largest relative error of the last results, or raise if it is too large."""
        worst = 0.0
        for number, (out, reference) in enumerate(zip(self.outs, self.reference, strict=True)):
            of_gradient = number == 1
            least, allowed = self._tolerance(out.dtype, of_gradient)
            difference = np.abs(self.head.checked_part(out).astype(np.float64) - reference)
            error = float((difference / np.maximum(np.abs(reference), least)).max())
            if not error <= allowed:  # NaN is wrong as well
                part = "the gradient of " if of_gradient else ""
                raise WrongResultError(
                    f"{part}{self.name} of {self.head} has a relative error of {error:.2g}, "
                    f"and at most {allowed:.2g} is promised"
                )
            worst = max(worst, error)
        return worst

    def _tolerance(self, dtype: np.dtype[Any], of_gradient: bool) -> tuple[float, float]:
        """Return the least magnitude that errors are relative to, and the largest error."""
        is_difference = of_gradient and (self.function.soft or dtype == np.float64)
        least = 1.0 if is_difference else LEAST_FLOAT16 if dtype == np.float16 else LEAST_FLOAT32
        ulps: float
        if self.name in SCORES:
            ulps = SCORES[self.name].bound
        else:
            ulps = LOSSES[self.name].bounds.of(self.function.gamma)[of_gradient]
        if dtype == np.float64:
            ulps *= FLOAT64_SLACK
        elif dtype.itemsize == 2:
            ulps = 1  # rounded at the end
        return least, ulps * float(np.spacing(np.ones((), dtype)))

    def check_numpy(self) -> None:
        """Raise where NumPy's results are not the same to three digits, or two in float16."""
        for out, reference in zip(self.outs, self.reference, strict=True):
            results = self.head.checked_part(out).astype(np.float64)
            rtol = 1e-2 if out.itemsize == 2 else 1e-3
            if not np.allclose(results, reference, rtol=rtol, atol=1e-5):
                raise WrongResultError(f"NumPy's {self.label} of {self.head} is not the same")
