"""What one pass over logits and targets adds up, block by block."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastxent._call.parts import PartTotals, sum_with_rest
from fastxent._target_counts import is_one_of

Array = npt.NDArray[Any]

#: Where the bins of the histogram of losses meet: one for each power of ten.
EDGES = tuple(10.0**exponent for exponent in range(-9, 4))


class Labelling(NamedTuple):
    """What targets mean.

    Attributes
    ----------
    classes : int
        How many there are.
    dense : bool
        Targets are one number per class; otherwise they are class labels.
    background : int or None
        The label that means "no class"; None where there is none.
    ignore : tuple of int
        The labels of anchors that do not count; the dense targets that mean a missing label.
    """

    classes: int
    dense: bool
    background: int | None
    ignore: tuple[int, ...]

    def slot_name(self, slot: int) -> str:
        """Name a slot of :class:`Summary` as the table of classes does."""
        if self.dense:
            return str(slot) if slot < self.classes else "no class"
        if slot == self.background_slot:
            return f"{self.background} (no class)"
        return str(slot)

    @property
    def background_slot(self) -> int | None:
        """The slot of anchors without a class: their label, or the last one if it is no index."""
        if self.background is None or 0 <= self.background <= self.classes:
            return self.background
        return self.classes


class HardAnchor(NamedTuple):
    """One of the anchors with the largest losses; NaN counts as the largest of all."""

    loss: float
    position: tuple[int, ...]
    label: int | None

    @property
    def rank(self) -> tuple[float, tuple[int, ...]]:
        """What the hardest anchors are sorted by."""
        return -np.nan_to_num(self.loss, nan=np.inf, posinf=np.inf), self.position


@dataclass(slots=True)
class Summary:
    """Counts and sums over anchors.

    Anchors are counted per class in slots, one per label; dense targets count towards each class
    in proportion to its target. The last slot is for anchors without a class. Anchors of which all
    dense targets are missing are ignored.
    """

    labelling: Labelling
    #: How many of the hardest anchors to keep.
    top: int
    #: Anchors with no larger loss are not among the hardest, whatever else is here.
    floor: float = -np.inf
    anchors: int = 0
    ignored: int = 0
    #: The sum of the losses, with what rounding would lose.
    totals: PartTotals = PartTotals()  # noqa: RUF009 - a tuple of numbers
    nan_count: int = 0
    #: Valid anchors by their loss: below the first of `EDGES`, from there to the second, ...
    histogram: Array = field(init=False)
    slot_anchors: Array = field(init=False)
    slot_losses: Array = field(init=False)
    hardest: list[HardAnchor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.histogram = np.zeros(len(EDGES) + 1, np.int64)
        self.slot_anchors = np.zeros(self.labelling.classes + 1)
        self.slot_losses = np.zeros(self.labelling.classes + 1)

    @property
    def valid(self) -> int:
        """Anchors that are not ignored."""
        return self.anchors - self.ignored

    @property
    def limit(self) -> float:
        """The loss that an anchor has to exceed to be among the hardest."""
        if len(self.hardest) < self.top:
            return self.floor
        return -self.hardest[-1].rank[0] if self.hardest else np.inf

    @property
    def loss_sum(self) -> float:
        """The sum of the losses."""
        return self.totals.loss

    @property
    def mean(self) -> float:
        """Mean loss of the valid anchors, 0 where there are none."""
        return self.loss_sum / self.valid if self.valid else 0.0

    def slot_means(self) -> list[tuple[str, float, float]]:
        """Return name, number of anchors and mean loss of the classes that occur, hardest first."""
        used = np.flatnonzero(self.slot_anchors)
        means = self.slot_losses[used] / self.slot_anchors[used]
        order = np.argsort(-means, kind="stable")
        rows = zip(used[order], self.slot_anchors[used][order], means[order], strict=True)
        return [(self.labelling.slot_name(slot), float(n), float(mean)) for slot, n, mean in rows]

    def add(self, losses: Array, targets: Array, starts: tuple[int, ...]) -> None:
        """Count a block of anchors.

        Parameters
        ----------
        losses : ndarray
            Loss per anchor.
        targets : ndarray
            Class labels of the same shape, or dense targets with the class axis last.
        starts : tuple of int
            Where the block is among all anchors.
        """
        shape = losses.shape
        losses = losses.ravel().astype(np.float64)
        if self.labelling.dense:
            targets = targets.reshape(losses.size, -1)
            if targets.dtype.kind == "V":  # bfloat16: NumPy 1.26 cannot combine it with numbers
                targets = targets.astype(np.float32)
            labelled = ~is_one_of(targets, self.labelling.ignore)
            valid = np.asarray(labelled.any(axis=1))
            labels = self._add_dense(losses, np.where(labelled, targets, 0), valid)
        else:
            labels = targets.ravel().astype(np.int64)
            valid = ~np.isin(labels, self.labelling.ignore)
            self._add_labels(losses[valid], labels[valid])
        self.anchors += losses.size
        self.ignored += int(np.count_nonzero(~valid))
        loss, rest = sum_with_rest(losses)
        self.totals = self.totals.plus(PartTotals(loss=loss, loss_rest=rest))
        is_number = ~np.isnan(losses)
        self.nan_count += losses.size - int(np.count_nonzero(is_number))
        bins = np.searchsorted(EDGES, losses[valid & is_number], side="right")
        self.histogram += np.bincount(bins, minlength=len(self.histogram))
        self._add_hardest(losses, labels, np.flatnonzero(valid), shape, starts)

    def as_arrays(self) -> dict[str, Array]:
        """Return what has been counted as arrays, which files and other processes can take."""
        hardest = self.hardest
        return {
            "counts": np.array([self.anchors, self.ignored, self.nan_count], np.int64),
            "sums": np.array([self.totals.loss, self.totals.loss_rest]),
            "histogram": self.histogram,
            "slot_anchors": self.slot_anchors,
            "slot_losses": self.slot_losses,
            "hardest_loss": np.array([anchor.loss for anchor in hardest]),
            "hardest_position": np.array([anchor.position for anchor in hardest], np.int64),
            "hardest_label": np.array(
                [np.iinfo(np.int64).min if a.label is None else a.label for a in hardest], np.int64
            ),
        }

    def add_arrays(self, arrays: dict[str, Array]) -> None:
        """Add what has been counted elsewhere, of anchors that come after these."""
        anchors, ignored, nan_count = arrays["counts"].tolist()
        self.anchors += anchors
        self.ignored += ignored
        self.nan_count += nan_count
        loss, rest = arrays["sums"].tolist()
        self.totals = self.totals.plus(PartTotals(loss=loss, loss_rest=rest))
        self.histogram += arrays["histogram"]
        self.slot_anchors += arrays["slot_anchors"]
        self.slot_losses += arrays["slot_losses"]
        names = "hardest_loss", "hardest_position", "hardest_label"
        for loss, position, label in zip(*(arrays[name].tolist() for name in names), strict=True):
            has_label = label != np.iinfo(np.int64).min
            self.hardest.append(HardAnchor(loss, tuple(position), label if has_label else None))
        self.hardest = sorted(self.hardest, key=lambda anchor: anchor.rank)[: self.top]

    def _add_labels(self, losses: Array, labels: Array) -> None:
        background = self.labelling.background_slot
        if background is not None:
            labels = np.where(labels == self.labelling.background, background, labels)
        slots = self.labelling.classes + 1
        self.slot_anchors += np.bincount(labels, minlength=slots)
        self.slot_losses += np.bincount(labels, weights=losses, minlength=slots)

    def _add_dense(self, losses: Array, targets: Array, valid: Array) -> Array:
        """Count dense targets; return the class with the largest target, -1 where all are 0."""
        has_class = targets > 0
        none = valid & ~has_class.any(axis=1)
        self.slot_anchors[:-1] += targets.sum(axis=0, dtype=np.float64)
        self.slot_anchors[-1] += np.count_nonzero(none)
        # A NaN or infinite loss times a target of 0 is no part of that class.
        shares = np.zeros(targets.shape)
        np.multiply(losses[:, None], targets, out=shares, where=has_class)
        self.slot_losses[:-1] += shares.sum(axis=0)
        self.slot_losses[-1] += losses[none].sum()
        return np.where(none, -1, targets.argmax(axis=1))

    def _add_hardest(
        self,
        losses: Array,
        labels: Array,
        candidates: Array,
        shape: tuple[int, ...],
        starts: tuple[int, ...],
    ) -> None:
        ranks = np.nan_to_num(losses, nan=np.inf, posinf=np.inf)
        candidates = candidates[ranks[candidates] > self.limit]
        if 0 < self.top < len(candidates):  # of more than that, those that cannot be are left out
            least = np.partition(ranks[candidates], -self.top)[-self.top]
            candidates = candidates[ranks[candidates] >= least]
        chosen = candidates[np.argsort(-ranks[candidates], kind="stable")[: self.top]]
        for flat in chosen.tolist():
            inside = np.unravel_index(flat, shape)
            position = tuple(int(i) + start for i, start in zip(inside, starts, strict=True))
            no_label = self.labelling.dense and labels[flat] < 0
            label = None if no_label else int(labels[flat])
            self.hardest.append(HardAnchor(float(losses[flat]), position, label))
        self.hardest = sorted(self.hardest, key=lambda anchor: anchor.rank)[: self.top]
