"""The table of arguments that the modules for other libraries are made from."""

import inspect

import numpy as np
import pytest
from support import family

import fastxent as fx
from fastxent import _catalogue
from fastxent._catalogue import ARGUMENTS, EXTENTS, LOSSES, NUMPY_ONLY, SCORES

AXES = (-3, -2, -1, 0, 1, 2, None)
REDUCTIONS = ("anchor", "none", "sum", "mean")


def parameters_of(name):
    return inspect.signature(getattr(fx, name)).parameters.values()


@pytest.mark.parametrize("name", ARGUMENTS)
def test_every_parameter_has_one_place(name):
    facts = ARGUMENTS[name]
    positional = [x.name for x in parameters_of(name) if x.kind is x.POSITIONAL_OR_KEYWORD]
    keywords = [x.name for x in parameters_of(name) if x.kind is x.KEYWORD_ONLY]
    assert positional == [facts.differentiable, *facts.arrays]
    listed = [*facts.array_options, *facts.static]
    assert sorted(listed) == sorted({*keywords} - {*NUMPY_ONLY})


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arrays_are_what_annotations_call_arrays(name):
    facts = ARGUMENTS[name]
    arrays = {x.name for x in parameters_of(name) if "ArrayLike" in str(x.annotation)}
    assert arrays - {*NUMPY_ONLY} == {facts.differentiable, *facts.arrays, *facts.array_options}
    assert arrays - {*NUMPY_ONLY} <= EXTENTS.keys()


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", LOSSES)
def test_shapes_of_losses(name, axis, reduction):
    loss = LOSSES[name]
    if axis is None and not loss.sigmoid:
        axis = 1
    rng = np.random.default_rng(3)
    shape = (3, 4, 5)
    values = family.values_for(name, rng, shape, np.float32)
    targets = family.targets_for(name, rng, values, axis)
    result = getattr(fx, name)(values, *targets, axis=axis, reduction=reduction)
    assert np.shape(result) == _catalogue.loss_shape(loss, shape, axis, reduction)


def test_shapes_of_scores():
    values = np.full((3, 4), 0.25, np.float32)
    shapes = {"logits": values.shape, "anchors": (3,)}
    for name in SCORES:
        assert getattr(fx, name)(values).shape == shapes[ARGUMENTS[name].result]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_dtypes(name, dtype):
    dtype = family.HALVES[1] if dtype == "bfloat16" else np.dtype(dtype)
    values = np.full((3, 4), 0.25, dtype)
    targets = ()
    if name in LOSSES:
        targets = family.targets_for(name, np.random.default_rng(0), values)
    assert getattr(fx, name)(values, *targets).dtype == _catalogue.result_dtype(dtype.name)
