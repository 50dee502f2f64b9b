"""The peers of our focal and quality losses."""

from peer_phrases import (
    AVG_FACTOR,
    BACKGROUND,
    BROADCAST_LABELS,
    CHECKS,
    CLIPPED,
    IGNORE,
    KERAS_MEAN,
    KERAS_SMOOTHING,
    KORNIA_CLASSES,
    KORNIA_POSITIVE,
    LABELS,
    MMDET_ANCHORS,
    MMDET_ELEMENTS,
    NORMALIZER,
    ON_CPU,
    PER_ANCHOR,
    SATURATED,
    TARGET_GRAD,
    TINY,
    TORCH_ELEMENTS,
    WEIGHTS,
    WILD_TARGETS,
    Peer,
)

FOCAL_LOSSES: dict[str, list[Peer]] = {
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
            ignore_index: `ignore_index`
            """,
            lacks=(
                f"{LABELS}; {BACKGROUND}; {PER_ANCHOR}; weights of anchors (`weight`); "
                f"{NORMALIZER}; `alpha` per class; {CHECKS}"
            ),
            we_lack=(
                "`pos_weight`; its meaning of soft targets: a modulating factor for each side"
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
}
