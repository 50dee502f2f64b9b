"""Rows of selection, mining and matching: every peer that is timed has the same result."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
if not (ROOT / "benchmarks").is_dir():
    pytest.skip("only in the source tree", allow_module_level=True)
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from benchmarks import detection  # noqa: E402
from benchmarks.contenders import OURS, READ  # noqa: E402

WORKS = list(detection.works())


@pytest.mark.parametrize("work", WORKS, ids=lambda work: f"{work.name}-{work.shape.name}")
def test_peers_have_the_same_results(work):
    pytest.importorskip("torch")
    wanted = ["torch_eager", "numpy_formulas"]
    contenders = detection.make_contenders(work, work.shape.scaled(0.02), 1, wanted)
    assert contenders.failed == {}
    assert {READ, OURS} < contenders.runs.keys()
    assert list(detection.make_contenders(work, work.shape.scaled(0.001), 1, []).runs) == [
        READ,
        OURS,
    ]


@pytest.mark.parametrize("name", ["one image", "hard negatives", "focal cost"])
def test_a_wrong_result_takes_no_part(name):
    pytest.importorskip("torch")
    work = next(work for work in WORKS if work.name == name)
    shape = work.shape.scaled(0.02)
    task = work.make(shape)
    right = next(iter(task.peers["torch_eager"].values()))

    def wrong():
        result = right()
        if name == "one image":
            return [(score, anchor, label + 1) for score, anchor, label in result]
        return ~result if name == "hard negatives" else [part + 1 for part in result]

    worse = replace(task, peers={"torch_eager": {"wrong": wrong, "right": right}})
    contenders = detection.make_contenders(
        replace(work, make=lambda _: worse), shape, 1, ["torch_eager"]
    )
    assert list(contenders.failed) == ["wrong"]
    assert "right" in contenders.runs
