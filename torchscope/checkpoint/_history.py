"""Which checkpoints a directory keeps, as its state file notes them; changes no file."""

import re
from collections.abc import Iterable
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

from . import _state
from ._file import is_file
from ._paths import exists
from ._state import is_inside


class Next(NamedTuple):
    """The history with one checkpoint more."""

    state: bytes  # what the state file will be
    dropped: list[str]  # checkpoints in the directory that it will no longer note


def following(
    folder: Path, name: str, stem: str | None, keep: int, unnoted: Iterable[str] = ()
) -> Next:
    """The history once ``name`` is the latest, as ``tf.train.Saver(max_to_keep=keep)`` has it.

    Only checkpoints of the same stem are counted, those with a number: what else the directory
    has, another model's or one that was downloaded, is not ours to remove.

    Args:
        folder: the directory.
        name: the new checkpoint.
        stem: its name without the number; None if it has no number.
        keep: how many there may be; 0 for any number, of which only the latest is noted.
        unnoted: checkpoints that are there, though the state file does not note them.
    """
    noted = [*there(folder), *unnoted]
    paths = [path for path in dict.fromkeys(noted) if path != name]
    numbered = re.compile(rf"{re.escape(stem or '')}-[0-9]+").fullmatch
    ours = [path for path in paths if stem is not None and numbered(path)]
    gone = ours[: max(0, len(ours) + 1 - keep)] if keep else ours
    kept = [path for path in paths if path not in gone]
    return Next(_state.text([*kept, name]), gone if keep else [])


def there(folder: Path) -> list[str]:
    """The checkpoints that the state file notes and that are in the directory, as paths from it.

    Raises:
        CheckpointError: it is not a state file.
    """
    path = folder / _state.NAME
    if not is_file(path) or not path.stat().st_size:
        return []
    state = _state.read(path)
    found = (_found(folder, noted) for noted in [*state.all, state.latest])
    return [one for one in dict.fromkeys(found) if one is not None]


def _found(folder: Path, noted: str) -> str | None:
    """A noted path as one from the directory, which may have been moved since."""
    if is_inside(folder, Path(noted)) and exists(folder / noted):
        return str((folder.absolute() / noted).relative_to(folder.absolute()))
    last = PureWindowsPath(noted).name
    return last if last not in ("", "..") and exists(folder / last) else None
