"""Which files a path stands for, and what lies there instead; opens none of them."""

import difflib
import re
from pathlib import Path

from ._file import is_file

_ENDING = re.compile(r"\.(index|meta|data-\d{5,}-of-\d{5,})")


def prefix_of(path: Path) -> Path:
    """The prefix that a file of a V2 checkpoint belongs to; of a prefix, itself."""
    return path.with_suffix("") if _ENDING.fullmatch(path.suffix) else path


def index_of(prefix: Path) -> Path:
    """The file that makes a prefix a V2 checkpoint."""
    return prefix.parent / f"{prefix.name}.index"


def exists(prefix: Path) -> bool:
    """Whether there is a checkpoint of that prefix, V2 or V1."""
    return is_file(index_of(prefix)) or is_file(prefix)


def is_directory(path: Path) -> bool:
    """Whether there is a directory; also of paths that the system refuses."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def explain_missing(path: Path) -> str:
    """What was looked for at ``path``, and what there is to open instead."""
    if is_directory(path):
        problem = f"{path} is a directory without a file 'checkpoint' that names the latest one."
        return f"{problem} {others(path, '')}"
    prefix = prefix_of(path)
    if not is_directory(prefix.parent):
        return f"No checkpoint at {path}: there is no directory {prefix.parent}.{home_hint(path)}"
    problem = f"No checkpoint at {path}: there is neither {index_of(prefix).name!r}, the index of "
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
    there: list[str] = []
    try:
        for pattern in ("*.index", "variables/*.index"):  # the second is a SavedModel's
            found = sorted(directory.glob(pattern))
            there += [str(prefix_of(path).relative_to(directory)) for path in found]
    except (OSError, ValueError):
        pass
    if not there:
        return f"No other V2 checkpoint is in {directory}."
    close = difflib.get_close_matches(name, there[:10_000], n=3)
    if close:
        return f"Did you mean {' or '.join(repr(str(directory / one)) for one in close)}?"
    shown = ", ".join(map(repr, there[:5])) + (", ..." if len(there) > 5 else "")
    return f"Checkpoints there: {shown}. Give the path of one, as in {str(directory / there[0])!r}."
