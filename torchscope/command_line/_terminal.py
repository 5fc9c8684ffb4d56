"""Output for a terminal: safe text, and a progress bar; knows no checkpoint."""

import json
import sys
import time
from typing import Any

from torchscope._overview._text import counted, safe

__all__ = ["Progress", "complain", "counted", "one_line", "print_json", "safe", "some"]

_EVERY = 0.1  # seconds between two states of the bar; whatever is faster than one shows none
_BAR = 30  # characters


def one_line(text: object) -> str:
    """`safe`, and line breaks are spaces."""
    return safe(" ".join(str(text).split("\n")))


def complain(error: object) -> int:
    """Print what went wrong, in one line, and return the exit code of an error."""
    sys.stdout.flush()
    print(f"torchscope: {one_line(error)}", file=sys.stderr)
    return 2


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
