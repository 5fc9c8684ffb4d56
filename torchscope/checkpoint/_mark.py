"""The mark of a save that goes on, and what is cleared where one was killed; writes no variable.

A save makes the file ``.NAME.torchscope-saving`` first, locked while its process lives, and removes
it last. One that nobody holds is of a process that was killed. In it are the checkpoints that are
to be removed once the state file no longer notes them.
"""

import os
import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from torchscope._errors import CheckpointError

from . import _flock
from ._file import File, is_file
from ._paths import index_of
from ._proto import MalformedError, Message
from ._sstable import Table

TEMPORARY = ("data", "index", "index-of-2", "state")
_MARK = re.compile(r"\.(.+)\.torchscope-saving", re.DOTALL)


def beside(prefix: Path, kind: str) -> Path:
    """Where a file lies until it is put in its place."""
    return prefix.with_name(f".{prefix.name}.torchscope-{kind}")


def data_of(prefix: Path, shards: int = 1) -> Path:
    """The first data file of so many."""
    return prefix.with_name(f"{prefix.name}.data-00000-of-{shards:05}")


class Mark:
    """The mark of one checkpoint, held by this process until it is released.

    To be made `_flock.alone_in` the folder, where nobody takes a mark that is being made, and not
    held yet, for one that was left behind.

    Raises:
        CheckpointError: another process holds it.
    """

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self._path = beside(prefix, "saving")
        held = _flock.hold(self._path)
        if held is None:
            raise CheckpointError(
                None,
                f"{prefix} is being saved by another process. Save under another prefix, or from "
                "one process alone.",
            )
        self._file, self.found = held  # found: left by a process that was killed
        self._names = [os.fsdecode(name) for name in self._file.read().split(b"\0") if name]

    def note(self, names: list[str]) -> None:
        """Note which checkpoints are to be removed once the state file has changed."""
        self._names = names
        self._file.seek(0)
        self._file.truncate()
        self._file.write(b"\0".join(map(os.fsencode, names)))
        self._file.flush()
        os.fsync(self._file.fileno())

    def clear(self, noted: Collection[str] | None) -> None:
        """Remove what no index and no state file leads to.

        Args:
            noted: the checkpoints that the state file notes; None if that is not known.
        """
        for kind in TEMPORARY:
            beside(self.prefix, kind).unlink(missing_ok=True)
        remove_unread(self.prefix)
        for name in self._names:
            if noted is not None and name not in noted:
                remove(self.prefix.with_name(name))

    def release(self, *, keep: bool = False) -> None:
        """Let go of it, and remove it unless it shall tell the next save."""
        if not keep:
            self._path.unlink(missing_ok=True)
        _flock.release(self._file)
        self._file.close()


def left_behind(folder: Path, but: Path) -> list[Mark]:
    """The marks in a folder that nobody held, all but that of one checkpoint; now they are held.

    To be called `_flock.alone_in` the folder.
    """
    if not _flock.KNOWN:
        return []  # only a mark of the same checkpoint is known to be nobody's
    names = [match[1] for path in folder.iterdir() if (match := _MARK.fullmatch(path.name))]
    found: list[Mark] = []
    for name in names:
        if name != but.name:
            with suppress(CheckpointError):  # it is somebody's
                found.append(Mark(folder / name))
    return found


# ---- what is removed ---------------------------------------------------------------------------


def shards_of(prefix: Path) -> int | None:
    """How many data files the index leads to; 0 without an index, None if it cannot be read."""
    if not is_file(index_of(prefix)):
        return 0
    try:
        header = Table(File(index_of(prefix))).get(b"", verify=True)
        return None if header is None else Message(header[0]).number(1)
    except (CheckpointError, MalformedError):
        return None


def data_files(prefix: Path) -> dict[Path, int]:
    """The data files of a checkpoint that are there, and of how many each says to be."""
    name = re.compile(rf"{re.escape(prefix.name)}\.data-[0-9]{{5,}}-of-([0-9]{{5,}})")
    there = [(path, name.fullmatch(path.name)) for path in prefix.parent.iterdir()]
    return {path: int(match[1]) for path, match in there if match is not None}


def remove_unread(prefix: Path) -> None:
    """Remove the data files that the index does not lead to."""
    shards = shards_of(prefix)
    for path, count in data_files(prefix).items() if shards is not None else ():
        if count != shards:
            path.unlink(missing_ok=True)


def remove(prefix: Path) -> None:
    """Remove a checkpoint: what makes it one first."""
    for path in [index_of(prefix), *data_files(prefix), prefix.with_name(f"{prefix.name}.meta")]:
        path.unlink(missing_ok=True)
