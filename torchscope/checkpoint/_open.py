"""A path opened as what it is, and the functions that TensorFlow's users know; reads no value."""

import os
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from torchscope._errors import CheckpointError

from ._bundle import Bundle
from ._file import File, is_file
from ._kinds import HEAD, explained, explained_directory
from ._mapping import Checkpoint, Reader
from ._objects import ByVariables
from ._optimizers import GRAPH
from ._paths import (
    PathLike,
    explain_missing,
    index_of,
    is_data,
    is_directory,
    names_in,
    old_shards,
    prefix_of,
    saved_model,
)
from ._safetensors import Safetensors, Shards, is_safetensors, weight_map
from ._sstable import ends_as_table
from ._state import is_state, latest_checkpoint
from ._torch_file import TorchFile, is_torch_file
from ._v1 import SliceFiles

Names = Literal["file", "variables"]


def open(
    path: PathLike, *, verify: bool = True, mmap: bool = False, names: Names = "file"
) -> Checkpoint:
    """Open a checkpoint as a mapping from names to tensors.

    Only the index is read at once; a tensor is read when it is asked for::

        with checkpoint.open("logs/model.ckpt-7") as saved:
            for name in saved:
                print(name, saved.shape(name), saved.dtype(name))
            kernel = saved["dense/kernel"]

    What a file is, its first bytes say, whatever it is called.

    Args:
        path: the prefix of a V2 checkpoint or one of its files; a V1 file, or one of its shards; a
            directory, in which the state file ``checkpoint`` says which one is the latest; that
            state file; a SavedModel; a safetensors file, or the index of several; or a file of
            ``torch.save``, in which a dict is a scope: ``model/fc.weight``.
        verify: whether data is compared with its checksums, which TensorFlow's formats have; the
            index always is.
        mmap: whether tensors map the file instead of being copied from it. Writing to one changes
            no file. Keep the files as they are while there are such tensors: if one becomes
            shorter, the process crashes. Copied all the same are tensors that are not aligned in
            the file, partitioned or big-endian ones, strings, and those of other files than V2's.
        names: ``"variables"`` gives an object checkpoint of TensorFlow 2 the names that its
            variables were made with, as the file has them: ``dense/kernel`` for
            ``layer-0/kernel/.ATTRIBUTES/VARIABLE_VALUE``. Variables of one name that differ keep
            those of the file.

    Returns:
        A `Checkpoint`. Its tensors are on the CPU.

    Raises:
        CheckpointError: there is none, it is something else, or its index is damaged. Later, on
            asking for a variable: its entry or its data is damaged, or torch lacks its dtype.
    """
    if names not in ("file", "variables"):
        raise TypeError(f"names is 'file' or 'variables', not {names!r}.")
    location = Path(os.fsdecode(path))
    try:
        place, reader = _find(location, verify=verify, mmap=mmap)
    except MemoryError as error:  # a damaged index can claim much, if not more than it has bytes
        raise CheckpointError(None, f"{location}: no memory to read its index.") from error
    if names == "variables" and GRAPH in reader.names:
        reader = ByVariables(reader)
    return Checkpoint(place, reader)


def list_variables(path: PathLike, *, names: Names = "file") -> list[tuple[str, list[int]]]:
    """Return the names, sorted, and shapes of the variables in a checkpoint.

    Args:
        path: as for `open`.
        names: as for `open`.

    Returns:
        Pairs of name and shape, as ``tf.train.list_variables`` returns them.

    Raises:
        CheckpointError: as for `open`.
    """
    with open(path, names=names) as saved:
        return [(name, list(saved.shape(name))) for name in saved]


def load_variable(path: PathLike, name: str, *, names: Names = "file") -> Tensor | Any:
    """Return one variable of a checkpoint, as ``tf.train.load_variable`` does.

    Args:
        path: as for `open`.
        name: the variable's; ``":0"`` at its end is ignored, as in TensorFlow.
        names: as for `open`.

    Returns:
        A CPU tensor; for strings ``bytes`` or lists of them, see `Checkpoint`.

    Raises:
        CheckpointError: as for `open`; also when there is no such variable.
    """
    with open(path, names=names) as saved:
        return saved[name.removesuffix(":0")]


# ---- what a path is ------------------------------------------------------------------------------


def _find(path: Path, *, verify: bool, mmap: bool) -> tuple[Path, Reader]:
    """What is to be called the checkpoint's path, and its reader."""
    index = index_of(path)
    if is_file(index):
        return prefix_of(path), Bundle(index, verify=verify, mmap=mmap)
    if is_directory(path):
        return _in_directory(path, verify=verify, mmap=mmap)
    shards = old_shards(path)
    if shards and all(map(_is_table, filter(is_file, shards))):
        name = shards[0].name[: -len("00000-of-00000")] + "?????-of-" + shards[0].name[-5:]
        return path.with_name(name), SliceFiles(shards, verify=verify)
    # The .meta beside a V1 file is not the checkpoint, nor is V2's data without its index.
    for one in (prefix_of(path), path):
        if is_file(one) and not is_data(one):
            return _by_content(one, verify=verify, mmap=mmap)
    raise CheckpointError(None, explain_missing(path))


def _in_directory(path: Path, *, verify: bool, mmap: bool) -> tuple[Path, Reader]:
    latest = latest_checkpoint(path)
    if latest is not None:
        return _find(Path(latest), verify=verify, mmap=mmap)
    index = saved_model(path)
    if index is not None:
        return prefix_of(index), Bundle(index, verify=verify, mmap=mmap)
    what = explained_directory(names_in(path))
    if what:
        raise CheckpointError(None, f"{path} is not a checkpoint: it is {what}")
    raise CheckpointError(None, explain_missing(path))


def _by_content(path: Path, *, verify: bool, mmap: bool) -> tuple[Path, Reader]:
    """A file by its first bytes."""
    file = File(path)
    head = file.head(HEAD)
    file.close()
    if _is_table(path):
        return path, SliceFiles([path], verify=verify)
    if is_torch_file(head):
        return path, TorchFile(path)
    if is_safetensors(head):
        return path, Safetensors(path)
    if is_state(head):
        latest = latest_checkpoint(path.parent, path.name)
        if latest is not None:
            return _find(Path(latest), verify=verify, mmap=mmap)
    files = weight_map(path, head)
    if files is not None:
        return path, Shards(path, files, lambda one: _by_content(one, verify=verify, mmap=mmap)[1])
    raise CheckpointError(None, f"{path} is not a checkpoint: it is {explained(head)}")


def _is_table(path: Path) -> bool:
    """Whether a file ends as TensorFlow's tables do: one of V1's format."""
    file = File(path)
    try:
        return ends_as_table(file)
    finally:
        file.close()
