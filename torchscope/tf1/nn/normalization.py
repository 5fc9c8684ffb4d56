"""Moments, and normalization by them: of batches, vectors, neighbouring channels."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # as torch's documentation writes it

from torchscope.tf1._arguments import axes as axes_of
from torchscope.tf1._arguments import one_int, renamed
from torchscope.tf1._convert import HALVES, Operand, check_fills, floating, tensor
from torchscope.tf1._padding import channels_first, channels_last, is_channels_last

from ._convolve import check_rank

__all__ = [
    "batch_norm_with_global_normalization",
    "batch_normalization",
    "fused_batch_norm",
    "l2_normalize",
    "local_response_normalization",
    "lrn",
    "moments",
    "weighted_moments",
]


def moments(
    x: Operand,
    axes: Any,
    shift: Operand = None,
    name: str | None = None,
    keep_dims: bool | None = None,
    keepdims: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean and variance over the axes; the variance is biased (divided by n).

    Torch: ``torch.var_mean(x, axes, correction=0)``; second-order gradients treat the mean inside
    the variance as a constant, as TensorFlow's do.

    Args:
        x: floats; halves are summed in float32.
        axes: an int or a list.
        shift: not used, as in TensorFlow.
        name: not used.
        keep_dims: whether the axes stay, with size 1.
        keepdims: the later name of ``keep_dims``.

    Raises:
        ValueError: an axis out of range.
        TypeError: integers.
    """
    x = floating(x, "moments")
    keep = bool(renamed("moments", keepdims=keepdims, keep_dims=keep_dims))
    dims = axes_of(axes, x.ndim, "moments", "axes")
    if not dims:  # torch would take all axes
        return x, torch.zeros_like(x)
    if x.dtype in HALVES:
        mean, variance = moments(x.float(), dims, keep_dims=keep)
        return mean.to(x.dtype), variance.to(x.dtype)
    mean = x.mean(dims, keepdim=True)
    variance = (x - mean.detach()).square().mean(dims, keepdim=keep)
    return mean if keep else mean.squeeze(dims), variance


