"""Summary: the variables of a module as a tree of scopes with totals; computes no value.

In: any module. Out: lines for a terminal, folded where they would be too many, a folded tree in
HTML for notebooks, and a dictionary. What was read is kept as words and numbers, so a summary
shows the module as it was, and keeps no tensor alive.
"""

import html
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from torchscope._table import VariableTable

from ._rows import called, named, places, waiting
from ._text import Column, columns, counted, safe, table

_MOST = 60  # lines before scopes are folded that nobody asked to see
_COLUMNS = (
    Column("name"),
    Column("shape", worth=5),
    Column("dtype", worth=2),
    Column("device", worth=0),
    Column("trainable", worth=1),
    Column("count", right=True, worth=4),
    Column("bytes", right=True, worth=3),
)


def overview(module: nn.Module, depth: int | None = None) -> "Summary":
    """The summary of ``module`` as it is."""
    if depth is not None and (not isinstance(depth, int) or isinstance(depth, bool) or depth < 0):
        raise ValueError(
            f"depth is how many scopes deep to show, 0 or more, not {depth!r}: summary(depth=1)."
        )
    root = _Node("")
    labels: dict[tuple[str, ...], str] = {}
    unbuilt: list[tuple[tuple[str, ...], str]] = []
    for one, before, _ in places(module):
        if before:
            labels[before] = called(one)
        if isinstance(one, VariableTable) and not getattr(one, "built", True):
            unbuilt.append((before, _how_to_build(one)))
    first: dict[int, str] = {}
    rows: list[dict[str, Any]] = []
    for found in named(module):
        facts = found.facts()
        other = first.setdefault(id(found.tensor), facts["name"])
        if other != facts["name"]:
            facts |= {"same_as": other, "count": 0, "bytes": 0}
        rows.append(facts)
        root.at(found.parts[:-1]).inside[found.parts[-1]] = facts
    for parts, value in waiting(module):
        facts = _waits("".join(parts), value)
        rows.append(facts)
        root.at(parts[:-1]).inside[parts[-1]] = facts
    for before, build in unbuilt:
        root.at(before).build = build
    for before, label in labels.items():
        node = root.find(before)
        if node is not None:
            node.label = label
    names = ["".join(before)[:-1] for before, _ in unbuilt]
    return Summary(called(module), rows, names, root.add_up(), depth)


def _how_to_build(store: VariableTable) -> str:
    return "store.build(fn, *example)" if store._grows else "net.build(*example)"


def _waits(name: str, value: Any) -> dict[str, Any]:
    is_tensor = isinstance(value, torch.Tensor)
    return {
        "name": name,
        "scope": name.rpartition("/")[0],
        "kind": "waiting",
        "shape": list(value.shape) if is_tensor else None,
        "dtype": str(value.dtype).removeprefix("torch.") if is_tensor else type(value).__name__,
        "device": str(value.device) if is_tensor else "",
        "trainable": False,
        "count": 0,
        "bytes": 0,
    }


@dataclass
class _Node:
    """A scope or a module: what is in it, in the order of making, and what that comes to."""

    name: str
    label: str = ""  # of a module, its class
    build: str = ""  # of a store that was not built, what to type
    inside: dict[str, "_Node | dict[str, Any]"] = field(default_factory=dict[str, Any])
    variables: int = 0
    trainable: int = 0  # numbers that are
    count: int = 0
    bytes: int = 0

    def at(self, parts: tuple[str, ...]) -> "_Node":
        """The scope of these parts."""
        node = self
        for part in parts:
            inner = node.inside.get(part)
            if not isinstance(inner, _Node):
                inner = node.inside[part] = _Node(part)
            node = inner
        return node

    def find(self, parts: tuple[str, ...]) -> "_Node | None":
        node: Any = self
        for part in parts:
            node = node.inside.get(part) if isinstance(node, _Node) else None
        return node if isinstance(node, _Node) else None

    def add_up(self) -> "_Node":
        """Count what is inside."""
        for one in self.inside.values():
            if isinstance(one, _Node):
                one.add_up()
                self.variables += one.variables
                self.trainable += one.trainable
                self.count += one.count
                self.bytes += one.bytes
            else:
                self.variables += one["kind"] != "waiting" and "same_as" not in one
                self.trainable += one["count"] if one["trainable"] else 0
                self.count += one["count"]
                self.bytes += one["bytes"]
        return self

    @property
    def trains(self) -> str:
        """Whether what is in it is trained."""
        if not self.count:
            return ""
        return "no" if not self.trainable else "yes" if self.trainable == self.count else "partly"

    def lines(self, depth: int) -> Iterator[tuple[int, "_Node | dict[str, Any]"]]:
        """What is inside, with how deep it lies, not deeper than ``depth`` scopes."""
        for inner in self.inside.values():
            yield 0, inner
            if isinstance(inner, _Node) and depth > 1:
                for deep, one in inner.lines(depth - 1):
                    yield deep + 1, one


