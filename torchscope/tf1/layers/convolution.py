"""Layers of convolutions: plain, transposed, separable; each kind is one function for all ranks."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

import torchscope as ts
from torchscope.tf1._convert import Operand
from torchscope.tf1._padding import check_fits
from torchscope.tf1._weights import weight
from torchscope.tf1.nn._convolve import convolve, convolve_transposed

from ._parts import (
    VARIABLES,
    Activation,
    activated,
    count_of,
    documented,
    function_of,
    is_last,
    layer_input,
    layer_scope,
    padding_name,
    window_of,
)

__all__ = [
    "conv1d",
    "conv2d",
    "conv2d_transpose",
    "conv3d",
    "conv3d_transpose",
    "separable_conv1d",
    "separable_conv2d",
]

_ZEROS = ts.zeros_initializer()
_AXES = {1: "W", 2: "H, W", 3: "D, H, W"}
_IMAGES = {1: "sequences [N, W, in]", 2: "images [N, H, W, in]", 3: "volumes [N, D, H, W, in]"}


def _convolution(rank: int) -> Callable[..., Tensor]:
    base = f"conv{rank}d"

    @documented(
        base,
        f"""Convolve {_IMAGES[rank]} with a kernel [{_AXES[rank]}, in, filters] and add a bias.

        Torch: ``nn.Conv{rank}d``; channels last by default, Glorot uniform; no ``groups``.

        Args:
            inputs: {_IMAGES[rank]}, floats; the variables have their dtype.
            filters: number of channels of the result.
            kernel_size: an int, or one for each spatial axis.
            strides: likewise.
            padding: ``"valid"`` or ``"same"``{', or ``"causal"``' if rank == 1 else ""}.
            data_format: ``"channels_last"`` or ``"channels_first"``; the kernel is the same.
            dilation_rate: an int, or one for each spatial axis; above 1 only with strides of 1.
            activation: this and what follows as for ``dense``.

        Raises:
            ValueError: a rank, size or option that does not fit; what ``get_variable`` raises.
            TypeError: the inputs are integers.
        """,
    )
    def conv(
        inputs: Operand,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str = "channels_last",
        dilation_rate: Any = 1,
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
        window, steps, rates = window_of(base, rank, kernel_size, strides, dilation_rate)
        pads = _pads(base, padding, window, rates)
        filters, activation = count_of(filters, base), function_of(activation, base)
        with layer_scope(name, base, reuse):
            x, first = layer_input(inputs, base, rank + 2), not is_last(data_format, base)
            dtype = x.dtype
            if pads == "VALID":
                _check_sizes(x, window, steps, rates, first, base)
            kernel = weight(
                *("kernel", [*window, x.shape[1 if first else -1], filters], dtype),
                *(kernel_initializer, kernel_regularizer, kernel_constraint, trainable),
            )
            bias = None
            if use_bias:
                settings = bias_initializer, bias_regularizer, bias_constraint, trainable
                bias = weight("bias", [filters], dtype, *settings)
            if name is VARIABLES:
                return x
            y = convolve(
                *(x, kernel, bias),
                strides=steps,
                padding=pads,
                dilations=rates,
                first=first,
                function=base,
            )
            return activated(y, activation, activity_regularizer)

    return conv


def _transposed(rank: int) -> Callable[..., Tensor]:
    base = f"conv{rank}d_transpose"

    @documented(
        base,
        f"""Transpose a convolution of {_IMAGES[rank]}, with a kernel [{_AXES[rank]}, filters, in].

        Torch: ``nn.ConvTranspose{rank}d``; sizes are multiplied by the strides ("valid" adds
        kernel size - stride, if positive), without ``output_padding``.

        Args:
            inputs: {_IMAGES[rank]}, floats; the variables have their dtype.
            filters: number of channels of the result.
            kernel_size: an int, or one for each spatial axis.
            strides: likewise.
            padding: ``"valid"`` or ``"same"``.
            data_format: ``"channels_last"`` or ``"channels_first"``; the kernel is the same.
            activation: this and what follows as for ``dense``.

        Raises:
            ValueError: a rank, size or option that does not fit; what ``get_variable`` raises.
            TypeError: the inputs are integers.
        """,
    )
    def conv_transpose(
        inputs: Operand,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str = "channels_last",
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
        window, steps, _ = window_of(base, rank, kernel_size, strides, 1)
        padding = padding_name(base, padding)
        filters, activation = count_of(filters, base), function_of(activation, base)
        with layer_scope(name, base, reuse):
            x, first = layer_input(inputs, base, rank + 2), not is_last(data_format, base)
            dtype = x.dtype
            kernel = weight(
                *("kernel", [*window, filters, x.shape[1 if first else -1]], dtype),
                *(kernel_initializer, kernel_regularizer, kernel_constraint, trainable),
            )
            bias = None
            if use_bias:
                settings = bias_initializer, bias_regularizer, bias_constraint, trainable
                bias = weight("bias", [filters], dtype, *settings)
            if name is VARIABLES:
                return x
            y = convolve_transposed(
                *(x, kernel, sizes_transposed(x, window, steps, padding, first=first), bias),
                strides=steps,
                padding=padding,
                first=first,
                function=base,
            )
            return activated(y, activation, activity_regularizer)

    return conv_transpose


def _separable(rank: int) -> Callable[..., Tensor]:
    base = f"separable_conv{rank}d"

    @documented(
        base,
        f"""Convolve each channel of {_IMAGES[rank]} by itself, then mix them, and add a bias.

        Torch: two ``nn.Conv{rank}d``, the first with ``groups=in``.

        Args:
            inputs: {_IMAGES[rank]}, floats; the variables have their dtype.
            filters: number of channels of the result.
            kernel_size: of the first convolution: an int, or one for each spatial axis.
            strides: likewise.
            padding: ``"valid"`` or ``"same"``{', or ``"causal"``' if rank == 1 else ""}.
            data_format: ``"channels_last"`` or ``"channels_first"``; the kernels are the same.
            dilation_rate: an int, or one for each spatial axis; above 1 only with strides of 1.
            depth_multiplier: how many channels the first convolution makes of each.
            activation: this and what follows as for ``dense``.

        Raises:
            ValueError: a rank, size or option that does not fit; what ``get_variable`` raises.
            TypeError: the inputs are integers.
        """,
    )
    def separable_conv(
        inputs: Operand,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str = "channels_last",
        dilation_rate: Any = 1,
        depth_multiplier: int = 1,
        activation: Activation = None,
        use_bias: bool = True,
        depthwise_initializer: Any = None,
        pointwise_initializer: Any = None,
        bias_initializer: Any = _ZEROS,
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        trainable: bool = True,
        name: Any = None,
        reuse: Any = None,
    ) -> Tensor:
        window, steps, rates = window_of(base, rank, kernel_size, strides, dilation_rate)
        pads = _pads(base, padding, window, rates)
        filters, activation = count_of(filters, base), function_of(activation, base)
        with layer_scope(name, base, reuse):
            x, first = layer_input(inputs, base, rank + 2), not is_last(data_format, base)
            channels, dtype = x.shape[1 if first else -1], x.dtype
            inner = channels * depth_multiplier
            depthwise = weight(
                *("depthwise_kernel", [*window, channels, depth_multiplier], dtype),
                *(depthwise_initializer, depthwise_regularizer, depthwise_constraint, trainable),
            )
            ones = (1,) * rank
            pointwise = weight(
                *("pointwise_kernel", [*ones, inner, filters], dtype),
                *(pointwise_initializer, pointwise_regularizer, pointwise_constraint, trainable),
            )
            bias = None
            if use_bias:
                settings = bias_initializer, bias_regularizer, bias_constraint, trainable
                bias = weight("bias", [filters], dtype, *settings)
            if name is VARIABLES:
                return x
            y = convolve(
                *(x, depthwise.reshape(*window, 1, inner)),
                strides=steps,
                padding=pads,
                dilations=rates,
                first=first,
                groups=channels,
                function=base,
            )
            y = convolve(y, pointwise, bias, strides=ones, first=first, function=base)
            return activated(y, activation, activity_regularizer)

    return separable_conv


def sizes_transposed(
    x: Tensor, window: Sequence[int], steps: Sequence[int], padding: str, *, first: bool
) -> list[int]:
    """The sizes of a transposed convolution's result: without overlap (same) or with it (valid)."""
    sizes = x.shape[2:] if first else x.shape[1:-1]
    return [
        size * step + (max(k - step, 0) if padding == "VALID" else 0)
        for size, k, step in zip(sizes, window, steps, strict=True)
    ]


def _check_sizes(
    x: Tensor,
    window: Sequence[int],
    steps: Sequence[int],
    rates: Sequence[int],
    first: bool,
    function: str,
) -> None:
    """ValueError if the result had a size below 0: as in TensorFlow, before variables are made."""
    sizes = x.shape[2:] if first else x.shape[1:-1]
    for size, k, step, rate in zip(sizes, window, steps, rates, strict=True):
        span = (k - 1) * rate + 1
        if span > size + step:
            check_fits(span, size, function)


def _pads(
    function: str, padding: str, window: Sequence[int], rates: Sequence[int]
) -> str | list[tuple[int, int]]:
    """The padding as ``convolve`` takes it; causal is all before, in one dimension."""
    if padding.lower() == "causal" and len(window) == 1:
        return [((window[0] - 1) * rates[0], 0)]
    return padding_name(function, padding)


conv1d, conv2d, conv3d = map(_convolution, (1, 2, 3))
conv2d_transpose, conv3d_transpose = map(_transposed, (2, 3))
separable_conv1d, separable_conv2d = map(_separable, (1, 2))
