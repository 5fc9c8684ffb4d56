"""Rows of embedding tables by id, one by one or summed; tables may be partitioned."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from torchscope.tf1._convert import Operand, integers, same_dtype, tensor
from torchscope.tf1._rows import take
from torchscope.tf1.clipping import clip_by_norm
from torchscope.tf1.ops.segments import segment_sum
from torchscope.tf1.ops.sparse import SparseTensor

__all__ = ["embedding_lookup", "embedding_lookup_sparse"]


def embedding_lookup(
    params: Any,
    ids: Operand,
    partition_strategy: str = "mod",
    name: str | None = None,
    validate_indices: bool = True,
    max_norm: float | None = None,
) -> Tensor:
    """The rows of a table, or of a partitioned table, for ids of any shape.

    Torch: ``F.embedding(ids, params)``, with the arguments swapped.

    >>> embedding_lookup(torch.tensor([[1, 2], [3, 4]]), [1, 0, 1])
    tensor([[3, 4],
            [1, 2],
            [3, 4]])

    Args:
        params: [rows, ...], or a list of such parts.
        ids: int32 or int64, of any shape.
        partition_strategy: ``"mod"``: id 4 of 3 parts is row 1 of part 1; ``"div"``: the rows of
            the parts one after the other.
        name: not used.
        validate_indices: not used.
        max_norm: the returned rows are clipped to this norm, each by itself.

    Raises:
        ValueError: no part, or an unknown strategy.
        TypeError: ids that are not integers.
        IndexError: an id out of range (on the CPU).
    """
    return _looked_up(params, ids, partition_strategy, max_norm, "embedding_lookup")


def embedding_lookup_sparse(
    params: Any,
    sp_ids: SparseTensor,
    sp_weights: SparseTensor | None,
    partition_strategy: str = "mod",
    name: str | None = None,
    combiner: str | None = None,
    max_norm: float | None = None,
) -> Tensor:
    """The rows of a table for each row of sparse ids, combined: their mean, sum or ``"sqrtn"``.

    Torch: ``F.embedding_bag(ids, params, offsets)``; ids and weights are sparse tensors.

    Args:
        params: [rows, ...], or a list of such parts.
        sp_ids: [n, m] sparse integers, in order; each of the n rows has at least one.
        sp_weights: what the rows are multiplied by, at the same places; None for 1.
        partition_strategy: as for ``embedding_lookup``.
        name: not used.
        combiner: ``"mean"`` (the default) divides by the sum of the weights, ``"sqrtn"`` by the
            root of the sum of their squares, ``"sum"`` does not.
        max_norm: as for ``embedding_lookup``.

    Raises:
        ValueError: an unknown combiner, or weights for other places.
    """
    function = "embedding_lookup_sparse"
    combiner = "mean" if combiner is None else combiner
    if combiner not in ("mean", "sqrtn", "sum"):
        raise ValueError(f"{function}(): combiner={combiner!r}; give 'mean', 'sqrtn' or 'sum'.")
    rows = _looked_up(params, sp_ids.values, partition_strategy, max_norm, function)
    owners = integers(sp_ids.indices, function, "sp_ids.indices")[:, 0]
    if sp_weights is None:
        weights = rows.new_ones(len(owners))
    else:
        weights = tensor(sp_weights.values, device=rows.device).to(rows.dtype)
        if weights.shape != owners.shape:
            raise ValueError(
                f"{function}(): sp_weights has {len(weights)} values, sp_ids {len(owners)}."
            )
    weights = weights.reshape(-1, *(1,) * (rows.ndim - 1))
    total = segment_sum(rows * weights, owners)
    if combiner == "sum":
        return total
    divisor = segment_sum(weights if combiner == "mean" else weights.square(), owners)
    if sp_weights is None:
        divisor = divisor.clamp(min=1)  # a row without ids is 0; with weights it is NaN
    return total / (divisor if combiner == "mean" else divisor.sqrt())


def _looked_up(
    params: Any, ids: Operand, strategy: str, max_norm: float | None, function: str
) -> Tensor:
    ids = integers(ids, function, "ids")
    if strategy not in ("mod", "div"):
        raise ValueError(f"{function}(): partition_strategy={strategy!r}; give 'mod' or 'div'.")
    listed = cast("list[Any]", params) if isinstance(params, (list, tuple)) else [params]
    parts = same_dtype(listed, function, "params")
    if not parts:
        raise ValueError(f"{function}(): params is an empty list.")
    if len(parts) > 1 and not all(part.ndim for part in parts):
        raise ValueError(f"{function}(): params is a list of numbers; give a table or its parts.")
    ids = ids.to(parts[0].device)
    if len(parts) == 1:
        rows = take(parts[0], ids, function)
    else:
        rows = take(torch.cat(parts), _places(parts, ids, strategy), function)
    if max_norm is None:
        return rows
    return clip_by_norm(rows, max_norm, axes=list(range(ids.ndim, rows.ndim)))


def _places(parts: Sequence[Tensor], ids: Tensor, strategy: str) -> Tensor:
    """Where the ids are in the concatenated parts; the end for ids that are in no part."""
    sizes = [len(part) for part in parts]
    count, total = len(parts), sum(sizes)
    if strategy == "mod":
        part, row = ids % count, ids.div(count, rounding_mode="floor")
    else:  # the first parts have one row more
        each, more = divmod(total, count)
        ahead = (ids - more).div(each, rounding_mode="floor") if each else ids
        part = torch.maximum(ids.div(each + 1, rounding_mode="floor"), ahead)
        row = torch.where(part < more, ids % (each + 1), (ids - more) % max(each, 1))
    known = (part >= 0) & (part < count)
    part = part.clamp(0, count - 1).long()
    starts = torch.tensor([sum(sizes[:i]) for i in range(count)], device=ids.device)
    inside = known & (row < torch.tensor(sizes, device=ids.device)[part])
    return torch.where(inside, starts[part] + row, total)
