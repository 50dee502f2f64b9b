"""Results do not depend on the caller's floating-point control, and the caller keeps it.

A thread may flush subnormal numbers to zero, or round in another direction than to nearest. What is
compared are bits: with those of calls under the defaults, of which the other tests know that they
are right; and some of them with mpmath here.
"""

import ctypes
import platform
import threading
from contextlib import contextmanager

import mpmath
import numpy as np
import pytest

import fastxent as fx
from fastxent.reference.formulas import LOSSES
from fastxent.reference.score_formulas import CLASS_SCORES, ELEMENT_SCORES

MACHINE = platform.machine()
of_glibc = pytest.mark.skipif(
    platform.system() != "Linux" or MACHINE not in {"x86_64", "aarch64"},
    reason="writes the register of x86-64 or AArch64 as glibc has it",
)
if MACHINE == "aarch64":
    FLUSHES = {"both": 1 << 24}
    ROUNDS = {"up": 1 << 22, "down": 2 << 22, "to zero": 3 << 22}
    DEFAULT = RAISED = 0  # exceptions have a register of their own
else:
    FLUSHES = {"flush": 0x8000, "flush operands": 0x0040, "both": 0x8040}
    ROUNDS = {"down": 0x2000, "up": 0x4000, "to zero": 0x6000}
    DEFAULT = 0x1F80
    RAISED = 0x3F
x86 = pytest.mark.skipif(
    platform.system() != "Linux" or MACHINE != "x86_64",
    reason="writes exceptions and traps where x86-64 has them",
)
TWO_CONTROLS = FLUSHES["both"], ROUNDS["up"]


class _Environment(ctypes.Structure):
    """glibc's fenv_t: MXCSR follows the x87, FPCR comes before the exceptions."""

    _fields_ = (
        (("control", ctypes.c_uint32), ("raised", ctypes.c_uint32))
        if MACHINE == "aarch64"
        else (("x87", ctypes.c_uint8 * 28), ("control", ctypes.c_uint32))
    )


def get_control():
    environment = _Environment()
    ctypes.CDLL("libm.so.6").fegetenv(ctypes.byref(environment))
    return environment.control


def set_control(control):
    library, environment = ctypes.CDLL("libm.so.6"), _Environment()
    library.fegetenv(ctypes.byref(environment))
    environment.control = control
    library.fesetenv(ctypes.byref(environment))


@contextmanager
def floating_point_control(bits):
    """Compute with these bits set; no bit of the register may change, but for raised exceptions."""
    before = get_control()
    set_control(DEFAULT | bits)
    try:
        yield
        after = get_control()
    finally:
        set_control(before)
    assert after & ~RAISED == DEFAULT | bits


# --- calls ----------------------------------------------------------------------------------------

ANCHORS, CLASSES = 2_500, 40  # two blocks
random = np.random.default_rng(17)
LOGITS = random.normal(0, 3, (ANCHORS, CLASSES)).astype(np.float32)
LOGITS[::3] -= 100  # of which the sigmoid is subnormal, as is the loss of a negative
LOGITS[1::3, 0] += 100  # the same for a softmax
LABELS = random.integers(0, CLASSES, ANCHORS)
LABELS[1::3] = 0
DENSE = random.random((ANCHORS, CLASSES)).astype(np.float32)
DENSE[::2] *= np.float32(1e-40)
PROBS = np.where(random.random(DENSE.shape) < 0.5, np.float32(1e-41), DENSE)
POSITIONS = DENSE[:, 1] * 30
#: Subnormal: what it is multiplied by is, too.
WEIGHT = random.random(ANCHORS).astype(np.float32) * np.float32(1e-39)

