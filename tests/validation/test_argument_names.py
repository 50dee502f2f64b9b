"""Bad values of all kinds, for every argument of every public function.

The error is a TypeError or a ValueError that names the argument, and nothing is written.
"""

import inspect
import re

import numpy as np
import pytest

import fastxent as fx

ANCHORS, CLASSES = 4, 5
LOGITS = np.zeros((ANCHORS, CLASSES), np.float32)
LABELS = np.zeros(ANCHORS, int)
#: What the arguments without a default are.
GIVEN = {
    "logits": LOGITS,
    "probs": np.full((ANCHORS, CLASSES), 0.2, np.float32),
    "targets": LABELS,
    "labels": LABELS,
    "scores": np.ones(ANCHORS),
    "losses": LOGITS,
    "k": 2,
}
#: What some functions take another shape of.
GIVEN_TO = {
    fx.softmax_to_sigmoid_logit: {"logits": LOGITS[:, :2]},
    fx.hard_negatives: {"labels": np.zeros(LOGITS.shape, int), "background_index": 0},
    fx.class_cost: {"logits": LOGITS[None], "labels": [LABELS]},
    fx.select_candidates: {"logits": LOGITS[None]},
}
PUBLIC = {name: getattr(fx, name) for name in fx.__all__ if callable(getattr(fx, name))}
FUNCTIONS = {
    name: function
    for name, function in PUBLIC.items()
    if GIVEN.keys() & inspect.signature(function).parameters.keys()
}
KINDS = {
    **dict.fromkeys(("logits", "probs", "targets", "labels", "scores", "losses"), "array"),
    **dict.fromkeys(("k", "objectness"), "array"),
    **dict.fromkeys(("weight", "class_weight", "pos_weight", "alpha", "grad_output"), "array"),
    **dict.fromkeys(("out", "grad_out"), "result"),
    **dict.fromkeys(("label_smoothing", "gamma", "gamma_neg", "gamma_pos", "beta"), "number"),
    **dict.fromkeys(("clip", "epsilon", "eps", "normalizer", "empty", "margin"), "number"),
    **dict.fromkeys(("axis", "ignore_index", "background_index", "num_threads"), "integer"),
    **dict.fromkeys(("n_classes", "top_k", "batch_ndim", "min_negatives"), "integer"),
    "ratio": "number",
    **dict.fromkeys(("score_threshold", "objectness", "classes"), "array"),
    **dict.fromkeys(("reduction", "backend", "kind"), "name"),
    **dict.fromkeys(("top_k_per", "activation", "combine"), "name"),
    "multi_label": "flag",
    **dict.fromkeys(("return_grad", "return_expectation", "iou_weighted", "keepdims"), "flag"),
}


def raises(self, *args, **options):
    raise RuntimeError("this object is broken")


def object_with(**methods):
    return type("Broken", (), methods)()


def list_of_itself():
    values = []
    values.append(values)
    return values


NEVER = [
    object(),
    "text",
    b"abc",
    1j,
    {},
    {1},
    len,
    float,
    (i for i in range(3)),
    2**2000,
    2**20000,
    [2**70] * ANCHORS,
    [[1.0, 2.0], [3.0]],
    list_of_itself(),
    np.zeros((ANCHORS, CLASSES), complex),
    np.zeros((ANCHORS, CLASSES), "f4,f4"),
    np.zeros((ANCHORS, CLASSES), "M8[s]"),
    np.full((ANCHORS, CLASSES), None),
    np.array(["anchor", "mean"]),
    np.zeros((ANCHORS, CLASSES), np.longdouble),
    np.ma.zeros((ANCHORS, CLASSES)),
    np.ma.masked,
    object_with(__array__=raises),
    object_with(__array_interface__=property(raises)),
    object_with(__dlpack__=raises),
    object_with(__index__=raises),
    object_with(__float__=raises),
    object_with(__repr__=raises),
    object_with(__eq__=raises, __hash__=None),
    object_with(__getattr__=raises),
]
BAD = {
    "array": [*NEVER, 2**70, np.broadcast_to(np.array("x"), (ANCHORS,))],
    "result": [
        *NEVER,
        3.0,
        [0.0] * ANCHORS,
        np.zeros((2, 3), np.float32),
        np.zeros((1,) * 30),
        np.broadcast_to(np.float32(0), (ANCHORS, CLASSES)),
        np.zeros(ANCHORS, ">f4"),
    ],
    "number": [*NEVER, None, True, [0.5], np.zeros(3), np.array(["1"]), "1", np.array("text")],
    "integer": [
        *NEVER,
        2**70,
        -(2**70),
        True,
        1.5,
        np.nan,
        "1",
        [1, 2],
        np.array([0, 1]),
        np.array([1]),
        np.array(1.0),
        np.float32(1),
    ],
    "name": [*NEVER, 3, 1.5, True, [], ["mean"], "avg", np.array("mean"), np.array(["mean"])],
    "flag": [*NEVER, "no", 0, 1, 0.0, None, [], np.array(True), np.array([True, False])],
}
#: Values of numbers that have a type of their own, and are still out of range.
OUT_OF_RANGE = {"normalizer": (-1, np.nan, np.inf), "empty": ("mean",)}


