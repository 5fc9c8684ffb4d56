"""Making an nn.Module under a name that is free, and loading what waits for it.

In: a store, whose lock is held, a full name and a factory. Out: the module, stored in the store
with how it was made; or an error, and nothing has changed. As for a variable (`_make`), everything
that can be refused is checked first, and random numbers come from a stream seeded by the name.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import nn

from . import _names
from ._as_now import as_now
from ._build import keep_values_of
from ._declaration import picklable
from ._errors import (
    ScopeError,
    StateDictError,
    VariableExistsError,
)
from ._initial import check_same, checksum
from ._lazy import first_values, name_lazy_layers, tensors_of
from ._loading import key_in
from ._make import check_can_make, warn_of_late
from ._origin import Origin
from ._stream import default_device, in_lent_stream
from ._table import VariableTable

_torch = cast("Any", nn.modules.module)


@dataclass
class MadeModule:
    """How a module was made."""

    factory: Callable[[], nn.Module]
    origin: Origin
    first: int | None = None  # a checksum of its first values
    as_then: Any = None  # the factory as it was then

    def __deepcopy__(self, memo: dict[int, Any]) -> "MadeModule":
        return replace(self)  # The factory is a function: shared, never copied.

    def __getstate__(self) -> dict[str, Any]:
        return {"factory": picklable(self.factory, "factory"), "origin": self.origin}


def make_module(
    table: VariableTable,
    full_name: str,
    factory: Callable[..., nn.Module],
    args: Any,
    kwargs: Any,
) -> nn.Module:
    """Make the module ``full_name``, and load what waits for it."""
    # Everything that can be refused, before the factory runs.
    check_can_make(table, "Module", full_name)
    if isinstance(factory, nn.Module) or not callable(factory):
        problem = f"is not a class or a function that makes a module, but {factory!r}"
        raise _not_a_factory(full_name, problem)
    if args or kwargs:
        factory = functools.partial(factory, *args, **kwargs)
    for name in [*table._declared, *table._made_modules]:
        if f"{name}/".startswith(f"{full_name}/"):
            made = table._declared.get(name) or table._made_modules[name]
            raise VariableExistsError(
                full_name,
                f"Module {full_name!r} would take the name of {name!r}, made at "
                f"{made.origin}. Use another name.",
            )
    key = _names.escape(full_name)
    table._check_free("Module", full_name, key)
    module = in_lent_stream(table._seed, full_name, factory)
    if not isinstance(cast("Any", module), nn.Module):
        problem = f"returned {type(module).__name__}, not an nn.Module"
        raise _not_a_factory(full_name, problem)
    table._check_free("Module", full_name, key)  # The factory may have taken it.
    # Like a variable: values from a stream of its own, then moved, then what was loaded for it.
    first = checksum(*tensors_of(module).values())
    name_lazy_layers(module, table._seed, full_name)
    device = table._device or default_device()
    if table._device is not None or device.type != "cpu":
        module.to(device)
    module.to(table._float_dtype).train(table.training)
    taken = _load_into(table, full_name, module)
    origin = Origin.here()
    warn_of_late(table, "Module", full_name, origin)
    made = MadeModule(factory, origin, first, as_now(factory))
    left = {k: value for k, value in table._pending.values.items() if k not in taken}
    if _torch._global_module_registration_hooks:
        table.add_module(key, module)
        module = cast("nn.Module", table._modules[key])  # Hooks may have replaced it.
    table._no_longer_empty()
    # No call between these, as in `_table._register`.
    own = table.__dict__
    if own["_modules"].__class__ is dict:
        own["_modules"] = {**own["_modules"], key: module}
    else:
        own["_modules"][key] = module
    table._made_modules[full_name] = made
    table._pending.values = left
    keep_values_of(module)
    return module


def _not_a_factory(full_name: str, problem: str) -> TypeError:
    last = full_name.rpartition("/")[2]
    return TypeError(
        f"The factory of {full_name!r} {problem}. For example "
        f"get_module({last!r}, lambda: nn.Linear(3, 4))."
    )


def _load_into(table: VariableTable, full_name: str, module: nn.Module) -> list[str]:
    """Load into ``module`` what waits for names below its own; returns the keys used."""
    pending = table._pending
    below = pending.below(full_name)
    try:
        if below:
            expected = module.state_dict()
            values: dict[str, torch.Tensor] = {}
            # Keys of a state dict are the module's own. Names of a checkpoint are turned into such;
            # one that might be an optimizer's slot is left out if the module has no such key.
            for key, (name, value) in below.items():
                if name.startswith("/"):  # From a checkpoint, where it may be an optimizer's.
                    name = key_in(module, _names.unescape(name[1:]))
                    settled = not isinstance(module, VariableTable) or module._built
                    if settled and key in pending.terms.optional and name not in expected:
                        continue
                values[name] = value
            if any(name.startswith("/") for name, _ in below.values()):
                values |= _of_tied(module, values)
            module.load_state_dict(values, pending.strict, pending.assign)
        if pending.lacking is not None and isinstance(module, VariableTable):
            # A block for which nothing was loaded lacks all of its variables.
            module._pending.hold({}, pending.strict, pending.assign, pending.terms.below(full_name))
    except RuntimeError as error:
        raise StateDictError(
            full_name,
            f"What was loaded does not fit the module {full_name!r}: {error} Load a state dict "
            "that fits, or drop what does not: del store[name].",
        ) from error
    return list(below)


def _of_tied(module: nn.Module, values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What is missing of ``values`` because a checkpoint has one name for a tied parameter."""
    keys = module.state_dict(keep_vars=True)
    given = {id(tensor): values[key] for key, tensor in keys.items() if key in values}
    return {
        key: given[id(tensor)]
        for key, tensor in keys.items()
        if key not in values and id(tensor) in given
    }


def reset_module(table: VariableTable, full_name: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Each tensor of a module, without its blocks', and the value that a first build gave it."""
    made = table._made_modules[full_name]
    kept = table._fetch_module(full_name)
    module = in_lent_stream(table._seed, full_name, made.factory)
    if made.first is not None and checksum(*tensors_of(module).values()) != made.first:
        module = in_lent_stream(table._seed, full_name, made.as_then)
        check_same("factory", full_name, made.first, checksum(*tensors_of(module).values()))
    fresh = first_values(module, kept, table._seed, full_name)  # Blocks are stores, too.
    tensors = tensors_of(kept)
    gone = [k for k in fresh if k not in tensors or tensors[k].shape != fresh[k].shape]
    if gone:
        raise ScopeError(
            full_name,
            f"Module {full_name!r} no longer has what it was made with, or in another shape: "
            f"{gone}. Remove its parametrization or pruning before you reset it, or let it be "
            f"made again: delattr(net, {_names.escape(full_name)!r}). Nothing was reset.",
        )
    return [(tensors[key], value) for key, value in fresh.items()]
