"""The recipes of docs/scaling.md, and the benchmark whose figures that page has."""

import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from support import requirements

import fastxent as fx

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "scaling.md"

pytestmark = pytest.mark.skipif(
    bool(requirements.absence("sources")), reason=requirements.absence("sources")
)


@pytest.fixture
def pairs(tmp_path):
    """Three pairs of files."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(3):
        pair = tmp_path / f"z{number}.npy", tmp_path / f"y{number}.npy"
        np.save(pair[0], rng.normal(size=(50 + number, 4)).astype(np.float32))
        np.save(pair[1], rng.choice([-100, 0, 1, 2, 3, 4], 50 + number))
        found.append(pair)
    return found


def recipe(engine, names):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (code,) = [
        block for block in blocks if re.search(rf"^(import|from) {engine}", block, re.MULTILINE)
    ]
    exec(compile(code, str(PAGE), "exec"), names)
    return names


def expected_mean(pairs):
    logits, labels = (np.concatenate([np.load(pair[i]) for pair in pairs]) for i in (0, 1))
    return fx.sigmoid_cross_entropy(logits, labels, reduction="mean")


def test_joblib(pairs):
    joblib = pytest.importorskip("joblib")
    with joblib.parallel_backend("threading"):
        names = recipe("joblib", {"pairs": pairs})
    assert names["mean"] == pytest.approx(expected_mean(pairs), rel=1e-14)


@pytest.mark.parametrize("engine", ["ray", "pyspark.sql"])
def test_recipes_with_stand_ins(engine, pairs, monkeypatch):
    module = ModuleType(engine)
    if engine == "ray":
        module.remote = lambda function: SimpleNamespace(remote=function)
        module.get = list
    else:
        collected = lambda rows: SimpleNamespace(collect=lambda: list(rows))  # noqa: E731
        mapped = SimpleNamespace(map=lambda function: collected(map(function, pairs)))
        context = SimpleNamespace(parallelize=lambda *_: mapped)
        session = SimpleNamespace(sparkContext=context)
        module.SparkSession = SimpleNamespace(builder=SimpleNamespace(getOrCreate=lambda: session))
        monkeypatch.setitem(sys.modules, "pyspark", ModuleType("pyspark"))
    monkeypatch.setitem(sys.modules, engine, module)
    pytest.importorskip("joblib")
    names = recipe("joblib", {"pairs": pairs})
    del names["rows"]
    loss, valid = np.sum(recipe(engine, names)["rows"], axis=0)
    assert loss / valid == pytest.approx(expected_mean(pairs), rel=1e-14)


def test_the_contenders_of_the_benchmark(tmp_path, monkeypatch):
    pytest.importorskip("dask.array")
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks import scaling

    folder = scaling.make_stack(tmp_path / "stack", megabytes=2, chunk_megabytes=1)
    total = scaling.stream(folder)
    assert total > 0
    assert scaling.threads(2)(folder) == pytest.approx(total, rel=1e-14)
    assert scaling.lazy_read(folder).compute(scheduler="synchronous") < 0
    text = scaling.table({1: {"one process": 2.0, "threads 1": 3.0}})
    assert text.splitlines()[-1] == "| 1 MB | 2.00 s | 1.50 |"