def arguments_of(function, name):
    """Return arguments that are right, with results to be filled in."""
    parameters = inspect.signature(function).parameters
    arguments = {
        parameter.name: GIVEN[parameter.name]
        for parameter in parameters.values()
        if parameter.default is parameter.empty
    }
    arguments |= GIVEN_TO.get(function, {})
    if "return_grad" in parameters and name != "return_grad":
        arguments["return_grad"] = True
        arguments["grad_out"] = np.full((ANCHORS, CLASSES), 9, np.float32)
    if name in {"normalizer", "empty"}:
        arguments["reduction"] = "mean"
    elif "out" in parameters:
        arguments["out"] = np.full(np.shape(function(**arguments_in(arguments))), 9, np.float32)
    return arguments


def arguments_in(arguments):
    """Return those that are read."""
    return {key: a for key, a in arguments.items() if key in GIVEN}


CASES = [
    (name, argument)
    for name, function in FUNCTIONS.items()
    for argument in inspect.signature(function).parameters
]


def check(function, name, argument, values):
    for value in values:
        arguments = arguments_of(function, argument)
        results = [arguments[key] for key in ("out", "grad_out") if key in arguments]
        before = [result.copy() for result in results]
        with pytest.raises((TypeError, ValueError), match=rf"\b{argument}\b") as caught:
            function(**{**arguments, argument: value})
        assert len(str(caught.value)) < 500
        for result, expected in zip(results, before, strict=True):
            np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(("name", "argument"), CASES)
def test_bad_values(name, argument, backend):
    function = FUNCTIONS[name]
    values = list(BAD[KINDS[argument]])
    values += OUT_OF_RANGE.get(argument, ())
    if argument in {"alpha", "pos_weight"}:
        values += [-1.0, np.nan]
    check(function, name, argument, values)


@pytest.mark.parametrize(
    ("name", "argument"), [case for case in CASES if case[1] in GIVEN], ids=str
)
def test_none_is_no_array(name, argument):
    check(FUNCTIONS[name], name, argument, [None])


def test_every_argument_has_a_kind():
    assert {argument for _, argument in CASES} <= KINDS.keys()


def test_parameters_of_custom_losses():
    pytest.importorskip("numba")

    @fx.custom_loss
    def hinge(logit, target, margin=1.0):
        return fx.math.maximum(margin - logit * target, 0)

    for argument in inspect.signature(hinge).parameters:
        check(hinge, "hinge", argument, BAD[KINDS[argument]])


@pytest.mark.parametrize("value", [3, "text", max, np.zeros(2), LOGITS])
def test_functions_of_custom_losses(value):
    for name, arguments in (("function", [value]), ("derivative", [lambda logit, target: logit])):
        options = {} if name == "function" else {"derivative": value}
        message = f"^custom_loss takes a {name} of logit and target, not "
        with pytest.raises(TypeError, match=message):
            fx.custom_loss(*arguments, **options)


@pytest.mark.parametrize("index", range(len(NEVER) + 3))
def test_settings(index):
    value = [*NEVER, True, 1.5, np.array([1, 2])][index]
    for function in (fx.set_num_threads, fx.threads):
        with pytest.raises((TypeError, ValueError), match=r"^n (must be an integer, not |= |is )"):
            function(value).__enter__()
    for function in (fx.set_backend, fx.backend):
        with pytest.raises((TypeError, ValueError), match=r"^name (must be a string, not |= )"):
            function(value).__enter__()


# --- flags, and options that go with others ------------------------------------------------------


FLAGS = [
    (fx.sigmoid_cross_entropy, "return_grad"),
    (fx.softmax_focal_loss, "return_grad"),
    (fx.categorical_cross_entropy, "return_grad"),
    (fx.distribution_focal_loss, "return_expectation"),
    (fx.varifocal_loss, "iou_weighted"),
]


