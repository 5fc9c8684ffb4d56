"""Tensors from nothing: constants, zeros, ranges, one-hot rows, masks."""

import builtins
import math
from functools import reduce
from typing import Any, cast

import torch
from torch import Tensor

from torchscope.tf1._arguments import ints, one_int, refusal, renamed
from torchscope.tf1._arguments import shape as sizes_of
from torchscope.tf1._convert import (
    Operand,
    as_dtype,
    integers,
    is_array,
    numeric,
    remember,
    same_dtype,
    tensor,
    tensor_operands,
    unreadable,
)

__all__ = [
    "constant",
    "convert_to_tensor",
    "eye",
    "fill",
    "linspace",
    "meshgrid",
    "one_hot",
    "ones",
    "ones_like",
    "range",
    "sequence_mask",
    "zeros",
    "zeros_like",
]

_AXES = 16  # which no tensor has more of


def constant(
    value: Operand,
    dtype: Any = None,
    shape: Any = None,
    name: str = "Const",
    verify_shape: bool = False,
) -> Tensor:
    """A tensor of a value; with a shape, the last element fills the rest of it.

    Torch: ``torch.tensor``; Python ints become int32, numpy arrays keep their dtype, and a string
    is returned as it is, since torch has no string tensors.

    >>> constant([1, 2], shape=[2, 2])
    tensor([[1, 2],
            [2, 2]], dtype=torch.int32)
    """
    if isinstance(value, str):
        return value  # pyright: ignore[reportReturnType]  # for summaries, which read none
    x = tensor(value, dtype, function="constant")
    if shape is None:
        return x
    sizes = sizes_of(shape, "constant")
    if verify_shape and sizes != tuple(x.shape):
        raise TypeError(f"constant(): the value has shape {list(x.shape)}, not {list(sizes)}.")
    missing = math.prod(sizes) - x.numel()
    if missing < 0 or (missing and not x.numel()):
        raise ValueError(f"constant(): a value of {x.numel()} elements cannot fill {list(sizes)}.")
    flat = x.reshape(-1)
    return torch.cat([flat, flat[-1:].expand(missing)]).reshape(sizes)


def convert_to_tensor(
    value: Operand,
    dtype: Any = None,
    name: str | None = None,
    preferred_dtype: Any = None,
    dtype_hint: Any = None,
) -> Tensor:
    """The value as a tensor, a tensor as it is.

    Torch: ``torch.as_tensor``; nothing is cast: a tensor of another dtype is a ValueError.
    """
    if isinstance(value, Tensor):
        if dtype is not None and value.dtype is not as_dtype(dtype):
            raise ValueError(
                f"convert_to_tensor(): value is {value.dtype}, not {as_dtype(dtype)}; use tf.cast."
            )
        return value
    hint = renamed("convert_to_tensor", dtype_hint=dtype_hint, preferred_dtype=preferred_dtype)
    if dtype is None and hint is not None:
        try:
            return tensor(value, hint)
        except TypeError:  # only preferred
            pass
    return tensor(value, dtype)


def zeros(shape: Any, dtype: Any = torch.float32, name: str | None = None) -> Tensor:
    """A tensor of zeros (False for booleans).

    Torch: ``torch.zeros``; float32 whatever torch's default is.
    """
    return _filled(torch.zeros, "zeros", shape, dtype)


def ones(shape: Any, dtype: Any = torch.float32, name: str | None = None) -> Tensor:
    """A tensor of ones (True for booleans).

    Torch: ``torch.ones``; float32 whatever torch's default is.
    """
    return _filled(torch.ones, "ones", shape, dtype)


def zeros_like(
    tensor: Operand, dtype: Any = None, name: str | None = None, optimize: bool = True
) -> Tensor:
    """Zeros in the shape of a tensor, and in its dtype unless another is given."""
    return torch.zeros_like(_value(tensor, "zeros_like"), dtype=_dtype(dtype))


def ones_like(
    tensor: Operand, dtype: Any = None, name: str | None = None, optimize: bool = True
) -> Tensor:
    """Ones in the shape of a tensor, and in its dtype unless another is given."""
    return torch.ones_like(_value(tensor, "ones_like"), dtype=_dtype(dtype))


