"""What XLA calls: the handlers of the extension, and arrays as they need them.

A handler is a C function that XLA calls with the memory of the arrays, from a thread of its own and
without Python's lock: nothing can wait for anything of Python's (docs/internals/jax.md).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from fastxent import native
from fastxent._catalogue import result_dtype

Shape = tuple[int, ...]

#: Devices of which programs may find their way here; of others XLA says itself that it knows no
#: such function.
_OTHER_DEVICES = ("CUDA", "ROCM")


def register() -> None:
    """Make the handlers known to XLA."""
    handlers = native.xla_handlers()
    refuse = handlers.pop("fastxent_refuse")
    for name, handler in handlers.items():
        jax.ffi.register_ffi_target(name, handler, platform="cpu")
        for platform in _OTHER_DEVICES:
            jax.ffi.register_ffi_target(name, refuse, platform=platform)


def call(
    target: str,
    arrays: Sequence[jax.Array],
    results: Iterable[tuple[Shape, Any]],
    attributes: Mapping[str, Any],
) -> list[jax.Array]:
    """Call a handler, whose results have these shapes and dtypes, with arrays that vary alike.

    With vmap, an array gets one more dimension in front: of length 1 where it has no batch, which
    the handler broadcasts without a copy.
    """
    structs = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in results]
    function = jax.ffi.ffi_call(target, structs, vmap_method="expand_dims")
    # Some versions of JAX take the results for the same on all devices.
    axes = _varying_axes(arrays[0])
    return [
        _vary(result, tuple(axes - _varying_axes(result)))
        for result in function(*arrays, **attributes)
    ]


def score_dtype(array: jax.Array) -> np.dtype[Any]:
    """Return the dtype of what is computed from logits."""
    return np.dtype(result_dtype(array.dtype.name))


def _varying_axes(array: jax.Array) -> frozenset[str]:
    """Return the axes of a mesh along which shard_map has different values of an array."""
    if not hasattr(jax, "typeof"):  # before JAX 0.6, which keeps no account of them
        return frozenset()
    aval = jax.typeof(array)
    axes: frozenset[str]
    if hasattr(aval, "manual_axis_type"):
        axes = aval.manual_axis_type.varying
    else:  # before JAX 0.10
        axes = getattr(aval, "vma", frozenset())
    return axes


def vary_alike(arrays: Sequence[jax.Array]) -> list[jax.Array]:
    """Mark arrays as different along all axes of a mesh along which any of them is.

    Derivatives by what was the same are summed up along these axes then.
    """
    every = frozenset[str]().union(*map(_varying_axes, arrays))
    if not every:
        return list(arrays)
    return [_vary(array, tuple(every - _varying_axes(array))) for array in arrays]


def _vary(array: jax.Array, axes: tuple[str, ...]) -> jax.Array:
    if not axes:
        return array
    if hasattr(jax.lax, "pcast"):
        return jax.lax.pcast(array, axes, to="varying")
    before: Any = jax.lax  # JAX 0.9 has it no more
    varied: jax.Array = before.pvary(array, axes)
    return varied


def refuse_other_devices(name: str, array: object) -> None:
    """Refuse an array on a device that is no CPU, where that is known already."""
    if not isinstance(array, jax.Array) or isinstance(array, jax.core.Tracer):
        return
    for device in array.devices():
        if device.platform != "cpu":
            raise NotImplementedError(
                f"{name} is on {device}, and fastxent.jax computes on CPUs: move it there with "
                f'jax.device_put({name}, jax.devices("cpu")[0])'
            )
