"""Write docs/peers.md: the functions of other libraries beside ours, parameter by parameter.

Run ``python scripts/peer_table.py`` to write the file, or with ``--check`` to learn whether it is
up to date. It needs nothing but Python. In the texts below, a word in backticks is a parameter:
one of ours, except under ``we_lack``, where it is one of the peer's; or a function ``fx.name``.
"""

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "peers.md"


@dataclass(frozen=True)
class Library:
    """A library, and what is true of all its functions."""

    name: str
    version: str
    lacks: str
    we_lack: str


@dataclass(frozen=True)
class Peer:
    """A function of another library.

    ``parameter_lines`` has a line for each of its parameters, in its order: the name, a colon, and
    what stands for it here.
    """

    function: str
    parameter_lines: str
    lacks: str = ""
    we_lack: str = ""
    remark: str = ""

    @property
    def parameters(self) -> dict[str, str]:
        """What stands for each of its parameters here."""
        lines = self.parameter_lines.strip().splitlines()
        return dict(line.strip().split(": ", maxsplit=1) for line in lines)


_GRAPH = "gradients in the same pass: they take a second one, through what the first has kept; "
_ANY_DERIVATIVE = "derivatives of any order and of any argument; "

LIBRARIES = {
    "torch": Library(
        "PyTorch",
        "2.13",
        _GRAPH
        + "float32 losses of half-precision logits, float64 sums: both have the logits' dtype",
        _ANY_DERIVATIVE + "GPUs; `torch.compile`",
    ),
    "torchvision": Library("torchvision", "0.26", "as PyTorch", "as PyTorch"),
    "mmdet": Library(
        "MMDetection",
        "3.2",
        "as PyTorch; class axes other than the second of two",
        "as PyTorch; classes to be configured by name, with a factor `loss_weight`",
    ),
    "mmpretrain": Library("MMPretrain", "1.2.0", "as PyTorch", "as MMDetection"),
    "kornia": Library("Kornia", "0.9.0rc1", "as PyTorch; class axes other than 1", "as PyTorch"),
    "keras": Library(
        "Keras",
        "3.16.0",
        _GRAPH + "reductions, weights and normalizers, of which the loss classes have some",
        _ANY_DERIVATIVE
        + "GPUs and TPUs; the rules by which the loss classes broadcast and squeeze "
        "`sample_weight`, and their masks",
    ),
    "optax": Library(
        "Optax",
        "0.2.9.dev",
        _GRAPH + "reductions, weights and normalizers",
        _ANY_DERIVATIVE + "GPUs and TPUs; `jax.jit` and `jax.vmap`",
    ),
    "tf": Library(
        "TensorFlow",
        "2.13",
        "gradients in the same pass, but for softmax cross-entropies; reductions, weights and "
        "normalizers",
        _ANY_DERIVATIVE + "GPUs and TPUs; graphs and XLA",
    ),
    "sklearn": Library(
        "scikit-learn",
        "1.9",
        "in `sklearn._loss`, half precision and stability: the module is private",
        "second derivatives (`gradient_hessian`); the array API",
    ),
    "scipy": Library(
        "SciPy",
        "1.17",
        "threads; float32 results for half precision, which are float64 or half",
        "the array API; long double",
    ),
}

# What peers lack, in the same words each time.
LABELS = "class labels: a one-hot copy instead"
IGNORE = "`ignore_index`"
BACKGROUND = "a label for no class (`background_index`)"
PER_ANCHOR = "one loss per anchor"
WEIGHTS = "`weight`, `class_weight`"
REDUCTIONS = "`reduction`, `normalizer`, `empty`"
NORMALIZER = "`normalizer`, `empty`"
CHECKS = "an error for targets outside [0, 1]"
TINY = "small losses in float32: (20, 0) for class 0 is 0, not 2.06e-09"
SATURATED = (
    "easy logits in float32: from 18 on, or -18 for a negative, 1 - p_t is 0 and so are loss and "
    "slope (the slope is NaN for `gamma` between 0 and 1)"
)
CLIPPED = (
    "what clipping p at 1e-7 takes away, with logits too: slopes there, and cross-entropies above "
    "16.2 or below 1e-7"
)
ON_CPU = (
    "a kernel for CPUs: there the class FocalLoss makes a one-hot copy and takes "
    "py_sigmoid_focal_loss"
)
GLOBAL_EPS = "`eps` as an argument: it is a global setting"
# And what several of our functions lack.
WILD_TARGETS = "targets outside [0, 1]"
TARGET_GRAD = "derivatives by targets and weights"
BROADCAST_LABELS = "`labels` that broadcast to the logits"
AXES = "several class axes (`axis` may be a tuple): reshape first"

