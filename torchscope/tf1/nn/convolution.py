"""tf.nn's convolutions: TensorFlow's signatures and spellings over one convolution.

Images are NHWC by default and filters HWIO; SAME pads by the size of the image, the smaller half
before.  Layers call ``convolve`` and ``convolve_transposed`` of ``_convolve`` themselves.
"""

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor

from torchscope.tf1._arguments import ints, renamed, shape
from torchscope.tf1._convert import Operand, floating, same_dtype
from torchscope.tf1._padding import is_channels_last

from ._convolve import Pads, check_rank, convolve, convolve_transposed, spatial

__all__ = [
    "atrous_conv2d",
    "atrous_conv2d_transpose",
    "bias_add",
    "conv1d",
    "conv1d_transpose",
    "conv2d",
    "conv2d_transpose",
    "conv3d",
    "conv3d_transpose",
    "convolution",
    "deconv2d",
    "depthwise_conv2d",
    "depthwise_conv2d_native",
    "separable_conv2d",
]


def conv1d(
    value: Operand = None,
    filters: Operand = None,
    stride: Any = None,
    padding: Any = None,
    use_cudnn_on_gpu: Any = None,
    data_format: str | None = None,
    name: str | None = None,
    input: Operand = None,
    dilations: Any = None,
) -> Tensor:
    """Convolve sequences [N, W, in] with filters [W, in, out].

    Torch: ``F.conv1d``; channels last, and SAME at any stride.
    """
    value = renamed("conv1d", value=value, input=input)
    return _convolved(value, filters, stride, padding, dilations, data_format, 1, "conv1d")


def conv2d(
    input: Operand,
    filter: Operand = None,
    strides: Any = None,
    padding: Any = None,
    use_cudnn_on_gpu: Any = True,
    data_format: str | None = "NHWC",
    dilations: Any = None,
    name: str | None = None,
    filters: Operand = None,
) -> Tensor:
    """Convolve images [N, H, W, in] with filters [H, W, in, out].

    Torch: ``F.conv2d``; NHWC and HWIO, and SAME at any stride pads more at the bottom and right.

    >>> import torch
    >>> conv2d(torch.ones(1, 4, 4, 2), torch.ones(3, 3, 2, 8), [1, 2, 2, 1], "SAME").shape
    torch.Size([1, 2, 2, 8])

    Args:
        input: [N, H, W, in], or [N, in, H, W] with ``data_format="NCHW"``.
        filter: [H, W, in, out] in both formats.
        strides: an int or a list of 1, 2 or 4 ints.
        padding: ``"SAME"``, ``"VALID"``, or four pairs of zeros before and after each axis.
        use_cudnn_on_gpu: not used.
        data_format: ``"NHWC"`` or ``"NCHW"``.
        dilations: as ``strides``; 1 by default.
        name: not used.
        filters: the later name of ``filter``.

    Raises:
        ValueError: ranks, channels or sizes that do not fit.
        TypeError: integers, or two dtypes.
    """
    if filters is not None:
        filter = renamed("conv2d", filter=filter, filters=filters)
    return _convolved(input, filter, strides, padding, dilations, data_format, 2, "conv2d")


def conv3d(
    input: Operand,
    filter: Operand = None,
    strides: Any = None,
    padding: Any = None,
    data_format: str | None = "NDHWC",
    dilations: Any = None,
    name: str | None = None,
    filters: Operand = None,
) -> Tensor:
    """Convolve volumes [N, D, H, W, in] with filters [D, H, W, in, out].

    Torch: ``F.conv3d``; channels last, and SAME at any stride.
    """
    filter = renamed("conv3d", filter=filter, filters=filters)
    return _convolved(input, filter, strides, padding, dilations, data_format, 3, "conv3d")


