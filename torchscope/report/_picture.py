"""What a picture shows: scopes as boxes, source lines as boxes, and which asks for which.

It knows the dictionary of a sharing report, and neither HTML nor SVG nor graphs.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from ._words import short_paths, visible, visible_lines

MOST = 50  # boxes side by side; more are put into groups of neighbours
MARKS = ("shared", "unused", "near miss", "tied")  # what is said of variables


@dataclass
class Box:
    """A scope, a variable, a file, a function, a line, or a group of neighbours.

    Attributes:
        label: what is written on it, with nothing hidden.
        parent: the box around it, as its place in the list; -1 for none. It comes earlier there.
        weight: parameters of a scope or variable; fetches of a file, function or line.
        leaf: which variable or line this is; -1 for a box of boxes.
        leaves: how many variables or lines there are in it.
        marks: how many of these are shared, unused, and so on.
        children: the boxes in it.
    """

    label: str
    parent: int
    weight: int = 0
    leaf: int = -1
    leaves: int = 0
    marks: Counter[str] = field(default_factory=lambda: Counter[str]())
    children: list[int] = field(default_factory=lambda: list[int]())


@dataclass(frozen=True)
class Line:
    """A line of source that asks for variables."""

    file: str
    short: str  # the file without the folders that tell nothing
    line: int
    function: str
    code: str


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
        scopes=_boxes(
            [_path(one) for one in variables], [one["count"] for one in variables], marks, "/"
        ),
        files=_boxes(
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
        return visible_lines(value) if key == "code" else visible(value)
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
    joint = "/" if "/" in name else "."  # torch's, in a plain module
    return (*scope.split(joint), name[len(scope) :].lstrip("/.") or name)


def shape_of(variable: Mapping[str, Any]) -> str:
    """The shape as Python writes it; a lazy layer's parameter has none yet."""
    return "not made yet" if variable["shape"] is None else str(variable["shape"])


def mark_of(drawn: Picture, variable: int, mark: str) -> str:
    """A mark in words: how often, for what is asked for more than once."""
    times = drawn.times[variable]
    return f"shared ×{times}" if mark == "shared" and times > 1 else mark


def _lines_and_edges(
    variables: Iterable[Mapping[str, Any]],
) -> tuple[list[Line], list[tuple[int, int, int]]]:
    """The lines that ask for variables by file and number, and how often they ask for which."""
    asked: dict[tuple[str, int, str, str], Counter[int]] = {}
    for variable, one in enumerate(variables):
        for fetch in one["fetches"]:
            place = (fetch["file"], fetch["line"], fetch["function"], fetch["code"])
            asked.setdefault(place, Counter())[variable] += fetch["times"]
    places = sorted(asked)
    names = short_paths(list(dict.fromkeys(file for file, *_ in places)))
    lines = [Line(one[0], names[one[0]], *one[1:]) for one in places]
    edges = [
        (variable, line, times)
        for line, place in enumerate(places)
        for variable, times in asked[place].items()
    ]
    return lines, edges


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


# ---- boxes in boxes, without recursion: names come from users, and may be of any depth -----------


def _boxes(
    paths: Sequence[tuple[str, ...]],
    weights: Sequence[int],
    marks: Sequence[Sequence[str]],
    joint: str,
) -> list[Box]:
    """Boxes for all paths, each after the one around it and next to what it holds."""
    grown = _grown(paths)
    boxes: list[Box] = []
    todo: list[tuple[int | list[int], int]] = [
        (part, -1)
        for part in reversed(_parts([i for i, box in enumerate(grown) if box.parent < 0]))
    ]
    while todo:
        part, parent = todo.pop()
        box, inner = _group(grown, part) if isinstance(part, list) else _joined(grown, part, joint)
        box.parent = parent
        if parent >= 0:
            boxes[parent].children.append(len(boxes))
        todo.extend((one, len(boxes)) for one in reversed(_parts(inner)))
        boxes.append(box)
    _add_up(boxes, weights, marks)
    return boxes


