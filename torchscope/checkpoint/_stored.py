"""The variables of a store that belong into a checkpoint; knows no file."""

from collections.abc import Collection

import torch
from torch import Tensor

from torchscope._names import unescape
from torchscope._store import VariableStore
from torchscope._table import VariableTable
from torchscope._walk import names, variables, walk


def stored(
    store: VariableStore,
) -> tuple[dict[str, Tensor], dict[str, torch.dtype], dict[str, str]]:
    """The variables that a checkpoint has, what they were declared as, and further names of some.

    A module that is kept in the store may use a parameter of its own twice.
    """
    here: dict[str, Tensor] = {}
    dtypes: dict[str, torch.dtype] = {}
    for name, tensor, owner, own_name in variables(store):
        declaration = owner._declared.get(own_name)
        if declaration is None or declaration.persistent:
            here[name] = tensor
            dtypes[name] = tensor.dtype if declaration is None else declaration.spec.dtype
    firsts = {id(tensor): name for name, tensor in here.items()}
    found = [(one.full_name, firsts.get(id(one.tensor))) for one in names(store)]
    tied = {name: first for name, first in found if first not in (None, name)}
    return here, dtypes, tied


def pending(store: VariableStore, but: Collection[str] = ()) -> list[tuple[str, Tensor]]:
    """The values that were loaded for variables nobody has asked for yet, by full names.

    Args:
        store: a store, perhaps with others in it.
        but: names that are left out if nobody need ask for them: the global step and the like.
    """
    found: dict[str, Tensor] = {}
    for module, prefix in walk(store):
        if isinstance(module, VariableTable):
            waiting = module._pending
            for key, value in list(waiting.values.items()):
                name = prefix + "/".join(map(unescape, key.split(".")))
                left_out = key in waiting.terms.optional and name in but
                if isinstance(value, Tensor) and not left_out:  # a state dict has other things, too
                    found[name] = value
    return list(found.items())
