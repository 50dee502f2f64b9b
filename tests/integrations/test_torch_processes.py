"""fastxent.torch in whole processes: imports, threads, memory, data loaders."""

import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import fastxent.torch as fxt  # noqa: E402

needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")


def run(program, *arguments):
    """Run a program; return what it prints, a line each."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_fastxent_does_not_load_torch():
    assert run("import sys, fastxent; print('torch' in sys.modules)") == ["False"]


def test_importing_loads_no_compiler():
    program = "import sys, torch, fastxent.torch; print('torch._dynamo' in sys.modules)"
    assert run(program) == ["False"]


STEP = """
import torch, fastxent.torch as fxt
def step():
    logits = torch.randn(600, 80).mm(torch.randn(80, 80)).requires_grad_()
    labels = torch.randint(0, 81, (600,))
    loss = fxt.sigmoid_focal_loss(logits, labels, reduction="mean", normalizer="positive")
    loss.backward()
    return loss.item(), logits.grad
"""


@pytest.mark.parametrize("order", ["torch, fastxent", "fastxent, torch"])
def test_import_orders(order):
    program = f"import {order}\n{STEP}\ntorch.manual_seed(0)\nprint(*step()[:1])"
    torch.manual_seed(0)
    space = {}
    exec(STEP, space)
    assert float(*run(program)) == pytest.approx(space["step"]()[0])


def status(field):
    """Return the number of a field of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{field}:")))


@needs_proc
@pytest.mark.exhaustive
def test_threads_and_memory():
    """Torch and fastxent in turns: no more threads than torch has, and no more memory."""
    program = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_torch_processes import status
{STEP}
torch.set_num_threads(2)
for _ in range(50):
    step()
before, threads = status("VmRSS"), status("Threads")
for _ in range(500):
    step()
print(status("VmRSS") - before, status("Threads") - threads, threads)
"""
    growth, more, threads = map(int, run(program))
    assert growth < 4096
    assert more == 0
    # One team of OpenMP, shared or one each, torch's pool and its autograd thread.
    assert threads <= 1 + 3 * 2


class Losses(torch.utils.data.Dataset):
    """Pictures whose worker looks for the hardest of them."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        logits = torch.randn(50, 10, generator=generator)
        labels = torch.randint(0, 10, (50,), generator=generator)
        return fxt.softmax_cross_entropy(logits, labels)


def check_workers():
    """Compare what forked workers compute after the parent has computed on several threads."""
    logits = torch.randn(3000, 80, requires_grad=True)
    fxt.sigmoid_cross_entropy(logits, torch.randint(0, 80, (3000,)), reduction="sum").backward()
    loader = torch.utils.data.DataLoader(
        Losses(), batch_size=2, num_workers=2, multiprocessing_context="fork"
    )
    batches = torch.cat(list(loader))
    dataset = Losses()
    print(torch.equal(batches, torch.stack([dataset[i] for i in range(len(dataset))])))


def test_forked_workers():
    """In a process of their own: other tests leave threads behind, of JAX for example."""
    program = f"""
import sys, warnings
sys.path.insert(0, {str(Path(__file__).parent)!r})
warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
from test_torch_processes import check_workers
check_workers()
"""
    assert run(program) == ["True"]
