"""slim's convolutions; by default with relu, SAME and Xavier's initializer."""

from typing import Any

from torch import Tensor

import torchscope as ts
from torchscope.tf1 import nn
from torchscope.tf1._convert import Operand
from torchscope.tf1.layers._parts import (
    count_of,
    documented,
    layer_input,
    padding_name,
    per_axis,
    window_of,
)
from torchscope.tf1.layers.convolution import sizes_transposed
from torchscope.tf1.nn._convolve import convolve, convolve_transposed

from ._arg_scopes import add_arg_scope
from .core import Activation, finished, is_last, normalized
from .initializers import xavier_initializer
from .variables import layer_biases, layer_variable

__all__ = [
    "conv1d",
    "conv2d",
    "conv2d_in_plane",
    "conv2d_transpose",
    "conv3d",
    "conv3d_transpose",
    "convolution",
    "convolution1d",
    "convolution2d",
    "convolution2d_in_plane",
    "convolution2d_transpose",
    "convolution3d",
    "convolution3d_transpose",
    "separable_conv2d",
    "separable_convolution2d",
]

_XAVIER, _ZEROS = xavier_initializer(), ts.zeros_initializer()
_INPUTS = {None: "sequences, images or volumes", 1: "sequences", 2: "images", 3: "volumes"}
_FORMATS = (None, "NWC", "NCW", "NHWC", "NCHW", "NDHWC", "NCDHW")
_ARGUMENTS = """
    Args:
        inputs: channels last by default; floats; the variables have their dtype.
        num_outputs: number of channels of the result.
        kernel_size: an int, or one for each spatial axis.
        stride: likewise.
        padding: ``"SAME"`` or ``"VALID"``.
        data_format: ``"NHWC"``, ``"NCHW"`` or the like for other ranks; the weights are the same.
        ...: the arguments that follow are as for ``fully_connected``.

    Raises:
        ValueError: a rank, size or option that does not fit; what ``get_variable`` raises.
        TypeError: the inputs are integers.
    """


def _convolution(rank: int | None) -> Any:
    function = "convolution" if rank is None else f"convolution{rank}d"

    @add_arg_scope
    @documented(
        function,
        f"""Convolve {_INPUTS[rank]} with weights [..., in, out], add biases, and apply relu.

    Torch: ``nn.Conv{rank or 2}d``; channels last and SAME, and **relu is the default**.
{_ARGUMENTS}""",
    )
    def convolution(
        inputs: Operand,
        num_outputs: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: str = "SAME",
        data_format: str | None = None,
        rate: Any = 1,
        activation_fn: Activation = nn.relu,
        normalizer_fn: Any = None,
        normalizer_params: Any = None,
        weights_initializer: Any = _XAVIER,
        weights_regularizer: Any = None,
        biases_initializer: Any = _ZEROS,
        biases_regularizer: Any = None,
        reuse: Any = None,
        variables_collections: Any = None,
        outputs_collections: Any = None,
        trainable: bool = True,
        scope: Any = None,
    ) -> Tensor:
        if data_format not in _FORMATS:
            raise ValueError(f"{function}(): data_format={data_format!r}; give one of {_FORMATS}.")
        padding = padding_name(function, padding)
        num_outputs = count_of(num_outputs, function, "num_outputs")
        with ts.variable_scope(scope, "Conv", reuse=reuse) as opened:
            x = layer_input(inputs, function, 3 if rank is None else rank + 2, at_least=not rank)
            first = data_format is not None and data_format.startswith("NC")
            window, steps, rates = window_of(function, x.ndim - 2, kernel_size, stride, rate)
            dtype = x.dtype
            weights = layer_variable(
                *("weights", [*window, x.shape[1 if first else -1], num_outputs], dtype),
                *(weights_initializer, weights_regularizer, trainable),
                *(variables_collections, "weights"),
            )
            biases = layer_biases(
                *(num_outputs, dtype, normalizer_fn, biases_initializer, biases_regularizer),
                *(trainable, variables_collections),
            )
            y = convolve(
                *(x, weights, biases),
                strides=steps,
                padding=padding,
                dilations=rates,
                first=first,
                function=function,
            )
            y = normalized(y, normalizer_fn, normalizer_params)
            return finished(y, activation_fn, outputs_collections, opened.name)

    return convolution


