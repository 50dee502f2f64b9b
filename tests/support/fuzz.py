"""Random calls of everything, with arrays and objects of any kind, against the backend "numpy".

Run as a program, ``python -m support.fuzz SECONDS [SEED]``: it prints how many calls there were, or
the smallest one that fails. What ends the process leaves its last call in FASTXENT_FUZZ_LOG.
"""

import faulthandler
import inspect
import itertools
import os
import sys
import time
from collections import Counter

import hypothesis
import numpy as np
from hypothesis import strategies as st

from fastxent import native
from support import family
from support.fuzz_arrays import FLOATS, REALS, WEIGHTS, arrays, broken_objects, results

ELEMENT_SCORES = ("sigmoid", "log_sigmoid", "softplus", "logit", "odds")
CLASS_SCORES = ("softmax", "log_softmax", "logsumexp")
HEADS = ("sigmoid_to_softmax_logits", "softmax_to_sigmoid_logit")
DETECTION = ("select_candidates", "hard_negatives", "ohem", "class_cost", "recommend_loss")
FUNCTIONS = (*family.LOSSES, *ELEMENT_SCORES, *CLASS_SCORES, *HEADS, *DETECTION)
WITHOUT_BACKEND = (*HEADS, "recommend_loss")

#: Relative errors that are no fault, of results that are rounded to a dtype, and of others.
PRECISIONS = {"float16": 2e-3, "bfloat16": 1.6e-2, "float32": 3e-5, "float64": 1e-11}

small = st.integers(0, 20)
numbers = st.sampled_from([0, 0.0, 0.1, 0.25, 0.5, 1, 1.0, 2.0, 3.7, 1e-3])
odd = st.sampled_from([-1, 1.5, np.nan, np.inf, -np.inf, 2**63, 2**80, "x", None, True, (), 1 + 2j])
lengths = st.sampled_from([*range(6), 7, 8, 9, 15, 16, 17, 31, 33, 48, 80, 81, 130])
threads = st.sampled_from([None, 1, 2, 3])


def rarely(strategy, usual):
    """Return a strategy that takes another one once in a while."""
    return st.integers(0, 24).flatmap(lambda number: strategy if number == 13 else usual)


@st.composite
def loss_options(draw, keywords, shape, anchors, classes):
    """Return some of what a loss takes besides."""
    options = {}
    for key, values_of in OPTIONS.items():
        if key in keywords and draw(st.integers(0, 5)) == 0:
            options[key] = draw(rarely(odd, values_of))
    if {"normalizer", "empty"} & options.keys():
        options["reduction"] = draw(rarely(odd, st.just("mean")))
    for key, own in (("weight", anchors), ("class_weight", [classes]), ("pos_weight", [classes])):
        if key in keywords and draw(st.integers(0, 5)) == 0:
            fitting = draw(rarely(st.just(shape), st.just(own)))
            options[key] = draw(arrays(fitting, REALS, WEIGHTS))
    return options


@st.composite
def loss_results(draw, options, shape, anchors, dtype):
    """Return arrays for results, and a factor of the gradient."""
    chosen, own = {}, np.float64 if dtype == np.float64 else np.float32
    result = shape if options.get("reduction") == "none" else anchors
    if draw(st.integers(0, 3)) == 0:
        factors = draw(st.sampled_from([result, []]))
        chosen["grad_output"] = draw(arrays(factors, REALS, WEIGHTS))
        chosen["return_grad"] = draw(rarely(odd, st.just(True)))
    if draw(st.integers(0, 3)) == 0 and options.get("reduction") in {None, "none", "anchor"}:
        chosen["out"] = draw(results(result, own))
    if chosen.get("return_grad") is True and draw(st.booleans()):
        chosen["grad_out"] = draw(results(shape, dtype))
    return chosen


def dtype_of(values):
    return np.asarray(getattr(values, "array", values)).dtype


@st.composite
def loss_calls(draw, name):
    """Return arguments of a loss: valid ones as a rule."""
    keywords = set(inspect.signature(family.public(name)).parameters)
    shape = [*draw(st.lists(small, max_size=2)), draw(lengths)]
    axes = [-1, 0, len(shape) - 1, -len(shape), *[None] * (name in family.PER_CLASS)]
    axis = draw(rarely(odd | st.integers(-4, 4), st.sampled_from(axes)))
    last = len(shape) - 1 if axis is None or not isinstance(axis, int) else axis % len(shape)
    classes = shape[last]
    anchors = shape if axis is None else [*shape[:last], *shape[last + 1 :]]
    is_probability = name in family.PROBABILITY_LOSSES
    values = draw(arrays(shape, FLOATS, "probabilities" if is_probability else "logits"))
    options = {"num_threads": draw(threads)}
    if axis != -1:
        options["axis"] = axis
    highest = max(classes - 1 + (name in family.PER_CLASS), 0)
    if name == "distribution_focal_loss":
        targets = [draw(arrays(anchors, FLOATS, ("range", 0, max(classes - 1, 0))))]
    elif name in family.WITH_DENSE and (axis is None or draw(st.booleans())):
        targets = [draw(arrays(shape, REALS, "targets"))]
    else:
        targets = [draw(arrays(anchors, "integers", ("range", 0, highest)))]
    if name == "quality_focal_loss":
        targets.append(draw(arrays(anchors, REALS, "probabilities")))
    options |= draw(loss_options(keywords, shape, anchors, classes))
    options |= draw(loss_results(options, shape, anchors, dtype_of(values)))
    return [values, *targets], options


