"""dense, flatten and dropout: layers without spatial axes."""

from typing import Any

import torch
from torch import Tensor

import torchscope as ts
from torchscope.tf1 import nn
from torchscope.tf1._convert import Operand, tensor
from torchscope.tf1._padding import channels_last
from torchscope.tf1._weights import weight

from ._parts import (
    VARIABLES,
    Activation,
    activated,
    check_training,
    function_of,
    is_last,
    layer_input,
    layer_scope,
)

__all__ = ["dense", "dropout", "flatten"]

_ZEROS = ts.zeros_initializer()


def dense(
    inputs: Operand,
    units: int,
    activation: Activation = None,
    use_bias: bool = True,
    kernel_initializer: Any = None,
    bias_initializer: Any = _ZEROS,
    kernel_regularizer: Any = None,
    bias_regularizer: Any = None,
    activity_regularizer: Any = None,
    kernel_constraint: Any = None,
    bias_constraint: Any = None,
    trainable: bool = True,
    name: Any = None,
    reuse: Any = None,
) -> Tensor:
    """Multiply by a kernel [in, units] and add a bias: the last axis becomes ``units``.

    Torch: ``nn.Linear``; the kernel is [in, out], Glorot uniform by default, the bias zeros.

    >>> import torchscope as ts
    >>> with ts.VariableStore() as store:
    ...     y = dense(dense(torch.ones(2, 3), 4, torch.relu), 5)
    >>> list(store), y.shape
    (['dense/kernel', 'dense/bias', 'dense_1/kernel', 'dense_1/bias'], torch.Size([2, 5]))

    Args:
        inputs: [..., in], of rank 2 or more; the variables have its dtype.
        units: size of the last axis of the result.
        activation: a function, or the name of one in ``tf.nn``; none by default.
        use_bias: whether there is a bias.
        kernel_initializer: the scope's by default, else Glorot uniform.
        bias_initializer: zeros by default, whatever the scope's is.
        kernel_regularizer: ``f(kernel)`` is a loss, added to that of the scope's regularizer.
        bias_regularizer: likewise for the bias.
        activity_regularizer: ``f(result)`` is a loss for each call, divided by the batch size.
        kernel_constraint: ``f(kernel)`` is what the kernel is set to after an optimizer's step.
        bias_constraint: likewise for the bias.
        trainable: whether the variables are.
        name: of the scope, not made unique; ``dense``, ``dense_1``, ... by default.
        reuse: as for ``variable_scope``; without a name it means ``dense`` itself.

    Raises:
        ValueError: the rank is below 2; what ``get_variable`` raises.
        TypeError: the inputs are integers.
    """
    units = int(units)
    if activation is not None:
        activation = function_of(activation, "dense")
    with layer_scope(name, "dense", reuse):
        x, bias = layer_input(inputs, "dense", 2, at_least=True), None
        size, dtype = x.shape[-1], x.dtype
        kernel = weight(
            "kernel",
            [size, units],
            dtype,
            kernel_initializer,
            kernel_regularizer,
            kernel_constraint,
            trainable,
        )
        if use_bias:
            bias = weight(
                "bias",
                [units],
                dtype,
                bias_initializer,
                bias_regularizer,
                bias_constraint,
                trainable,
            )
        if name is VARIABLES:
            return x
        y = affine(x, kernel, bias)
        if activation is activity_regularizer is None:
            return y
        return activated(y, activation, activity_regularizer)


def flatten(
    inputs: Operand, name: Any = None, data_format: str = "channels_last", reuse: Any = None
) -> Tensor:
    """Flatten all axes but the first; [n] becomes [n, 1].

    Torch: ``x.flatten(1)``; with ``channels_first`` the channels are first moved last.
    """
    with layer_scope(name, "flatten", None):
        x = tensor(inputs, function="flatten", argument="inputs")
        first = not is_last(data_format, "flatten")
        if x.ndim < 2:
            if x.ndim == 0:
                raise ValueError("flatten(): inputs have to be of rank 1 or more, not a number.")
            return x.reshape(-1, 1)
        if first and x.ndim > 2:
            x = channels_last(x)
        return x.flatten(1)


def dropout(
    inputs: Operand,
    rate: Any = 0.5,
    noise_shape: Any = None,
    seed: Any = None,
    training: Any = False,
    name: Any = None,
) -> Tensor:
    """Set a fraction ``rate`` of the elements to zero and scale the others up, while training.

    Torch: ``F.dropout``; not training by default.

    Args:
        inputs: floats of any shape.
        rate: the fraction to drop, from 0 to 1.
        noise_shape: sizes of the mask, 1 for axes along which it is the same.
        seed: of a random stream of this call's own.
        training: a bool, or a tensor of one.
        name: of the scope; ``dropout``, ``dropout_1``, ... by default.

    Raises:
        ValueError: a rate that is not from 0 to 1.
        TypeError: ``training`` is something else, such as a string.
    """
    if isinstance(rate, (int, float)) and not 0 <= rate <= 1:
        raise ValueError(f"dropout(): rate={rate}; give a number from 0 to 1.")
    with layer_scope(name, "dropout", None):
        x = tensor(inputs, function="dropout", argument="inputs")
        check_training(training)
        if not isinstance(training, Tensor):
            return nn.dropout(x, rate=rate, noise_shape=noise_shape, seed=seed) if training else x
        y = nn.dropout(x, rate=rate, noise_shape=noise_shape, seed=seed)
        return torch.where(training.to(x.device, torch.bool), y, x)


def affine(x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """``x @ kernel + bias`` for [..., in] and [in, out]."""
    if x.ndim > 2:
        y = affine(x.flatten(0, -2), kernel, bias)
        return y.reshape(*x.shape[:-1], kernel.shape[-1])
    return x @ kernel if bias is None else torch.addmm(bias, x, kernel)
