"""
Scaling with threads
====================

Time on one thread, divided by the time on two, from the recorded figures. Each dot is a shape, the
line is the median. 2 is all that there is to gain, and what lies beyond is noise. What waits for
memory gains less, because both threads share it.
"""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

recorded = json.loads(Path("../../benchmarks/results/full-avx512.json").read_text("utf-8"))
rows = {row["id"]: row for row in recorded["rows"]}
speedups = {}
for name, row in rows.items():
    one = rows.get(name.removesuffix("-2t") + "-1t")
    if name.endswith("-2t") and one and row["logits"] >= 10**6:
        key = row["function"].replace("_", " ") + " + gradient" * (row["kind"] == "gradients")
        ratio = one["seconds"]["fastxent"] / row["seconds"]["fastxent"]
        speedups.setdefault(key, []).append(ratio)
order = sorted(speedups, key=lambda key: np.median(speedups[key]))

figure, axes = plt.subplots(figsize=(8, 1 + 0.3 * len(order)), layout="constrained")
for at, key in enumerate(order):
    axes.plot(speedups[key], [at] * len(speedups[key]), "o", color="C0", alpha=0.35)
    axes.plot(np.median(speedups[key]), at, "|", color="C3", markersize=16)
axes.axvline(1, color="0.6", lw=1)
axes.axvline(2, color="0.6", lw=1, ls="--")
axes.set_yticks(range(len(order)), order)
axes.set(xlabel="times faster on two threads than on one")
axes.set_title(
    f"{recorded['environment']['cpu']}, {recorded['environment']['cpus']} CPUs", loc="left"
)
axes.grid(alpha=0.3, axis="x")
plt.show()
