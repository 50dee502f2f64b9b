"""Small ONNX graphs of scores and cross-entropies, for the libraries that run such graphs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.inputs import Inputs

OPSET = 18
ELEMENT_TYPES = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}
LONG = TensorProto.INT64


class Graph(NamedTuple):
    """A model and its inputs besides the logits; the output is called "result"."""

    model: bytes
    operands: dict[str, np.ndarray]


def make_graph(inputs: Inputs) -> Graph | None:
    """Return the graph of a case, or None where it takes more than a few nodes."""
    if inputs.case.gradient or inputs.case.dtype not in ELEMENT_TYPES:
        return None
    name = inputs.function
    operands: dict[str, np.ndarray] = {}
    nodes = _score_nodes(name, inputs.axis)
    if name == "sigmoid_cross_entropy":
        nodes, operands = _sigmoid_cross_entropy(inputs)
    elif name == "logsumexp":
        nodes = [("ReduceLogSumExp", ["z", "axes"], {"keepdims": 0})]
        operands = {"axes": np.array([inputs.axis])}
    elif name == "softmax_cross_entropy":
        # SoftmaxCrossEntropyLoss takes its classes on axis 1, where they are.
        nodes = [("SoftmaxCrossEntropyLoss", ["z", "labels"], {"reduction": "none"})]
        operands = {"labels": inputs.labels}
    if not nodes:
        return None
    return Graph(_model(inputs, nodes, operands), operands)


def _score_nodes(name: str, axis: int | None) -> list[tuple]:
    return {
        "sigmoid": [("Sigmoid", ["z"], {})],
        "log_sigmoid": [("Neg", ["z"], {}), ("Softplus", ["0"], {}), ("Neg", ["1"], {})],
        "softplus": [("Softplus", ["z"], {})],
        "softmax": [("Softmax", ["z"], {"axis": axis})],
        "log_softmax": [("LogSoftmax", ["z"], {"axis": axis})],
    }.get(name, [])


def _sigmoid_cross_entropy(inputs: Inputs) -> tuple[list[tuple], dict[str, np.ndarray]]:
    """Softplus of all logits, less the logit of the class where there is one."""
    if inputs.axis is None:
        nodes = [("Softplus", ["z"], {}), ("Mul", ["z", "y"], {}), ("Sub", ["0", "1"], {})]
        return nodes, {"y": inputs.one_hot()}
    axis, classes = inputs.axis, inputs.shape.classes
    operands = {
        "index": np.expand_dims(inputs.labels % classes, axis),
        "has_class": np.expand_dims(inputs.labels < classes, axis).astype(inputs.float_dtype),
        "axes": np.array([axis]),
    }
    return [
        ("Softplus", ["z"], {}),
        ("ReduceSum", ["0", "axes"], {"keepdims": 1}),
        ("GatherElements", ["z", "index"], {"axis": axis}),
        ("Mul", ["2", "has_class"], {}),
        ("Sub", ["1", "3"], {}),
        ("Squeeze", ["4", "axes"], {}),
    ], operands


def _model(inputs: Inputs, nodes: list[tuple], operands: dict[str, np.ndarray]) -> bytes:
    element = ELEMENT_TYPES[inputs.case.dtype]
    last = len(nodes) - 1
    made = [
        helper.make_node(kind, names, ["result" if at == last else str(at)], **attributes)
        for at, (kind, names, attributes) in enumerate(nodes)
    ]
    # Which axes are reduced is part of the graph.
    axes = {name: operands.pop(name) for name in ["axes"] if name in operands}
    fixed = [numpy_helper.from_array(array, name) for name, array in axes.items()]
    fed = [helper.make_tensor_value_info("z", element, inputs.shape.dims)]
    for name, array in operands.items():
        kind = LONG if array.dtype == np.int64 else element
        fed.append(helper.make_tensor_value_info(name, kind, array.shape))
    result = helper.make_tensor_value_info("result", element, result_shape(inputs))
    graph = helper.make_graph(made, inputs.function, fed, [result], fixed)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def result_shape(inputs: Inputs) -> tuple[int, ...]:
    """Return the shape of the output."""
    reduced = inputs.function in {"sigmoid_cross_entropy", "softmax_cross_entropy", "logsumexp"}
    return inputs.shape.anchors if reduced else inputs.shape.dims
