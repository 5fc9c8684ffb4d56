"""The variables of a source as rows: name, shape, dtype and bytes; reads no data."""

import math
from collections.abc import Iterable
from re import Pattern
from typing import Any, NamedTuple

import torch

from ._sources import Source

_MOST_BYTES = 1 << 63  # a shape that claims more is not of data that there is


class Row(NamedTuple):
    """A variable: what it is called, what it is, and how many bytes of memory it takes."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype | str  # a word for what is not a tensor: "string"
    size: int | None

    def as_json(self) -> dict[str, Any]:
        """The row for a program to read."""
        shape, dtype = list(self.shape), dtype_name(self.dtype)
        return {"name": self.name, "shape": shape, "dtype": dtype, "bytes": self.size}


def dtype_name(dtype: torch.dtype | str) -> str:
    """``float32``, ``string``."""
    return str(dtype).removeprefix("torch.")


def rows_of(source: Source, select: Pattern[str] | None = None) -> list[Row]:
    """All variables, or those in whose names the pattern is found."""
    names = [name for name in source if select is None or select.search(name)]
    rows: list[Row] = []
    for name in names:
        shape, dtype = tuple(source.shape(name)), source.dtype(name)
        size = None
        if not isinstance(dtype, str):
            claimed = math.prod(shape) * dtype.itemsize
            size = claimed if claimed < _MOST_BYTES else None
        rows.append(Row(name, shape, dtype, size))
    return rows


def total(rows: Iterable[Row]) -> int:
    """The bytes of all that are known."""
    return sum(row.size or 0 for row in rows)