DEPRECATED = "none (deprecated there)"
TORCH_ELEMENTS = '`reduction`; "mean" is `normalizer=logits.size`'
MMDET_ELEMENTS = '`reduction`; "mean" without avg_factor is `normalizer=logits.size`'
MMDET_ANCHORS = '`reduction`; "none" is "anchor", "mean" without avg_factor `normalizer="count"`'
AVG_FACTOR = "`normalizer` (there 1.2e-7 is added to it)"
WHERE = "none: `weight` 0 for anchors, logits of -inf for classes to leave out"
KERAS_SMOOTHING = "none: dense `targets`, smoothed before"
KERAS_MEAN = "`axis`; the mean over classes is `weight=1/C`"
TORCH_WEIGHTS = (
    '`reduction`; "mean" is `normalizer="weight"`, for dense targets `normalizer="count"`'
)
KORNIA_CLASSES = (
    '`reduction`; "none" is "anchor", with zeros for the other classes there; "mean" is '
    "`normalizer=logits.size`"
)
KORNIA_POSITIVE = (
    "none: with w = pos_weight and s = alpha w + 1 - alpha, `class_weight` = s and "
    "`alpha` = alpha w / s"
)
FUNCTION_AXIS = "`axis`; None, all of the array, there by default"

#: The peers of each of our losses.
LOSSES: dict[str, list[Peer]] = {
    "sigmoid_cross_entropy": [
        Peer(
            "torch.nn.functional.binary_cross_entropy_with_logits",
            f"""
            input: `logits`
            target: `targets`, dense
            weight: `weight`, with as many dimensions as the logits
            size_average: {DEPRECATED}
            reduce: {DEPRECATED}
            reduction: {TORCH_ELEMENTS}
            pos_weight: `pos_weight`, a number or one per class of `axis`
            """,
            lacks=(
                f"{LABELS}; {IGNORE}; {BACKGROUND}; {PER_ANCHOR}; {NORMALIZER}; `label_smoothing`; "
                f"{CHECKS}; slopes of saturated positives in float32: 0 at logit 20, not -2.06e-09"
            ),
            we_lack=f"`pos_weight` of any shape that broadcasts; {WILD_TARGETS}; {TARGET_GRAD}",
        ),
        Peer(
            "keras.losses.binary_crossentropy",
            f"""
            y_true: `targets`, dense
            y_pred: `logits`
            from_logits: none: `fx.binary_cross_entropy` is the function for False
            label_smoothing: `label_smoothing`
            axis: {KERAS_MEAN}
            """,
            lacks=f"{LABELS}; {IGNORE}; {BACKGROUND}; `pos_weight`; {CHECKS}",
            we_lack=f"a flag `from_logits`; the mean over several axes; {WILD_TARGETS}",
            remark="from_logits=True",
        ),
        Peer(
            "optax.losses.sigmoid_binary_cross_entropy",
            """
            logits: `logits`
            labels: `targets`, dense
            """,
            lacks=(
                f"{LABELS}; {IGNORE}; {BACKGROUND}; {PER_ANCHOR}; `pos_weight`, `label_smoothing`; "
                f"{CHECKS}"
            ),
            we_lack=f"{BROADCAST_LABELS}; {WILD_TARGETS}",
        ),
        Peer(
            "tf.nn.sigmoid_cross_entropy_with_logits",
            """
            labels: `targets`, dense
            logits: `logits`
            name: none
            """,
            lacks=(
                f"{LABELS}; {IGNORE}; {BACKGROUND}; {PER_ANCHOR}; `pos_weight`, `label_smoothing`; "
                f"{CHECKS}"
            ),
            we_lack=WILD_TARGETS,
        ),
        Peer(
            "tf.nn.weighted_cross_entropy_with_logits",
            """
            labels: `targets`, dense
            logits: `logits`
            pos_weight: `pos_weight`, a number or one per class of `axis`
            name: none
            """,
            lacks=f"{LABELS}; {IGNORE}; {BACKGROUND}; {PER_ANCHOR}; `label_smoothing`; {CHECKS}",
            we_lack=f"`pos_weight` of any shape that broadcasts; {WILD_TARGETS}",
        ),
        Peer(
            "sklearn._loss.HalfBinomialLoss.loss_gradient",
            """
            y_true: `targets`
            raw_prediction: `logits` with `axis=None`
            sample_weight: `weight`
            loss_out: `out`
            gradient_out: `grad_out`
            n_threads: `num_threads`
            """,
            lacks=(
                f"classes: one logit per sample, one dimension; {IGNORE}; {REDUCTIONS}; "
                "`pos_weight`, `label_smoothing`; integer targets (floats of the logits' dtype "
                f"instead); {CHECKS}"
            ),
            we_lack=WILD_TARGETS,
            remark="loss and gradient in one pass, as with `return_grad`",
        ),
    ],
    "softmax_cross_entropy": [
        Peer(
            "torch.nn.functional.cross_entropy",
            f"""
            input: `logits` with `axis=1`
            target: `targets`, class labels or dense
            weight: `class_weight`
            size_average: {DEPRECATED}
            ignore_index: `ignore_index`
            reduce: {DEPRECATED}
            reduction: {TORCH_WEIGHTS}
            label_smoothing: `label_smoothing`
            """,
            lacks=(
                "`axis`: 1, or 0 for a single anchor; weights of anchors (`weight`); the other "
                "values of `normalizer`; a mean of no anchors is NaN, not `empty`; more than one "
                f"`ignore_index`; {CHECKS}; {TINY}; the slope of that label is 0, not -2.06e-09"
            ),
            we_lack=f"{WILD_TARGETS}; {TARGET_GRAD}; a negative `weight`",
        ),
        Peer(
            "keras.losses.categorical_crossentropy",
            """
            y_true: `targets`, dense
            y_pred: `logits`
            from_logits: none: `fx.categorical_cross_entropy` is the function for False
            label_smoothing: `label_smoothing`
            axis: `axis`
            """,
            lacks=f"{LABELS} (or the next row); {IGNORE}; {CHECKS}; {TINY}",
            we_lack=f"a flag `from_logits`; {WILD_TARGETS}",
            remark="from_logits=True",
        ),
        Peer(
            "keras.losses.sparse_categorical_crossentropy",
            """
            y_true: `targets`, class labels
            y_pred: `logits`
            from_logits: none: `fx.categorical_cross_entropy` is the function for False
            ignore_class: `ignore_index`
            axis: `axis`
            """,
            lacks=f"`label_smoothing`; more than one `ignore_index`; {TINY}",
            we_lack="a flag `from_logits`; labels with a class axis of length 1",
            remark="from_logits=True",
        ),
        Peer(
            "optax.losses.softmax_cross_entropy",
            f"""
            logits: `logits`
            labels: `targets`, dense
            axis: `axis`
            where: {WHERE}
            """,
            lacks=f"{LABELS} (or the next row); `label_smoothing`; {CHECKS}; {TINY}",
            we_lack=f"{AXES}; a mask `where`; {BROADCAST_LABELS}; {WILD_TARGETS}",
        ),
        Peer(
            "optax.losses.softmax_cross_entropy_with_integer_labels",
            f"""
            logits: `logits`
            labels: `targets`, class labels
            axis: `axis`
            where: {WHERE}
            """,
            lacks=f"{IGNORE} (a mask instead); `label_smoothing`; an error for bad labels; {TINY}",
            we_lack=f"{AXES}; a mask `where`",
        ),
        Peer(
            "tf.nn.softmax_cross_entropy_with_logits",
            """
            labels: `targets`, dense
            logits: `logits`
            axis: `axis`
            name: none
            """,
            lacks=f"{LABELS} (or the next row); {IGNORE}; `label_smoothing`; {CHECKS}; {TINY}",
            we_lack=f"{TARGET_GRAD}; {WILD_TARGETS}",
        ),
        Peer(
            "tf.nn.sparse_softmax_cross_entropy_with_logits",
            """
            labels: `targets`, class labels
            logits: `logits`
            name: none
            """,
            lacks=f"`axis`: the last; {IGNORE}; `label_smoothing`; {TINY}",
        ),
        Peer(
            "sklearn._loss.HalfMultinomialLoss.loss_gradient",
            """
            y_true: `targets`, class labels
            raw_prediction: `logits`
            sample_weight: `weight`
            loss_out: `out`
            gradient_out: `grad_out`
            n_threads: `num_threads`
            """,
            lacks=(
                "dense targets; integer labels (floats of the logits' dtype instead); `axis`: two "
                f"dimensions, classes last; {IGNORE}; `class_weight`; {REDUCTIONS}; "
                f"`label_smoothing`; an error for labels out of range; {TINY}"
            ),
            remark="loss and gradient in one pass, as with `return_grad`",
        ),
    ],
    "poly1_cross_entropy": [
        Peer(
            "optax.losses.poly_loss_cross_entropy",
            f"""
            logits: `logits`
            labels: `targets`, dense
            epsilon: `epsilon`; 2 there by default, 1 here
            axis: `axis`
            where: {WHERE}
            """,
            lacks=f"{LABELS}; {IGNORE}; {CHECKS}; small losses in float32, as above",
            we_lack=(
                f"{AXES}; a mask `where`; {BROADCAST_LABELS}; an array as `epsilon`; {WILD_TARGETS}"
            ),
        ),
    ],
    "sigmoid_focal_loss": [
        Peer(
            "torchvision.ops.sigmoid_focal_loss",
            f"""
            inputs: `logits`
            targets: `targets`, dense
            alpha: `alpha`; -1 is `alpha=None`
            gamma: `gamma`
            reduction: {TORCH_ELEMENTS}
            """,
            lacks=(
                f"{LABELS}; {IGNORE}; {BACKGROUND}; {PER_ANCHOR}; {WEIGHTS}; {NORMALIZER}; `alpha` "
                f"per class; {CHECKS}; {SATURATED}"
            ),
            we_lack=f"{WILD_TARGETS}; {TARGET_GRAD}",
        ),
        Peer(
            "mmdet.models.losses.focal_loss.sigmoid_focal_loss",
            f"""
            pred: `logits`
            target: `targets`, class labels
            weight: `weight`, per anchor or with as many dimensions as the logits
            gamma: `gamma`
            alpha: `alpha`
            reduction: {MMDET_ELEMENTS}
            avg_factor: {AVG_FACTOR}
            """,
            lacks=(
                f"{ON_CPU}; {IGNORE}; {PER_ANCHOR}; `class_weight`; `alpha` per class; `alpha=None`"
            ),
            we_lack="probabilities in place of logits, which FocalLoss takes with activated=True",
            remark="calls a kernel of MMCV",
        ),
        Peer(
            "kornia.losses.binary_focal_loss_with_logits",
            f"""
            pred: `logits` with `axis=1`
            target: `targets`, dense
            alpha: `alpha`
            gamma: `gamma`
            reduction: {TORCH_ELEMENTS}
            pos_weight: {KORNIA_POSITIVE}
            weight: `class_weight`
            ignore_index: none for single logits: `weight` 0 there
            """,
            lacks=(
                f"{LABELS}; `ignore_index` for anchors; {BACKGROUND}; {PER_ANCHOR}; weights of "
                f"anchors (`weight`); {NORMALIZER}; `alpha` per class; {CHECKS}"
            ),
            we_lack=(
                "`pos_weight`; `ignore_index` for single logits; its meaning of soft targets: a "
                "modulating factor for each side"
            ),
        ),
        Peer(
            "keras.losses.binary_focal_crossentropy",
            f"""
            y_true: `targets`, dense
            y_pred: `logits`; for probabilities, `fx.logit` of them
            apply_class_balancing: `alpha`; False is `alpha=None`
            alpha: `alpha`
            gamma: `gamma`
            from_logits: none: logits only
            label_smoothing: {KERAS_SMOOTHING}
            axis: {KERAS_MEAN}
            """,
            lacks=f"{LABELS}; {IGNORE}; {BACKGROUND}; `alpha` per class; {CHECKS}; {CLIPPED}",
            we_lack=f"`label_smoothing`; a flag `from_logits`; {WILD_TARGETS}",
        ),
        Peer(
            "optax.losses.sigmoid_focal_loss",
            """
            logits: `logits`
            labels: `targets`, dense
            alpha: `alpha`; None there by default, 0.25 here
            gamma: `gamma`
            """,
            lacks=f"{LABELS}; {IGNORE}; {BACKGROUND}; {PER_ANCHOR}; {CHECKS}",
            we_lack=f"{BROADCAST_LABELS}; `alpha` and `gamma` that broadcast to the logits",
        ),
    ],
    "softmax_focal_loss": [
        Peer(
            "kornia.losses.focal_loss",
            f"""
            pred: `logits` with `axis=1`
            target: `targets`, class labels
            alpha: `alpha=[1 - alpha, alpha, ..., alpha]`: class 0 is the background
            gamma: `gamma`
            reduction: {KORNIA_CLASSES}
            weight: `class_weight`
            ignore_index: `ignore_index`
            """,
            lacks=(
                f"dense targets; {PER_ANCHOR}; weights of anchors (`weight`); {NORMALIZER}; "
                f"`alpha` per class; {TINY}"
            ),
        ),
        Peer(
            "keras.losses.categorical_focal_crossentropy",
            f"""
            y_true: `targets`, dense
            y_pred: `logits`; for probabilities, their logarithms
            alpha: `alpha`; 0.25 there by default, None here
            gamma: `gamma`
            from_logits: none: logits only
            label_smoothing: {KERAS_SMOOTHING}
            axis: `axis`
            """,
            lacks=f"{LABELS}; {IGNORE}; {CHECKS}; {CLIPPED}",
            we_lack=f"`label_smoothing`; a flag `from_logits`; {WILD_TARGETS}",
        ),
    ],
    "asymmetric_loss": [
        Peer(
            "mmpretrain.models.losses.asymmetric_loss.asymmetric_loss",
            f"""
            pred: `logits`
            target: `targets`, dense
            weight: `weight`, per anchor
            gamma_pos: `gamma_pos`; the class AsymmetricLoss has 0 by default
            gamma_neg: `gamma_neg`
            clip: `clip`
            reduction: {MMDET_ELEMENTS}
            avg_factor: `normalizer`
            use_sigmoid: none: always a sigmoid
            eps: none: logarithms are not clipped
            """,
            lacks=(
                f"{LABELS}; {IGNORE}; {BACKGROUND}; {PER_ANCHOR}; `class_weight`; {CHECKS}; losses "
                "above 18.4, where p is clipped at 1e-8, and slopes there; saturated positives in "
                "float32: from logit 18 on, the loss is 0"
            ),
            we_lack=(
                "a softmax in place of the sigmoid (`use_sigmoid`); its meaning of soft targets: "
                "exponents mixed in proportion, not losses"
            ),
        ),
    ],
    "quality_focal_loss": [
        Peer(
            "mmdet.models.losses.gfocal_loss.quality_focal_loss",
            f"""
            pred: `logits`
            target: `labels` and `scores`, a pair there
            weight: `weight`, per anchor
            reduction: {MMDET_ANCHORS}
            avg_factor: {AVG_FACTOR}
            beta: `beta`
            """,
            lacks=(
                f"{IGNORE} (any label that is no class counts as no class); `class_weight`; an "
                "error for bad labels or scores; saturated positives of score 1 in float32: from "
                "logit 18 on, loss and slope are 0"
            ),
            we_lack=(
                "dense targets, which the class QualityFocalLoss takes; probabilities in place of "
                "logits, which it takes with activated=True"
            ),
        ),
    ],
    "varifocal_loss": [
        Peer(
            "mmdet.models.losses.varifocal_loss.varifocal_loss",
            f"""
            pred: `logits`
            target: `targets`, dense
            weight: `weight`, with as many dimensions as the logits
            alpha: `alpha`
            gamma: `gamma`
            iou_weighted: `iou_weighted`
            reduction: {MMDET_ELEMENTS}
            avg_factor: {AVG_FACTOR}
            """,
            lacks=(
                f"class labels; {IGNORE}; {PER_ANCHOR}; `class_weight`; `alpha` per class; {CHECKS}"
            ),
            we_lack=WILD_TARGETS,
        ),
    ],
    "distribution_focal_loss": [
        Peer(
            "mmdet.models.losses.gfocal_loss.distribution_focal_loss",
            f"""
            pred: `logits`
            target: `targets`
            weight: `weight`, per anchor
            reduction: {MMDET_ANCHORS}
            avg_factor: {AVG_FACTOR}
            """,
            lacks=(
                f"{IGNORE}; `return_expectation`: the expected position from the same pass; "
                "targets at the last bin, for it looks up the bin after that; small losses in "
                "float32, as PyTorch's cross_entropy"
            ),
        ),
    ],
    "binary_cross_entropy": [
        Peer(
            "keras.losses.binary_crossentropy",
            f"""
            y_true: `targets`, dense
            y_pred: `probs`
            from_logits: none: `fx.sigmoid_cross_entropy` is the function for True
            label_smoothing: {KERAS_SMOOTHING}
            axis: `axis`
            """,
            lacks=f"{LABELS}; {IGNORE}; {BACKGROUND}; {GLOBAL_EPS}; {CHECKS}",
            we_lack="`label_smoothing`; a flag `from_logits`; the mean over several axes",
            remark="from_logits=False",
        ),
        Peer(
            "torch.nn.functional.binary_cross_entropy",
            f"""
            input: `probs`
            target: `targets`, dense
            weight: `weight`, with as many dimensions as the probabilities
            size_average: {DEPRECATED}
            reduce: {DEPRECATED}
            reduction: `reduction`; "mean" is the same
            """,
            lacks=(
                f"{LABELS}; {IGNORE}; {BACKGROUND}; {PER_ANCHOR}; `class_weight`; {NORMALIZER}; "
                "`eps`: logarithms are cut off at -100 instead"
            ),
            we_lack=f"losses up to 100: ours end at -log(eps); {TARGET_GRAD}",
        ),
    ],
    "categorical_cross_entropy": [
        Peer(
            "keras.losses.categorical_crossentropy",
            f"""
            y_true: `targets`, dense
            y_pred: `probs`
            from_logits: none: `fx.softmax_cross_entropy` is the function for True
            label_smoothing: {KERAS_SMOOTHING}
            axis: `axis`
            """,
            lacks=f"{LABELS} (or the next row); {IGNORE}; {GLOBAL_EPS}; {CHECKS}",
            we_lack=f"`label_smoothing`; a flag `from_logits`; {WILD_TARGETS}",
            remark="from_logits=False",
        ),
        Peer(
            "keras.losses.sparse_categorical_crossentropy",
            """
            y_true: `targets`, class labels
            y_pred: `probs`
            from_logits: none: `fx.softmax_cross_entropy` is the function for True
            ignore_class: `ignore_index`
            axis: `axis`
            """,
            lacks=f"more than one `ignore_index`; {GLOBAL_EPS}",
            we_lack="a flag `from_logits`; labels with a class axis of length 1",
            remark="from_logits=False",
        ),
        Peer(
            "sklearn.metrics.log_loss",
            f"""
            y_true: `targets`, class labels
            y_proba: `probs`, two dimensions
            normalize: `reduction`: "mean" with `normalizer="weight"`, or "sum"
            sample_weight: `weight`
            labels: none: classes are 0..C-1
            y_pred: {DEPRECATED}
            """,
            lacks=(
                "one loss per anchor, and gradients; `axis`: two dimensions, classes last; "
                f"{IGNORE}; `class_weight`; `eps` as an argument: the machine epsilon of the "
                "dtype; normalization: it warns of rows that do not add up to 1"
            ),
            we_lack=(
                "labels of any type, strings for example (`labels`); one column of probabilities "
                "for two classes: take `fx.binary_cross_entropy`"
            ),
        ),
    ],
}

