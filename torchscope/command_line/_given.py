"""Which checkpoints are meant by the paths of a command line, where a shell may have put many.

``list model.ckpt*`` names the index, the data and the graph of one checkpoint: it is that one.
"""

import re
from pathlib import Path

from torchscope._errors import CheckpointError
from torchscope.checkpoint._file import is_file
from torchscope.checkpoint._paths import OTHER_ENDINGS, index_of, old_shards, prefix_of

from ._terminal import some

_SHARD = re.compile(r"(.+)-\d{5}-of-\d{5}(\.\w+)")


def one_checkpoint(paths: list[Path]) -> Path:
    """The one that all the paths belong to."""
    found = checkpoints(paths)
    if len(found) > 1:
        names = some([str(path) for path in found])
        problem = f"these are {len(found)} checkpoints, not one: {names}. Give one of them."
        raise CheckpointError(None, problem)
    return found[0]


def two_checkpoints(paths: list[Path]) -> tuple[Path, Path]:
    """The two that the paths belong to."""
    if len(paths) == 2:  # perhaps the same one twice
        return paths[0], paths[1]
    found = checkpoints(paths)
    if len(found) != 2:
        names = some([str(path) for path in found])
        raise CheckpointError(None, f"two checkpoints are compared, not {len(found)}: {names}.")
    return found[0], found[1]


def checkpoints(paths: list[Path]) -> list[Path]:
    """The checkpoints that paths belong to, in that order; a single path stands as it is."""
    if len(paths) == 1:
        return paths
    found = list(dict.fromkeys(map(_whole, paths)))
    # The state file, events and the like lie beside: they do not count where there is an index.
    sure = [path for path in found if is_file(index_of(path)) or path.suffix in OTHER_ENDINGS]
    return sure or found


def _whole(path: Path) -> Path:
    """What a file is a part of; or the path itself."""
    shard = _SHARD.fullmatch(path.name)
    if shard is not None:
        index = path.with_name(f"{shard[1]}{shard[2]}.index.json")
        return index if is_file(index) else path
    shards = old_shards(path)
    return shards[0] if shards else prefix_of(path)