def weighted_moments(
    x: Operand,
    axes: Any,
    frequency_weights: Operand,
    name: str | None = None,
    keep_dims: bool | None = None,
    keepdims: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean and biased variance over the axes, where a value's weight is how often it counts.

    Torch: none.

    Args:
        x: floats; halves are summed in float32.
        axes: an int or a list.
        frequency_weights: not negative; cast to the dtype of ``x`` and broadcast to its shape.
        name: not used.
        keep_dims: whether the axes stay, with size 1.
        keepdims: the later name of ``keep_dims``.
    """
    x = floating(x, "weighted_moments")
    keep = bool(renamed("weighted_moments", keepdims=keepdims, keep_dims=keep_dims))
    dims = axes_of(axes, x.ndim, "weighted_moments", "axes")
    if not dims:  # torch would take all axes
        return x, torch.zeros_like(x)
    wide = x.float() if x.dtype in HALVES else x
    weights = tensor(frequency_weights, device=x.device).to(wide.dtype)
    total = weights.expand(x.shape).sum(dims, keepdim=True)
    mean = (wide * weights).sum(dims, keepdim=True) / total
    variance = ((wide - mean).square() * weights).sum(dims, keepdim=True) / total
    if not keep:
        mean, variance = mean.squeeze(dims), variance.squeeze(dims)
    return mean.to(x.dtype), variance.to(x.dtype)


def batch_normalization(
    x: Operand,
    mean: Operand,
    variance: Operand,
    offset: Operand,
    scale: Operand,
    variance_epsilon: Any,
    name: str | None = None,
) -> Tensor:
    """Normalize by a given mean and variance: ``(x - mean) / sqrt(variance + epsilon)``.

    Torch: ``F.batch_norm(training=False)``; channels last, or whatever the operands broadcast to.

    Args:
        x: floats.
        mean: broadcasts to ``x``.
        variance: likewise.
        offset: added at the end, or None.
        scale: multiplied before, or None.
        variance_epsilon: added to the variance.
        name: not used.

    Raises:
        ValueError: one that does not broadcast.
        TypeError: integers.
    """
    x = floating(x, "batch_normalization")
    found = _that_fit(x, mean=mean, variance=variance, offset=offset, scale=scale)
    if variance_epsilon is None:
        raise ValueError("batch_normalization(): variance_epsilon is None.")
    inverse = torch.rsqrt(found["variance"] + variance_epsilon)
    if scale is not None:
        inverse = inverse * found["scale"]
    shift = -found["mean"] * inverse
    if offset is not None:
        shift = shift + found["offset"]
    return x * inverse.to(x.dtype) + shift.to(x.dtype)


def batch_norm_with_global_normalization(
    t: Operand = None,
    m: Operand = None,
    v: Operand = None,
    beta: Operand = None,
    gamma: Operand = None,
    variance_epsilon: Any = None,
    scale_after_normalization: bool | None = None,
    name: str | None = None,
    input: Operand = None,
    mean: Operand = None,
    variance: Operand = None,
) -> Tensor:
    """Normalize by a given mean and variance; the name of this before TensorFlow 1.0.

    Torch: ``F.batch_norm(training=False)``; ``gamma`` is used if ``scale_after_normalization``.
    """
    function = "batch_norm_with_global_normalization"
    return batch_normalization(
        renamed(function, t=t, input=input),
        renamed(function, m=m, mean=mean),
        renamed(function, v=v, variance=variance),
        beta,
        gamma if scale_after_normalization else None,
        variance_epsilon,
    )


def fused_batch_norm(
    x: Operand,
    scale: Operand,
    offset: Operand,
    mean: Operand = None,
    variance: Operand = None,
    epsilon: float = 0.001,
    data_format: str = "NHWC",
    is_training: bool = True,
    name: str | None = None,
    exponential_avg_factor: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalize images by the batch's mean and variance, or by given ones.

    Torch: ``F.batch_norm``; NHWC, and it also returns the batch's mean and *unbiased*
    variance, which get no gradient.

    Args:
        x: [N, H, W, C], or [N, C, H, W] with ``data_format="NCHW"``.
        scale: [C].
        offset: [C].
        mean: [C]; used if not ``is_training``.
        variance: [C]; likewise.
        epsilon: added to the variance.
        data_format: ``"NHWC"`` or ``"NCHW"``.
        is_training: whether the batch's own moments are used.
        name: not used.
        exponential_avg_factor: the batch's weight in the mean and variance that are returned.

    Raises:
        ValueError: a rank that does not fit, or no mean and variance where they are used.
        TypeError: integers, or two dtypes.
    """
    function = "fused_batch_norm"
    x = floating(x, function)
    check_rank(x, 4, function, "x")
    first = not is_channels_last(data_format, function)
    channels = x.shape[1 if first else -1]
    scale = _of_channels(scale, "scale", x.dtype, channels)
    offset = _of_channels(offset, "offset", x.dtype, channels)
    if is_training:
        y, batch_mean, batch_variance = normalize_batch(x, scale, offset, epsilon, first=first)
        count = x.numel() // max(channels, 1)
        batch_variance = batch_variance * (count / max(count - 1, 1))
        if exponential_avg_factor != 1.0:
            share = exponential_avg_factor
            batch_mean = _of_channels(mean, "mean", x.dtype, channels).lerp(batch_mean, share)
            average = _of_channels(variance, "variance", x.dtype, channels)
            batch_variance = average.lerp(batch_variance, share)
        return y, batch_mean, batch_variance
    if mean is None or variance is None:
        raise ValueError(f"{function}(): give mean and variance, or is_training=True.")
    mean = _of_channels(mean, "mean", x.dtype, channels)
    variance = _of_channels(variance, "variance", x.dtype, channels)
    return normalize(x, mean, variance, scale, offset, epsilon, first=first), mean, variance


def normalize_batch(
    x: Tensor, scale: Tensor | None, offset: Tensor | None, epsilon: float, *, first: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """The batch normalized by its own moments; its mean and *biased* variance, without gradient.

    The batch has any rank: [N, ..., C], or [N, C, ...] with ``first``.
    """
    y, mean, inverse = torch.native_batch_norm(
        x if first else channels_first(x), scale, offset, None, None, True, 0.0, epsilon
    )
    variance = inverse.detach().pow(-2).sub(epsilon).clamp(min=0)
    return y if first else channels_last(y), mean.detach(), variance


def normalize(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    scale: Tensor | None,
    offset: Tensor | None,
    epsilon: float,
    *,
    first: bool = False,
) -> Tensor:
    """The batch normalized by a given mean and variance, which get no gradient.

    They are copied: torch's backward would read their later values, and averages change.
    """
    y = F.batch_norm(
        x if first else channels_first(x),
        mean.detach().clone(),
        variance.detach().clone(),
        scale,
        offset,
        eps=epsilon,
    )
    return y if first else channels_last(y)


def l2_normalize(
    x: Operand,
    axis: Any = None,
    epsilon: float = 1e-12,
    name: str | None = None,
    dim: Any = None,
) -> Tensor:
    """Divide by the Euclidean norm over the axes: ``x * rsqrt(max(sum(x ** 2), epsilon))``.

    Torch: ``F.normalize(x, dim=axis)``; over all axes by default, and epsilon is a floor under the
    sum of squares.

    Args:
        x: floats.
        axis: an int or a list; all axes by default.
        epsilon: the least sum of squares to divide by.
        name: not used.
        dim: the old name of ``axis``.

    Raises:
        ValueError: an axis out of range, or both ``axis`` and ``dim``.
        TypeError: integers.
    """
    x = floating(x, "l2_normalize")
    axis = renamed("l2_normalize", axis=axis, dim=dim)
    dims = axes_of(axis, x.ndim, "l2_normalize")
    squares = x.square()
    total = squares.sum(dims, keepdim=True) if dims else squares  # torch takes () for all axes
    return x * total.clamp(min=epsilon).rsqrt()


def local_response_normalization(
    input: Operand,
    depth_radius: int = 5,
    bias: float = 1,
    alpha: float = 1,
    beta: float = 0.5,
    name: str | None = None,
) -> Tensor:
    """Divide by ``(bias + alpha * s) ** beta``, s the squares of ``depth_radius`` channels nearby.

    Torch: ``F.local_response_norm(x, 2 * depth_radius + 1, alpha * size, beta, bias)``; NHWC, and
    alpha is not divided by the number of channels.

    Raises:
        ValueError: a rank other than 4.
        TypeError: integers.
    """
    x = floating(input, "local_response_normalization", "input")
    check_rank(x, 4, "local_response_normalization")
    depth_radius = one_int(depth_radius, "local_response_normalization", "depth_radius")
    size = 2 * depth_radius + 1
    rows = x.square().flatten(1, 2)  # [N, H * W, C]
    sums = F.avg_pool1d(rows, size, 1, depth_radius).view_as(x) * size
    return x / (bias + alpha * sums) ** beta


lrn = local_response_normalization


def _that_fit(x: Tensor, **values: Operand) -> dict[str, Tensor]:
    """Those of batch_normalization that are given, as tensors that broadcast to x."""
    found: dict[str, Tensor] = {}
    for argument, value in values.items():
        if value is not None or argument in ("mean", "variance"):
            made = tensor(value, function="batch_normalization", argument=argument)
            check_fills(made.shape, x.shape, "batch_normalization", argument)
            found[argument] = made
    return found


def _of_channels(value: Operand, argument: str, dtype: torch.dtype, channels: int) -> Tensor:
    """One number for each channel of a batch of this dtype; in float32 for halves."""
    found = tensor(value, function="fused_batch_norm", argument=argument)
    wide = torch.float32 if dtype in HALVES else dtype
    if found.dtype is dtype:  # a whole net in bfloat16
        found = found.to(wide)
    if found.shape != (channels,):
        raise ValueError(
            f"fused_batch_norm(): {argument} has to be [{channels}], one for each channel, not"
            f" {list(found.shape)}."
        )
    return tensor(found, wide, function="fused_batch_norm", argument=argument)
