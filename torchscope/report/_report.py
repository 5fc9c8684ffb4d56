"""SharingReport: what one pass asked for, and what is shared; as data, and as text for a screen."""

import html
import itertools
import linecache
import os
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, cast

from torchscope._overview._text import columns, counted, cut, safe, width_of

from ._save import save
from ._ties import Tie

FORMAT = 1  # of `to_dict`
_LINES = 24  # of a screen


@dataclass(frozen=True)
class Place:
    """A line of the user's code."""

    file: str
    line: int
    function: str
    code: str  # the line itself, without spaces around it; "" if it cannot be read

    @classmethod
    def at(cls, file: str, line: int, function: str) -> "Place":
        """The place with its line of code."""
        return cls(file, line, function, linecache.getline(file, line).strip())

    def __str__(self) -> str:
        return f"{self.where} in {safe(self.function)}" if self.function else self.where

    @property
    def where(self) -> str:
        """File and line, the file as short as it can be found from here."""
        try:
            short = os.path.relpath(self.file)
        except ValueError:  # On another drive.
            short = self.file
        if short.startswith(".."):
            short = self.file
        return f"{safe(short)}:{self.line}"


@dataclass(frozen=True)
class Fetch(Place):
    """A place where a variable was asked for."""

    scope: str  # the full name of the scope that was open; "" at the root
    times: int
    callers: tuple[Place, ...] = ()  # where the ways to this line part, if there are several

    def __str__(self) -> str:
        often = "once" if self.times == 1 else f"{self.times:,} times"
        return f"{often} at {super().__str__()}"


@dataclass(frozen=True)
class Variable:
    """A variable, and who asked for it."""

    name: str
    scope: str
    kind: str  # "parameter" or "buffer"
    shape: list[int] | None  # None: a lazy layer has not made it yet
    dtype: str
    device: str
    trainable: bool
    count: int  # of its numbers
    bytes: int
    made: Place | None  # None for one of a plain module
    fetches: tuple[Fetch, ...]

    @property
    def last(self) -> str:
        """The name within its scope."""
        return self.name[len(self.scope) :].lstrip("/.")


@dataclass(frozen=True)
class NearMiss:
    """Variables that may have been meant as one."""

    variables: tuple[str, ...]
    place: Place  # that made them all
    why: str


