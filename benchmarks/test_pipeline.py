"""From features to scores and losses: a model in onnxruntime, and what comes after it.

onnxruntime's threads wait for the next call without sleeping ("spinning"), on the cores that the
code after the model needs, so each row is there with and without it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import fastxent as fx
from benchmarks import peers
from benchmarks.contenders import OURS, READ, Contenders, read_run
from benchmarks.inputs import Inputs, make_inputs
from benchmarks.shapes import Case, Shape

HEAD = Shape((8 * 16_800, 80))
CHANNELS = 64
MODEL_ALONE = "model alone"


def make_head(anchors: int, *, with_sigmoid: bool) -> bytes:
    """Return a 1 x 1 convolution from features to logits of classes, as a matrix product."""
    from onnx import TensorProto, helper, numpy_helper

    generator = np.random.default_rng(3)
    classes = HEAD.classes
    weight = generator.standard_normal((CHANNELS, classes), np.float32) / np.float32(4)
    bias = np.full(classes, -3, np.float32)
    nodes = [
        helper.make_node("MatMul", ["features", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logits"]),
    ]
    output = "logits"
    if with_sigmoid:
        nodes.append(helper.make_node("Sigmoid", ["logits"], ["scores"]))
        output = "scores"
    graph = helper.make_graph(
        nodes,
        "head",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, (anchors, CHANNELS))],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, (anchors, classes))],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


class Model:
    """A session whose output is an array that exists."""

    def __init__(self, features, threads, *, spinning, with_sigmoid=False):
        from benchmarks.peers.onnx_runtime import make_session

        model = make_head(len(features), with_sigmoid=with_sigmoid)
        self.session = make_session(model, threads, spinning=spinning)
        self.output = np.empty((len(features), HEAD.classes), np.float32)
        self.binding = self.session.io_binding()
        self.binding.bind_cpu_input("features", features)
        name = self.session.get_outputs()[0].name
        shape = self.output.shape
        self.binding.bind_output(name, "cpu", 0, np.float32, shape, self.output.ctypes.data)

    def __call__(self):
        self.session.run_with_iobinding(self.binding)
        return self.output


def others(inputs: Inputs, threads: int, wanted: list[str]) -> dict:
    """Return what the peers have for the logits of the model; they read the same array."""
    found = {}
    for module in ("torch_eager", "torch_compile", "scipy_special", "numpy_formulas"):
        if module in wanted:
            peer = peers.load(module)
            for variant, run in peer.prepare(inputs, threads).items():
                name = f"{peer.NAME}, {variant}" if variant else peer.NAME
                found[name] = (run, peer.as_arrays)
    return found


def after_the_model(inputs: Inputs, threads: int, wanted: list[str]) -> dict:
    """Return what makes results of the logits: fastxent, and what the peers have."""
    case = inputs.case
    dims = case.shape.dims if case.function == "sigmoid" else case.shape.anchors
    options = {"out": np.empty(dims, np.float32), "num_threads": threads}
    function = partial(getattr(fx, case.function), inputs.values, *inputs.targets(), **options)
    return {OURS: (function, as_tuple), **others(inputs, threads, wanted)}


def as_tuple(result):
    return (result,)


@pytest.mark.parametrize("spinning", [True, False], ids=["spinning", "sleeping"])
@pytest.mark.parametrize("function", ["sigmoid", "sigmoid_cross_entropy"])
def test_pipeline(function, spinning, scale, threads, wanted_peers, contest, record):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    case = Case(function, HEAD.scaled(scale))
    kind = "pipeline, spinning" if spinning else "pipeline, sleeping"
    record.skip_recorded(case, kind)

    generator = np.random.default_rng(5)
    features = generator.standard_normal((case.shape.dims[0], CHANNELS), np.float32)
    model = Model(features, threads, spinning=spinning)
    # Contenders get the very array that the model writes.
    inputs = replace(make_inputs(case), values=model())

    admitted = Contenders()
    for name, (run, as_arrays) in after_the_model(inputs, threads, wanted_peers).items():

        def whole(run=run):
            model()
            return run()

        admitted.admit(name, whole, inputs, as_arrays)
    assert OURS in admitted.runs
    if function == "sigmoid":
        with_sigmoid = Model(features, threads, spinning=spinning, with_sigmoid=True)
        admitted.admit("a Sigmoid in the model", with_sigmoid, inputs, as_tuple)

    runs = {READ: read_run(model.output, threads), MODEL_ALONE: model, **admitted.runs}
    record(case, contest(runs), admitted, kind)
