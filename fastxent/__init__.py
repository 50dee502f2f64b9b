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
    "set_backend",
    "set_num_threads",
    "show_config",
    "sigmoid",
    "sigmoid_cross_entropy",
    "softmax",
    "softmax_cross_entropy",
    "softplus",
    "threads",
]
