"""Everything that threads share, used by many at once: for ThreadSanitizer (``make races``)."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import fastxent as fx
from fastxent import _results
from support.every_call import CALLS, digest, digest_all


def compute(seed, expected, calls):
    """Compute in turns on one, two and three threads, and check the results."""
    names = tuple(CALLS)
    for number in range(calls):
        name = names[(number + seed) % len(names)]
        if digest(name, 1 + (number // 3 + seed) % 3) != expected[name]:
            raise SystemExit(f"{name} has another result")


def change_settings(stop):
    """Change what calls read at any time."""
    while not stop.is_set():
        fx.set_result_cache(1 << 26)
        fx.set_num_threads(2)
        fx.show_config()
        fx.clear_result_cache()
        fx.set_result_cache(0)
        fx.set_num_threads(None)


def main(calls="300"):
    """Run four threads, a fifth that changes settings, and forks among them."""
    _results.LEAST_BYTES = 1  # results of any size are kept
    expected = dict(zip(CALLS, digest_all(2), strict=True))
    stop = threading.Event()
    settings = threading.Thread(target=change_settings, args=(stop,))
    settings.start()
    with ThreadPoolExecutor(4) as executor:
        running = [executor.submit(compute, seed, expected, int(calls)) for seed in range(4)]
        for one in running:
            one.result()
    stop.set()
    settings.join()
    values = np.zeros(10)
    assert np.array_equal(fx.sigmoid(values), values + 0.5)
    print(f"{4 * int(calls)} calls of {len(CALLS)} functions, {os.cpu_count()} CPUs")


if __name__ == "__main__":
    main(*sys.argv[1:])
