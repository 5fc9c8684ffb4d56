"""Text for pictures: code, lines of some width, short numbers and paths; knows no reports."""

import textwrap
from collections.abc import Sequence

from torchscope._overview._text import safe, width_of

_UNITS = ("", "k", "M", "G", "T")


def visible_lines(code: str) -> str:
    """As `safe`, for code of several lines: they stay lines, and tabs become four spaces."""
    if code.isascii() and code.isprintable():
        return code.strip()
    lines = code.replace("\r\n", "\n").expandtabs(4).split("\n")
    return textwrap.dedent("\n".join(map(safe, lines))).strip("\n")


def wrapped(text: str, width: int) -> list[str]:
    """A text in lines of so many columns at most, broken between words and names where it can be.

    >>> wrapped("generator/block_1/weights", 12)
    ['generator/', 'block_1/', 'weights']
    """
    return [one for line in text.split("\n") for one in _wrapped_line(line, width)]


def _wrapped_line(line: str, width: int) -> list[str]:
    lines: list[str] = []
    while width_of(line) > width:
        fits = next(end for end in range(len(line)) if width_of(line[: end + 1]) > width)
        breaks = (_after(line[:fits], marks) for marks in ("/,( ", "._"))
        cut = next(filter(None, breaks), max(1, fits))
        lines.append(line[:cut].rstrip(" "))
        line = line[cut:].lstrip(" ")
    return [*lines, line]


def _after(line: str, marks: str) -> int:
    """Where one of the marks ends for the last time; 0 if that leaves less than a third."""
    cut = 1 + max(line.rfind(mark) for mark in marks)
    return cut if cut > len(line) / 3 else 0


def short(number: int) -> str:
    """A number in few letters.

    >>> [short(number) for number in (0, 768, 2_304, 38_597_376, 999_999)]
    ['0', '768', '2.3k', '38.6M', '1.0M']
    """
    if number < 1000:
        return str(number)
    power = min((len(str(number)) - 1) // 3, len(_UNITS) - 1)
    value = f"{number / 1000**power:.1f}"
    return f"{value}{_UNITS[power]}" if value != "1000.0" else short(1000 ** (power + 1))


def marked(number: int, mark: str) -> str:
    """A number and the mark that so many have: '3 shared', '2 near misses'."""
    return f"{number:,} {'near misses' if mark == 'near miss' and number > 1 else mark}"


def short_paths(paths: Sequence[str]) -> dict[str, str]:
    """Each path by as many of its last parts as tell it from the others.

    >>> short_paths(["/home/me/net.py", "/home/me/gan/train.py", "/home/me/vae/train.py"])
    {'/home/me/net.py': 'net.py', '/home/me/gan/train.py': 'gan/train.py', \
'/home/me/vae/train.py': 'vae/train.py'}
    """
    parts = {path: path.split("/" if "/" in path else "\\") for path in paths}
    shown: dict[str, str] = {}
    for length in range(1, max(map(len, parts.values()), default=0) + 1):
        ends: dict[str, list[str]] = {}
        for path in parts.keys() - shown.keys():
            ends.setdefault("/".join(parts[path][-length:]), []).append(path)
        shown.update({same[0]: end for end, same in ends.items() if len(same) == 1})
    return {path: shown.get(path, path) for path in parts}
