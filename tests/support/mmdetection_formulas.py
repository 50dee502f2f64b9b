"""The losses of mmdetection 3.3 as its sources define them, on torch alone."""

import torch
from torch.nn import functional

EPS = torch.finfo(torch.float32).eps


def bce(pred, target):
    return functional.binary_cross_entropy_with_logits(pred, target, reduction="none")


def reduce(loss, weight, reduction, avg_factor):
    """Weigh and average, as `weight_reduce_loss` does."""
    if weight is not None:
        loss = loss * weight
    if avg_factor is not None and reduction == "mean":
        return loss.sum() / (avg_factor + EPS)
    return {"none": lambda x: x, "mean": torch.mean, "sum": torch.sum}[reduction](loss)


def one_hot(labels, classes):
    return functional.one_hot(labels, classes + 1)[:, :classes].float()


def focal(pred, target, weight, reduction, avg_factor, *, gamma, alpha):
    if pred.ndim != target.ndim:
        target = one_hot(target, pred.shape[1])
    p = pred.sigmoid()
    wrong = (1 - p) * target + p * (1 - target)
    factor = (alpha * target + (1 - alpha) * (1 - target)) * wrong**gamma
    if weight is not None and weight.shape != pred.shape:
        weight = weight.view(-1, 1) if len(weight) == len(pred) else weight.view(len(pred), -1)
    return reduce(bce(pred, target) * factor, weight, reduction, avg_factor)


def quality(pred, target, weight, reduction, avg_factor, *, beta):
    p = pred.sigmoid()
    if isinstance(target, tuple):
        labels, scores = target
        quality = one_hot(labels, pred.shape[1]) * scores[:, None]
        is_positive = one_hot(labels, pred.shape[1]) > 0
    else:
        quality, is_positive = target, target != 0
    negative = bce(pred, torch.zeros_like(pred)) * p**beta
    positive = bce(pred, quality) * (quality - p).abs() ** beta
    loss = torch.where(is_positive, positive, negative).sum(1)
    return reduce(loss, weight, reduction, avg_factor)


def varifocal(pred, target, weight, reduction, avg_factor, *, alpha, gamma, iou_weighted):
    p, is_positive = pred.sigmoid(), (target > 0).float()
    positive = target * is_positive if iou_weighted else is_positive
    factor = positive + alpha * (p - target).abs() ** gamma * (1 - is_positive)
    return reduce(bce(pred, target) * factor, weight, reduction, avg_factor)


def distribution(pred, target, weight, reduction, avg_factor):
    left = target.long()
    of_left = functional.cross_entropy(pred, left, reduction="none") * (left + 1 - target)
    of_right = functional.cross_entropy(pred, left + 1, reduction="none") * (target - left)
    return reduce(of_left + of_right, weight, reduction, avg_factor)


def softmax(
    pred, label, weight, reduction, avg_factor, *, class_weight, ignore_index, avg_non_ignore
):
    loss = functional.cross_entropy(
        pred, label, weight=class_weight, reduction="none", ignore_index=ignore_index
    )
    if avg_factor is None and avg_non_ignore and reduction == "mean":
        avg_factor = label.numel() - (label == ignore_index).sum().item()
    return reduce(loss, weight, reduction, avg_factor)


def sigmoid(
    pred, label, weight, reduction, avg_factor, *, class_weight, ignore_index, avg_non_ignore
):
    is_valid = (label >= 0) & (label != ignore_index)
    if pred.ndim != label.ndim:
        classes = pred.shape[-1]
        label = one_hot(torch.where(is_valid, label, classes), classes)
        is_valid = is_valid.view(-1, 1).expand_as(pred)
        weight = None if weight is None else weight.view(-1, 1)
    weight = is_valid.float() if weight is None else weight * is_valid
    if avg_factor is None and avg_non_ignore and reduction == "mean":
        avg_factor = is_valid.sum().item()
    loss = functional.binary_cross_entropy_with_logits(
        pred, label.float(), pos_weight=class_weight, reduction="none"
    )
    return reduce(loss, weight, reduction, avg_factor)
