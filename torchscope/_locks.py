"""The lock under which a store makes variables, also across a fork; knows no variable.

It is held while an initializer runs, which may take long, or wait for another thread: so each store
has its own. It is re-entrant, since an initializer may ask for another variable. Reading takes no
lock: a finished variable is entered into the tables without a call in between (`_table._register`).
"""

import os
import threading
import weakref
from typing import Any


class Lock:
    """A re-entrant lock that copies and pickles as a new one, and is free in a forked child.

    Held by ``with lock.held:``. `with` gets Python's own lock: an interrupt can come before the
    first line of an `__exit__` written in Python, and the lock would never be released.
    """

    __slots__ = ("__weakref__", "held", "making")

    def __init__(self) -> None:
        self.held = threading.RLock()
        self.making: dict[str, bool] = {}  # the names being made under it; whether of a module
        _all.add(self)

    def __reduce__(self) -> Any:
        return Lock, ()


_all: "weakref.WeakSet[Lock]" = weakref.WeakSet()


def _free_in_child() -> None:
    """Only the forking thread exists in the child; a thread that held a lock does not."""
    for lock in list(_all):
        lock.held, lock.making = threading.RLock(), {}


if hasattr(os, "register_at_fork"):  # Windows has no forks.
    os.register_at_fork(after_in_child=_free_in_child)
