"""fastxent.jax never hangs: on several devices, from many threads, and while Python's lock is held.

Everything runs in processes of its own, so that a hang is a failure of the test and not of the run.
"""

import os
import subprocess
import sys
import textwrap

import pytest

jax = pytest.importorskip("jax")

needs_shard_map = pytest.mark.skipif(
    not hasattr(jax, "shard_map"), reason="needs jax.shard_map, of JAX 0.7"
)

#: A call that hangs does so within a second; a process takes some to import JAX.
SECONDS = 120

COMMON = """
import threading
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
import fastxent as fx, fastxent.jax as fxj
rng = np.random.default_rng(0)
logits = rng.normal(0, 3, (8_000, 40)).astype(np.float32)
labels = rng.integers(0, 41, len(logits))
expected, expected_gradient = fx.sigmoid_focal_loss(
    logits, labels, reduction="sum", return_grad=True)
def total(z, y, **options):
    return fxj.sigmoid_focal_loss(z, y, reduction="sum", **options)
def check(result):
    np.testing.assert_allclose(result[0], expected, 1e-6)
    np.testing.assert_allclose(result[1], expected_gradient, 1e-5, 1e-6)
"""


def run_python(code, devices=1):
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", COMMON + textwrap.dedent(code)]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=SECONDS, check=False, env=environment
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@needs_shard_map
def test_shard_map_over_two_devices():
    """Values and gradients with the default `check_vma`, of sums, means and arrays."""
    run_python(
        """
        mesh = Mesh(jax.devices(), ("batch",))
        spread = P("batch")

        def sharded(function, specs):
            return jax.jit(jax.shard_map(
                function, mesh=mesh, in_specs=(spread, spread), out_specs=specs))

        def of_all(z, y):
            return jax.lax.psum(total(z, y), "batch")

        check(sharded(jax.value_and_grad(of_all), (P(), spread))(logits, labels))
        # Numbers that all devices share: what they contribute to a weight is summed up.
        def shared(w, z, y):
            return jax.lax.psum(total(z * w, y, class_weight=jnp.ones(40)), "batch")
        step = jax.jit(jax.shard_map(
            jax.value_and_grad(shared), mesh=mesh,
            in_specs=(P(), spread, spread), out_specs=(P(), P())))
        loss, slope = step(jnp.ones(40), logits, labels)
        np.testing.assert_allclose(loss, expected, 1e-5)
        np.testing.assert_allclose(slope, (expected_gradient * logits).sum(0), 1e-3, 1e-3)
        # One loss an anchor, and then the mean over all devices.
        def mean(z, y):
            losses = fxj.sigmoid_focal_loss(z, y)
            return jax.lax.psum(losses.sum(), "batch")
        check(sharded(jax.value_and_grad(mean), (P(), spread))(logits, labels))
        positives = sharded(lambda z, y: jax.lax.psum((y < 40).sum(), "batch"), P())(logits, labels)
        def normalized(z, y):
            number = jax.lax.psum((y < 40).sum(), "batch")
            loss = fxj.sigmoid_focal_loss(z, y, reduction="mean", normalizer=number)
            return jax.lax.psum(loss, "batch")
        loss, slope = sharded(jax.value_and_grad(normalized), (P(), spread))(logits, labels)
        check((loss * positives, slope * positives))
        scores = jax.jit(jax.shard_map(fxj.sigmoid, mesh=mesh, in_specs=spread, out_specs=spread))
        np.testing.assert_allclose(scores(logits), fx.sigmoid(logits), 1e-6)
        for _ in range(50):
            sharded(of_all, P())(logits, labels)
        """,
        devices=2,
    )


def test_sharded_arrays_without_shard_map():
    run_python(
        """
        sharding = NamedSharding(Mesh(jax.devices(), ("batch",)), P("batch"))
        arrays = jax.device_put((logits, labels), sharding)
        check(jax.jit(jax.value_and_grad(total))(*arrays))
        """,
        devices=2,
    )


def test_many_threads_and_calls_that_nothing_waits_for():
    run_python(
        """
        step = jax.jit(jax.value_and_grad(total))
        check(step(logits, labels))
        failures = []

        def work(number):
            try:
                pending = [step(logits, labels) for _ in range(20)]
                if number % 2:
                    sum(range(1_000_000))  # holds the lock while they are computed
                for result in pending:
                    check(jax.block_until_ready(result))
                check(jax.value_and_grad(total)(logits, labels))
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert not failures, failures
        """
    )


def test_waiting_without_giving_up_the_lock():
    """A thread that keeps Python's lock until the result is there would wait forever for Python."""
    run_python(
        """
        import ctypes, sys
        step = jax.jit(jax.value_and_grad(total))
        check(step(logits, labels))
        sys.setswitchinterval(1e6)  # no thread is made to give it up
        results = [step(logits, labels) for _ in range(10)]
        usleep = ctypes.PyDLL(None).usleep  # which does not give it up either
        usleep(500_000)
        assert all(part.is_ready() for result in results for part in result)
        for result in results:
            check(result)
        """
    )


@needs_shard_map
def test_errors_on_one_of_two_devices():
    run_python(
        """
        mesh = Mesh(jax.devices(), ("batch",))
        step = jax.jit(jax.shard_map(
            lambda z, y: fxj.sigmoid_focal_loss(z, y), mesh=mesh,
            in_specs=(P("batch"), P("batch")), out_specs=P("batch")))
        wrong = labels.copy()
        wrong[-1] = 99
        for _ in range(3):
            try:
                jax.block_until_ready(step(logits, wrong))
            except Exception as error:
                assert "targets[3999] = 99 is not a class label" in str(error), error
            else:
                raise AssertionError("no error")
        np.testing.assert_allclose(step(logits, labels).sum(), expected, 1e-5)
        """,
        devices=2,
    )


def test_the_end_of_the_interpreter():
    """Computations that nothing has waited for are no obstacle."""
    run_python(
        """
        step = jax.jit(jax.value_and_grad(total))
        results = [step(logits, labels) for _ in range(200)]
        """
    )


def test_subnormal_numbers():
    """XLA's threads flush them to zero; losses that small are computed all the same."""
    run_python(
        """
        z = np.full((4, 3), -100.0, np.float32)
        z[:, 0] = 0
        dense = np.zeros((4, 3), np.float32)
        loss = np.asarray(jax.jit(fxj.sigmoid_cross_entropy, static_argnames="reduction")(
            z, dense, reduction="none"))
        np.testing.assert_array_equal(loss, fx.sigmoid_cross_entropy(z, dense, reduction="none"))
        assert 0 < loss[0, 1] < np.finfo(np.float32).tiny
        """
    )
