"""Object-detection losses and scores on the CPU, fast and accurate."""

from fastxent import math as math
from fastxent._config import (
    backend,
    clear_result_cache,
    get_num_threads,
    set_backend,
    set_num_threads,
    set_result_cache,
    show_config,
    threads,
)
from fastxent._version import __version__
from fastxent.candidates import Candidates, select_candidates
from fastxent.custom import custom_loss
from fastxent.detection import recommend_loss
from fastxent.focal_losses import asymmetric_loss, sigmoid_focal_loss, softmax_focal_loss
from fastxent.focal_star import sigmoid_focal_loss_star
from fastxent.heads import sigmoid_to_softmax_logits, softmax_to_sigmoid_logit
from fastxent.losses import poly1_cross_entropy, sigmoid_cross_entropy, softmax_cross_entropy
from fastxent.matching import class_cost
from fastxent.mining import hard_negatives, ohem
from fastxent.probability_losses import binary_cross_entropy, categorical_cross_entropy
from fastxent.quality_losses import distribution_focal_loss, quality_focal_loss, varifocal_loss
from fastxent.scores import (
    log_sigmoid,
    log_softmax,
    logit,
    logsumexp,
    odds,
    sigmoid,
    softmax,
    softplus,
)

__all__ = [
    "Candidates",
    "__version__",
    "asymmetric_loss",
    "backend",
    "binary_cross_entropy",
    "categorical_cross_entropy",
    "class_cost",
    "clear_result_cache",
    "custom_loss",
    "distribution_focal_loss",
    "get_num_threads",
    "hard_negatives",
    "log_sigmoid",
    "log_softmax",
    "logit",
    "logsumexp",
    "odds",
    "ohem",
    "poly1_cross_entropy",
    "quality_focal_loss",
    "recommend_loss",
    "select_candidates",
    "set_backend",
    "set_num_threads",
    "set_result_cache",
    "show_config",
    "sigmoid",
    "sigmoid_cross_entropy",
    "sigmoid_focal_loss",
    "sigmoid_focal_loss_star",
    "sigmoid_to_softmax_logits",
    "softmax",
    "softmax_cross_entropy",
    "softmax_focal_loss",
    "softmax_to_sigmoid_logit",
    "softplus",
    "threads",
    "varifocal_loss",
]
