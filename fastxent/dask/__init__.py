"""The losses, scores and hard negatives of the package on arrays of dask: lazy in, lazy out.

The functions have the names, arguments and meaning of those of :mod:`fastxent`, without `out` and
`grad_out`. Arrays are those of dask, or DataArrays of xarray over dask; what goes with the logits
(targets, weights, scores) may be NumPy arrays, or have other chunks. Nothing is computed until
``compute()``, and a task uses one thread unless `num_threads` says otherwise.

"sum" and "mean" are made of one row of totals for each chunk, added by a tree in the order of the
chunks: the same bits for the same chunks, whatever the workers and their order. Each row keeps what
rounding would lose, so other chunk sizes agree within 1 ULP.
"""

try:
    import dask.array  # noqa: F401 - the library; this package is fastxent.dask
except ImportError as error:
    raise ImportError(
        'fastxent.dask needs dask, which is not installed: pip install "fastxent[dask]"'
    ) from error

from fastxent.dask._candidates import select_candidates
from fastxent.dask._losses import lazy_loss
from fastxent.dask._mining import hard_negatives, ohem
from fastxent.dask._scores import lazy_score

asymmetric_loss = lazy_loss("asymmetric_loss")
binary_cross_entropy = lazy_loss("binary_cross_entropy")
categorical_cross_entropy = lazy_loss("categorical_cross_entropy")
distribution_focal_loss = lazy_loss("distribution_focal_loss")
poly1_cross_entropy = lazy_loss("poly1_cross_entropy")
quality_focal_loss = lazy_loss("quality_focal_loss")
sigmoid_cross_entropy = lazy_loss("sigmoid_cross_entropy")
sigmoid_focal_loss = lazy_loss("sigmoid_focal_loss")
sigmoid_focal_loss_star = lazy_loss("sigmoid_focal_loss_star")
softmax_cross_entropy = lazy_loss("softmax_cross_entropy")
softmax_focal_loss = lazy_loss("softmax_focal_loss")
varifocal_loss = lazy_loss("varifocal_loss")

log_sigmoid = lazy_score("log_sigmoid")
log_softmax = lazy_score("log_softmax")
logit = lazy_score("logit")
logsumexp = lazy_score("logsumexp")
odds = lazy_score("odds")
sigmoid = lazy_score("sigmoid")
softmax = lazy_score("softmax")
softplus = lazy_score("softplus")

__all__ = [
    "asymmetric_loss",
    "binary_cross_entropy",
    "categorical_cross_entropy",
    "distribution_focal_loss",
    "hard_negatives",
    "log_sigmoid",
    "log_softmax",
    "logit",
    "logsumexp",
    "odds",
    "ohem",
    "poly1_cross_entropy",
    "quality_focal_loss",
    "select_candidates",
    "sigmoid",
    "sigmoid_cross_entropy",
    "sigmoid_focal_loss",
    "sigmoid_focal_loss_star",
    "softmax",
    "softmax_cross_entropy",
    "softmax_focal_loss",
    "softplus",
    "varifocal_loss",
]
