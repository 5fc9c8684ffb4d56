"""tf.nn's pools: SAME pads max pools with -inf, and averages do not count the padding."""

import operator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # as torch's documentation writes it

from torchscope.tf1._arguments import renamed
from torchscope.tf1._convert import HALVES, Operand, floating, numeric
from torchscope.tf1._padding import (
    channels_first,
    channels_last,
    is_channels_last,
    padding_of,
    torch_pads,
)
from torchscope.tf1.dtypes import as_dtype

from ._convolve import check_rank, convolve, spatial

__all__ = [
    "avg_pool",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "max_pool",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_pool_with_argmax",
    "pool",
]

_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def max_pool(
    value: Operand = None,
    ksize: Any = None,
    strides: Any = None,
    padding: Any = None,
    data_format: str | None = "NHWC",
    name: str | None = None,
    input: Operand = None,
) -> Tensor:
    """Take the largest value under each window of images [N, H, W, C].

    Torch: ``F.max_pool2d``; NHWC, and SAME at any size, window and stride.

    Args:
        value: [N, H, W, C], or [N, C, H, W] with ``data_format="NCHW"``.
        ksize: the window: an int or a list of 1, 2 or 4 ints.
        strides: likewise.
        padding: ``"SAME"`` or ``"VALID"``.
        data_format: ``"NHWC"`` or ``"NCHW"``.
        name: not used.
        input: the later name of ``value``.

    Raises:
        ValueError: a rank, size or padding that does not fit.
    """
    value = renamed("max_pool", value=value, input=input)
    return _pooled(value, ksize, strides, padding, data_format, 2, "MAX", "max_pool")


def avg_pool(
    value: Operand = None,
    ksize: Any = None,
    strides: Any = None,
    padding: Any = None,
    data_format: str | None = "NHWC",
    name: str | None = None,
    input: Operand = None,
) -> Tensor:
    """Average the values under each window of images [N, H, W, C].

    Torch: ``F.avg_pool2d(count_include_pad=False)``; NHWC, and SAME at any size and stride.

    Args:
        value: [N, H, W, C], or [N, C, H, W] with ``data_format="NCHW"``.
        ksize: the window: an int or a list of 1, 2 or 4 ints.
        strides: likewise.
        padding: ``"SAME"`` or ``"VALID"``.
        data_format: ``"NHWC"`` or ``"NCHW"``.
        name: not used.
        input: the later name of ``value``.

    Raises:
        ValueError: a rank, size or padding that does not fit.
        TypeError: integers.
    """
    value = renamed("avg_pool", value=value, input=input)
    return _pooled(value, ksize, strides, padding, data_format, 2, "AVG", "avg_pool")


def max_pool1d(
    input: Operand,
    ksize: Any,
    strides: Any,
    padding: str,
    data_format: str | None = "NWC",
    name: str | None = None,
) -> Tensor:
    """Take the largest value under each window of sequences [N, W, C].

    Torch: ``F.max_pool1d``; channels last, and SAME.
    """
    return _pooled(input, ksize, strides, padding, data_format, 1, "MAX", "max_pool1d")


def max_pool2d(
    input: Operand,
    ksize: Any,
    strides: Any,
    padding: str,
    data_format: str | None = "NHWC",
    name: str | None = None,
) -> Tensor:
    """Take the largest value under each window of images [N, H, W, C].

    Torch: ``F.max_pool2d``; see ``tf.nn.max_pool``.
    """
    return _pooled(input, ksize, strides, padding, data_format, 2, "MAX", "max_pool2d")


def max_pool3d(
    input: Operand,
    ksize: Any,
    strides: Any,
    padding: str,
    data_format: str | None = "NDHWC",
    name: str | None = None,
) -> Tensor:
    """Take the largest value under each window of volumes [N, D, H, W, C].

    Torch: ``F.max_pool3d``; channels last, and SAME.
    """
    return _pooled(input, ksize, strides, padding, data_format, 3, "MAX", "max_pool3d")


