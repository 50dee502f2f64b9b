"""What a kernel is compiled for: facts that never change while it runs.

A :class:`Plan` reaches kernels as an argument of a type of its own, without any data: each plan is
another type, and its attributes are literals, so that LLVM drops the branches not taken.
"""

from dataclasses import astuple, dataclass
from typing import Any

from numba.core import types
from numba.core.imputils import lower_constant
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    infer_getattr,
    lower_getattr_generic,
    models,
    register_model,
    typeof_impl,
)

from fastxent._catalogue import LOSSES
from fastxent.numba.simd.lanes import REALS, Real

#: What the names of custom losses begin with.
CUSTOM = "custom_"
DTYPE_SIZES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}


def is_sigmoid_loss(name: str) -> bool:
    """Return whether this is a loss of independent classes, and no score."""
    return name.startswith(CUSTOM) or (name in LOSSES and LOSSES[name].sigmoid)


@dataclass(frozen=True)
class Plan:
    """One kernel, and what it is compiled for."""

    #: The name of the kernel's body, see `kernels.py`.
    kernel: str
    #: The precision that it computes in: "float32" or "float64".
    precision: str
    #: The loss, as a LossRequest names it, or the score.
    loss: str = ""
    #: The dtype of the logits.
    dtype: str = ""
    has_targets: bool = False
    has_grads: bool = False
    #: The modulating factor is a square, and no probability is shifted.
    is_square: bool = False
    #: Losses of probabilities: targets are smoothed, and eps is no normal number.
    smooths: bool = False
    clips_at_tiny: bool = False

    @property
    def is_sigmoid(self) -> bool:
        """Return whether every class is a question of its own."""
        return is_sigmoid_loss(self.loss)

    @property
    def is_custom(self) -> bool:
        """Return whether the loss is the user's own."""
        return self.loss.startswith(CUSTOM)

    @property
    def has_soft_targets(self) -> bool:
        """Return whether a label comes with a number."""
        return self.loss in {"quality_focal_loss", "distribution_focal_loss"}

    @property
    def is_softmax(self) -> bool:
        """Return whether the score is a probability, and not its logarithm."""
        return self.loss == "softmax"

    @property
    def needs_p(self) -> bool:
        """Return whether a loss of the softmax family depends on more than the logarithm of p."""
        return self.loss in {"softmax_focal_loss", "poly1_cross_entropy"}

    @property
    def may_be_clipped(self) -> bool:
        """Return whether probabilities may be shifted."""
        return self.loss == "asymmetric_loss"

    @property
    def grad_dtype(self) -> str:
        """Return the dtype that gradients are written in.

        A softmax keeps exponentials where the gradient will be, and they need their digits.
        """
        is_direct = self.is_sigmoid or self.loss == "categorical_cross_entropy"
        return self.dtype if is_direct else self.precision

    @property
    def lanes(self) -> int:
        """Return the numbers of a vector."""
        return self.real.lanes

    @property
    def block_vectors(self) -> int:
        """Return the vectors of anchors whose partial sums a row kernel keeps."""
        return 4

    @property
    def block(self) -> int:
        """Return the anchors of these vectors."""
        return self.block_vectors * self.lanes

    @property
    def size(self) -> int:
        """Return the bytes of a number."""
        return self.real.size

    @property
    def item(self) -> int:
        """Return the bytes of a logit."""
        return DTYPE_SIZES[self.dtype]

    @property
    def grad_item(self) -> int:
        """Return the bytes of a number of the gradient."""
        return DTYPE_SIZES[self.grad_dtype]

    @property
    def key(self) -> str:
        """Return a name that no other plan has, fit for a file."""
        return "-".join(str(fact) for fact in astuple(self))

    @property
    def real(self) -> Real:
        """Return what the precision is made of."""
        return REALS[self.precision]

    def __reduce__(self) -> tuple[Any, ...]:
        # One string: the bytes of a pickle depend on which of several equal ones are the same
        # object, and Numba finds a kernel on disk by the bytes of its plan.
        return _plan_of, (self.key,)


def _plan_of(key: str) -> Plan:
    kernel, precision, loss, dtype, *facts = key.split("-")
    return Plan(kernel, precision, loss, dtype, *(fact == "True" for fact in facts))


class PlanType(types.Type):
    """The type of one plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        super().__init__(name=f"plan({plan.key})")


register_model(PlanType)(models.OpaqueModel)


@typeof_impl.register(Plan)
def _type_of_plan(plan: Plan, context: Any) -> PlanType:  # noqa: ARG001 - Numba's interface
    return PlanType(plan)


@lower_constant(PlanType)
def _lower_plan(context: Any, builder: Any, kind: PlanType, plan: Plan) -> Any:  # noqa: ARG001
    return context.get_dummy_value()


@infer_getattr
class _PlanAttributes(AttributeTemplate):
    key = PlanType

    def generic_resolve(self, kind: PlanType, name: str) -> types.Type:
        return types.literal(_fact(kind, name))


@lower_getattr_generic(PlanType)
def _lower_fact(context: Any, builder: Any, kind: PlanType, value: Any, name: str) -> Any:  # noqa: ARG001
    fact = _fact(kind, name)
    if isinstance(fact, str):
        return context.get_dummy_value()
    return context.get_constant_generic(builder, types.literal(fact), fact)


def _fact(kind: PlanType, name: str) -> Any:
    return getattr(kind.plan, name)
