"""Sparse tensors as TensorFlow has them: indices [n, rank], n values, a dense shape.

They are plain values, not torch's sparse tensors, so that gradients, torch.compile and vmap treat
the values as any tensor; products gather and add, and a repeated index adds.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from torchscope.tf1._arguments import axes, renamed
from torchscope.tf1._arguments import shape as sizes_of
from torchscope.tf1._convert import Operand, integers, pair, tensor

from .arithmetic import add, multiply, truediv
from .shapes import Sizes

__all__ = [
    "SparseTensor",
    "SparseTensorValue",
    "is_tensor",
    "sparse_add",
    "sparse_concat",
    "sparse_reduce_sum",
    "sparse_reorder",
    "sparse_reshape",
    "sparse_retain",
    "sparse_softmax",
    "sparse_tensor_dense_matmul",
    "sparse_tensor_to_dense",
    "sparse_to_dense",
    "sparse_transpose",
]


class SparseTensorValue(NamedTuple):
    """The parts of a sparse tensor, as numpy arrays or anything else.

    Torch: nothing; a tuple of arrays.
    """

    indices: Any
    values: Any
    dense_shape: Any


class SparseTensor:
    """A tensor of which only some elements are stored.

    Torch: ``torch.sparse_coo_tensor``, whose indices are [rank, n].

    Args:
        indices: where the values are, [n, rank].
        values: n numbers.
        dense_shape: the sizes of the whole.
        shape: old spelling of ``dense_shape``.

    >>> sparse_tensor_to_dense(SparseTensor([[0, 1]], [2.0], [1, 3]))
    tensor([[0., 2., 0.]])
    """

    def __init__(
        self, indices: Operand, values: Operand, dense_shape: Any = None, *, shape: Any = None
    ) -> None:
        self.values = tensor(values, function="SparseTensor", argument="values")
        self.indices = integers(indices, "SparseTensor", "indices", self.values.device).long()
        sizes = renamed("SparseTensor", dense_shape=dense_shape, shape=shape)
        self._sizes = sizes_of(sizes, "SparseTensor", "dense_shape")
        if self.values.ndim != 1 or self.indices.shape != (len(self.values), len(self._sizes)):
            raise ValueError(
                f"SparseTensor(): indices {list(self.indices.shape)} and values"
                f" {list(self.values.shape)} do not fit dense_shape {list(self._sizes)}."
            )

    @property
    def dense_shape(self) -> Tensor:
        """The sizes of the whole as an int64 tensor."""
        return torch.tensor(self._sizes, dtype=torch.int64)

    @property
    def shape(self) -> torch.Size:
        """The sizes of the whole as ints."""
        return torch.Size(self._sizes)

    @property
    def dtype(self) -> torch.dtype:
        """That of the values."""
        return self.values.dtype

    def get_shape(self) -> torch.Size:
        """The sizes of the whole as ints."""
        return self.shape

    def __mul__(self, y: Operand) -> "SparseTensor":
        """What is kept, by the elements of a dense tensor there; it broadcasts to this shape."""
        values = multiply(self.values, self._there(y, "*"))
        return SparseTensor(self.indices, values, self._sizes)

    def __truediv__(self, y: Operand) -> "SparseTensor":
        """As ``*``, divided; ints give float64."""
        values = truediv(self.values, self._there(y, "/"))
        return SparseTensor(self.indices, values, self._sizes)

    def _there(self, y: Operand, operator: str) -> Tensor:
        if isinstance(y, SparseTensor):
            raise TypeError(
                f"SparseTensor {operator} SparseTensor: one has to be dense;"
                " tf.sparse_tensor_to_dense(x) makes it so."
            )
        _, dense = pair(self.values, y, f"SparseTensor {operator}")
        try:
            whole = dense.expand(self._sizes)
        except RuntimeError:
            raise ValueError(
                f"SparseTensor {operator}: a dense tensor of {list(dense.shape)} does not broadcast"
                f" to {list(self._sizes)}."
            ) from None
        return whole[self.indices.unbind(1)]


def is_tensor(x: Any) -> bool:
    """Whether it is a tensor, a variable or a sparse tensor, and not a number or an array.

    Torch: ``torch.is_tensor``. What ``tf.shape`` gives counts too; its elements are ints.
    """
    return isinstance(x, (Tensor, SparseTensor, Sizes))


def sparse_tensor_dense_matmul(
    sp_a: SparseTensor | SparseTensorValue,
    b: Operand,
    adjoint_a: bool = False,
    adjoint_b: bool = False,
    name: str | None = None,
) -> Tensor:
    """The product of a sparse and a dense matrix.

    Torch: ``torch.sparse.mm``.
    """
    a = _sparse(sp_a, "sparse_tensor_dense_matmul")
    values, dense = pair(a.values, b, "sparse_tensor_dense_matmul", ("sp_a", "b"))
    rows, columns = a.shape
    i, j = a.indices.unbind(1)
    if adjoint_a:
        rows, columns, i, j, values = columns, rows, j, i, values.conj()
    dense = dense.mH if adjoint_b else dense
    if dense.ndim != 2 or dense.shape[0] != columns:
        raise ValueError(
            f"sparse_tensor_dense_matmul(): shapes {[rows, columns]} and {list(dense.shape)} cannot"
            " be multiplied."
        )
    products = values.unsqueeze(1) * dense.index_select(0, j)
    return products.new_zeros(rows, dense.shape[1]).index_add(0, i, products)


def sparse_tensor_to_dense(
    sp_input: SparseTensor | SparseTensorValue,
    default_value: Operand = 0,
    validate_indices: bool = True,
    name: str | None = None,
) -> Tensor:
    """The dense tensor, with a default where nothing is stored.

    Torch: ``x.to_dense()``, whose default is always 0.
    """
    x = _sparse(sp_input, "sparse_tensor_to_dense")
    return _dense(x.indices, x.values, x.shape, default_value, "sparse_tensor_to_dense")


def sparse_to_dense(
    sparse_indices: Operand,
    output_shape: Any,
    sparse_values: Operand,
    default_value: Operand = 0,
    validate_indices: bool = True,
    name: str | None = None,
) -> Tensor:
    """A dense tensor with values at some places and a default elsewhere.

    Torch: ``torch.full(shape, default).index_put(indices, values)``.

    Args:
        sparse_indices: [n, rank], or [n] or a scalar for a vector.
        output_shape: the sizes.
        sparse_values: n numbers, or one for all places.
        default_value: for all other places.
        validate_indices: unused.
        name: unused.
    """
    values = tensor(sparse_values, function="sparse_to_dense", argument="sparse_values")
    places = integers(sparse_indices, "sparse_to_dense", "sparse_indices", values.device)
    places = places.reshape(-1, 1) if places.ndim < 2 else places
    sizes = sizes_of(output_shape, "sparse_to_dense", "output_shape")
    if places.shape[1] != len(sizes) or (values.ndim and values.shape != places.shape[:1]):
        raise ValueError(
            f"sparse_to_dense(): indices {list(places.shape)} and values {list(values.shape)} do"
            f" not fit shape {list(sizes)}."
        )
    return _dense(places.long(), values, sizes, default_value, "sparse_to_dense")


def sparse_reduce_sum(
    sp_input: SparseTensor,
    axis: Any = None,
    keepdims: bool | None = None,
    reduction_axes: Any = None,
    keep_dims: bool | None = None,
) -> Tensor:
    """The sum over axes, dense.

    Torch: ``torch.sparse.sum(x, axis).to_dense()``.
    """
    x = _sparse(sp_input, "sparse_reduce_sum")
    axis = renamed("sparse_reduce_sum", axis=axis, reduction_axes=reduction_axes)
    dims = axes(axis, len(x.shape), "sparse_reduce_sum")
    keep = bool(renamed("sparse_reduce_sum", keepdims=keepdims, keep_dims=keep_dims))
    return _total(x).sum(dims, keep, dtype=x.dtype) if dims else _total(x)


def sparse_reorder(sp_input: SparseTensor, name: str | None = None) -> SparseTensor:
    """The same tensor with its indices in row-major order.

    Torch: ``x.coalesce()``.
    """
    x = _sparse(sp_input, "sparse_reorder")
    order = torch.argsort(_flat(x.indices, x.shape), stable=True)
    return SparseTensor(x.indices[order], x.values[order], x.shape)


def sparse_transpose(
    sp_input: SparseTensor, perm: Any = None, name: str | None = None
) -> SparseTensor:
    """The axes in another order, reversed by default; the indices in row-major order.

    Torch: ``x.permute(perm)``.
    """
    x = _sparse(sp_input, "sparse_transpose")
    rank = len(x.shape)
    order = list(range(rank))[::-1] if perm is None else list(sizes_of(perm, "sparse_transpose"))
    if sorted(order) != list(range(rank)):
        raise ValueError(f"sparse_transpose(): perm {order} does not fit a rank of {rank}.")
    sizes = [x.shape[d] for d in order]
    return sparse_reorder(SparseTensor(x.indices[:, order], x.values, sizes))


def sparse_reshape(sp_input: SparseTensor, shape: Any, name: str | None = None) -> SparseTensor:
    """The same elements in another shape, where one size may be -1.

    Torch: ``x.to_dense().reshape(shape)``; torch cannot reshape sparse tensors.
    """
    x, sizes = _sparse(sp_input, "sparse_reshape"), list(sizes_of(shape, "sparse_reshape"))
    total = math.prod(x.shape)
    if -1 in sizes:
        known = -math.prod(sizes)
        sizes[sizes.index(-1)] = total // known if known else 0
    if math.prod(sizes) != total:
        raise ValueError(f"sparse_reshape(): {list(x.shape)} does not go into {list(sizes)}.")
    places = torch.stack(torch.unravel_index(_flat(x.indices, x.shape), sizes), 1)
    return SparseTensor(places, x.values, sizes)


def sparse_retain(sp_input: SparseTensor, to_retain: Operand) -> SparseTensor:
    """Only the values for which the mask is True.

    Torch: ``x.values()[mask]`` and ``x.indices()[:, mask]``.
    """
    x = _sparse(sp_input, "sparse_retain")
    kept = tensor(to_retain, torch.bool, function="sparse_retain", argument="to_retain")
    return SparseTensor(x.indices[kept], x.values[kept], x.shape)


def sparse_add(a: Any, b: Any, thresh: Any = 0, threshold: Any = None) -> Any:
    """The sum: of two sparse tensors a sparse one, of a sparse and a dense one a dense one.

    Torch: ``x + y`` of sparse tensors of torch, ``torch.sparse_coo_tensor``.
    """
    if not (_is_sparse(a) and _is_sparse(b)):
        a, b = (_total(_sparse(x, "sparse_add")) if _is_sparse(x) else x for x in (a, b))
        return add(a, b)
    a, b = _sparse(a, "sparse_add"), _sparse(b, "sparse_add")
    if a.shape != b.shape or a.dtype is not b.dtype:
        raise ValueError(f"sparse_add(): {a.dtype} {list(a.shape)} and {b.dtype} {list(b.shape)}.")
    places, where = cast("Any", torch.unique)(
        torch.cat([a.indices, b.indices]), dim=0, return_inverse=True
    )
    values = torch.cat([a.values, b.values])
    return SparseTensor(places, values.new_zeros(len(places)).index_add(0, where, values), a.shape)


def sparse_concat(
    axis: int,
    sp_inputs: Sequence[SparseTensor],
    name: str | None = None,
    expand_nonconcat_dim: bool = False,
    concat_dim: Any = None,
) -> SparseTensor:
    """Sparse tensors joined along an axis; the indices in row-major order.

    Torch: ``torch.cat`` of sparse tensors of torch, ``torch.sparse_coo_tensor``.
    """
    parts = [_sparse(x, "sparse_concat") for x in sp_inputs]
    (dim,) = axes(axis, len(parts[0].shape), "sparse_concat")
    places: list[Tensor] = []
    size = 0
    for part in parts:
        shift = torch.zeros(len(part.shape), dtype=torch.int64, device=part.indices.device)
        shift[dim] = size
        places.append(part.indices + shift)
        size += part.shape[dim]
    sizes = [size if d == dim else n for d, n in enumerate(parts[0].shape)]
    joined = torch.cat(places), torch.cat([part.values for part in parts])
    return sparse_reorder(SparseTensor(*joined, sizes))


def sparse_softmax(sp_input: SparseTensor, name: str | None = None) -> SparseTensor:
    """The softmax of each row (along the last axis) over the elements that are stored.

    Torch: ``torch.sparse.softmax(x, -1)``.
    """
    x = _sparse(sp_input, "sparse_softmax")
    rows = _flat(x.indices[:, :-1], x.shape[:-1])
    count = math.prod(x.shape[:-1])
    least = x.values.new_full((count,), -math.inf)
    largest = least.scatter_reduce(0, rows, x.values.detach(), "amax")
    exponentials = torch.exp(x.values - largest[rows])
    sums = x.values.new_zeros(count).index_add(0, rows, exponentials)
    return SparseTensor(x.indices, exponentials / sums[rows], x.shape)


def _is_sparse(value: Any) -> bool:
    return isinstance(value, (SparseTensor, SparseTensorValue))


def _sparse(value: Any, function: str) -> SparseTensor:
    if isinstance(value, SparseTensorValue):
        return SparseTensor(*value)
    if not isinstance(value, SparseTensor):
        raise TypeError(f"{function}(): {type(value)} is not a tf.SparseTensor.")
    return value


def _flat(indices: Tensor, sizes: Sequence[int]) -> Tensor:
    """Each row of indices as one number, in row-major order."""
    strides = [math.prod(sizes[d + 1 :]) for d in range(len(sizes))]
    return (indices * indices.new_tensor(strides)).sum(1)


def _total(x: SparseTensor) -> Tensor:
    """The dense tensor, where a repeated index adds."""
    return x.values.new_zeros(x.shape).index_put(x.indices.unbind(1), x.values, accumulate=True)


def _dense(
    places: Tensor, values: Tensor, sizes: Sequence[int], default: Operand, function: str
) -> Tensor:
    filling = tensor(
        default, values.dtype, device=values.device, function=function, argument="default_value"
    )
    whole = filling.expand(tuple(sizes)).contiguous()
    try:
        return whole.index_put(places.unbind(1), values.expand(len(places)))
    except IndexError:
        raise IndexError(
            f"{function}(): an index is out of range for shape {list(sizes)}."
        ) from None
