"""A dict that one thread may add to while another reads it; knows nothing about its contents."""

from typing import Any


class Growing(dict[str, Any]):
    """A dict whose views are snapshots.

    torch loops over a module's dicts in Python, which raises if one grows meanwhile. Copying a dict
    is atomic for other threads.
    """

    def items(self) -> Any:
        return self.copy().items()

    def keys(self) -> Any:
        return self.copy().keys()

    def values(self) -> Any:
        return self.copy().values()
