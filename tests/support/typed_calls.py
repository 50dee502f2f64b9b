"""Calls as users write them, for test_types.py: a type checker reads them, and Python runs some.

A line that ends with ``type: ignore`` is one that a type checker must refuse.
"""

from typing import TYPE_CHECKING, Any, Literal, assert_type

import numpy as np
import numpy.typing as npt

import fastxent as fx
import fastxent.math as fxm

if TYPE_CHECKING:
    from collections.abc import Callable

Array = npt.NDArray[Any]

LOGITS = np.zeros((4, 3), np.float32)
LABELS = [0, 1, 2, 1]
DENSE = np.eye(4, 3)


# --- what must pass ------------------------------------------------------------------------------


def take_losses() -> None:
    losses: npt.NDArray[np.float32] = fx.sigmoid_cross_entropy(LOGITS, LABELS)
    assert_type(fx.sigmoid_cross_entropy(LOGITS.tolist(), DENSE, reduction="none"), Array)
    single = fx.sigmoid_cross_entropy(0.5, True, axis=None)
    mean: float = fx.softmax_cross_entropy(LOGITS, LABELS, reduction="mean", empty=np.nan)
    total = fx.softmax_cross_entropy(LOGITS, np.array(LABELS), reduction="sum", axis=np.int64(1))
    assert_type(total, np.float64)
    assert float(single) + mean + losses.max() > 0


def take_options() -> None:
    for normalizer in ("valid", "weight", "positive", "count"):
        fx.sigmoid_focal_loss(LOGITS, LABELS, reduction="mean", normalizer=normalizer, alpha=None)
    fx.sigmoid_focal_loss(LOGITS, LABELS, reduction="mean", normalizer=7, empty="raise", gamma=1)
    fx.softmax_focal_loss(LOGITS, LABELS, alpha=[0.2, 0.3, 0.5], ignore_index=(-100, -1))
    fx.asymmetric_loss(LOGITS, DENSE > 0, weight=np.ones(4), class_weight=[1, 2, 3])
    fx.binary_cross_entropy(DENSE, DENSE.astype(int), eps=1e-6, num_threads=1, backend="numpy")


def take_gradients() -> None:
    loss, grad = fx.varifocal_loss(LOGITS, DENSE, return_grad=True, iou_weighted=False)
    assert_type(loss, Array)
    assert_type(grad, Array)
    mean, grad = fx.asymmetric_loss(LOGITS, LABELS, return_grad=True, reduction="mean")
    assert_type(mean, np.float64)
    fx.poly1_cross_entropy(LOGITS, LABELS, return_grad=True, grad_output=loss, grad_out=grad)
    assert_type(fx.sigmoid_cross_entropy(LOGITS, LABELS, out=loss), Array)


def take_what_is_not_known(
    return_grad: bool, reduction: Literal["anchor", "none", "sum", "mean"], logits: Any
) -> None:
    results = fx.quality_focal_loss(LOGITS, LABELS, np.ones(4), return_grad=return_grad)
    assert_type(results, Any)
    loss = fx.quality_focal_loss(LOGITS, LABELS, np.ones(4), reduction=reduction)
    assert_type(loss, Array | np.float64)
    loss = fx.quality_focal_loss(logits, LABELS, np.ones(4))
    loss, grad = fx.quality_focal_loss(logits, LABELS, np.ones(4), return_grad=True)


def take_expectations() -> None:
    positions = np.linspace(0.0, 2.0, 4)
    loss, expectation = fx.distribution_focal_loss(LOGITS, positions, return_expectation=True)
    assert_type(loss, Array)
    assert_type(expectation, Array)
    total, grad, expectation = fx.distribution_focal_loss(
        LOGITS, positions, return_expectation=True, return_grad=True, reduction="sum"
    )
    assert_type(total, np.float64)
    assert_type(grad, Array)


def take_scores(logits: npt.ArrayLike) -> None:
    assert_type(fx.sigmoid(LOGITS), Array)
    assert_type(fx.log_sigmoid(logits), Array)
    assert_type(fx.softplus([1.0, 2.0], num_threads=2), Array)
    probability: float = fx.sigmoid(0.5)
    score: np.float32 = fx.odds(np.float32(0.5))
    assert_type(fx.softmax(LOGITS, axis=0, out=np.empty((4, 3), np.float32)), Array)
    assert_type(fx.log_softmax(LOGITS, backend="native"), Array)
    total: float = fx.logsumexp([probability, 0.25])
    each: Array = fx.logsumexp(LOGITS)
    heads = fx.sigmoid_to_softmax_logits(each)
    assert_type(heads, Array)
    assert fx.softmax_to_sigmoid_logit(heads).ndim == each.ndim
    assert score + total > 0


def take_mining_and_matching() -> None:
    mask = fx.hard_negatives(LOGITS, DENSE > 0, ratio=np.inf, min_negatives=np.int64(1))
    assert_type(mask, npt.NDArray[np.bool_])
    assert_type(fx.ohem(LOGITS.tolist(), [1, 2, 3, 0], batch_ndim=1), npt.NDArray[np.bool_])
    assert_type(fx.class_cost(LOGITS[None], [LABELS], kind="sigmoid"), list[Array])
    assert_type(fx.class_cost(LOGITS[None], (LABELS,), alpha=None), list[Array])
    assert_type(fx.class_cost(LOGITS[None], np.zeros((1, 2), int)), Array)
    assert_type(fx.class_cost(LOGITS, [0, 2], batch_ndim=0, gamma=1), Array)