@pytest.mark.parametrize(("function", "flag"), FLAGS)
def test_flags(function, flag):
    arguments = arguments_in(arguments_of(function, flag))
    for yes, no in ((True, False), (np.True_, np.False_)):
        assert isinstance(function(**arguments, **{flag: yes}), tuple) == (flag != "iou_weighted")
        assert isinstance(function(**arguments, **{flag: no}), np.ndarray)
    with pytest.raises(TypeError, match=f"^{flag} must be True or False, not 'no'$"):
        function(**arguments, **{flag: "no"})


LOSSES = [name for name, f in FUNCTIONS.items() if "empty" in inspect.signature(f).parameters]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("reduction", ["anchor", "none", "sum"])
def test_empty_is_for_means(name, reduction):
    arguments = arguments_in(arguments_of(FUNCTIONS[name], "empty"))
    for value in ("raise", np.nan, 1, np.float32(0.5), np.array(2.0)):
        message = f"empty is for reduction='mean', not for {reduction!r}"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            FUNCTIONS[name](**arguments, reduction=reduction, empty=value)
    for value in (0.0, 0, -0.0, np.float64(0)):  # the default
        FUNCTIONS[name](**arguments, reduction=reduction, empty=value)


def test_empty_of_a_mean():
    nothing = (np.zeros((0, 3)), np.zeros(0, int))
    assert fx.softmax_cross_entropy(*nothing, reduction="mean", empty=2) == 2
    assert np.isnan(fx.sigmoid_cross_entropy(*nothing, reduction="mean", empty=np.nan))
    with pytest.raises(ValueError, match="nothing to average"):
        fx.softmax_cross_entropy(*nothing, reduction="mean", empty="raise")


# --- limits of NumPy -----------------------------------------------------------------------------


def most_dimensions():
    """Return the number of dimensions that an array of NumPy can have, 32 or 64."""
    try:
        return np.zeros((1,) * 64).ndim
    except ValueError:
        return 32


def test_as_many_dimensions_as_there_are(backend):
    count = most_dimensions()
    values = np.float32([0.25, 0.5]).reshape((1,) * (count - 1) + (2,))
    np.testing.assert_allclose(fx.odds(values).ravel(), [1 / 3, 1])
    out = np.zeros_like(values)
    assert fx.sigmoid(values, out=out) is out
    np.testing.assert_allclose(out.ravel(), 1 / (1 + np.exp([-0.25, -0.5])), rtol=1e-6)
    assert fx.softmax(values).shape == values.shape
    labels = np.zeros((1,) * (count - 1), int)
    loss, grad = fx.softmax_cross_entropy(values, labels, return_grad=True)
    np.testing.assert_allclose(loss.ravel(), np.log1p(np.exp(0.25)), rtol=1e-6)
    assert grad.shape == values.shape
    assert fx.recommend_loss(values.astype(bool)).kind == "multi-label"


@pytest.mark.parametrize("name", ["sigmoid_cross_entropy", "varifocal_loss", "quality_focal_loss"])
def test_one_dimension_too_many(name):
    count = most_dimensions()
    function = FUNCTIONS[name]
    arguments = arguments_in(arguments_of(function, "axis"))
    arguments = {key: np.zeros((1,) * count, a.dtype) for key, a in arguments.items()}
    message = f"logits has {count} dimensions, and axis=None adds one too many"
    with pytest.raises(ValueError, match=f"^{message}$"):
        function(**arguments, axis=None)
    with pytest.raises(ValueError, match=r"^logits has shape \(1, .*: no array is \(1, .*, 2\)$"):
        fx.sigmoid_to_softmax_logits(arguments["logits"])


@pytest.mark.parametrize("name", LOSSES)
def test_targets_of_a_huge_wrong_shape(name):
    """Neither results nor copies of that size are made."""
    function = FUNCTIONS[name]
    arguments = arguments_in(arguments_of(function, "targets"))
    argument = list(arguments)[1]
    for shape in ((2**46,), (2**23, 2**23), (2**46, CLASSES), (2**59,)):
        for dtype in (np.int8, np.int64, np.float32):
            if np.prod(shape, dtype=object) * np.dtype(dtype).itemsize >= 2**63:
                continue
            targets = np.broadcast_to(dtype(0), shape)
            with pytest.raises(ValueError, match=f"^{argument} has shape "):
                function(**{**arguments, argument: targets})
