"""
Roofline
========

How near the kernels are to what the machine can do, from the recorded figures. A function that
reads its logits once cannot be faster than a plain read of them, and one that writes as much as it
reads takes about twice as long. Points near a line wait for memory, points far from it for
arithmetic. The percentage is the speed of reading, in the same rounds, that a function reaches.
"""

import json
from pathlib import Path

import matplotlib.pyplot as plt

figures = json.loads(Path("../../benchmarks/results/full-avx512.json").read_text("utf-8"))
rows = [
    row
    for row in figures["rows"]
    if row["shape"] == "200,000 x 80"
    and row["dtype"] == "float32"
    and row["foreground"] == 0.01
    and not row["dense"]
    and row["kind"] in {"losses", "gradients", "scores"}
]


def per_logit(row, name):
    """Return nanoseconds per logit."""
    return row["seconds"][name] / row["logits"] * 1e9


threads = max(row["threads"] for row in rows)
rows = sorted(
    (row for row in rows if row["threads"] == threads), key=lambda row: per_logit(row, "fastxent")
)
names = [
    row["function"].replace("_", " ") + (" + gradient" if row["kind"] == "gradients" else "")
    for row in rows
]
floor = min(per_logit(row, "parallel read") for row in rows)

figure, axes = plt.subplots(figsize=(8, 1 + 0.3 * len(rows)), layout="constrained")
colours = {"losses": "C0", "gradients": "C1", "scores": "C2"}
for at, row in enumerate(rows):
    time = per_logit(row, "fastxent")
    axes.plot([floor, time], [at, at], color="0.8")
    axes.plot(time, at, "o", color=colours[row["kind"]])
    share = per_logit(row, "parallel read") / time
    axes.text(time * 1.08, at, f"{share:.0%}", va="center", fontsize=8)
axes.axvline(floor, color="C3", label="plain read")
axes.axvline(2 * floor, color="C3", ls=":", label="read and write")
axes.set_yticks(range(len(rows)), names)
axes.set_xscale("log")
axes.set_xticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
axes.minorticks_off()
axes.set(xlim=(0.9 * floor, 2), xlabel=f"nanoseconds per logit, {threads} threads")
axes.set_title(f"{figures['environment']['cpu']}, {figures['environment']['isa']}", loc="left")
axes.invert_yaxis()
axes.grid(alpha=0.3, axis="x")
axes.legend(loc="upper right")
plt.show()