_UFUNC_NONE = "where casting order dtype subok signature"
UFUNC = "\n".join(["x: `logits`", "out: `out`", *(f"{name}: none" for name in _UFUNC_NONE.split())])
UFUNC_WE_LACK = "`where`, `dtype` and the other keywords of ufuncs"

#: The peers of each of our scores.
SCORES: dict[str, list[Peer]] = {
    "sigmoid": [
        Peer(
            "scipy.special.expit",
            UFUNC,
            lacks="subnormal results: 0 at -90 in float32",
            we_lack=UFUNC_WE_LACK,
        ),
    ],
    "log_sigmoid": [
        Peer(
            "scipy.special.log_expit",
            UFUNC,
            we_lack=UFUNC_WE_LACK,
        ),
    ],
    "softplus": [
        Peer(
            "scipy.special.softplus",
            """
            x: `logits`
            kwargs: `out`; none for other keywords of ufuncs
            """,
            we_lack="a mask and the other keywords of ufuncs (`kwargs`)",
        ),
    ],
    "logit": [
        Peer(
            "scipy.special.logit",
            UFUNC.replace("logits", "probs"),
            we_lack=UFUNC_WE_LACK,
        ),
    ],
    "odds": [],
    "softmax": [
        Peer(
            "scipy.special.softmax",
            f"""
            x: `logits`
            axis: {FUNCTION_AXIS}
            """,
            lacks="`out`; the limit for a logit of +inf: NaN, not a one-hot result",
            we_lack="several axes, or none (`axis`)",
        ),
    ],
    "log_softmax": [
        Peer(
            "scipy.special.log_softmax",
            f"""
            x: `logits`
            axis: {FUNCTION_AXIS}
            """,
            lacks=(
                "`out`; small results in float32: (20, 0) gives 0 first, not -2.06e-09; the limit "
                "for a logit of +inf: NaN first, not 0"
            ),
            we_lack="several axes, or none (`axis`)",
        ),
    ],
    "logsumexp": [
        Peer(
            "scipy.special.logsumexp",
            f"""
            a: `logits`
            axis: {FUNCTION_AXIS}
            b: none: add log(b) to the logits
            keepdims: none: numpy.expand_dims
            return_sign: none: terms are positive
            """,
            lacks="`out`",
            we_lack=(
                "several axes, or none (`axis`); weights, negative ones too (`b`, `return_sign`); "
                "`keepdims`; complex numbers"
            ),
        ),
    ],
}

