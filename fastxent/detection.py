"""What a detector needs besides its losses."""

from __future__ import annotations  # signatures shall read "ArrayLike", not what that stands for

import textwrap
from dataclasses import dataclass, replace
from typing import Literal, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike  # noqa: TC002 - likewise

from fastxent import native
from fastxent._arguments import (
    ElementError,
    as_array,
    as_integer,
    format_position,
    position_of,
)
from fastxent._call.targets import DEFAULT_IGNORE_INDEX, ignored_labels, missing_values
from fastxent._config import thread_count
from fastxent._contract import Array, IgnoreIndex  # noqa: TC001 - likewise
from fastxent._target_counts import Found, Kind, count_labels, count_rows, has_value

__all__ = ["recommend_loss"]

_NOTHING_LEARNT = (
    "gives an anchor without a class zero loss and zero gradient, so the head never learns what "
    "background looks like."
)
_ALL_LOW = "Sigmoids can all be low at once, but the probabilities of a softmax add up to 1."
_ONE_LOGIT = (
    "Two classes need one logit only: a single-class head with the logit "
    "softmax_to_sigmoid_logit(logits) has the same probabilities and losses."
)


@dataclass(frozen=True, slots=True)
class LossRecommendation:
    """What :func:`recommend_loss` found; ``print`` shows it as a paragraph for each field."""

    #: "multi-class": exactly one class per anchor; "multi-label": any number.
    kind: Literal["single-class", "multi-class", "multi-label"]
    #: The name of the function to use.
    loss: Literal["sigmoid_cross_entropy", "softmax_cross_entropy"]
    #: How the targets were read.
    targets: str
    #: Why this loss.
    reason: str
    #: What would go wrong with the other one.
    warning: str
    #: What else is possible, and what could not be told from the targets; may be empty.
    alternative: str = ""
    #: The `ignore_index` that the targets were read with.
    ignore_index: int | tuple[int, ...] = DEFAULT_IGNORE_INDEX

    @property
    def call(self) -> str:
        """How to call that function."""
        options = ", axis=None" if self.kind == "single-class" else ""
        if self.ignore_index != DEFAULT_IGNORE_INDEX:
            options += f", ignore_index={self.ignore_index}"
        return f"{self.loss}(logits, targets{options})"

    def __str__(self) -> str:
        lines = [f"{self.kind}: {self.call}"]
        for name in ("targets", "reason", "warning", "alternative"):
            if text := getattr(self, name):
                first, rest = f"  {name:<13}", " " * 15
                lines += textwrap.wrap(text, 96, initial_indent=first, subsequent_indent=rest)
        return "\n".join(lines)


