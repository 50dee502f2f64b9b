"""A loss per pixel, and the best pixels where a tenth of all score exactly 1.

The text detector of PP-OCRv4 (Apache-2.0, in the package rapidocr-onnxruntime) says of every pixel
of a page whether it belongs to a text: 921,600 logits of a single class, from -302 to 128. Its
training compares them with a map of 0 and 1; here that map is the detector's own at its threshold
of 0.3, so the loss shows where it is in doubt: along the edges of the lines.

    python examples/pixels.py --plot pixels.png
"""

import argparse
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import skimage.data
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

import fastxent as fx

SIZE = 960
LOGITS = "p2o.Add.281"
SCORE_THRESHOLD = 0.3
BEST = 1000


def compute_logits(picture):
    """Run the detector on a grey picture; return logits (1, 1, SIZE, SIZE)."""
    package = Path(find_spec("rapidocr_onnxruntime").origin).parent
    model = onnx.load(package / "models" / "ch_PP-OCRv4_det_infer.onnx")
    model.graph.output.append(onnx.ValueInfoProto(name=LOGITS))
    options = onnxruntime.SessionOptions()
    # Threads that spin after the run would keep the kernels below from the same cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    resized = cv2.resize(picture, (SIZE, SIZE)).astype(np.float32)[..., None] / 255
    colours = (resized - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    (logits,) = session.run([LOGITS], {"x": colours.transpose(2, 0, 1)[None].astype(np.float32)})
    return logits


def best_pixels(logits):
    """Return rows and columns of the best pixels."""
    # axis=None: a head with one class, where each element is an anchor.
    found = fx.select_candidates(logits, axis=None, score_threshold=SCORE_THRESHOLD, top_k=BEST)
    return np.divmod(found.anchor, logits.shape[-1]), int(found.found[0])


def best_pixels_by_score(scores):
    """Sort scores alone, as is usual: where they tie, the first ones win."""
    order = np.argsort(-scores.ravel(), kind="stable")[:BEST]
    return np.divmod(order, scores.shape[-1])


def draw(path, page, loss, pixels, pixels_by_score):
    """Draw the loss, and both choices of pixels on the page."""
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    norm = LogNorm(1e-6, 1, clip=True)
    shown = left.imshow(loss, norm=norm, cmap="inferno", aspect="auto")
    figure.colorbar(shown, ax=left, label="loss of a pixel", extend="both")
    left.set_title("In doubt: the edges of the lines")
    right.imshow(cv2.resize(page, (SIZE, SIZE)), cmap="gray", aspect="auto")
    for (rows, columns), name, colour in (
        (pixels_by_score, "sorted by score", "C1"),
        (pixels, "select_candidates", "C2"),
    ):
        right.scatter(columns, rows, s=2, color=colour, label=name)
    right.legend(loc="center right", bbox_to_anchor=(1, 0.28), markerscale=4)
    right.set_title(f"The best {BEST:,} pixels")
    for axes in (left, right):
        axes.set_axis_off()
    figure.savefig(path, dpi=110)


def main():
    """Compute, count and draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--plot", type=Path, help="draw losses and pixels into this file")
    arguments = parser.parse_args()

    page = skimage.data.page()
    logits = compute_logits(page)
    scores = fx.sigmoid(logits)
    targets = scores > SCORE_THRESHOLD
    loss = fx.sigmoid_cross_entropy(logits, targets, axis=None)
    print(f"{logits.size:,} logits from {logits.min():.0f} to {logits.max():.0f}")
    print(
        f"loss: max {loss.max():.5f}, mean {loss.mean(dtype=np.float64):.7f}, "
        f"{np.count_nonzero(~np.isfinite(loss))} not finite"
    )

    pixels, found = best_pixels(logits)
    ones = np.count_nonzero(scores == 1)
    print(f"{found:,} pixels above {SCORE_THRESHOLD}, of which {ones:,} score exactly 1")
    by_score = best_pixels_by_score(scores)
    for (rows, columns), name in ((pixels, "by score and logit"), (by_score, "by score alone")):
        chosen = logits[0, 0, rows, columns]
        print(f"the best {BEST:,} {name}: logits from {chosen.min():.1f} to {chosen.max():.1f}")
    if arguments.plot:
        draw(arguments.plot, page, loss[0, 0], pixels, by_score)


if __name__ == "__main__":
    main()
