"""Compiled kernels on disk: one file for each, which is loaded only where it is intact.

Numba keeps an index and data for every function, and unpickles whatever lies there: damaged files
raise any exception, or become damaged machine code. Here a digest comes first. It covers the name
of the file and all that a kernel was compiled for, so a file from elsewhere does not pass.
"""

import contextlib
import hashlib
import pickle
import uuid
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache, NullCache
from numba.core.serialize import dumps

DIGEST_BYTES = hashlib.sha256().digest_size


class KernelFile:
    """One kernel on disk, as Numba's caches see it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, key: Any) -> Any:
        """Return what was saved for a key, or None where the file is missing or damaged."""
        try:
            content = self.path.read_bytes()
        except OSError:
            return None
        digest, payload = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
        # Damage is found here; this is no protection against who can write to the folder.
        return pickle.loads(payload) if digest == self._digest(key, payload) else None  # noqa: S301

    def save(self, key: Any, data: Any) -> None:
        """Write or replace the file, at once: other processes see all of it or nothing."""
        payload = dumps(data)
        unfinished = self.path.with_name(f"{self.path.name}.tmp.{uuid.uuid4().hex[:16]}")
        try:
            unfinished.write_bytes(self._digest(key, payload) + payload)
            if self.path.is_dir():
                self.path.rmdir()  # which an empty folder allows
            unfinished.replace(self.path)
        finally:
            unfinished.unlink(missing_ok=True)

    def _digest(self, key: Any, payload: bytes) -> bytes:
        owner = repr((self.path.name, numba.__version__, key)).encode()
        return hashlib.sha256(owner + payload).digest()


class KernelCache(FunctionCache):
    """Where Numba looks for one function, in a folder of its choice."""

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        self._cache_file = KernelFile(Path(self.cache_path, f"{self._impl.filename_base}.kernel"))

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled function, if the disk lets us."""
        with contextlib.suppress(OSError):
            super().save_overload(sig, data)


def cache_of(function: Any) -> KernelCache | NullCache:
    """Return the cache of a function, which keeps nothing where there is no folder to write to."""
    try:
        return KernelCache(function)
    except (RuntimeError, OSError):
        return NullCache()