def convolution(
    input: Operand,
    filter: Operand = None,
    padding: Any = None,
    strides: Any = None,
    dilation_rate: Any = None,
    name: str | None = None,
    data_format: str | None = None,
    filters: Operand = None,
    dilations: Any = None,
) -> Tensor:
    """Convolve sequences, images or volumes, by the rank of the filter.

    Torch: ``F.conv1d`` to ``F.conv3d``; channels last by default, and SAME at any stride.
    """
    function = "convolution"
    filter = renamed(function, filter=filter, filters=filters)
    dilations = renamed(function, dilation_rate=dilation_rate, dilations=dilations)
    filter = floating(filter, function, "filter")
    rank = filter.ndim - 2
    if rank not in (1, 2, 3):
        raise ValueError(
            f"{function}(): the filter has to be of rank 3, 4 or 5, not {filter.ndim}:"
            f" its shape is {list(filter.shape)}."
        )
    strides = spatial(1 if strides is None else strides, rank, data_format, function, "strides")
    dilations = _dilations(dilations, rank, data_format, function)
    if dilations and max(dilations) > 1 and max(strides) > 1:
        raise ValueError(f"{function}(): strides > 1 and dilation_rate > 1 cannot be combined.")
    return _convolved(input, filter, strides, padding, dilations, data_format, rank, function)


def conv1d_transpose(
    input: Operand,
    filters: Operand,
    output_shape: Any,
    strides: Any,
    padding: Any = "SAME",
    data_format: str | None = "NWC",
    dilations: Any = None,
    name: str | None = None,
) -> Tensor:
    """A transposed convolution of sequences: [N, W, in] to ``output_shape``, filters [W, out, in].

    Torch: ``F.conv_transpose1d``; ``output_shape`` decides what SAME crops.
    """
    return _transposed(
        *(input, filters, output_shape, strides, padding, dilations, data_format),
        *(1, "conv1d_transpose"),
    )


def conv2d_transpose(
    value: Operand = None,
    filter: Operand = None,
    output_shape: Any = None,
    strides: Any = None,
    padding: Any = "SAME",
    data_format: str | None = "NHWC",
    name: str | None = None,
    input: Operand = None,
    filters: Operand = None,
    dilations: Any = None,
) -> Tensor:
    """A transposed convolution: images [N, H, W, in] to ``output_shape``, filters [H, W, out, in].

    Torch: ``F.conv_transpose2d``; ``output_shape`` decides what SAME crops, the larger half after.

    Args:
        value: [N, H, W, in], or [N, in, H, W] with ``data_format="NCHW"``.
        filter: [H, W, out, in] in both formats.
        output_shape: four ints, in the order of ``data_format``.
        strides: an int or a list of 1, 2 or 4 ints.
        padding: of the convolution that this is the gradient of: ``"SAME"`` or ``"VALID"``.
        data_format: ``"NHWC"`` or ``"NCHW"``.
        name: not used.
        input: the later name of ``value``.
        filters: the later name of ``filter``.
        dilations: as ``strides``; 1 by default.

    Raises:
        ValueError: an ``output_shape`` that no such convolution takes to ``value``. (TensorFlow
            raises only when the graph runs.)
        TypeError: integers, or two dtypes.
    """
    function = "conv2d_transpose"
    value = renamed(function, value=value, input=input)
    filter = renamed(function, filter=filter, filters=filters)
    return _transposed(
        value, filter, output_shape, strides, padding, dilations, data_format, 2, function
    )


def deconv2d(
    value: Operand,
    filter: Operand,
    output_shape: Any,
    strides: Any,
    padding: Any = "SAME",
    name: str | None = None,
) -> Tensor:
    """A transposed convolution: the name of ``conv2d_transpose`` before TensorFlow 1.0.

    Torch: ``F.conv_transpose2d``; see ``tf.nn.conv2d_transpose``.
    """
    return conv2d_transpose(value, filter, output_shape, strides, padding)


def conv3d_transpose(
    value: Operand = None,
    filter: Operand = None,
    output_shape: Any = None,
    strides: Any = None,
    padding: Any = "SAME",
    data_format: str | None = "NDHWC",
    name: str | None = None,
    input: Operand = None,
    filters: Operand = None,
    dilations: Any = None,
) -> Tensor:
    """A transposed convolution of volumes: [N, D, H, W, in] to ``output_shape``.

    Torch: ``F.conv_transpose3d``; ``output_shape`` decides what SAME crops.
    """
    function = "conv3d_transpose"
    value = renamed(function, value=value, input=input)
    filter = renamed(function, filter=filter, filters=filters)
    return _transposed(
        value, filter, output_shape, strides, padding, dilations, data_format, 3, function
    )


