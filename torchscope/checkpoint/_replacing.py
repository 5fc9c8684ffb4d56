"""A file written beside its place and put there whole; knows no format."""

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from torchscope._errors import CheckpointError

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows: what a killed process has left stays
    fcntl = None

_PATTERN = ".torchscope-*.tmp"


@contextmanager
def replacing(target: Path) -> Generator[Any]:
    """A new file that becomes ``target`` if all goes well, and disappears if not.

    What a process that was killed has left in that directory disappears, too.
    """
    temporary = target.with_name(_PATTERN.replace("*", secrets.token_hex(6)))
    try:
        _clear(target.parent)
        with temporary.open("xb", buffering=0) as file:
            _lock(file)
            yield file
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        problem = f"{target} cannot be written: {error.strerror or error}."
        raise CheckpointError(None, problem) from error
    finally:
        temporary.unlink(missing_ok=True)


def _clear(directory: Path) -> None:
    """Remove temporary files that no process writes to any more."""
    for path in directory.glob(_PATTERN) if fcntl is not None else ():
        with suppress(OSError), path.open("rb") as file:  # it is somebody's, or gone
            _lock(file)
            path.unlink()


def _lock(file: Any) -> None:
    """Hold a file until it is closed; raises OSError if another process does."""
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
