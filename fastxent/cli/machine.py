"""What the commands need to know about the machine: its CPU and its memory."""

import os
import platform
from pathlib import Path

from fastxent.cli.errors import CommandError


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the name of the CPU, or of its architecture where the system does not tell."""
    try:
        lines = cpuinfo.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    fields = (line.partition(":") for line in lines)
    names = (value.strip() for name, _, value in fields if name.strip() == "model name")
    return next(names, "") or platform.processor() or platform.machine() or "unknown CPU"


def memory_bytes() -> float:
    """Return the size of the machine's memory, infinite where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows; names that are not known
        return float("inf")


def check_memory(needed: float) -> None:
    """Refuse logits that need more bytes of memory than this machine has."""
    there = memory_bytes()
    if needed > there:
        raise CommandError(
            f"this many logits need about {needed / 1e9:,.0f} GB of memory, "
            f"and this machine has {there / 1e9:,.0f}"
        )