CALLS = {
    "sigmoid_cross_entropy": lambda **k: fx.sigmoid_cross_entropy(LOGITS, LABELS, **k),
    "sigmoid_focal_loss": lambda **k: fx.sigmoid_focal_loss(LOGITS, LABELS, **k),
    "sigmoid_focal_loss_star": lambda **k: fx.sigmoid_focal_loss_star(LOGITS, LABELS, **k),
    "asymmetric_loss": lambda **k: fx.asymmetric_loss(LOGITS, LABELS, **k),
    "quality_focal_loss": lambda **k: fx.quality_focal_loss(LOGITS, LABELS, DENSE[:, 0], **k),
    "varifocal_loss": lambda **k: fx.varifocal_loss(LOGITS, DENSE, **k),
    "softmax_cross_entropy": lambda **k: fx.softmax_cross_entropy(LOGITS, LABELS, **k),
    "softmax_focal_loss": lambda **k: fx.softmax_focal_loss(LOGITS, LABELS, **k),
    "poly1_cross_entropy": lambda **k: fx.poly1_cross_entropy(LOGITS, LABELS, **k),
    "distribution_focal_loss": lambda **k: fx.distribution_focal_loss(LOGITS, POSITIONS, **k),
    "binary_cross_entropy": lambda **k: fx.binary_cross_entropy(PROBS, DENSE, eps=1e-44, **k),
    "categorical_cross_entropy": lambda **k: fx.categorical_cross_entropy(
        PROBS, LABELS, eps=1e-44, **k
    ),
}
SCORES = {
    **dict.fromkeys(("sigmoid", "log_sigmoid", "softplus", *CLASS_SCORES), LOGITS),
    "logit": PROBS,
    "odds": PROBS,
}


def test_nothing_is_left_out():
    assert CALLS.keys() == LOSSES.keys()
    assert SCORES.keys() == {*ELEMENT_SCORES, *CLASS_SCORES}


def loss_results(name, backend, threads):
    """Return the bits of a loss, its gradient and its mean, with weights and without."""
    call, results = CALLS[name], []
    settings = {"backend": backend, "num_threads": threads}
    results += call(return_grad=True, **settings)
    results += call(return_grad=True, weight=WEIGHT, **settings)
    results.append(call(reduction="mean", weight=WEIGHT, **settings))
    return [np.asarray(result).tobytes() for result in results]


def score_results(name, backend, threads):
    score = getattr(fx, name)
    return [score(SCORES[name], backend=backend, num_threads=threads).tobytes()]


def backend_of(isa):
    return "numba" if isa == "numba" else "native"


@of_glibc
@pytest.mark.parametrize("name", [*CALLS, *SCORES])
def test_kernels(name, isa):
    backend = backend_of(isa)
    results = loss_results if name in CALLS else score_results
    expected = results(name, backend, 1)
    for bits in (FLUSHES | ROUNDS).values():
        for threads in (1, 2):
            with floating_point_control(bits):
                found = results(name, backend, threads)
            assert found == expected, (hex(bits), threads)


@of_glibc
@pytest.mark.parametrize("name", [*CALLS, *SCORES])
@pytest.mark.parametrize("bits", TWO_CONTROLS)
def test_reference(name, bits):
    results = loss_results if name in CALLS else score_results
    expected = results(name, "numpy", 1)
    with floating_point_control(bits):
        assert results(name, "numpy", 1) == expected


@of_glibc
def test_other_layouts(isa):
    """Tiles, packed anchors, halves, doubles, a single class."""
    backend = backend_of(isa)
    lanes = np.ascontiguousarray(LOGITS.T)
    halves, doubles = LOGITS.astype(np.float16), 7.3 * LOGITS.astype(float)
    every_other = LABELS // 2
    calls = [
        lambda: fx.sigmoid_cross_entropy(lanes, LABELS, axis=0, weight=WEIGHT),
        lambda: fx.softmax_cross_entropy(lanes, LABELS, axis=0, weight=WEIGHT),
        lambda: fx.sigmoid_cross_entropy(LOGITS[:, ::2], every_other, weight=WEIGHT),
        lambda: fx.sigmoid_cross_entropy(LOGITS, DENSE, reduction="none"),
        lambda: fx.sigmoid_cross_entropy(halves, LABELS, weight=WEIGHT),
        lambda: fx.sigmoid_cross_entropy(LOGITS.ravel(), DENSE.ravel(), axis=None),
        lambda: fx.sigmoid_cross_entropy(doubles, LABELS, weight=1e-310),
        lambda: fx.sigmoid(doubles),
        lambda: fx.softmax(lanes, axis=0),
    ]
    for call in calls:
        with fx.backend(backend), fx.threads(2):
            expected = call().tobytes()
            for bits in TWO_CONTROLS:
                with floating_point_control(bits):
                    assert call().tobytes() == expected


