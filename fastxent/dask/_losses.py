"""The losses on arrays of dask: one task for each chunk, and a tree of totals."""

import inspect
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

import fastxent
from fastxent._arguments import result_dtype
from fastxent._catalogue import LOSSES
from fastxent._config import backend_name, check_backend
from fastxent.dask._collections import (
    Index,
    Labels,
    Lengths,
    Places,
    class_axis,
    cut_alike,
    described,
    in_one_chunk,
    is_labelled,
    lazy_array,
    meta_of,
    shape_of,
    unlabelled,
    without,
)
from fastxent.dask._tasks import (
    LossTask,
    add_rows,
    check_divisor,
    count_anchors,
    divisor_of,
    finish,
    pick,
    run_loss,
)

#: Arguments that may have one value per anchor or per logit.
_ARRAYS = ("targets", "labels", "scores", "weight", "grad_output")
#: What the reduction of the whole is made of, and a chunk knows nothing about.
_REDUCTION = ("reduction", "normalizer", "empty", "return_grad", "grad_output")
#: Rows of totals that a task adds; a power of two, so that the tree is the same as with two.
_FAN_IN = 16


def lazy_loss(name: str) -> Callable[..., Any]:
    """Return a loss of the package for arrays of dask."""
    public = getattr(fastxent, name)

    def loss(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        signature = inspect.signature(loss)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return _evaluate(name, bound.arguments)

    return described(loss, public, ("out", "grad_out"))


def _evaluate(name: str, arguments: dict[str, Any]) -> Any:  # noqa: ANN401
    """Build the graph of a call."""
    loss = LOSSES[name]
    given = arguments.pop(loss.values)
    labels = Labels(given) if is_labelled(given) else None
    values = lazy_array(given, loss.values, name)
    if labels:
        arguments["axis"] = labels.axis(arguments["axis"])
        for other in arguments.keys() & {*_ARRAYS}:
            arguments[other] = labels.aligned(arguments[other], other)
    call = _Call(name, values, {key: unlabelled(value) for key, value in arguments.items()})
    results = call.results()
    if labels:
        results = [labels.wrap(r, call.dropped(r), kept=r.ndim == values.ndim) for r in results]
    return tuple(results) if len(results) > 1 else results[0]


class _Call:
    """One call: its arrays, all cut like the logits, and its options."""

    def __init__(self, name: str, values: da.Array, arguments: dict[str, Any]) -> None:
        self.loss = LOSSES[name]
        self.axis = class_axis(arguments["axis"], values.ndim, self.loss.values)
        self.values = values if self.axis is None else in_one_chunk(values, [self.axis])
        self.all_axes = tuple(range(values.ndim))
        self.anchor_axes = without(self.all_axes, self.axis)
        self.anchors = without(values.shape, self.axis)
        self.reduction = arguments["reduction"]
        self.normalizer, self.empty = arguments["normalizer"], arguments["empty"]
        self.return_grad = arguments["return_grad"]
        arguments["backend"] = self._backend(arguments["backend"])
        arrays = self._find_arrays(arguments)
        self._try(arguments, arrays)
        options = {
            key: value
            for key, value in arguments.items()
            if key not in arrays and key not in _REDUCTION and key not in _ARRAYS
        }
        if "weight" not in arrays and arguments.get("weight") is not None:
            options["weight"] = float(arguments["weight"])
        options["axis"] = self.axis
        options["num_threads"] = arguments["num_threads"] or 1
        self.names = tuple("targets" if n == self.loss.targets else n for n in arrays)
        self.arrays = [self._cut(n, value) for n, value in arrays.items()]
        grad_output = arguments["grad_output"]
        is_number = grad_output is not None and "grad_output" not in arrays
        self.task = LossTask(
            name,
            self.names,
            options,
            self.axis,
            "sum" if self.reduction in {"sum", "mean"} else self.reduction,
            self.return_grad,
            float(grad_output) if is_number else None,
        )

    @staticmethod
    def _backend(name: Any) -> str:  # noqa: ANN401
        return backend_name() if name is None else check_backend(name, "backend")

    def dropped(self, result: da.Array) -> Sequence[int]:
        """Return the axes of the logits that a result has not."""
        if result.ndim == self.values.ndim:
            return ()
        return [] if self.axis is None else [self.axis] if self._is_array else self.all_axes

    @property
    def _is_array(self) -> bool:
        return self.reduction not in {"sum", "mean"}

    # --- arguments -------------------------------------------------------------------------------

    def _find_arrays(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments that have values of anchors or logits, with their shapes checked."""
        arrays = {}
        for name in (self.loss.targets, "scores", "weight", "grad_output"):
            value = arguments.get(name)
            if value is None or name not in arguments:
                continue
            shape, _ = shape_of(value, name)
            if name in {"weight", "grad_output"} and not shape and not isinstance(value, da.Array):
                continue  # a number
            self._check_shape(name, shape)
            arrays[name] = value
        return arrays

    def _check_shape(self, name: str, shape: tuple[int, ...]) -> None:
        """Refuse a shape that the function would refuse of the whole arrays, in its words."""
        anchors, whole = self.anchors, self.values.shape
        expected = f"{anchors}"
        if name == self.loss.targets:
            fits = shape == anchors
            if self.loss.target_format == "classes" and self.axis is not None:
                fits = fits or shape == whole
                expected += f" for class labels or {whole} for dense targets"
        elif name == "weight":
            fits, expected = self._fits_weight(shape)
        elif name == "grad_output" and self._is_array:
            per_logit = self.reduction == "none" and self.loss.sigmoid
            wanted = whole if per_logit else anchors
            fits, expected = shape == wanted, f"a number or {wanted}"
        elif name == "grad_output":
            fits = False
            expected = f"a number: reduction={self.reduction!r} returns one"
        else:
            fits = shape == anchors
        if not fits:
            raise ValueError(f"{name} has shape {shape}, expected {expected}")

    def _fits_weight(self, shape: tuple[int, ...]) -> tuple[bool, str]:
        whole = self.values.shape
        expected = f"a number or {self.anchors}"
        if self.loss.sigmoid:
            which = "a shape" if self.axis is None else f"a shape of {len(whole)} dimensions"
            expected += f", or {which} that broadcasts to {whole}"
        if shape == self.anchors:
            return True, expected
        may = self.axis is None or (self.loss.sigmoid and len(shape) == len(whole))
        pairs = zip(shape[::-1], whole[::-1], strict=False)
        broadcasts = len(shape) <= len(whole) and all(n in {1, m} for n, m in pairs)
        return may and broadcasts, expected

    def _cut(self, name: str, value: Any) -> da.Array:  # noqa: ANN401
        """Cut an array like the logits, which it has the shape of, or like their anchors."""
        shape = shape_of(value, name)[0]
        chunks = self.values.chunks
        if len(shape) == len(self.anchors) and self.axis is not None:
            return cut_alike(value, name, without(chunks, self.axis))
        if len(shape) < len(chunks):  # axis=None: a weight to broadcast
            value = value if isinstance(value, da.Array) else np.asarray(value)
            value = value.reshape((1,) * (len(chunks) - len(shape)) + shape)
        return cut_alike(value, name, chunks)

    def _try(self, arguments: dict[str, Any], arrays: dict[str, Any]) -> None:
        """Let the package check everything but the values, on arrays without anchors."""
        stand_ins = {n: self._without_anchors(*shape_of(v, n)) for n, v in arrays.items()}
        values = self._without_anchors(self.values.shape, self.values.dtype)
        options = {**arguments, **stand_ins, "axis": self.axis}
        if self.empty == "raise":
            options["empty"] = 0.0 if self.reduction == "mean" else "raise"
        getattr(fastxent, self.loss.name)(values, options.pop(self.loss.targets), **options)

    def _without_anchors(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:  # noqa: ANN401
        has_classes = self.axis is not None and len(shape) == len(self.values.shape)
        if not self.anchors:
            return np.empty((*shape, 0) if has_classes else (0,), dtype)
        kept = self.axis if has_classes else None
        return np.empty([n if i == kept else 0 for i, n in enumerate(shape)], dtype)

    # --- graph -----------------------------------------------------------------------------------

    def results(self) -> list[da.Array]:
        """Return the loss and, where wanted, its gradient and the expectation."""
        divisor = self._divisor()
        wants_expectation = bool(self.task.options.get("return_expectation"))
        whole = self.values.dtype.newbyteorder("=")
        dtypes = [result_dtype(whole)]
        axes = [self._loss_axes()]
        if self.return_grad:
            dtypes.append(whole)
            axes.append(self.all_axes)
        if wants_expectation:
            dtypes.append(result_dtype(whole))
            axes.append(self.anchor_axes)
        is_one = len(axes) == 1 and self._is_array
        parts = self._parts(divisor, axes[0] if is_one else None, dtypes[0])
        if is_one:
            return [parts]
        results = [
            self._picked(parts, number, *of)
            for number, of in enumerate(zip(axes, dtypes, strict=True))
            if number or self._is_array
        ]
        return results if self._is_array else [self._reduced(parts, divisor), *results]

    def _loss_axes(self) -> Index:
        return self.all_axes if self._has_classes() else self.anchor_axes

    def _has_classes(self) -> bool:
        return self.reduction == "none" and self.loss.sigmoid

    def _parts(self, divisor: da.Array | None, axes: Index | None, dtype: Any) -> da.Array:  # noqa: ANN401
        """Return one task for each chunk: its losses, or with `axes` None whatever it has."""
        divisor_pair = (divisor, ()) if isinstance(divisor, da.Array) else (divisor, None)
        ndim = len(self.anchor_axes if axes is None else axes)
        return da.blockwise(
            run_loss,
            self.anchor_axes if axes is None else axes,
            self.task,
            None,
            Places(without(self.values.chunks, self.axis)),
            self.anchor_axes,
            *divisor_pair,
            self.values,
            self.all_axes,
            *self._array_pairs(),
            concatenate=None,
            align_arrays=False,
            token=self.loss.name,
            meta=meta_of(ndim, object if axes is None else dtype),
        )

    def _array_pairs(self) -> list[Any]:
        pairs: list[Any] = []
        for array in self.arrays:
            is_whole = array.ndim == len(self.all_axes)
            pairs += [array, self.all_axes if is_whole else self.anchor_axes]
        return pairs

    def _picked(self, parts: da.Array, number: int, axes: Index, dtype: Any) -> da.Array:  # noqa: ANN401
        """Return one of several results of each chunk."""
        new = {axis: self.values.shape[axis] for axis in axes if axis not in self.anchor_axes}
        return da.blockwise(
            pick,
            axes,
            parts,
            self.anchor_axes,
            number,
            None,
            new_axes=new,
            token=f"{self.loss.name}-{('loss', 'grad', 'expectation')[number]}",
            meta=meta_of(len(axes), dtype),
        )

    def _divisor(self) -> Any:  # noqa: ANN401
        """Return what gradients and the sum are divided by: a number, a task, or None."""
        if self.reduction != "mean":
            return None
        normalizer = self.normalizer
        if not isinstance(normalizer, str) or normalizer == "count":
            number = math.prod(self.anchors) if isinstance(normalizer, str) else normalizer
            return check_divisor(float(number), normalizer, self.empty)
        counts = da.blockwise(
            count_anchors,
            self.anchor_axes,
            self.task,
            None,
            Places(without(self.values.chunks, self.axis)),
            self.anchor_axes,
            Lengths(without(self.values.chunks, self.axis)),
            self.anchor_axes,
            1 if self.axis is None else self.values.shape[self.axis],
            None,
            self.values.dtype.newbyteorder("="),
            None,
            *self._array_pairs(),
            concatenate=None,
            align_arrays=False,
            token=f"{self.loss.name}-counts",
            meta=meta_of(len(self.anchor_axes), object),
        )
        return _number(partial(divisor_of, normalizer, self.empty), counts)

    def _reduced(self, parts: da.Array, divisor: Any) -> da.Array:  # noqa: ANN401
        if isinstance(divisor, da.Array):
            return _number(partial(finish, self.empty), parts, divisor)
        return _number(partial(finish, self.empty, divisor), parts)


def _number(
    function: Callable[..., Any], rows: da.Array, divisor: da.Array | None = None
) -> da.Array:
    """Return what a function makes of the totals of all chunks: a float64, without dimensions.

    The rows of the chunks are added in their order, by a tree that their number determines.
    """
    others = [] if divisor is None else [divisor]
    name = f"totals-{tokenize(function, rows.name, *(other.name for other in others))}"
    nodes: list[Any] = [(rows.name, *index) for index in np.ndindex(rows.numblocks)]
    tasks: dict[Any, Any] = {}
    depth = 0
    while depth == 0 or len(nodes) > 1:
        keys = [(f"{name}-{depth}", number) for number in range(-(-len(nodes) // _FAN_IN))]
        for number, key in enumerate(keys):
            tasks[key] = (add_rows, nodes[number * _FAN_IN : (number + 1) * _FAN_IN])
        nodes, depth = keys, depth + 1
    tasks[name,] = (function, *((other.name,) for other in others), nodes[0])
    graph = HighLevelGraph.from_collections(name, tasks, dependencies=[rows, *others])
    return da.Array(graph, name, (), meta=meta_of(0, np.float64))
