"""What loading did, or why it did nothing, for people to read; knows only names and shapes."""

import difflib
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch

_SHOWN = 10  # names in a line of the report
_COMPARED = 5_000  # names that one is compared with to find the nearest


@dataclass(frozen=True)
class Mismatch:
    """A variable whose value there has another shape or a dtype that would lose precision."""

    name: str
    there: str
    shape: tuple[int, ...]
    shape_there: tuple[int, ...]
    dtype: torch.dtype
    dtype_there: torch.dtype | str

    def __str__(self) -> str:
        same = "" if self.there == self.name else f" from {self.there!r}"
        if self.shape != self.shape_there:
            line = f"{self.name!r}{same} has shape {self.shape} here, {self.shape_there} there"
            return f"{line}{self._fitting()}"
        return (
            f"{self.name!r}{same} is {_short(self.dtype)} here, {_short(self.dtype_there)} there: "
            f"convert it yourself, as in {{{self.name!r}: saved[{self.there!r}]"
            f".to({self.dtype})}}"
        )

    def _fitting(self) -> str:
        """A hint where the same numbers in another order would fit."""
        here, there = self.shape, self.shape_there
        if sorted(here) == sorted(there) and 1 < len(here) <= 5:
            for order in _orders(len(there)):
                if tuple(there[axis] for axis in order) == here:
                    how = ".T" if order == (1, 0) else f".permute{order}"
                    return f": saved[{self.there!r}]{how} would fit, if its axes mean that"
        if tuple(size for size in here if size != 1) == tuple(size for size in there if size != 1):
            return f": saved[{self.there!r}].reshape{here} would fit"
        return ""


def _orders(rank: int) -> list[tuple[int, ...]]:
    """All orders of axes, those first by which TensorFlow's kernels become PyTorch's."""
    usual = {2: [(1, 0)], 4: [(3, 2, 0, 1), (2, 3, 0, 1)], 3: [(2, 1, 0)], 5: [(4, 3, 0, 1, 2)]}
    return [*usual.get(rank, []), *itertools.permutations(range(rank))]


def _short(dtype: torch.dtype | str) -> str:
    return str(dtype).removeprefix("torch.")


@dataclass(frozen=True)
class Report:
    """What was loaded, and what was not. ``print`` it; each attribute lists names.

    Attributes:
        source: what was read.
        loaded: the name of each variable -> the name in the source.
        missing: variables of the store that the source lacks.
        unexpected: names in the source that the store has no variable for.
        mismatched: shapes and dtypes that do not fit.
        left_out: names in the source that are an optimizer's, the global step and the like, or
            that ``assignment_map`` did not ask for.
        untouched: variables of the store that ``assignment_map`` did not ask for.
        sought: of those missing, what ``assignment_map`` has for them there, if not their name.
        waiting: of those loaded, what waits to be made, the store not being built yet.
        offered: names in the source that are an optimizer's and the like, and wait in case the
            first call asks for them; what it does not ask for is dropped.
    """

    source: str
    loaded: dict[str, str] = field(default_factory=dict[str, str])
    missing: list[str] = field(default_factory=list[str])
    unexpected: list[str] = field(default_factory=list[str])
    mismatched: list[Mismatch] = field(default_factory=list[Mismatch])
    left_out: list[str] = field(default_factory=list[str])
    untouched: list[str] = field(default_factory=list[str])
    sought: dict[str, str] = field(default_factory=dict[str, str])
    waiting: list[str] = field(default_factory=list[str])
    offered: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        waiting = len(self.waiting)
        done = f"{len(self.loaded) - waiting} variables loaded"
        if waiting:
            done = (
                f"{done}, {waiting} wait"
                if waiting < len(self.loaded)
                else f"{waiting} variables wait"
            )
            done += " for the first call"
        return "\n".join([f"{done}, from {self.source}", *self.rest()])

    def rest(self) -> list[str]:
        """A line for each kind of names that were not loaded."""
        lines: list[str] = [f"  mismatched: {mismatch}" for mismatch in self.mismatched[:_SHOWN]]
        if len(self.mismatched) > _SHOWN:
            lines.append(f"  mismatched: and {len(self.mismatched) - _SHOWN} more")
        lines += self._listed("missing", self.missing, self.unexpected)
        lines += self._listed("unexpected", self.unexpected, self.missing)
        for what, names in (
            (
                "optimizer state and step counters, loaded if the first call asks for them",
                self.offered,
            ),
            ("left out, optimizer state or not asked for", self.left_out),
            ("untouched, not asked for", self.untouched),
        ):
            if names:
                lines.append(f"  {what}: {len(names)} ({_first(names)})")
        prefix = _prefix_that_fits(self.missing, self.unexpected)
        return [*lines, f"  {prefix}"] if prefix else lines

    def _listed(self, what: str, names: Sequence[str], others: Sequence[str]) -> list[str]:
        lines: list[str] = []
        for name in names[:_SHOWN]:
            there = self.sought.get(name)
            if there is None:
                lines.append(f"  {what}: {name!r}{_nearest(name, others)}")
            else:
                nearest = _nearest(there, self.left_out)
                lines.append(f"  {what}: {name!r}, which was to be {there!r} there{nearest}")
        more = len(names) - _SHOWN
        return (
            [*lines, f"  {what}: and {more} more ({_first(names[_SHOWN:])})"] if more > 0 else lines
        )


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _nearest(name: str, others: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, others[:_COMPARED], n=1)
    return f"; the other side has {close[0]!r}" if close else ""


def _prefix_that_fits(missing: Iterable[str], unexpected: Iterable[str]) -> str:
    """A hint where the names differ by a prefix."""
    absent, there = set(missing), set(unexpected)
    longer = Counter(_heads(there, absent))
    shorter = Counter(_heads(absent, there))
    for counts, there_is_longer in ((longer, True), (shorter, False)):
        if not counts:
            continue
        prefix, count = counts.most_common(1)[0]
        if 2 * count <= len(absent):
            continue
        where = "there" if there_is_longer else "here"
        hint = f"{count} names fit but for {prefix!r}, which those {where} begin with: "
        if prefix.endswith("/"):
            pair = f"{prefix!r}: '/'" if there_is_longer else f"'/': {prefix!r}"
            return f"{hint}assignment_map={{{pair}}}"
        pattern = f"^{prefix}" if there_is_longer else "^"
        replacement = "" if there_is_longer else prefix
        return f"{hint}assignment_map={{re.compile({pattern!r}): {replacement!r}}}"
    return ""


def _heads(longer: set[str], shorter: set[str]) -> Iterable[str]:
    """The prefixes that make a name of ``shorter`` one of ``longer``."""
    for name in longer:
        for at in (place + 1 for place, letter in enumerate(name) if letter in "/."):
            if name[at:] in shorter:
                yield name[:at]
