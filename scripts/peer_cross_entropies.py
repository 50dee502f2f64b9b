"""The peers of our cross-entropies, of logits and of probabilities."""

from peer_phrases import (
    AXES,
    BACKGROUND,
    BROADCAST_LABELS,
    CHECKS,
    DEPRECATED,
    GLOBAL_EPS,
    IGNORE,
    KERAS_BINARY_CLIP,
    KERAS_CLIP,
    KERAS_MEAN,
    LABELS,
    NORMALIZER,
    PER_ANCHOR,
    REDUCTIONS,
    TARGET_GRAD,
    TINY,
    TORCH_ELEMENTS,
    TORCH_WEIGHTS,
    WHERE,
    WILD_TARGETS,
    Peer,
)

CROSS_ENTROPIES: dict[str, list[Peer]] = {
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
}

PROBABILITY_LOSSES: dict[str, list[Peer]] = {
    "binary_cross_entropy": [
        Peer(
            "keras.losses.binary_crossentropy",
            """
            y_true: `targets`, dense
            y_pred: `probs`
            from_logits: none: `fx.sigmoid_cross_entropy` is the function for True
            label_smoothing: `label_smoothing`
            axis: `axis`
            """,
            lacks=(
                f"{LABELS}; {IGNORE}; {BACKGROUND}; {GLOBAL_EPS}; {CHECKS}; {KERAS_BINARY_CLIP}"
            ),
            we_lack="a flag `from_logits`; the mean over several axes",
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
                "`label_smoothing`; `eps`: logarithms are cut off at -100, as with `eps=exp(-100)`"
            ),
            we_lack=TARGET_GRAD,
        ),
    ],
    "categorical_cross_entropy": [
        Peer(
            "keras.losses.categorical_crossentropy",
            """
            y_true: `targets`, dense
            y_pred: `probs`
            from_logits: none: `fx.softmax_cross_entropy` is the function for True
            label_smoothing: `label_smoothing`
            axis: `axis`
            """,
            lacks=(f"{LABELS} (or the next row); {IGNORE}; {GLOBAL_EPS}; {CHECKS}; {KERAS_CLIP}"),
            we_lack=f"a flag `from_logits`; {WILD_TARGETS}",
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
            lacks=f"`label_smoothing`; more than one `ignore_index`; {GLOBAL_EPS}; {KERAS_CLIP}",
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
                f"{IGNORE}; `class_weight`; `label_smoothing`; `eps` as an argument: the machine "
                "epsilon of the dtype; normalization: it warns of rows that do not add up to 1"
            ),
            we_lack=(
                "labels of any type, strings for example (`labels`); one column of probabilities "
                "for two classes: take `fx.binary_cross_entropy`"
            ),
        ),
    ],
}
