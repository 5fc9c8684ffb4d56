"""One convolution and one transposed convolution for all ranks and layouts; knows no old spellings.

Images are [N, ..., C], or [N, C, ...] with ``first=True``; kernels are TensorFlow's, [..., in, out]
(transposed: [..., out, in]).  torch gets views of both: what it calls ``channels_last``.  It is
wrong for some of these views, and the functions below work around that:

- From one channel to an output of width 1, at a stride above 1, oneDNN computes wrong numbers.
  A stride has no effect on a width of 1, so 1 is passed, which also keeps all gradients right.
- The gradient of a window of 1 x 1 at a stride above 1 is written beyond the end of oneDNN's memory
  (fewer than 16 channels, several images, several threads), of which the process crashes then or
  later. Such a stride skips pixels, or in a transposed convolution puts zeros between them; that is
  done first, and 1 is passed.
- A weight whose first axis has size 1 fails in backward ("grad_weight must be contiguous") unless
  it is contiguous.

(torch 2.13; tests/test_tf1_nn.py tries all shapes near these.)
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # as torch's documentation writes it

from torchscope.tf1._arguments import ints
from torchscope.tf1._padding import (
    channels_first,
    channels_last,
    check_fits,
    is_channels_last,
    kernel_first,
    padding_of,
    torch_pads,
)

Pads = Sequence[tuple[int, int]]

_CONVOLUTIONS = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}
_TRANSPOSED = {1: torch.conv_transpose1d, 2: torch.conv_transpose2d, 3: torch.conv_transpose3d}
_LARGE = 2**15


def convolve(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None = None,
    *,
    strides: Sequence[int],
    padding: str | Pads = "SAME",
    dilations: Sequence[int] | None = None,
    first: bool = False,
    groups: int = 1,
    function: str,
) -> Tensor:
    """The convolution of images with a kernel.

    Args:
        x: [N, ..., in] or, with ``first``, [N, in, ...].
        kernel: [..., in / groups, out].
        bias: [out], added.
        strides: one for each spatial axis.
        padding: ``"SAME"``, ``"VALID"``, or zeros before and after each spatial axis.
        dilations: one for each spatial axis, 1 by default.
        first: whether the channels come first.
        groups: as torch's.
        function: named in errors.

    Raises:
        ValueError: ranks or channels that do not fit, or an image smaller than the kernel.
    """
    rank = kernel.ndim - 2
    dilations = dilations or (1,) * rank
    check_rank(x, rank + 2, function)
    images = x if first else channels_first(x)
    if images.shape[1] != kernel.shape[-2] * groups:
        raise _unlike(x, kernel, kernel.shape[-2] * groups, "in, out", first, function)
    sizes, window = images.shape[2:], kernel.shape[:rank]
    if isinstance(padding, str):
        pads = padding_of(padding, sizes, window, strides, dilations, function)
    else:
        pads = padding
        for size, k, d, pad in zip(sizes, window, dilations, pads, strict=True):
            check_fits((k - 1) * d + 1, size + sum(pad), function)
    if max(window) == 1 and max(strides) > 1:  # see above
        if any(map(any, pads)):
            images, pads = F.pad(images, torch_pads(pads)), [(0, 0)] * rank
        images, strides = images[_every(strides)], (1,) * rank
    if images.shape[1] == 1 and strides[-1] > 1:  # see above
        span, before = (window[-1] - 1) * dilations[-1] + 1, pads[-1][0]
        if sizes[-1] + sum(pads[-1]) < span + strides[-1]:  # the output's width is 1
            pads = [*pads[:-1], (before, span - before - sizes[-1])]
            strides = (*strides[:-1], 1)
    zeros: list[int] = []
    for before, after in pads:
        if before != after:
            images, zeros = F.pad(images, torch_pads(pads)), [0] * rank
            break
        zeros.append(before)
    y = _CONVOLUTIONS[rank](images, _weight(kernel, first), bias, strides, zeros, dilations, groups)
    return y if first else channels_last(y)


def convolve_transposed(
    x: Tensor,
    kernel: Tensor,
    sizes: Sequence[int],
    bias: Tensor | None = None,
    *,
    strides: Sequence[int],
    padding: str = "SAME",
    dilations: Sequence[int] | None = None,
    first: bool = False,
    function: str,
) -> Tensor:
    """The transposed convolution to images of the given sizes: convolution's gradient.

    Args:
        x: [N, ..., in] or, with ``first``, [N, in, ...].
        kernel: [..., out, in].
        sizes: of the spatial axes of the result; zeros (or the bias) fill what no window reaches.
        bias: [out], added.
        strides: one for each spatial axis.
        padding: that of the convolution: ``"SAME"`` or ``"VALID"``.
        dilations: one for each spatial axis, 1 by default.
        first: whether the channels come first.
        function: named in errors.

    Raises:
        ValueError: ranks or channels that do not fit, or sizes that such a convolution cannot have.
    """
    rank = kernel.ndim - 2
    dilations = dilations or (1,) * rank
    check_rank(x, rank + 2, function)
    images = x if first else channels_first(x)
    if images.shape[1] != kernel.shape[-1]:
        raise _unlike(x, kernel, kernel.shape[-1], "out, in", first, function)
    window = kernel.shape[:rank]
    pads = padding_of(padding, sizes, window, strides, dilations, function)
    zeros: list[int] = []
    more: list[int] = []
    cut = False
    for size, k, s, d, (before, after), given in zip(
        sizes, window, strides, dilations, pads, images.shape[2:], strict=True
    ):
        span = (k - 1) * d + 1
        if (size + before + after - span) // s + 1 != given or size + before + after < span:
            raise ValueError(
                f"{function}(): a {padding} convolution of stride {s} does not take {size} pixels"
                f" to {given}; give an output_shape that one takes to the input {list(x.shape)}."
            )
        extra = size + 2 * before - ((given - 1) * s + span)
        zeros.append(before)
        more.append(max(extra, 0))
        cut = cut or extra < 0
    if max(window) == 1 and max(strides) > 1:  # see above
        apart = images.new_zeros(*images.shape[:2], *sizes)
        apart[_every(strides)] = images
        images, strides, more = apart, (1,) * rank, [0] * rank
    if kernel.shape[-2] == 1 and images.shape[-1] == 1:  # see above
        images, more[-1] = F.pad(images, [0, more[-1]]), 0
        strides = (*strides[:-1], 1)
    y = _TRANSPOSED[rank](images, _weight(kernel, first), bias, strides, zeros, more, 1, dilations)
    if cut:  # SAME pads one more after than before: torch can only cut the same at both ends
        y = y[(..., *(slice(size) for size in sizes))]
    return y if first else channels_last(y)


def spatial(
    value: object, rank: int, data_format: str | None, function: str, argument: str
) -> tuple[int, ...]:
    """One int for each spatial axis, from an int or a list for these axes or for all.

    Raises:
        ValueError: another length, or one for the batch or the channels that is not 1.
    """
    sizes = (value,) if type(value) is int else ints(value, function, argument)
    if len(sizes) == 1:
        sizes *= rank
    if len(sizes) == rank + 2:
        last = is_channels_last(data_format, function)
        others = (sizes[0], sizes[-1 if last else 1])
        sizes = sizes[1:-1] if last else sizes[2:]
        if others != (1, 1):
            raise ValueError(
                f"{function}(): {argument}={value} has to be 1 for the batch and the channels"
                f" (data_format {data_format or 'channels last'})."
            )
    if len(sizes) != rank or min(sizes) < 1:
        raise ValueError(
            f"{function}(): {argument}={value}; give {rank + 2} positive ints, 1 for the batch and"
            f" the channels, or {rank} for the spatial axes."
        )
    return sizes


def check_rank(x: Tensor, rank: int, function: str, argument: str = "input") -> None:
    """ValueError unless the tensor has this rank."""
    if x.ndim != rank:
        raise ValueError(
            f"{function}(): {argument} has to be of rank {rank}, not {x.ndim}:"
            f" its shape is {list(x.shape)}."
        )


def _unlike(
    x: Tensor, kernel: Tensor, takes: int, order: str, first: bool, function: str
) -> ValueError:
    return ValueError(
        f"{function}(): the input has {x.shape[1 if first else -1]} channels and the filter takes"
        f" {takes} (filter {list(kernel.shape)} is [..., {order}], input {list(x.shape)} is"
        f" channels {'first' if first else 'last'})."
    )


def _every(strides: Sequence[int]) -> tuple[Any, ...]:
    """The index of every pixel at which a window of 1 x 1 is, channels first."""
    return (..., *(slice(None, None, stride) for stride in strides))


def _weight(kernel: Tensor, first: bool) -> Tensor:
    """[..., in, out] viewed as [out, in, ...], or a copy where torch would fail or be slow."""
    if kernel.shape[-1] == 1:
        return kernel_first(kernel).contiguous()
    if first or kernel.numel() < _LARGE or kernel.shape[-2] == 1 or torch.compiler.is_compiling():
        return kernel_first(kernel)
    # The convolution would lay out the view itself, element by element; this is five times faster.
    rows = kernel.reshape(-1, kernel.shape[-1]).t().contiguous()
    return channels_first(rows.reshape(kernel.shape[-1], *kernel.shape[:-1]))
