"""The modules that every framework is tried on; knows none of the frameworks."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import torchscope as ts

WIDTH = 4


def layer(x: torch.Tensor) -> torch.Tensor:
    w = ts.get_variable("w", [x.shape[-1], WIDTH])
    b = ts.get_variable("b", [WIDTH], initializer=ts.zeros_initializer())
    return torch.tanh(x @ w + b)


def plain(x: torch.Tensor) -> torch.Tensor:
    """Two scopes; the first is used twice."""
    with ts.variable_scope("encoder", reuse=ts.AUTO_REUSE):
        x = layer(layer(x))
    with ts.variable_scope("head"):
        return layer(x)


def buffered(x: torch.Tensor) -> torch.Tensor:
    """State that training changes, state that is not saved, a frozen variable."""
    with ts.variable_scope("LayerNorm"):
        mean = ts.get_buffer("moving_mean", [WIDTH], initializer=ts.zeros_initializer())
        if torch.is_grad_enabled():
            ts.assign(mean, 0.9 * mean + 0.1 * x.detach().mean(0))
        unsaved = ts.get_buffer(
            "unsaved", [WIDTH], initializer=ts.constant_initializer(2.0), persistent=False
        )
        gamma = ts.get_variable("gamma", initializer=[1.0] * WIDTH, trainable=False)
        x = (x - mean) * gamma * unsaved
    return layer(x)


def block() -> nn.Module:
    return ts.ScopedModule(layer)


def linear() -> nn.Module:
    return nn.Linear(WIDTH, WIDTH)


def nested(x: torch.Tensor) -> torch.Tensor:
    """A variable of its own, a block that is a net itself, and an ordinary layer."""
    with ts.variable_scope("h"):
        x = ts.get_module("block", block)(layer(x))
        return ts.get_module("linear", linear)(x)


class One(nn.Module):
    """A module that holds one net."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.net = ts.ScopedModule(function, seed=0)

    def build(self, x: torch.Tensor) -> "One":
        self.net.build(x)
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


class Two(nn.Module):
    """A module that holds two nets beside a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.left = ts.ScopedModule(buffered, seed=0)
        self.scale = nn.Parameter(torch.ones(WIDTH))
        self.right = ts.ScopedModule(nested, seed=1)

    def build(self, x: torch.Tensor) -> "Two":
        self.left.build(x)
        self.right.build(x)
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.left(x) * self.scale + self.right(x)


KINDS: dict[str, Callable[[], Any]] = {
    "plain": lambda: One(plain),
    "buffered": lambda: One(buffered),
    "nested": lambda: One(nested),
    "two nets": Two,
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def inputs() -> torch.Tensor:
    return torch.rand(8, WIDTH, generator=torch.Generator().manual_seed(1))


def unbuilt(kind: str) -> Any:
    return KINDS[kind]()


def built(kind: str) -> Any:
    return unbuilt(kind).build(torch.ones(1, WIDTH))


def changed(kind: str) -> Any:
    """Built, and no longer at its initial values."""
    module = built(kind)
    with torch.no_grad():
        for tensor in module.state_dict(keep_vars=True).values():
            tensor.add_(0.25)
    return module


@torch.no_grad()
def output(module: nn.Module, x: torch.Tensor | None = None) -> torch.Tensor:
    return module(inputs() if x is None else x)


def values(module: nn.Module) -> dict[str, list[Any]]:
    return {name: tensor.tolist() for name, tensor in module.state_dict().items()}
