"""The text that docstrings share; ``scripts/docstrings.py`` writes it into the sources.

Change it here, run that script, and every docstring follows. Custom losses, whose docstrings are
made when they are, read it from here. This module imports nothing, so that the script can load it
by its path.
"""

_RESOURCES = """
Memory: the results and a few KB per thread. Strided input is read where it is; only arrays that are
not aligned or of foreign byte order are copied.
Threads: `num_threads`; short calls use fewer. The result has the same bits for any number.
"""
_LOSS_RESOURCES = _RESOURCES + "Dense targets with `out` take memory for one loss an anchor.\n"

_EXECUTION = """
num_threads : int, optional
    From 1 to 1024; see :func:`get_num_threads` for the default.
backend : {"native", "numba", "numpy"}, optional
    What computes; see :func:`set_backend` for the default.
"""

_MEAN = """
normalizer : {"valid", "weight", "positive", "count"} or float, default "valid"
    What "mean" divides the sum by. "valid": the number of anchors that are not ignored. "weight":
    the sum of the weights applied to those (sigmoids: of each the mean over its labelled classes).
    "positive": the number of those that have a class. "count": the number of all anchors. Or a
    number of your own.
empty : float or "raise", default 0.0
    The mean where the normalizer is zero; "raise": a ValueError. Like `normalizer`, for "mean"
    only.
"""

_IGNORE_INDEX = """
ignore_index : int or tuple of int, default -100
    Targets of ignored anchors. They contribute nothing and are not counted, whatever their logits
    and weights are.
"""

_CLASS_WEIGHT = f"""
class_weight : array_like of shape (C,), optional
    Factor of each class's term; finite and not negative.
{_IGNORE_INDEX.strip()}
"""

_SIGMOID_IGNORE_INDEX = """
    In dense targets, where it is neither 0 nor 1, it marks single missing labels: they contribute
    nothing either, nor do their weights, and a mean over classes is one over the others. An anchor
    without any label is ignored.
"""

_SOFTMAX_IGNORE_INDEX = """
    In dense targets, where it is neither 0 nor 1, it marks the missing labels of an ignored anchor:
    those of all classes.
"""

_GRAD_FLAG = """
return_grad : bool, default False
    Return the gradient too: ``(loss, grad)``, from one pass.
"""

_SIGMOID_GRAD = f"""
{_GRAD_FLAG.strip()}
grad_output : float or array_like, optional
    Factor of the gradient: a number; or, for "anchor" and "none", an array of the shape of the
    loss that is returned.
"""

_SOFTMAX_GRAD = f"""
{_GRAD_FLAG.strip()}
grad_output : float or array_like, optional
    Factor of the gradient: a number; or, for "anchor" and "none", an array of the anchors' shape.
"""

_OUT = """
out : ndarray, optional
    Where to put the loss of "anchor" or "none": an array of its shape and dtype that shares no
    memory with the arguments.
grad_out : ndarray, optional
    Where to put the gradient: an array of the shape and dtype of the first argument that shares no
    memory with the arguments, nor with `out`.
"""

_LOSS_RESULT = """
ndarray or numpy.floating
    The loss. "anchor" and "none": an array (or `out`), float64 for float64 input and otherwise
    float32; a scalar for a single anchor without dimensions. "sum" and "mean": a float64 scalar,
    accumulated in float64.
"""

_GRAD_RESULT = """
ndarray
    With `return_grad`: the derivatives of the loss that is returned with respect to the first
    argument, times `grad_output`; of its shape and dtype (or `grad_out`). Of "sum" and "mean" as a
    whole, otherwise of the loss that the element belongs to. Zero for ignored anchors and missing
    labels, and for all where a mean is `empty`.
"""

_ERRORS = """
ValueError
    A label or a target is out of range, a shape does not fit, or an option has no such value. The
    message names the argument, the position and the value. Nothing has been written then.
TypeError
    An argument has the wrong type or dtype.
"""

