"""The variables by name as an nn.ParameterDict, and what is known about each; makes none of them.

In: tensors with the declaration of each. Out: the tensors by name, and for a get the spec of a
name. The tensors are only where torch keeps them, in `_parameters` and `_buffers`: torch replaces
them there (meta to CPU, `load_state_dict(assign=True)`, `fully_shard`, `functional_call`), and any
other table of them would silently go stale.
"""

import difflib
import itertools
from typing import Any, NoReturn, cast

import torch
from torch import nn
from torch.compiler import is_dynamo_compiling
from typing_extensions import Self

from . import _names
from ._built import AsBuilt, Built
from ._declaration import Declaration, Spec
from ._errors import (
    NotBuiltError,
    ScopeError,
    VariableExistsError,
    VariableMissingError,
    VariableNameError,
)
from ._growing import Growing
from ._locks import Lock
from ._pending import Pending
from ._unbuilt import Empty

_TORCH_TABLES = "_parameters", "_buffers", "_modules"
_COPIED = (*_TORCH_TABLES, "_non_persistent_buffers_set")


class VariableTable(nn.ParameterDict):
    """Full name -> ``nn.Parameter`` or buffer, with what each was declared as."""

    _grows = True  # whether later passes may need variables that the first has not made

    def __init__(self) -> None:
        super().__init__()
        for table in _TORCH_TABLES:
            self.__dict__[table] = Growing(self.__dict__[table])
        # The same names, in the order of creation; written together, by `_register` and `_forget`.
        self._declarations: dict[str, Declaration] = {}  # read as `_declared`
        self._specs: dict[str, Spec] = {}
        self._pending = Pending()
        self._made_modules: dict[str, Any] = {}  # full name -> how a module was made (`MadeModule`)
        self._owner = id(self)  # whose tables these are
        self._lock = Lock()  # held while a variable is made
        self._seed = 0
        self._device: torch.device | None = None  # where .to() last sent this store
        self._float_dtype: torch.dtype | None = None  # what .half() and the like cast floats to
        self._built = self._finalized = False
        self._told_empty = False  # whether it has warned that a list of it was empty
        self._built_as: Built | None = None  # what compiled code guards on

    # ---- clones ----------------------------------------------------------------------------
    #
    # Code that clones a module by copying its `__dict__` (copy.copy, learn2learn, higher) gives the
    # clone tensors of its own, at most, but the original's tables: a variable made in one would
    # appear in the other. No method is called, so the tables record their owner, and a clone copies
    # them (`_part`) when it first looks at them, as each pass does (`_specs_for`).

    @property
    def _declared(self) -> dict[str, Declaration]:
        if self._owner != id(self) and not is_dynamo_compiling():
            self._part()
        return self._declarations

    def _part(self) -> None:
        with self._lock.held:
            if self._owner == id(self):  # Another thread was first.
                return
            own = self.__dict__
            for table in ("_declarations", "_specs", "_pending", "_made_modules", *_COPIED):
                own[table] = own[table].copy()
            for name, made in list(self._declarations.items()):
                if not self._has(made.key):  # The original has made it since.
                    del self._declarations[name]
                    self._specs.pop(name, None)
            for name in list(self._made_modules):
                if _names.escape(name) not in self._modules:
                    del self._made_modules[name]
            own["_lock"], own["_owner"] = Lock(), id(self)

    def _has(self, key: str) -> bool:
        # Parametrized, a variable is an attribute of the class; pruned, of the instance.
        tables = self._parameters, self._buffers, self.__dict__, vars(type(self))
        return any(key in table for table in tables)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: the tables as they are now, if another thread adds to them."""
        state = super().__getstate__()  # Without what `net.compile()` has set, which runs this one.
        for table in ("_declarations", "_specs", "_made_modules", *_TORCH_TABLES):
            state[table] = state[table].copy()  # Of a `Growing`, a dict: no thread adds to it yet.
        return state

    def __copy__(self) -> Self:
        clone = type(self).__new__(type(self))
        clone.__dict__.update(super().__getstate__())
        clone._part()
        return clone

    def _replicate_for_data_parallel(self) -> Self:
        replica = super()._replicate_for_data_parallel()
        replica._owner = id(replica)  # It makes nothing, so it may share the tables.
        return replica

    # ---- one variable ----------------------------------------------------------------------

    def _fetch(self, key: str) -> torch.Tensor:
        """The tensor that the module holds now for a variable that has been made."""
        found = self._parameters.get(key)
        if found is None:
            found = self._buffers.get(key)
        if found is None:  # Under parametrize, or in a replica of DataParallel, a plain attribute.
            found = getattr(self, key, None)
        if found is None:
            name = _names.unescape(key)
            raise VariableMissingError(
                name,
                f"Variable {name!r} was removed from the module (by delattr, or set to None, "
                f"perhaps), but is still declared. Forget that, too: del net[{name!r}].",
            )
        return found

    def _fetch_module(self, full_name: str) -> nn.Module:
        """A module that has been made."""
        key = _names.escape(full_name)
        found = self._modules.get(key)
        if found is None:
            raise VariableMissingError(
                full_name,
                f"Module {full_name!r} was removed (set to None, perhaps). To let it be made "
                f"again: delattr(net, {key!r}).",
            )
        return found

    def _holds(self, key: str, tensor: torch.Tensor) -> bool:
        """Whether ``key`` stands for this tensor, which is not computed from others."""
        tables = self._parameters, self._buffers, self.__dict__
        return any(table.get(key) is tensor for table in tables)

    def __delattr__(self, key: str) -> None:
        """As torch's. It forgets a module, but no variable: torch deletes those to replace them."""
        super().__delattr__(key)
        if _names.unescape(key) in self._made_modules:
            if self._owner != id(self):
                self._part()
            self._made_modules.pop(_names.unescape(key), None)

    def _writable(self, declaration: Declaration) -> torch.Tensor:
        """The variable, unless it is computed from others, where a write would be lost."""
        variable = self._fetch(declaration.key)
        if declaration.key in self._parameters or declaration.key in self._buffers:
            return variable
        raise ScopeError(
            declaration.name,
            f"Variable {declaration.name!r} is computed from others (by parametrize, weight_norm "
            "or prune), so what is written to it would be lost. Remove that first, for example "
            f"torch.nn.utils.parametrize.remove_parametrizations(net, {declaration.key!r}).",
        )

    def _register(self, declaration: Declaration, value: torch.Tensor) -> torch.Tensor:
        """Store ``value`` as it was declared, a Parameter as it is; returns what is stored."""
        name, key = declaration.name, declaration.key
        old = self._declared.get(name)
        self._no_longer_empty()
        self._change_specs()
        if old is None:
            self._check_free("Variable", name, key)
        elif old.spec != declaration.spec:
            self._built_as = None
        if not declaration.buffer and (
            type(value) is torch.Tensor or not isinstance(value, nn.Parameter)
        ):
            floats = value.is_floating_point() or value.is_complex()
            value = nn.Parameter(value, declaration.trainable and floats)
        watched = _is_watched(type(self))
        if watched:
            _keep(self, declaration, value)
            value = self._fetch(key)  # Hooks on registration may have replaced it.
        own, table, other = self.__dict__, "_parameters", "_buffers"
        if declaration.buffer:
            table, other = other, table
            if not declaration.persistent:
                self._non_persistent_buffers_set.add(key)
        waiting = self._pending.key(name)
        # No call between these: an interrupt, another thread and a forked process see all or none.
        if not watched:  # As torch does it, without checking again that the name is free.
            if key in own[other]:
                del own[other][key]
            if own[table].__class__ is dict:  # See `close`.
                own[table] = {**own[table], key: value}
            else:
                own[table][key] = value
        self._declarations[name] = declaration
        self._specs[name] = declaration.spec
        if waiting is not None:
            del self._pending.values[waiting]
        return value

    def _no_longer_empty(self) -> None:
        """From now on the parameters may be read: there are some, or a pass made none."""
        if isinstance(self._parameters, Empty):
            self.__dict__["_parameters"] = Growing(self._parameters)

    def _forget(self, name: str) -> None:
        """Remove a variable."""
        declaration = self._declared[name]
        key = declaration.key
        if getattr(self, key, None) is not None:  # Else it was removed as an attribute.
            self._writable(declaration)
        self._change_specs()
        self._built_as = None
        table = self._buffers if key in self._buffers else self._parameters
        if key in table:  # No call from here on, as in `_register`.
            del table[key]
        del self._declarations[name], self._specs[name]
        self._non_persistent_buffers_set.discard(key)

    def _check_free(self, what: str, name: str, key: str) -> None:
        """Raise if something else is already stored where ``name`` would be."""
        own = self.__dict__
        if "/" not in key:
            if hasattr(self, key):
                raise VariableNameError(
                    name,
                    f"{what} {name!r} cannot be made: {type(self).__name__} has an attribute "
                    "of that name. Use another name, or a scope: variable_scope('model').",
                )
        elif (  # No class has an attribute with a slash, and hasattr takes ten times as long.
            key in own["_parameters"]
            or key in own
            or key in own["_buffers"]
            or key in own["_modules"]
        ):
            raise NotBuiltError(
                name,
                f"{what} {name!r} was set from outside (by functional_call, perhaps) "
                "before it was made. Build the module first: net.build(*example); or use another "
                "name.",
            )

    def _check_outside_modules(self, what: str, name: str) -> None:
        """Raise if a module is called ``name``, or may have a parameter of that full name."""
        if not self._modules:
            return
        for other in itertools.accumulate(name.split("/"), "{}/{}".format):
            made = self._made_modules.get(other)
            is_there = self._modules.get(_names.escape(other)) is not None
            if made or (is_there and other != name):
                raise VariableExistsError(
                    name,
                    f"{what} {name!r} would lie in the module {other!r}"
                    f"{f', made at {made.origin}' if made else ''}. Use another name.",
                )

    def _specs_for(self, traced: bool) -> Any:
        """Where a pass looks specs up that is traced, or that is a clone's."""
        if not traced:
            self._part()
        elif self._built_as is not None:
            return AsBuilt(self._built_as.digest)
        return self._specs

    def _change_specs(self) -> None:
        """Before they change, copy specs that are shared by all stores that were built alike."""
        built = self._built_as
        if built is not None and built.specs is self._specs:
            self._specs = dict(self._specs)

    # ---- names that are not there ------------------------------------------------------------

    def _nearest(self, name: object) -> str:
        """A question that offers the names nearest to ``name``, or nothing."""
        close = difflib.get_close_matches(str(name), list(self)[:10_000], n=3)
        return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""

    def _missing(self, name: str, advice: str = "") -> NoReturn:
        """Raise that there is no variable ``name``."""
        raise VariableMissingError(
            name, f"Variable {name!r} does not exist.{self._nearest(name)}{advice}"
        )


