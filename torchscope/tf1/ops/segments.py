"""Rows that belong together: segments, partitions, unique values, sorting, counting."""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from torchscope.tf1._arguments import one_axis, one_int, refusal
from torchscope.tf1._convert import Operand, as_dtype, integers, numeric, pair, same_dtype, tensor

from .arithmetic import truediv
from .elementwise import sqrt
from .indexing import scatter_nd

__all__ = [
    "argsort",
    "bincount",
    "confusion_matrix",
    "dynamic_partition",
    "dynamic_stitch",
    "histogram_fixed_width",
    "invert_permutation",
    "searchsorted",
    "segment_max",
    "segment_mean",
    "segment_min",
    "segment_prod",
    "segment_sum",
    "setdiff1d",
    "sort",
    "unique",
    "unique_with_counts",
    "unsorted_segment_max",
    "unsorted_segment_mean",
    "unsorted_segment_min",
    "unsorted_segment_prod",
    "unsorted_segment_sqrt_n",
    "unsorted_segment_sum",
]


class Unique(NamedTuple):
    """The result of tf.unique."""

    y: Tensor
    idx: Tensor


class UniqueWithCounts(NamedTuple):
    """The result of tf.unique_with_counts."""

    y: Tensor
    idx: Tensor
    count: Tensor  # pyright: ignore[reportIncompatibleMethodOverride]  # TensorFlow's name for it


class ListDiff(NamedTuple):
    """The result of tf.setdiff1d."""

    out: Tensor
    idx: Tensor


def unsorted_segment_sum(
    data: Operand, segment_ids: Operand, num_segments: Any, name: str | None = None
) -> Tensor:
    """The sum of the rows of each segment; a row with a negative id is dropped.

    Torch: ``zeros.index_add(0, ids, rows)``.
    """
    rows, ids, count = _rows("unsorted_segment_sum", data, segment_ids, num_segments)
    return _sums(rows, ids, count)


def unsorted_segment_mean(
    data: Operand, segment_ids: Operand, num_segments: Any, name: str | None = None
) -> Tensor:
    """The mean of the rows of each segment, 0 for an empty one.

    Torch: ``torch.zeros(...).index_reduce(0, ids, x, "mean")``.
    """
    rows, ids, count = _rows("unsorted_segment_mean", data, segment_ids, num_segments)
    return truediv(_sums(rows, ids, count), _members(rows, ids, count))


def unsorted_segment_sqrt_n(
    data: Operand, segment_ids: Operand, num_segments: Any, name: str | None = None
) -> Tensor:
    """The sum of the rows of each segment, divided by the square root of their number.

    Torch: ``index_add``, divided by ``torch.bincount(ids).sqrt()``.
    """
    rows, ids, count = _rows("unsorted_segment_sqrt_n", data, segment_ids, num_segments)
    return _sums(rows, ids, count) / sqrt(_members(rows, ids, count))


def unsorted_segment_max(
    data: Operand, segment_ids: Operand, num_segments: Any, name: str | None = None
) -> Tensor:
    """The largest row of each segment, element by element; the least number for an empty one.

    Torch: ``torch.zeros(...).index_reduce(0, ids, x, "amax")``.
    """
    rows, ids, count = _rows("unsorted_segment_max", data, segment_ids, num_segments)
    return _extremes(rows, ids, count, "amax", _lowest(rows.dtype))


def unsorted_segment_min(
    data: Operand, segment_ids: Operand, num_segments: Any, name: str | None = None
) -> Tensor:
    """The smallest row of each segment, element by element; the largest number for an empty one.

    Torch: ``torch.zeros(...).index_reduce(0, ids, x, "amin")``.
    """
    rows, ids, count = _rows("unsorted_segment_min", data, segment_ids, num_segments)
    return _extremes(rows, ids, count, "amin", _highest(rows.dtype))


def unsorted_segment_prod(
    data: Operand, segment_ids: Operand, num_segments: Any, name: str | None = None
) -> Tensor:
    """The product of the rows of each segment, 1 for an empty one.

    Torch: ``torch.zeros(...).index_reduce(0, ids, x, "prod")``.
    """
    rows, ids, count = _rows("unsorted_segment_prod", data, segment_ids, num_segments)
    return _extremes(rows, ids, count, "prod", 1)


def segment_sum(data: Operand, segment_ids: Operand, name: str | None = None) -> Tensor:
    """The sum of the rows of each segment; the ids are sorted, the last one gives their number.

    Torch: ``torch.zeros(...).index_add(0, ids, x)``.
    """
    return _sums(*_sorted("segment_sum", data, segment_ids))


