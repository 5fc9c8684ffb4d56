"""A source written as a TensorFlow checkpoint, as `_convert` writes other files; prints nothing."""

from collections.abc import Callable
from pathlib import Path

import torch

from torchscope._errors import CheckpointError

from . import _dtypes
from ._mark import data_files
from ._paths import exists, prefix_of
from ._publish import publishing
from ._rows import Row, dtype_name
from ._save import item_of, write_items
from ._sources import Source
from ._values import check_name


def check_place(prefix: Path, *, force: bool) -> None:
    """Raise unless a checkpoint may be written there."""
    if prefix_of(prefix) != prefix:
        problem = f"{prefix} would be one of a checkpoint's files: leave out {prefix.suffix!r}."
        raise CheckpointError(None, problem)
    if not force and (exists(prefix) or data_files(prefix)):
        raise CheckpointError(None, f"{prefix} exists already; --force replaces it.")


def check_row(new: str, row: Row) -> None:
    """Raise unless TensorFlow could have such a variable."""
    try:
        check_name(new)
    except CheckpointError as error:
        problem = f"{error} To write it under another name: --map REGEX=REPLACEMENT."
        raise CheckpointError(row.name, problem) from error
    if isinstance(row.dtype, torch.dtype) and row.dtype not in _dtypes.NUMBERS:
        raise CheckpointError(
            row.name,
            f"{row.name!r} is {dtype_name(row.dtype)}, a dtype that TensorFlow does not have: "
            "leave it out with --select.",
        )


def write(source: Source, rows: dict[str, Row], prefix: Path, done: Callable[[int], None]) -> None:
    """Write the checkpoint; the state file of its directory stays as it is."""
    items = [item_of(source, row.name, new) for new, row in sorted(rows.items())]
    with publishing(prefix, None, keep=None, overwrite=True) as publication:
        write_items(items, publication, done=done)
        publication.put()
