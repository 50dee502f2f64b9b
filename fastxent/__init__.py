"""Object-detection losses and scores on the CPU, fast and accurate."""

__version__ = "0.1.0"

from fastxent._config import (
    backend,
    get_num_threads,
    set_backend,
    set_num_threads,
    show_config,
    threads,
)
from fastxent.detection import recommend_loss
from fastxent.heads import sigmoid_to_softmax_logits, softmax_to_sigmoid_logit
from fastxent.losses import sigmoid_cross_entropy, softmax_cross_entropy
from fastxent.probability_losses import binary_cross_entropy, categorical_cross_entropy
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
    "__version__",
    "backend",
    "binary_cross_entropy",
    "categorical_cross_entropy",
    "get_num_threads",
    "log_sigmoid",
    "log_softmax",
    "logit",
    "logsumexp",
    "odds",
    "recommend_loss",
    "set_backend",
    "set_num_threads",
    "show_config",
    "sigmoid",
    "sigmoid_cross_entropy",
    "sigmoid_to_softmax_logits",
    "softmax",
    "softmax_cross_entropy",
    "softmax_to_sigmoid_logit",
    "softplus",
    "threads",
]
