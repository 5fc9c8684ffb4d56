"""A file written beside its place and put there whole; knows no format."""

import os
import secrets
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from torchscope._errors import CheckpointError

from . import _flock

_PATTERN = ".torchscope-*.tmp"


@contextmanager
def replacing(target: Path) -> Generator[Any]:
    """A new file that becomes ``target`` if all goes well, and disappears if not.

    What a process that was killed has left in that directory disappears, too.
    """
    temporary = target.with_name(_PATTERN.replace("*", secrets.token_hex(6)))
    try:
        with ExitStack() as stack:
            with _flock.alone_in(target.parent):  # nobody clears what is not held yet
                _clear(target.parent)
                file = stack.enter_context(temporary.open("xb", buffering=0))
                with suppress(OSError):  # there are file systems without locks
                    _flock.lock(file)
            yield file
            os.fsync(file.fileno())
            if not _flock.KNOWN:
                file.close()  # Windows renames no open file
            temporary.replace(target)  # still held: nobody clears it
    except OSError as error:
        problem = f"{target} cannot be written: {error.strerror or error}."
        raise CheckpointError(None, problem) from error
    finally:
        temporary.unlink(missing_ok=True)


def _clear(directory: Path) -> None:
    """Remove temporary files that no process writes to any more."""
    for path in directory.glob(_PATTERN) if _flock.KNOWN else ():
        with suppress(OSError), path.open("rb") as file:  # it is somebody's, or gone
            _flock.lock(file)
            path.unlink()