def take_settings(backend: Literal["native", "numpy"]) -> None:
    with fx.backend(backend), fx.threads(1):
        assert_type(fx.get_num_threads(), int)
        assert fx.show_config().backend != "numba"
    fx.set_backend(None)
    fx.set_num_threads(None)
    kind = fx.recommend_loss(DENSE).kind
    assert_type(kind, Literal["single-class", "multi-class", "multi-label"])


def take_custom_losses() -> None:
    @fx.custom_loss
    def hinge(logit: Any, target: Any, margin: float = 1.0) -> Any:
        return fxm.maximum(margin - fxm.where(target == 1, logit, -logit), 0)

    def slope(logit: Any, target: Any) -> Any:
        return fxm.sigmoid(logit) - target

    @fx.custom_loss(derivative=slope)
    def entropy(logit: Any, target: Any) -> Any:
        return fxm.softplus(logit) - target * logit

    assert_type(hinge(LOGITS, LABELS), Array)
    assert_type(hinge(LOGITS, LABELS, margin=2.0, reduction="mean"), np.float64)
    loss, grad = entropy(LOGITS, LABELS, return_grad=True)
    assert_type(grad, Array)
    total, grad = hinge(LOGITS, LABELS, return_grad=True, reduction="sum", margin=0.5)
    assert_type(total, np.float64)
    functions: list[Callable[..., Any]] = [hinge, entropy.__wrapped__]
    assert_type(entropy.__name__, str)
    assert len(functions) == 2
    assert loss.shape == (4,)


# --- what must not -------------------------------------------------------------------------------


def refuse_results(return_grad: bool) -> None:
    loss, grad, more = fx.sigmoid_cross_entropy(LOGITS, LABELS, return_grad=True)  # type: ignore[misc]
    mean, grad = fx.sigmoid_cross_entropy(LOGITS, LABELS, reduction="mean")  # type: ignore[misc]
    text: str = fx.sigmoid_cross_entropy(LOGITS, LABELS)  # type: ignore[assignment]
    number: int = fx.poly1_cross_entropy(LOGITS, LABELS, reduction="sum")  # type: ignore[assignment]
    fx.softmax_focal_loss(LOGITS, LABELS, return_grad=True).max()  # type: ignore[attr-defined]
    loss, grad = fx.distribution_focal_loss(  # type: ignore[misc]
        LOGITS, LABELS, return_grad=True, return_expectation=True
    )
    loss, grad, more = fx.distribution_focal_loss(LOGITS, LABELS, return_expectation=True)  # type: ignore[misc]
    text = fx.sigmoid(LOGITS)  # type: ignore[assignment]
    text = fx.softmax(LOGITS)  # type: ignore[assignment]


def refuse_arguments(word: str) -> None:
    fx.sigmoid_cross_entropy(LOGITS, LABELS, reduction="avg")  # type: ignore[call-overload]
    fx.sigmoid_cross_entropy(LOGITS, LABELS, reduction=word)  # type: ignore[call-overload]
    fx.softmax_cross_entropy(LOGITS, LABELS, reduction="mean", normalizer="batch")  # type: ignore[call-overload]
    fx.softmax_cross_entropy(LOGITS, LABELS, reduction="mean", empty="nan")  # type: ignore[call-overload]
    fx.sigmoid_focal_loss(LOGITS, LABELS, backend="cuda")  # type: ignore[call-overload]
    fx.sigmoid_focal_loss(LOGITS, LABELS, gama=2.0)  # type: ignore[call-overload]
    fx.sigmoid_focal_loss(LOGITS, LABELS, 0.25)  # type: ignore[call-overload]
    fx.varifocal_loss(LOGITS, DENSE, return_grad="no")  # type: ignore[call-overload]
    fx.distribution_focal_loss(LOGITS, LABELS, background_index=0)  # type: ignore[call-overload]
    fx.binary_cross_entropy(DENSE)  # type: ignore[call-overload]
    fx.sigmoid(LOGITS, backend="cuda")  # type: ignore[call-overload]
    fx.logsumexp(LOGITS, backend="cuda")  # type: ignore[arg-type]
    fx.class_cost(LOGITS, LABELS, kind="giou")  # type: ignore[call-overload]
    fx.hard_negatives(LOGITS, LABELS, ratio="3")  # type: ignore[arg-type]
    fx.set_backend("cuda")  # type: ignore[arg-type]
    fx.backend("cuda")  # type: ignore[arg-type]
    fx.backend(None)  # type: ignore[arg-type]
    fx.recommend_loss(DENSE).kind == "multiclass"  # type: ignore[comparison-overlap]


def refuse_custom_losses() -> None:
    @fx.custom_loss
    def hinge(logit: Any, target: Any, margin: float = 1.0) -> Any:
        return fxm.maximum(margin - fxm.where(target == 1, logit, -logit), 0)

    mean, grad = hinge(LOGITS, LABELS, reduction="mean")  # type: ignore[misc]
    text: str = hinge(LOGITS, LABELS)  # type: ignore[assignment]
    hinge(LOGITS, LABELS, reduction="avg")  # type: ignore[call-overload]
    hinge(LOGITS, LABELS, margin="wide")  # type: ignore[call-overload]
    hinge(LOGITS)  # type: ignore[call-overload]
    fx.custom_loss("hinge")  # type: ignore[call-overload]
