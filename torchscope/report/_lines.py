"""The parts of a sharing report as lines that fit a terminal; knows no module and no pass."""

import itertools
import textwrap
from collections.abc import Iterator
from typing import Any

from torchscope._overview._text import cut, safe, width_of

from ._data import Fetch, NearMiss, Place, Variable
from ._ties import Tie


def made(one: Variable) -> str:
    """Where it was made."""
    return f"made at {one.made}" if one.made else "a parameter of a plain module"


def lines_of(fetch: Fetch) -> list[str]:
    """All there is to say of a fetch."""
    told = str(fetch) + (f", scope {safe(fetch.scope)!r}" if fetch.scope else "")
    lines = [told, f"    {safe(fetch.code)}"] if fetch.code else [told]
    return lines + [f"    called from {caller}: {safe(caller.code)}" for caller in fetch.callers]


def by_places(variables: list[Variable], width: int) -> Iterator[list[str]]:
    """Variables of one scope that were asked for alike, in one item."""

    def key(one: Variable) -> Any:
        return one.scope, [(f.file, f.function, f.times, f.callers) for f in one.fetches]

    for _, grouped in itertools.groupby(variables, key):
        group = list(grouped)
        item = [_names(group, width)]
        first, last = group[0].fetches, group[-1].fetches
        for one, other in zip(first, last, strict=True):
            till = f" to {other.line}" if one.file == other.file and one.line < other.line else ""
            places = str(one).replace(f":{one.line}", f":{one.line}{till}", 1)
            callers = ", ".join(dict.fromkeys(_short(caller, one) for caller in one.callers))
            item += _wrapped(f"{places}{f', called from {callers}' if callers else ''}", width)
        yield item


def _wrapped(text: str, width: int) -> list[str]:
    lines = textwrap.wrap(text, width, initial_indent="    ", subsequent_indent="    ")
    return [cut(line, width) for line in lines]  # Chinese characters take two columns.


def _short(place: Place, near: Place) -> str:
    return f"line {place.line}" if place.file == near.file else place.where


def by_scope(variables: list[Variable], width: int) -> Iterator[list[str]]:
    """The names alone, a line for each scope."""
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


def near(misses: list[NearMiss], width: int) -> Iterator[list[str]]:
    """Near misses of the same scopes, in one item."""
    for why, grouped in itertools.groupby(misses, lambda one: one.why):
        group = list(grouped)
        item = [cut(f"  {' and '.join(map(safe, one.variables))}", width) for one in group[:3]]
        if len(group) > 3:
            item.append(cut(f"  ... {len(group) - 3:,} more", width))
        yield item + _wrapped(safe(why), width)


def tied(tie: Tie, width: int) -> list[str]:
    """The names that stand for the same numbers, in one line or one below the other."""
    names = " = ".join(map(safe, tie.names))
    told = tie.how if tie.how == "one object" else "one memory under several Parameters"
    line = f"  {names}  {told}"
    if width_of(line) <= width:
        return [line]
    return [*(cut(f"  {safe(name)}", width) for name in tie.names), cut(f"    {told}", width)]


def shares(wanted: list[int], room: int | None) -> list[int]:
    """How many lines each of several gets: all that it wants, or as many as the others."""
    if room is None:
        return wanted
    shares = [0] * len(wanted)
    for at in sorted(range(len(wanted)), key=wanted.__getitem__):
        open_ = sum(1 for share in shares if not share)
        shares[at] = max(1, min(wanted[at], (room - sum(shares)) // open_))
    return shares


def first(items: list[list[str]], room: int, more: str, width: int) -> list[str]:
    """The first items, as many as fit into ``room`` lines, and how many are left."""
    shown: list[str] = []
    for at, item in enumerate(items):
        if shown and len(shown) + len(item) > room:
            return [*shown, cut(f"  ... {len(items) - at:,} more: {more}", width)]
        shown += item
    return shown
