"""The variables of a source as rows: name, shape, dtype and bytes; reads no data."""

import math
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from re import Pattern
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from torchscope._errors import CheckpointError

from ._sources import Source, Tensors, opened

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


@contextmanager
def source_at(path: Path, *, verify: bool = True) -> Generator[Source]:
    """What is at a path, mapped: memory that the system can take back at any time."""
    with opened(path, verify=verify, mmap=True) as source:
        yield _Nested(source) if isinstance(source, Tensors) else source


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


class _Nested(Tensors):
    """A file of ``torch.save``; entries of an inner dict are below its name: ``model/fc.w``."""

    def __init__(self, tensors: Tensors) -> None:
        found: dict[str, Any] = {}
        seen: set[int] = set()
        waiting: list[tuple[str, Any]] = [("", tensors._tensors)]
        while waiting:
            name, value = waiting.pop()
            # A dict that was met before, perhaps inside itself, is not walked again.
            if isinstance(value, Mapping) and id(cast("Any", value)) not in seen:
                seen.add(id(cast("Any", value)))
                prefix = f"{name}/" if name else ""
                inner = cast("Mapping[object, Any]", value).items()
                waiting += [(f"{prefix}{key}", one) for key, one in reversed(list(inner))]
            elif name in found:
                raise CheckpointError(name, f"{tensors.path} has two entries {name!r}.")
            else:
                found[name] = value
        super().__init__(found, tensors.path)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def shape(self, name: str) -> torch.Size:
        return torch.Size() if isinstance(self.dtype(name), str) else super().shape(name)

    def dtype(self, name: str) -> torch.dtype | str:
        value = self._tensors[name]
        if isinstance(value, Tensor | bool | int | float | complex):
            return super().dtype(name)
        return type(value).__name__
