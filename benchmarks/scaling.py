"""Losses of data on disk: one process that streams, threads of dask, and workers of a cluster.

    python -m benchmarks.scaling --megabytes 512 --json scaling.json

Each contender reads the same stack of .npy files and computes the sum of the sigmoid
cross-entropy. Rounds are interleaved, and the table has the smallest times: what other work on the
machine adds is never negative. "read" is dask alone: the same chunks are read and summed.
"""

import argparse
import contextlib
import json
import shutil
import tempfile
import time
from pathlib import Path

import dask
import dask.array as da
import numpy as np

import fastxent as fx
import fastxent.dask as fxd

CLASSES = 80
MEGABYTE = 2**20
CHUNK_MEGABYTES = (1, 4, 16, 64, 256)


def make_stack(folder, megabytes, chunk_megabytes):
    """Write logits and labels as stacks of .npy files with chunks of this size."""
    rows = chunk_megabytes * MEGABYTE // (4 * CLASSES)
    count = max(1, megabytes // chunk_megabytes)
    rng = np.random.default_rng(0)
    block = rng.normal(-4, 3, (rows, CLASSES)).astype(np.float32)
    labels = rng.integers(0, CLASSES + 1, rows)
    folder.mkdir(parents=True)
    with dask.config.set(scheduler="synchronous"):
        for name, array in (("logits", block), ("labels", labels)):
            one = da.from_array(array, chunks=-1)
            da.to_npy_stack(folder / name, da.concatenate([one] * count))
    return folder


def stream(folder):
    """Read one file after the other, and compute with all threads."""
    total = 0.0
    for number in range(len(list((folder / "logits").glob("*.npy")))):
        arrays = (np.load(folder / name / f"{number}.npy") for name in ("logits", "labels"))
        total += fx.sigmoid_cross_entropy(*arrays, reduction="sum")
    return total


def lazy_loss(folder):
    logits, labels = (da.from_npy_stack(folder / n, mmap_mode=None) for n in ("logits", "labels"))
    return fxd.sigmoid_cross_entropy(logits, labels, reduction="sum")


def lazy_read(folder):
    return da.from_npy_stack(folder / "logits", mmap_mode=None).sum()


def contenders(stack, workers):
    """Return functions of a folder by name, with clusters that last as long as the stack."""
    from distributed import Client, LocalCluster

    found = {"one process": stream}
    for count in workers:
        found[f"threads {count}"] = threads(count)
        cluster = LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=":0")
        client = stack.enter_context(Client(stack.enter_context(cluster)))
        found[f"workers {count}"] = on_cluster(client, lazy_loss)
        found[f"workers {count}, read"] = on_cluster(client, lazy_read)
    return found


def threads(count):
    return lambda folder: lazy_loss(folder).compute(scheduler="threads", num_workers=count)


def on_cluster(client, lazy):
    return lambda folder: client.compute(lazy(folder)).result()


def measure(megabytes, sizes, workers, rounds, folder):
    """Return the smallest seconds of each contender, by chunk size."""
    result = {}
    with contextlib.ExitStack() as stack:
        found = contenders(stack, workers)
        for size in sizes:
            files = make_stack(folder / f"{size}", megabytes, size)
            times = {name: [] for name in found}
            expected = found["one process"](files)
            for _ in range(rounds):
                for name, function in found.items():
                    start = time.perf_counter()
                    value = function(files)
                    times[name].append(time.perf_counter() - start)
                    if "read" not in name and abs(value - expected) > 1e-12 * expected:
                        raise RuntimeError(f"{name}: {value!r} instead of {expected!r}")
            result[size] = {name: min(seconds) for name, seconds in times.items()}
            print(table({size: result[size]}).splitlines()[-1], flush=True)
            shutil.rmtree(files)
    return result


def table(result):
    """Return the times as a Markdown table, relative to one process that streams."""
    names = list(next(iter(result.values())))
    lines = ["| chunks | " + " | ".join(names) + " |", "|--:|" + "--:|" * len(names)]
    for size, times in result.items():
        base = times["one process"]
        cells = [f"{base:.2f} s", *(f"{times[name] / base:.2f}" for name in names[1:])]
        lines.append(f"| {size} MB | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--chunks", type=int, nargs="+", default=CHUNK_MEGABYTES)
    parser.add_argument("--workers", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sizes = [size for size in options.chunks if size <= options.megabytes]
        result = measure(options.megabytes, sizes, options.workers, options.rounds, Path(folder))
    print(table(result), flush=True)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
