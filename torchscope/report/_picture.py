"""What a picture shows: scopes as boxes, source lines as boxes, and which asks for which.

It knows the dictionary of a sharing report, and neither HTML nor SVG nor graphs.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torchscope._overview._text import safe

from ._boxes import Box, boxes_of, in_sight
from ._words import short_paths, visible_lines

MARKS = ("shared", "unused", "near miss", "tied")  # what is said of variables


@dataclass(frozen=True)
class Line:
    """A line of source that asks for variables, or calls a function in which another one does."""

    file: str
    short: str  # the file without the folders that tell nothing
    line: int
    function: str
    code: str
    callers: tuple["Line", ...] = ()

    def seen_from(self, other: "Line") -> str:
        """Its number, and its file where that is another one."""
        return str(self.line) if self.file == other.file else f"{self.short}:{self.line}"


@dataclass(frozen=True)
class Picture:
    """The two sides, and the edges between: (variable, line, how many times)."""

    name: str
    variables: list[dict[str, Any]]
    lines: list[Line]
    scopes: list[Box]
    files: list[Box]
    edges: list[tuple[int, int, int]]
    marks: list[list[str]]  # of each variable
    times: list[int]  # how often each variable was asked for
    asked: list[int]  # how many variables each line asks for
    near_misses: list[dict[str, Any]]
    tied: list[dict[str, Any]]
    notes: list[str]  # what the report cannot tell
    recorded: bool  # whether a pass was run


def picture(data: Mapping[str, Any]) -> Picture:
    """Arrange a sharing report, as ``report.to_dict()`` gives it."""
    data = _visible(data)
    variables: list[dict[str, Any]] = data["variables"]
    lines, edges = _lines_and_edges(variables)
    marks = _marks(data)
    by_variable, by_line, asked, shared = Counter[int](), Counter[int](), Counter[int](), set[int]()
    for variable, line, count in edges:
        by_variable[variable] += count
        by_line[line] += count
        asked[line] += 1
        if "shared" in marks[variable]:
            shared.add(line)
    return Picture(
        name=data["name"],
        variables=variables,
        lines=lines,
        scopes=boxes_of(
            [_path(one) for one in variables],
            [one["count"] for one in variables],
            marks,
            _joint(*(one["name"] for one in variables)),
        ),
        files=boxes_of(
            [(one.short, one.function, one.code) for one in lines],
            [by_line[line] for line in range(len(lines))],
            [["shared"] if line in shared else [] for line in range(len(lines))],
            ": ",
        ),
        edges=edges,
        marks=marks,
        times=[by_variable[one] for one in range(len(variables))],
        asked=[asked[line] for line in range(len(lines))],
        near_misses=data["near_misses"],
        tied=data["tied"],
        notes=data.get("notes", []),
        recorded=data.get("recorded", True),
    )


def _visible(value: Any, key: str = "") -> Any:
    """The same, with nothing hidden in any text."""
    if isinstance(value, str):
        return visible_lines(value) if key == "code" else safe(value)
    if isinstance(value, Mapping):
        return {one: _visible(inner, one) for one, inner in value.items()}  # type: ignore[misc]
    if isinstance(value, list | tuple):
        return [_visible(inner) for inner in value]  # type: ignore[misc]
    return value


def _path(variable: Mapping[str, Any]) -> tuple[str, ...]:
    """The scopes around a variable, outermost first, and what its name says beyond them."""
    name, scope = variable["name"], variable["scope"]
    if not scope or not name.startswith(scope):
        return (name,)
    return (*scope.split(_joint(name)), name[len(scope) :].lstrip("/.") or name)


def _joint(*names: str) -> str:
    """What is between the parts of names: a slash, or a dot in a plain module."""
    return "/" if any("/" in name for name in names) else "."


def shape_of(variable: Mapping[str, Any]) -> str:
    """The shape as Python writes it; a lazy layer's parameter has none yet."""
    return "not made yet" if variable["shape"] is None else str(variable["shape"])


def mark_of(drawn: Picture, variable: int, mark: str) -> str:
    """A mark in words: how often, for what is asked for more than once."""
    times = drawn.times[variable]
    return f"shared ×{times}" if mark == "shared" and times > 1 else mark


_Place = tuple[str, int, str, str]


def _lines_and_edges(
    variables: Iterable[Mapping[str, Any]],
) -> tuple[list[Line], list[tuple[int, int, int]]]:
    """The lines that ask for variables by file and number, and how often they ask for which."""
    asked: dict[_Place, Counter[int]] = {}
    callers: dict[_Place, dict[_Place, None]] = {}
    for variable, one in enumerate(variables):
        for fetch in one["fetches"]:
            place = _place(fetch)
            asked.setdefault(place, Counter())[variable] += fetch["times"]
            callers.setdefault(place, {}).update(
                (_place(caller), None) for caller in fetch.get("callers", ())
            )
    places = sorted(asked)
    names = short_paths(
        [one[0] for one in (*places, *(way for ways in callers.values() for way in ways))]
    )
    lines = [
        _line(place, names, tuple(_line(way, names) for way in callers[place])) for place in places
    ]
    edges = [
        (variable, line, times)
        for line, place in enumerate(places)
        for variable, times in asked[place].items()
    ]
    return lines, edges


def _place(one: Mapping[str, Any]) -> _Place:
    return one["file"], one["line"], one["function"], one["code"]


def _line(place: _Place, names: Mapping[str, str], callers: tuple[Line, ...] = ()) -> Line:
    file, line, function, code = place
    return Line(file, names[file], line, function, code, callers)


def _marks(data: Mapping[str, Any]) -> list[list[str]]:
    """What is said of each variable: those of `MARKS` that hold."""
    names: list[set[str]] = [
        set(data["shared"]),
        set(data["unused"]),
        {name for one in data["near_misses"] for name in one["variables"]},
        {name for one in data["tied"] for name in one["names"]},
    ]
    return [
        [mark for mark, marked in zip(MARKS, names, strict=True) if one["name"] in marked]
        for one in data["variables"]
    ]


@dataclass
class Bundle:
    """The edges between two boxes that are seen."""

    scope: int
    file: int
    times: int = 0
    shared: bool = False


def bundles(drawn: Picture, open_scopes: set[int], open_files: set[int]) -> list[Bundle]:
    """The edges between what is seen on both sides; those of shared variables come last."""
    scopes = _seen_leaves(drawn.scopes, open_scopes)
    files = _seen_leaves(drawn.files, open_files)
    found: dict[tuple[int, int], Bundle] = {}
    for variable, line, times in drawn.edges:
        ends = (scopes[variable], files[line])
        bundle = found.setdefault(ends, Bundle(*ends))
        bundle.times += times
        bundle.shared |= "shared" in drawn.marks[variable]
    return sorted(found.values(), key=lambda bundle: bundle.shared)


def _seen_leaves(boxes: Sequence[Box], open_now: set[int]) -> dict[int, int]:
    """For each leaf the box that stands for it."""
    sight = in_sight(boxes, open_now)
    return {box.leaf: sight[one] for one, box in enumerate(boxes) if box.leaf >= 0}
