"""The functions that TensorFlow's users know, over the readers of both formats."""

import os
from pathlib import Path
from typing import Any

from torch import Tensor

from torchscope._errors import CheckpointError

from ._bundle import Bundle
from ._file import is_file
from ._mapping import Checkpoint
from ._paths import explain_missing, index_of, is_directory, prefix_of
from ._state import latest_checkpoint
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
            the state file ``checkpoint`` says which one is the latest.
        verify: whether data is compared with its checksums; the index always is.
        mmap: whether tensors map the file instead of being copied from it. Writing to one changes
            no file. Keep the files as they are while there are such tensors: if one becomes
            shorter, the process crashes. Copied all the same are tensors that are not aligned in
            the file, partitioned or big-endian ones, strings and V1 files.

    Returns:
        A `Checkpoint`. Its tensors are on the CPU.

    Raises:
        CheckpointError: there is none, or its index is damaged. Later, on asking for a variable:
            its entry or its data is damaged, or torch has not its dtype.
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