def _grown(paths: Sequence[tuple[str, ...]]) -> list[Box]:
    """A box for each beginning of a path, and one for each path."""
    boxes: list[Box] = []
    known: dict[tuple[int, str], int] = {}
    for leaf, path in enumerate(paths):
        parent = -1
        for part in path[:-1]:
            key = (parent, part)
            if key not in known:
                known[key] = _add(boxes, Box(part, parent))
            parent = known[key]
        _add(boxes, Box(path[-1], parent, leaf=leaf))
    return boxes


def _add(boxes: list[Box], box: Box) -> int:
    if box.parent >= 0:
        boxes[box.parent].children.append(len(boxes))
    boxes.append(box)
    return len(boxes) - 1


def _joined(grown: Sequence[Box], one: int, joint: str) -> tuple[Box, list[int]]:
    """A box, and what is in it; boxes that only hold one other box become one with it."""
    label = grown[one].label
    while [grown[inner].leaf for inner in grown[one].children] == [-1]:
        (one,) = grown[one].children
        label += joint + grown[one].label
    return Box(label, -1, leaf=grown[one].leaf), grown[one].children


def _parts(boxes: list[int]) -> list[int] | list[list[int]]:
    """Boxes side by side; groups of neighbours, equally large, where they are too many."""
    if len(boxes) <= MOST:
        return boxes
    size = ceil(len(boxes) / min(MOST, ceil(len(boxes) / MOST)))
    return [boxes[start : start + size] for start in range(0, len(boxes), size)]


def _group(grown: Sequence[Box], boxes: list[int]) -> tuple[Box, list[int]]:
    return Box(f"{grown[boxes[0]].label} … {grown[boxes[-1]].label}", -1), boxes


def _add_up(boxes: Sequence[Box], weights: Sequence[int], marks: Sequence[Sequence[str]]) -> None:
    for box in reversed(boxes):  # each before the one around it
        if box.leaf >= 0:
            box.weight, box.leaves = weights[box.leaf], 1
            box.marks.update(marks[box.leaf])
        if box.parent >= 0:
            around = boxes[box.parent]
            around.weight += box.weight
            around.leaves += box.leaves
            around.marks.update(box.marks)


# ---- how much of it is seen ---------------------------------------------------------------------


def opened(boxes: Sequence[Box], most: int) -> set[int]:
    """The boxes to open so that about `most` are seen: whole levels, then those with marks."""
    level = [one for one, box in enumerate(boxes) if box.parent < 0]
    seen, open_now = len(level), set[int]()
    while level:
        inner = [child for one in level for child in boxes[one].children]
        if seen + len(inner) > most:
            break
        seen += len(inner)
        open_now.update(one for one in level if boxes[one].children)
        level = inner
    marked = {i for i, box in enumerate(boxes) if box.children and box.marks} - open_now
    if seen + sum(len(boxes[one].children) for one in marked) <= most:
        open_now |= marked
    return open_now


def in_sight(boxes: Sequence[Box], open_now: set[int]) -> list[int]:
    """For each box the one that stands for it: itself, or the folded one that it is in."""
    sight: list[int] = []
    for one, box in enumerate(boxes):
        folded = box.parent >= 0 and (sight[box.parent] != box.parent or box.parent not in open_now)
        sight.append(sight[box.parent] if folded else one)
    return sight


def walk(boxes: Sequence[Box], open_now: set[int]) -> Iterator[tuple[int, int, bool]]:
    """Go through what is seen, from top to bottom.

    Yields:
        which box, in how many others it is, and whether it begins here; an open box that holds
        others comes a second time, where it ends.
    """
    around: list[int] = []
    for one, stands_in in enumerate(in_sight(boxes, open_now)):
        if one != stands_in:
            continue
        while around and around[-1] != boxes[one].parent:
            yield around.pop(), len(around), False
        yield one, len(around), True
        if one in open_now and boxes[one].children:
            around.append(one)
    while around:
        yield around.pop(), len(around), False


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
