"""VariableStore: the variables by their full names, and what each was declared as; knows no scopes.

Also the default store, which serves where none was entered.
"""

import difflib
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import torch
from torch import nn
from torch.utils._python_dispatch import _disable_current_modes
from typing_extensions import ParamSpec, Self

from . import _names
from ._declare import Declaration, Origin, brings, first_value, fits, own_random_stream
from ._errors import (
    NotBuiltError,
    ScopeOrderError,
    VariableExistsError,
    VariableMismatchError,
    VariableMissingError,
    VariableNameError,
)
from ._here import Pass, entered, here

P = ParamSpec("P")
R = TypeVar("R")

# One lock for all stores: making a variable borrows torch's CPU random stream, which is the
# process's. Re-entrant, because an initializer may ask for another variable.
making = threading.RLock()


class GraphKeys:
    """TensorFlow's names of collections."""

    GLOBAL_VARIABLES = "variables"
    TRAINABLE_VARIABLES = "trainable_variables"
    LOCAL_VARIABLES = "local_variables"
    MODEL_VARIABLES = "model_variables"
    MOVING_AVERAGE_VARIABLES = "moving_average_variables"
    METRIC_VARIABLES = "metric_variables"
    REGULARIZATION_LOSSES = "regularization_losses"
    LOSSES = "losses"
    WEIGHTS = "weights"
    BIASES = "biases"
    ACTIVATIONS = "activations"
    UPDATE_OPS = "update_ops"
    SUMMARIES = "summaries"
    GLOBAL_STEP = "global_step"


@dataclass
class MadeModule:
    """How a module kept under a name was made."""

    factory: Callable[[], nn.Module]
    origin: Origin


