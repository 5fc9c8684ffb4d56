"""Where in the user's code something was first made, and warnings from there; nothing else."""

import functools
import sys
import warnings
from dataclasses import dataclass

from ._errors import ScopeWarning


@dataclass(frozen=True, slots=True)
class Origin:
    """A line of the user's code."""

    file: str = ""
    line: int = 0

    @classmethod
    def here(cls) -> "Origin":
        """The innermost line outside torchscope, torch and Python's ``copy``."""
        frame = sys._getframe(1)
        while frame is not None:
            if not _is_inside(frame.f_globals.get("__name__")):
                return _origin(frame.f_code.co_filename, frame.f_lineno)
            frame = frame.f_back
        return cls()

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.file else "an unknown place"


@functools.cache
def _is_inside(module: str | None) -> bool:
    return f"{module}.".startswith(("torchscope.", "torch.", "copy."))


@functools.lru_cache(4096)  # A loop makes many variables in one line: they share one object.
def _origin(file: str, line: int) -> Origin:
    return Origin(file, line)


def warn(origin: Origin, message: str) -> None:
    """Warn as if from the user's line."""
    warnings.warn_explicit(message, ScopeWarning, origin.file, origin.line)