def atrous_conv2d(
    value: Operand, filters: Operand, rate: Any, padding: Any, name: str | None = None
) -> Tensor:
    """Convolve images [N, H, W, in] with a dilated filter [H, W, in, out].

    Torch: ``F.conv2d(dilation=rate)``; NHWC and HWIO, and SAME as TensorFlow pads it.
    """
    if rate is None:
        raise TypeError("atrous_conv2d(): rate has to be an int, not None.")
    return _convolved(value, filters, 1, padding, rate, None, 2, "atrous_conv2d")


def atrous_conv2d_transpose(
    value: Operand,
    filters: Operand,
    output_shape: Any,
    rate: Any,
    padding: Any,
    name: str | None = None,
) -> Tensor:
    """A transposed dilated convolution: images to ``output_shape``, filters [H, W, out, in].

    Torch: ``F.conv_transpose2d(dilation=rate)``; ``output_shape`` decides what is cropped.
    """
    function = "atrous_conv2d_transpose"
    return _transposed(value, filters, output_shape, 1, padding, rate, None, 2, function)


def depthwise_conv2d(
    input: Operand,
    filter: Operand,
    strides: Any,
    padding: Any,
    rate: Any = None,
    name: str | None = None,
    data_format: str | None = None,
    dilations: Any = None,
) -> Tensor:
    """Convolve each channel by itself: [N, H, W, in] with [H, W, in, multiplier].

    Torch: ``F.conv2d(groups=in)``; result channel ``c * multiplier + m`` is filter m of channel c.

    Raises:
        ValueError: ranks, channels or sizes that do not fit, or strides together with a rate.
        TypeError: integers, or two dtypes.
    """
    rate = renamed("depthwise_conv2d", rate=rate, dilations=dilations)
    return _depthwise(input, filter, strides, padding, rate, data_format, "depthwise_conv2d")


def depthwise_conv2d_native(
    input: Operand,
    filter: Operand,
    strides: Any,
    padding: Any,
    data_format: str | None = "NHWC",
    dilations: Any = None,
    name: str | None = None,
) -> Tensor:
    """Convolve each channel by itself: [N, H, W, in] with [H, W, in, multiplier].

    Torch: ``F.conv2d(groups=in)``; see ``tf.nn.depthwise_conv2d``.
    """
    function = "depthwise_conv2d_native"
    return _depthwise(input, filter, strides, padding, dilations, data_format, function)


def separable_conv2d(
    input: Operand,
    depthwise_filter: Operand,
    pointwise_filter: Operand,
    strides: Any,
    padding: Any,
    rate: Any = None,
    name: str | None = None,
    data_format: str | None = None,
    dilations: Any = None,
) -> Tensor:
    """Convolve each channel by itself, then mix them: [H, W, in, multiplier], [1, 1, in * m, out].

    Torch: two ``F.conv2d``, the first with ``groups=in``.

    Raises:
        ValueError: ranks, channels or sizes that do not fit, or strides together with a rate.
        TypeError: integers, or two dtypes.
    """
    function = "separable_conv2d"
    rate = renamed(function, rate=rate, dilations=dilations)
    y = _depthwise(input, depthwise_filter, strides, padding, rate, data_format, function)
    pointwise = floating(pointwise_filter, function, "pointwise_filter")
    check_rank(pointwise, 4, function, "pointwise_filter")
    if pointwise.shape[:2] != (1, 1):
        raise ValueError(
            f"{function}(): pointwise_filter has to be [1, 1, in, out], not"
            f" {list(pointwise.shape)}."
        )
    return _convolved(y, pointwise, 1, "VALID", None, data_format, 2, function)


def bias_add(
    value: Operand, bias: Operand, data_format: str | None = None, name: str | None = None
) -> Tensor:
    """Add a bias [C] to the channels: the last axis, or the second with ``data_format="NCHW"``.

    Torch: ``x + bias``; the sizes have to be equal, 1 does not broadcast.

    Raises:
        ValueError: ranks or sizes that do not fit.
        TypeError: two dtypes.
    """
    value, bias = same_dtype((value, bias), "bias_add", "value and bias")
    last = is_channels_last(data_format, "bias_add")
    if bias.ndim != 1 or value.ndim < 2 or value.shape[-1 if last else 1] != bias.shape[0]:
        raise ValueError(
            f"bias_add(): a bias of {list(bias.shape)} does not fit the channels of a value of"
            f" {list(value.shape)} (data_format {data_format or 'NHWC'})."
        )
    return value + (bias if last else bias.reshape(-1, *(1,) * (value.ndim - 2)))


