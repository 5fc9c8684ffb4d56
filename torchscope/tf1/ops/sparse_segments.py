"""Segments of rows that are looked up first: sparse_segment_sum, mean and sqrt_n."""

from typing import Any

import torch
from torch import Tensor

from torchscope.tf1._arguments import one_int
from torchscope.tf1._convert import Operand, floating, integers, numeric

from .elementwise import sqrt
from .indexing import gather
from .segments import segment_sum, unsorted_segment_sum

__all__ = ["sparse_segment_mean", "sparse_segment_sqrt_n", "sparse_segment_sum"]


def sparse_segment_sum(
    data: Operand,
    indices: Operand,
    segment_ids: Operand,
    name: str | None = None,
    num_segments: Any = None,
    sparse_gradient: bool = False,
) -> Tensor:
    """The sum of the rows of each segment, of rows that indices choose.

    Torch: ``F.embedding_bag(indices, data, offsets, mode="sum")``.

    >>> import torchscope.tf1 as tf
    >>> tf.sparse_segment_sum([[1.0], [2.0], [4.0]], [0, 2, 1], [0, 0, 1])
    tensor([[5.],
            [2.]])

    Args:
        data: [rows, ...].
        indices: which rows, a vector.
        segment_ids: sorted, one for each index.
        name: not used.
        num_segments: how many rows the result has; the last id and 1 by default.
        sparse_gradient: not used.

    Raises:
        ValueError: ids that are not sorted, or not as many as the indices.
        IndexError: an index that is not a row, or an id that is not below ``num_segments``.
    """
    rows = gather(numeric(data, "sparse_segment_sum", "data"), indices)
    return _sums(rows, segment_ids, num_segments, "sparse_segment_sum")


def sparse_segment_mean(
    data: Operand,
    indices: Operand,
    segment_ids: Operand,
    name: str | None = None,
    num_segments: Any = None,
    sparse_gradient: bool = False,
) -> Tensor:
    """The mean of the rows of each segment, 0 for an empty one; see ``sparse_segment_sum``.

    Torch: ``F.embedding_bag(indices, data, offsets, mode="mean")``.
    """
    sums, members = _sums_and_members("mean", data, indices, segment_ids, num_segments)
    return sums / members


def sparse_segment_sqrt_n(
    data: Operand,
    indices: Operand,
    segment_ids: Operand,
    name: str | None = None,
    num_segments: Any = None,
    sparse_gradient: bool = False,
) -> Tensor:
    """The sum of each segment, divided by the square root of its size; see ``sparse_segment_sum``.

    Torch: ``F.embedding_bag``, divided by the square roots.
    """
    sums, members = _sums_and_members("sqrt_n", data, indices, segment_ids, num_segments)
    return sums / sqrt(members)


def _sums(rows: Tensor, segment_ids: Operand, count: Any, function: str) -> Tensor:
    if count is None:
        return segment_sum(rows, segment_ids)
    ids = integers(segment_ids, function, "segment_ids", rows.device)
    if (ids[1:] < ids[:-1]).any() or (ids < 0).any():
        raise ValueError(f"{function}(): segment_ids have to be sorted, none negative.")
    return unsorted_segment_sum(rows, ids, one_int(count, function, "num_segments"))


def _sums_and_members(
    kind: str, data: Operand, indices: Operand, segment_ids: Operand, count: Any
) -> tuple[Tensor, Tensor]:
    """The sum of each segment, and how many rows it has, at least 1, for division."""
    function = f"sparse_segment_{kind}"
    rows = gather(floating(data, function, "data"), indices)
    ones = torch.ones(len(rows), *[1] * (rows.ndim - 1), dtype=rows.dtype, device=rows.device)
    sums, members = (_sums(part, segment_ids, count, function) for part in (rows, ones))
    return sums, members.clamp(min=1)
