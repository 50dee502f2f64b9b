"""Write the text that docstrings share into the sources, so that editors and help() show words.

Run ``python scripts/docstrings.py`` to write it, or with ``--check`` to learn whether the sources
are up to date. It needs nothing but Python. The text is in ``fastxent/_docs.py``. It is found in a
docstring by its first words, or stands where a line of its own says ``<name of the text>``, which
is how a new docstring begins.
"""

import argparse
import ast
import importlib.util
import re
import sys
import textwrap
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).parents[1] / "fastxent"
#: Lines have up to 100 characters, and docstrings of functions are indented by 4.
WIDTH = 96


def load(module: str) -> ModuleType:
    """Load a module by its path, without the package."""
    path = PACKAGE / f"{module}.py"
    specification = importlib.util.spec_from_file_location(f"of_fastxent{module}", path)
    if specification is None or specification.loader is None:
        raise SystemExit(f"{path} cannot be loaded")
    loaded = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(loaded)
    return loaded


CATALOGUE, TEXTS = load("_catalogue"), load("_docs")

_OPERAND = "float or array_like\n    A number, an array, or a value within a custom loss."
MATH_PARTS = {
    **{
        name: f"{name} : {_OPERAND}"
        for name in ("x", "a", "b", "base", "exponent", "low", "high", "yes", "no")
    },
    "condition": "condition : bool or array_like\n    A comparison, or several with ``& | ~``.",
    "result": "float or ndarray\n    The result in float64, or a value within a custom loss.",
}

_SIGMOID = (
    *("logits and targets", "axis", "common parameters", "result", "errors", "accuracy"),
    *("limits", "zeros and nans", "resources"),
)
_OWN_LIMITS = tuple(name for name in _SIGMOID if name != "limits")
_SOFTMAX = _SIGMOID
_PROBABILITIES = ("axis", "common parameters", "result", "errors", "accuracy", "resources")
_SCORE = ("common parameters", "result", "accuracy", "resources")
_CLASS_SCORE = ("logits and axis", "common parameters", "accuracy", "resources of classes")
_CLASS_SCORE += ("logsumexp reference",)
_ANCHORS = ("losses", "batch and execution", "mask", "resources")

_OF_ONE = ("exp", "expm1", "log", "log1p", "sqrt", "tanh", "sigmoid", "softplus")
_OF_ONE += ("log_sigmoid", "absolute")

#: Of each module and function the texts, and the names of those that it has.
USES: dict[str, dict[str, tuple[dict[str, str], tuple[str, ...]]]] = {
    "losses": {
        "sigmoid_cross_entropy": (TEXTS.SIGMOID_PARTS, _OWN_LIMITS),
        "softmax_cross_entropy": (TEXTS.SOFTMAX_PARTS, (*_SOFTMAX, "logsumexp reference")),
        "poly1_cross_entropy": (TEXTS.SOFTMAX_PARTS, _SOFTMAX),
    },
    "focal_losses": {
        "sigmoid_focal_loss": (TEXTS.SIGMOID_PARTS, _SIGMOID),
        "softmax_focal_loss": (TEXTS.SOFTMAX_PARTS, _SOFTMAX),
        "asymmetric_loss": (TEXTS.SIGMOID_PARTS, _OWN_LIMITS),
    },
    "focal_star": {"sigmoid_focal_loss_star": (TEXTS.SIGMOID_PARTS, _OWN_LIMITS)},
    "quality_losses": {
        "quality_focal_loss": (TEXTS.SIGMOID_PARTS, _SIGMOID[1:]),
        "varifocal_loss": (TEXTS.SIGMOID_PARTS, _SIGMOID),
        "distribution_focal_loss": (TEXTS.DISTRIBUTION_PARTS, _PROBABILITIES),
    },
    "probability_losses": {
        "binary_cross_entropy": (TEXTS.SIGMOID_PARTS, _PROBABILITIES),
        "categorical_cross_entropy": (TEXTS.SOFTMAX_PARTS, _PROBABILITIES),
    },
    "scores": {
        "sigmoid": (TEXTS.SCORE_PARTS, ("logits", *_SCORE)),
        "log_sigmoid": (TEXTS.SCORE_PARTS, ("logits", *_SCORE, "log1p reference")),
        "softplus": (TEXTS.SCORE_PARTS, ("logits", *_SCORE, "log1p reference")),
        "logit": (TEXTS.SCORE_PARTS, ("probs", *_SCORE)),
        "odds": (TEXTS.SCORE_PARTS, ("probs", *_SCORE)),
        "softmax": (TEXTS.SCORE_PARTS, ("result", *_CLASS_SCORE)),
        "log_softmax": (TEXTS.SCORE_PARTS, ("result", *_CLASS_SCORE)),
        "logsumexp": (TEXTS.SCORE_PARTS, _CLASS_SCORE),
    },
    "mining": {
        "hard_negatives": (TEXTS.MINING_PARTS, _ANCHORS),
        "ohem": (TEXTS.MINING_PARTS, _ANCHORS),
    },
    "matching": {"class_cost": (TEXTS.MATCHING_PARTS, ("execution", "resources"))},
    "math": {
        **dict.fromkeys(_OF_ONE, (MATH_PARTS, ("x", "result"))),
        "maximum": (MATH_PARTS, ("a", "b", "result")),
        "minimum": (MATH_PARTS, ("a", "b", "result")),
        "clip": (MATH_PARTS, ("x", "low", "high", "result")),
        "power": (MATH_PARTS, ("base", "exponent", "result")),
        "where": (MATH_PARTS, ("condition", "yes", "no", "result")),
    },
}


def accuracy_of(bound: int) -> str:
    """Return the sentence on the accuracy of a score."""
    return f"Accuracy: relative error at most {bound} ULP (2^-23) in float32."


