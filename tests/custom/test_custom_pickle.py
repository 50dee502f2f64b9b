"""Custom losses in other processes: by name where that is enough, by their functions elsewhere."""

import copy
import doctest
import functools
import importlib
import inspect
import math as python_math
import pickle
import pydoc
import subprocess
import sys

import numpy as np
import pytest

import fastxent as fx
from fastxent import math

pytest.importorskip("numba")
cloudpickle = pytest.importorskip("cloudpickle")

LOGITS = np.random.default_rng(0).normal(0, 3, (7, 20)).astype(np.float32)
LABELS = np.array([0, 19, 20, 3, -100, 7, 7])


def bits(loss, **parameters):
    """Return everything that a loss computes."""
    values, grads = loss(LOGITS, LABELS, return_grad=True, **parameters)
    return values.tobytes(), grads.tobytes()


@fx.custom_loss
def hinge(logit, target, margin=1.0):
    """Squared hinge.

    >>> print(hinge([2.0], [1], axis=None, margin=4))
    [4.]
    """
    return math.maximum(margin - math.where(target == 1, logit, -logit), 0) ** 2


@fx.custom_loss(derivative=lambda logit, target: target + 0 * logit)
def with_derivative(logit, target):
    return target * logit


def plain(logit, target):
    return math.softplus(logit) - target * logit


renamed = fx.custom_loss(plain)


class Model:
    @fx.custom_loss
    def loss(logit, target):  # noqa: N805 - a loss takes no `self`
        return (logit - target) ** 2

    def method(self, logit, target):
        return (logit + target) ** 2


class Callable:
    """A loss that is an object, with a number of its own."""

    def __init__(self, scale):
        self.scale = scale

    def __call__(self, logit, target):
        return self.scale * math.log1p(logit**2) + target


def local_losses():
    scale = 1.25

    def scaled(logit, target):
        return scale * hinge.__wrapped__(logit, target, 2.0)

    return {
        "local": fx.custom_loss(scaled),
        "lambda": fx.custom_loss(lambda logit, target, power=3.0: abs(logit - target) ** power),
        "derivative": fx.custom_loss(scaled, derivative=lambda logit, target: scale * logit),
    }


IMPORTABLE = {
    "decorated": hinge,
    "with a derivative": with_derivative,
    "in a class": Model.loss,
}
#: That are found by the names of their functions.
REMADE = {
    "renamed": renamed,
    "method": fx.custom_loss(Model().method),
    "partial": fx.custom_loss(functools.partial(plain)),
    "object": fx.custom_loss(Callable(0.75)),
}
protocols = pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))


def named(losses):
    return pytest.mark.parametrize("loss", losses.values(), ids=losses)


# --- one process ----------------------------------------------------------------------------------


@protocols
@named(IMPORTABLE)
def test_by_name(loss, protocol):
    content = pickle.dumps([loss, loss], protocol)
    assert len(content) < 200
    assert pickle.loads(content) == [loss, loss]
    assert cloudpickle.loads(cloudpickle.dumps(loss, max(protocol, 4))) is loss


@protocols
@named(REMADE)
def test_by_the_name_of_the_function(loss, protocol):
    for _ in range(2):  # before it was called, and after
        other = pickle.loads(pickle.dumps(loss, protocol))
        assert other is not loss
        assert inspect.signature(other) == inspect.signature(loss)
        assert bits(other) == bits(loss)


@pytest.mark.exhaustive
@named(local_losses())
def test_by_value(loss):
    for _ in range(2):
        other = cloudpickle.loads(cloudpickle.dumps(loss))
        assert (other.__name__, other.__doc__) == (loss.__name__, loss.__doc__)
        assert inspect.signature(other) == inspect.signature(loss)
        assert bits(other) == bits(loss)
    with pytest.raises((pickle.PicklingError, AttributeError), match=r"local_losses\.<locals>"):
        pickle.dumps(loss)


