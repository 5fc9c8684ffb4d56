"""Files and directories that one process holds while it lives; knows no format and no name."""

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

fcntl: Any
try:
    import fcntl
except ImportError:
    fcntl = None

KNOWN = fcntl is not None  # whether it can be told if anybody holds a file: not on Windows


class Held(NamedTuple):
    """A file that this process alone holds until it is closed."""

    file: IO[bytes]
    found: bool  # whether it was there already


def hold(path: Path) -> Held | None:
    """Hold a file, which is made if it is not there; None if somebody else holds it."""
    while True:
        try:
            held = Held(path.open("x+b"), False)
        except FileExistsError:
            try:
                held = Held(path.open("r+b"), True)
            except FileNotFoundError:  # removed just now
                continue
        try:
            lock(held.file)
        except BlockingIOError:
            held.file.close()
            return None
        except OSError:
            pass  # there are file systems without locks
        with suppress(FileNotFoundError):  # whoever held it until now may have removed it
            if os.path.samestat(os.fstat(held.file.fileno()), path.stat()):
                return held
        held.file.close()


def lock(file: IO[bytes]) -> None:
    """Hold an open file until it is closed.

    Raises:
        OSError: somebody else holds it, or the file system has no locks.
    """
    if KNOWN:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def release(file: IO[bytes] | int) -> None:
    """Let go of a file or a directory, also where a process forked meanwhile has it open, too."""
    if KNOWN:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def alone_in(folder: Path) -> Generator[None]:
    """While nobody else who asks for it is in the folder; waits until then."""
    if not KNOWN:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        release(handle)
        os.close(handle)
