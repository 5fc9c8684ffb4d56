"""From what one pass recorded to the report of it; runs nothing.

In: a module, whose variables have names, and what was recorded of them by ids. Out: a
`SharingReport`, in which names and places stand for themselves.
"""

import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any

from torch import nn

from torchscope._names import escape
from torchscope._origin import Origin
from torchscope._overview import Named, called, named, places
from torchscope._table import VariableTable
from torchscope._walk import items

from ._data import Fetch, NearMiss, Place, Variable
from ._near_misses import Candidate, Found, near_misses, parting
from ._recording import Get, Recording, Step, inside
from ._report import SharingReport
from ._ties import ties_of


def report_of(module: nn.Module, recording: Recording | None) -> SharingReport:
    """What was recorded of ``module``; without a recording, what is tied by hand alone."""
    return _Reader(module, recording).report()


class _Reader:
    """Joins the names of a module with what was recorded by ids."""

    def __init__(self, module: nn.Module, recording: Recording | None) -> None:
        self.module, self.recording = module, recording or Recording()
        self.recorded = recording is not None
        self.found: dict[int, list[Named]] = {}  # the names of each variable, by its id
        for one in named(module):
            self.found.setdefault(id(one.tensor), []).append(one)
        self.prefixes: dict[int, str] = {}  # of the names in a store, by its id
        self.origins: dict[int, Origin] = {}  # where kept modules were made, by their ids
        for one, before, _ in places(module):
            if isinstance(one, VariableTable):
                self.prefixes[id(one)] = "".join(before)
                for name, made in items(one._made_modules):
                    for kept in inside(one._modules.get(escape(name))):
                        self.origins[id(kept)] = made.origin
        self.gets = {key: self._gets(names) for key, names in self.found.items()}

    def report(self) -> SharingReport:
        variables = [
            Variable(
                **names[0].facts(),
                made=_place(self._made(names[0])),
                fetches=tuple(self._fetches(self.gets[key])),
            )
            for key, names in self.found.items()
        ]
        made = {variable.name: variable.made for variable in variables}
        return SharingReport(
            called(self.module),
            variables,
            [_near_miss(miss, made) for miss in near_misses(self._candidates())],
            ties_of(itertools.chain(*self.found.values())),
            self._notes(),
            recorded=self.recorded,
        )

    def _made(self, one: Named) -> Origin | None:
        return one.made or self.origins.get(id(one.module))

    def _gets(self, names: list[Named]) -> Counter[Get]:
        """Who asked for a variable, by any of its names."""
        recording, gets = self.recording, Counter[Get]()
        for one in names:
            if isinstance(one.module, VariableTable):
                for local in _computing(one.local):
                    gets.update(recording.gets.get((id(one.module), local), {}))
            gets.update(recording.calls.get(id(one.module), {}))
        return gets or Counter(recording.reads.get(id(names[0].tensor), {}))

    def _fetches(self, gets: Counter[Get]) -> Iterator[Fetch]:
        """The places of these, in the order of the first at each."""
        places: dict[Any, list[Get]] = {}
        for get in gets:
            place = get.path[0][:3] if get.path else ("", 0, "")
            scope = f"{self.prefixes.get(get.store, '')}{get.scope}".rstrip("/.")
            places.setdefault((place, scope), []).append(get)
        for (place, scope), there in places.items():
            callers = [_place(step) for step in parting([get.path for get in there])]
            yield Fetch(
                **vars(Place.at(*place)),
                scope=scope,
                times=sum(gets[get] for get in there),
                callers=tuple(dict.fromkeys(one for one in callers if one is not None)),
            )

    def _candidates(self) -> Iterator[Candidate]:
        for key, names in self.found.items():
            one, gets = names[0], self.gets[key]
            made = self._made(one)
            if made is not None and gets:
                lineage, path = self.recording.lineage, next(iter(gets)).path
                lines = made.file, made.line, path[0][:2] if path else None
                like = tuple(one.tensor.shape), one.tensor.dtype, lines
                use, bit = lineage.uses.get(key), lineage.bits.get(key, 0)
                yield Candidate(one.parts, like, path, use, bit)

    def _notes(self) -> Iterator[str]:
        others = [s for key, s in self.recording.stores.items() if key not in self.prefixes]
        if others:
            yield (
                f"The pass also asked {', '.join(map(called, others))} for variables, a store that "
                f"is not a part of {called(self.module)}; what it asked for there is not listed."
            )


def _computing(local: str) -> Iterator[str]:
    """The names of a variable, and of what pruning or weight_norm computes from it."""
    yield local
    base, _, ending = local.rpartition("_")
    if ending in ("orig", "mask", "g", "v"):
        yield base


def _place(one: Origin | Step | None) -> Place | None:
    return Place.at(one.file, one.line, one.function) if one is not None and one.file else None


def _near_miss(miss: Found, made: dict[str, Place | None]) -> NearMiss:
    scopes = " and ".join(repr(name) for name in dict.fromkeys(miss.scopes))
    ways = dict.fromkeys(str(_place(step)) for step in miss.calls)
    led = f", called from {' and '.join(ways)}" if ways else ", in a loop"
    doing = "work side by side on different inputs" if miss.known else "nothing tells them apart"
    why = (
        f"{scopes} are filled by the same lines{led}, and {doing}. If one set of variables is "
        "meant, enter one scope both times, with reuse=ts.AUTO_REUSE."
    )
    place = made[miss.variables[0]]
    assert place is not None
    return NearMiss(miss.variables, place, why)
