"""in_this_pass: a value stored until the pass ends; knows no variables."""

from collections.abc import Callable, Hashable
from typing import TypeVar

from ._default import current_pass

T = TypeVar("T")


def in_this_pass(key: Hashable, make: Callable[[], T]) -> T:
    """Return what ``make()`` returned for ``key`` in this pass; a new pass calls it again.

    For state that must start anew with every pass, such as counts and the scopes of layer objects:

    >>> import torchscope as ts
    >>> def count():
    ...     calls = ts.in_this_pass("calls", list)
    ...     calls.append("again")
    ...     return len(calls)
    >>> store = ts.VariableStore()
    >>> with store:
    ...     count(), count()
    (1, 2)
    >>> store(count)
    1

    A function bound by :func:`bind` finds what was there when it first ran, as templates do.

    Args:
        key: identifies the value: the object that needs it, or a string unique to its module.
        make: called without arguments at the first request in a pass.

    Raises:
        TypeError: ``make`` cannot be called.
    """
    kept = current_pass().templates
    if key in kept:
        return kept[key]
    if not callable(make):
        raise TypeError(f"in_this_pass takes a function that makes the value, not {make!r}: list.")
    return kept.setdefault(key, make())  # Threads may share a pass: all get the same.
