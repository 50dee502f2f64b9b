"""OpenVINO, from the graphs that onnxruntime runs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import openvino

from benchmarks.inputs import Inputs
from benchmarks.peers.onnx_graphs import make_graph, result_shape

NAME = "OpenVINO"
DISTRIBUTION = "openvino"


def prepare(inputs: Inputs, threads: int) -> dict[str, Callable[[], object]]:
    graph = make_graph(inputs)
    if graph is None or inputs.case.dtype != "float32":  # float64 would be computed as float32
        return {}
    core = openvino.Core()
    options = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = core.compile_model(core.read_model(graph.model), "CPU", options)
    request = compiled.create_infer_request()
    out = np.empty(result_shape(inputs), inputs.float_dtype)
    arrays = {"z": inputs.values, **graph.operands, "result": out}
    for name, array in arrays.items():
        request.set_tensor(name, openvino.Tensor(array, shared_memory=True))

    def run() -> np.ndarray:
        request.infer()
        return arrays["result"]  # the tensors do not keep their memory alive; this function does

    return {"": run}


def as_arrays(result: np.ndarray) -> tuple[np.ndarray, ...]:
    return (result,)