def accuracy_of_loss(loss: int, gradient: int, growth: str) -> str:
    """Return the sentences on the accuracy of a loss."""
    return f"""
Accuracy: relative error at most {loss}{growth} ULP (2^-23) in float32 for losses of
any size, and {gradient}{growth} ULP for gradients; below 1e-36, near the end of float32's
range, the error is at most 1e-42. Where a target is soft (neither 0 nor 1) a gradient is the
difference of two terms, and its error is relative to the sum of their magnitudes. The gradient of
float16 or bfloat16 input is rounded to that dtype at the end.
"""


def accuracy(function: str) -> str:
    """Return the sentences on the accuracy of a public function."""
    if function in CATALOGUE.SCORES:
        return accuracy_of(CATALOGUE.SCORES[function].bound)
    bounds = CATALOGUE.LOSSES[function].bounds
    growth = f" + {bounds.per_gamma} x {bounds.gamma}" if bounds.per_gamma else ""
    return accuracy_of_loss(bounds.loss, bounds.gradient, growth)


def fit(text: str) -> list[str]:
    """Return the lines of a text; paragraphs with a line that is too long are filled again."""
    result: list[str] = []
    paragraph: list[str] = []
    for line in [*text.strip().splitlines(), None]:
        indent = "" if line is None else line[: len(line) - len(line.lstrip())]
        if paragraph and (not line or _indent(paragraph) != indent):
            result += _refill(paragraph)
            paragraph = []
        if line:
            paragraph.append(line)
        elif line is not None:
            result.append("")
    return result


def _indent(paragraph: list[str]) -> str:
    return paragraph[0][: len(paragraph[0]) - len(paragraph[0].lstrip())]


def _refill(paragraph: list[str]) -> list[str]:
    if max(map(len, paragraph)) <= WIDTH or paragraph[0].startswith(".."):
        return paragraph
    indent = _indent(paragraph)
    # A sentence of its own line, such as "Threads: ...", begins a line again.
    pieces: list[list[str]] = []
    for line in paragraph:
        if not pieces or re.match(r"[A-Z]\w+: ", line.strip()):
            pieces.append([])
        pieces[-1].append(line.strip())
    options = {"initial_indent": indent, "subsequent_indent": indent, "break_on_hyphens": False}
    filled = (textwrap.wrap(" ".join(piece), WIDTH, **options) for piece in pieces)
    return [line for lines in filled for line in lines]


def heads_of(lines: list[str]) -> list[str]:
    """Return how the first lines of the items or paragraphs of a text begin."""
    if len(lines) > 1 and lines[1].startswith(" ") and not lines[0].startswith(".."):
        items = [line for line in lines if line and not line.startswith(" ")]
        return [line.split(" : ")[0] + " : " * (" : " in line) for line in items]
    first = [line for line, before in zip(lines, ["", *lines], strict=False) if line and not before]
    return [" ".join(line.split()[:4]) for line in first]


def find(lines: list[str], docstring: list[str]) -> slice:
    """Return where in a docstring a text is, in this wording or in an older one."""
    heads = heads_of(lines)
    starts = [at for at, line in enumerate(docstring) if begins(line, heads[0])]
    if len(starts) != 1:
        raise ValueError(f"{len(starts)} lines begin with {heads[0]!r}")
    end = starts[0]
    for head in heads[1:]:
        end += 1
        while end < len(docstring) and not begins(docstring[end], head):
            end += 1
    is_list = len(lines) > 1 and lines[1].startswith(" ") and not lines[0].startswith("..")
    end += 1
    while end < len(docstring) and docstring[end]:
        if docstring[end].startswith("..") or (is_list and not docstring[end].startswith(" ")):
            break
        end += 1
    return slice(starts[0], end)


def begins(line: str, head: str) -> bool:
    """Return whether an item or a paragraph begins with this line."""
    return line == head or (line.startswith(head) and (head.endswith(": ") or " " in head))


def rewrite(docstring: str, function: str, parts: dict[str, str], names: tuple[str, ...]) -> str:
    """Return a docstring with the text that it shares with others."""
    lines = docstring.splitlines()
    for name in names:
        text = fit(accuracy(function) if name == "accuracy" else parts[name])
        place = f"<{name}>"
        where = slice(at := lines.index(place), at + 1) if place in lines else find(text, lines)
        lines[where] = text
    return "\n".join(lines)


def rewrite_module(module: str, source: str) -> str:
    """Return the source of a module with all its docstrings written."""
    lines = source.splitlines()
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    for function in reversed(functions):
        if function.name not in USES[module] or not ast.get_docstring(function):
            continue
        node = function.body[0]
        docstring = ast.get_docstring(function) or ""
        try:
            text = rewrite(docstring, function.name, *USES[module][function.name])
        except ValueError as error:
            raise SystemExit(f"{module}.{function.name}: {error}") from error
        text = textwrap.indent(f'"""{text}\n"""', "    ", lambda line: line.strip() != "")
        lines[node.lineno - 1 : node.end_lineno] = text.splitlines()
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write or check the sources."""
    parser = argparse.ArgumentParser(description="Write the text that docstrings share.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if outdated")
    arguments = parser.parse_args()
    outdated = []
    for module in USES:
        path = PACKAGE / f"{module}.py"
        source = path.read_text("utf-8")
        written = rewrite_module(module, source)
        if written != source:
            outdated.append(path.name)
            if not arguments.check:
                path.write_text(written, "utf-8")
    if arguments.check and outdated:
        sys.exit(f"out of date: {', '.join(outdated)}; run python scripts/docstrings.py")


if __name__ == "__main__":
    main()
