"""The variables of a source as rows, as a table and as a tree; reads no data."""

import itertools
import math
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from re import Pattern
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from torchscope._errors import CheckpointError

from ._sources import Source, Tensors, opened
from ._terminal import counted, safe

# Of one hostile name no more than this: a column as wide as it, on each of 100,000 lines, would be
# gigabytes; so would the indentation of a name with a million slashes.
_WIDEST = 72
_DEEPEST = 64

_MOST_BYTES = 1 << 63  # a shape that claims more is not of data that there is


class Row(NamedTuple):
    """A variable: what it is called, what it is, and how many bytes of memory it takes."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype | str  # a word for what is no tensor: "string"
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


def table(rows: list[Row]) -> Iterator[str]:
    """A line for each variable."""
    return _columns([("name", "shape", "dtype", "bytes"), *(_cells(row.name, row) for row in rows)])


def tree(rows: list[Row]) -> Iterator[str]:
    """A line for each scope, with what is in it, and for each variable below its scope."""
    counts: Counter[tuple[str, ...]] = Counter()
    sizes: Counter[tuple[str, ...]] = Counter()
    split = sorted((tuple(row.name.split("/", _DEEPEST)), row) for row in rows)
    for path, row in split:
        for depth in range(1, len(path)):
            counts[path[:depth]] += 1
            sizes[path[:depth]] += row.size or 0
    lines = [("name", "shape", "dtype", "bytes")]
    entered: tuple[str, ...] = ()
    for path, row in split:
        *scope, last = path
        common = sum(
            1
            for _ in itertools.takewhile(
                lambda two: two[0] == two[1], zip(entered, scope, strict=False)
            )
        )
        for depth in range(common, len(scope)):
            inner = path[: depth + 1]
            label = f"{'  ' * depth}{path[depth]}/"
            lines.append((safe(label), counted(counts[inner], "variable"), "", f"{sizes[inner]:,}"))
        entered = tuple(scope)
        lines.append(_cells("  " * len(scope) + last, row))
    return _columns(lines)


def _cells(label: str, row: Row) -> tuple[str, str, str, str]:
    size = "-" if row.size is None else f"{row.size:,}"
    return safe(label), str(list(row.shape)), safe(dtype_name(row.dtype)), size


def _columns(lines: list[tuple[str, str, str, str]]) -> Iterator[str]:
    widths = [min(_WIDEST, max(len(line[column]) for line in lines)) for column in range(4)]
    name, shape, dtype, size = widths
    for line in lines:
        yield f"{line[0]:<{name}}  {line[1]:<{shape}}  {line[2]:<{dtype}}  {line[3]:>{size}}"


class _Nested(Tensors):
    """A file of ``torch.save``; what a dict in it has is below the dict's name: ``model/fc.w``."""

    def __init__(self, tensors: Tensors) -> None:
        found: dict[str, Any] = {}
        seen: set[int] = set()
        waiting: list[tuple[str, Any]] = [("", tensors._tensors)]
        while waiting:
            name, value = waiting.pop()
            # A dict that is there again, perhaps within itself, stands as it is: all files end.
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
