"""What the tests of fastxent.dask share."""

import dask
import dask.array as da
import numpy as np

from support.family import targets_for, values_for

#: Anchors, and classes, of which no chunk size is a divisor.
SHAPE = (4, 7, 5)


def inputs(name, seed=0, shape=SHAPE, axis=-1, dtype=np.float32, *, dense=False):
    """Return logits or probabilities of a loss, and the arrays that follow them."""
    rng = np.random.default_rng(seed)
    values = values_for(name, rng, shape, dtype, spread=5)
    return values, targets_for(name, rng, values, axis, dense=dense)


def chunked(array, chunks=3):
    return da.from_array(array, chunks=chunks)


def computed(lazy):
    """Return the results as one tuple of arrays."""
    lazy = lazy if isinstance(lazy, tuple) else (lazy,)
    return dask.compute(*lazy, scheduler="synchronous")


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


def untouchable(shape, dtype=np.float32, chunks=3):
    """Return an array of dask that fails when it is computed."""

    def fail(_):
        raise AssertionError("this array was computed")

    template = da.zeros(shape, dtype=dtype, chunks=chunks)
    return template.map_blocks(fail, dtype=dtype, meta=np.empty((0,) * len(shape), dtype))


def ulps_apart(first, second):
    return abs(float(first) - float(second)) / np.spacing(abs(float(second)))
