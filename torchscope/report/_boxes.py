"""Boxes in boxes: grown from paths, joined and grouped, opened as far as there is room.

Nothing here recurses: names come from users, and scopes may be of any depth.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil

MOST = 50  # boxes side by side; more are put into groups of neighbours


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


def boxes_of(
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
