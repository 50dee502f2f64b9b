"""What the tests of the command line share."""

import re
import sys

import numpy as np
from scipy.special import logsumexp
from typer.testing import CliRunner

from fastxent.cli.app import app

#: The command in a process of its own.
COMMAND = [sys.executable, "-c", "from fastxent.cli import main; main()"]


def run(*arguments):
    """Run the command in this process; the result has exit_code and output."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def fails(*arguments):
    """Run a command that must end with one line and status 2; return the line."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert result.output.startswith("fastxent: ")
    assert result.output.count("\n") == 1
    return result.output.removeprefix("fastxent: ").removesuffix("\n")


def printed(output, name):
    """The number after a name at the start of a line."""
    return float(re.search(rf"^{name} +(\S+)$", output, re.MULTILINE)[1].replace(",", ""))


def table(output, title):
    """The cells of a table in the output, without its header."""
    lines = output.split(title, 1)[1].splitlines()[3:]
    end = next((i for i, line in enumerate(lines) if not line.strip()), len(lines))
    return [re.split(r" {2,}", line.strip()) for line in lines[:end]]


def expected_losses(loss, logits, targets, ignore=(-100,)):
    """Loss per anchor in float64 by the textbook formulas; classes are on the last axis."""
    logits = logits.astype(np.float64)
    classes = logits.shape[-1]
    ignored = np.zeros(logits.shape[:-1], bool)
    if targets.shape != logits.shape:
        ignored = np.isin(targets, ignore)
        columns = np.where(ignored, classes, targets.astype(np.int64))
        targets = np.eye(classes + 1, classes)[columns]
    if loss == "sigmoid":
        per_logit = np.logaddexp(0, logits) - targets * logits
    else:
        per_logit = targets * (logsumexp(logits, axis=-1, keepdims=True) - logits)
    return np.where(ignored, 0, per_logit.sum(axis=-1))
