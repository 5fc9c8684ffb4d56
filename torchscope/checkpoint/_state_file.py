"""The text file ``checkpoint`` of a directory: which checkpoints there are; looks at no other file.

It is a CheckpointState in protobuf's text format: the latest checkpoint, then all that are kept,
from the oldest to the newest, as paths from the directory or absolute ones.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ._file import File

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


class State(NamedTuple):
    """What the file notes."""

    latest: str
    all: list[str]


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
        raise file.error(0, 'no state file: it has no line model_checkpoint_path: "...".')
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
