"""Which files a path stands for, and what there is where nothing is; reads none of them.

A path may be the prefix of a V2 checkpoint or one of its files; a V1 file, or what its shards were
saved as; or a directory.
"""

import difflib
import glob
import os
import re
from pathlib import Path

from ._file import is_file

PathLike = str | os.PathLike[str]

_ENDING = re.compile(r"\.(index|meta|data-\d{5,}-of-\d{5,})$")
_OLD_SHARD = re.compile(r"(.+)-(?:\?{5}|\d{5})-of-(\d{5})")

# What a directory holds that is a SavedModel, is its variables/, or has something else to give.
_IN_SAVED_MODELS = ("variables/variables.index", "variables.index")
TORCH_ENDINGS = (".pt", ".pth", ".bin")
OTHER_ENDINGS = (".safetensors", ".json", *TORCH_ENDINGS)
_OTHERS = ("*.index", "variables/*.index", "*.safetensors", "*.safetensors.index.json", "*.pt")


def prefix_of(path: Path) -> Path:
    """The prefix that a file of a V2 checkpoint belongs to; of a prefix, itself."""
    name = _ENDING.sub("", path.name)
    return path.with_name(name) if name else path


def index_of(path: Path) -> Path:
    """The file that makes a path a V2 checkpoint: the path is its prefix, or one of its files.

    A prefix may end in a slash: then the index is ``.index`` in that directory.
    """
    return path.parent / (_ENDING.sub("", path.name) + ".index")


def is_data(path: Path) -> bool:
    """Whether a path is called as the data of a V2 checkpoint."""
    return _ENDING.sub("", path.name) != path.name and ".data-" in path.suffix


def old_shards(path: Path) -> list[Path]:
    """All files of a V1 checkpoint that was saved in shards, some of which are there.

    The path is as V1's ``Saver.save`` returns it (``model.ckpt-10-?????-of-00002``), one of the
    shards, or what their names begin with.
    """
    match = _OLD_SHARD.fullmatch(path.name)
    if is_data(path):
        return []
    if match is not None:
        start, count = match[1], int(match[2])
    else:
        start = prefix_of(path).name
        pattern = f"{glob.escape(start)}-[0-9][0-9][0-9][0-9][0-9]-of-[0-9][0-9][0-9][0-9][0-9]"
        counts = {one.name[-5:] for one in _found(path.parent, pattern)}
        if not start or len(counts) != 1:
            return []
        count = int(counts.pop())
    paths = [path.with_name(f"{start}-{shard:05d}-of-{count:05d}") for shard in range(count)]
    return paths if any(map(is_file, paths)) else []


def saved_model(directory: Path) -> Path | None:
    """The index of the variables of a SavedModel, given its directory or the one of those."""
    indexes = [directory / name for name in _IN_SAVED_MODELS]
    return next((index for index in indexes if is_file(index)), None)


def exists(prefix: Path) -> bool:
    """Whether there is a checkpoint of that prefix, V2 or V1."""
    return is_file(index_of(prefix)) or is_file(prefix) or bool(old_shards(prefix))


def is_directory(path: Path) -> bool:
    """Whether there is a directory; also of paths that the system refuses."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def names_in(directory: Path) -> list[str]:
    """The names of the files there, sorted; none if it cannot be read."""
    return sorted(path.name for path in _found(directory, "*"))


def explain_missing(path: Path) -> str:
    """What was looked for at ``path``, and what there is to open instead."""
    if is_directory(path):
        problem = f"{path} is a directory without a file 'checkpoint' that names the latest one."
        return f"{problem} {others(path, '')}"
    prefix = prefix_of(path)
    if not is_directory(prefix.parent):
        looked = prefix.parent.absolute()  # It may not be where it was meant.
        return f"No checkpoint at {path}: there is no directory {looked}.{home_hint(path)}"
    if path.suffix in OTHER_ENDINGS:
        return f"There is no file {path}.{home_hint(path)} {others(prefix.parent, prefix.name)}"
    problem = f"No checkpoint at {path}: there is neither {index_of(path).name!r}, the index of "
    problem += f"the V2 format, nor a file {prefix.name!r}, which the V1 format would have."
    if is_file(prefix.parent / f"{prefix.name}.data-00000-of-00001"):
        return f"{problem} Its data is there, but cannot be read without the index."
    return f"{problem} {others(prefix.parent, prefix.name)}"


def home_hint(path: Path) -> str:
    """What to write where a shell would have put the home directory for ``~``."""
    if not str(path).startswith("~"):
        return ""
    return f" Python leaves '~' as it is: os.path.expanduser({str(path)!r})."


def others(directory: Path, name: str) -> str:
    """The checkpoints in a directory, those with a name like ``name`` first."""
    found = [one for pattern in _OTHERS for one in _found(directory, pattern)]
    there = [str(prefix_of(one).relative_to(directory)) for one in found]
    if not there:
        return f"No other checkpoint is in {directory.resolve()}."
    close = difflib.get_close_matches(name, there[:10_000], n=3)
    if close:
        return f"Did you mean {' or '.join(repr(str(directory / one)) for one in close)}?"
    shown = ", ".join(map(repr, there[:5])) + (", ..." if len(there) > 5 else "")
    return f"Checkpoints there: {shown}. Give the path of one, as in {str(directory / there[0])!r}."


def _found(directory: Path, pattern: str) -> list[Path]:
    try:
        return sorted(directory.glob(pattern))
    except (OSError, ValueError):
        return []
