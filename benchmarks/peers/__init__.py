"""One module per library, all with the same interface.

- ``NAME``: what tables call it; ``DISTRIBUTION``: what its version is looked up under.
- ``prepare(inputs, threads)``: what it has for a case, as functions without arguments by the name
  of the variant ("" where there is one). An empty dictionary: it has nothing for this case.
- ``HAS_GAMMA``, where there is one: focal losses follow ``inputs.gamma``.
- ``as_arrays(result)``: what such a function returned, as NumPy arrays: one loss per anchor, or
  scores, or (sum of the losses, gradient). This is outside of what is timed.

Targets are put into the form that suits the library before anything is timed, one-hot copies
included; results are written into arrays that exist, where the library can do that.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from types import ModuleType

#: The modules here, and what each one imports.
PEERS = {
    "torch_compile": "torch",
    "torch_eager": "torch",
    "jax_optax": "jax",
    "onnx_runtime": "onnxruntime",
    "openvino_runtime": "openvino",
    "scikit_learn": "sklearn",
    "scipy_special": "scipy",
    "numpy_formulas": "numpy",
    "numexpr_formulas": "numexpr",
}
#: What a peer needs besides.
ALSO_NEEDED = {
    "jax_optax": ("optax",),
    "onnx_runtime": ("onnx",),
    "openvino_runtime": ("onnx",),
}


def missing(name: str) -> str:
    """Return the name of a module that a peer needs and that is not installed, or ""."""
    for module in (PEERS[name], *ALSO_NEEDED.get(name, ())):
        if importlib.util.find_spec(module) is None:
            return module
    return ""


def available(name: str) -> bool:
    """Return whether all that a peer needs is installed."""
    return not missing(name)


def load(name: str) -> ModuleType:
    """Import a peer's module."""
    return importlib.import_module(f"benchmarks.peers.{name}")


def version(peer: ModuleType) -> str:
    """Return the version of a peer's library."""
    return importlib.metadata.version(peer.DISTRIBUTION)
