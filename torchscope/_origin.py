"""Where in the user's code something was first made, and warnings from there; nothing else."""

import functools
import sys
import warnings
from dataclasses import dataclass

from ._errors import ScopeWarning


@dataclass(frozen=True, slots=True)
class Origin:
    """A line of the user's code, and the function that it is in."""

    file: str = ""
    line: int = 0
    function: str = ""

    @classmethod
    def here(cls) -> "Origin":
        """The innermost line outside torchscope, torch and Python's ``copy``."""
        frame = sys._getframe(1)
        while frame is not None:
            if not is_inside(frame.f_globals.get("__name__")):
                code = frame.f_code
                return origin(code.co_filename, frame.f_lineno, code.co_name)
            frame = frame.f_back
        return cls()

    def __str__(self) -> str:
        return f"{readable(self.file)}:{self.line}" if self.file else "an unknown place"


def readable(file: str) -> str:
    """A notebook's cell as IPython names it, ``Cell In[3]``: its file does not exist."""
    ipython = sys.modules.get("IPython")
    shell = getattr(ipython, "get_ipython", lambda: None)()
    name_of = getattr(getattr(shell, "compile", None), "format_code_name", None)
    cell = name_of(file) if name_of is not None else None
    return " ".join(cell) if cell else file


@functools.cache
def is_inside(module: str | None) -> bool:
    """Whether a module of this name is torchscope's, torch's or Python's ``copy``."""
    return f"{module}.".startswith(("torchscope.", "torch.", "copy."))


@functools.lru_cache(4096)  # A loop makes many variables in one line: they share one object.
def origin(file: str, line: int, function: str) -> Origin:
    """The one object for this line."""
    return Origin(file, line, function)


def warn(origin: Origin, message: str) -> None:
    """Warn as if from the user's line."""
    warnings.warn_explicit(message, ScopeWarning, origin.file, origin.line)
