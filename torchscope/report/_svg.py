"""The picture as SVG, for documents: no script, no fonts of its own, light and dark.

What does not fit is wrapped or folded, never cut off: text is monospaced and counted in columns,
with room to spare for fonts that are wider than usual.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from importlib.resources import files
from math import sqrt
from typing import Any

from torchscope._overview._text import counted, width_of

from ._boxes import Box, opened, walk
from ._picture import MARKS, Line, Picture, bundles, mark_of, picture, shape_of
from ._words import marked, short, wrapped

ROWS = 40  # boxes of a column, at most, if folding can do it

_WIDTH, _COLUMN, _EDGE = 940, 390, 20  # of all, of either side, around
_FONT, _LINE = 13, 18  # size of the letters, from line to line
_LETTER = 0.64 * _FONT  # how wide a column of text may be; usual fonts take 0.55 to 0.61
_STEP, _DEEPEST = 14, 8  # how far inner boxes are moved in, and how often at most
_GAP = 5  # from box to box
_WAYS = 4  # by which a line is reached, that are shown
_FOLDED = "▸"
_ROOM = 70  # by how much a box with all parameters would be higher


def svg(data: Mapping[str, Any]) -> str:
    """A sharing report, as ``to_dict()`` gives it, as an SVG picture."""
    drawn = picture(data)
    style = files("torchscope.report").joinpath("svg.css").read_text(encoding="utf-8")
    heading, top = _heading(drawn)
    scopes = _side(drawn.scopes, partial(_of_scope, drawn, _parameters(drawn)), _EDGE, top)
    lines = _side(drawn.files, partial(_of_file, drawn), _WIDTH - _EDGE - _COLUMN, top)
    height = round(max(scopes.bottom, lines.bottom) + _EDGE)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
            f'viewBox="0 0 {_WIDTH} {height}" role="img">',
            f"<title>Sharing in {escape(drawn.name)}</title>",
            f"<style>{style}</style>",
            f'<rect class="paper" width="{_WIDTH}" height="{height}" rx="8"/>',
            *heading,
            *scopes.shapes,
            *lines.shapes,
            *_edges(drawn, scopes, lines),
            "</svg>\n",
        ]
    )


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    words = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{words}>{escape(text)}</text>'


def _rect(x: float, y: float, width: float, height: float, kind: str, radius: float = 6) -> str:
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'rx="{radius}"/>'
    )


# ---- what is written --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Words:
    """What is written in a box: the label, before it and at its right end, and the line below."""

    label: str
    before: str = ""
    size: str = ""
    below: str = ""
    pills: Sequence[tuple[str, str]] = ()  # (mark, text)
    share: float = 0  # of all parameters
    ways: Sequence[str] = ()  # lines of code below all that


def _parameters(drawn: Picture) -> int:
    return sum(one["count"] for one in drawn.variables)


def _of_scope(drawn: Picture, total: int, box: Box) -> _Words:
    if box.leaf < 0:
        below = counted(box.leaves, "variable")
        pills = _counts(box)
    else:
        one = drawn.variables[box.leaf]
        below = shape_of(one) + _kind(one)
        pills = [(mark, mark_of(drawn, box.leaf, mark)) for mark in drawn.marks[box.leaf]]
    return _Words(box.label, "", short(box.weight), below, pills, box.weight / max(1, total))


def _kind(variable: Mapping[str, Any]) -> str:
    if variable["kind"] != "parameter":
        return f" {variable['kind']}"
    return "" if variable["trainable"] else " not trainable"


def _of_file(drawn: Picture, box: Box) -> _Words:
    if box.leaf < 0:
        return _Words(box.label, below=counted(box.leaves, "line"), pills=_counts(box))
    below = f"{counted(drawn.asked[box.leaf], 'variable')}, {counted(box.weight, 'time')}"
    number = str(drawn.lines[box.leaf].line)
    pills = [(mark, mark) for mark in box.marks]
    return _Words(box.label, number, below=below, pills=pills, ways=_ways(drawn.lines[box.leaf]))


def _ways(line: Line) -> list[str]:
    ways = [f"{way.seen_from(line)} {way.code}" for way in line.callers]
    more = [f"and {len(ways) - _WAYS} more"] if len(ways) > _WAYS else []
    return ["called from", *ways[:_WAYS], *more] if ways else []


def _counts(box: Box) -> list[tuple[str, str]]:
    return [(mark, marked(box.marks[mark], mark)) for mark in MARKS if box.marks[mark]]


def _heading(drawn: Picture) -> tuple[list[str], int]:
    """The title and the totals, and where the boxes begin."""
    parameters = sum(one["count"] for one in drawn.variables if one["kind"] == "parameter")
    shared = sum("shared" in marks for marks in drawn.marks)
    totals = f"{counted(len(drawn.variables), 'variable')}, {counted(parameters, 'parameter')}, "
    totals += f"{shared:,} shared"
    if drawn.recorded:
        totals += f"; asked for by {counted(len(drawn.lines), 'line')}"
    title = wrapped(f"Sharing in {drawn.name}", int((_WIDTH - 2 * _EDGE) / (0.65 * 15)))
    y = _EDGE + 12
    shapes: list[str] = []
    for line in title:
        shapes.append(_text(_EDGE, y, line, "title"))
        y += _LINE + 2
    return [*shapes, _text(_EDGE, y, totals, "quiet")], y + _LINE


# ---- boxes ------------------------------------------------------------------------------------


@dataclass
class _Side:
    """One column: what is open, what is drawn, and where each box's head has its ends."""

    open_now: set[int]
    shapes: list[str]
    ends: dict[int, tuple[float, float, float]]  # left, right, y
    bottom: float


