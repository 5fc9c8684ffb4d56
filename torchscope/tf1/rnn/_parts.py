"""What cells that compute have in common: checks, a dense layer, an activation; knows no cell."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

import torchscope as ts
from torchscope.tf1._convert import name_of, same_dtype
from torchscope.tf1._weights import weight
from torchscope.tf1.ops.elementwise import tanh

from ._cell import RNNCell

Activation = Callable[[Tensor], Tensor] | str | None

ZEROS, ONES = ts.zeros_initializer(), ts.ones_initializer()


def activation_of(activation: Activation) -> Callable[[Tensor], Tensor]:
    """The function for a function, its name or None (tanh)."""
    if activation is None or activation is tanh:
        return torch.tanh  # by which a cell knows that torch's LSTM does the same
    if not isinstance(activation, str):
        return activation
    if activation == "linear":
        return torch.nn.Identity()
    function = getattr(torch, activation, None) or getattr(F, activation, None)
    if function is None:
        raise ValueError(f"Unknown activation {activation!r}; give a function, such as tf.nn.relu.")
    return function


def dropout(x: Tensor, keep_prob: Any) -> Tensor:
    """Keep a fraction of the values, scaled up; all of them at 1."""
    if isinstance(keep_prob, (int, float)) and keep_prob >= 1:
        return x
    return F.dropout(x, 1 - float(keep_prob))


def check(cell: RNNCell, inputs: Any, *states: tuple[Any, int]) -> None:
    """Raise unless inputs are ``[batch, depth]``, each state ``[batch, size]``, of equal dtypes."""
    if not isinstance(inputs, Tensor) or inputs.ndim != 2:
        shape = list(inputs.shape) if isinstance(inputs, Tensor) else type(inputs).__name__
        raise ValueError(f"{cell._base_name}: inputs have to be [batch, depth], not {shape}.")
    if not inputs.is_floating_point():
        kind = name_of(inputs.dtype)
        raise ValueError(f"{cell._base_name}: inputs have to be floats, not {kind}.")
    for state, size in states:
        if not isinstance(state, Tensor) or state.shape != (len(inputs), size):
            found = list(state.shape) if isinstance(state, Tensor) else repr(state)
            raise ValueError(
                f"{cell._base_name}: the state has to be {[len(inputs), size]}, not {found}."
                f" For zeros: cell.zero_state({len(inputs)}, tf.float32)."
            )
        if state.dtype is not inputs.dtype:
            same_dtype([inputs, state], cell._base_name, "inputs and state")


def linear_in(
    cell: RNNCell,
    parts: list[Tensor],
    size: int,
    prefix: str = "",
    kernel_initializer: Any = None,
    bias_initializer: Any = None,
) -> Tensor:
    """The concatenated parts times ``kernel``, plus ``bias``: variables of the cell."""
    x = torch.cat(parts, 1)
    kernel = variable(cell, f"{prefix}kernel", [x.shape[1], size], x, kernel_initializer)
    bias = variable(cell, f"{prefix}bias", [size], x, bias_initializer or ZEROS)
    return torch.addmm(bias, x, kernel)


def variable(
    cell: RNNCell, name: str, shape: list[int], inputs: Tensor, initializer: Any = None
) -> Tensor:
    """A variable of the cell, of the inputs' dtype."""
    dtype = cell._dtype or inputs.dtype
    made = weight(name, shape, dtype, initializer, trainable=cell.trainable)
    if (made.dtype is torch.float64) != (inputs.dtype is torch.float64):
        same_dtype([inputs, made], cell._base_name, f"inputs and {name}")
    return made
