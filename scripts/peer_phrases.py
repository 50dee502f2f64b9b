"""What scripts/peer_table.py says about other libraries, and the words that it uses often."""

from dataclasses import dataclass


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
KERAS_BINARY_CLIP = (
    "an error for logits in place of probabilities; digits: 1 - 1e-7 is rounded in float32, and "
    "p = 1 with target 0 costs 15.942 there, 16.118 here"
)
KERAS_CLIP = (
    "an error for negative probabilities; digits: 1 - 1e-7 is rounded in float32, and p = 1 of the "
    "label costs 1.19e-07 there, 1e-07 here"
)
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
    "`alpha` = alpha w / s; for targets 0 and 1 only"
)
FUNCTION_AXIS = "`axis`; None, all of the array, there by default, -1 here"
