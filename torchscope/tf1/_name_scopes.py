"""Name scopes: the prefix of the name of a tf.Variable; knows no variable.

TensorFlow names every operation of a graph uniquely, after the name scopes around it: opened twice,
``layer`` is ``layer/`` and then ``layer_1/``.  A variable scope also opens a name scope of its
name, and ``get_variable`` uses the variable scope alone.  Name scopes matter here because
``tf.Variable`` and some of an optimizer's variables are named like operations, and a checkpoint has
these names.  A pass counts them as a graph did.
"""

import re
import threading
from types import TracebackType
from typing import Any, TypeAlias

import torchscope as ts

_KEY = "torchscope.tf1: names of operations"
_VALID = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.\\/>-]*$")


class Names:
    """The names of operations and name scopes that a pass has used."""

    def __init__(self) -> None:
        self.used: dict[str, int] = {}  # in lower case, with the number to try next

    def unique(self, name: str) -> str:
        """``name``, or the first of ``name_1``, ``name_2``, ... not used yet; marks it as used."""
        key = name.lower()
        number = self.used.get(key, 0)
        self.used[key] = number + 1
        if number:
            while f"{key}_{number}" in self.used:
                number += 1
            self.used[key] = number + 1
            self.used[f"{key}_{number}"] = 1
            name = f"{name}_{number}"
        return name


# An open name scope: the variable scope that is current in it, its prefix, the names of the pass,
# and the prefix that the variable scope had when it was first opened.
Open: TypeAlias = tuple[ts.VariableScope, str, Names, str]


class _Here(threading.local):
    """This thread's open name scopes; made in `__init__`, the form that Dynamo can trace."""

    def __init__(self) -> None:
        self.open: list[Open] = []


_here = _Here()


def _none() -> list[tuple[ts.VariableScope, str]]:
    return []


def current() -> Open:
    """The innermost name scope."""
    scope = ts.get_variable_scope()
    opened = _here.open
    if opened and opened[-1][0] is scope:
        return opened[-1]
    # At the root of a pass, or in what torchscope's own name_scope or variable_scope has opened.
    own = ts.in_this_pass("name_scope", _none)
    prefix = own[-1][1] if own and own[-1][0] is scope else f"{scope.name}/" if scope.name else ""
    return scope, prefix, ts.in_this_pass(_KEY, Names), prefix


def unique(name: str) -> str:
    """The full name of an operation called ``name`` in the current name scope."""
    _, prefix, names, _ = current()
    return names.unique(prefix + name)


def original_name_scope(scope: ts.VariableScope) -> str:
    """``scope.original_name_scope`` in TensorFlow: the name scope that was opened with it.

    Torch: nothing.  For a scope that is no longer open it is the scope's name and a slash.

    >>> import torchscope as ts, torchscope.tf1 as tf
    >>> with ts.VariableStore(), tf.variable_scope("a") as scope:
    ...     with tf.name_scope("b"), tf.variable_scope(scope, auxiliary_name_scope=False) as again:
    ...         original_name_scope(again)
    'a/'
    """
    for opened, _, _, first in reversed(_here.open):
        if opened is scope:
            return first
    return f"{scope.name}/" if scope.name else ""


class name_scope:  # noqa: N801  # TensorFlow's name
    """A prefix for the names of each ``tf.Variable`` made inside; other variables ignore it.

    Torch: nothing; operations have no names.  ``get_variable`` ignores it in TensorFlow, too.

    >>> import torchscope as ts, torchscope.tf1 as tf
    >>> with ts.VariableStore() as store:
    ...     with tf.name_scope("layer"):
    ...         _ = tf.Variable(1.0, name="w"), tf.get_variable("v", [2])
    ...     with tf.name_scope("layer"):
    ...         _ = tf.Variable(1.0, name="w")
    >>> list(store)
    ['layer/w', 'v', 'layer_1/w']

    Args:
        name: continues the current one; with a ``/`` at its end it is used as it is; None or
            ``""`` is the root.
        default_name: used if ``name`` is None.
        values: accepted, as TensorFlow's.

    Raises:
        ValueError: a name that TensorFlow does not accept.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str | None, default_name: str | None = None, values: Any = None):
        self._name = default_name if name is None else name
        if self._name and not _VALID.match(self._name):
            raise ValueError(f"name_scope(): {self._name!r} has to be of letters, digits and ._-/.")

    def __enter__(self) -> str:
        """Open it; returns the full name and a slash, ``""`` for the root."""
        scope, prefix, names, first = current()
        if not self._name:
            prefix = ""
        elif self._name.endswith("/"):
            prefix = self._name
        else:
            prefix = names.unique(prefix + self._name) + "/"
        _here.open.append((scope, prefix, names, first))
        return prefix

    def __exit__(self, *_: object) -> None:
        _here.open.pop()


class variable_scope:  # noqa: N801  # TensorFlow's name
    """Open a scope: names inside it begin with its own and a slash.

    Torch: ``ts.variable_scope``, with a name scope for ``tf.Variable``.

    >>> import torchscope as ts, torchscope.tf1 as tf
    >>> with ts.VariableStore() as store, tf.variable_scope("a"):
    ...     _ = tf.get_variable("w", [2]), tf.Variable(1.0)
    >>> list(store)
    ['a/w', 'a/Variable']

    Args:
        name_or_scope: a name, which may hold ``/``, or a scope to enter again.
        default_name: where ``name_or_scope`` is None: this, made unique by a number.
        *others: those of ``ts.variable_scope``, in its order, which is TensorFlow's.
        auxiliary_name_scope: False to leave the name scope as it is.
        **named: likewise.
    """

    __slots__ = ("_again", "_name", "_opening")

    def __init__(
        self,
        name_or_scope: str | ts.VariableScope | None,
        default_name: str | None = None,
        *others: Any,
        auxiliary_name_scope: bool = True,
        **named: Any,
    ) -> None:
        self._opening = ts.variable_scope(name_or_scope, default_name, *others, **named)
        name = default_name if name_or_scope is None else name_or_scope
        self._again: ts.VariableScope | None = None
        if isinstance(name, ts.VariableScope):
            self._again = name
            name = name.name.rpartition("/")[2]
        self._name = name if auxiliary_name_scope else None

    def __enter__(self) -> ts.VariableScope:
        _, prefix, names, _ = current()
        first = original_name_scope(self._again) if self._again else ""
        scope = self._opening.__enter__()
        if self._name:
            prefix = names.unique(prefix + self._name) + "/"
        _here.open.append((scope, prefix, names, first if self._again else prefix))
        return scope

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _here.open.pop()
        self._opening.__exit__(kind, error, trace)