def max_pool_with_argmax(
    input: Operand,
    ksize: Any,
    strides: Any,
    padding: str,
    data_format: str | None = "NHWC",
    Targmax: Any = None,  # noqa: N803  # TensorFlow's spelling
    name: str | None = None,
    output_dtype: Any = None,
    include_batch_in_index: bool = False,
) -> tuple[Tensor, Tensor]:
    """Take the largest value under each window, and where in its image it is.

    Torch: ``F.max_pool2d(return_indices=True)``; the index counts channels, too.

    >>> y, index = max_pool_with_argmax([[[[1.0, 5.0], [3.0, 4.0]]]], [1, 1, 2, 1], 2, "SAME")
    >>> y.flatten(), index.flatten()  # 3.0 is in column 1, channel 0
    (tensor([3., 5.]), tensor([2, 1]))

    Args:
        input: [N, H, W, C] floats.
        ksize: the window: an int or a list of 1, 2 or 4 ints.
        strides: likewise.
        padding: ``"SAME"`` or ``"VALID"``.
        data_format: ``"NHWC"``.
        Targmax: the earlier name of ``output_dtype``.
        name: not used.
        output_dtype: of the indices, int64 by default.
        include_batch_in_index: whether the index counts from the first image of the batch.

    Returns:
        The values, and ``(row * W + column) * C + channel`` of each; of equal ones the first.

    Raises:
        ValueError: a rank, size or padding that does not fit, or another ``data_format``.
        TypeError: integers.
    """
    function = "max_pool_with_argmax"
    if data_format != "NHWC":
        raise ValueError(f"{function}(): data_format={data_format!r} has to be 'NHWC'.")
    x = floating(input, function, "input")
    check_rank(x, 4, function)
    window = spatial(ksize, 2, data_format, function, "ksize")
    steps = spatial(strides, 2, data_format, function, "strides")
    count, height, width, channels = x.shape
    pads = padding_of(padding, (height, width), window, steps, (1, 1), function)
    images = F.pad(channels_first(x), torch_pads(pads), value=-torch.inf)
    y, index = F.max_pool2d(images, window, steps, return_indices=True)
    row, column = index // images.shape[-1] - pads[0][0], index % images.shape[-1] - pads[1][0]
    if include_batch_in_index:
        row = row + height * torch.arange(count, device=x.device)[:, None, None, None]
    channel = torch.arange(channels, device=x.device)[:, None, None]
    index = (row * width + column) * channels + channel
    dtype = renamed(function, Targmax=Targmax, output_dtype=output_dtype)
    return channels_last(y), channels_last(index).to(as_dtype(dtype or torch.int64))


def avg_pool1d(
    input: Operand,
    ksize: Any,
    strides: Any,
    padding: str,
    data_format: str | None = "NWC",
    name: str | None = None,
) -> Tensor:
    """Average the values under each window of sequences [N, W, C].

    Torch: ``F.avg_pool1d(count_include_pad=False)``; channels last, and SAME.
    """
    return _pooled(input, ksize, strides, padding, data_format, 1, "AVG", "avg_pool1d")


def avg_pool2d(
    input: Operand,
    ksize: Any,
    strides: Any,
    padding: str,
    data_format: str | None = "NHWC",
    name: str | None = None,
) -> Tensor:
    """Average the values under each window of images [N, H, W, C].

    Torch: ``F.avg_pool2d(count_include_pad=False)``; see ``tf.nn.avg_pool``.
    """
    return _pooled(input, ksize, strides, padding, data_format, 2, "AVG", "avg_pool2d")


def avg_pool3d(
    input: Operand,
    ksize: Any,
    strides: Any,
    padding: str,
    data_format: str | None = "NDHWC",
    name: str | None = None,
) -> Tensor:
    """Average the values under each window of volumes [N, D, H, W, C].

    Torch: ``F.avg_pool3d(count_include_pad=False)``; channels last, and SAME.
    """
    return _pooled(input, ksize, strides, padding, data_format, 3, "AVG", "avg_pool3d")


def pool(
    input: Operand,
    window_shape: Any,
    pooling_type: str,
    padding: str,
    dilation_rate: Any = None,
    strides: Any = None,
    name: str | None = None,
    data_format: str | None = None,
    dilations: Any = None,
) -> Tensor:
    """Pool sequences, images or volumes, by their rank: ``pooling_type`` is "MAX" or "AVG".

    Torch: ``F.max_pool2d``, ``F.avg_pool2d`` and the like; channels last by default, and SAME.

    Args:
        input: [N, ..., C], or [N, C, ...] with a ``data_format`` that starts with "NC".
        window_shape: one int for each spatial axis.
        pooling_type: ``"MAX"`` or ``"AVG"``.
        padding: ``"SAME"`` or ``"VALID"``.
        dilation_rate: one int for each spatial axis; 1 by default. Above 1 only with VALID.
        strides: one int for each spatial axis, not above the window's; 1 by default.
        name: not used.
        data_format: ``"NHWC"``, ``"NCHW"`` or the like for other ranks.
        dilations: the later name of ``dilation_rate``.

    Raises:
        ValueError: a rank, size, padding or type that does not fit, or strides and dilation.
    """
    x = numeric(input, "pool", "input")
    rank = x.ndim - 2
    if rank not in (1, 2, 3):
        raise ValueError(
            f"pool(): input has to be of rank 3, 4 or 5; its shape is {list(x.shape)}."
        )
    if pooling_type not in ("MAX", "AVG"):
        raise ValueError(f"pool(): pooling_type={pooling_type!r}; give 'MAX' or 'AVG'.")
    dilations = renamed("pool", dilation_rate=dilation_rate, dilations=dilations)
    rates = spatial(dilations or 1, rank, data_format, "pool", "dilation_rate")
    steps = spatial(strides or 1, rank, data_format, "pool", "strides")
    window = spatial(window_shape, rank, data_format, "pool", "window_shape")
    if any(map(operator.gt, steps, window)):
        raise ValueError(f"pool(): strides={strides} are above window_shape={window_shape}.")
    if max(rates) == 1:
        return _pooled(x, window, steps, padding, data_format, rank, pooling_type, "pool")
    if max(steps) > 1 or padding != "VALID":
        raise ValueError("pool(): a dilation_rate above 1 needs strides of 1 and padding='VALID'.")
    return _dilated(x, window, rates, not is_channels_last(data_format, "pool"), pooling_type)