def fill(dims: Any, value: Operand, name: str | None = None) -> Tensor:
    """A tensor of one value, in the value's dtype.

    Torch: ``torch.full``; an int gives int32, and gradients flow to a value that is a tensor.
    """
    sizes = sizes_of(dims, "fill", "dims")
    try:
        if type(value) in (bool, int, float):
            return torch.full(sizes, value, dtype=as_dtype(type(value)))
        filling = tensor(value, function="fill")
        if not filling.ndim:
            return filling.expand(sizes).contiguous()
    except RuntimeError as error:
        raise refusal(error, _no_sizes("fill", "dims", dims)) from None
    raise ValueError(f"fill(): value has to be a scalar, not of shape {list(filling.shape)}.")


def range(
    start: Operand,
    limit: Operand = None,
    delta: Operand = 1,
    dtype: Any = None,
    name: str = "range",
) -> Tensor:
    """Numbers from start (0 if only one is given) up to the limit, which is excluded.

    Torch: ``torch.arange``; ints give int32 (torch: int64); a step away from the limit raises.
    """
    if limit is None:
        start, limit = 0, start
    if (
        type(start) is type(limit) is type(delta) is int
        and delta * (limit - start) > 0
        and abs(start) + abs(limit) < 2**31
    ):
        return _counted(start, limit, delta, as_dtype(dtype or torch.int32))
    bounds = [tensor(n, function="range", argument="limit") for n in (start, limit, delta)]
    if any(bound.ndim for bound in bounds):
        raise ValueError("range(): start, limit and delta have to be scalars.")
    wanted = as_dtype(dtype or reduce(torch.promote_types, [bound.dtype for bound in bounds]))
    first, last, step = (_number(n) for n in (start, limit, delta))
    if step == 0 or (last - first) * step < 0:
        raise ValueError(f"range(): steps of {step} do not lead from {first} to {last}.")
    return _counted(first, last, step, wanted)


def linspace(start: Operand, stop: Operand, num: Any, name: str | None = None) -> Tensor:
    """Numbers at equal distances from start to stop, both included.

    Torch: ``torch.linspace``; ints give float64.
    """
    first, last = tensor_operands(start, stop, "linspace", ("start", "stop"))
    dtype = first.dtype if first.dtype.is_floating_point else torch.float64
    count = one_int(num, "linspace", "num")
    if count < 0 or first.ndim or last.ndim:
        raise ValueError(f"linspace(): num={num} is negative, or start or stop is not a scalar.")
    if first.requires_grad or last.requires_grad:  # which torch.linspace would drop
        return torch.lerp(first, last, torch.linspace(0, 1, count, dtype=dtype).to(first.device))
    return torch.linspace(first, last, count, dtype=dtype, device=first.device)


def eye(
    num_rows: Any,
    num_columns: Any = None,
    batch_shape: Any = None,
    dtype: Any = torch.float32,
    name: str | None = None,
) -> Tensor:
    """Identity matrices, one for each place of the batch shape.

    Torch: ``torch.eye``, without a batch.
    """
    rows = one_int(num_rows, "eye", "num_rows")
    columns = rows if num_columns is None else one_int(num_columns, "eye", "num_columns")
    if rows < 0 or columns < 0:
        raise ValueError(f"eye(): {rows} rows and {columns} columns; neither may be negative.")
    matrix = torch.eye(rows, columns, dtype=as_dtype(dtype))
    if batch_shape is None:
        return matrix
    return matrix.expand(*sizes_of(batch_shape, "eye", "batch_shape"), rows, columns).contiguous()


