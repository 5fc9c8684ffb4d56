"""in_this_pass: what code remembers for as long as a pass lasts; knows no variables."""

from collections.abc import Callable, Hashable
from typing import TypeVar

from ._default import current_pass

T = TypeVar("T")


def in_this_pass(key: Hashable, make: Callable[[], T]) -> T:
    """Return what ``make()`` gave for ``key`` in this pass; each pass begins without.

    For what has to start anew with every pass, as counts do and the scopes of layers that are kept:

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
        key: whatever is remembered under it; the object that remembers, or a name of its module.
        make: called without arguments at the first request.
    """
    kept = current_pass().templates
    if key not in kept:
        kept[key] = make()
    return kept[key]
