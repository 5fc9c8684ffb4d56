"""A table of variables as torch saves and loads it: keys, their order, values that wait.

In: torch's calls for a state dict. Out: its entries in the order in which the variables were made;
and, before there are variables to load into, values that each takes when it is first asked for.
"""

from typing import Any

import torch

from . import _names
from ._pending import strictness
from ._table import VariableTable

EXTRA = "_extra_state"  # torch's key for what a module saves besides its tensors


class SavedTable(VariableTable):
    """A table of variables with a state dict."""

    _version = 1  # of the state dict

    def _respell(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Rename the entries of ``state_dict`` to the keys that they have here."""
        for name, declaration in list(self._declared.items()):
            key = declaration.key
            if key == name or name.partition(".")[0] in self._modules:
                continue  # A module `h` has a `w` that is called `h.w`, not the variable.
            if prefix + name in state_dict:
                state_dict[prefix + key] = state_dict.pop(prefix + name)
        for name in list(self._made_modules):
            key, below = _names.escape(name), f"{prefix}{name}."
            if key == name or name.partition(".")[0] in self._modules:
                continue
            for other in [other for other in state_dict if other.startswith(below)]:
                state_dict[f"{prefix}{key}.{other.removeprefix(below)}"] = state_dict.pop(other)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        keys = [declaration.key for declaration in list(self._declared.values())]
        if keys != list(self._parameters):  # torch puts parameters first.
            for key in keys:
                if prefix + key in destination:
                    destination[prefix + key] = destination.pop(prefix + key)
        pending = self._pending.values.copy()
        destination.update({prefix + key: value for key, value in pending.items()})

    def _load_from_state_dict(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, state_dict: Any, prefix: str, local_metadata: Any, *rest: Any
    ) -> None:
        self._respell(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)
        if not self._built:
            # Before the first pass there is nothing to load into: the values wait, and each
            # variable takes its own when it is first asked for. Done after torch has called the
            # hooks, which may rename the keys, and has listed them as unexpected.
            assign = bool(local_metadata.get("assign_to_params_buffers", False))
            there = {*self._parameters, *self._buffers, *self._modules, EXTRA}
            there |= {declaration.key for declaration in list(self._declared.values())}
            begins = len(prefix)
            taken = {
                key: _kept(value, assign)
                for key, value in state_dict.items()
                if key.startswith(prefix) and key[begins:].partition(".")[0] not in there
            }
            values = {key[begins:]: value for key, value in taken.items()}
            self._pending.hold(values, strictness(), assign)
            unexpected: list[str] = rest[2]
            unexpected[:] = [key for key in unexpected if key not in taken]
        if self._device is not None and self._device.type == "meta":
            lying = {tensor.device for tensor in self._parameters.values() if tensor is not None}
            if len(lying) == 1:
                self._device = lying.pop()  # Later variables go where these were assigned.


def _kept(value: Any, assign: bool) -> Any:
    """What waits to be loaded: a copy of ``value``, which another model may hold and change."""
    if assign or not isinstance(value, torch.Tensor):  # A module's extra state may be anything.
        return value
    with torch.inference_mode(False):  # A tensor made under it could not be trained.
        return value.detach().clone()