@of_glibc
def test_mining_and_matching(engine):
    """Subnormal losses have an order, and nothing of a product or a cost depends on the caller."""
    losses = np.float32(1e-45) * random.integers(0, 9999, (20, 5000)).astype(np.float32)
    wide, labels = losses.astype(float), random.random(losses.shape) < 0.02
    truths = [[0, 3, 3], [39]]
    logits = LOGITS.reshape(2, -1, CLASSES)
    objectness = 3 * logits[..., 0]
    calls = [
        lambda: fx.hard_negatives(losses, labels, ratio=0.29),
        lambda: fx.hard_negatives(wide, labels, ratio=3.3),
        lambda: fx.ohem(losses, 300),
        lambda: fx.class_cost(logits, truths, alpha=0.3, gamma=1.7),
        lambda: fx.class_cost(logits, truths, kind="sigmoid"),
        lambda: fx.class_cost(logits, truths, kind="softmax"),
        lambda: fx.class_cost(logits, truths, kind="simota", objectness=objectness),
    ]
    for call in calls:
        for threads in (1, 2):
            with fx.threads(threads):
                expected = [part.tobytes() for part in call()]
                for bits in (FLUSHES | ROUNDS).values():
                    with floating_point_control(bits):
                        assert [part.tobytes() for part in call()] == expected


@of_glibc
def test_short_calls():
    logits, labels = LOGITS[:99], LABELS[:99]
    for call in (fx.sigmoid_cross_entropy, fx.softmax_cross_entropy):
        expected = call(logits, labels).tobytes()
        for bits in (FLUSHES | ROUNDS).values():
            with floating_point_control(bits):
                assert call(logits, labels).tobytes() == expected


@of_glibc
@pytest.mark.parametrize("backend", ["native", "numba", "numpy"])
def test_subnormal_results_are_right(backend):
    if backend == "numba":
        pytest.importorskip("numba")
    small, tiny = np.float32(-100), -740.0
    with fx.backend(backend), floating_point_control(FLUSHES["both"]):
        sigmoid = fx.sigmoid(small)
        loss = fx.sigmoid_cross_entropy(np.array([[small, small]]), [2])
        mean = fx.sigmoid_cross_entropy(np.array([[tiny, tiny]]), [2], reduction="mean")
        total = fx.sigmoid_cross_entropy(np.full((4, 2), tiny), [2] * 4, reduction="sum")
        weighted = fx.sigmoid_cross_entropy(np.array([[0.0, 0.0]]), [2], weight=1e-310)
    step, double_step = 2.0**-149, 2.0**-1074
    assert abs(sigmoid - mpmath.exp(-100)) <= step
    assert abs(loss[0] - 2 * mpmath.exp(-100)) <= step
    assert abs(mean - 2 * mpmath.exp(-740)) <= 2 * double_step
    assert abs(total - 8 * mpmath.exp(-740)) <= 8 * double_step
    assert abs(weighted[0] - 2 * mpmath.log(2) * mpmath.mpf(1e-310)) <= 2 * double_step


@of_glibc
def test_targets_that_would_be_zero_if_flushed():
    """Checks are made with the numbers that the user has given."""
    targets = np.zeros((ANCHORS, CLASSES))
    targets[1_700, 3] = -5e-324
    for threads in (1, 2):
        with (
            floating_point_control(FLUSHES["both"]),
            pytest.raises(ValueError, match=r"targets\[1700, 3\]"),
        ):
            fx.sigmoid_cross_entropy(LOGITS, targets, num_threads=threads)
        with floating_point_control(FLUSHES["both"]):  # errors, too, leave the register as it was
            pass


