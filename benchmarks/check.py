"""Compare peers with the reference, on a few logits: python -m benchmarks.check PEER [CASE...]

Prints one line of JSON: a list of (case, contender, error in units of the tolerance or what it
raised). The tests run it in a separate process, where the threads of a peer do no harm.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

from benchmarks import peers
from benchmarks.contenders import Contenders, admit_peer
from benchmarks.inputs import make_inputs
from benchmarks.shapes import DTYPES, GENERAL_GAMMA, LOSSES, SCORES, SINGLE_CLASS, Case, Shape, fits

TINY = (Shape((40, 7)), Shape((2, 5, 9), 1), Shape((60,), None))


def tiny_cases() -> Iterator[Case]:
    """Yield every function on every kind of layout; the other dtypes on one of them."""
    for function in LOSSES + SCORES:
        for gradient in (False, True) if function in LOSSES else (False,):
            for shape in TINY:
                if shape.axis is not None or fits(function, SINGLE_CLASS):
                    yield Case(function, shape, foreground=0.5, gradient=gradient)
            for dtype in DTYPES[1:]:
                yield Case(function, TINY[0], dtype, 0.5, gradient)
            if function in {"sigmoid_focal_loss", "softmax_focal_loss"}:
                yield Case(function, TINY[0], "float32", 0.5, gradient, variant=GENERAL_GAMMA)


def check(name: str, cases: list[Case]) -> list[tuple[str, str, float | str]]:
    """Return what a peer makes of each case; 0 stands for equal."""
    found: list[tuple[str, str, float | str]] = []
    for case in cases:
        contenders = Contenders()
        admit_peer(contenders, name, make_inputs(case), threads=1)
        found += [(case.name, contender, 0.0) for contender in contenders.runs]
        found += [(case.name, *item) for item in contenders.unequal.items()]
        found += [(case.name, *item) for item in contenders.failed.items()]
    return found


def main(arguments: list[str]) -> int:
    """Check one peer on all tiny cases, or on those that are named."""
    name, *chosen = arguments
    cases = [case for case in tiny_cases() if not chosen or case.name in chosen]
    if name == "torch_compile":
        peers.load(name).BACKEND = "eager"  # compiling C++ takes its time
    print(json.dumps(check(name, cases)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