def pooled(
    x: Tensor,
    window: tuple[int, ...],
    strides: tuple[int, ...],
    padding: str,
    first: bool,
    pooling_type: str,
    function: str,
) -> Tensor:
    """Pool [N, ..., C], or [N, C, ...] with ``first``; one int for each spatial axis.

    torch pads both sides equally. Where SAME needs one more after than before, torch's last window
    may extend beyond the edge (``ceil_mode``); at stride 1 one more is padded before, and the first
    result is dropped. Nothing is copied.
    """
    rank = len(window)
    check_rank(x, rank + 2, function)
    images = x if first else channels_first(x)
    sizes = images.shape[2:]
    ones = (1,) * rank
    pads = padding_of(padding, sizes, window, strides, ones, function)
    zeros: list[int] = []
    drop: list[slice] = []
    hang = cut = False
    for stride, (before, after) in zip(strides, pads, strict=True):
        more = 0
        if before < after:  # By `if`: otherwise compiled code would pass a SymBool to torch.
            hang, more = True, int(stride == 1)
        zeros.append(after if more else before)
        drop.append(slice(more, None))
        cut = cut or more == 1
    if pooling_type == "MAX":
        y = _MAX[rank](images, window, strides, zeros, ceil_mode=hang)
    elif rank == 3 and (images.dtype in HALVES or any(map(operator.gt, window, sizes))):
        # torch refuses these.  The average of ones is the part of a window that is not padding.
        wide = images.float() if images.dtype in HALVES else images
        ones = F.pad(wide.new_ones(1, 1, *sizes), torch_pads(pads))
        share = F.avg_pool3d(ones, window, strides)
        y = F.avg_pool3d(F.pad(wide, torch_pads(pads)), window, strides) / share
        y, cut = y.to(images.dtype), False
    else:
        y = _AVERAGE[rank](images, window, strides, zeros, hang, count_include_pad=False)
    if cut:
        y = y[(..., *drop)]
    return y if first else channels_last(y)


def _dilated(
    x: Tensor,
    window: tuple[int, ...],
    rates: tuple[int, ...],
    first: bool,
    pooling_type: str,
) -> Tensor:
    """At stride 1, without padding."""
    rank = len(window)
    if pooling_type == "AVG":
        channels = x.shape[1 if first else -1]
        count = torch.Size(window).numel()
        kernel = torch.full((*window, 1, channels), 1 / count, dtype=x.dtype, device=x.device)
        return convolve(
            x,
            kernel,
            strides=(1,) * rank,
            padding="VALID",
            dilations=rates,
            first=first,
            groups=channels,
            function="pool",
        )
    images = x if first else channels_first(x)
    padding_of("VALID", images.shape[2:], window, (1,) * rank, rates, "pool")
    y = _MAX[rank](images, window, 1, 0, rates)
    return y if first else channels_last(y)


def _pooled(
    value: Operand,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: str | None,
    rank: int,
    pooling_type: str,
    function: str,
) -> Tensor:
    x = (numeric if pooling_type == "MAX" else floating)(value, function, "input")
    if not isinstance(padding, str):
        raise ValueError(f"{function}(): padding={padding!r}; give 'SAME' or 'VALID'.")
    return pooled(
        x,
        spatial(ksize, rank, data_format, function, "ksize"),
        spatial(strides, rank, data_format, function, "strides"),
        padding,
        not is_channels_last(data_format, function),
        pooling_type,
        function,
    )