class VariableStore(nn.ParameterDict):
    """The owner of variables: full name -> ``nn.Parameter`` or buffer.

    An ordinary ``nn.ParameterDict``: optimizers, ``state_dict``, ``.to(...)`` and the rest of
    PyTorch work on it. Enter it, or call it with the function to run; either is one *pass*.

    >>> import torch, torchscope as ts
    >>> def layer(x):
    ...     return x @ ts.get_variable("w", [x.shape[-1], 2])
    >>> store = ts.VariableStore()
    >>> with store:
    ...     y = layer(torch.ones(1, 3))
    >>> bool((store(layer, torch.ones(1, 3)) == y).all())
    True
    >>> {name: tuple(variable.shape) for name, variable in store.items()}
    {'w': (3, 2)}

    ``list(store)``, ``len(store)`` and ``store[name]`` are of the variables, buffers included, in
    the order of making. ``store[name] = parameter`` declares a variable anew (to resize an
    embedding, say); ``del store[name]`` forgets one.

    Args:
        seed: what the initial values follow from, together with the names. By default one number
            drawn from torch's CPU generator, so ``torch.manual_seed`` repeats a script.
    """

    _version = 1  # of the state dict

    def __init__(self, seed: int | None = None) -> None:
        super().__init__()
        # ParameterDict's own table of names; here it also says what each was declared as.
        self._keys: dict[str, Declaration] = {}
        self._made_modules: dict[str, MadeModule] = {}
        self._pending: dict[str, torch.Tensor] = {}  # by state-dict key: loaded, not yet asked for
        self._pending_strict = False
        self._pending_assign = False
        self._names_by_id: dict[int, tuple[str, VariableStore, str]] = {}
        self._device: torch.device | None = None  # where .to() last sent this store
        self._float_dtype: torch.dtype | None = None  # and what .half() and the like made of floats
        self._built = False
        self._finalized = False
        self._seed = _drawn_seed() if seed is None else seed

    @property
    def seed(self) -> int:
        """What the initial values follow from, together with the names."""
        return self._seed

    @property
    def built(self) -> bool:
        """Whether a pass has ended without an exception."""
        return self._built

    # ---- passes ----------------------------------------------------------------------------

    if TYPE_CHECKING:

        def __call__(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    else:
        __call__ = nn.Module.__call__  # ParameterDict's own refuses to be called.

    def forward(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run ``fn(*args, **kwargs)`` as one pass over this store."""
        with Pass(self):
            return fn(*args, **kwargs)

    def __enter__(self) -> Self:
        (entered(self) or self._new_pass()).__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        run = entered(self)
        if run is None:
            raise ScopeOrderError(None, "This store is left without having been entered.")
        run.__exit__(*error)

    def _new_pass(self) -> Pass:
        return _endless_pass() if self is _default.store else Pass(self)

    def pass_ended(self) -> None:
        """Called when a pass has ended without an exception."""
        if not self._built:
            self._built = True

    # ---- variables -------------------------------------------------------------------------

    def declaration(self, full_name: str) -> Declaration | None:
        """What ``full_name`` was declared as, or None if it has not been made."""
        return self._keys.get(full_name)

    def fetch(self, declaration: Declaration) -> torch.Tensor:
        """The tensor that the module holds now for a variable that has been made."""
        key = declaration.key
        found = self._parameters.get(key)
        if found is None:
            found = self._buffers.get(key)
        # Under parametrize, or in a replica of DataParallel, a variable is a plain attribute.
        return getattr(self, key) if found is None else found

    def make(self, request: Declaration) -> torch.Tensor:
        """Make the variable that ``request`` asks for, or take the value loaded for it."""
        self._check_can_make(request.name, "Variable")
        _names.check_variable(request.name)
        self._check_free(request.name)
        device = request.device or self._device or torch.get_default_device()
        request = replace(
            request,
            device=device,
            origin=Origin.here(),
            key=_names.escape(request.name),
            shapeless=callable(request.initializer) and not request.complete,
        )
        with torch.inference_mode(False):  # A tensor made under it could never be trained.
            value, pending = self._value(request)
            if pending is None or not self._pending_assign:
                value = value.to(device, self._held_dtype(value.dtype))
            self._warn_if_late(request)
            if request.buffer:
                self.register_buffer(request.key, value, persistent=request.persistent)
            else:
                floats = value.is_floating_point() or value.is_complex()
                self.register_parameter(
                    request.key, nn.Parameter(value, request.trainable and floats)
                )
        self._pending.pop(pending or "", None)
        self._keys[request.name] = request
        variable = self.fetch(request)  # Read again: hooks on registration may have replaced it.
        if here.kept is not None and not variable.requires_grad:
            here.kept.append((variable, variable.detach().clone()))
        return variable

    def _value(self, request: Declaration) -> tuple[torch.Tensor, str | None]:
        """The first value, its shape and dtype written into ``request``, and its pending key."""
        key = self._pending_key(request.name)
        if key is None:
            value = first_value(request, self._seed)
            request.shape, request.dtype = tuple(value.shape), value.dtype
            return value, None
        loaded = self._pending[key]
        shape, dtype = brings(request)
        if request.shapeless:
            made = first_value(request, self._seed)
            shape, dtype = tuple(made.shape), made.dtype
        if not fits(shape, tuple(loaded.shape)):
            raise VariableMismatchError(
                request.name,
                f"Variable {request.name!r} is asked for with shape {shape}, but the state dict "
                f"that was loaded has {tuple(loaded.shape)}. Load one that fits, or drop it: "
                f"del store[{request.name!r}].",
            )
        request.shape, request.dtype = tuple(loaded.shape), dtype or request.dtype
        return loaded if self._pending_assign else loaded.to(request.dtype), key

    def _held_dtype(self, dtype: torch.dtype) -> torch.dtype:
        return self._float_dtype if self._float_dtype and dtype.is_floating_point else dtype

    def _check_can_make(self, name: str, what: str) -> None:
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            raise NotBuiltError(
                name,
                f"{what} {name!r} would have to be made while the model is traced (compiled or "
                "exported), where nothing can be made. Build the model first: net.build(*example).",
            )
        if torch._C._functorch.peek_interpreter_stack() is not None:
            raise NotBuiltError(
                name,
                f"{what} {name!r} would have to be made inside a function transform (torch.func), "
                "and would be lost with it. Build the model first: net.build(*example).",
            )
        if self._finalized:
            raise NotBuiltError(
                name,
                f"{what} {name!r} is new, but this store is finalized.{self._nearest(name)} Make "
                "all variables before store.finalize(): net.build(*example).",
            )

    def _check_free(self, name: str) -> None:
        """Raise if ``name`` is taken by a module, or by an attribute that torch would not give."""
        for module_name, made in self._made_modules.items():
            if name == module_name or name.startswith(module_name + "/"):
                raise VariableExistsError(
                    name,
                    f"Variable {name!r} would lie in the module {module_name!r}, made at "
                    f"{made.origin}. Use another name.",
                )
        key = _names.escape(name)
        if "/" not in key and hasattr(self, key):
            raise VariableNameError(
                name,
                f"Variable {name!r} cannot be kept: {type(self).__name__} has an attribute of that "
                f"name. Use another name, or put it in a scope: with variable_scope('model'): ...",
            )

    def _warn_if_late(self, declaration: Declaration) -> None:
        """For ScopedModule: nothing is late in a store that does not know its function."""

    def regularize(self, declaration: Declaration) -> None:
        """Keep a new variable's regularizer if it gives a loss; it has to be called to tell."""
        regularizer, declaration.regularizer = declaration.regularizer, None
        if regularizer:
            with torch.no_grad():
                loss = regularizer(self.fetch(declaration))
            if loss is not None:
                declaration.regularizer = regularizer

    # ---- modules ---------------------------------------------------------------------------

    def module(self, full_name: str) -> nn.Module | None:
        """The module kept under ``full_name``, if one was made."""
        if full_name not in self._made_modules:
            return None
        return self._modules[_names.escape(full_name)]

    def make_module(self, full_name: str, factory: Callable[[], nn.Module]) -> nn.Module:
        """Make the module ``full_name``, and give it what was loaded for it."""
        self._check_can_make(full_name, "Module")
        _names.check_variable(full_name)
        below = full_name + "/"
        for name in [*self._keys, *self._made_modules]:
            if name == full_name or name.startswith(below):
                raise VariableExistsError(
                    full_name,
                    f"Module {full_name!r} would take the name of {name!r}, made at "
                    f"{self.origin(name)}. Use another name.",
                )
        self._check_free(full_name)
        with torch.inference_mode(False), own_random_stream(self._seed, full_name):
            module = factory()
        if not isinstance(module, nn.Module):
            raise TypeError(
                f"The factory of {full_name!r} gave {type(module).__name__}, not an nn.Module. For "
                f"example get_module({full_name!r}, lambda: nn.Linear(3, 4))."
            )
        device = self._device or torch.get_default_device()
        if device.type == "meta":
            module.to_empty(device=device)
        else:
            module.to(device, self._float_dtype)
        key = _names.escape(full_name)
        loaded = {k: v for k, v in self._pending.items() if k.startswith(key + ".")}
        if loaded:
            below_key = {k[len(key) + 1 :]: v for k, v in loaded.items()}
            module.load_state_dict(
                below_key, strict=self._pending_strict, assign=self._pending_assign
            )
        self.add_module(key, module)
        for k in loaded:
            del self._pending[k]
        self._made_modules[full_name] = MadeModule(factory, Origin.here())
        if here.kept is not None:
            here.kept.extend((buffer, buffer.detach().clone()) for buffer in module.buffers())
        return module

    # ---- the mapping -----------------------------------------------------------------------

    def __iter__(self) -> Iterator[str]:
        yield from self._keys
        yield from self._pending_names()

    def __reversed__(self) -> Iterator[str]:
        return reversed(list(self))

    def __len__(self) -> int:
        return len(self._keys) + sum(1 for _ in self._pending_names())

    def __bool__(self) -> bool:
        return True  # A store is there though it holds nothing yet.

    def __contains__(self, name: object) -> bool:
        return name in self._keys or (isinstance(name, str) and self.has_pending(name))

    def __getitem__(self, name: str) -> Any:
        declaration = self._keys.get(name)
        if declaration is not None:
            return self.fetch(declaration)
        key = self._pending_key(name)
        if key is not None:
            return self._pending[key]
        raise KeyError(f"no variable {name!r}.{self._nearest(name)}")

    def __setitem__(self, name: str, value: Any) -> None:
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"store[{name!r}] takes a parameter or a tensor, not {value!r}.")
        old = self._keys.get(name)
        if old is None:
            _names.check_variable(name)
            self._check_free(name)
            collections = (GraphKeys.GLOBAL_VARIABLES,)
            old = Declaration(name, collections=collections, key=_names.escape(name))
            initializer = None
        else:
            initializer = None if old.by_value or old.shapeless else old.initializer
            self._forget(old)
        if old.buffer and not isinstance(value, nn.Parameter):
            self.register_buffer(old.key, value, persistent=old.persistent)
        else:
            parameter = value if isinstance(value, nn.Parameter) else nn.Parameter(value)
            self.register_parameter(old.key, parameter)
        self._keys[name] = replace(
            old,
            shape=tuple(value.shape),
            dtype=value.dtype,
            initializer=value.detach().clone() if initializer is None else initializer,
            shapeless=False,
            trainable=value.requires_grad,
            buffer=old.buffer and not isinstance(value, nn.Parameter),
            origin=Origin.here(),
        )
        self._pending.pop(self._pending_key(name) or "", None)

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(f"no variable {name!r}.{self._nearest(name)}")
        if name in self._keys:
            self._forget(self._keys.pop(name))
        self._pending.pop(self._pending_key(name) or "", None)

    def _forget(self, declaration: Declaration) -> None:
        delattr(self, declaration.key)

    def keys(self) -> Any:
        """The full names, in the order of making."""
        return dict.fromkeys(self).keys()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Each full name with its variable, in the order of making."""
        return ((name, self[name]) for name in self)

    def values(self) -> Iterable[Any]:
        """The variables, in the order of making."""
        return (self[name] for name in self)

    def popitem(self) -> tuple[str, Any]:
        """Forget the variable made last; returns its name and itself."""
        name = next(reversed(self))
        return name, self.pop(name)

    def clear(self) -> None:
        """Forget all variables."""
        for name in list(self):
            del self[name]

    def copy(self) -> "VariableStore":
        """Another store of the same variables."""
        other = VariableStore(self._seed)
        for name, variable in self.items():
            other[name] = variable
        return other

    def extra_repr(self) -> str:
        """The variables, a line each; of very many the first and the last."""
        lines = [
            f"({name}): {type(variable).__name__} {tuple(variable.shape)} "
            f"{str(variable.dtype).removeprefix('torch.')} {variable.device}"
            for name, variable in self._head_and_tail()
        ]
        if len(self) > len(lines):
            lines.insert(_SHOWN // 2, f"... {len(self) - len(lines):,} more")
        return "\n".join(lines)

    def _head_and_tail(self) -> list[tuple[str, torch.Tensor]]:
        names = list(self)
        if len(names) > _SHOWN:
            names = names[: _SHOWN // 2] + names[-_SHOWN // 2 :]
        return [(name, self[name]) for name in names]

    # ---- lists -----------------------------------------------------------------------------

    def _all(self, prefix: str = "") -> Iterator[tuple[str, torch.Tensor, "VariableStore", str]]:
        """Each variable with its name here, its store and its name there, blocks included.

        The parameters and buffers of other modules kept here have a name, too, or an optimizer
        made from the lists would leave them untrained; their own name is then "".
        """
        for name, declaration in self._keys.items():
            yield prefix + name, self.fetch(declaration), self, name
        for key, module in self._modules.items():
            if module is not None:
                yield from self._all_of_module(module, f"{prefix}{_names.unescape(key)}/")

    def _all_of_module(
        self, module: nn.Module, prefix: str
    ) -> Iterator[tuple[str, torch.Tensor, "VariableStore", str]]:
        if isinstance(module, VariableStore):
            yield from module._all(prefix)
            return
        for name, tensor in module.named_parameters(recurse=False):
            yield prefix + name, tensor, self, ""
        for name, tensor in module.named_buffers(recurse=False):
            if name not in module._non_persistent_buffers_set:
                yield prefix + name, tensor, self, ""
        for name, child in module.named_children():
            yield from self._all_of_module(child, f"{prefix}{name}/")

    def named_variables(self, scope: Any = None) -> Iterator[tuple[str, torch.Tensor]]:
        """Each variable with its full name, those of blocks and modules kept here included.

        Args:
            scope: only those in this scope, a name or a ``VariableScope``: ``"gen"`` stands for
                ``gen`` and ``gen/...``, not for ``gen_2/...``.

        >>> import torchscope as ts
        >>> with ts.VariableStore() as store, ts.variable_scope("gen"):
        ...     w = ts.get_variable("w", [2])
        >>> [name for name, _ in store.named_variables("gen")]
        ['gen/w']
        """
        inside = str(getattr(scope, "name", scope) or "").rstrip("/")
        seen: set[int] = set()
        for name, variable, _, _ in self._all():
            if inside and name != inside and not name.startswith(inside + "/"):
                continue
            if id(variable) not in seen:
                seen.add(id(variable))
                yield name, variable

    def get_collection(self, key: str, scope: str | None = None) -> list[torch.Tensor]:
        """The variables in the collection ``key``, in the order of making.

        Args:
            key: ``GraphKeys.GLOBAL_VARIABLES`` and the like, or a name of your own.
            scope: a regular expression that the full name has to begin with, as in TensorFlow:
                ``"gen"`` also finds ``gen_2/w``.
        """
        begins = re.compile(scope or "").match
        found: dict[int, torch.Tensor] = {}
        for full_name, variable, store, name in self._all():
            if begins(full_name) and store._is_in(key, name, variable):
                found.setdefault(id(variable), variable)
        return list(found.values())

    def add_to_collection(self, key: str, variable: torch.Tensor) -> bool:
        """Put a variable of this store into the collection ``key``; False if it is not one."""
        try:
            _, store, name = self.locate(variable)
        except VariableMissingError:
            return False
        declaration = store._keys.get(name)
        if declaration is None:
            return False
        declaration.collections = (*declaration.collections, key)
        return True

    def _is_in(self, key: str, name: str, variable: torch.Tensor) -> bool:
        if key == GraphKeys.TRAINABLE_VARIABLES:
            return variable.requires_grad
        declaration = self._keys.get(name)
        if declaration is None:  # of a module
            return key == GraphKeys.GLOBAL_VARIABLES
        return key in declaration.collections

    def global_variables(self, scope: str | None = None) -> list[torch.Tensor]:
        """All variables but local ones; ``scope`` as for :meth:`get_collection`."""
        return self.get_collection(GraphKeys.GLOBAL_VARIABLES, scope)

    def trainable_variables(self, scope: str | None = None) -> list[torch.Tensor]:
        """The variables that require a gradient now; ``scope`` as for :meth:`get_collection`."""
        return self.get_collection(GraphKeys.TRAINABLE_VARIABLES, scope)

    def local_variables(self, scope: str | None = None) -> list[torch.Tensor]:
        """The local variables; ``scope`` as for :meth:`get_collection`."""
        return self.get_collection(GraphKeys.LOCAL_VARIABLES, scope)

    def regularization_losses(self, scope: str | None = None) -> list[torch.Tensor]:
        """What the regularizers give for the variables' current values: scalars, with gradients.

        In the order of making; ``scope`` as for :meth:`get_collection`.
        """
        begins = re.compile(scope or "").match
        losses: list[torch.Tensor] = []
        for full_name, variable, store, name in self._all():
            declaration = store._keys.get(name)
            if declaration is not None and declaration.regularizer and begins(full_name):
                loss = declaration.regularizer(variable)
                if loss is not None:
                    losses.append(loss)
        return losses

    def name_of(self, variable: torch.Tensor) -> str:
        """The full name of a variable of this store, blocks kept in it included.

        Raises:
            VariableMissingError: ``variable`` is not one; the result of a computation, perhaps.
        """
        return self.locate(variable)[0]

    def locate(self, variable: torch.Tensor) -> tuple[str, "VariableStore", str]:
        """The full name of a variable, the store that holds it, and its name there."""
        # A table of names alone: whether the entry still holds is asked of the module each time.
        known = self._names_by_id.get(id(variable))
        if known is None or not known[1]._holds(known[2], variable):
            self._names_by_id = {
                id(tensor): (full_name, store, name) for full_name, tensor, store, name in self._all()
            }
            known = self._names_by_id.get(id(variable))
        if known is None:
            raise VariableMissingError(None, "This tensor is not a variable of this store.")
        return known

    def _holds(self, name: str, variable: torch.Tensor) -> bool:
        declaration = self._keys.get(name)
        return declaration is not None and self.fetch(declaration) is variable

    def origin(self, name: str) -> str:
        """Where the variable or module ``name`` was made: ``file:line`` in the user's code."""
        made = self._keys.get(name) or self._made_modules.get(name)
        if made is not None:
            return str(made.origin)
        for module_name in self._made_modules:
            inner = self.module(module_name)
            if isinstance(inner, VariableStore) and name.startswith(module_name + "/"):
                return inner.origin(name[len(module_name) + 1 :])
        return self.missing(name)

    def missing(self, name: str, advice: str = "") -> NoReturn:
        """Raise that there is no variable ``name``, with the names nearest to it."""
        raise VariableMissingError(
            name, f"Variable {name!r} does not exist.{self._nearest(name)}{advice}"
        )

    def _nearest(self, name: str) -> str:
        close = difflib.get_close_matches(name, list(self)[:10_000], n=3)
        return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""

    # ---- all at once -----------------------------------------------------------------------

    def finalize(self) -> None:
        """From now on, asking for a variable that is not there is an error, in blocks too."""
        for store in self._stores():
            store._finalized = True

    def apply_constraints(self) -> None:
        """Put every variable that has a ``constraint=`` to the value which that gives, in place."""
        with torch.no_grad():
            for store in self._stores():
                for declaration in store._keys.values():
                    if declaration.constraint is not None:
                        variable = store.fetch(declaration)
                        variable.copy_(declaration.constraint(variable))

    def reset_parameters(self) -> None:
        """Give each variable its initial value again, in place: the value of a first build.

        For variables made on the meta device this is how they get their values, after
        ``store.to_empty(device=...)``. What was loaded instead of initialized is reset as well.
        """
        values = [
            (self.fetch(declaration), first_value(_on_cpu(declaration), self._seed))
            for declaration in self._keys.values()
        ]
        with torch.no_grad():
            for variable, value in values:
                variable.copy_(value)
        for name, made in self._made_modules.items():
            module = self.module(name)
            if isinstance(module, VariableStore):
                module.reset_parameters()
            elif module is not None:
                with own_random_stream(self._seed, name):
                    fresh = made.factory().state_dict()
                module.load_state_dict(fresh)

    def _stores(self) -> Iterator["VariableStore"]:
        return (module for module in self.modules() if isinstance(module, VariableStore))

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        # What fn does to a tensor is how .to(), .half() and the like show where and as what later
        # variables are to be kept.
        device = self._device or torch.get_default_device()
        single, double = (
            fn(torch.empty(0, dtype=dtype, device=device))
            for dtype in (torch.float32, torch.float64)
        )
        if single.device != device:
            self._device = single.device
        if single.dtype == double.dtype and single.is_floating_point():
            self._float_dtype = single.dtype
        return self

    # ---- state dicts -----------------------------------------------------------------------

    def has_pending(self, full_name: str) -> bool:
        """Whether a value for ``full_name`` was loaded that nobody has asked for yet."""
        return bool(self._pending) and self._pending_key(full_name) is not None

    def _pending_key(self, full_name: str) -> str | None:
        if self._pending:
            for key in (_names.escape(full_name), full_name):
                if key in self._pending:
                    return key
        return None

    def _pending_names(self) -> Iterator[str]:
        return (_names.unescape(key) for key in self._pending if "." not in key)

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for key, value in self._pending.items():
            destination[prefix + key] = value

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        for name, declaration in self._keys.items():  # Either spelling of a key is taken.
            if prefix + name in state_dict and declaration.key != name:
                state_dict.setdefault(prefix + declaration.key, state_dict.pop(prefix + name))
        if not self._built:
            self._keep_pending(state_dict, prefix, local_metadata)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def _keep_pending(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any]
    ) -> None:
        self._pending_assign = bool(local_metadata.get("assign_to_params_buffers", False))
        self._pending_strict = _strict()
        known = {declaration.key for declaration in self._keys.values()} | set(self._modules)
        for full_key in [key for key in state_dict if key.startswith(prefix)]:
            key = full_key[len(prefix) :]
            if key.partition(".")[0] in known or key == "_extra_state":
                continue
            value = state_dict.pop(full_key)
            # A copy, as loading makes one: the tensors may be another model's, and go on changing.
            self._pending[key] = value if self._pending_assign else value.detach().clone()


