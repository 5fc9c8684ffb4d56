"""The state file ``checkpoint``, which notes the latest of a directory's; reads no value."""

import os
import re
from pathlib import Path, PureWindowsPath

from torchscope._errors import CheckpointError

from ._file import File, is_file
from ._paths import exists, others

_MOST_BYTES = 16 << 20

_LATEST = re.compile(
    # The longest path that a system takes has 4,096 bytes, four characters each if escaped.
    rb"""^[ \t]*model_checkpoint_path[ \t]*:[ \t]*(["'])((?:(?!\1)[^\\\n]|\\.){0,16384})\1""",
    re.MULTILINE,
)
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{1,2})|([0-7]{1,3})|(.))")
_CONTROL = dict(zip(b"abfnrtv", b"\a\b\f\n\r\t\v", strict=True))


def latest_checkpoint(
    directory: str | os.PathLike[str],
    latest_filename: str | None = None,
    *,
    outside: bool = False,
) -> str | None:
    """Return the path of the latest checkpoint in a directory, as its state file notes it.

    The note is data, perhaps from a stranger or from another machine: a path is looked up below
    the directory, then its last part in the directory itself, as after a move.

    Args:
        directory: where the state file is.
        latest_filename: its name, ``"checkpoint"`` by default.
        outside: whether a noted path may lead out of the directory.

    Returns:
        The prefix to give to `open`, or None where there is no state file or it notes nothing.

    Raises:
        CheckpointError: the state file is damaged, or what it notes is not there. (TensorFlow
            returns None then, and a program that was to go on begins anew.)
    """
    folder = Path(os.fsdecode(directory))
    path = folder / (latest_filename or "checkpoint")
    if not is_file(path):
        return None
    noted = _read(path)
    if not noted:
        return None
    inside = _inside(folder, Path(noted))
    candidates = [folder / noted] if inside or outside else []
    last = PureWindowsPath(noted).name  # of both kinds of paths
    if last not in ("", ".."):
        candidates.append(folder / last)
    for candidate in candidates:
        if exists(candidate):
            return str(candidate)
    hint = "" if inside or outside else " Paths out of it are followed with outside=True."
    raise CheckpointError(
        None, f"{path} names {noted!r}, which is not in {folder}.{hint} {others(folder, last)}"
    )


def is_state(head: bytes) -> bool:
    """Whether a file that begins so is a state file, whatever its name is."""
    return re.match(rb"\s*(all_)?model_checkpoint_paths?\s*:", head) is not None


def _inside(folder: Path, noted: Path) -> bool:
    """Whether a path, read as text, leads to something below the folder."""
    folder = folder.absolute()
    path = folder / noted
    return ".." not in noted.parts and path.is_relative_to(folder) and path != folder


def _read(path: Path) -> str:
    """The field ``model_checkpoint_path``; the others are of use only to a writer."""
    file = File(path)
    if file.size > _MOST_BYTES:
        raise file.error(0, f"a state file of {file.size} bytes is too large.")
    found = _LATEST.findall(file.read(0, file.size))
    file.close()
    if not found:
        problem = 'not a state file: it has no line model_checkpoint_path: "...".'
        raise file.error(0, problem)
    return os.fsdecode(_ESCAPE.sub(_unescape, found[-1][1]))


def _unescape(match: re.Match[bytes]) -> bytes:
    """A byte from its escape in C."""
    hexadecimal, octal, other = match.groups()
    if hexadecimal:
        return bytes([int(hexadecimal, 16)])
    if octal:
        return bytes([int(octal, 8) & 255])
    return bytes([_CONTROL.get(other[0], other[0])])
