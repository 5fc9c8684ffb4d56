"""Two sources compared, variable by variable; prints nothing and knows no file."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchscope._errors import CheckpointError

from ._rows import Row, dtype_name
from ._sources import Source

_CHUNK = 1 << 20  # elements compared at once, so that little memory is needed besides the tensors


class Difference(NamedTuple):
    """How one variable differs; ``largest`` is None where nothing was subtracted."""

    name: str
    a: Row | None
    b: Row | None
    largest: int | float | None = None

    def __str__(self) -> str:
        if self.b is None:
            return "only in A"
        if self.a is None:
            return "only in B"
        if self.a.shape != self.b.shape:
            return f"shape {list(self.a.shape)} in A, {list(self.b.shape)} in B"
        parts: list[str] = []
        if self.a.dtype != self.b.dtype:
            parts.append(f"{dtype_name(self.a.dtype)} in A, {dtype_name(self.b.dtype)} in B")
        if self.largest is not None:
            parts.append(f"largest difference {self.largest:.6g}")
        return "; ".join(parts) or "the values differ"

    def as_json(self) -> dict[str, Any]:
        """The difference for a program to read; JSON has neither NaN nor infinity, so as text."""
        largest = self.largest
        if isinstance(largest, float) and not math.isfinite(largest):
            largest = str(largest)
        sides = {"a": self.a and self.a.as_json(), "b": self.b and self.b.as_json()}
        return {"name": self.name, "what": str(self), **sides, "largest_difference": largest}


def differences(
    a: Source, b: Source, rows_a: list[Row], rows_b: list[Row], done: Callable[[int], None]
) -> list[Difference]:
    """All differences, in the order of A, then what only B has.

    Args:
        a: a source, whose variables ``rows_a`` are compared.
        b: the other, with ``rows_b``.
        rows_a: what to compare of ``a``.
        rows_b: what to compare of ``b``.
        done: called after each variable with its number of bytes.
    """
    others = {row.name: row for row in rows_b}
    found: list[Difference] = []
    for row in rows_a:
        other = others.pop(row.name, None)
        difference = Difference(row.name, row, other)
        if other is not None and row.shape == other.shape:
            largest = _largest(a, b, row, other)
            difference = difference._replace(largest=largest)
        else:
            largest = None
        if other is None or row[1:3] != other[1:3] or largest != 0:
            found.append(difference)
        done(row.size or 0)
    found += [Difference(row.name, None, row) for row in others.values()]
    return found


def _largest(a: Source, b: Source, row: Row, other: Row) -> int | float | None:
    """The largest difference of two variables of the same shape; None for strings that differ."""
    if isinstance(row.dtype, str) or isinstance(other.dtype, str):
        same = row.dtype == other.dtype and a[row.name] == b[row.name]
        return 0 if same else None
    try:
        return largest_difference(a[row.name], b[row.name])
    except RuntimeError as error:  # torch has no better one for lack of memory
        raise CheckpointError(row.name, f"{row.name!r} cannot be compared: {error}") from error


def largest_difference(a: Tensor, b: Tensor) -> int | float:
    """The largest absolute difference of elements: exact for integers, else in float64.

    NaN equals NaN, and infinity infinity. NaN against a number gives NaN, infinity infinity.

    >>> largest_difference(torch.tensor([1.0, float("nan")]), torch.tensor([1.5, float("nan")]))
    0.5
    >>> largest_difference(torch.tensor([2**63 - 1]), torch.tensor([-(2**63)])) == 2**64 - 1
    True
    """
    flat_a, flat_b = a.detach().reshape(-1), b.detach().reshape(-1)
    exact = not any(t.is_floating_point() or t.is_complex() for t in (a, b))
    if torch.uint64 in (a.dtype, b.dtype) and a.dtype != b.dtype:
        exact = False  # int64 cannot hold both
    largest: int | float = 0
    for start in range(0, flat_a.numel(), _CHUNK):
        one, two = flat_a[start : start + _CHUNK], flat_b[start : start + _CHUNK]
        if a.dtype == b.dtype and torch.equal(_bits(one), _bits(two)):
            continue
        found = _of_integers(one, two) if exact else _of_numbers(one, two)
        if math.isnan(found):
            return found
        largest = max(largest, found)
    return largest


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(torch.uint8)


def _of_integers(a: Tensor, b: Tensor) -> int:
    # uint64 is read as int64 with the sign bit flipped: then it sorts correctly.
    unsigned = a.dtype == torch.uint64
    lowest = -(1 << 63)
    a, b = ((t.view(torch.int64) ^ lowest) if unsigned else t.long() for t in (a, b))
    # The difference may take 64 bits: it wraps, and is looked at without a sign.
    wrapped = torch.maximum(a, b) - torch.minimum(a, b)
    return int((wrapped ^ lowest).max()) + (1 << 63)


def _of_numbers(a: Tensor, b: Tensor) -> float:
    wide = torch.complex128 if a.is_complex() or b.is_complex() else torch.float64
    a, b = a.to(wide), b.to(wide)
    same = (a == b) | (a.isnan() & b.isnan())
    return float((a - b).abs().masked_fill(same, 0.0).max())
