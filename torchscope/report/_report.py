"""SharingReport: what one pass asked for, and what is shared; as data, and as text for a screen."""

import html
import os
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any, cast

from torchscope._overview._text import columns, counted, safe

from ._data import Fetch, NearMiss, Variable
from ._lines import by_places, by_scope, first, lines_of, made, near, shares, tied
from ._save import save
from ._ties import Tie

FORMAT = 1  # of `to_dict`
_LINES = 24  # of a screen


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
        rooms = shares([sum(map(len, items)) for _, items, _ in parts], left)
        shown = head
        for (title, items, more), share in zip(parts, rooms, strict=True):
            shown += ["", *textwrap.wrap(title, width), *first(items, share, more, width)]
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
        yield "Shared:", list(by_places(shared, width)), "report.shared"
        yield (
            "Near misses, two where one may have been meant:",
            list(near(self.near_misses, width)),
            "report.near_misses",
        )
        ties = [tied(tie, width) for tie in self.tied]
        yield "Tied by hand:", ties, "report.tied"
        unused = [by_name[name] for name in self.unused]
        yield "Unused, not met in this pass:", list(by_scope(unused, width)), "report.unused"

    def part(self, names: Iterable[str]) -> str:
        """What there is to say of these variables alone."""
        if isinstance(names, str) or not isinstance(cast("Any", names), Iterable):
            raise TypeError(f"part takes a list of names, not {names!r}: report.part(['w']).")
        wanted = set(names)
        ties = [tie for tie in self.tied if wanted & set(tie.names)]
        wanted |= {name for tie in ties for name in tie.names}
        shown: list[str] = []
        for one in self.variables:
            if one.name in wanted:
                shown.append(f"{safe(one.name)}, {made(one)}")
                shown += [f"  {line}" for fetch in one.fetches for line in lines_of(fetch)]
                if self.recorded and not one.fetches:
                    shown.append("  not met in this pass")
        for miss in self.near_misses:
            if wanted & set(miss.variables):
                shown.append(safe(miss.why))
        for tie in ties:
            shown += tied(tie, columns())
        return "\n".join(shown)


def _plain(value: Any) -> Any:
    """The same with lists for tuples, as JSON has them."""
    if type(value) is dict:
        return {key: _plain(one) for key, one in cast("dict[str, Any]", value).items()}
    return [_plain(one) for one in value] if type(value) in (tuple, list) else value
