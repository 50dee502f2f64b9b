"""The dtypes that options name."""

from importlib import import_module
from typing import Any

import numpy as np

from fastxent.cli.errors import CommandError


def find_dtype(name: str) -> np.dtype[Any]:
    """Return a dtype by its name; NumPy has no bfloat16 of its own."""
    if name == "bfloat16":
        try:
            name = import_module("ml_dtypes").bfloat16
        except ModuleNotFoundError:
            raise CommandError("--dtype bfloat16 needs ml_dtypes: pip install ml_dtypes") from None
    return np.dtype(name)
