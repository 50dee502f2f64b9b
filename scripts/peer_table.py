"""Write docs/peers.md: the functions of other libraries beside ours, parameter by parameter.

Run ``python scripts/peer_table.py`` to write the file, or with ``--check`` to learn whether it is
up to date. It needs nothing but Python. In the texts below, a word in backticks is a parameter:
one of ours, except under ``we_lack``, where it is one of the peer's; or a function ``fx.name``.
"""

import argparse
import sys
from collections.abc import Iterable
from itertools import starmap
from pathlib import Path

from peer_cross_entropies import CROSS_ENTROPIES, PROBABILITY_LOSSES
from peer_focal_losses import FOCAL_LOSSES
from peer_phrases import LIBRARIES, Peer
from peer_scores import SCORES

PAGE = Path(__file__).parents[1] / "docs" / "peers.md"
LOSSES = CROSS_ENTROPIES | FOCAL_LOSSES | PROBABILITY_LOSSES

#: What is said before a table.
TEXTS = {
    "sigmoid_cross_entropy": (
        "Ours sums over the classes of an anchor; what peers call no reduction is "
        '`reduction="none"`.'
    ),
    "binary_cross_entropy": "Ours is the mean over the classes of an anchor, as in Keras.",
    "odds": "None of the libraries has it.",
}

INTRODUCTION = """
# fastxent beside its peers

How other libraries call the losses and scores of fastxent: the parameters of each function in their
order and what stands for them here, what the function lacks, and what we lack.

`scripts/peer_table.py` wrote this page, after the documentation and the sources of the versions
below; change it there. `tests/harness/test_peer_table.py` compares the parameters with ours and
with those of the libraries that are installed.

In the tables, *none* is a parameter without a counterpart, and `fx` is fastxent. A *dense* target
has the shape of the logits. C is the number of classes, p_t the probability given to the
truth.

## The libraries

The losses of fastxent take class labels or dense targets, ignored anchors and missing labels,
weights of anchors and of classes, and a class axis anywhere; they return one loss per anchor, or
sums and means in float64 with a choice of divisors, and the gradient from the same pass; float16
and bfloat16 are read as they are, with float32 losses. What a whole library does otherwise is here,
and not in each row.

An empty class axis is an error for losses. Those of PyTorch and Optax take it: cross-entropies of
dense targets are sums of no terms, 0, and a mean over no elements is NaN. For scores it is what
PyTorch, JAX and, where it takes it, SciPy make of it: `logsumexp` is -inf, `softmax` and
`log_softmax` are empty.
"""


def format_table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    header = list(header)
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell or '-' for cell in line)} |" for line in lines)


def format_peer(peer: Peer) -> list[str]:
    """Return the cells of a peer's row."""
    function = f"`{peer.function}`" + (f"<br>{peer.remark}" if peer.remark else "")
    parameters = [f"`{name}` -> {ours}" for name, ours in peer.parameters.items()]
    return [function, "<br>".join(parameters), peer.lacks, peer.we_lack]


def format_section(ours: str, peers: list[Peer]) -> str:
    """Return heading, text and table of one of our functions."""
    parts = [f"### {ours}", TEXTS.get(ours, "")]
    if peers:
        header = ("peer", "its parameters -> ours", "it lacks", "we lack")
        parts.append(format_table(header, map(format_peer, peers)))
    return "\n\n".join(filter(None, parts))


def format_page() -> str:
    """Return the whole page."""
    libraries = [
        (library.name, library.version, library.lacks, library.we_lack)
        for library in LIBRARIES.values()
    ]
    parts = [
        INTRODUCTION.strip(),
        format_table(("library", "version", "it lacks", "we lack"), libraries),
        "## Losses",
        *starmap(format_section, LOSSES.items()),
        "## Scores",
        *starmap(format_section, SCORES.items()),
    ]
    return "\n\n".join(parts) + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write docs/peers.md.")
    parser.add_argument("--check", action="store_true", help="compare the file, write nothing")
    page = format_page()
    if parser.parse_args(arguments).check:
        if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page:
            return 0
        print(f"{PAGE} is out of date: run python scripts/peer_table.py", file=sys.stderr)
        return 1
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
