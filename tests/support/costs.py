"""What the tests of ``class_cost`` share: the kinds of costs, and arguments for them."""

import numpy as np

KINDS = ("focal", "softmax", "sigmoid", "simota")


def options_of(kind, logits, axis=-1):
    """Return the arguments that a kind needs, with an objectness for each query."""
    if kind != "simota":
        return {"kind": kind}
    shape = np.delete(logits.shape, axis)
    objectness = np.linspace(-3, 5, int(np.prod(shape))).reshape(shape)
    return {"kind": kind, "objectness": objectness.astype(logits.dtype)}


def head(images=3, queries=70, classes=9, dtype=np.float32, seed=0, scale=4.0):
    rng = np.random.default_rng(seed)
    logits = (scale * rng.normal(size=(images, queries, classes))).astype(dtype)
    labels = [rng.integers(0, classes, count) for count in (5, 0, 17, 1, 30)[:images]]
    return logits, labels