def segment_mean(data: Operand, segment_ids: Operand, name: str | None = None) -> Tensor:
    """The mean of the rows of each segment, truncated for integers; the ids are sorted.

    Torch: ``torch.zeros(...).index_reduce(0, ids, x, "mean")``.
    """
    rows, ids, count = _sorted("segment_mean", data, segment_ids)
    sums, members = _sums(rows, ids, count), _members(rows, ids, count)
    if sums.is_floating_point() or sums.is_complex():
        return sums / members
    return torch.div(sums, members, rounding_mode="trunc")


def segment_max(data: Operand, segment_ids: Operand, name: str | None = None) -> Tensor:
    """The largest row of each segment, element by element, 0 for an empty one; ids are sorted.

    Torch: ``torch.zeros(...).index_reduce(0, ids, x, "amax")``.
    """
    rows, ids, count = _sorted("segment_max", data, segment_ids)
    return _or_zero(_extremes(rows, ids, count, "amax", _lowest(rows.dtype)), rows, ids, count)


def segment_min(data: Operand, segment_ids: Operand, name: str | None = None) -> Tensor:
    """The smallest row of each segment, element by element, 0 for an empty one; ids are sorted.

    Torch: ``torch.zeros(...).index_reduce(0, ids, x, "amin")``.
    """
    rows, ids, count = _sorted("segment_min", data, segment_ids)
    return _or_zero(_extremes(rows, ids, count, "amin", _highest(rows.dtype)), rows, ids, count)


def segment_prod(data: Operand, segment_ids: Operand, name: str | None = None) -> Tensor:
    """The product of the rows of each segment, 1 for an empty one; the ids are sorted.

    Torch: ``torch.zeros(...).index_reduce(0, ids, x, "prod")``.
    """
    return _extremes(*_sorted("segment_prod", data, segment_ids), "prod", 1)


def dynamic_partition(
    data: Operand, partitions: Operand, num_partitions: Any, name: str | None = None
) -> list[Tensor]:
    """A list of the rows that go to each partition.

    Torch: ``[rows[ids == i] for i in range(n)]``.
    """
    rows = tensor(data, function="dynamic_partition", argument="data")
    ids = integers(partitions, "dynamic_partition", "partitions", rows.device)
    if rows.shape[: ids.ndim] != ids.shape:
        raise ValueError(
            f"dynamic_partition(): partitions {list(ids.shape)} are not the first axes of"
            f" {list(rows.shape)}."
        )
    count = one_int(num_partitions, "dynamic_partition", "num_partitions")
    parts = [rows[ids == i] for i in range(count)]
    if sum(map(len, parts)) != ids.numel():
        raise ValueError(f"dynamic_partition(): partitions are not all from 0 to {count - 1}.")
    return parts


def dynamic_stitch(
    indices: Sequence[Operand], data: Sequence[Operand], name: str | None = None
) -> Tensor:
    """Rows put at the positions in the indices; of two at one position the later one wins.

    Torch: ``index_copy`` of each in turn.
    """
    places = [integers(one, "dynamic_stitch", "indices") for one in indices]
    parts = same_dtype(data, "dynamic_stitch", "data")
    rest = parts[0].shape[places[0].ndim :] if parts and places else ()
    if (
        not places
        or len(places) != len(parts)
        or any(
            part.shape != (*place.shape, *rest) for place, part in zip(places, parts, strict=True)
        )
    ):
        shapes = [list(part.shape) for part in parts]
        raise ValueError(f"dynamic_stitch(): data of shapes {shapes} do not fit the indices.")
    ids = torch.cat([place.reshape(-1) for place in places]).long()
    rows = torch.cat([part.reshape(-1, *rest) for part in parts])
    order = torch.arange(len(ids), device=ids.device)
    winner = torch.full((int(ids.max()) + 1,), -1, device=ids.device)
    winner = winner.scatter_reduce(0, ids, order, "amax")
    merged = rows[winner.clamp(min=0)]
    return merged.masked_fill((winner < 0).reshape(-1, *[1] * len(rest)), 0)


def unique(x: Operand, out_idx: Any = torch.int32, name: str | None = None) -> Unique:
    """The different elements of a vector in order of appearance, and each element's index there.

    Torch: ``torch.unique(x, return_inverse=True)``, which sorts.
    """
    return Unique(*_unique(x, out_idx, "unique")[:2])


def unique_with_counts(
    x: Operand, out_idx: Any = torch.int32, name: str | None = None
) -> UniqueWithCounts:
    """As unique, and how often each occurs.

    Torch: ``torch.unique(return_counts=True)``, which sorts.
    """
    return UniqueWithCounts(*_unique(x, out_idx, "unique_with_counts"))


