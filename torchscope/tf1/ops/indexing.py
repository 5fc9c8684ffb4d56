"""Elements by index and by mask: gather, scatter, where, boolean_mask.

An index may be int32 or int64.  On the CPU an index out of range raises, also a negative one; on a
GPU it stops the program, as in torch.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchscope.tf1._arguments import one_axis, refusal
from torchscope.tf1._arguments import shape as sizes_of
from torchscope.tf1._convert import Operand, boolean, check_broadcast, integers, pair, tensor
from torchscope.tf1._rows import take

__all__ = [
    "batch_gather",
    "boolean_mask",
    "gather",
    "gather_nd",
    "scatter_nd",
    "tensor_scatter_add",
    "tensor_scatter_nd_add",
    "tensor_scatter_nd_sub",
    "tensor_scatter_nd_update",
    "tensor_scatter_sub",
    "tensor_scatter_update",
    "unravel_index",
    "where",
    "where_v2",
]


def gather(
    params: Operand,
    indices: Operand,
    validate_indices: Any = None,
    name: str | None = None,
    axis: Any = None,
    batch_dims: int = 0,
) -> Tensor:
    """Slices of a tensor by index along an axis, which the shape of the indices replaces.

    Torch: ``x.index_select(axis, indices)``, or ``x[indices]``, where -1 is the last one.

    >>> gather([10, 20, 30], [[2, 0]])
    tensor([[30, 10]], dtype=torch.int32)
    """
    x = tensor(params, function="gather", argument="params")
    at = integers(indices, "gather", "indices", x.device)
    dim = one_axis(batch_dims if axis is None else axis, x.ndim, "gather")
    if batch_dims:
        return _batched(x, at, dim, batch_dims)
    if dim == 0:
        return take(x, at, "gather")
    try:
        found = x.index_select(dim, at.reshape(-1))
    except (IndexError, RuntimeError) as error:
        raise refusal(error, _out_of_range("gather", at, x.shape)) from None
    return found.reshape(*x.shape[:dim], *at.shape, *x.shape[dim + 1 :])


def batch_gather(params: Operand, indices: Operand, name: str | None = None) -> Tensor:
    """Slices by index along the last axis of the indices; the axes before it are a batch.

    Torch: ``torch.take_along_dim`` where both have one vector for each batch.
    """
    dims = tensor(indices, function="batch_gather", argument="indices").ndim - 1
    return gather(params, indices, axis=dims, batch_dims=dims)


def gather_nd(
    params: Operand, indices: Operand, name: str | None = None, batch_dims: int = 0
) -> Tensor:
    """Slices of a tensor, where the last axis of the indices holds positions in it.

    Torch: ``x[tuple(indices.unbind(-1))]``.
    """
    x = tensor(params, function="gather_nd", argument="params")
    at = integers(indices, "gather_nd", "indices", x.device)
    batch = at.shape[:batch_dims]
    if at.ndim <= batch_dims or batch != x.shape[:batch_dims] or at.shape[-1] > x.ndim - batch_dims:
        raise ValueError(
            f"gather_nd(): indices of shape {list(at.shape)} do not fit {list(x.shape)}"
            f" with batch_dims={batch_dims}."
        )
    depth = at.shape[-1]
    if not depth:
        return x.expand(*at.shape[:-1], *x.shape)
    try:
        return x[(*_every(x, batch_dims, at.ndim - 1), *_places(at, x.shape[batch_dims:]))]
    except IndexError:
        raise _out_of_range("gather_nd", at, x.shape) from None


def scatter_nd(indices: Operand, updates: Operand, shape: Any, name: str | None = None) -> Tensor:
    """Zeros, to which updates are added at the positions in the last axis of the indices.

    Torch: ``zeros.index_put(places, updates, accumulate=True)``.
    """
    values = tensor(updates, function="scatter_nd", argument="updates")
    sizes = sizes_of(shape, "scatter_nd")
    zeros = torch.zeros(sizes, dtype=values.dtype, device=values.device)
    return _put("scatter_nd", zeros, indices, values, accumulate=True)


def tensor_scatter_update(
    tensor: Operand, indices: Operand, updates: Operand, name: str | None = None
) -> Tensor:
    """A copy of a tensor with other values at the positions in the last axis of the indices.

    Torch: ``x.index_put(places, updates)``.

    >>> tensor_scatter_update([1.0, 2.0, 3.0], [[0], [2]], [5.0, 6.0])
    tensor([5., 2., 6.])
    """
    x, values = pair(tensor, updates, "tensor_scatter_update", ("tensor", "updates"))
    return _put("tensor_scatter_update", x, indices, values)


def tensor_scatter_add(
    tensor: Operand, indices: Operand, updates: Operand, name: str | None = None
) -> Tensor:
    """A copy of a tensor to which updates are added, twice where a position occurs twice.

    Torch: ``x.index_put(places, updates, accumulate=True)``.
    """
    x, values = pair(tensor, updates, "tensor_scatter_add", ("tensor", "updates"))
    return _put("tensor_scatter_add", x, indices, values, accumulate=True)


def tensor_scatter_sub(
    tensor: Operand, indices: Operand, updates: Operand, name: str | None = None
) -> Tensor:
    """A copy of a tensor from which updates are subtracted; see ``tensor_scatter_add``.

    Torch: ``x.index_put(places, -updates, accumulate=True)``.
    """
    x, values = pair(tensor, updates, "tensor_scatter_sub", ("tensor", "updates"))
    return _put("tensor_scatter_sub", x, indices, -values, accumulate=True)


tensor_scatter_nd_update = tensor_scatter_update
tensor_scatter_nd_add = tensor_scatter_add
tensor_scatter_nd_sub = tensor_scatter_sub


def unravel_index(indices: Operand, dims: Operand, name: str | None = None) -> Tensor:
    """The indices along each axis, one row for each axis, of positions in a flattened tensor.

    Torch: ``torch.stack(torch.unravel_index(indices, dims))``.

    >>> unravel_index([7, 3], [3, 4])
    tensor([[1, 0],
            [3, 3]], dtype=torch.int32)

    Raises:
        IndexError: a position outside of a tensor of these sizes.
    """
    at, sizes = pair(indices, dims, "unravel_index", ("indices", "dims"))
    at = integers(at, "unravel_index", "indices")
    shape = sizes_of(sizes, "unravel_index", "dims")
    if ((at < 0) | (at >= math.prod(shape))).any():
        raise _out_of_range("unravel_index", at, [math.prod(shape)])
    return torch.stack(torch.unravel_index(at, shape)).to(at.dtype)


def where(
    condition: Operand, x: Operand = None, y: Operand = None, name: str | None = None
) -> Tensor:
    """Elements of x where the condition holds, else of y; without x and y, where it holds.

    Torch: ``torch.where``; x and y have the same shape, and a condition of rank 1 chooses rows.
    Without x and y, rows of int64 indices: ``torch.nonzero``.

    >>> where([True, False], [[1, 2], [3, 4]], [[5, 6], [7, 8]])
    tensor([[1, 2],
            [7, 8]], dtype=torch.int32)
    """
    if (x is None) != (y is None):
        raise ValueError("where(): give both x and y, or neither.")
    if x is None:
        found = tensor(condition, function="where", argument="condition")
        if not found.ndim:
            raise ValueError("where(): condition is a scalar, and x and y are missing.")
        return torch.nonzero(found)
    x, y = pair(x, y, "where")
    holds = boolean(condition, "where", "condition", x.device)
    of_condition, shape = holds.shape, x.shape
    if shape != y.shape or (of_condition != shape and not _chooses_rows(holds, x)):
        raise ValueError(
            f"where(): condition {list(holds.shape)}, x {list(x.shape)} and y {list(y.shape)} have"
            " to be of one shape, or the condition of rank 0 or 1; tf.where_v2 broadcasts."
        )
    if of_condition != shape:
        holds = holds.reshape(-1, *[1] * (x.ndim - 1)) if holds.ndim else holds
    return torch.where(holds, x, y)


def where_v2(
    condition: Operand, x: Operand = None, y: Operand = None, name: str | None = None
) -> Tensor:
    """As where, but condition, x and y broadcast.

    Torch: ``torch.where``; dtypes are not promoted.
    """
    if x is None and y is None:
        return where(condition)
    x, y = pair(x, y, "where_v2")
    holds = boolean(condition, "where_v2", "condition", x.device)
    for one, two in ((x.shape, y.shape), (holds.shape, x.shape), (holds.shape, y.shape)):
        check_broadcast(one, two, "where_v2")
    return torch.where(holds, x, y)


def boolean_mask(
    tensor: Operand, mask: Operand, name: str = "boolean_mask", axis: Any = None
) -> Tensor:
    """The slices of a tensor where a mask holds, of its first axes or of those from ``axis`` on.

    Torch: ``x[mask]``.
    """
    x, holds = _tensor(tensor, "boolean_mask"), _tensor(mask, "boolean_mask") != 0
    dim = 0 if axis is None else one_axis(axis, x.ndim, "boolean_mask")
    if not holds.ndim or holds.shape != x.shape[dim : dim + holds.ndim]:
        raise ValueError(
            f"boolean_mask(): mask {list(holds.shape)} is not the shape of {list(x.shape)} from"
            f" axis {dim} on."
        )
    return x[(*[slice(None)] * dim, holds)]


def _put(
    function: str, into: Tensor, indices: Operand, values: Tensor, accumulate: bool = False
) -> Tensor:
    """A copy of ``into`` with the values at the positions, or added to what is there."""
    at = integers(indices, function, "indices", into.device)
    depth = at.shape[-1] if at.ndim else 0
    if not 0 < depth <= into.ndim or values.shape != (*at.shape[:-1], *into.shape[depth:]):
        raise ValueError(
            f"{function}(): indices {list(at.shape)} and updates {list(values.shape)} do not fit"
            f" shape {list(into.shape)}."
        )
    try:
        return into.index_put(_places(at, into.shape), values, accumulate=accumulate)
    except IndexError:
        raise _out_of_range(function, at, into.shape) from None


def _tensor(value: Operand, function: str) -> Tensor:
    return tensor(value, function=function, argument="tensor")


def _chooses_rows(condition: Tensor, x: Tensor) -> bool:
    return not condition.ndim or (
        condition.ndim == 1 and x.ndim > 0 and condition.shape[0] == x.shape[0]
    )


def _batched(x: Tensor, at: Tensor, dim: int, batch_dims: int) -> Tensor:
    """Gather along an axis; the first axes are a batch, each with its own indices."""
    batch_dims = batch_dims + at.ndim if batch_dims < 0 else batch_dims
    if dim < batch_dims or x.shape[:batch_dims] != at.shape[:batch_dims]:
        raise ValueError(
            f"gather(): batch_dims={batch_dims} does not fit params {list(x.shape)} and indices"
            f" {list(at.shape)}."
        )
    try:
        found = x.movedim(dim, batch_dims)[(*_every(x, batch_dims, at.ndim), at)]
    except IndexError:
        raise _out_of_range("gather", at, x.shape) from None
    # The axes between the batch and the axis now come after the indices': move them back.
    sources = range(at.ndim, at.ndim + dim - batch_dims)
    return found.movedim(tuple(sources), tuple(range(batch_dims, dim)))


def _every(x: Tensor, batch_dims: int, rank: int) -> list[Tensor]:
    """Indices of every position of the first axes, in a tensor of indices of this rank."""
    return [
        torch.arange(x.shape[d], device=x.device).reshape(-1, *[1] * (rank - d - 1))
        for d in range(batch_dims)
    ]


def _places(at: Tensor, sizes: Any) -> tuple[Tensor, ...]:
    """One index for each axis; a negative one is out of range instead of counting from the end."""
    return at.long().masked_fill(at < 0, max(sizes)).unbind(-1)


def _out_of_range(function: str, at: Tensor, sizes: Sequence[int]) -> IndexError:
    return IndexError(
        f"{function}(): indices from {int(at.min())} to {int(at.max())} exceed {list(sizes)}."
    )