_SHOWN = 20  # lines of a store's repr


def _drawn_seed() -> int:
    # FakeTensorMode and the like would give a tensor without a number.
    with _disable_current_modes():
        return int(
            torch.randint(2**63 - 1, (), generator=torch.default_generator, device="cpu").item()
        )


def _strict() -> bool:
    """What ``load_state_dict`` was told, perhaps that of a module around: torch passes on True."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code is not nn.Module.load_state_dict.__code__:
        frame = frame.f_back
    return frame is None or bool(frame.f_locals["strict"])


def _on_cpu(declaration: Declaration) -> Declaration:
    return replace(declaration, device=torch.device("cpu"))


# ---- the default store -------------------------------------------------------------------------


class _Default:
    """The store that serves where none was entered; made when first needed."""

    store: VariableStore | None = None
    run: Pass | None = None  # its endless pass; each thread has its own share
    was_reset = False


_default = _Default()


def default_store() -> VariableStore:
    """The store that serves where none was entered.

    It has one endless pass, shared by all threads, as TensorFlow's default graph has: a name made
    twice without reuse is an error for good. A model that is called again and again belongs in a
    ``ScopedModule``.
    """
    if _default.store is None:
        with making:
            if _default.store is None:
                _default.run = None
                _default.store = VariableStore()
    return _default.store


def reset_default_store() -> None:
    """Begin anew with an empty default store, as ``tf.reset_default_graph`` does.

    Raises:
        ScopeOrderError: this thread is inside a scope of the default store.
    """
    run = here.endless
    if run is not None and run.store is _default.store and len(run.scopes) > 1:
        raise ScopeOrderError(
            run.scopes[-1].name,
            f"The default store cannot be reset inside the scope {run.scopes[-1].name!r}. Leave "
            "the scope first.",
        )
    with making:
        _default.store, _default.run, _default.was_reset = None, None, True


def current_pass() -> Pass:
    """The pass that this thread is in; if it has entered no store, the default store's."""
    passes = here.passes
    return passes[-1] if passes else _endless_pass()


def _endless_pass() -> Pass:
    store = default_store()
    run = here.endless
    if run is None or run.store is not store:
        with making:
            run = Pass(store, shares=_default.run)
            run.task, run.graph_task = None, -1  # It is no task's and began in no backward pass.
            _default.run = _default.run or run
        here.endless = run
    return run


def is_default_and_untouched(run: Pass) -> bool:
    """Whether nobody entered a store and nothing was ever done with the default one."""
    return not here.passes and not len(run.store) and not _default.was_reset
