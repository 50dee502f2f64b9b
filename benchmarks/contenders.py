"""Everything that takes part in a row: a plain read, fastxent, and the peers that are right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

import fastxent as fx
from benchmarks import peers
from benchmarks.inputs import Array, Inputs, error, reference
from benchmarks.shapes import ELEMENT_SCORES, GENERAL_GAMMA, NEW_RESULT, SMALL
from fastxent import native

Run = Callable[[], Any]

READ, OURS = "parallel read", "fastxent"
#: Ours too, and no peers: figures.py tells them by how their names begin.
NUMBA, CUSTOM, JAX = f"{OURS}, Numba", f"{OURS}, custom loss", f"{OURS}, JAX"


@dataclass
class Contenders:
    """Those to be timed, and why others are not."""

    runs: dict[str, Run] = field(default_factory=dict)
    #: Errors of results that are not equal, in units of the tolerance.
    unequal: dict[str, float] = field(default_factory=dict)
    #: What others said when asked for this case.
    failed: dict[str, str] = field(default_factory=dict)

    def admit(
        self, name: str, run: Run, inputs: Inputs, as_arrays: Callable[[Any], tuple[Array, ...]]
    ) -> None:
        """Let a contender take part if its result is right."""
        worst = error(as_arrays(run()), reference(inputs), inputs.case)
        if worst <= 1:
            self.runs[name] = run
        else:
            self.unequal[name] = worst


def read_run(values: Array, threads: int) -> Run:
    """Return a read of an array of any dtype: the floor of what takes it as input."""
    flat = values.reshape(-1)
    if values.dtype.itemsize < 4:
        flat = flat[: flat.size // 2 * 2].view(np.float32)
    return partial(native.parallel_read, flat, threads)


def our_run(inputs: Inputs, threads: int) -> partial[Any]:
    """Return the call of fastxent, with results written into arrays that exist but for variants."""
    function = getattr(fx, inputs.function)
    options: dict[str, Any] = {"num_threads": threads} | inputs.options
    if inputs.function not in ELEMENT_SCORES and inputs.axis != -1:
        options["axis"] = inputs.axis
    dims, anchors = inputs.shape.dims, inputs.shape.anchors
    if inputs.case.gradient:
        options |= {
            "reduction": "sum",
            "return_grad": True,
        }
        if inputs.case.variant != NEW_RESULT:
            options["grad_out"] = np.empty_like(inputs.values)
    elif inputs.shape == SMALL or inputs.case.variant == NEW_RESULT:
        pass  # a new array of SMALL's size is made faster than one that exists is checked
    elif inputs.function in ELEMENT_SCORES or inputs.function in {"softmax", "log_softmax"}:
        options["out"] = np.empty(dims, inputs.float_dtype)
    else:
        options["out"] = np.empty(anchors, inputs.float_dtype)
    targets = (inputs.one_hot(),) if inputs.case.dense else inputs.targets()
    return partial(function, inputs.values, *targets, **options)


def focal_loss(logit: Any, target: Any, gamma: float = 2.0, alpha: float = 0.25) -> Any:
    """Sigmoid focal loss, as a user of `custom_loss` writes it."""
    right = fx.math.where(target == 1, logit, -logit)
    factor = fx.math.where(target == 1, alpha, 1 - alpha)
    return -factor * fx.math.sigmoid(-right) ** gamma * fx.math.log_sigmoid(right)


def our_variants(inputs: Inputs, threads: int) -> dict[str, Run]:
    """Return the same call by Numba, as a custom loss and in JAX, where a case has them."""
    runs: dict[str, Run] = {}
    if not inputs.case.has_variants:
        return runs
    if find_spec("numba"):
        runs[NUMBA] = partial(our_run(inputs, threads), backend="numba")
        if inputs.function == "sigmoid_focal_loss":
            run = our_run(inputs, threads)
            runs[CUSTOM] = partial(fx.custom_loss(focal_loss), *run.args, **run.keywords)
    if inputs.case.gradient and find_spec("jax"):
        runs[JAX] = jax_run(inputs, threads)
    return runs


def jax_run(inputs: Inputs, threads: int) -> Run:
    """Return loss and gradient by JAX, compiled; its gradient is a new array each time."""
    import jax

    import fastxent.jax as fxj

    loss = partial(getattr(fxj, inputs.function), reduction="sum", num_threads=threads)
    compiled = jax.jit(jax.value_and_grad(loss))
    arrays = [jax.device_put(array) for array in (inputs.values, *inputs.targets())]
    return lambda: jax.block_until_ready(compiled(*arrays))


def our_arrays(result: Any) -> tuple[Array, ...]:
    """Return what fastxent returned as arrays."""
    values = result if isinstance(result, tuple) else (result,)
    return tuple(np.asarray(value) for value in values)


def make_contenders(inputs: Inputs, threads: int, wanted: list[str]) -> Contenders:
    """Return the contenders of a case; a wrong result of fastxent is an error."""
    contenders = Contenders({READ: read_run(inputs.values, threads)})
    ours = {OURS: our_run(inputs, threads), **our_variants(inputs, threads)}
    for name, run in ours.items():
        contenders.admit(name, run, inputs, our_arrays)
    for name, worst in contenders.unequal.items():
        raise AssertionError(f"{name} is wrong: its error is {worst:.3g} times the tolerance")
    for name in wanted:
        admit_peer(contenders, name, inputs, threads)
    return contenders


def admit_peer(contenders: Contenders, module: str, inputs: Inputs, threads: int) -> None:
    """Let each variant of a peer take part; whatever a peer raises is reported."""
    peer = peers.load(module)
    if inputs.case.variant == GENERAL_GAMMA and not getattr(peer, "HAS_GAMMA", False):
        return
    try:
        for variant, run in peer.prepare(inputs, threads).items():
            name = f"{peer.NAME}, {variant}" if variant else peer.NAME
            contenders.admit(name, run, inputs, peer.as_arrays)
    except Exception as problem:  # noqa: BLE001 - of any library, and there are many
        words = " ".join(str(problem).split())
        contenders.failed[peer.NAME] = f"{type(problem).__name__}: {words[:200]}"
