"""The largest values and where they are."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchscope.tf1._arguments import one_int
from torchscope.tf1._convert import HALVES, Operand, integers, numeric, tensor

__all__ = ["in_top_k", "top_k"]


class TopKV2(NamedTuple):
    """The largest values, and where along the last axis they are."""

    values: Tensor
    indices: Tensor


def top_k(input: Operand, k: Any = 1, sorted: bool = True, name: str | None = None) -> TopKV2:
    """The k largest values along the last axis, the largest first, and their int32 indices.

    Torch: ``torch.topk(x, k)``; of equal values the one with the lower index comes first.

    >>> top_k([1, 2, 2, 0], 2).indices
    tensor([1, 2], dtype=torch.int32)

    Args:
        input: [..., n].
        k: from 0 to n.
        sorted: not used: the result is always sorted.
        name: not used.

    Raises:
        ValueError: a scalar, or a k that is negative or above n.
    """
    x = numeric(input, "top_k", "input")
    k = one_int(k, "top_k", "k")
    if x.ndim == 0 or not 0 <= k <= x.shape[-1]:
        raise ValueError(
            f"top_k(): k={k} has to be from 0 to the size of the last axis of {list(x.shape)}."
        )
    values, indices = torch.sort(x, dim=-1, descending=True, stable=True)
    return TopKV2(values[..., :k], indices[..., :k].int())


def in_top_k(predictions: Operand, targets: Operand, k: Any, name: str | None = None) -> Tensor:
    """Whether fewer than k predictions are larger than that of the target.

    Torch: none. Predictions equal to the k-th all count as among the top k; a target out of range
    and a row that is not finite give False.

    Args:
        predictions: [batch, classes], float32 (or a half).
        targets: [batch], int32 or int64.
        k: how many classes count.
        name: not used.

    Raises:
        ValueError: shapes that do not fit.
        TypeError: other dtypes.
    """
    x = tensor(predictions, function="in_top_k", argument="predictions")
    if x.dtype not in HALVES:  # refused by TensorFlow, but `net.bfloat16()` must run
        x = tensor(x, torch.float32, function="in_top_k", argument="predictions")
    at = integers(targets, "in_top_k", "targets").long()
    if x.ndim != 2 or at.shape != x.shape[:1]:
        raise ValueError(
            f"in_top_k(): predictions {list(x.shape)} and targets {list(at.shape)} have to be"
            " [batch, classes] and [batch]."
        )
    inside = (at >= 0) & (at < x.shape[1])
    own = x.gather(1, at.where(inside, 0)[:, None])
    return ((x > own).sum(1) < one_int(k, "in_top_k", "k")) & x.isfinite().all(1) & inside