class SharingReport:
    """What :func:`torchscope.sharing` returns: print it, save it, or read its parts.

    Attributes:
        name: what was recorded, for example ``"ScopedModule(siamese)"``.
        recorded: whether a pass was run; if not, there are only ``tied`` and what ties share.
        variables: each :class:`Variable`, in the order of making.
        near_misses: each :class:`NearMiss`.
        tied: each :class:`Tie`.
        notes: what the report cannot tell, in sentences.
    """

    def __init__(
        self,
        name: str,
        variables: Iterable[Variable],
        near_misses: Iterable[NearMiss] = (),
        tied: Iterable[Tie] = (),
        notes: Iterable[str] = (),
        *,
        recorded: bool = True,
    ) -> None:
        self.name = name
        self.recorded = recorded
        self.variables = list(variables)
        self.near_misses = list(near_misses)
        self.tied = list(tied)
        self.notes = list(notes)

    @property
    def shared(self) -> dict[str, tuple[Fetch, ...]]:
        """The variables asked for from more than one place, or more than once, with the places.

        So are parameters that are one object under several names, by the first of these.
        """
        tied = {tie.names[0] for tie in self.tied if tie.how == "one object"}
        return {
            one.name: one.fetches
            for one in self.variables
            if sum(fetch.times for fetch in one.fetches) > 1 or one.name in tied
        }

    @property
    def unused(self) -> list[str]:
        """The variables that the pass did not meet."""
        return [one.name for one in self.variables if self.recorded and not one.fetches]

    def to_dict(self) -> dict[str, Any]:
        """All of it as lists, dictionaries, strings and numbers, ready for ``json.dumps``."""
        return {
            "format": FORMAT,
            "name": self.name,
            "recorded": self.recorded,
            "variables": [_plain(asdict(one)) for one in self.variables],
            "shared": list(self.shared),
            "unused": self.unused,
            "near_misses": [_plain(asdict(one)) for one in self.near_misses],
            "tied": [_plain(one._asdict()) for one in self.tied],
            "notes": list(self.notes),
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Draw it into a file: scopes on the left, the lines that ask for them on the right.

        >>> import tempfile, torch, torchscope as ts
        >>> net = ts.ScopedModule(lambda x: x @ ts.get_variable("w", [3, 3]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ts.sharing(net, torch.ones(1, 3)).save(f"{folder}/sharing.html")

        Args:
            path: the file; one that is there is replaced, whole or not at all. Its ending says
                what is drawn: ``.html``, a page that needs no network; ``.svg``, a picture for
                documents; ``.dot``, text for Graphviz; ``.mmd``, text for Mermaid.

        Raises:
            ValueError: for any other ending.
            FileNotFoundError: if the file's directory is not there.
            IsADirectoryError: if the path is a directory.
        """
        save(self.to_dict(), path)

    # ---- as text ---------------------------------------------------------------------------

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.text())}</pre>"

    def text(self, width: int | None = None, lines: int | None = _LINES) -> str:
        """What is printed.

        Args:
            width: characters in a line; by default the terminal's.
            lines: about how many lines to fill, None for all there is to say.
        """
        width = max(12, columns() if width is None else width)
        head = textwrap.wrap(f"{safe(self.name)}: {self._totals()}", width)
        parts = [part for part in self._parts(width) if part[1]]
        left = None if lines is None else lines - len(head) - 3 * len(parts)
        shares = _shares([sum(map(len, items)) for _, items, _ in parts], left)
        shown = head
        for (title, items, more), share in zip(parts, shares, strict=True):
            shown += ["", *textwrap.wrap(title, width), *_first(items, share, more, width)]
        for note in self.notes:
            shown += ["", *textwrap.wrap(safe(note), width)]
        return "\n".join(shown)

    def _totals(self) -> str:
        told = counted(len(self.variables), "variable")
        if self.recorded:
            told += f", {len(self.shared):,} shared, {len(self.unused):,} unused"
            told += f", {counted(len(self.near_misses), 'near miss').replace('misss', 'misses')}"
        return told + f", {len(self.tied):,} tied by hand"

    def _parts(self, width: int) -> Iterator[tuple[str, list[list[str]], str]]:
        """The sections: title, items of one line or more, and where to read on."""
        by_name = {one.name: one for one in self.variables}
        shared = [by_name[name] for name, fetches in self.shared.items() if fetches]
        yield "Shared:", list(_by_places(shared, width)), "report.shared"
        yield (
            "Near misses, two where one may have been meant:",
            list(_near(self.near_misses, width)),
            "report.near_misses",
        )
        ties = [_tie(tie, width) for tie in self.tied]
        yield "Tied by hand:", ties, "report.tied"
        unused = [by_name[name] for name in self.unused]
        yield "Unused, not met in this pass:", list(_by_scope(unused, width)), "report.unused"

    def part(self, names: Iterable[str]) -> str:
        """What there is to say of these variables alone."""
        wanted = set(names)
        ties = [tie for tie in self.tied if wanted & set(tie.names)]
        wanted |= {name for tie in ties for name in tie.names}
        shown: list[str] = []
        for one in self.variables:
            if one.name in wanted:
                shown.append(f"{safe(one.name)}, {_made(one)}")
                shown += [f"  {line}" for fetch in one.fetches for line in _lines(fetch)]
                if self.recorded and not one.fetches:
                    shown.append("  not met in this pass")
        for miss in self.near_misses:
            if wanted & set(miss.variables):
                shown.append(safe(miss.why))
        for tie in ties:
            shown += _tie(tie, columns())
        return "\n".join(shown)


def _made(one: Variable) -> str:
    return f"made at {one.made}" if one.made else "a parameter of a plain module"


def _plain(value: Any) -> Any:
    """The same with lists for tuples, as JSON has them."""
    if type(value) is dict:
        return {key: _plain(one) for key, one in cast("dict[str, Any]", value).items()}
    return [_plain(one) for one in value] if type(value) in (tuple, list) else value


def _lines(fetch: Fetch) -> list[str]:
    told = str(fetch) + (f", scope {safe(fetch.scope)!r}" if fetch.scope else "")
    lines = [told, f"    {safe(fetch.code)}"] if fetch.code else [told]
    return lines + [f"    called from {caller}: {safe(caller.code)}" for caller in fetch.callers]


def _by_places(variables: list[Variable], width: int) -> Iterator[list[str]]:
    """Variables of one scope that were asked for alike, in one item."""

    def key(one: Variable) -> Any:
        return one.scope, [(f.times, f.callers or f.scope) for f in one.fetches]

    for _, grouped in itertools.groupby(variables, key):
        group = list(grouped)
        item = [_names(group, width)]
        first, last = group[0].fetches, group[-1].fetches
        for one, other in zip(first, last, strict=True):
            till = f" to {other.line}" if one.file == other.file and one.line < other.line else ""
            places = str(one).replace(f":{one.line}", f":{one.line}{till}", 1)
            callers = ", ".join(dict.fromkeys(_short(caller, one) for caller in one.callers))
            item.append(cut(f"    {places}{f', called from {callers}' if callers else ''}", width))
        yield item


def _short(place: Place, near: Place) -> str:
    return f"line {place.line}" if place.file == near.file else place.where


def _by_scope(variables: list[Variable], width: int) -> Iterator[list[str]]:
    for _, group in itertools.groupby(variables, lambda one: one.scope):
        yield [_names(list(group), width)]


def _names(group: list[Variable], width: int) -> str:
    """``encoder/  w, b``: the scope, and what of it."""
    first = group[0]
    scope = safe(first.name[: len(first.name) - len(first.last)])
    names = ", ".join(safe(one.last) for one in group)
    room = width - width_of(scope) - 4
    if room < 8:
        return cut(f"  {scope}  {names}", width)
    return f"  {scope}{'  ' if scope else ''}{cut(names, room)}"


def _near(misses: list[NearMiss], width: int) -> Iterator[list[str]]:
    """Near misses of the same scopes for the same reason, in one item."""
    for why, grouped in itertools.groupby(misses, lambda one: one.why):
        group = list(grouped)
        item = [cut(f"  {' and '.join(map(safe, one.variables))}", width) for one in group[:3]]
        if len(group) > 3:
            item.append(cut(f"  ... {len(group) - 3:,} more", width))
        told = textwrap.wrap(safe(why), width, initial_indent="    ", subsequent_indent="    ")
        yield item + told


def _tie(tie: Tie, width: int) -> list[str]:
    names = " = ".join(map(safe, tie.names))
    told = tie.how if tie.how == "one object" else "one memory under several Parameters"
    line = f"  {names}  {told}"
    if width_of(line) <= width:
        return [line]
    return [*(cut(f"  {safe(name)}", width) for name in tie.names), cut(f"    {told}", width)]


def _shares(wanted: list[int], room: int | None) -> list[int]:
    """How many lines each of several gets: all that it wants, or as many as the others."""
    if room is None:
        return wanted
    shares = [0] * len(wanted)
    for at in sorted(range(len(wanted)), key=wanted.__getitem__):
        open_ = sum(1 for share in shares if not share)
        shares[at] = max(1, min(wanted[at], (room - sum(shares)) // open_))
    return shares


def _first(items: list[list[str]], room: int, more: str, width: int) -> list[str]:
    """The first items, as many as fit into ``room`` lines, and how many are left."""
    shown: list[str] = []
    for at, item in enumerate(items):
        if shown and len(shown) + len(item) > room:
            return [*shown, cut(f"  ... {len(items) - at:,} more: {more}", width)]
        shown += item
    return shown
