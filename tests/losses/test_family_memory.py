"""A loss with its gradient needs room for these two, and a few kilobytes more."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")

# The peak is reset once everything is in place, so that what the call adds is all it shows.
PROGRAM = """
import sys
import numpy as np
import fastxent as fx

def kilobytes(field):
    for line in open("/proc/self/status"):
        if line.startswith(field):
            return int(line.split()[1])

call, shape, axis, dtype = sys.argv[1], eval(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
if dtype == "bfloat16":
    import ml_dtypes
name, options = call.split("(", 1)
loss = getattr(fx, name)
options = eval("dict(" + options)
values = np.empty(shape, dtype)
values[:] = 0.5
np.moveaxis(values, axis, -1)[..., 0] = 0.25
anchors = values.shape[:axis] + values.shape[axis + 1:]
labels = np.ones(anchors, np.float32 if name == "distribution_focal_loss" else np.int64)
dense = np.broadcast_to(np.array(0.5, dtype), shape)
targets = (dense,) if options.pop("dense", False) else (labels,)
if name == "quality_focal_loss":
    targets += (np.full(anchors, 0.75, np.float32),)
if options.pop("weighted", False):
    options["weight"] = np.full(anchors, 2.0, np.float32)

def head(array):
    return array[(slice(0, 2),) * array.ndim] if array.ndim < len(shape) else (
        np.moveaxis(np.moveaxis(array, axis, -1)[(slice(0, 2),) * (array.ndim - 1)], -1, axis))

def few(option):
    return head(option) if isinstance(option, np.ndarray) else option

few_options = {key: few(option) for key, option in options.items()}
for _ in range(2):  # threads and code are there from now on
    loss(head(values), *map(head, targets), axis=axis, return_grad=True, **few_options)
open("/proc/self/clear_refs", "w").write("5")
before = kilobytes("VmRSS")
result = loss(values, *targets, axis=axis, return_grad=True, **options)
grown = kilobytes("VmHWM") - before
assert result[1].dtype == values.dtype
print(grown * 1024 - sum(array.nbytes for array in result if isinstance(array, np.ndarray)))
"""

CALLS = [
    "sigmoid_cross_entropy()",
    "sigmoid_cross_entropy(dense=True, reduction='mean', normalizer='weight')",
    "softmax_cross_entropy()",
    "softmax_cross_entropy(label_smoothing=0.1, weighted=True, reduction='mean')",
    "sigmoid_focal_loss()",
    "sigmoid_focal_loss(gamma=1.5, dense=True)",
    "softmax_focal_loss(weighted=True)",
    "quality_focal_loss()",
    "varifocal_loss(dense=True)",
    "distribution_focal_loss(return_expectation=True)",
    "asymmetric_loss(reduction='none')",
    "poly1_cross_entropy(reduction='sum')",
    "binary_cross_entropy()",
    "categorical_cross_entropy()",
]


def extra_bytes(call, shape, axis, dtype):
    """Return by how much the process grew at most, beyond the arrays returned."""
    command = [sys.executable, "-W", "error::DeprecationWarning", "-c", PROGRAM]
    command += [call, str(shape), str(axis), dtype]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert finished.returncode == 0, finished.stderr
    return int(finished.stdout)


# A temporary of the size of the logits, or of the anchors in float64, would take 8 MB or more.
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((8, 81, 8732), 1), ((2, 9, 80, 50, 84), 2), ((300_000, 40), 1), ((1_500_000, 4), 1)],
)
def test_peak_of_losses_with_gradients(call, shape, axis):
    assert extra_bytes(call, shape, axis, "float32") < 2_000_000


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "call", [*CALLS[:3], "sigmoid_focal_loss()", "categorical_cross_entropy()"]
)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(("shape", "axis"), [((8, 81, 8732), 1), ((300_000, 40), 1)])
def test_peak_of_half_precision(call, shape, axis, dtype):
    """A copy in float32 would take 48 MB."""
    assert extra_bytes(call, shape, axis, dtype) < 2_000_000
