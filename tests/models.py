"""The small nets that several test files use; a net that only one file needs is in that file."""

from typing import Any

import torch
from torch import nn

import torchscope as ts

X = torch.arange(6.0).reshape(2, 3) / 10
SHAPE = [2, 3]


def dense(x: torch.Tensor) -> torch.Tensor:
    """Makes ``w`` and ``b`` in the scope that is open."""
    w = ts.get_variable("w", [x.shape[-1], 3])
    return torch.tanh(x @ w + ts.get_variable("b", [3], initializer=ts.zeros_initializer()))


def layer(x: torch.Tensor) -> torch.Tensor:
    """Makes ``layer/w`` and ``layer/b``, both with random values."""
    with ts.variable_scope("layer"):
        w = ts.get_variable("w", [x.shape[-1], 3])
        return torch.tanh(x @ w + ts.get_variable("b", [3]))


def encoder_and_head(x: torch.Tensor) -> torch.Tensor:
    """Makes ``encoder/w``, ``encoder/b``, ``head/w`` and ``head/b``."""
    for name in ("encoder", "head"):
        with ts.variable_scope(name):
            x = dense(x)
    return x


def linear() -> nn.Module:
    """A factory for ``get_module``."""
    return nn.Linear(3, 3)


def get(name: str = "w", **arguments: Any) -> torch.Tensor:
    """A variable of shape ``SHAPE``."""
    return ts.get_variable(name, SHAPE, **arguments)


def store_of(*names: str, seed: int = 0, **arguments: Any) -> ts.VariableStore:
    """A store in which ``get`` has made these variables."""
    store = ts.VariableStore(seed)
    with store:
        for name in names:
            get(name, **arguments)
    return store


def clipped(variable: torch.Tensor) -> torch.Tensor:
    return variable.clamp(-1, 1)