OPTIONS = {
    "reduction": st.sampled_from(["anchor", "none", "sum", "mean"]),
    "normalizer": st.sampled_from(["valid", "count", "positive", "weight", 3.0]),
    "empty": st.sampled_from(["raise", 0.0, np.nan]),
    "ignore_index": st.sampled_from([-100, 0, 3, (1, 2), None, (), -1]),
    "background_index": st.sampled_from([None, 0, 1, -1, 5]),
    "return_grad": st.booleans(),
    "label_smoothing": numbers,
    "eps": st.sampled_from([1e-7, 1e-3, 0.0, 0.4]),
    "gamma": numbers,
    "beta": numbers,
    "alpha": numbers,
    "gamma_pos": numbers,
    "gamma_neg": numbers,
    "clip": numbers,
    "epsilon": numbers,
    "iou_weighted": st.booleans(),
    "return_expectation": st.booleans(),
}


@st.composite
def score_calls(draw, name):
    """Return arguments of a score."""
    shape = [*draw(st.lists(small, max_size=2)), 2 if name == HEADS[1] else draw(lengths)]
    kind = "probabilities" if name in {"logit", "odds"} else "logits"
    values = draw(arrays(shape, REALS if draw(st.booleans()) else FLOATS, kind))
    options, result = {}, list(shape)
    if name in HEADS:
        result = [*shape, 2] if name == HEADS[0] else shape[:-1]
    else:
        options["num_threads"] = draw(threads)
    if name in CLASS_SCORES:
        axes = [-1, 0, None, (0,), tuple(range(len(shape)))]
        options["axis"] = axis = draw(rarely(odd, st.sampled_from(axes)))
        if name == "logsumexp" and axis in {0, -1}:
            del result[axis]
    if draw(st.integers(0, 2)) == 0:
        options["out"] = draw(results(result, draw(st.sampled_from([np.float32, np.float64]))))
    return [values], options


@st.composite
def detection_calls(draw, name):
    """Return arguments of mining, matching or selection."""
    shape = [draw(small), draw(lengths)]
    options = {} if name == "recommend_loss" else {"num_threads": draw(threads)}
    if name == "recommend_loss":
        kind = draw(st.sampled_from([REALS, "integers"]))
        return [draw(arrays(shape, kind, draw(st.sampled_from(["targets", ("range", 0, 9)]))))], {}
    if name == "ohem":
        return [draw(arrays(shape, FLOATS, "logits")), draw(rarely(odd, small))], options
    if name == "hard_negatives":
        options |= {"ratio": draw(rarely(odd, numbers)), "min_negatives": draw(small)}
        labels = draw(arrays(shape, "integers", ("range", 0, 2)))
        if np.asarray(labels).dtype != bool or draw(st.booleans()):
            options["background_index"] = draw(rarely(odd, st.sampled_from([0, 1, -1])))
        return [draw(arrays(shape, FLOATS, "logits")), labels], options
    shape.append(draw(lengths))
    if name == "class_cost":
        kind = draw(st.sampled_from(["focal", "sigmoid", "softmax", "simota"]))
        options["kind"] = kind
        if kind == "simota":
            options["objectness"] = draw(arrays(shape[:2], FLOATS, "logits"))
        labels = [shape[0], draw(small)]
        labels = draw(arrays(labels, "integers", ("range", 0, max(shape[2] - 1, 0))))
        return [draw(arrays(shape, FLOATS, "logits")), labels], options
    activation = draw(st.sampled_from(["sigmoid", "softmax", None]))
    kind = "logits" if activation else "probabilities"
    if draw(st.booleans()):
        options["objectness"] = draw(arrays(shape[:2], FLOATS, kind))
    options |= {
        "activation": activation,
        "top_k": draw(rarely(odd, st.sampled_from([None, 1, 3, 1000]))),
        "top_k_per": draw(st.sampled_from(["image", "level", "class"])),
        "score_threshold": draw(st.sampled_from([None, 0.0, 0.05, 0.9])),
        "multi_label": draw(st.booleans()),
        "background_index": draw(st.sampled_from([None, 0, -1])),
    }
    return [draw(arrays(shape, FLOATS, kind))], options


