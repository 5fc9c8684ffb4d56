"""Two variables where one may have been meant; knows no module.

In: the variables of a pass: name, shape, the line that made each, the calls that led to its first
get, and what it was used with. Out: those that look like one variable made twice: of equal
shape and last name, in scopes side by side, made by the same line. That alone would name every
layer of a deep net, so what is told apart as meant:

- a layer upon a layer: one of the two is used with what was computed from the other;
- the same input: query, key and value, or heads; shared, they would compute the same twice;
- a loop that numbers them: the same calls led to both, and the scopes differ in a number alone
  (``level0``, ``level1``). A default name that was only counted on (``encoder``, ``encoder_1``) has
  no number at first, so it is not one of these.
"""

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from ._lineage import Use
from ._recording import Path, Step

_MOST = 200  # variables made by one line in sibling scopes that are all compared with each other


class Candidate(NamedTuple):
    """A variable, as far as it matters here."""

    parts: tuple[str, ...]
    like: tuple[Any, ...]  # shape, dtype, and the line that made it
    path: Path  # of its first get
    use: Use | None  # None: it was never used with anything
    bit: int  # what stands for it in `Use.after`

    @property
    def name(self) -> str:
        """The full name."""
        return "".join(self.parts)


class Found(NamedTuple):
    """Variables that may have been meant as one."""

    variables: tuple[str, ...]
    scopes: tuple[str, ...]  # which of them, side by side, each lies in
    calls: tuple[Step, ...]  # that led to one or the other; none in a loop
    known: bool  # whether each was seen at work, on inputs of its own


def near_misses(candidates: Iterable[Candidate]) -> list[Found]:
    """The near misses among these, in the order of making."""
    candidates = list(candidates)
    order = {one.name: at for at, one in enumerate(candidates)}
    siblings: dict[Any, list[Candidate]] = defaultdict(list)
    for one in candidates:
        for at in range(len(one.parts) - 1):
            siblings[at, one.parts[:at], one.parts[at + 1 :], one.like].append(one)
    found: list[Found] = []
    for (at, *_), group in siblings.items():
        if len(group) > 1:
            found += (_found(at, cluster) for cluster in _clusters(at, group))
    return sorted(found, key=lambda one: order[one.variables[0]])


def _clusters(at: int, group: list[Candidate]) -> list[list[Candidate]]:
    """Those of ``group`` that belong together, each such cluster in the order of making."""
    pairs = itertools.combinations(group, 2) if len(group) <= _MOST else itertools.pairwise(group)
    clusters: list[list[Candidate]] = []
    for one, other in pairs:
        if not _looks_meant(at, one, other):
            meeting = [c for c in clusters if one in c or other in c]
            merged = dict.fromkeys([*itertools.chain(*meeting), one, other])
            clusters = [c for c in clusters if c not in meeting]
            clusters.append([member for member in group if member in merged])
    return clusters


def _looks_meant(at: int, one: Candidate, other: Candidate) -> bool:
    """Whether something tells that these two are meant as two."""
    a, b = one.use, other.use
    if a is not None and b is not None:
        if one.bit & b.after or other.bit & a.after or a.partners & b.partners:
            return True
    elif one.path == other.path:
        return True
    return one.path == other.path and _numberless(one.parts[at]) == _numberless(other.parts[at])


def _numberless(scope: str) -> str:
    return re.sub(r"\d+", "0", scope)


def _found(at: int, cluster: list[Candidate]) -> Found:
    return Found(
        tuple(one.name for one in cluster),
        tuple("".join(one.parts[: at + 1]) for one in cluster),
        parting([one.path for one in cluster]),
        all(one.use is not None for one in cluster),
    )


def parting(paths: list[Path]) -> tuple[Step, ...]:
    """The calls where these ways part, seen from outside; none if they are all the same."""
    for steps in itertools.zip_longest(*(reversed(path) for path in paths)):
        apart = tuple(dict.fromkeys(step for step in steps if step is not None))
        if len(apart) > 1:
            return apart
    return ()
