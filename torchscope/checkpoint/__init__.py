"""TensorFlow's checkpoints without TensorFlow: read, loaded into a store, and written by name.

`load` loads a checkpoint into a store, `save` writes one. `open` returns a mapping from names to
tensors; `list_variables`, `load_variable` and `latest_checkpoint` are TensorFlow's. Both formats
are read: V2 (an index with shards of data, TensorFlow 2's object checkpoints among them), which is
the one that is written, and V1 (one file, before TensorFlow 0.12).
"""

from ._load import load
from ._mapping import Checkpoint
from ._open import list_variables, load_variable, open
from ._plan import CheckpointMismatchError
from ._report import Mismatch, Report
from ._save import save
from ._state import latest_checkpoint

__all__ = [
    "Checkpoint",
    "CheckpointMismatchError",
    "Mismatch",
    "Report",
    "latest_checkpoint",
    "list_variables",
    "load",
    "load_variable",
    "open",
    "save",
]