def setdiff1d(
    x: Operand, y: Operand, index_dtype: Any = torch.int32, name: str | None = None
) -> ListDiff:
    """The elements of one vector that are not in another, in their order, and their indices.

    Torch: ``x[~torch.isin(x, y)]``.
    """
    x, y = pair(x, y, "setdiff1d")
    if x.ndim != 1 or y.ndim != 1:
        raise ValueError(f"setdiff1d(): {list(x.shape)} and {list(y.shape)} are not vectors.")
    left = torch.nonzero(~torch.isin(x, y)).squeeze(1)
    return ListDiff(x[left], left.to(as_dtype(index_dtype)))


def invert_permutation(x: Operand, name: str | None = None) -> Tensor:
    """The index of each number of a permutation in it.

    Torch: ``torch.argsort(x)``.
    """
    order = integers(x, "invert_permutation", "x")
    if order.ndim != 1:
        raise ValueError(f"invert_permutation(): shape {list(order.shape)} is not a vector.")
    return torch.argsort(order).to(order.dtype)


def sort(
    values: Operand, axis: Any = -1, direction: str = "ASCENDING", name: str | None = None
) -> Tensor:
    """The elements in order along an axis."""
    x, dim, down = _ordered("sort", values, axis, direction)
    return torch.sort(x, dim=dim, descending=down).values


def argsort(
    values: Operand,
    axis: Any = -1,
    direction: str = "ASCENDING",
    stable: bool = False,
    name: str | None = None,
) -> Tensor:
    """The indices that sort along an axis, as int32; equal elements keep their order.

    Torch: ``torch.argsort``, which gives int64.
    """
    x, dim, down = _ordered("argsort", values, axis, direction)
    return torch.argsort(x, dim=dim, descending=down, stable=True).int()


def searchsorted(
    sorted_sequence: Operand,
    values: Operand,
    side: str = "left",
    out_type: Any = torch.int32,
    name: str | None = None,
) -> Tensor:
    """Where each value would go in a sorted sequence (the last axis).

    Torch: ``torch.searchsorted``, which gives int64.
    """
    ordered, x = pair(sorted_sequence, values, "searchsorted", ("sorted_sequence", "values"))
    return torch.searchsorted(ordered, x, side=side).to(as_dtype(out_type))


def bincount(
    arr: Operand,
    weights: Operand = None,
    minlength: Any = None,
    maxlength: Any = None,
    dtype: Any = torch.int32,
    name: str | None = None,
) -> Tensor:
    """How often each number from 0 occurs, or the sum of its weights.

    Torch: ``torch.bincount``; ``maxlength`` leaves larger numbers out.
    """
    x = integers(arr, "bincount", "arr").reshape(-1)
    if (x < 0).any():
        raise ValueError(f"bincount(): arr has the negative number {int(x.min())}.")
    least = 0 if minlength is None else one_int(minlength, "bincount", "minlength")
    size = max(least, int(x.max()) + 1 if x.numel() else 0)
    if maxlength is not None:
        size = min(size, one_int(maxlength, "bincount", "maxlength"))
    ids = torch.where(x < size, x, -1)
    if weights is None:
        return _sums(torch.ones_like(x, dtype=as_dtype(dtype)), ids, size)
    values = tensor(weights, function="bincount", argument="weights").reshape(-1)
    if values.shape != ids.shape:
        raise ValueError(f"bincount(): {len(values)} weights for {len(ids)} numbers.")
    return _sums(values, ids, size)


def confusion_matrix(
    labels: Operand,
    predictions: Operand,
    num_classes: Any = None,
    dtype: Any = torch.int32,
    name: str | None = None,
    weights: Operand = None,
) -> Tensor:
    """How often each label (row) was predicted as each class (column).

    Torch: ``index_put_`` of ones, accumulated.
    """
    actual = numeric(labels, "confusion_matrix", "labels").reshape(-1).long()
    guessed = numeric(predictions, "confusion_matrix", "predictions").reshape(-1).long()
    if actual.shape != guessed.shape:
        raise ValueError(
            f"confusion_matrix(): {len(actual)} labels and {len(guessed)} predictions."
        )
    if num_classes is None:
        classes = int(torch.cat([actual, guessed]).max()) + 1
    else:
        classes = one_int(num_classes, "confusion_matrix", "num_classes")
    counted = (
        torch.ones_like(actual, dtype=as_dtype(dtype))
        if weights is None
        else tensor(weights, function="confusion_matrix").to(as_dtype(dtype))
    )
    return scatter_nd(torch.stack([actual, guessed], 1), counted, [classes, classes])


def histogram_fixed_width(
    values: Operand,
    value_range: Operand,
    nbins: Any = 100,
    dtype: Any = torch.int32,
    name: str | None = None,
) -> Tensor:
    """How many values fall into each of equal bins; the outer bins also count values beyond them.

    Torch: ``torch.histc``, which leaves out values outside the range.
    """
    x, bounds = pair(values, value_range, "histogram_fixed_width", ("values", "value_range"))
    bins = one_int(nbins, "histogram_fixed_width", "nbins")
    low, high = bounds.unbind()
    places = torch.floor((x.reshape(-1) - low) / (high - low) * bins).clamp(0, bins - 1).long()
    return _sums(torch.ones_like(places, dtype=as_dtype(dtype)), places, bins)