@of_glibc
@pytest.mark.parametrize("backend", ["native", "numba"])
def test_threads_that_were_created_flushing(backend):
    """A thread inherits the control of its creator, and OpenMP keeps it for other calls."""
    if backend == "numba":
        pytest.importorskip("numba")
    expected = loss_results("sigmoid_cross_entropy", backend, 1)
    found = []

    def work():
        set_control(DEFAULT | FLUSHES["both"])
        found.append(loss_results("sigmoid_cross_entropy", backend, 2))
        set_control(DEFAULT)
        found.append(loss_results("sigmoid_cross_entropy", backend, 2))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [expected, expected]


@x86
def test_raised_exceptions_are_kept():
    """The flags of the thread are those from before the call, set or not."""
    calls = [
        lambda: fx.softmax_cross_entropy(LOGITS, LABELS),
        lambda: fx.sigmoid_cross_entropy(LOGITS[:50], LABELS[:50]),
        lambda: fx.sigmoid_cross_entropy(LOGITS, LABELS, reduction="mean", return_grad=True),
        lambda: fx.softmax(LOGITS),
    ]
    invalid, inexact = 0x01, 0x20
    for call in calls:
        call()
        for flags in (0, invalid, invalid | inexact):
            set_control(DEFAULT | flags)
            call()
            after = get_control()
            set_control(DEFAULT)
            assert after == DEFAULT | flags


@x86
def test_traps_are_left_to_the_caller():
    """Kernels compute with infinities; the caller's trap would end the process."""
    invalid, divide, overflow = 0x0080, 0x0200, 0x0400
    logits = np.float32([[np.inf, -np.inf, 0], [np.inf, np.inf, 3e38], [0, 0, 0]])
    expected = fx.softmax(logits)
    control = DEFAULT & ~(invalid | divide | overflow)
    set_control(control)
    try:
        probabilities = fx.softmax(logits)
        after = get_control()
    finally:
        set_control(DEFAULT)
    assert after == control
    assert np.array_equal(probabilities, expected, equal_nan=True)


@pytest.mark.exhaustive
@of_glibc
def test_custom_losses():
    pytest.importorskip("numba")

    @fx.custom_loss
    def squared(logit, target):
        return (logit - target) ** 2 / 3

    expected = [squared(LOGITS, LABELS, weight=WEIGHT, num_threads=n).tobytes() for n in (1, 2)]
    assert expected[0] == expected[1]
    for bits in TWO_CONTROLS:
        for threads in (1, 2):
            with floating_point_control(bits):
                found = squared(LOGITS, LABELS, weight=WEIGHT, num_threads=threads)
            assert found.tobytes() == expected[0]


@of_glibc
def test_heads():
    logits = np.array([3e-39, -2.5e-39], np.float32)
    with floating_point_control(FLUSHES["both"]):
        pairs = fx.sigmoid_to_softmax_logits(logits)
        back = fx.softmax_to_sigmoid_logit(pairs)
    assert pairs[:, 1].tolist() == [np.float32(3e-39) / 2, np.float32(-2.5e-39) / 2]
    assert np.allclose(back, logits, rtol=0, atol=2.0**-149)


def test_what_torch_sets(backend):
    """The same on any machine where torch can flush."""
    torch = pytest.importorskip("torch")
    expected = [loss_results("softmax_cross_entropy", backend, n) for n in (1, 2)]
    assert expected[0] == expected[1]
    if not torch.set_flush_denormal(True):
        pytest.skip("cannot flush here")
    try:
        found = [loss_results("softmax_cross_entropy", backend, n) for n in (1, 2)]
        still_flushes = float(torch.tensor([1e-310], dtype=torch.float64) * 1) == 0.0
    finally:
        torch.set_flush_denormal(False)
    assert found == expected
    assert still_flushes