def _side(boxes: Sequence[Box], words: Callable[[Box], _Words], left: float, top: float) -> _Side:
    """Put the boxes of a column one below the other, each around what is in it."""
    side = _Side(opened(boxes, ROWS), [], {}, top)
    begun: dict[int, tuple[int, float]] = {}  # the open boxes: which shape, and from where
    for one, depth, begins in walk(boxes, side.open_now):
        depth = min(depth, _DEEPEST)
        x, width = left + depth * _STEP, _COLUMN - depth * (_STEP + _GAP)
        if not begins:
            shape, begin = begun.pop(one)
            side.shapes[shape] = _rect(x, begin, width, side.bottom - begin, "box open")
            side.bottom += _GAP
        elif one in side.open_now:
            begun[one] = (len(side.shapes), side.bottom)
            side.shapes.append("")  # as high as what is in it, which comes now
            _head(side, one, words(boxes[one]), x, width, "open", False)
        else:
            box = boxes[one]
            _head(side, one, words(box), x, width, _look(box), bool(box.children))
    return side


def _look(box: Box) -> str:
    return " ".join(mark for mark in ("shared", "unused") if box.marks[mark])


def _head(
    side: _Side, one: int, words: _Words, x: float, width: float, look: str, folded: bool
) -> None:
    """Draw what is written in a box, and the box too if it is not open."""
    text, height = _written(words, width, folded)
    top, natural = side.bottom, height
    if look != "open":
        height = max(natural + (6 if words.share else 0), 34 + _ROOM * sqrt(words.share))
        side.shapes.append(_rect(x, top, width, height, f"box {look}"))
        if "shared" in look:
            side.shapes.append(_rect(x + 3, top + 3, width - 6, height - 6, "ring", 4))
        if (bar := (width - 14) * words.share) >= 2:
            kind = "bar shared" if "shared" in look else "bar"
            side.shapes.append(_rect(x + 7, top + height - 8, bar, 3, kind, 1))
    lift = top + (height - natural) / 2
    side.shapes.append(f'<g transform="translate({x:.1f} {lift:.1f})">')
    side.shapes.extend(text)
    side.shapes.append("</g>")
    side.ends[one] = (x, x + width, top + height / 2)
    side.bottom += height + _GAP


def _written(words: _Words, width: float, folded: bool) -> tuple[list[str], float]:
    """The text of a box whose corner is at (0, 0), and how high it is."""
    before = _FOLDED if folded else words.before
    indent = 11 + (width_of(before) + 1) * _LETTER if before else 11
    room = width - indent - 11 - (width_of(words.size) + 1) * _LETTER
    y = 20
    shapes = [_text(width - 11, y, words.size, "quiet", "end")] if words.size else []
    shapes += [_text(11, y, before, "quiet")] if before else []
    lines = wrapped(words.label, max(4, int(room / _LETTER)))
    for line in lines:
        shapes.append(_text(indent, y, line, "" if words.before else "strong"))
        y += _LINE
    more = [("", words.below), *words.pills]
    taken = [width_of(text) * _LETTER + (16 if mark else 0) for mark, text in more]
    x = indent + (width_of(lines[0]) + 1) * _LETTER
    if len(lines) == 1 and not words.before and x + sum(taken) + 8 * len(taken) <= indent + room:
        y -= _LINE  # all of it fits behind the label
    else:
        x = indent
    for (mark, text), wide in zip(more, taken, strict=True):
        if x > indent and x + wide > width - 8:
            x, y = indent, y + _LINE + 3
        shapes.extend(_pill(x, y, wide, mark, text) if mark else [_text(x, y, text, "quiet")])
        x += wide + 8
    for way in words.ways:
        for line in wrapped(way, int((width - indent - 11) / _LETTER)):
            y += _LINE
            shapes.append(_text(indent, y, line, "quiet"))
    return shapes, y + 13


def _pill(x: float, y: float, width: float, mark: str, text: str) -> list[str]:
    kind = mark.replace(" ", "-")
    return [
        _rect(x, y - 13, width, _LINE - 1, f"pill {kind}", 8),
        _text(x + width / 2, y, text, f"on-{kind}", "middle"),
    ]


# ---- edges ------------------------------------------------------------------------------------


def _edges(drawn: Picture, scopes: _Side, lines: _Side) -> list[str]:
    """Curves between what is seen on both sides."""
    shapes: list[str] = []
    for bundle in bundles(drawn, scopes.open_now, lines.open_now):
        (_, x1, y1), (x2, _, y2) = scopes.ends[bundle.scope], lines.ends[bundle.file]
        left, right, half = _EDGE + _COLUMN, _WIDTH - _EDGE - _COLUMN, _WIDTH / 2
        bend = f"C{half:.1f} {y1:.1f} {half:.1f} {y2:.1f} {right} {y2:.1f}"
        curve = f"M{x1:.1f} {y1:.1f}H{left}{bend}H{x2:.1f}"  # straight where text is
        shapes.append(f'<path class="edge{" shared" if bundle.shared else ""}" d="{curve}"/>')
    return shapes
