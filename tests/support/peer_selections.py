"""What other libraries do to get from logits to candidates, written out with torch.

Each function returns tuples of image, anchor, class and score, and takes what its library has. They
are made of the lines of the library that do it, without boxes, and with its choice of what follows
left out.
"""

import numpy as np
import torch


def retinanet(levels, threshold, k):
    """torchvision RetinaNet, ``postprocess_detections``: levels of (images, anchors, classes)."""
    return _per_level([torch.from_numpy(level) for level in levels], threshold, k, torch.sigmoid)


def fcos(levels, centerness, threshold, k):
    """torchvision FCOS: the root of both scores; centerness is (images, anchors, 1)."""
    scores = [
        torch.sqrt(torch.sigmoid(torch.from_numpy(z)) * torch.sigmoid(torch.from_numpy(c)))
        for z, c in zip(levels, centerness, strict=True)
    ]
    return _per_level(scores, threshold, k, lambda score: score)


def _per_level(levels, threshold, k, activation):
    chosen = []
    for image in range(levels[0].shape[0]):
        first = 0
        for level in levels:
            classes = level.shape[-1]
            scores = activation(level[image]).flatten()
            keep = scores > threshold
            scores, places = scores[keep], torch.where(keep)[0]
            scores, best = scores.topk(min(k, len(places)))
            places = places[best]
            anchors = torch.div(places, classes, rounding_mode="floor") + first
            chosen += _pairs(image, anchors, places % classes, scores)
            first += level.shape[1]
    return chosen


def ssd(logits, threshold, k):
    """torchvision SSD: class by class, the first of which is the background."""
    scores = torch.softmax(torch.from_numpy(logits), dim=-1)
    chosen = []
    for image in range(len(scores)):
        for label in range(1, scores.shape[-1]):
            score = scores[image][:, label]
            keep = score > threshold
            score, places = score[keep], torch.where(keep)[0]
            score, best = score.topk(min(k, len(places)))
            chosen += _pairs(image, places[best], torch.full_like(best, label), score)
    return chosen


def detectron2_retinanet(levels, anchors, threshold, k):
    """detectron2 RetinaNet: levels of (images, anchors * classes, height, width)."""
    permuted = []
    for level in map(torch.from_numpy, levels):
        images, channels, height, width = level.shape
        cells = level.view(images, anchors, channels // anchors, height, width)
        cells = cells.permute(0, 3, 4, 1, 2)  # (images, height, width, anchors, classes)
        permuted.append(cells.reshape(images, -1, channels // anchors))
    chosen = []
    for image in range(permuted[0].shape[0]):
        first = 0
        for level in permuted:
            scores = level[image].clone().sigmoid_()
            keep = scores > threshold
            places = torch.nonzero(keep)
            scores, best = scores[keep].topk(min(k, len(places)))
            places = places[best]
            chosen += _pairs(image, places[:, 0] + first, places[:, 1], scores)
            first += level.shape[1]
    return chosen


def detr(logits):
    """DETR ``PostProcess``: of each query the best class but the last, without a threshold."""
    scores, labels = torch.softmax(torch.from_numpy(logits), -1)[..., :-1].max(-1)
    queries = torch.arange(logits.shape[1])
    return [
        pair
        for image in range(len(logits))
        for pair in _pairs(image, queries, labels[image], scores[image])
    ]


def deformable_detr(logits, k):
    """Deformable DETR ``PostProcess``: the best pairs of an image, without a threshold."""
    scores = torch.from_numpy(logits).sigmoid().view(len(logits), -1)
    values, places = torch.topk(scores, k, dim=1)
    classes = logits.shape[2]
    return [
        pair
        for image in range(len(logits))
        for pair in _pairs(image, places[image] // classes, places[image] % classes, values[image])
    ]


def ultralytics(prediction, threshold, k, *, multi_label, classes=None):
    """``non_max_suppression`` up to the sort: (images, 4 + classes, anchors) of probabilities."""
    prediction = torch.from_numpy(prediction)
    candidates = prediction[:, 4:].amax(1) > threshold
    chosen = []
    for image, output in enumerate(prediction.transpose(-1, -2)):
        anchors = torch.where(candidates[image])[0]
        scores = output[anchors][:, 4:]
        if multi_label:
            rows, labels = torch.where(scores > threshold)
            anchors, scores = anchors[rows], scores[rows, labels]
        else:
            scores, labels = scores.max(1)
            keep = scores > threshold
            anchors, scores, labels = anchors[keep], scores[keep], labels[keep]
        if classes is not None:
            wanted = torch.isin(labels, torch.tensor(classes))
            anchors, scores, labels = anchors[wanted], scores[wanted], labels[wanted]
        order = scores.argsort(descending=True)[:k]
        chosen += _pairs(image, anchors[order], labels[order], scores[order])
    return chosen


def yolox(prediction, threshold):
    """YOLOX ``postprocess`` up to NMS, with > for its >=: (images, anchors, 5 + classes)."""
    prediction = torch.from_numpy(prediction)
    chosen = []
    for image, output in enumerate(prediction):
        scores, labels = torch.max(output[:, 5:], 1)
        scores = output[:, 4] * scores
        keep = scores > threshold
        chosen += _pairs(image, torch.where(keep)[0], labels[keep], scores[keep])
    return chosen


def _pairs(image, anchors, labels, scores):
    columns = (column.tolist() for column in (anchors, labels, scores))
    return [(image, *pair) for pair in zip(*columns, strict=True)]


def check_same_pairs(result, expected, group, rtol=1e-6):
    """Compare with the pairs of a peer, which promises nothing among ties.

    In each group the same scores, within rounding; and the same pairs strictly above the lowest
    of them.
    """
    ours = list(
        zip(
            result.image.tolist(),
            result.anchor.tolist(),
            result.label.tolist(),
            result.score.tolist(),
            strict=True,
        )
    )
    groups = {group(*pair[:3]) for pair in [*ours, *expected]}
    for name in groups:
        mine = [pair for pair in ours if group(*pair[:3]) == name]
        theirs = [pair for pair in expected if group(*pair[:3]) == name]
        scores = sorted(pair[3] for pair in mine), sorted(pair[3] for pair in theirs)
        np.testing.assert_allclose(*scores, rtol=rtol, err_msg=str(name))
        lowest = scores[0][0] * (1 + 4 * rtol)
        above = [{pair[:3] for pair in pairs if pair[3] > lowest} for pairs in (mine, theirs)]
        assert above[0] == above[1], name
