"""Text for a terminal: what is safe to show, how wide it is, columns that fit; nothing of torch."""

import shutil
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

_GAP = "  "
_LEAST = 8  # characters of the first column, however narrow the terminal is


def safe(text: object) -> str:
    r"""Text without control sequences and characters that a terminal cannot show.

    Bytes that were not UTF-8 are shown as bytes, other unprintable characters by number.

    >>> print(safe("layer/w"), safe("a" + chr(27) + "[2J" + chr(10)), safe("b" + chr(0xDCFF)))
    layer/w a\x1b[2J\n b\xff
    """
    text = str(text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(one if one.isprintable() else _escaped(one) for one in text)


def _escaped(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":  # what Python makes of such a byte
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return ascii(letter)[1:-1]


def counted(number: int, what: str) -> str:
    """A number of things.

    >>> counted(1, "variable"), counted(1200, "byte")
    ('1 variable', '1,200 bytes')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def columns() -> int:
    """How many characters a line of this terminal holds."""
    return shutil.get_terminal_size((100, 24)).columns


def width_of(text: str) -> int:
    """How many columns of a terminal ``text`` takes: Chinese characters take two each."""
    if text.isascii():
        return len(text)
    return sum(map(_width_of_letter, text))


def _width_of_letter(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def cut(text: str, width: int) -> str:
    """``text`` in ``width`` columns, without its middle if it does not fit.

    >>> cut("encoder/layer/weights", 12)
    'encode..ghts'
    """
    if width_of(text) <= width:
        return text
    if width < 4:
        return _first(text, width)
    end = (width - 2) // 2 - (width > 9)  # Beginnings tell more.
    return f"{_first(text, width - 2 - end)}..{_first(text[::-1], end)[::-1]}"


def _first(text: str, width: int) -> str:
    taken = 0
    for at, letter in enumerate(text):
        taken += _width_of_letter(letter)
        if taken > width:
            return text[:at]
    return text


class Column(NamedTuple):
    """A column of a table."""

    title: str
    right: bool = False  # whether its cells stand at the right
    worth: int = 0  # where there is not room for all, the one worth least goes first


def table(columns: Sequence[Column], lines: Sequence[Sequence[str]], width: int) -> list[str]:
    """Cells in columns, no line longer than ``width``: the first column is cut, others left out."""
    lines = [[column.title for column in columns], *lines]
    widths = [max(width_of(line[at]) for line in lines) for at in range(len(columns))]
    kept = list(range(len(columns)))

    def others() -> int:
        return sum(widths[at] + len(_GAP) for at in kept[1:])

    while len(kept) > 1 and others() + min(widths[0], _wanted(width)) > width:
        kept.remove(min(kept[1:], key=lambda at: columns[at].worth))
    widths[0] = max(1, min(widths[0], width - others()))
    shown: list[str] = []
    for line in lines:
        cells = [_padded(line[at], widths[at], columns[at].right) for at in kept]
        shown.append(_GAP.join(cells).rstrip())
    return shown


def _wanted(width: int) -> int:
    """How much of a line the first column is to have before others are left out for it."""
    return max(_LEAST, min(32, width // 2))


def _padded(text: str, width: int, right: bool) -> str:
    text = cut(text, width)
    space = " " * (width - width_of(text))
    return space + text if right else text + space
