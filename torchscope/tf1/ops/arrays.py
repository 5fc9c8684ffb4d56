"""Tensors put together, repeated and reordered: reshape, concat, stack, tile, transpose.

``torch.reshape(x, sizes)`` and the like: the methods take a tuple half a microsecond later.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from torchscope.tf1._arguments import axes, ints, one_axis, refusal, renamed
from torchscope.tf1._arguments import shape as sizes_of
from torchscope.tf1._convert import (
    Operand,
    remember,
    remembered,
    same_dtype,
    tensor,
    unreadable,
)

__all__ = [
    "concat",
    "expand_dims",
    "matrix_transpose",
    "repeat",
    "reshape",
    "squeeze",
    "stack",
    "tile",
    "transpose",
]


def reshape(tensor: Operand, shape: Any, name: str | None = None) -> Tensor:
    """The same elements in another shape, where one size may be -1.

    Torch: ``x.reshape(shape)``; sizes may be tensors, a single number is a ValueError.
    """
    x = _tensor(tensor, "reshape", "tensor")
    sizes = sizes_of(shape, "reshape")
    try:
        return torch.reshape(x, sizes)
    except RuntimeError as error:
        plainer = ValueError(f"reshape(): {list(x.shape)} does not go into {list(sizes)}.")
        raise refusal(error, plainer) from None


def concat(
    values: Any = None, axis: Any = None, name: str = "concat", concat_dim: Any = None
) -> Tensor:
    """Tensors joined along an axis that they have.

    Torch: ``torch.cat(values, axis)``; ``concat(axis, values)``, as before TensorFlow 1.0, also
    works, and nothing is promoted.
    """
    if isinstance(values, int) or (isinstance(values, Tensor) and not values.ndim):
        values, axis = axis, values
    if concat_dim is not None:
        axis = renamed("concat", axis=axis, concat_dim=concat_dim)
    if values is None or axis is None:
        raise TypeError("concat(): give values and axis.")
    if isinstance(values, Tensor):
        values = [values]
    parts = same_dtype(values, "concat")
    if not parts:
        raise ValueError("concat(): values is empty.")
    if len(parts) == 1:  # whatever the axis
        return parts[0]
    rank = parts[0].ndim
    if not rank:
        raise ValueError("concat(): values are scalars; use tf.stack.")
    dim = one_axis(axis, rank, "concat")
    try:
        joined = torch.cat(parts, dim)
    except RuntimeError as error:
        raise refusal(error, _unlike(parts, "concat")) from None
    for part in parts:
        if part.ndim != rank:  # torch.cat ignores empty vectors
            raise _unlike(parts, "concat")
    if rank == 1 and unreadable(joined):
        known = [remembered(part) for part in parts]
        if None not in known:
            remember(joined, [n for part in known for n in part or ()])
    return joined


def stack(values: Any, axis: Any = 0, name: str = "stack") -> Tensor:
    """Tensors of one shape joined along a new axis.

    Torch: ``torch.stack``; numbers may be among the values, and nothing is promoted.
    """
    if axis == 0 and not _has_tensors(values):
        return tensor(values, function="stack", argument="values")
    parts = same_dtype(values, "stack")
    if not parts:
        raise ValueError("stack(): values is empty.")
    dim = one_axis(axis, parts[0].ndim + 1, "stack")
    try:
        return torch.stack(parts, dim)
    except RuntimeError as error:
        raise refusal(error, _unlike(parts, "stack")) from None


def tile(input: Operand, multiples: Any, name: str | None = None) -> Tensor:
    """The tensor repeated as a whole, a given number of times along each axis.

    Torch: ``x.repeat(multiples)``; one multiple for each axis.
    """
    x = _tensor(input, "tile")
    times = sizes_of(multiples, "tile", "multiples")
    if len(times) == x.ndim:
        try:
            return torch.tile(x, times)
        except RuntimeError as error:
            raise refusal(error, _unfit(times, x)) from None
    raise _unfit(times, x)


def repeat(input: Operand, repeats: Operand, axis: Any = None, name: str | None = None) -> Tensor:
    """Each element repeated, along an axis or (None) of the flattened tensor.

    Torch: ``torch.repeat_interleave``.
    """
    x = _tensor(input, "repeat")
    dim = None if axis is None else one_axis(axis, x.ndim, "repeat")
    counts = ints(repeats, "repeat", "repeats")
    if len(counts) == 1:
        return torch.repeat_interleave(x, counts[0], dim)
    size = x.numel() if dim is None else x.shape[dim]
    if len(counts) != size:
        raise ValueError(f"repeat(): {len(counts)} repeats for {size} elements.")
    return torch.repeat_interleave(x, torch.tensor(counts, device=x.device), dim)


def transpose(
    a: Operand, perm: Any = None, name: str = "transpose", conjugate: bool = False
) -> Tensor:
    """The axes in another order, reversed by default.

    Torch: ``x.permute(perm)``; ``torch.transpose`` swaps two axes.
    """
    x = _tensor(a, "transpose", "a")
    if conjugate:
        x = x.conj()
    if perm is None:
        return torch.permute(x, tuple(range(x.ndim - 1, -1, -1)))
    try:
        return torch.permute(x, sizes_of(perm, "transpose", "perm"))
    except (RuntimeError, IndexError):
        raise ValueError(f"transpose(): perm {perm} does not fit a rank of {x.ndim}.") from None


def matrix_transpose(a: Operand, name: str | None = None, conjugate: bool = False) -> Tensor:
    """The last two axes swapped.

    Torch: ``x.mT``.
    """
    x = _tensor(a, "matrix_transpose", "a")
    if x.ndim < 2:
        raise ValueError(f"matrix_transpose(): shape {list(x.shape)} is not one of matrices.")
    return (x.conj() if conjugate else x).mT


def expand_dims(
    input: Operand, axis: Any = None, name: str | None = None, dim: Any = None
) -> Tensor:
    """A new axis of size 1.

    Torch: ``x.unsqueeze(axis)``.
    """
    x = _tensor(input, "expand_dims")
    if dim is not None:
        axis = renamed("expand_dims", axis=axis, dim=dim)
    if axis is None:
        raise ValueError("expand_dims(): axis is missing.")
    if isinstance(axis, (list, tuple)):
        axis = tensor(axis, function="expand_dims", argument="axis")  # of one element
    return x.unsqueeze(one_axis(axis, x.ndim + 1, "expand_dims"))


def squeeze(
    input: Operand, axis: Any = None, name: str | None = None, squeeze_dims: Any = None
) -> Tensor:
    """Axes of size 1 removed, all of them or those given.

    Torch: ``x.squeeze(axis)``, which ignores an axis of another size; here it is a ValueError.
    """
    x = _tensor(input, "squeeze")
    if squeeze_dims is not None:
        axis = renamed("squeeze", axis=axis, squeeze_dims=squeeze_dims)
    dims = () if axis is None else axes(axis, x.ndim, "squeeze")
    if not dims:
        return x.squeeze()
    for dim in dims:
        if x.shape[dim] != 1:
            raise ValueError(f"squeeze(): axis {dim} of shape {list(x.shape)} is not 1.")
    return torch.squeeze(x, dims)


def _unfit(times: Sequence[int], x: Tensor) -> ValueError:
    return ValueError(f"tile(): multiples {list(times)} do not fit shape {list(x.shape)}.")


def _tensor(value: Operand, function: str, argument: str = "input") -> Tensor:
    return tensor(value, function=function, argument=argument)


def _has_tensors(values: Any) -> bool:
    if isinstance(values, (list, tuple)):
        for value in cast("list[Any]", values):
            if isinstance(value, Tensor):
                return True
    return False


def _unlike(parts: Sequence[Tensor], function: str) -> ValueError:
    shapes = ", ".join(str(list(part.shape)) for part in parts)
    return ValueError(f"{function}(): shapes {shapes} do not fit together.")
