"""What a sharing report is made of: places, variables, near misses; decides nothing."""

import linecache
import os
from dataclasses import dataclass

from torchscope._origin import readable
from torchscope._overview._text import safe


@dataclass(frozen=True)
class Place:
    """A line of the user's code."""

    file: str
    line: int
    function: str
    code: str  # the line itself, without spaces around it; "" if it cannot be read

    @classmethod
    def at(cls, file: str, line: int, function: str) -> "Place":
        """The place with its line of code."""
        return cls(readable(file), line, function, linecache.getline(file, line).strip())

    def __str__(self) -> str:
        return f"{self.where} in {safe(self.function)}" if self.function else self.where

    @property
    def where(self) -> str:
        """File and line, the file as short as it can be found from here."""
        try:
            short = os.path.relpath(self.file)
        except ValueError:  # On another drive.
            short = self.file
        if short.startswith(".."):
            short = self.file
        return f"{safe(short)}:{self.line}"


@dataclass(frozen=True)
class Fetch(Place):
    """A place where a variable was asked for."""

    scope: str  # the full name of the scope that was open; "" at the root
    times: int
    callers: tuple[Place, ...] = ()  # where the ways to this line part, if there are several

    def __str__(self) -> str:
        often = "once" if self.times == 1 else f"{self.times:,} times"
        return f"{often} at {super().__str__()}"


@dataclass(frozen=True)
class Variable:
    """A variable, and who asked for it."""

    name: str
    scope: str
    kind: str  # "parameter" or "buffer"
    shape: list[int] | None  # None: a lazy layer has not made it yet
    dtype: str
    device: str
    trainable: bool
    count: int  # of its numbers
    bytes: int
    made: Place | None  # None for one of a plain module
    fetches: tuple[Fetch, ...]

    @property
    def last(self) -> str:
        """The name within its scope."""
        return self.name[len(self.scope) :].lstrip("/.")


@dataclass(frozen=True)
class NearMiss:
    """Variables that may have been meant as one."""

    variables: tuple[str, ...]
    place: Place  # that made them all
    why: str
