"""Values and targets of the losses and scores as tensors."""

import numpy as np
import torch

from fastxent._catalogue import LOSSES, SCORES
from support import family


def example(name, shape=(6, 5), axis=-1, dtype=torch.float64):
    """Return values and targets of a loss, or the values of a score and no targets."""
    rng = np.random.default_rng(7)
    values = family.values_for(name, rng, shape)
    if name in SCORES and SCORES[name].values == "probs":
        values = rng.uniform(0.05, 0.95, shape)
    targets = family.targets_for(name, rng, values, axis) if name in LOSSES else ()
    return torch.from_numpy(values).to(dtype), tuple(map(torch.from_numpy, targets))