#: What is said before a table.
TEXTS = {
    "sigmoid_cross_entropy": (
        "Ours sums over the classes of an anchor; what peers call no reduction is "
        '`reduction="none"`.'
    ),
    "binary_cross_entropy": "Ours is the mean over the classes of an anchor, as in Keras.",
    "odds": "None of the libraries has it.",
}

INTRODUCTION = """
# fastxent beside its peers

How other libraries call the losses and scores of fastxent: the parameters of each function in their
order and what stands for them here, what the function lacks, and what we lack.

`scripts/peer_table.py` wrote this page, after the documentation and the sources of the versions
below; change it there. `tests/test_peer_table.py` compares the parameters with ours and with those
of the libraries that are installed.

In the tables, *none* is a parameter without a counterpart, and `fx` is fastxent. A *dense* target
has the shape of the logits. C is the number of classes, p_t the probability given to the
truth.

## The libraries

The losses of fastxent take class labels or dense targets, ignored anchors, weights of anchors and
of classes, and a class axis anywhere; they return one loss per anchor, or sums and means in float64
with a choice of divisors, and the gradient from the same pass; float16 and bfloat16 are read as
they are, with float32 losses. What a whole library does otherwise is here, and not in each row.
"""


def format_table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    header = list(header)
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell or '-' for cell in line)} |" for line in lines)


