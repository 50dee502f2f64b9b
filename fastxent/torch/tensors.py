"""Tensors as NumPy arrays of the same memory, and back."""

import numpy as np
import torch
from torch import Tensor

from fastxent._contract import Array, ArrayOrScalar

try:
    from ml_dtypes import bfloat16
except ImportError:
    bfloat16 = None


def as_array(tensor: Tensor) -> Array:
    """Return the memory of a tensor on the CPU as an array, whatever its strides are."""
    if tensor.dtype is torch.bfloat16:
        if bfloat16 is None:
            raise ImportError(
                "NumPy has elements of bfloat16 only with the package ml_dtypes, which is not "
                'installed: pip install "fastxent[torch]"'
            )
        return as_array(tensor.detach().view(torch.int16)).view(bfloat16)
    array: Array = tensor.numpy(force=True)  # of a detached one, and of negative views a copy
    return array


def as_tensor(result: ArrayOrScalar, dtype: torch.dtype) -> Tensor:
    """Return a result as a tensor: an array's own memory, or a number rounded to `dtype`."""
    if not isinstance(result, np.ndarray):
        with np.errstate(over="ignore", under="ignore"):
            result = np.array(result, np.float64 if dtype is torch.float64 else np.float32)
    elif dtype is torch.bfloat16:
        return torch.from_numpy(result.view(np.int16)).view(dtype)
    return torch.from_numpy(result)


def result_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of a loss or score, which `fastxent._catalogue.result_dtype` names."""
    return _RESULT_DTYPES.get(dtype, torch.float64)


_RESULT_DTYPES = dict.fromkeys((torch.float16, torch.bfloat16, torch.float32), torch.float32)
