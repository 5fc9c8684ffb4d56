"""Output for a terminal: safe text, and a progress bar; knows no checkpoint."""

import json
import sys
import time
from typing import Any

_EVERY = 0.1  # seconds between two states of the bar; whatever is faster than one shows none
_BAR = 30  # characters


def safe(text: object) -> str:
    r"""Text without control sequences and characters that a terminal cannot show.

    Bytes that were not UTF-8 are shown as bytes, other unprintable characters by number.

    >>> print(safe("layer/w"), safe("a" + chr(27) + "[2J" + chr(10)), safe("b" + chr(0xDCFF)))
    layer/w a\x1b[2J\n b\xff
    """
    return "".join(one if one.isprintable() else _escaped(one) for one in str(text))


def _escaped(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":  # what Python makes of such a byte
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return ascii(letter)[1:-1]


def one_line(text: object) -> str:
    """`safe`, and line breaks are spaces."""
    return safe(" ".join(str(text).split("\n")))


def complain(error: object) -> int:
    """Print what went wrong, in one line, and return the exit code of an error."""
    sys.stdout.flush()
    print(f"torchscope: {one_line(error)}", file=sys.stderr)
    return 2


def counted(number: int, what: str) -> str:
    """A number of things.

    >>> counted(1, "variable"), counted(1200, "byte")
    ('1 variable', '1,200 bytes')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def some(names: list[str], most: int = 3) -> str:
    """The first of many names."""
    return ", ".join(map(safe, names[:most])) + (", ..." if len(names) > most else "")


def print_json(value: dict[str, Any]) -> None:
    """One line of ASCII; a byte that was not UTF-8 is the escape of a lone surrogate."""
    print(json.dumps(value))


class Progress:
    """A progress bar on the last line of a terminal; nothing if there is no terminal."""

    def __init__(self, verb: str, total: int) -> None:
        self._verb = verb
        self._total = max(1, total)
        self._done = 0
        self._shown = False
        self._next = time.monotonic() + _EVERY if sys.stderr.isatty() else float("inf")

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def add(self, count: int) -> None:
        """Count ``count`` more bytes as done."""
        self._done += count
        now = time.monotonic()
        if now < self._next:
            return
        self._next, self._shown = now + _EVERY, True
        part = min(1.0, self._done / self._total)
        bar = ("#" * round(part * _BAR)).ljust(_BAR, ".")
        sizes = f"{self._done / 1e6:,.0f} of {self._total / 1e6:,.0f} MB"
        line = f"\r{self._verb} [{bar}] {part:4.0%}  {sizes}\033[K"
        print(line, end="", file=sys.stderr, flush=True)
