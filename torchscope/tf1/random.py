"""tf.random: the random operations under their names of 1.9; a namespace."""

from typing import Any

from torch import Tensor

from . import _missing
from .ops.random import multinomial, random_crop, set_random_seed, truncated_normal
from .ops.random import random_gamma as gamma
from .ops.random import random_normal as normal
from .ops.random import random_poisson as poisson
from .ops.random import random_shuffle as shuffle
from .ops.random import random_uniform as uniform

__all__ = [
    "categorical",
    "gamma",
    "multinomial",
    "normal",
    "poisson",
    "random_crop",
    "random_gamma",
    "set_random_seed",
    "shuffle",
    "truncated_normal",
    "uniform",
]

random_gamma = gamma

__getattr__ = _missing.of("tf.random")


def categorical(
    logits: Any,
    num_samples: Any,
    dtype: Any = None,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Classes drawn by their unnormalized log-probabilities, with replacement.

    Torch: ``torch.multinomial(logits.softmax(1), num_samples, replacement=True)``.
    """
    return multinomial(logits, num_samples, seed, name, dtype)