def _rows(function: str, data: Operand, ids: Operand, count: Any) -> tuple[Tensor, Tensor, int]:
    """The data as rows, one for each id; the ids may have several axes: the data's first ones."""
    x = numeric(data, function, "data")
    at = integers(ids, function, "segment_ids", x.device)
    if x.shape[: at.ndim] != at.shape:
        raise ValueError(
            f"{function}(): segment_ids {list(at.shape)} are not the first axes of {list(x.shape)}."
        )
    segments = one_int(count, function, "num_segments")
    if segments < 0:
        raise ValueError(f"{function}(): num_segments={segments} is negative.")
    return x.reshape(at.numel(), *x.shape[at.ndim :]), at.reshape(-1).long(), segments


def _sorted(function: str, data: Operand, ids: Operand) -> tuple[Tensor, Tensor, int]:
    at = integers(ids, function, "segment_ids")
    if at.ndim != 1 or (at[1:] < at[:-1]).any() or (at < 0).any():
        raise ValueError(f"{function}(): segment_ids have to be a sorted vector, none negative.")
    return _rows(function, data, at, int(at[-1]) + 1 if at.numel() else 0)


def _shifted(ids: Tensor) -> Tensor:
    """The ids plus 1, and 0 for dropped rows, so that an id too large is still out of range."""
    return ids.clamp(min=-1) + 1


def _sums(rows: Tensor, ids: Tensor, count: int) -> Tensor:
    zeros = torch.zeros(count + 1, *rows.shape[1:], dtype=rows.dtype, device=rows.device)
    try:
        return zeros.index_add(0, _shifted(ids), rows)[1:]
    except (IndexError, RuntimeError) as error:
        raise refusal(error, _too_large(ids, count)) from None


def _too_large(ids: Tensor, count: int) -> IndexError:
    return IndexError(f"segment_ids has {int(ids.max())}, too large for num_segments={count}.")


def _members(rows: Tensor, ids: Tensor, count: int) -> Tensor:
    """How many rows each segment has, at least 1, in the rows' dtype and rank."""
    members = torch.real(_sums(torch.ones_like(ids, dtype=rows.dtype), ids, count))
    return members.clamp(min=1).reshape(-1, *[1] * (rows.ndim - 1))


def _extremes(rows: Tensor, ids: Tensor, count: int, how: str, start: Any) -> Tensor:
    """amax, amin or prod over each segment; equal elements share the gradient."""
    at = _shifted(ids).reshape(-1, *[1] * (rows.ndim - 1)).expand(rows.shape)
    first = torch.full((count + 1, *rows.shape[1:]), start, dtype=rows.dtype, device=rows.device)
    try:
        return first.scatter_reduce(0, at, rows, how)[1:]
    except (IndexError, RuntimeError) as error:
        raise refusal(error, _too_large(ids, count)) from None


def _or_zero(result: Tensor, rows: Tensor, ids: Tensor, count: int) -> Tensor:
    empty = _sums(torch.ones_like(ids), ids, count) == 0
    return result.masked_fill(empty.reshape(-1, *[1] * (rows.ndim - 1)), 0)


def _lowest(dtype: torch.dtype) -> float:
    return (torch.finfo if dtype.is_floating_point else torch.iinfo)(dtype).min


def _highest(dtype: torch.dtype) -> float:
    return (torch.finfo if dtype.is_floating_point else torch.iinfo)(dtype).max


def _unique(x: Operand, out_idx: Any, function: str) -> tuple[Tensor, Tensor, Tensor]:
    values = tensor(x, function=function, argument="x").detach()
    if values.ndim != 1:
        raise ValueError(f"{function}(): shape {list(values.shape)} is not a vector.")
    found, places, counts = cast("Any", torch.unique)(
        values, return_inverse=True, return_counts=True
    )
    order = torch.arange(len(values), device=values.device)
    first = torch.full_like(counts, len(values)).scatter_reduce(0, places, order, "amin")
    by_coming = torch.argsort(first)
    dtype = as_dtype(out_idx)
    new_place = torch.argsort(by_coming)
    return found[by_coming], new_place[places].to(dtype), counts[by_coming].to(dtype)


def _ordered(function: str, values: Operand, axis: Any, direction: str) -> tuple[Tensor, int, bool]:
    if direction not in ("ASCENDING", "DESCENDING"):
        raise ValueError(
            f"{function}(): direction={direction!r}; give 'ASCENDING' or 'DESCENDING'."
        )
    x = numeric(values, function, "values")
    return x, one_axis(axis, x.ndim, function), direction == "DESCENDING"
