"""Until the first result: import and first call, each in a fresh process."""

import json
import os
import subprocess
import sys
import tempfile

from ._measure import has_backend
from ._package import BACKENDS

#: How many processes; the fastest counts, for what else happens can only slow one down.
PROCESSES = 3
FIRST_CALL = """
import json, time
import numpy as np
import fastxent as fx

logits, labels = np.zeros((100, 80), np.float32), np.zeros(100, np.int64)
start = time.perf_counter()
fx.sigmoid_cross_entropy(logits, labels, backend={backend!r})
print(json.dumps(time.perf_counter() - start))
"""


def timeraw_import() -> str:
    """Import the package, NumPy included."""
    return "import fastxent"


def timeraw_import_after_numpy() -> tuple[str, str]:
    """Import the package where NumPy is imported already."""
    return "import fastxent", "import numpy"


timeraw_import.version = timeraw_import_after_numpy.version = "1"
# Each process can import only once.
timeraw_import.number = timeraw_import_after_numpy.number = 1
timeraw_import.repeat = timeraw_import_after_numpy.repeat = 10


class FirstCall:
    """Seconds of a backend's first call: loading it, and compiling where it does that then."""

    params = tuple(
        f"{backend}{cache}"
        for backend in BACKENDS
        for cache in ("", ", compiled before")[: 1 + (backend == "numba")]
    )
    param_names = ("backend",)
    version = "1"
    timeout = 600

    def setup(self, case: str) -> None:
        if not has_backend(case.partition(",")[0]):
            raise NotImplementedError("this commit or environment does not have it")

    def track_seconds(self, case: str) -> float:
        backend, _, is_cached = case.partition(",")
        with tempfile.TemporaryDirectory() as cache:
            if is_cached:
                _first_call(backend, cache)
            if backend == "numba" and not is_cached:
                return _first_call(backend, cache)
            return min(_first_call(backend, cache) for _ in range(PROCESSES))

    track_seconds.unit = "s"


def _first_call(backend: str, cache: str) -> float:
    program = FIRST_CALL.format(backend=backend)
    environment = os.environ | {"NUMBA_CACHE_DIR": cache}
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(f"{json.loads(run.stdout):.4g}")