def recommend_loss(
    targets: ArrayLike,
    n_classes: SupportsIndex | None = None,
    *,
    ignore_index: IgnoreIndex = DEFAULT_IGNORE_INDEX,
) -> LossRecommendation:
    """Say which loss fits the targets, why, and what would go wrong with the other one.

    Exactly one class per anchor is what a softmax says; anything else needs sigmoids.

    Parameters
    ----------
    targets : array_like
        Targets as the losses take them. Dense: bool, integers 0 and 1 or floats in [0, 1] of shape
        (..., C). Or class labels: integers of any shape, from 0 to `n_classes`, which means "no
        class".
    n_classes : int, optional
        The number of classes C of the head, without background. For a head with a single class,
        every element of `targets` is an anchor, 1 positive and 0 negative.
    ignore_index : int or tuple of int, default -100
        Labels of ignored anchors, and dense targets that mean a missing label, as the losses take
        them.

    Returns
    -------
    LossRecommendation
        A frozen dataclass of strings: `kind` ("single-class", "multi-class" or "multi-label"),
        `loss` (the name of the function), `call`, `targets` (how they were read), `reason`,
        `warning` (what would go wrong with the other loss) and `alternative` (may be empty); and
        the `ignore_index`.

    Raises
    ------
    ValueError
        A label or a target is out of range, the shape does not fit `n_classes`, or there is
        nothing to look at: no targets, or only ignored ones. The message names the argument, the
        position and the value.
    TypeError
        An argument has the wrong type or dtype.

    See Also
    --------
    sigmoid_cross_entropy : Any number of classes per anchor.
    softmax_cross_entropy : One class per anchor.
    sigmoid_to_softmax_logits : Two classes, where both are the same model.

    Notes
    -----
    ========================================== ============ =====================
    targets                                    kind         loss
    ========================================== ============ =====================
    one class (C = 1)                          single-class sigmoid, ``axis=None``
    labels 0..C-1                              multi-class  softmax
    labels 0..C                                multi-label  sigmoid
    dense, every row adds up to 1              multi-class  softmax
    dense, some rows are zero (background)     multi-label  sigmoid
    dense, some labels of a row are missing    multi-label  sigmoid
    dense, some rows have several classes      multi-label  sigmoid
    dense, some rows add up to another number  multi-label  sigmoid
    ========================================== ============ =====================

    A row adds up to 1 if it does so within 0.001. "multi-label" includes anchors with no class. A
    row without any label is ignored.

    Integers can be either. They are read as dense targets if there are two dimensions or more,
    nothing but 0 and 1, and `n_classes` (where given, and not 1) on the last axis; as class labels
    otherwise. Where `n_classes` is given and there is a 1, they may be an `ignore_index`, too. So
    ``targets.ravel()`` is always read as labels, and ``targets.astype(bool)`` as dense. The result
    says how it was.

    Memory: less than 2 MB, however large the targets are.

    Examples
    --------
    >>> import fastxent as fx
    >>> advice = fx.recommend_loss([[1, 0, 0], [0, 1, 1], [0, 0, 0]], n_classes=3)
    >>> advice.kind, advice.loss
    ('multi-label', 'sigmoid_cross_entropy')
    >>> print(advice)
    multi-label: sigmoid_cross_entropy(logits, targets)
      targets      dense, 3 anchors x 3 classes
      reason       1 of 3 anchors has several classes; the first is targets[1] with 2.
      warning      softmax_cross_entropy makes the classes of an anchor compete: with k of them its
                   loss is lowest, k log(k) and not 0, where each has the probability 1/k.
    >>> fx.recommend_loss([0, 2, 1, -100], n_classes=3).loss
    'softmax_cross_entropy'
    >>> fx.recommend_loss([0, 3, 1, -100], n_classes=3).loss
    'sigmoid_cross_entropy'
    """
    array = as_array(targets, "targets")
    classes = None if n_classes is None else as_integer(n_classes, "n_classes")
    if classes is not None and classes < 1:
        raise ValueError(f"n_classes = {classes} is not a number of classes")
    if array.size == 0:
        raise ValueError(f"targets has shape {array.shape}: there is nothing to look at")
    ignore = ignored_labels(ignore_index)
    if _is_dense(array, classes, ignore):
        advice = _recommend_for_dense(array, classes, missing_values(ignore_index))
    else:
        advice = _recommend_for_labels(array, classes, ignore)
    return replace(advice, ignore_index=ignore[0] if len(ignore) == 1 else ignore)


def _is_dense(targets: Array, classes: int | None, ignore: tuple[int, ...]) -> bool:
    """Tell dense targets from class labels, as the docstring says."""
    if targets.dtype.kind not in "iu":
        return True
    if classes == 1 or targets.ndim < 2 or targets.shape[-1] != (classes or targets.shape[-1]):
        return False
    ignore = () if classes is None else ignore
    index, has_missing = native.check_dense(targets, thread_count(None), ignore)
    return index < 0 and (not has_missing or has_value(targets, 1))


def _count(number: int, noun: str) -> str:
    """Return a number and a noun in the right number."""
    plural = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{plural}"


def _have(number: int, anchors: int) -> str:
    """Return how many of the anchors have something that is yet to be said."""
    return f"{number:,} of {_count(anchors, 'anchor')} {'has' if number == 1 else 'have'}"


def _all_ignored(ignore: tuple[int, ...]) -> str:
    return f"all {' or '.join(map(str, ignore))} (ignored)"


def _single_class(targets: str) -> LossRecommendation:
    return LossRecommendation(
        "single-class",
        "sigmoid_cross_entropy",
        targets,
        "With a single class, each anchor is one yes-or-no question.",
        "softmax_cross_entropy of one class has the probability 1 whatever the logit is: its loss "
        "and its gradient are always zero.",
    )


