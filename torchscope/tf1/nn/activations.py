"""Activations: relu and its variants, softmax over an axis."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # as torch's documentation writes it

from torchscope.tf1._arguments import one_axis, renamed
from torchscope.tf1._convert import Operand, floating, numeric, tensor
from torchscope.tf1.ops.elementwise import log_sigmoid, sigmoid, tanh

__all__ = [
    "crelu",
    "elu",
    "leaky_relu",
    "log_sigmoid",
    "log_softmax",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "softmax",
    "softplus",
    "softsign",
    "swish",
    "tanh",
    "zero_fraction",
]

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def relu(features: Operand, name: str | None = None) -> Tensor:
    """The larger of x and 0.

    Torch: ``F.relu``.
    """
    return torch.relu(numeric(features, "relu", "features"))


def relu6(features: Operand, name: str | None = None) -> Tensor:
    """The larger of x and 0, at most 6.

    Torch: ``F.relu6``.
    """
    return F.relu6(numeric(features, "relu6", "features"))


def crelu(features: Operand, name: str | None = None, axis: Any = -1) -> Tensor:
    """Relu of x and of -x, concatenated along an axis, whose size doubles.

    Torch: ``torch.cat([x, -x], axis).relu()``.
    """
    x = numeric(features, "crelu", "features")
    return torch.cat([x, -x], one_axis(axis, x.ndim, "crelu")).relu()


def leaky_relu(features: Operand, alpha: Any = 0.2, name: str | None = None) -> Tensor:
    """X where it is positive, else ``alpha * x``.

    Torch: ``F.leaky_relu(x, 0.2)``; torch's own slope is 0.01.

    Args:
        features: of any shape; integers become float32.
        alpha: the slope below 0.
        name: not used.
    """
    x = numeric(features, "leaky_relu", "features")
    return F.leaky_relu(x if x.is_floating_point() else x.float(), alpha)


def elu(features: Operand, name: str | None = None) -> Tensor:
    """X where it is positive, else ``exp(x) - 1``.

    Torch: ``F.elu``.
    """
    return F.elu(floating(features, "elu", "features"))


def selu(features: Operand, name: str | None = None) -> Tensor:
    """The scaled exponential linear unit.

    Torch: ``F.selu``; the gradient at 0 is 1.0507 (torch: 1.7581).
    """
    x = floating(features, "selu", "features")
    below = _SELU_ALPHA * torch.expm1(x.clamp(max=0))
    return _SELU_SCALE * torch.where(x < 0, below, x)


def softplus(features: Operand, name: str | None = None) -> Tensor:
    """``log(exp(x) + 1)``.

    Torch: ``F.softplus``, which is linear above 20 (a difference of 2e-9).
    """
    return F.softplus(floating(features, "softplus", "features"))


def softsign(features: Operand, name: str | None = None) -> Tensor:
    """``x / (abs(x) + 1)``.

    Torch: ``F.softsign``.
    """
    return F.softsign(floating(features, "softsign", "features"))


def swish(features: Operand, name: str | None = None) -> Tensor:
    """``x * sigmoid(x)``.

    Torch: ``F.silu``.
    """
    return F.silu(floating(features, "swish", "features"))


def softmax(logits: Operand, axis: Any = None, name: str | None = None, dim: Any = None) -> Tensor:
    """Exponentials along an axis, the last by default, divided by their sum.

    Torch: ``torch.softmax(x, -1)``.
    """
    x = floating(logits, "softmax", "logits")
    return torch.softmax(x, _axis(x, axis, dim, "softmax"))


def log_softmax(
    logits: Operand, axis: Any = None, name: str | None = None, dim: Any = None
) -> Tensor:
    """The logarithm of softmax along an axis, the last by default.

    Torch: ``torch.log_softmax(x, -1)``.
    """
    x = floating(logits, "log_softmax", "logits")
    return torch.log_softmax(x, _axis(x, axis, dim, "log_softmax"))


def zero_fraction(value: Operand, name: str | None = None) -> Tensor:
    """The share of elements that are 0.

    Torch: ``(x == 0).float().mean()``.
    """
    return (tensor(value, function="zero_fraction") == 0).float().mean()


def _axis(x: Tensor, axis: Any, dim: Any, function: str) -> int:
    if dim is not None:
        axis = renamed(function, axis=axis, dim=dim)
    if x.ndim == 0:
        raise ValueError(f"{function}(): logits are a scalar; they need an axis.")
    return x.ndim - 1 if axis is None else one_axis(axis, x.ndim, function)
