"""Calls of every kind of function, with the same bytes in every process and thread."""

import hashlib

import numpy as np

import fastxent as fx

_RNG = np.random.default_rng(0)
_LOGITS = _RNG.normal(0, 3, (4, 1500, 20)).astype(np.float32)
_LABELS = _RNG.integers(0, 20, (4, 1500))
_FEW = _RNG.integers(0, 20, (4, 7))

#: What Numba computes; the rest is the native kernels' on every backend.
LOSSES_AND_SCORES = {
    "sigmoid": lambda **threads: fx.sigmoid_cross_entropy(_LOGITS, _LABELS, **threads),
    "softmax": lambda **threads: fx.softmax_cross_entropy(
        _LOGITS, _LABELS, return_grad=True, reduction="sum", **threads
    ),
    "logsumexp": lambda **threads: fx.logsumexp(_LOGITS, **threads),
}
CALLS = LOSSES_AND_SCORES | {
    "dense": lambda **threads: fx.sigmoid_focal_loss(
        _LOGITS, _LOGITS > 0, reduction="mean", return_grad=True, **threads
    ),
    "element": lambda **threads: fx.log_sigmoid(_LOGITS, **threads),
    "selection": lambda **threads: fx.select_candidates(_LOGITS, top_k=100, **threads),
    "mining": lambda **threads: fx.hard_negatives(
        _LOGITS[..., 0], _LABELS, background_index=0, **threads
    ),
    "cost": lambda **threads: fx.class_cost(_LOGITS, _FEW, **threads),
}


def digest(name, threads=None):
    """Return a hash of a call's results."""
    result = CALLS[name](num_threads=threads)
    if isinstance(result, fx.Candidates):
        result = result.image, result.anchor, result.label, result.score, result.found
    parts = result if isinstance(result, tuple) else (result,)
    joined = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
    return hashlib.sha1(joined, usedforsecurity=False).hexdigest()


def digest_all(threads=None, names=tuple(CALLS)):
    """Return the hashes of several calls."""
    return [digest(name, threads) for name in names]