def _multi_class(targets: str, reason: str, *alternatives: str) -> LossRecommendation:
    return LossRecommendation(
        "multi-class",
        "softmax_cross_entropy",
        targets,
        reason,
        "sigmoid_cross_entropy asks an independent question for each class: the probabilities of "
        "an anchor need not add up to 1, and nothing says that one class excludes the others.",
        " ".join(filter(None, alternatives)),
    )


def _multi_label(targets: str, reason: str, warning: str, *alternatives: str) -> LossRecommendation:
    return LossRecommendation(
        "multi-label",
        "sigmoid_cross_entropy",
        targets,
        reason,
        warning,
        " ".join(filter(None, alternatives)),
    )


# --- dense targets -------------------------------------------------------------------------------


def _recommend_for_dense(
    dense: Array, n_classes: int | None, ignore: tuple[int, ...]
) -> LossRecommendation:
    if n_classes != 1 and (dense.ndim == 0 or dense.shape[-1] != (n_classes or dense.shape[-1])):
        expected = f"(..., {n_classes or 'C'}) for dense targets"
        raise ValueError(f"targets has shape {dense.shape}, expected {expected}")
    index, has_missing = native.check_dense(dense, thread_count(None), ignore)
    if index >= 0:
        problem = f"= {dense.flat[index]} is outside [0, 1]"
        raise ElementError("targets", position_of(index, dense.shape), problem)
    if n_classes == 1 or dense.shape[-1] == 1:
        dense = dense[..., None]
    classes, anchors = dense.shape[-1], dense.size // dense.shape[-1]
    rows = count_rows(dense, has_missing=has_missing)
    valid = anchors - rows[Kind.IGNORED].number
    if not valid:
        raise ValueError(f"targets has {_count(anchors, 'anchor')}, {_all_ignored(ignore)}")
    read = f"dense, {_count(anchors, 'anchor')}"
    ignored = f", {anchors - valid:,} of them ignored" if valid < anchors else ""
    if classes == 1:
        return _single_class(f"{read} of a single class{ignored}")
    targets = f"{read} x {_count(classes, 'class')}{ignored}"
    doubt = _doubt_about_dense(dense) if n_classes is None else ""
    if rows[Kind.ONE_HOT].number + rows[Kind.DISTRIBUTION].number < valid:
        return _recommend_sigmoids(dense, rows, targets, doubt)
    one_logit = _ONE_LOGIT if classes == 2 else ""
    every = "every anchor, ignored ones aside," if ignored else "every anchor"
    if rows[Kind.DISTRIBUTION].number:
        reason = f"The targets of {every} add up to 1: they are a distribution over classes."
        return _multi_class(targets, reason, one_logit, doubt)
    reason = f"{every.capitalize()} has exactly one class."
    values = "targets.argmax(axis=-1)" + (" or an ignore_index" if ignored else "")
    labels = f"Class labels, {values}, give the same loss and need less memory."
    return _multi_class(targets, reason, one_logit, labels, doubt)


def _recommend_sigmoids(
    dense: Array, rows: dict[Kind, Found], targets: str, doubt: str
) -> LossRecommendation:
    """Recommend sigmoids because of the kind of row that fits a softmax least."""
    anchors, classes = dense.shape[:-1], dense.shape[-1]
    unfit = (Kind.PARTIAL, Kind.SEVERAL, Kind.SOFT, Kind.NO_CLASS)
    kind = next(kind for kind in unfit if rows[kind].number)
    number, first = rows[kind]
    valid = dense.size // classes - rows[Kind.IGNORED].number
    position, have = format_position(position_of(first, anchors)), _have(number, valid)
    if kind == Kind.PARTIAL:
        reason = f"{have} labels of some classes only; the first is targets{position}."
        warning = (
            "softmax_cross_entropy takes the labels of all classes of an anchor or of none: the "
            "probability of each class depends on all logits."
        )
        return _multi_label(targets, reason, warning, doubt)
    if kind == Kind.NO_CLASS:
        reason = f"{have} no class; the first is targets{position}. {_ALL_LOW}"
        background = (
            f"If no anchor ever has two classes: softmax_cross_entropy over {classes + 1:,} "
            "classes, with a column for background. If these anchors are to be ignored: an "
            "ignore_index in place of their targets."
        )
        warning = f"softmax_cross_entropy {_NOTHING_LEARNT}"
        return _multi_label(targets, reason, warning, background, doubt)
    total = np.sum(dense[np.unravel_index(first, anchors)], dtype=np.float64)
    if kind == Kind.SEVERAL:
        reason = f"{have} several classes; the first is targets{position} with {total:.0f}."
        warning = (
            "softmax_cross_entropy makes the classes of an anchor compete: with k of them its loss "
            "is lowest, k log(k) and not 0, where each has the probability 1/k."
        )
    else:
        reason = (
            f"{have} targets that do not add up to 1; the first is targets{position} with "
            f"{total:.4g}. So they are a probability, or a quality, for each class."
        )
        warning = (
            "softmax_cross_entropy learns only the shares of the classes; the sum of the targets "
            "becomes a weight of the anchor."
        )
    return _multi_label(targets, reason, warning, doubt)


