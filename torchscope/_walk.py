"""From a store down: the stores and modules in it, and every variable by its full name.

In: a store. Out: lists, each a snapshot (another thread may be making variables), with
names joined by slashes: `model/h0` + `attn/w` is `model/h0/attn/w`. Changes nothing.
"""

from collections.abc import Callable, ItemsView, Iterator, Mapping
from typing import NamedTuple, TypeAlias, TypeVar
from weakref import WeakKeyDictionary, ref

import torch
from torch import nn
from torch.compiler import is_dynamo_compiling
from torch.nn.utils.parametrize import is_parametrized

from . import _names
from ._origin import Origin
from ._table import VariableTable

T = TypeVar("T")


class Found(NamedTuple):
    """A variable, as a walk finds it."""

    full_name: str  # from the store where the walk began
    tensor: torch.Tensor
    table: VariableTable  # the store that holds it, or that holds its module
    name: str  # its name there; "" for a tensor of another module


def walk(module: nn.Module, prefix: str = "") -> Iterator[tuple[nn.Module, str]]:
    """Each module from here down, with what the names in it begin with."""
    yield module, prefix
    for key, child in items(module._modules):
        if child is None:
            continue
        below = f"{prefix}{_names.unescape(key)}/"
        # The tensors that parametrize computes a variable from are named after the variable.
        computed = isinstance(module, VariableTable) and is_parametrized(module)
        computed = computed and key == "parametrizations"
        yield from walk(child, prefix if computed else below)


def tables(module: nn.Module) -> list[VariableTable]:
    """The stores from here down, each once."""
    found = {id(m): m for m, _ in walk(module) if isinstance(m, VariableTable)}
    return list(found.values())


def variables(table: VariableTable) -> Iterator[Found]:
    """Each variable once.

    Parameters and buffers of other modules in it have a name, too, or an optimizer made from a
    list would leave them untrained.
    """
    seen: set[int] = set()
    for found in names(table):
        if id(found.tensor) not in seen:
            seen.add(id(found.tensor))
            yield found


def names(table: VariableTable) -> Iterator[Found]:
    """Each name of a variable; one that a module registers twice has two."""
    for module, prefix in walk(table):
        for found in own(module, table):
            yield found._replace(full_name=prefix + found.full_name) if prefix else found


def own(module: nn.Module, around: VariableTable) -> Iterator[Found]:
    """What ``module`` itself holds, by its names in ``module``."""
    tensors = {**module._parameters, **module._buffers}
    table = module if isinstance(module, VariableTable) else around
    declared = items(table._declared) if table is module else ()
    for name, declaration in declared:
        tensor = tensors.pop(declaration.key, None)
        if tensor is None:
            tensor = module.__dict__.get(declaration.key)
        # What parametrize or prune computes from others is not a leaf, or not an attribute.
        if isinstance(tensor, nn.Parameter) or (tensor is not None and tensor.is_leaf):
            yield Found(name, tensor, table, name)
    for key, tensor in tensors.items():
        if tensor is not None and key not in module._non_persistent_buffers_set:
            full_name = _names.unescape(key) if table is module else key
            yield Found(full_name, tensor, table, "")


def items(table: Mapping[str, T]) -> ItemsView[str, T]:
    """A snapshot of a module's table."""
    return dict(table).items()


# What the last walk from a store found: id of a variable -> full name, store, name there. Not an
# attribute of the store, where it would be a reference cycle.
_Known: TypeAlias = "dict[int, tuple[str, ref[VariableTable], str]]"
_walked: WeakKeyDictionary[VariableTable, _Known] = WeakKeyDictionary()


def locate(table: VariableTable, variable: torch.Tensor) -> Found | None:
    """The variable, as it is found from ``table``; None if it is not there."""
    if is_dynamo_compiling():  # It would guard on a table that grows from call to call.
        return next((one for one in variables(table) if one.tensor is variable), None)
    full_name, holder, name = _walked.get(table, {}).get(id(variable), _NOWHERE)
    found = holder()
    if found is None or not _holds(found, name, variable):  # Tensors may have been replaced.
        # Read from here, since another thread may set an older one meanwhile.
        known: _Known = {
            id(one.tensor): (one.full_name, ref(one.table), one.name) for one in variables(table)
        }
        _walked[table] = known
        full_name, holder, name = known.get(id(variable), _NOWHERE)
        found = holder()
    return None if found is None else Found(full_name, variable, found, name)


_NOWHERE: tuple[str, Callable[[], VariableTable | None], str] = "", lambda: None, ""


def _holds(table: VariableTable, name: str, variable: torch.Tensor) -> bool:
    declaration = table._declared.get(name)
    return declaration is not None and table._holds(declaration.key, variable)


def made_at(table: VariableTable, full_name: str) -> str | None:
    """Where the variable or module was made, file and line; None if there is no such name."""
    around = str(Origin())  # An unknown place, if it was set from outside.
    for module, prefix in walk(table):
        if isinstance(module, VariableTable) and full_name.startswith(prefix):
            name = full_name.removeprefix(prefix)
            made = module._declared.get(name) or module._made_modules.get(name)
            if made is not None:
                return str(made.origin)
            for other, kept in module._made_modules.items():
                around = str(kept.origin) if name.startswith(other + "/") else around
    # A module's own parameter was made with the module.
    there = any(found.full_name == full_name for found in variables(table))
    return around if there else None
