"""Names of slots and averages, and the variables they belong to; knows no optimizer.

TensorFlow names them in its graph, after the scope they are made in, and makes each name unique
there. Here the store that is entered is in the graph's place: optimizers and averages made while it
is entered share one count. Made outside of it, one begins without a number.
"""

from collections.abc import Iterable
from typing import Any, cast
from weakref import WeakKeyDictionary

from torch import Tensor, nn

import torchscope as ts
from torchscope.tf1 import _name_scopes

_taken: WeakKeyDictionary[ts.VariableStore, set[str]] = WeakKeyDictionary()


class Names:
    """Makes unique names in the scope that is current now."""

    def __init__(self, variables: Iterable[Tensor]) -> None:
        store = ts.entered_store() or _default_store_of(variables)
        self._taken: set[str] = set() if store is None else _taken.setdefault(store, set())
        scope = ts.get_variable_scope().name
        self._scope = f"{scope}/" if scope else ""
        prefix = _name_scopes.current()[1]
        if prefix.count("/") == 1 and any(name.startswith(prefix) for name in store or ()):
            # The graph's second name scope of that name: the model has opened the first.
            prefix = f"{prefix[:-1]}_1/"
        self._name_scope = prefix

    def beside(self, key: str, name: str) -> str:
        """The name of a slot of a variable: it follows the variable scope."""
        return self._unique(f"{self._scope}{in_tensorflow(key)}/{name}")

    def alone(self, name: str) -> str:
        """The name of a slot shared by all variables: it follows the name scope."""
        return self._unique(self._name_scope + name)

    def _unique(self, name: str) -> str:
        unique, number = name, 0
        while unique in self._taken:
            number += 1
            unique = f"{name}_{number}"
        self._taken.add(unique)
        return unique


def named(variables: Any, function: str) -> list[tuple[str, Tensor]]:
    """Variables with their keys in a state dict.

    Args:
        variables: a module; ``(key, variable)`` pairs, such as ``net.named_parameters()``; or
            variables of the store that is entered.
        function: named in errors.

    Raises:
        TypeError: it is something else, or a variable's name is not known.
    """
    if isinstance(variables, nn.Module):
        variables = variables.named_parameters()
    if isinstance(variables, (str, Tensor)) or not isinstance(variables, Iterable):
        raise TypeError(
            f"{function}() takes the variables first, and is called outside of the model's"
            f" function: {function}(net.named_parameters(), ...)."
        )
    return [_pair(item, function) for item in cast("Iterable[Any]", variables)]


def in_tensorflow(key: str) -> str:
    """A key's name in TensorFlow: a dot separates modules, ``%2E`` is a dot in a name."""
    return key.removeprefix("/").replace(".", "/").replace("%2E", ".")


def _pair(item: Any, function: str) -> tuple[str, Tensor]:
    if isinstance(item, tuple) and isinstance(item[-1], Tensor):
        return cast("tuple[str, Tensor]", item)
    if not isinstance(item, Tensor):
        raise TypeError(f"{function}(): {item!r} is not a variable, nor a pair (name, variable).")
    try:
        return ts.name_of(item).replace(".", "%2E"), item
    except ts.VariableMissingError as error:
        raise TypeError(
            f"{function}(): a variable without a name. Give pairs: net.named_parameters()."
        ) from error


def _default_store_of(variables: Iterable[Tensor]) -> ts.VariableStore | None:
    """The default store if it holds the variables: it is in the graph's place then."""
    store = ts.default_store()
    for variable in variables:
        try:
            store.name_of(variable)
        except ts.VariableMissingError:
            return None
    return store