@st.composite
def calls(draw):
    """Return a function's name, its arguments, and the instruction set."""
    name = draw(st.sampled_from(FUNCTIONS))
    kinds = loss_calls if name in family.LOSSES else score_calls
    positional, options = draw((detection_calls if name in DETECTION else kinds)(name))
    if draw(st.integers(0, 24)) == 13:
        place = draw(st.integers(0, len(positional) - 1))
        positional[place] = draw(broken_objects())
    return name, positional, options, draw(st.sampled_from(native.available_isas()))


# --- what a call has to do -----------------------------------------------------------------------


def outcome(name, positional, options, backend):
    """Return results, or an error: the arrays of `out` and `grad_out` are new ones."""
    fresh = {key: options[key].renewed() for key in ("out", "grad_out") if key in options}
    given = {key: memory.array for key, memory in fresh.items()}
    chosen = {} if name in WITHOUT_BACKEND else {"backend": backend}
    try:
        result = family.public(name)(*positional, **{**options, **given, **chosen})
    except (TypeError, ValueError, MemoryError) as error:
        result = error
    for memory in fresh.values():
        assert memory.is_intact(), "memory around a result has changed"
    return result


def assert_alike(name, options, found, expected):
    """Compare two outcomes."""
    assert isinstance(found, Exception) == isinstance(expected, Exception), (found, expected)
    if isinstance(found, Exception):  # of several errors each finds another one first
        return
    if name == "select_candidates":
        assert_selections_alike(found, expected, options)
    elif name != "recommend_loss":
        pairs = [found, expected]
        pairs = [x if isinstance(x, tuple | list) else (x,) for x in pairs]
        pairs = [[np.asarray(x) for x in results] for results in pairs]
        if has_infinite_factors(options):  # a loss that is rounded to 0 has no infinite product
            pairs = [[np.where(np.isinf(x), np.nan, x) for x in results] for results in pairs]
        for number, (one, other) in enumerate(zip(*pairs, strict=True)):
            # A gradient, the softmax less the targets, may cancel.
            least = 0.3 if number > 0 else 0
            assert_close(one, other, least)


def has_infinite_factors(options):
    """Return whether a weight or a factor of the gradient is infinite or NaN."""
    factors = (options.get(key, 1.0) for key in ("weight", "grad_output"))
    factors = (np.asarray(getattr(x, "array", x)).astype(np.float64) for x in factors)
    return not all(np.isfinite(x).all() for x in factors)


def assert_close(found, expected, least):
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    if found.dtype == bool:
        np.testing.assert_array_equal(found, expected)
        return
    rtol = 3e-5 if found.ndim == 0 else PRECISIONS[found.dtype.name]
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    size = np.abs(expected[np.isfinite(expected)]).max(initial=0)
    size = min(max(size, least), 1)
    np.testing.assert_allclose(found, expected, rtol, rtol * size + 1e-37)


def assert_selections_alike(found, expected, options):
    np.testing.assert_array_equal(found.nan, expected.nan)
    fields = ("image", "anchor", "label", "score")
    if options["activation"] is None and "objectness" not in options:
        for field in (*fields, "found"):
            np.testing.assert_array_equal(getattr(found, field), getattr(expected, field))
    assert len({len(getattr(found, field)) for field in fields}) == 1
    if len(found.score):
        least = options["score_threshold"] or 0
        assert (found.score > least).all() or options["score_threshold"] is None, found.score.min()
        assert -0.05 <= found.score.min() <= found.score.max() <= 1.05, found.score


def copies(positional, options):
    values = (*positional, *options.values())
    return [x.tobytes() for x in values if isinstance(x, np.ndarray)]


def check(call, log, counts):
    name, positional, options, isa = call
    shown = {key: repr(value)[:200] for key, value in options.items()}
    os.pwrite(log, f"{name} {isa} {positional!r} {shown}".ljust(4000).encode()[:4000], 0)
    native.set_isa(isa)
    before = copies(positional, options)
    found = outcome(name, positional, options, "native")
    counts["errors" if isinstance(found, Exception) else "results"] += 1
    assert copies(positional, options) == before, "an argument has changed"
    assert_alike(name, options, found, outcome(name, positional, options, "numpy"))


def main(seconds, seed="0"):
    """Fuzz for so long."""
    faulthandler.enable()
    log = os.open(os.environ.get("FASTXENT_FUZZ_LOG", os.devnull), os.O_WRONLY | os.O_CREAT)
    end, counts = time.monotonic() + float(seconds), Counter()
    settings = hypothesis.settings(
        max_examples=500,
        deadline=None,
        database=None,
        derandomize=False,
        suppress_health_check=list(hypothesis.HealthCheck),
        print_blob=False,
    )
    with np.errstate(all="ignore"):
        for number in itertools.count(int(seed)):
            hypothesis.seed(number)(
                settings(hypothesis.given(calls())(lambda call: check(call, log, counts)))
            )()
            if time.monotonic() > end:
                break
    print(
        f"{sum(counts.values())} calls, {counts['errors']} of them refused; seeds {seed}..{number}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
