"""A call needs its output and a few kilobytes, however large the logits are."""

import subprocess
import sys
import textwrap

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

fx.set_backend(sys.argv[2])
call = eval("lambda logits, labels, dense: " + sys.argv[1])
anchors, classes = 2_000_000, 80
logits = np.empty((anchors, classes), np.float32)
logits[:] = np.linspace(-4, 4, classes, dtype=np.float32)
labels = np.zeros(anchors, np.int64)
dense = np.broadcast_to(np.float32(0.5), logits.shape)
call(logits[:4096], labels[:4096], dense[:4096])  # threads and code are there from now on
open("/proc/self/clear_refs", "w").write("5")
before = kilobytes("VmRSS")
result = call(logits, labels, dense)
print(kilobytes("VmHWM") - before)
"""


@pytest.mark.exhaustive
@pytest.mark.parametrize("backend", ["native", "numba"])
@pytest.mark.parametrize(
    ("call", "output_megabytes"),
    [
        ("fx.sigmoid_cross_entropy(logits, labels)", 8),
        ("fx.softmax_cross_entropy(logits, labels)", 8),
        ("fx.sigmoid_cross_entropy(logits, dense, reduction='mean')", 0),
        ("fx.softmax_cross_entropy(logits, labels, label_smoothing=0.1, weight=labels)", 8),
        ("fx.softmax_cross_entropy(logits.T, labels, axis=0, reduction='sum')", 0),
        ("fx.logsumexp(logits)", 8),
        ("fx.logsumexp(logits, axis=None)", 0),
        ("fx.logsumexp(logits[:, 1:], axis=None)", 0),
        ("fx.logsumexp(logits.reshape(-1, 64, 80)[..., 1:], axis=(0, 2))", 0),
        ("fx.logsumexp(logits.reshape(-1, 64, 80)[..., 1:], axis=(1, 2), keepdims=True)", 0.2),
        ("fx.logsumexp(logits.view(np.int32)[:300_000])", 2.4),
        ("fx.log_softmax(logits[::4], axis=(0, 1), out=logits[1::4])", 0),
        ("fx.softmax(logits, axis=None, out=logits)", 0),
        ("fx.softplus(logits.view(np.int32)[:50_000])", 32),
        ("fx.select_candidates(logits[None])", 0.1),
        ("fx.select_candidates(logits.T[None], axis=1, top_k=100, top_k_per='class')", 0.4),
        ("fx.select_candidates(logits.reshape(4, -1, 80), multi_label=False)", 0.2),
        ("fx.select_candidates([logits[None], logits[None, ::2]], activation='softmax')", 0.1),
        ("fx.select_candidates(logits[None, :, 1:], objectness=logits[None, :, 0])", 0.1),
    ],
)
def test_peak_of_a_call_on_two_million_anchors(call, output_megabytes, backend):
    if backend == "numba":
        pytest.importorskip("numba")
    program = textwrap.dedent(PROGRAM)
    command = [sys.executable, "-W", "error::DeprecationWarning", "-c", program, call, backend]
    grown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert int(grown.stdout) / 1000 < output_megabytes + 2


ONE_ROW = """
import resource
import numpy as np
import fastxent as fx

logits = np.zeros((1, 2**24), np.float32)
out = np.empty_like(logits)
for line in open("/proc/self/status"):
    if line.startswith("VmSize"):
        size = 1024 * int(line.split()[1])
resource.setrlimit(resource.RLIMIT_AS, (size + 2**26, size + 2**26))
fx.logsumexp(logits, num_threads=1)
fx.softmax(logits, out=out, num_threads=1)
fx.log_softmax(logits, out=out, num_threads=1)
fx.softmax_cross_entropy(logits, [0], num_threads=1)
"""


def test_one_long_row_sets_no_memory_aside():
    """Of 64 MB, which are read and written where they are."""
    subprocess.run([sys.executable, "-c", ONE_ROW], check=True, timeout=300)


# --- few anchors of very many classes -------------------------------------------------------------

WIDE_PROGRAM = (
    PROGRAM.partition("call = eval")[0]
    + """
call = eval("lambda logits, labels, grads, halves: " + sys.argv[1])
anchors, classes = int(sys.argv[3]), 2**21
logits, grads = (np.ones((anchors, 2 * classes), np.float32)[:, ::2] for _ in range(2))
halves = np.ones((anchors, classes), np.float16)
labels = np.zeros(anchors, np.int64)
few = slice(None), slice(20_000)
call(logits[few], labels, grads[few], halves[few])  # code is there from now on
open("/proc/self/clear_refs", "w").write("5")
before = kilobytes("VmRSS")
result = call(logits, labels, grads, halves)
print(kilobytes("VmHWM") - before)
"""
)


@pytest.mark.parametrize("backend", ["native", "numba"])
@pytest.mark.parametrize(
    ("call", "anchors", "copies"),
    [
        ("fx.softmax_cross_entropy(logits, labels)", 1, 1),
        ("fx.softmax_cross_entropy(logits, labels)", 3, 1),
        ("fx.softmax_cross_entropy(logits, labels, return_grad=True, grad_out=grads)", 1, 2),
        ("fx.sigmoid_focal_loss(logits, halves, return_grad=True, grad_out=grads)", 1, 3),
        ("fx.softmax(logits, out=grads)", 1, 2),
    ],
)
def test_peak_of_few_anchors_of_two_million_classes(call, anchors, copies, backend):
    """Copies have room for the anchors that there are: of one a row, and not sixteen."""
    if backend == "numba":
        pytest.importorskip("numba")
    command = [sys.executable, "-W", "error::DeprecationWarning", "-c", WIDE_PROGRAM]
    command += [call, backend, str(anchors)]
    grown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert int(grown.stdout) / 1024 < copies * anchors * 8 + 2
