"""spatial_softmax and scale_gradient, as models of robots use them."""

from typing import Any

import torch
from torch import Tensor

import torchscope as ts
from torchscope.tf1._convert import Operand, floating, tensor
from torchscope.tf1.layers._parts import layer_input
from torchscope.tf1.ops.gradients import custom_gradient

from ._arg_scopes import add_arg_scope
from .core import is_last
from .utils import get_variable_collections
from .variables import model_variable

__all__ = ["scale_gradient", "spatial_softmax"]


@add_arg_scope
def spatial_softmax(
    features: Operand,
    temperature: float | None = None,
    name: Any = None,
    variables_collections: Any = None,
    trainable: bool = True,
    data_format: str = "NHWC",
) -> Tensor:
    """The expected place of each channel's feature: ``[batch, 2 * channels]``, from -1 to 1.

    Torch: none. The row and the column of each channel, by the softmax over all pixels.

    Args:
        features: ``[batch, height, width, channels]``, or as ``data_format`` says.
        temperature: the first value of the variable that the features are divided by, 1 by default.
        name: a name or scope; ``spatial_softmax``, made unique, by default.
        variables_collections: as for ``batch_norm``; of ``temperature``.
        trainable: whether the temperature is.
        data_format: ``"NHWC"`` or ``"NCHW"``.

    Raises:
        ValueError: an unknown ``data_format``, or features that are not of rank 4.
    """
    with ts.variable_scope(name, "spatial_softmax"):
        x = layer_input(features, "spatial_softmax", 4)
        x = x.permute(0, 3, 1, 2) if is_last(data_format, "spatial_softmax") else x
        first = ts.constant_initializer(1.0 if temperature is None else temperature)
        collections = get_variable_collections(variables_collections, "temperature")
        heat = model_variable(
            "temperature",
            (),
            torch.float32,
            first,
            trainable=trainable,
            collections=collections if trainable else None,
        )
        shares = torch.softmax((x / heat.to(x.dtype)).flatten(2), -1).reshape(x.shape)
        places = [_place(shares.sum(3)), _place(shares.sum(2))]
        return torch.stack(places, -1).flatten(1)


def _place(shares: Tensor) -> Tensor:
    """The expected place along the last axis, from -1 to 1."""
    size, dtype = shares.shape[-1], shares.dtype
    return (shares * torch.linspace(-1, 1, size, dtype=dtype, device=shares.device)).sum(-1)


def scale_gradient(inputs: Operand, gradient_multiplier: Operand) -> Tensor:
    """The inputs themselves, whose gradient is multiplied.

    Torch: ``x.register_hook(lambda gradient: gradient * multiplier)``.
    """
    x = floating(inputs, "scale_gradient", "inputs")
    multiplier = tensor(
        gradient_multiplier, x.dtype, function="scale_gradient", argument="gradient_multiplier"
    )

    def scaled(x: Tensor) -> Any:
        def gradient(dy: Tensor) -> Tensor:
            return dy * multiplier

        return x * 1, gradient

    return custom_gradient(scaled)(x)
