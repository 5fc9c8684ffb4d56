"""The state file ``checkpoint`` of a directory: which checkpoints there are; reads no value.

It is a CheckpointState in protobuf's text format: the latest checkpoint, then all that are kept,
from the oldest to the newest, as paths from the directory or absolute ones.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

from torchscope._errors import CheckpointError

from ._file import File, is_file
from ._paths import exists, others

NAME = "checkpoint"

_MOST_BYTES = 16 << 20

_PATH = re.compile(
    rb"^[ \t]*(all_)?model_checkpoint_paths?[ \t]*:[ \t]*"
    # The longest path that a system takes has 4,096 bytes, four characters each if escaped.
    rb"""(["'])((?:(?!\2)[^\\\n]|\\.){0,16384})\2""",
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
    path = folder / (latest_filename or NAME)
    if not is_file(path):
        return None
    noted = read(path).latest
    if not noted:
        return None
    inside = is_inside(folder, Path(noted))
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


def is_inside(folder: Path, noted: Path) -> bool:
    """Whether a path, read as text, leads to something below the folder."""
    folder = folder.absolute()
    path = folder / noted
    return ".." not in noted.parts and path.is_relative_to(folder) and path != folder


# ---- the file ------------------------------------------------------------------------------------


class State(NamedTuple):
    """What the file notes."""

    latest: str
    all: list[str]


def is_state(head: bytes) -> bool:
    """Whether a file that begins so is a state file, whatever its name is."""
    return re.match(rb"\s*(all_)?model_checkpoint_paths?\s*:", head) is not None


def read(path: Path) -> State:
    """The paths in a state file.

    Raises:
        CheckpointError: it cannot be read, or notes no latest checkpoint.
    """
    file = File(path)
    if file.size > _MOST_BYTES:
        raise file.error(0, f"a state file of {file.size} bytes is too large.")
    found = _PATH.findall(file.read(0, file.size))
    file.close()
    paths = [(bool(several), os.fsdecode(_unescaped(text))) for several, _, text in found]
    latest = [path for several, path in paths if not several]
    if not latest:
        problem = 'not a state file: it has no line model_checkpoint_path: "...".'
        raise file.error(0, problem)
    return State(latest[-1], [path for several, path in paths if several])


def text(paths: Sequence[str]) -> bytes:
    """The file's content for these checkpoints, the last of which is the latest."""
    lines = [("model_checkpoint_path", paths[-1])]
    lines += [("all_model_checkpoint_paths", path) for path in paths]
    return b"".join(b'%b: "%b"\n' % (key.encode(), _escaped(path)) for key, path in lines)


def _unescaped(text: bytes) -> bytes:
    return _ESCAPE.sub(_byte, text)


def _byte(match: re.Match[bytes]) -> bytes:
    """A byte from its escape in C."""
    hexadecimal, octal, other = match.groups()
    if hexadecimal:
        return bytes([int(hexadecimal, 16)])
    if octal:
        return bytes([int(octal, 8) & 255])
    return bytes([_CONTROL.get(other[0], other[0])])


_ESCAPES = {"\t": "\\t", "\n": "\\n", "\r": "\\r", '"': '\\"', "'": "\\'", "\\": "\\\\"}


def _escaped(path: str) -> bytes:
    """A path as protobuf's text format has it; what is not Unicode as octal numbers."""
    parts: list[str] = []
    for letter in path:
        if " " <= letter != "\x7f" and not "\ud800" <= letter <= "\udfff":
            parts.append(_ESCAPES.get(letter, letter))
        else:
            parts += [_ESCAPES.get(letter) or f"\\{byte:03o}" for byte in os.fsencode(letter)]
    return "".join(parts).encode()