def _convolved(
    value: Operand,
    kernel: Operand,
    strides: Any,
    padding: Any,
    dilations: Any,
    data_format: str | None,
    rank: int,
    function: str,
) -> Tensor:
    x, kernel = _operands(value, kernel, rank, function)
    return convolve(
        x,
        kernel,
        strides=spatial(strides, rank, data_format, function, "strides"),
        padding=_padding(padding, rank, data_format, function),
        dilations=_dilations(dilations, rank, data_format, function),
        first=not is_channels_last(data_format, function),
        function=function,
    )


def _depthwise(
    value: Operand,
    kernel: Operand,
    strides: Any,
    padding: Any,
    rate: Any,
    data_format: str | None,
    function: str,
) -> Tensor:
    x, kernel = _operands(value, kernel, 2, function)
    steps = spatial(strides, 2, data_format, function, "strides")
    rates = _dilations(rate, 2, data_format, function)
    if rates and max(rates) > 1 and max(steps) > 1:
        raise ValueError(f"{function}(): strides > 1 and rate > 1 cannot be combined.")
    h, w, channels, multiplier = kernel.shape
    return convolve(
        x,
        kernel.reshape(h, w, 1, channels * multiplier),
        strides=steps,
        padding=_padding(padding, 2, data_format, function),
        dilations=rates,
        first=not is_channels_last(data_format, function),
        groups=channels,
        function=function,
    )


def _transposed(
    value: Operand,
    kernel: Operand,
    output_shape: Any,
    strides: Any,
    padding: Any,
    dilations: Any,
    data_format: str | None,
    rank: int,
    function: str,
) -> Tensor:
    x, kernel = _operands(value, kernel, rank, function)
    check_rank(x, rank + 2, function)
    wanted = shape(output_shape, function, "output_shape")
    last = is_channels_last(data_format, function)
    if len(wanted) != rank + 2:
        raise ValueError(f"{function}(): output_shape={list(wanted)} has to have {rank + 2} sizes.")
    batch, channels = wanted[0], wanted[-1 if last else 1]
    # Not `in`, which compiled code cannot use on symbolic sizes.
    if (batch != -1 and batch != x.shape[0]) or (channels != -1 and channels != kernel.shape[-2]):
        raise ValueError(
            f"{function}(): output_shape={list(wanted)} does not fit an input of {list(x.shape)}"
            f" and a filter of {list(kernel.shape)} ([..., out, in])."
        )
    return convolve_transposed(
        x,
        kernel,
        wanted[1:-1] if last else wanted[2:],
        strides=spatial(strides, rank, data_format, function, "strides"),
        padding=padding,
        dilations=_dilations(dilations, rank, data_format, function),
        first=not last,
        function=function,
    )


def _operands(value: Operand, kernel: Operand, rank: int, function: str) -> tuple[Tensor, Tensor]:
    x, kernel = same_dtype((value, kernel), function, "input and filter")
    floating(x, function, "input")
    check_rank(kernel, rank + 2, function, "filter")
    return x, kernel


def _dilations(
    dilations: Any, rank: int, data_format: str | None, function: str
) -> Sequence[int] | None:
    if dilations is None:
        return None
    return spatial(dilations, rank, data_format, function, "dilations")


def _padding(padding: Any, rank: int, data_format: str | None, function: str) -> str | Pads:
    """SAME, VALID, or the spatial axes' pairs from those of all axes."""
    if isinstance(padding, str):
        return padding
    if padding is None:
        raise TypeError(f"{function}(): give padding: 'SAME', 'VALID' or {rank + 2} pairs.")
    if not isinstance(padding, (list, tuple)) or len(cast("Sequence[Any]", padding)) != rank + 2:
        raise ValueError(
            f"{function}(): padding={padding!r}; give 'SAME', 'VALID' or {rank + 2} pairs."
        )
    pads = [ints(pair, function, "padding") for pair in cast("Sequence[Any]", padding)]
    channels = -1 if is_channels_last(data_format, function) else 1
    if any(pads.pop(axis) != (0, 0) for axis in (channels, 0)):
        raise ValueError(f"{function}(): padding={padding} pads the batch or the channels.")
    return [(before, after) for before, after in pads]
