"""_linear, the dense layer in cells written for TensorFlow; knows no cells."""

from typing import Any

import torch
from torch import Tensor

import torchscope as ts
from torchscope.tf1 import nest
from torchscope.tf1._convert import same_dtype
from torchscope.tf1._weights import weight


def _linear(
    args: Any,
    output_size: int,
    bias: bool,
    bias_initializer: Any = None,
    kernel_initializer: Any = None,
    bias_start: float | None = None,
    scope: Any = None,
) -> Tensor:
    """The concatenated arguments times ``kernel``, plus ``bias``: variables of the current scope.

    Torch: ``F.linear``, whose weight is ``[out, in]``.

    Args:
        args: a tensor ``[batch, n]``, or a list of them.
        output_size: size of the result.
        bias: whether to add one.
        bias_initializer: zeros by default; a number is taken for ``bias_start``.
        kernel_initializer: the scope's by default.
        bias_start: first value of the bias, as before TensorFlow 1.2.
        scope: opened around the variables, as before TensorFlow 1.1.

    Raises:
        ValueError: no arguments, or not all of them are ``[batch, n]``.
    """
    parts = same_dtype([] if args is None else nest.flatten(args), "_linear", "args")
    if not parts:
        raise ValueError("_linear(): args has to be a tensor or a list of them, not empty.")
    if any(part.ndim != 2 for part in parts):
        shapes = [list(part.shape) for part in parts]
        raise ValueError(f"_linear(): args have to be [batch, n], not {shapes}.")
    if scope is not None:
        others = bias_initializer, kernel_initializer, bias_start
        with ts.variable_scope(scope):
            return _linear(parts, output_size, bias, *others)
    if isinstance(bias_initializer, (int, float)):
        bias_initializer, bias_start = None, bias_initializer
    x = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
    shape = [x.shape[1], output_size]
    kernel = weight("kernel", shape, x.dtype, kernel_initializer)
    if not bias:
        return x @ kernel
    initializer = bias_initializer or ts.constant_initializer(bias_start or 0.0)
    return torch.addmm(weight("bias", [output_size], x.dtype, initializer), x, kernel)
