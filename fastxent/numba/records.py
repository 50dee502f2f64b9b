"""The records that Python fills in and kernels read; mirrors simd/kernels.h and _job.pxd.

Addresses are integers, and so are truth values.
"""

import numpy as np

from fastxent.numba.structs import struct_at

_MATRIX = np.dtype(
    [("data", np.intp), ("anchor_stride", np.intp), ("class_stride", np.intp)], align=True
)
#: An exponent, or any other parameter of a custom loss; see requests.py.
POWER = np.dtype(
    [*((name, np.float64) for name in ("value", "exponent", "exponent_low")), ("kind", np.intp)],
    align=True,
)

#: One piece of work: some anchors. The matrices of the lane kernels have anchor_stride 1 (anchors
#: are lanes), those of the row kernels class_stride 1 (classes are lanes); strides are in elements.
#: What is absent is 0. Lane kernels read and write whole vectors: memory for `anchors` rounded up.
TILE = np.dtype(
    [
        ("anchors", np.intp),
        ("classes", np.intp),
        ("logits", _MATRIX),
        ("ahead", np.intp),  # bytes from these logits to later ones, to ask memory for ...
        ("targets_ahead", np.intp),  # ... from dense targets, and from gradients to where they go
        ("grads_ahead", np.intp),
        ("targets", _MATRIX),  # dense targets, or absent: then labels
        ("labelled", _MATRIX),  # 1 where there is a dense target, 0 where it is missing; or absent
        ("weights", _MATRIX),  # per-logit weights
        ("results", _MATRIX),  # per-logit results
        ("grads", _MATRIX),
        ("grad_weights", _MATRIX),  # per-logit factors of the gradients alone
        ("labels", np.intp),  # int32: the column of each anchor's class; -1: none
        ("shares", np.intp),  # per anchor: the target of the label's class, or of the next one
        ("label_counts", np.intp),  # per anchor: how many dense targets are there; absent: all
        ("grad_scales", np.intp),  # per anchor: factor of the gradient
        ("losses", np.intp),  # per-anchor results
        ("expectations", np.intp),  # per anchor: the expected class; or absent
        # Factors of the terms of targets y and of 1 - y: `factor_step` bytes from class to class,
        # 0 where all classes share one, which the next two hold in double.
        ("positive", np.intp),
        ("negative", np.intp),
        ("factor_step", np.intp),
        ("positive_value", np.float64),
        ("negative_value", np.float64),
        ("gamma_positive", POWER),
        ("gamma_negative", POWER),
        ("label_smoothing", np.float64),
        ("eps", np.float64),  # where probabilities are clipped, see _clipping.py
        *((name, np.float64) for name in ("limit", "tiny_limit", "highest_loss", "lowest_loss")),
        ("epsilon", np.float64),
        ("clip", np.float64),
        ("threshold", np.float64),  # clip = sigmoid(threshold + threshold_low)
        ("threshold_low", np.float64),
        ("iou_weighted", np.intp),
        ("parameters", np.intp),  # those of a custom loss, a POWER each
        ("has_options", np.intp),  # a plain kernel does not do
        ("others", np.intp),  # the table that masks a label out of a row
        ("exact", np.intp),  # what repairs an anchor whose result is not finite; 0: not compiled
        ("unrepaired", np.intp),  # there was such an anchor, and nothing to repair it
    ],
    align=True,
)

#: One array of a call: strides in bytes, those of the outer dimensions at an address.
_OPERAND = np.dtype(
    [
        (name, np.intp)
        for name in (
            *("data", "class_stride", "inner_stride", "strides"),
            "item",  # bytes of a number
            "in_lanes",  # the lane kernels can read it where it is
            "pack",  # what copies it to a tile, and back
            "unpack",
        )
    ],
    align=True,
)
OPERANDS = (
    "logits",
    "targets",  # class labels, dense targets, or positions of bins
    "shares",  # per anchor: the target of the label's class
    "anchor_weight",
    "logit_weight",
    "out",
    "grads",
    "anchor_grad_output",  # factors of the gradient alone
    "logit_grad_output",
    "expectations",
)
#: What a thread works with, as offsets into its memory: a cursor and a tile, one value an anchor of
#: a block each, then tiles.
SCRATCH = (
    *("cursor", "tile"),
    *("columns", "losses", "weights", "masses", "grad_scales", "shares", "expectations"),
    *("label_counts", "found"),  # the latter: whether a run has missing targets
    *("logits", "targets", "labelled", "logit_weights", "results", "grads", "grad_weights"),
)
_SCRATCH = np.dtype([(name, np.intp) for name in SCRATCH], align=True)
_INTEGERS = (
    *("dimensions", "shape", "size", "classes"),
    "kernel",  # 0: only the totals that need no logits are wanted
    "lane_kernel",  # where dense targets may be missing: for tiles in which none is, or all are ...
    "weighted_kernel",  # ... of an anchor; for others; and what repairs anchors of either
    *("lane_exact", "find_missing"),
    *("label_columns", "narrow"),
    *("nothing", "ignored"),  # what labels mean, see labels.py
    *("label_weight", "class_weight"),  # per class: of the whole anchor; for the totals
    *("background_column", "has_labels", "has_positions", "has_shares", "per_logit"),
    "is_sigmoid",
    "is_in_place",  # a score takes the place of the logits, which a repair has to read
    "converts_targets",  # the row kernel cannot read dense targets where they are
    "narrows_grads",  # the row kernel's gradients are converted to halves
    "keeps_results",  # the row kernel's exponentials, in the place of gradients, are its results
    *("blocks", "block_anchors", "tile_anchors", "totals"),
)
#: One call.
JOB = np.dtype(
    [
        *((name, np.intp) for name in _INTEGERS),
        *((name, np.float64) for name in ("mean_class_weight", "weight", "grad_scale")),
        *((name, _OPERAND) for name in OPERANDS),
        ("scratch", _SCRATCH),
        ("options", TILE),  # everything of a tile but its matrices
    ],
    align=True,
)
#: What a block adds up to.
TOTALS = np.dtype(
    [
        *((name, np.float64) for name in ("loss", "weight")),
        *((name, np.int64) for name in ("valid", "positive", "unrepaired")),
    ],
    align=True,
)

tile_at = struct_at(TILE)
job_at = struct_at(JOB)
totals_at = struct_at(TOTALS)
TILE_BYTES, TOTALS_BYTES = TILE.itemsize, TOTALS.itemsize