def _transposed(rank: int) -> Any:
    function = f"convolution{rank}d_transpose"

    @add_arg_scope
    @documented(
        function,
        f"""Transpose a convolution of {_INPUTS[rank]}, with weights [..., out, in]; then relu.

    Torch: ``nn.ConvTranspose{rank}d``; channels last and SAME, and **relu is the default**.
{_ARGUMENTS}""",
    )
    def convolution_transpose(
        inputs: Operand,
        num_outputs: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: str = "SAME",
        data_format: str = "NHWC" if rank == 2 else "NDHWC",
        activation_fn: Activation = nn.relu,
        normalizer_fn: Any = None,
        normalizer_params: Any = None,
        weights_initializer: Any = _XAVIER,
        weights_regularizer: Any = None,
        biases_initializer: Any = _ZEROS,
        biases_regularizer: Any = None,
        reuse: Any = None,
        variables_collections: Any = None,
        outputs_collections: Any = None,
        trainable: bool = True,
        scope: Any = None,
    ) -> Tensor:
        padding = padding_name(function, padding)
        num_outputs = count_of(num_outputs, function, "num_outputs")
        first = not is_last(data_format, function, rank)
        with ts.variable_scope(scope, f"Conv{rank}d_transpose", reuse=reuse) as opened:
            x = layer_input(inputs, function, rank + 2)
            window, steps, _ = window_of(function, rank, kernel_size, stride, 1)
            dtype = x.dtype
            weights = layer_variable(
                *("weights", [*window, num_outputs, x.shape[1 if first else -1]], dtype),
                *(weights_initializer, weights_regularizer, trainable),
                *(variables_collections, "weights"),
            )
            biases = layer_biases(
                *(num_outputs, dtype, normalizer_fn, biases_initializer, biases_regularizer),
                *(trainable, variables_collections),
            )
            y = convolve_transposed(
                *(x, weights, sizes_transposed(x, window, steps, padding, first=first), biases),
                strides=steps,
                padding=padding,
                first=first,
                function=function,
            )
            y = normalized(y, normalizer_fn, normalizer_params)
            return finished(y, activation_fn, outputs_collections, opened.name)

    return convolution_transpose


convolution, convolution1d, convolution2d, convolution3d = map(_convolution, (None, 1, 2, 3))
conv1d, conv2d, conv3d = convolution1d, convolution2d, convolution3d
convolution2d_transpose, convolution3d_transpose = map(_transposed, (2, 3))
conv2d_transpose, conv3d_transpose = convolution2d_transpose, convolution3d_transpose


@add_arg_scope
def convolution2d_in_plane(
    inputs: Operand,
    kernel_size: Any,
    stride: Any = 1,
    padding: str = "SAME",
    activation_fn: Activation = nn.relu,
    normalizer_fn: Any = None,
    normalizer_params: Any = None,
    weights_initializer: Any = _XAVIER,
    weights_regularizer: Any = None,
    biases_initializer: Any = _ZEROS,
    biases_regularizer: Any = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    scope: Any = None,
) -> Tensor:
    """Convolve each channel of images [N, H, W, C] with the same weights [H, W, 1, 1]; then relu.

    Torch: ``F.conv2d(groups=C)`` with one kernel for all channels.

    The arguments are those of ``conv2d``.
    """
    function = "convolution2d_in_plane"
    padding = padding_name(function, padding)
    with ts.variable_scope(scope, "ConvInPlane", reuse=reuse) as opened:
        x = layer_input(inputs, function, 4)
        window = per_axis(kernel_size, 2, function, "kernel_size")
        channels, dtype = x.shape[-1], x.dtype
        weights = layer_variable(
            *("weights", [*window, 1, 1], dtype, weights_initializer, weights_regularizer),
            *(trainable, variables_collections, "weights"),
            alone=True,
        )
        biases = layer_biases(
            *(channels, dtype, normalizer_fn, biases_initializer, biases_regularizer),
            *(trainable, variables_collections),
            alone=True,
        )
        y = convolve(
            *(x, weights.expand(*window, 1, channels), biases),
            strides=per_axis(stride, 2, function, "stride"),
            padding=padding,
            groups=channels,
            function=function,
        )
        y = normalized(y, normalizer_fn, normalizer_params)
        return finished(y, activation_fn, outputs_collections, opened.name)


