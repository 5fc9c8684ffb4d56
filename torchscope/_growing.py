"""A table that one thread may add to while another reads it; knows nothing of what it holds."""

from typing import Any


class Growing(dict[str, Any]):
    """A dict whose views are of what it held when they were asked for.

    torch walks through a module's tables in Python, and Python refuses to go on if one has grown in
    between. Copying a dict is one step for other threads.
    """

    def items(self) -> Any:
        return self.copy().items()

    def keys(self) -> Any:
        return self.copy().keys()

    def values(self) -> Any:
        return self.copy().values()