def _doubt_about_dense(dense: Array) -> str:
    """Say what else the same numbers could mean, given that n_classes has not said so."""
    if dense.ndim == 1:
        return f"If these are {_count(dense.size, 'anchor')} of a single class: n_classes=1."
    if dense.dtype.kind in "iu":
        return "If the integers are class labels: targets.ravel(), or n_classes=1 if 1 means yes."
    return ""


# --- class labels --------------------------------------------------------------------------------


def _recommend_for_labels(
    labels: Array, classes: int | None, ignore: tuple[int, ...]
) -> LossRecommendation:
    _check_labels(labels, classes, ignore)
    ignored, highest, (background, first) = count_labels(labels, classes, ignore)
    if ignored == labels.size:
        raise ValueError(f"targets has {_count(ignored, 'label')}, {_all_ignored(ignore)}")
    read = f"class labels of {_count(labels.size, 'anchor')}"
    read += f", {ignored:,} of them ignored" if ignored else ""
    if classes == 1:
        return _single_class(f"{read}, of a single class")
    if classes is None:
        targets = f"{read}, of {_count(highest + 1, 'class')} or more"
        reason = "Every label names exactly one class."
        return _multi_class(targets, reason, _doubt_about_labels(highest))
    targets = f"{read}, of {_count(classes, 'class')}"
    if not background:
        reason = f"Every anchor, ignored ones aside, has exactly one class of 0..{classes - 1}."
        return _multi_class(targets, reason, _ONE_LOGIT if classes == 2 else "")
    position = format_position(position_of(first, labels.shape))
    reason = (
        f'{_have(background, labels.size - ignored)} the label {classes}, "no class"; the first '
        f"is targets{position}. {_ALL_LOW}"
    )
    warning = (
        f"softmax_cross_entropy over {classes:,} classes refuses the label {classes}; with dense "
        f"targets it {_NOTHING_LEARNT}"
    )
    alternative = (
        f"softmax_cross_entropy over {classes + 1:,} classes takes the same labels "
        f"(background_index={classes}): background is then a class of its own."
    )
    return _multi_label(targets, reason, warning, alternative)


def _doubt_about_labels(highest: int) -> str:
    """Say what cannot be told without the number of classes."""
    if highest == 0:
        return "There is only label 0: pass n_classes to say what else there could be."
    if highest == 1:
        return "If the head has a single class, and 1 means yes: n_classes=1."
    return f'If the label {highest} means "no class": n_classes={highest}.'


def _check_labels(labels: Array, classes: int | None, ignore: tuple[int, ...]) -> None:
    highest = np.iinfo(np.int64).max if classes is None else classes
    index = native.find_invalid_label(labels, highest, ignore, thread_count(None))
    if index < 0:
        return
    expected = "0 or more" if classes is None else "0 or 1"
    if classes is not None and classes > 1:
        expected = f'0..{classes - 1}, {classes} for "no class"'
    if ignore:
        expected += f", or {' or '.join(map(str, ignore))} for ignored"
    problem = f"= {labels.flat[index]} is not a class label: expected {expected}"
    raise ElementError("targets", position_of(index, labels.shape), problem)
