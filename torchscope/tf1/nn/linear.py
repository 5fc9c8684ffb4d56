"""Products with a weight matrix, and the loss of weight decay."""

import torch
from torch import Tensor

from torchscope.tf1._convert import Operand, floating, same_dtype

__all__ = ["l2_loss", "relu_layer", "xw_plus_b"]


def xw_plus_b(x: Operand, weights: Operand, biases: Operand, name: str | None = None) -> Tensor:
    """``x @ weights + biases``: [n, in], [in, out] and [out].

    Torch: ``torch.addmm(biases, x, weights)``.

    Raises:
        ValueError: other ranks, or sizes that do not fit.
        TypeError: two dtypes.
    """
    return _product(x, weights, biases, "xw_plus_b")


def relu_layer(x: Operand, weights: Operand, biases: Operand, name: str | None = None) -> Tensor:
    """``relu(x @ weights + biases)``: [n, in], [in, out] and [out].

    Torch: ``torch.addmm(biases, x, weights).relu()``.
    """
    return _product(x, weights, biases, "relu_layer").relu()


def l2_loss(t: Operand, name: str | None = None) -> Tensor:
    """Half the sum of the squares.

    Torch: ``x.square().sum() / 2``.
    """
    t = floating(t, "l2_loss", "t")
    return t.square().sum() / 2


def _product(x: Operand, weights: Operand, biases: Operand, function: str) -> Tensor:
    x, weights, biases = same_dtype((x, weights, biases), function, "x, weights and biases")
    if (
        (x.ndim, weights.ndim, biases.ndim) != (2, 2, 1)
        or x.shape[1] != weights.shape[0]
        or weights.shape[1] != biases.shape[0]
    ):
        raise ValueError(
            f"{function}(): x {list(x.shape)}, weights {list(weights.shape)} and biases"
            f" {list(biases.shape)} have to be [n, in], [in, out] and [out]."
        )
    return torch.addmm(biases, x, weights)