class Summary:
    """What ``summary`` returns: printed, shown in a notebook, or as a dictionary.

    >>> import torch, torchscope as ts
    >>> def model(x):
    ...     with ts.variable_scope("dense"):
    ...         return x @ ts.get_variable("w", [3, 2]) + ts.get_variable("b", [2])
    >>> print(ts.ScopedModule(model).build(torch.ones(1, 3)).summary())
    ScopedModule(model): 2 variables, 8 numbers, 8 of them trainable, 32 bytes
    <BLANKLINE>
    name    shape        dtype    device  trainable  count  bytes
    dense/  2 variables                   yes            8     32
      w     [3, 2]       float32  cpu     yes            6     24
      b     [2]          float32  cpu     yes            2      8
    """

    def __init__(
        self,
        name: str,
        rows: list[dict[str, Any]],
        unbuilt: list[str],
        root: _Node,
        depth: int | None,
    ) -> None:
        self._name, self._rows, self._unbuilt = name, rows, unbuilt
        self._root, self._depth = root, depth

    def to_dict(self) -> dict[str, Any]:
        """For a program to read: all variables, whatever ``depth`` was, and totals."""
        root = self._root
        return {
            "name": self._name,
            "variables": [dict(row) for row in self._rows],
            "not_built": list(self._unbuilt),
            "total": {
                "variables": root.variables,
                "count": root.count,
                "trainable": root.trainable,
                "bytes": root.bytes,
            },
        }

    def text(self, width: int | None = None) -> str:
        """What is printed, in lines of at most ``width`` characters; the terminal's by default."""
        width = max(12, columns() if width is None else width)
        lines = [*textwrap.wrap(f"{safe(self._name)}: {self._totals()}", width)]
        if self._root.build:
            lines += textwrap.wrap(f"Not built yet: {self._root.build} makes the variables.", width)
        shown, folded = self._lines()
        if shown:
            lines += ["", *table(_COLUMNS, shown, width)]
        if folded:
            lines += ["", *textwrap.wrap(folded, width)]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__

    def _totals(self) -> str:
        root = self._root
        return (
            f"{counted(root.variables, 'variable')}, {counted(root.count, 'number')}, "
            f"{root.trainable:,} of them trainable, {counted(root.bytes, 'byte')}"
        )

    def _lines(self) -> tuple[list[tuple[str, ...]], str]:
        """The lines of the table, and what is to be said of lines that are not there."""
        root = self._root
        depth = self._depth
        if depth is not None:
            found = list(root.lines(depth)) if depth else []
            return [_cells(*line) for line in found], ""
        deepest = _deepest(root)
        depth = 1
        found = list(root.lines(depth))
        while depth < deepest:
            more = list(root.lines(depth + 1))
            if len(more) > _MOST:
                break
            depth, found = depth + 1, more
        told = "" if depth >= deepest else f"Folded: summary(depth={deepest}) shows all."
        lines = [_cells(*line) for line in found]
        hidden = len(lines) - _MOST
        if hidden > 0:
            half = _MOST // 2
            lines[half:-half] = [(f"... {hidden:,} more", *[""] * (len(_COLUMNS) - 1))]
            told = f"Folded: summary(depth={deepest}) shows all."
        return lines, told

    # ---- in a notebook ---------------------------------------------------------------------

    def _repr_html_(self) -> str:
        opened = sum(1 for _ in self._root.lines(_deepest(self._root))) <= _MOST
        return "".join(
            [
                f'<div class="torchscope-summary">{_STYLE}<p><b>{html.escape(safe(self._name))}</b>'
                f": {self._totals()}</p>",
                *_html(self._root, opened),
                "</div>",
            ]
        )


def _deepest(node: _Node) -> int:
    inner = [one for one in node.inside.values() if isinstance(one, _Node)]
    return 1 + max((_deepest(one) for one in inner), default=0)


def _cells(deep: int, one: "_Node | dict[str, Any]") -> tuple[str, ...]:
    indent = "  " * deep
    if isinstance(one, _Node):
        label = f"{indent}{safe(one.name)}{'  ' if one.label else ''}{safe(one.label)}"
        what = "not built yet" if one.build else counted(one.variables, "variable")
        return label, what, "", "", one.trains, f"{one.count:,}", f"{one.bytes:,}"
    label = indent + safe(one["name"][len(one["scope"]) :].lstrip("/."))
    return label, *_facts(one)


def _facts(row: dict[str, Any]) -> tuple[str, ...]:
    """The cells of a variable, but its name."""
    shape = "not built yet" if row["shape"] is None else str(row["shape"])
    where = shape, row["dtype"], row["device"]
    if "same_as" in row:
        return f"is {safe(row['same_as'])}", "", "", "", "", ""
    if row["kind"] == "waiting":
        return *where, "loaded, waits to be asked for", "", ""
    trains = "yes" if row["trainable"] else "buffer" if row["kind"] == "buffer" else "no"
    return *where, trains, f"{row['count']:,}", f"{row['bytes']:,}"


_STYLE = """<style>
.torchscope-summary{font:13px/1.5 ui-monospace,Menlo,Consolas,monospace;overflow-x:auto}
.torchscope-summary details{margin-left:1.2em}
.torchscope-summary summary{cursor:pointer;margin-left:-1.2em}
.torchscope-summary table{border-collapse:collapse;font:inherit;margin:0}
.torchscope-summary td{padding:0 1.2em 0 0;text-align:left;border:0;white-space:nowrap}
.torchscope-summary td:nth-child(n+6){text-align:right}
.torchscope-summary i{opacity:.7;font-style:normal}
</style>"""


def _html(node: _Node, opened: bool) -> Iterator[str]:
    if node.build:
        yield f"<p>Not built yet: {html.escape(node.build)} makes the variables.</p>"
    rows = [one for one in node.inside.values() if not isinstance(one, _Node)]
    if rows:
        yield "<table>"
        for row in rows:
            cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in _cells(0, row))
            yield f"<tr>{cells}</tr>"
        yield "</table>"
    for inner in node.inside.values():
        if isinstance(inner, _Node):
            totals = f"{counted(inner.variables, 'variable')}, {inner.count:,} numbers"
            label = f" {html.escape(safe(inner.label))}" if inner.label else ""
            yield (
                f"<details{' open' if opened else ''}><summary>{html.escape(safe(inner.name))}"
                f"<i>{label} {totals}, {inner.bytes:,} bytes</i></summary>"
            )
            yield from _html(inner, opened)
            yield "</details>"
