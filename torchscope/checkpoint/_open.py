"""Which files a path stands for, and the functions that TensorFlow's users know; reads no value.

A path may be the prefix of a V2 checkpoint, one of its files, a V1 file, or a directory whose text
file ``checkpoint`` names the latest one.
"""

import difflib
import os
import re
from pathlib import Path, PureWindowsPath
from typing import Any

from torch import Tensor

from torchscope._errors import CheckpointError

from . import _state_file
from ._bundle import Bundle, index_of
from ._file import is_file
from ._mapping import Checkpoint
from ._v1 import SingleFile

PathLike = str | os.PathLike[str]


def open(path: PathLike, *, verify: bool = True, mmap: bool = False) -> Checkpoint:
    """Open a TensorFlow checkpoint as a mapping from names to tensors.

    Only the index is read at once; a tensor is read when it is asked for::

        with checkpoint.open("logs/model.ckpt-7") as saved:
            for name in saved:
                print(name, saved.shape(name), saved.dtype(name))
            kernel = saved["dense/kernel"]

    Args:
        path: the prefix of a V2 checkpoint, one of its files, a V1 file, or a directory, in which
            the state file ``checkpoint`` names the latest one.
        verify: whether data is compared with its checksums; the index always is.
        mmap: whether tensors map the file instead of being copied from it. Writing to one changes
            no file. Do not change the files while such tensors exist: if one becomes
            shorter, the process crashes. Tensors that are not aligned in the file, partitioned or
            big-endian ones, strings and V1 files are copied all the same.

    Returns:
        A `Checkpoint`. Its tensors are on the CPU.

    Raises:
        CheckpointError: there is none, or its index is damaged. Later, on asking for a variable:
            its entry or its data is damaged, or torch does not have its dtype.
    """
    location = Path(os.fsdecode(path))
    prefix = prefix_of(location)
    if is_directory(location) and not is_file(index_of(prefix)):
        latest = latest_checkpoint(location)
        if latest is None:
            raise CheckpointError(None, explain_missing(location))
        location = prefix = Path(latest)
    try:
        if is_file(index_of(prefix)):
            return Checkpoint(prefix, Bundle(prefix, verify=verify, mmap=mmap))
        if is_file(location):
            return Checkpoint(location, SingleFile(location, verify=verify))
    except MemoryError as error:  # a damaged index can claim much, if not more than it has bytes
        raise CheckpointError(None, f"{location}: no memory to read its index.") from error
    raise CheckpointError(None, explain_missing(location))


def list_variables(path: PathLike) -> list[tuple[str, list[int]]]:
    """Return the names, sorted, and shapes of the variables in a checkpoint.

    Args:
        path: as for `open`.

    Returns:
        Pairs of name and shape, as ``tf.train.list_variables`` returns them.

    Raises:
        CheckpointError: as for `open`.
    """
    with open(path) as saved:
        return [(name, list(saved.shape(name))) for name in saved]


def load_variable(path: PathLike, name: str) -> Tensor | Any:
    """Return one variable of a checkpoint, as ``tf.train.load_variable`` does.

    Args:
        path: as for `open`.
        name: the variable's; ``":0"`` at its end is ignored, as in TensorFlow.

    Returns:
        A CPU tensor; for strings ``bytes`` or lists of them, see `Checkpoint`.

    Raises:
        CheckpointError: as for `open`; also when there is no such variable.
    """
    with open(path) as saved:
        return saved[name.removesuffix(":0")]


# ---- the latest one ------------------------------------------------------------------------------


def latest_checkpoint(
    directory: str | os.PathLike[str],
    latest_filename: str | None = None,
    *,
    outside: bool = False,
) -> str | None:
    """Return the path of the latest checkpoint in a directory, as its state file names it.

    The state file may come from a stranger or from another machine, so a path in it is looked up
    below the directory, then its last part in the directory itself, as after a move.

    Args:
        directory: where the state file is.
        latest_filename: its name, ``"checkpoint"`` by default.
        outside: whether a path in it may lead out of the directory.

    Returns:
        The prefix to give to `open`, or None if there is no state file or it names nothing.

    Raises:
        CheckpointError: the state file is damaged, or the checkpoint that it names does not exist.
            (TensorFlow returns None then, and a program that should resume begins anew.)
    """
    folder = Path(os.fsdecode(directory))
    path = folder / (latest_filename or _state_file.NAME)
    if not is_file(path):
        return None
    noted = _state_file.read(path).latest
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


# ---- paths, and what is there instead ------------------------------------------------------------

_ENDING = re.compile(r"\.(index|meta|data-\d{5,}-of-\d{5,})")


def prefix_of(path: Path) -> Path:
    """The prefix that a file of a V2 checkpoint belongs to; a prefix as it is."""
    return path.with_suffix("") if _ENDING.fullmatch(path.suffix) else path


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
    """What was looked for at ``path``, and what could be opened instead."""
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
