"""Reductions over axes: sums, means, largest elements and their indices, running sums.

Every reduction takes TensorFlow's old and new spellings: ``axis`` or ``reduction_indices`` (None
for all axes, an int, a list, a tensor; an empty list reduces nothing), ``keepdims`` or
``keep_dims``.
"""

import math
from typing import Any

import torch
from torch import Tensor

from torchscope.tf1._arguments import axes, one_axis, renamed
from torchscope.tf1._convert import (
    Operand,
    as_dtype,
    boolean,
    check_dtype,
    floating,
    numeric,
    tensor,
)

from . import _gradients
from .shapes import Sizes

__all__ = [
    "argmax",
    "argmin",
    "count_nonzero",
    "cumprod",
    "cumsum",
    "reduce_all",
    "reduce_any",
    "reduce_euclidean_norm",
    "reduce_logsumexp",
    "reduce_max",
    "reduce_mean",
    "reduce_min",
    "reduce_prod",
    "reduce_std",
    "reduce_sum",
    "reduce_variance",
]


def reduce_sum(
    input_tensor: Operand,
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: bool | None = None,
) -> Tensor:
    """The sum over axes.

    Torch: ``x.sum(axis)``; the dtype stays (torch makes int32 int64).
    """
    x = numeric(input_tensor, "reduce_sum", "input_tensor")
    dims, keep = _asked("reduce_sum", x, axis, keepdims, reduction_indices, keep_dims)
    return x.sum(dims, keep, dtype=x.dtype) if dims else x


def reduce_mean(
    input_tensor: Operand,
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: bool | None = None,
) -> Tensor:
    """The mean over axes.

    Torch: ``x.mean(axis)``; of integers the mean is truncated (torch raises).
    """
    x = numeric(input_tensor, "reduce_mean", "input_tensor")
    dims, keep = _asked("reduce_mean", x, axis, keepdims, reduction_indices, keep_dims)
    if not dims:
        return x
    if x.is_floating_point() or x.is_complex():
        return x.mean(dims, keep)
    count = math.prod(x.shape[d] for d in dims)
    # Added up in int64, where a sum of small integers does not overflow.
    return torch.div(x.sum(dims, keep), max(count, 1), rounding_mode="trunc").to(x.dtype)


def reduce_max(
    input_tensor: Operand,
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: bool | None = None,
) -> Tensor:
    """The largest element over axes; equal ones share the gradient.

    Torch: ``x.amax(axis)``; over no elements it is -inf, or the least integer (torch raises).
    """
    x = numeric(input_tensor, "reduce_max", "input_tensor")
    dims, keep = _asked("reduce_max", x, axis, keepdims, reduction_indices, keep_dims)
    if not dims:
        return x
    return x.amax(dims, keep) if x.numel() else _of_nothing(x, dims, keep, _limits(x.dtype)[0])


def reduce_min(
    input_tensor: Operand,
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: bool | None = None,
) -> Tensor:
    """The smallest element over axes; equal ones share the gradient.

    Torch: ``x.amin(axis)``; over no elements it is inf, or the largest integer (torch raises).
    """
    x = numeric(input_tensor, "reduce_min", "input_tensor")
    dims, keep = _asked("reduce_min", x, axis, keepdims, reduction_indices, keep_dims)
    if not dims:
        return x
    return x.amin(dims, keep) if x.numel() else _of_nothing(x, dims, keep, _limits(x.dtype)[1])


def reduce_prod(
    input_tensor: Operand,
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: bool | None = None,
) -> Tensor:
    """The product over axes; of ``tf.shape(x)`` it is an int.

    Torch: ``x.prod(axis)``; several axes at once, and the dtype stays.
    """
    if isinstance(input_tensor, Sizes) and axis is None:
        return math.prod(list(input_tensor))  # pyright: ignore[reportReturnType]  # ints stay ints
    x = numeric(input_tensor, "reduce_prod", "input_tensor")
    dims, keep = _asked("reduce_prod", x, axis, keepdims, reduction_indices, keep_dims)
    for dim in sorted(dims, reverse=True):
        x = x.prod(dim, keep, dtype=x.dtype)
    return x


