"""The losses and scores: one row each, from which everything else derives.

What only needs to know *which* losses there are and *what they take* reads it here: validation,
the backends, docstrings, the command line, benchmarks, scripts and tests.
``native/simd/losses.def`` has the same losses in the same order for C, with their kernels;
importing the package fails where the two differ. This module imports nothing but the standard
library, so that tools can load it by its path.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple


class UlpBounds(NamedTuple):
    """Largest relative errors of float32 results in ULP, which is 2^-23: what docstrings promise.

    A power multiplies the relative error of its base by the exponent, hence `per_gamma`.
    """

    loss: int
    gradient: int
    per_gamma: int = 0
    #: What the exponent is called.
    gamma: str = "gamma"

    def of(self, gamma: float) -> tuple[float, float]:
        """Return the bounds of the loss and of its gradient for an exponent."""
        return self.loss + self.per_gamma * gamma, self.gradient + self.per_gamma * gamma


class Loss(NamedTuple):
    """One loss."""

    name: str
    #: "sigmoid": the classes of an anchor are independent questions. "softmax": one is chosen.
    family: Literal["sigmoid", "softmax"]
    #: Of custom losses nothing is promised.
    bounds: UlpBounds = UlpBounds(0, 0)
    #: The names and defaults of the parameters that not all losses have.
    parameters: Mapping[str, Any] = MappingProxyType({})
    #: The name of the first argument: logits, or probabilities.
    values: Literal["logits", "probs"] = "logits"
    #: The name of the second argument.
    targets: str = "targets"
    #: What the second argument may be: class labels or dense targets ("classes"), class labels with
    #: a score for each ("labels"), or positions between the classes ("positions").
    target_format: Literal["classes", "labels", "positions"] = "classes"
    #: Which terms alpha is a factor of: those of positives, of negatives, or alpha of the former
    #: and 1 - alpha of the latter ("both").
    alpha: Literal["positives", "negatives", "both"] = "positives"
    #: The parameters that are exponents of the modulating factors: of positives, of negatives.
    exponents: tuple[str | None, str | None] = (None, None)
    #: Targets are usually neither 0 nor 1, and gradients differences that may cancel.
    has_soft_targets: bool = False
    #: With class labels, a class weight is a factor of the whole anchor: that of its label.
    weighs_labels: bool = False
    #: Short calls without options go past the LossRequest.
    has_short_calls: bool = False
    #: What tables call it.
    label: str = ""
    #: The number of the loss in C; -1: it has no native kernels.
    code: int = -1

    @property
    def sigmoid(self) -> bool:
        """Whether the classes of an anchor are independent questions."""
        return self.family == "sigmoid"

    @property
    def gamma(self) -> float:
        """The larger exponent of the modulating factors by default; errors grow with it."""
        return max((self.parameters[name] for name in self.exponents if name), default=0.0)


class Score(NamedTuple):
    """One score, or link."""

    name: str
    #: Whether it is taken over the classes of an anchor, and not of single values.
    over_classes: bool = False
    values: Literal["logits", "probs"] = "logits"
    #: Largest relative error of float32 results, in ULP.
    bound: int = 4


_LOSSES = (
    Loss(
        "sigmoid_cross_entropy",
        "sigmoid",
        UlpBounds(4, 4),
        {"pos_weight": None, "label_smoothing": 0.0},
        has_short_calls=True,
        label="sigmoid cross-entropy",
    ),
    Loss(
        "sigmoid_focal_loss",
        "sigmoid",
        UlpBounds(4, 6, 3),
        {"alpha": 0.25, "gamma": 2.0},
        alpha="both",
        exponents=("gamma", "gamma"),
        label="sigmoid focal loss",
    ),
    Loss(
        "sigmoid_focal_loss_star",
        "sigmoid",
        UlpBounds(6, 6),
        {"alpha": None, "gamma": 2.0, "beta": 0.0},
        alpha="both",
        label="sigmoid focal loss*",
    ),
    Loss(
        "quality_focal_loss",
        "sigmoid",
        UlpBounds(4, 6, 3, "beta"),
        {"beta": 2.0},
        targets="labels",
        target_format="labels",
        exponents=("beta", "beta"),
        has_soft_targets=True,
        label="quality focal loss",
    ),
    Loss(
        "varifocal_loss",
        "sigmoid",
        UlpBounds(4, 6, 3),
        {"alpha": 0.75, "gamma": 2.0, "iou_weighted": True},
        alpha="negatives",
        exponents=(None, "gamma"),
        has_soft_targets=True,
        label="varifocal loss",
    ),
    Loss(
        "asymmetric_loss",
        "sigmoid",
        UlpBounds(7, 9, 5, "the larger gamma"),
        {"gamma_neg": 4.0, "gamma_pos": 1.0, "clip": 0.05},
        exponents=("gamma_pos", "gamma_neg"),
        label="asymmetric loss",
    ),
    Loss(
        "binary_cross_entropy",
        "sigmoid",
        UlpBounds(4, 4),
        {"label_smoothing": 0.0, "eps": 1e-7},
        values="probs",
        label="binary cross-entropy",
    ),
    Loss(
        "softmax_cross_entropy",
        "softmax",
        UlpBounds(4, 6),
        {"label_smoothing": 0.0},
        weighs_labels=True,
        has_short_calls=True,
        label="softmax cross-entropy",
    ),
    Loss(
        "softmax_focal_loss",
        "softmax",
        UlpBounds(4, 6, 3),
        {"alpha": None, "gamma": 2.0},
        exponents=("gamma", "gamma"),
        weighs_labels=True,
        label="softmax focal loss",
    ),
    Loss(
        "poly1_cross_entropy",
        "softmax",
        UlpBounds(4, 6),
        {"epsilon": 1.0},
        weighs_labels=True,
        label="poly-1 cross-entropy",
    ),
    Loss(
        "distribution_focal_loss",
        "softmax",
        UlpBounds(4, 6),
        {"return_expectation": False},
        target_format="positions",
        has_soft_targets=True,
        label="distribution focal loss",
    ),
    Loss(
        "categorical_cross_entropy",
        "softmax",
        UlpBounds(4, 6),
        {"label_smoothing": 0.0, "eps": 1e-7},
        values="probs",
        label="categorical cross-entropy",
    ),
)
#: The losses by name, in the order of their codes.
LOSSES = {loss.name: loss._replace(code=code) for code, loss in enumerate(_LOSSES)}

SCORES = {
    score.name: score
    for score in (
        Score("sigmoid"),
        Score("log_sigmoid"),
        Score("softplus"),
        Score("logit", values="probs"),
        Score("odds", values="probs"),
        Score("softmax", over_classes=True),
        Score("log_softmax", over_classes=True),
        Score("logsumexp", over_classes=True),
    )
}


# --- what arguments are to a library that differentiates, compiles or distributes a function ------

#: What an array has one element of: an anchor (the shape of the first argument without the class
#: axis), a class, or a logit. Of several, its shape says which; "call": a number without dimensions
#: will do, too.
EXTENTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "logits": ("logit",),
        "probs": ("logit",),
        "targets": ("anchor", "logit"),
        "labels": ("anchor",),
        "scores": ("anchor",),
        "weight": ("call", "anchor", "logit"),
        "class_weight": ("class",),
        "pos_weight": ("call", "class"),
        "alpha": ("call", "class"),
    }
)
#: Parameters of NumPy's functions that say where results go, and what computes them.
NUMPY_ONLY = ("return_grad", "grad_output", "out", "grad_out", "backend")


class Arguments(NamedTuple):
    """What each argument of a loss or score is, without those of `NUMPY_ONLY`."""

    #: The first argument, the only one that the function may be differentiated by.
    differentiable: str
    #: The other positional arguments: arrays, and constants of the derivative.
    arrays: tuple[str, ...] = ()
    #: Keywords that are arrays, numbers or None, and constants of the derivative.
    array_options: tuple[str, ...] = ()
    #: Keywords that are known when the function is compiled: numbers, words, or None. Only a
    #: `normalizer` that is a number may be known later.
    static: tuple[str, ...] = ()
    #: The shape of the result. "loss": by `reduction`; "logits": that of the first argument;
    #: "anchors": that without the class axes, which `keepdims` keeps with the length 1.
    result: Literal["loss", "logits", "anchors"] = "loss"


def _loss_arguments(loss: Loss) -> Arguments:
    arrays = {"labels": ("labels", "scores")}.get(loss.target_format, (loss.targets,))
    takes_classes = loss.target_format != "positions"
    common = ("axis", "reduction", "normalizer", "empty", "ignore_index")
    return Arguments(
        loss.values,
        arrays,
        (
            "weight",
            *(("class_weight",) if takes_classes else ()),
            *(name for name in loss.parameters if name in EXTENTS),
        ),
        (
            *(name for name in loss.parameters if name not in EXTENTS),
            *common,
            *(("background_index",) if takes_classes else ()),
            "num_threads",
        ),
    )


def _score_arguments(score: Score) -> Arguments:
    per_anchor = score.name == "logsumexp"
    axes = ("axis", "keepdims") if per_anchor else ("axis",) if score.over_classes else ()
    result: Literal["logits", "anchors"] = "anchors" if per_anchor else "logits"
    return Arguments(score.values, static=(*axes, "num_threads"), result=result)


#: Of each loss and score, by its name.
ARGUMENTS = {name: _loss_arguments(loss) for name, loss in LOSSES.items()} | {
    name: _score_arguments(score) for name, score in SCORES.items()
}


def loss_shape(
    loss: Loss, shape: tuple[Any, ...], axis: int | None, reduction: str
) -> tuple[Any, ...]:
    """Return the shape of a loss, given that of its first argument.

    The lengths may be those of a library that does not know them yet.
    """
    if reduction in {"sum", "mean"}:
        return ()
    if axis is None or (reduction == "none" and loss.sigmoid):
        return shape
    return shape[:axis] + shape[axis:][1:]


def result_dtype(dtype: str) -> str:
    """Return the name of the dtype of a loss, or score, given that of its first argument.

    Sums and means are float64 numbers in NumPy, but of this dtype where results are arrays.
    """
    return "float32" if dtype in {"float16", "bfloat16", "float32"} else "float64"


def check_complete(names: Iterable[str], what: str, known: Iterable[str] = LOSSES) -> None:
    """Refuse a table that lacks a loss, or has one that is not in the catalogue."""
    found, expected = set(names), set(known)
    if found != expected:
        missing, unknown = sorted(expected - found), sorted(found - expected)
        raise ImportError(f"{what}: missing {missing}, not in the catalogue {unknown}")
