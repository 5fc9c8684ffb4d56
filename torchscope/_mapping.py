"""The variables by full name, as the mapping that users see; `_table` stores them.

In: `store[name] = value` and the other methods of an `nn.ParameterDict`. Out: the variables
that were made, then loaded values that wait, under the names that `get_variable` takes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, cast

import torch
from torch import nn

from . import _names
from ._arguments import has_shape
from ._declaration import Declaration, is_value, spec_of
from ._origin import Origin
from ._saved import SavedTable
from ._table import check_not_being_made
from ._unbuilt import note_reading

_SHOWN = 20  # lines of a store's repr


class VariableMapping(SavedTable):
    """Full name -> variable, in the order of creation."""

    def __iter__(self) -> Iterator[str]:
        yield from list(self._declared)
        yield from map(_names.unescape, list(self._pending.values))

    def __reversed__(self) -> Iterator[str]:
        return reversed(list(self))

    def __len__(self) -> int:
        return len(self._declared) + len(self._pending.values)

    def __bool__(self) -> bool:
        return True  # Also while it is empty: `if store` asks whether there is one.

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):  # It may be a list, which no dict looks up.
            return False
        return name in self._declared or self._pending.key(name) is not None

    def __getitem__(self, name: str) -> Any:
        declaration = self._declared.get(name) if isinstance(name, str) else None
        if declaration is not None:
            return self._fetch(declaration.key)
        key = self._pending.key(name)
        if key is None:
            raise self._unknown(name)
        return self._pending.values[key]

    def __setitem__(self, name: str, value: Any) -> None:
        with self._lock.held:
            self._register(self._as_set(name, value), value)

    def update(self, parameters: Any) -> None:
        """Set many, given as ``nn.ParameterDict.update`` takes them; or none, if one is refused."""
        pairs = _Pairs()
        nn.ParameterDict.update(cast("Any", pairs), parameters)
        with self._lock.held:
            checked = [(self._as_set(name, value), value) for name, value in pairs]
            for declaration, value in checked:
                self._register(declaration, value)

    def _as_set(self, name: Any, value: Any) -> Declaration:
        """The declaration of ``name`` once it is set to ``value``; raises if it cannot be."""
        if not isinstance(name, str):
            raise TypeError(f"A variable's name is a string, not {name!r}.")
        if not isinstance(value, torch.Tensor) or not has_shape(value):
            raise TypeError(f"store[{name!r}] takes a parameter or a tensor, not {value!r}.")
        check_not_being_made(self, name)
        shape, dtype = tuple(value.shape), value.dtype
        old = self._declared.get(name)
        lasting = False
        if old is None:
            _names.check_variable(name)
            self._check_outside_modules("Variable", name)
            self._check_free("Variable", name, _names.escape(name))
            old = Declaration(name, _names.escape(name), spec_of(shape, dtype, False))
        else:
            # .half() may have changed the dtype since, which does not change the declaration.
            if self._writable(old).dtype == dtype:
                dtype = old.spec.dtype
            # An initializer that was called with a shape can be called with the new one.
            lasting = not old.shapeless and not is_value(old.initializer)
        return replace(
            old,
            spec=spec_of(shape, dtype, old.spec.by_default and dtype is old.spec.dtype),
            buffer=old.buffer and not isinstance(value, nn.Parameter),
            origin=Origin.here(),
            shapeless=False,
            first=None,
            initializer=old.initializer if lasting else value.detach().clone(),
            trainable=value.requires_grad or not isinstance(value, nn.Parameter),
        )

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise self._unknown(name)
        key = self._pending.key(name)
        if name in self._declared:
            self._forget(name)
        if key is not None:
            del self._pending.values[key]
            self._pending.lacking = None  # Values that were dropped are not missing.

    def _unknown(self, name: object) -> KeyError:
        """The error for a name that no variable has."""
        if not isinstance(name, str):
            return KeyError(f"no variable {name!r}: a variable's name is a string.")
        for module in list(self._made_modules):
            if f"{name}/".startswith(f"{module}/"):
                key = _names.escape(module)
                return KeyError(
                    f"{module!r} is a module, not a variable: store.get_submodule({key!r})."
                )
        return KeyError(f"no variable {name!r}.{self._nearest(name)}")

    def keys(self) -> Any:
        """The full names, in the order of creation."""
        return dict.fromkeys(self).keys()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Each full name with its variable, in the order of creation."""
        note_reading([self], note=not self._pending.values)
        for name in self:
            yield name, self[name]

    def values(self) -> Iterable[Any]:
        """The variables, in the order of creation."""
        for _, variable in self.items():
            yield variable

    def popitem(self) -> tuple[str, Any]:
        """Forget the variable made last; returns its name and itself."""
        if not len(self):
            raise KeyError("popitem: the store is empty")
        name = list(self)[-1]
        return name, self.pop(name)

    def clear(self) -> None:
        """Forget all variables."""
        for name in list(self):
            del self[name]

    def extra_repr(self) -> str:
        """The variables, one per line; of very many the first and the last."""
        names = list(self)
        hidden = len(names) - _SHOWN
        if hidden > 0:
            names = names[: _SHOWN // 2] + names[-_SHOWN // 2 :]
        lines = [f"({name}): {self._shown(name)}" for name in names]
        if hidden > 0:
            lines.insert(_SHOWN // 2, f"... {hidden:,} more")
        return "\n".join(lines)

    def _shown(self, name: str) -> str:
        made = self._declared.get(name)
        if made is not None and getattr(self, made.key, None) is None:
            return "removed from the module"
        variable = self[name]
        return (
            f"{type(variable).__name__} {tuple(variable.shape)} "
            f"{str(variable.dtype).removeprefix('torch.')} {variable.device}"
            f"{', waits to be asked for' if made is None else ''}"
        )


class _Pairs(list[tuple[Any, Any]]):
    """What `nn.ParameterDict.update` would set, in its order."""

    def __setitem__(self, name: Any, value: Any) -> None:
        self.append((name, value))