def format_peer(peer: Peer) -> list[str]:
    """Return the cells of a peer's row."""
    function = f"`{peer.function}`" + (f"<br>{peer.remark}" if peer.remark else "")
    parameters = [f"`{name}` -> {ours}" for name, ours in peer.parameters.items()]
    return [function, "<br>".join(parameters), peer.lacks, peer.we_lack]


def format_section(ours: str, peers: list[Peer]) -> str:
    """Return heading, text and table of one of our functions."""
    parts = [f"### {ours}", TEXTS.get(ours, "")]
    if peers:
        header = ("peer", "its parameters -> ours", "it lacks", "we lack")
        parts.append(format_table(header, map(format_peer, peers)))
    return "\n\n".join(filter(None, parts))


def format_page() -> str:
    """Return the whole page."""
    libraries = [
        (library.name, library.version, library.lacks, library.we_lack)
        for library in LIBRARIES.values()
    ]
    parts = [
        INTRODUCTION.strip(),
        format_table(("library", "version", "it lacks", "we lack"), libraries),
        "## Losses",
        *starmap(format_section, LOSSES.items()),
        "## Scores",
        *starmap(format_section, SCORES.items()),
    ]
    return "\n\n".join(parts) + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write docs/peers.md.")
    parser.add_argument("--check", action="store_true", help="compare the file, write nothing")
    page = format_page()
    if parser.parse_args(arguments).check:
        if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page:
            return 0
        print(f"{PAGE} is out of date: run python scripts/peer_table.py", file=sys.stderr)
        return 1
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
