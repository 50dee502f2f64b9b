"""What some tests need and not every machine has, by the names that FASTXENT_REQUIRE takes.

Tests skip where it is absent. A run lists all of it at its end, and FASTXENT_REQUIRE=avx512,numba
makes it an error instead, for machines that are meant to have it.
"""

import importlib.util
import os
import shutil
from functools import partial
from pathlib import Path

from fastxent import native

ROOT = Path(__file__).parents[2]

ISAS = ("baseline", "avx2", "avx512", "neon")
#: Packages by the name that is imported. Some are peers in the benchmarks.
PACKAGES = (
    "asv",
    "asv_runner",
    "asv_tachyon",
    "cloudpickle",
    "cv2",
    "dask",
    "distributed",
    "expecttest",
    "jax",
    "joblib",
    "keras",
    "matplotlib",
    "ml_dtypes",
    "mypy",
    "numba",
    "numexpr",
    "numpydoc",
    "onnx",
    "onnxruntime",
    "openvino",
    "optax",
    "powerboxes",
    "psutil",
    "rapid_layout",
    "rapidocr_onnxruntime",
    "selenium",
    "setuptools",
    "skimage",
    "sklearn",
    "sphinx",
    "torch",
    "torchvision",
    "xarray",
    "yaml",
    "zarr",
)


def _without_isa(name):
    return "" if name in native.available_isas() else "no such kernels, of this CPU or compiler"


def _without_package(name):
    return "" if importlib.util.find_spec(name) else "not installed"


def _without_programs(*names):
    missing = [name for name in names if shutil.which(name) is None]
    return f"no {', no '.join(missing)}" if missing else ""


def _without_sources():
    return "" if (ROOT / "fastxent").is_dir() else "only in the source tree"


def _without_history():
    git = ROOT / ".git"
    return "" if git.exists() and not (git / "shallow").exists() else "no history of the repository"


def _without_memory():
    wanted = os.environ.get("FASTXENT_TEST_LARGE")
    return "" if wanted else "needs 13 GB of memory and FASTXENT_TEST_LARGE=1"


_REASONS = {
    **{name: partial(_without_isa, name) for name in ISAS},
    **{name: partial(_without_package, name) for name in PACKAGES},
    "browser": partial(_without_programs, "chromium", "chromedriver"),
    "qemu": partial(_without_programs, "aarch64-linux-gnu-gcc", "qemu-aarch64"),
    "valgrind": partial(_without_programs, "valgrind", "vgdb"),
    "sources": _without_sources,
    "history": _without_history,
    "large": _without_memory,
}
NAMES = tuple(_REASONS)


def absence(name):
    """Return why tests that need this are skipped, or an empty string where they run."""
    return _REASONS[name]()


def absences():
    """Return the reason of everything that is absent, by name."""
    return {name: reason for name in NAMES if (reason := absence(name))}


def errors(required):
    """Return what is wrong with a value of FASTXENT_REQUIRE on this machine."""
    names = [name.strip() for name in required.split(",") if name.strip()]
    absent = absences()
    return [
        f"{name!r} is not one of {', '.join(NAMES)}"
        if name not in NAMES
        else f"{name} is required, and absent: {absent[name]}"
        for name in names
        if name not in NAMES or name in absent
    ]
