"""How many CPUs a process may use: its affinity, OpenMP's places, the quota of its cgroup."""

import functools
import math
import os
from pathlib import Path, PurePosixPath

from fastxent import native
from fastxent._binding import binding_of

AFFINITY = "CPU affinity"


def count_cpus() -> int:
    """Return how many CPUs the calling thread may use now: the smallest of all limits."""
    return _count(native.affinity_mask())


def cpu_limits() -> dict[str, int]:
    """Return the limits, by the name of what limits."""
    limits = dict([_affinity(native.affinity_mask())])
    if _quota() < math.inf:
        limits["cgroup quota"] = int(_quota())
    return limits


@functools.cache
def _count(mask: bytes) -> int:
    return int(min(_affinity(mask)[1], _quota()))


# --- affinity -------------------------------------------------------------------------------------


def _affinity(mask: bytes) -> tuple[str, int]:
    """Return what limits the CPUs, and to how many.

    OpenMP's binding, which concerns one thread, is told from an affinity that the user has set.
    """
    if not mask:
        return "number of CPUs", os.cpu_count() or 1
    bits = int.from_bytes(mask, "little")
    cpus = {cpu for cpu in range(bits.bit_length()) if bits >> cpu & 1}
    binding = binding_of(native.LIBRARY)
    if binding is None or cpus not in binding.places:
        return AFFINITY, len(cpus)
    if len(binding.cpus) < binding.processors:
        return "OpenMP's places", len(binding.cpus)
    if len(cpus) == binding.processors < (os.cpu_count() or 1):
        # A process that is started, or a runtime that is loaded, by a bound thread knows no better.
        return f"{AFFINITY}, to which OpenMP may have bound a parent or a library", len(cpus)
    return f"{AFFINITY} before OpenMP bound threads", binding.processors


# --- control groups -------------------------------------------------------------------------------


@functools.cache
def _quota() -> float:
    """Return the whole number of CPUs that the control groups leave this process, or infinity."""
    quota = _cgroup_quota(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    return max(1, math.ceil(quota)) if quota < math.inf else quota


def _cgroup_quota(membership: Path, root: Path) -> float:
    """Return how many CPUs the control groups (version 1 or 2) of this process leave it."""
    quota = math.inf
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return quota
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # A group may use no more than any group above it. In a container the path may be the
        # host's, of which only the mount itself is visible.
        parts = PurePosixPath(group).parts[1:]
        for mount in (root / "cpu", root / controllers) if controllers else (root,):
            for depth in range(len(parts) + 1):
                quota = min(quota, _group_quota(mount.joinpath(*parts[:depth])))
    return quota


def _group_quota(group: Path) -> float:
    """Return the CPUs granted by the files of one control group."""
    try:
        if (group / "cpu.max").exists():
            limit, period = (group / "cpu.max").read_text().split()
        else:
            limit = (group / "cpu.cfs_quota_us").read_text()
            period = (group / "cpu.cfs_period_us").read_text()
        return int(limit) / int(period) if int(limit) > 0 else math.inf
    except (OSError, ValueError):  # no such group; "max"
        return math.inf
