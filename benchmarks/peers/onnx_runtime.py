"""onnxruntime, with its inputs and its output bound to arrays that exist."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime

from benchmarks.inputs import Inputs
from benchmarks.peers.onnx_graphs import make_graph, result_shape

NAME = "onnxruntime"
DISTRIBUTION = "onnxruntime"


def make_session(
    model: bytes, threads: int, *, spinning: bool = True
) -> onnxruntime.InferenceSession:
    """Return a session; with `spinning`, its threads wait for work without sleeping."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def prepare(inputs: Inputs, threads: int) -> dict[str, Callable[[], object]]:
    graph = make_graph(inputs)
    if graph is None:
        return {}
    session = make_session(graph.model, threads)
    binding = session.io_binding()
    out = np.empty(result_shape(inputs), inputs.float_dtype)
    arrays = {"z": inputs.values, **graph.operands}
    for name, array in arrays.items():
        binding.bind_cpu_input(name, array)
    binding.bind_output("result", "cpu", 0, out.dtype, out.shape, out.ctypes.data)
    arrays["result"] = out

    def run() -> np.ndarray:
        session.run_with_iobinding(binding)
        return arrays["result"]  # the binding does not keep its memory alive; this function does

    return {"": run}


def as_arrays(result: np.ndarray) -> tuple[np.ndarray, ...]:
    return (result,)