_REFERENCES = {
    "logsumexp reference": """
.. [1] P. Blanchard, D. J. Higham and N. J. Higham, "Accurately computing the log-sum-exp and
   softmax functions", IMA Journal of Numerical Analysis 41(4), 2021.
""",
    "log1p reference": """
.. [1] M. Maechler, "Accurately Computing log(1 - exp(-abs(a)))", vignette of the R package
   Rmpfr, 2012.
""",
}

_SIGMOID_AXIS = """
axis : int or None, default -1
    The class axis. None: a single-class head, where each element is an anchor.
"""

_AXIS = """
axis : int, default -1
    The class axis.
"""

_SIGMOID_PARAMETERS = f"""
reduction : {{"anchor", "none", "sum", "mean"}}, default "anchor"
    "anchor": one loss per anchor. "none": one per class of each anchor. "sum" and "mean": one for
    all anchors.
{_MEAN.strip()}
weight : float or array_like, optional
    Factor of the whole call (a number), of each anchor (an array of the anchors' shape), or of
    each term (an array with as many dimensions as the first argument, broadcast to it).
{_CLASS_WEIGHT.strip()}
    {_SIGMOID_IGNORE_INDEX.strip()}
background_index : int, optional
    The class label that means "no class"; the default is C. Labels above it are one too high:
    with 0 the classes are 1..C.
{_SIGMOID_GRAD.strip()}
{_OUT.strip()}
{_EXECUTION.strip()}
"""

_SOFTMAX_PARAMETERS = f"""
reduction : {{"anchor", "none", "sum", "mean"}}, default "anchor"
    "anchor" and "none": one loss per anchor. "sum" and "mean": one for all anchors.
{_MEAN.strip()}
weight : float or array_like, optional
    Factor of the whole call (a number), or of each anchor (an array of the anchors' shape).
{_CLASS_WEIGHT.strip()}
    {_SOFTMAX_IGNORE_INDEX.strip()}
background_index : int, optional
    The class that the normalizer "positive" does not count. It makes no other difference.
{_SOFTMAX_GRAD.strip()}
{_OUT.strip()}
{_EXECUTION.strip()}
"""

_DISTRIBUTION_PARAMETERS = f"""
reduction : {{"anchor", "none", "sum", "mean"}}, default "anchor"
    "anchor" and "none": one loss per anchor. "sum" and "mean": one for all anchors.
{_MEAN.strip()}
weight : float or array_like, optional
    Factor of the whole call (a number), or of each anchor (an array of the anchors' shape).
{_IGNORE_INDEX.strip()}
{_SOFTMAX_GRAD.strip()}
{_OUT.strip()}
{_EXECUTION.strip()}
"""

_SCORE_OUT = """
out : ndarray, optional
    Where to put the result: an array of its shape and dtype, which may be the very array of the
    argument but may not share its memory otherwise.
"""

_LOGITS = """
logits : array_like of float16, bfloat16, float32 or float64
    Logits z of any shape, with C classes on `axis`.
"""

_SIGMOID_LOGITS = f"""
{_LOGITS.strip()}
targets : array_like
    Class labels: integers of the shape of `logits` without the class axis (the anchors' shape).
    0..C-1 are classes, C means "no class". Or dense targets y: bool, integers 0 and 1 or floats in
    [0, 1], of the shape of `logits`. With ``axis=None`` both have the shape of `logits`; label 1 is
    positive, 0 negative.
"""

_SOFTMAX_LOGITS = f"""
{_LOGITS.strip()}
targets : array_like
    Class labels: integers 0..C-1 of the shape of `logits` without the class axis (the anchors'
    shape). Or dense targets y: bool, integers 0 and 1 or floats in [0, 1], of the shape of
    `logits`; they need not add up to 1.
"""

_SIGMOID_LIMITS = """
Infinite logits follow the limit, where gradients are finite:

===== ======== ========
logit y = 1    y = 0
===== ======== ========
+inf  0        inf
-inf  inf      0
nan   nan      nan
===== ======== ========
"""

_SOFTMAX_LIMITS = """
Infinite logits follow the limit, and so do gradients:

========================= ==============================================
logits of an anchor       loss
========================= ==============================================
one is +inf               0 if that is the class (y = 1), inf if another
two or more are +inf      nan
some are -inf             inf if one of them is the class
all are -inf              nan
any is nan                nan
========================= ==============================================
"""

