"""Docstrings of the functions of `fastxent.torch` and `fastxent.jax`, from those of NumPy's."""

import re

from fastxent._catalogue import NUMPY_ONLY

#: A parameter of a docstring: its line, and those that are indented.
_PARAMETER = re.compile(r"^(\w+) : .*\n(?:    .*\n|\n(?=    ))*", re.MULTILINE)


def adapt_docstring(original: str, *, array: str, threads: str, results: str) -> str:
    """Return a docstring with the parameters that are left, and with other results.

    `array` takes the place of "array_like", `threads` says what `num_threads` is by default, and
    `results` are the sections from "Returns" on.
    """
    introduction, _, rest = original.partition("Parameters\n----------\n")
    parameters = rest.partition("\nReturns\n-------\n")[0] + "\n"
    of_threads = f"num_threads : int, optional\n    From 1 to 1024; {threads}.\n"
    kept = [
        of_threads if match[1] == "num_threads" else match[0].replace("array_like", array)
        for match in _PARAMETER.finditer(parameters)
        if match[1] not in NUMPY_ONLY
    ]
    return f"{introduction}Parameters\n----------\n{''.join(kept)}\n{results}\n"