def reduce_all(
    input_tensor: Operand,
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: bool | None = None,
) -> Tensor:
    """Whether all are true over axes; TypeError unless boolean.

    Torch: ``x.all(axis)``.
    """
    x = boolean(input_tensor, "reduce_all", "input_tensor")
    dims, keep = _asked("reduce_all", x, axis, keepdims, reduction_indices, keep_dims)
    return torch.all(x, dims, keep) if dims else x


def reduce_any(
    input_tensor: Operand,
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: bool | None = None,
) -> Tensor:
    """Whether one is true over axes; TypeError unless boolean.

    Torch: ``x.any(axis)``.
    """
    x = boolean(input_tensor, "reduce_any", "input_tensor")
    dims, keep = _asked("reduce_any", x, axis, keepdims, reduction_indices, keep_dims)
    return torch.any(x, dims, keep) if dims else x


def reduce_logsumexp(
    input_tensor: Operand,
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: bool | None = None,
) -> Tensor:
    """The logarithm of the sum of exponentials over axes, without overflow.

    Torch: ``torch.logsumexp``, which needs an axis.
    """
    x = floating(input_tensor, "reduce_logsumexp", "input_tensor")
    dims, keep = _asked("reduce_logsumexp", x, axis, keepdims, reduction_indices, keep_dims)
    return torch.logsumexp(x, dims, keep) if dims else x


def reduce_variance(
    input_tensor: Operand,
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
) -> Tensor:
    """The mean squared distance from the mean over axes.

    Torch: ``x.var(axis, correction=0)``.
    """
    x = floating(input_tensor, "reduce_variance", "input_tensor")
    dims, keep = _asked("reduce_variance", x, axis, keepdims)
    difference = x - (x.mean(dims, True) if dims else x)
    squares = torch.real(difference * difference.conj())
    # Without axes zeros, through which the standard deviation has no gradient.
    return squares.mean(dims, keep) if dims else squares


def reduce_std(
    input_tensor: Operand,
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
) -> Tensor:
    """The square root of reduce_variance.

    Torch: ``x.std(axis, correction=0)``.
    """
    return _gradients.sqrt(reduce_variance(input_tensor, axis, keepdims))


def reduce_euclidean_norm(
    input_tensor: Operand,
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
) -> Tensor:
    """The square root of the sum of squares over axes.

    Torch: ``torch.linalg.vector_norm``, whose gradient at 0 is 0.
    """
    x = floating(input_tensor, "reduce_euclidean_norm", "input_tensor")
    return _gradients.sqrt(reduce_sum(x * x.conj(), axis, keepdims))


def count_nonzero(
    input_tensor: Operand,
    axis: Any = None,
    keepdims: bool | None = None,
    dtype: Any = torch.int64,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: bool | None = None,
) -> Tensor:
    """How many elements are not zero over axes, as int64 by default."""
    x = tensor(input_tensor, function="count_nonzero", argument="input_tensor")
    x = (x != 0).to(as_dtype(dtype))
    return reduce_sum(x, axis, keepdims, None, reduction_indices, keep_dims)


def argmax(
    input: Operand,
    axis: Any = None,
    name: str | None = None,
    dimension: Any = None,
    output_type: Any = torch.int64,
) -> Tensor:
    """The index of the largest element over an axis; of equal ones the first.

    Torch: ``x.argmax(axis)``; the axis is 0 by default (torch: the flattened tensor).
    """
    if isinstance(axis, (list, tuple)):
        raise TypeError(f"argmax(): axis has to be an int, not {axis!r}.")  # argmin: ValueError
    return _where_extreme(torch.argmax, "argmax", input, axis, dimension, output_type)


