"""Rows of variables as a table and as a tree; knows no file."""

import itertools
from collections import Counter
from collections.abc import Iterator

from torchscope.checkpoint._rows import Row, dtype_name

from ._terminal import counted, safe

# Longer names are cut: with one hostile name, a column as wide as it on each of 100,000 lines would
# be gigabytes; so would the indentation of a name with a million slashes.
_WIDEST = 72
_DEEPEST = 64


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