_ZEROS_AND_NANS = """
A factor of 0 (a target, a weight) removes a term even if it is infinite. A NaN makes the loss of
its anchor NaN, and of no other; nothing but `ignore_index` removes it. An infinite weight or
`grad_output` multiplies the finished loss or derivative: NaN where that is 0.
"""

SIGMOID_PARTS = {
    "axis": _SIGMOID_AXIS,
    "logits and targets": _SIGMOID_LOGITS,
    "common parameters": _SIGMOID_PARAMETERS,
    "limits": _SIGMOID_LIMITS,
    "zeros and nans": _ZEROS_AND_NANS,
    "result": _LOSS_RESULT.strip() + _GRAD_RESULT + "    A NaN logit has a NaN gradient.",
    "errors": _ERRORS,
    "resources": _LOSS_RESOURCES,
    **_REFERENCES,
}
SOFTMAX_PARTS = SIGMOID_PARTS | {
    "axis": _AXIS,
    "logits and targets": _SOFTMAX_LOGITS,
    "common parameters": _SOFTMAX_PARAMETERS,
    "limits": _SOFTMAX_LIMITS,
    "result": _LOSS_RESULT.strip() + _GRAD_RESULT + "    NaN where the loss of the anchor is.",
}
DISTRIBUTION_PARTS = SOFTMAX_PARTS | {"common parameters": _DISTRIBUTION_PARAMETERS}
SCORE_PARTS = {
    "logits": """
logits : array_like of bool, int, float16, bfloat16, float32 or float64
    Logits z of any shape.
""",
    "probs": """
probs : array_like of bool, int, float16, bfloat16, float32 or float64
    Probabilities p of any shape.
""",
    "logits and axis": """
logits : array_like of bool, int, float16, bfloat16, float32 or float64
    Logits z of any shape, with the classes on `axis`.
axis : int, tuple of int or None, default -1
    The class axis, or several: all their elements are classes of one anchor. None: all axes.
""",
    "common parameters": _SCORE_OUT.strip() + _EXECUTION,
    "result": """
ndarray or numpy.floating
    An array of the shape of the argument (or `out`), float32 for float32 and half-precision input
    and otherwise float64; a scalar for a scalar.
""",
    "resources": _RESOURCES,
    "resources of classes": _RESOURCES
    + """
Integers, and several class axes that memory does not hold as one, are copied a MiB at a time.
Anchors of more than 2^17 classes that are to be copied, and of more than 2^24 that do not lie side
by side or are replaced by their scores, are computed in float64 by NumPy, on one thread.
""".lstrip(),
    **_REFERENCES,
}
_IMAGE_RESOURCES = """
Memory: the result, and for each thread some KB and what the largest image needs; input that does
not hold the elements of an image at an even stride is copied.
Threads: `num_threads`, of which each takes whole images. The result is the same for any number.
"""
_ON_NATIVE = """
backend : {"native", "numba", "numpy"}, optional
    What computes; see :func:`set_backend` for the default. "numba" uses the native kernels.
"""
_NATIVE_EXECUTION = _EXECUTION[: _EXECUTION.index("backend")] + _ON_NATIVE.lstrip()
MINING_PARTS = {
    "losses": """
losses : array_like of float16, bfloat16, float32 or float64
    The loss of each anchor: the first `batch_ndim` axes are images, all others their anchors.
""",
    "batch and execution": f"""
batch_ndim : int, default 1
    How many of the first axes are images, of which each has a choice of its own. 0: one for the
    whole batch.
{_NATIVE_EXECUTION.strip()}
""",
    "mask": """
ndarray of bool
    True where an anchor is chosen, of the shape of `losses`.
""",
    "resources": _IMAGE_RESOURCES,
}
MATCHING_PARTS = {
    "execution": _NATIVE_EXECUTION,
    "resources": """
Memory: the result, and for each thread the logits of some queries; no array of queries, ground
truths and classes. Strided input is read where it is.
Threads: `num_threads`; short calls use fewer. The result has the same bits for any number.
""",
}