def argmin(
    input: Operand,
    axis: Any = None,
    name: str | None = None,
    dimension: Any = None,
    output_type: Any = torch.int64,
) -> Tensor:
    """The index of the smallest element over an axis; of equal ones the first.

    Torch: ``x.argmin(axis)``; the axis is 0 by default (torch: the flattened tensor).
    """
    return _where_extreme(torch.argmin, "argmin", input, axis, dimension, output_type)


def cumsum(
    x: Operand,
    axis: Any = 0,
    exclusive: bool = False,
    reverse: bool = False,
    name: str | None = None,
) -> Tensor:
    """Running sums along an axis.

    Torch: ``torch.cumsum``; the dtype stays, ``exclusive`` excludes each element itself.
    """
    return _running(torch.cumsum, "cumsum", x, axis, exclusive, reverse, 0)


def cumprod(
    x: Operand,
    axis: Any = 0,
    exclusive: bool = False,
    reverse: bool = False,
    name: str | None = None,
) -> Tensor:
    """Running products along an axis.

    Torch: ``torch.cumprod``; the dtype stays, ``exclusive`` excludes each element itself, and an
    element that is 0 has no gradient, as in TensorFlow.
    """
    x = numeric(x, "cumprod")
    if x.requires_grad:
        x = x.masked_fill(x == 0, 0)
    return _running(torch.cumprod, "cumprod", x, axis, exclusive, reverse, 1)


def _asked(
    function: str,
    x: Tensor,
    axis: Any,
    keepdims: bool | None,
    reduction_indices: Any = None,
    keep_dims: bool | None = None,
) -> tuple[tuple[int, ...], bool]:
    """The axes to reduce and whether to keep them, from all spellings."""
    if reduction_indices is not None:
        axis = renamed(function, axis=axis, reduction_indices=reduction_indices)
    if keep_dims is not None:
        keepdims = renamed(function, keepdims=keepdims, keep_dims=keep_dims)
    return axes(axis, x.ndim, function), bool(keepdims)


def _limits(dtype: torch.dtype) -> tuple[float, float]:
    if dtype.is_floating_point:
        return -math.inf, math.inf
    return torch.iinfo(dtype).min, torch.iinfo(dtype).max


def _of_nothing(x: Tensor, dims: tuple[int, ...], keep: bool, value: float) -> Tensor:
    """The result of amax for a tensor without elements: filled with ``value``."""
    return torch.full_like(x.sum(dims, keep, dtype=x.dtype), value)  # keeps the graph's shape


def _where_extreme(
    operation: Any, function: str, input: Operand, axis: Any, dimension: Any, output_type: Any
) -> Tensor:
    if dimension is not None:
        axis = renamed(function, axis=axis, dimension=dimension)
    dtype = as_dtype(output_type)
    if dtype not in (torch.int32, torch.int64):
        raise TypeError(f"{function}(): output_type={output_type} has to be int32 or int64.")
    x = tensor(input, function=function, argument="input")
    check_dtype(x, function, "input", bools=True)
    if x.dtype is torch.bool:
        x = x.byte()
    # A scalar has no axis in TensorFlow, which raises at run time; torch returns 0, and so do we.
    rank = max(x.ndim, 1) if isinstance(input, Tensor) else x.ndim
    dim = one_axis(0 if axis is None else axis, rank, function)
    try:
        places = operation(x, dim)
        return places if dtype is torch.int64 else places.to(dtype)
    except IndexError:
        shape = list(x.shape)
        raise ValueError(f"{function}(): axis {dim} of shape {shape} has no elements.") from None


def _running(
    operation: Any,
    function: str,
    x: Operand,
    axis: Any,
    exclusive: bool,
    reverse: bool,
    start: int,
) -> Tensor:
    x = numeric(x, function)
    dim = one_axis(axis, x.ndim, function)
    if reverse:
        x = x.flip(dim)
    if exclusive and x.shape[dim]:
        first = torch.full_like(x.narrow(dim, 0, 1), start)
        x = torch.cat([first, x.narrow(dim, 0, x.shape[dim] - 1)], dim)
    result = operation(x, dim, dtype=x.dtype)
    return result.flip(dim) if reverse else result