def one_hot(
    indices: Operand,
    depth: Any,
    on_value: Operand = None,
    off_value: Operand = None,
    axis: Any = None,
    dtype: Any = None,
    name: str | None = None,
) -> Tensor:
    """For each index a row of ``off_value`` with ``on_value`` at that place.

    Torch: ``torch.nn.functional.one_hot``; float32 by default (torch: int64), an index out of range
    gives a row of ``off_value`` (torch raises), and the new axis may be anywhere; no gradient.
    """
    x = _indices(indices)
    given = [v for v in (on_value, off_value) if v is not None]
    if dtype is not None:
        wanted = as_dtype(dtype)
    else:
        wanted = same_dtype(given, "one_hot", "on_value, off_value")[0].dtype if given else None
    if wanted is torch.bool and len(given) < 2:
        raise TypeError("one_hot(): a bool one_hot needs on_value=True, off_value=False.")
    wanted = wanted or torch.float32
    dim = -1 if axis is None else one_int(axis, "one_hot", "axis")
    if not -1 <= dim <= x.ndim:
        raise ValueError(f"one_hot(): axis={axis} is out of range for indices of rank {x.ndim}.")
    classes = one_int(depth, "one_hot", "depth")
    if classes < 0:
        raise ValueError(f"one_hot(): depth={depth} is negative.")
    places = torch.arange(classes, dtype=x.dtype, device=x.device)
    dim %= x.ndim + 1
    hot = x.unsqueeze(dim) == places.reshape(-1, *[1] * (x.ndim - dim))
    if not given:
        return hot.to(wanted)
    on, off = (
        tensor(default if v is None else v, wanted, device=x.device, function="one_hot").detach()
        for v, default in ((on_value, 1), (off_value, 0))
    )
    return torch.where(hot, on, off)


def sequence_mask(
    lengths: Operand, maxlen: Any = None, dtype: Any = torch.bool, name: str | None = None
) -> Tensor:
    """For each length, a row that is True before it; by default as long as the longest.

    Torch: ``torch.arange(maxlen) < lengths[..., None]``.
    """
    x = numeric(lengths, "sequence_mask", "lengths")
    if maxlen is None:
        longest = int(torch.ceil(x.clamp(min=0).max())) if x.numel() else 0
    else:
        longest, x = one_int(maxlen, "sequence_mask", "maxlen"), x.long()
        if longest < 0:
            raise ValueError(f"sequence_mask(): maxlen={maxlen} is negative.")
    mask = torch.arange(longest, dtype=x.dtype, device=x.device) < x.unsqueeze(-1)
    return mask.to(as_dtype(dtype))


def meshgrid(*args: Operand, indexing: str = "xy", name: str | None = None) -> list[Tensor]:
    """A grid of coordinates from vectors.

    Torch: ``torch.meshgrid``; ``indexing`` is "xy" by default (torch: "ij").
    """
    if not args:
        return []
    vectors = [x.reshape(-1) for x in same_dtype(args, "meshgrid", "args")]
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid(): indexing={indexing!r}; give 'xy' or 'ij'.")
    return list(torch.meshgrid(*vectors, indexing=indexing))


def _indices(indices: Operand) -> Tensor:
    """Indices of one_hot, which may be of 8 bits too."""
    if isinstance(indices, Tensor) and indices.dtype in (torch.uint8, torch.int8):
        return indices.int()
    return integers(indices, "one_hot", "indices")


def _number(value: Operand) -> Any:
    return value.item() if is_array(value) else value


def _counted(first: Any, last: Any, step: Any, dtype: torch.dtype) -> Tensor:
    made = torch.arange(first, last, step, dtype=dtype)
    # A short one may be axes: tf.transpose(x, tf.concat([[1, 0], tf.range(2, tf.rank(x))], 0)).
    if unreadable(made) and type(first) is type(last) is type(step) is int and len(made) <= _AXES:
        remember(made, list(builtins.range(first, last, step)))
    return made


def _filled(operation: Any, function: str, shape: Any, dtype: Any) -> Tensor:
    """A shape: a single int means one axis, and a float is truncated, as TensorFlow does here."""
    if isinstance(shape, (list, tuple)):
        for size in cast("list[Any]", shape):
            if isinstance(size, float):
                shape = [int(n) for n in cast("list[Any]", shape)]
                break
    try:
        return operation(ints(shape, function, "shape"), dtype=as_dtype(dtype))
    except RuntimeError as error:
        raise refusal(error, _no_sizes(function, "shape", shape)) from None


def _no_sizes(function: str, argument: str, sizes: Any) -> Exception:
    return ValueError(f"{function}(): {argument}={sizes} has a negative size.")


def _value(value: Operand, function: str) -> Tensor:
    return tensor(value, function=function, argument="tensor")


def _dtype(dtype: Any) -> torch.dtype | None:
    return None if dtype is None else as_dtype(dtype)