def test_a_module_by_value(monkeypatch, tmp_path):
    """Modules that the other side does not have are cloudpickle's to send, by request."""
    text = "import fastxent as fx\n@fx.custom_loss\ndef own(logit, target): return logit * target\n"
    (tmp_path / "module_of_losses.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("module_of_losses")
    monkeypatch.delitem(sys.modules, "module_of_losses")
    monkeypatch.setitem(sys.modules, "module_of_losses", module)
    assert cloudpickle.loads(cloudpickle.dumps(module.own)) is module.own
    cloudpickle.register_pickle_by_value(module)
    content = cloudpickle.dumps(module.own)
    cloudpickle.unregister_pickle_by_value(module)
    monkeypatch.delitem(sys.modules, "module_of_losses")
    monkeypatch.setattr(sys, "path", [])
    other = cloudpickle.loads(content)
    assert other([3.0], [1], axis=None)[0] == 3


@pytest.mark.exhaustive
def test_numbers_that_were_fixed_stay_fixed():
    """The first call fixes what a function takes from elsewhere, for its copies too."""
    scale = 2.0

    def scaled(logit, target):
        return scale * logit

    loss = fx.custom_loss(scaled)
    before = bits(loss)
    scale = 3.0
    assert bits(cloudpickle.loads(cloudpickle.dumps(loss))) == before
    new = cloudpickle.loads(cloudpickle.dumps(fx.custom_loss(scaled)))
    assert new([1.0], [0], axis=None)[0] == 3


def test_a_name_that_is_another_loss_now():
    """As after a second run of a notebook's cell."""
    module = sys.modules[__name__]
    old = module.hinge
    try:
        module.hinge = fx.custom_loss(old.__wrapped__)
        assert bits(cloudpickle.loads(cloudpickle.dumps(module.hinge))) == bits(old)
        with pytest.raises(pickle.PicklingError, match="not the same object"):
            pickle.dumps(old)
    finally:
        module.hinge = old


# --- a loss is like a function --------------------------------------------------------------------


@named(IMPORTABLE | REMADE | local_losses())
def test_copies_are_the_loss_itself(loss):
    assert copy.copy(loss) is loss
    assert copy.deepcopy({"loss": [loss]})["loss"][0] is loss


def test_what_python_says_about_it():
    assert repr(hinge) == "<custom loss hinge(logits, targets, *, margin=1.0, ...)>"
    assert (hinge.__module__, hinge.__qualname__) == (__name__, "hinge")
    text = pydoc.render_doc(hinge, renderer=pydoc.plaintext)
    assert "hinge(logits, targets, *, margin=1.0, ...)" in text
    assert "Squared hinge." in text
    assert "margin : float, default 1.0" in text
    assert inspect.getsource(hinge).startswith("@fx.custom_loss\ndef hinge(")
    assert inspect.unwrap(hinge) is hinge.__wrapped__
    assert callable(hinge)


def test_doctest_finds_it():
    (test,) = (
        test
        for test in doctest.DocTestFinder().find(sys.modules[__name__])
        if test.name == f"{__name__}.hinge"
    )
    assert doctest.DocTestRunner().run(test) == (0, 1)


def test_wrappers_of_a_loss():
    @functools.wraps(hinge)
    def logged(*arguments, **options):
        return hinge(*arguments, **options)

    assert logged.__name__ == "hinge"
    assert logged.__doc__ == hinge.__doc__
    assert inspect.signature(logged) == inspect.signature(hinge)


def test_losses_in_classes_and_without_names():
    """They take no `self`; an object that can be called goes by the name of its class."""
    expected = [python_math.fsum((z - y) ** 2 for z, y in [(0.5, 1), (2.0, 0)])]
    assert Model().loss([[0.5, 2.0]], [0]) == expected
    loss = REMADE["object"]
    assert (loss.__name__, loss.__qualname__) == ("Callable", "Callable")
    with pytest.raises(TypeError, match=r"Callable\(\) got an unexpected keyword argument 'gamma'"):
        loss(LOGITS, LABELS, gamma=1)


# --- other processes ------------------------------------------------------------------------------

PROGRAM = """
import concurrent.futures, multiprocessing, sys
import numpy as np
import fastxent as fx
from fastxent import math

SCALE = 1.5
LOGITS = np.random.default_rng(0).normal(0, 3, (40, 20)).astype(np.float32)
LABELS = np.arange(40) % 21

@fx.custom_loss
def focal(logit, target, gamma=2.0):
    p = math.sigmoid(math.where(target == 1, logit, -logit))
    return -SCALE * (1 - p) ** gamma * math.log(p)

def twice(logit, target):
    return 2 * focal.__wrapped__(logit, target, 1.5)

class Model:
    @fx.custom_loss(derivative=lambda logit, target: logit)
    def loss(logit, target):
        return logit * target

def made(scale):
    return fx.custom_loss(lambda logit, target, shift=0.5: scale * abs(logit - target - shift))

LOSSES = [focal, fx.custom_loss(twice), Model.loss, made(3.0)]

def run(loss):
    values, grads = loss(LOGITS, LABELS, return_grad=True, num_threads=1)
    return values.tobytes(), grads.tobytes(), loss.__doc__

def main(kind):
    if kind == "joblib":
        from joblib import Parallel, delayed
        results = Parallel(n_jobs=2, backend="loky")(delayed(run)(loss) for loss in LOSSES)
    elif kind == "dask":
        import dask
        tasks = [dask.delayed(run)(loss) for loss in LOSSES]
        results = dask.compute(*tasks, scheduler="processes", num_workers=2)
    else:  # by name: those that have one
        del LOSSES[1:2], LOSSES[-1]
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
            results = list(pool.map(run, LOSSES))
    assert len(results) == len(LOSSES)
    for loss, result in zip(LOSSES, results):
        assert result == run(loss), loss
    p = 1 / (1 + np.exp(-np.where(np.arange(20) == LABELS[:, None], LOGITS, -LOGITS.astype(float))))
    exact = (-1.5 * (1 - p) ** 2 * np.log(p)).sum(-1)
    np.testing.assert_allclose(np.frombuffer(results[0][0], np.float32), exact, 1e-5)
    print(len(results), "losses")

if __name__ == "__main__":
    main(sys.argv[1])
"""


@pytest.mark.exhaustive
@pytest.mark.parametrize(("kind", "count"), [("joblib", 4), ("dask", 4), ("spawn", 2)])
def test_losses_of_the_main_module(kind, count, tmp_path):
    if kind != "spawn":
        pytest.importorskip(kind)
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    run = subprocess.run(
        [sys.executable, str(file), kind],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert run.stdout == f"{count} losses\n", run.stderr