def check_not_being_made(table: VariableTable, name: str) -> None:
    """Raise if code that runs while ``name`` is made would give that name to another."""
    for other, is_module in table._lock.making.items():
        if name == other or (is_module and name.startswith(f"{other}/")):
            raise ScopeError(
                name,
                f"{name!r} is asked for by the initializer or factory of {other!r}, which is "
                "being made: two would have that name. Use another name.",
            )


def close(table: VariableTable) -> None:
    """Replace the tables by plain dicts, on whose contents compiled code needs no guards.

    Variables made later go into copies of them, so that a reader may go on reading.
    """
    own, lock = table.__dict__, table._lock.held
    try:  # If another thread is making something, the tables stay as they are.
        if lock.acquire(blocking=False):
            for name in _TORCH_TABLES:
                own[name] = {**own[name]}
    finally:
        try:  # noqa: SIM105  - As in `_stream.in_lent_stream`.
            lock.release()
        except RuntimeError:  # It was not acquired.
            pass


def _keep(table: VariableTable, declaration: Declaration, value: torch.Tensor) -> None:
    """Let torch register it; an existing one keeps its place in the order."""
    key = declaration.key
    there = key in table._buffers, key in table._parameters
    if there == (not declaration.buffer, declaration.buffer):
        delattr(table, key)
    elif any(there):
        setattr(table, key, value)
        return
    if declaration.buffer:
        table.register_buffer(key, value, persistent=declaration.persistent)
    else:
        table.register_parameter(key, cast("nn.Parameter", value))


# Some libraries replace the methods (accelerate), others set the hooks.
_methods = nn.Module.register_parameter, nn.Module.register_buffer
_torch: Any = nn.modules.module


def _is_watched(kind: type[nn.Module]) -> bool:
    """Whether a library watches registration, perhaps to replace what is registered."""
    return bool(
        (kind.register_parameter, kind.register_buffer) != _methods
        or _torch._global_parameter_registration_hooks
        or _torch._global_buffer_registration_hooks
    )