conv2d_in_plane = convolution2d_in_plane


@add_arg_scope
def separable_convolution2d(
    inputs: Operand,
    num_outputs: int | None,
    kernel_size: Any,
    depth_multiplier: int = 1,
    stride: Any = 1,
    padding: str = "SAME",
    data_format: str = "NHWC",
    rate: Any = 1,
    activation_fn: Activation = nn.relu,
    normalizer_fn: Any = None,
    normalizer_params: Any = None,
    weights_initializer: Any = _XAVIER,
    pointwise_initializer: Any = None,
    weights_regularizer: Any = None,
    pointwise_regularizer: Any = None,
    biases_initializer: Any = _ZEROS,
    biases_regularizer: Any = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    scope: Any = None,
) -> Tensor:
    """Convolve each channel of images by itself, then mix them, add biases, and apply relu.

    Torch: two ``nn.Conv2d``, the first with ``groups=in``.

    ``num_outputs=None`` is the first convolution alone, which makes ``depth_multiplier`` channels
    of each, by ``kernel_size``, ``stride`` and ``rate``. ``pointwise_initializer`` and
    ``pointwise_regularizer`` belong to the second, by default those of the weights. The other
    arguments are as for ``conv2d``.

    Raises:
        ValueError: a rank, size or option that does not fit; what ``get_variable`` raises.
        TypeError: the inputs are integers.
    """
    function = "separable_convolution2d"
    padding = padding_name(function, padding)
    if num_outputs is not None:
        num_outputs = count_of(num_outputs, function, "num_outputs")
    first = not is_last(data_format, function)
    with ts.variable_scope(scope, "SeparableConv2d", reuse=reuse) as opened:
        x = layer_input(inputs, function, 4)
        window, steps, rates = window_of(function, 2, kernel_size, stride, rate)
        channels, dtype = x.shape[1 if first else -1], x.dtype
        inner = channels * depth_multiplier
        alone = num_outputs is None  # TensorFlow has no layer for that.
        depthwise = layer_variable(
            *("depthwise_weights", [*window, channels, depth_multiplier], dtype),
            *(weights_initializer, weights_regularizer, trainable),
            *(variables_collections, "weights"),
            alone=alone,
        )
        pointwise = None
        if num_outputs is not None:
            pointwise = layer_variable(
                *("pointwise_weights", [1, 1, inner, num_outputs], dtype),
                *(pointwise_initializer or weights_initializer,),
                *(pointwise_regularizer or weights_regularizer, trainable),
                *(variables_collections, "weights"),
            )
        biases = layer_biases(
            *(inner if num_outputs is None else num_outputs, dtype, normalizer_fn),
            *(biases_initializer, biases_regularizer, trainable, variables_collections),
            alone=alone,
        )
        y = convolve(
            *(x, depthwise.reshape(*window, 1, inner), biases if alone else None),
            strides=steps,
            padding=padding,
            dilations=rates,
            first=first,
            groups=channels,
            function=function,
        )
        if pointwise is not None:
            y = convolve(y, pointwise, biases, strides=(1, 1), first=first, function=function)
        y = normalized(y, normalizer_fn, normalizer_params)
        return finished(y, activation_fn, outputs_collections, opened.name)


separable_conv2d = separable_convolution2d
