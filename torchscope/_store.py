"""VariableStore: the owner of variables. It makes them, lists them and runs passes over them.

It knows names; nothing of scopes.
"""

import re
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import is_inference_mode_enabled as is_inferring
from torch import nn
from torch.compiler import is_compiling, is_dynamo_compiling
from torch.nn.utils.parametrize import is_parametrized
from torch.utils._python_dispatch import _disable_current_modes
from typing_extensions import ParamSpec, Self

from . import _names
from ._declare import (
    Declaration,
    GraphKeys,
    Origin,
    brings,
    default_device,
    first_value,
    fits,
    function_modes,
    keeps_all,
    own_random_stream,
    picklable,
    warn,
)
from ._errors import (
    NotBuiltError,
    ScopeError,
    ScopeOrderError,
    StateDictError,
    VariableExistsError,
    VariableMismatchError,
    VariableMissingError,
)
from ._here import Pass, entered, here, whole
from ._sharded import back_in_parts, gathered, is_fully_sharded, like
from ._table import VariableTable, key_in

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

# One lock for all stores: making a variable borrows torch's CPU random stream, which is the
# process's. Re-entrant, because an initializer may ask for another variable.
making = threading.RLock()

living: "weakref.WeakSet[VariableStore]" = weakref.WeakSet()  # all stores, for `_owner`
counting = threading.Lock()  # what reads or adds to it holds


@dataclass
class MadeModule:
    """How a module kept under a name was made."""

    factory: Callable[[], nn.Module]
    origin: Origin

    def __deepcopy__(self, memo: dict[int, Any]) -> "MadeModule":
        return replace(self)  # The factory is a function: shared, never copied.

    def __getstate__(self) -> dict[str, Any]:
        return {"factory": picklable(self.factory, "factory"), "origin": self.origin}


class VariableStore(VariableTable):
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

    def __init__(self, seed: int | None = None) -> None:
        super().__init__()
        self._made_modules: dict[str, MadeModule] = {}
        self._names_by_id: dict[int, tuple[str, VariableStore, str]] = {}
        self._device: torch.device | None = None  # where .to() last sent this store
        self._float_dtype: torch.dtype | None = None  # and what .half() and the like made of floats
        self._finalized = False
        self._seed = _drawn_seed() if seed is None else seed
        with counting:
            living.add(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        with counting:
            living.add(self)

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

        def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
            self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
        ) -> R: ...
    else:
        __call__ = nn.Module.__call__  # ParameterDict's own refuses to be called.

    def forward(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run ``fn(*args, **kwargs)`` as one pass over this store."""
        if is_dynamo_compiling():
            return (run_pass if self._built else first_pass)(self, fn, args, kwargs)
        with Pass(self):
            return whole(fn(*args, **kwargs))

    def __enter__(self) -> Self:
        run = entered(self) if here.passes else None
        if run is None and is_fully_sharded(self):
            raise ScopeOrderError(
                None,
                "This store is entered, but fully_shard gathers its variables only while it is "
                "called. Call it: store(fn, x), or net(x) for a ScopedModule.",
            )
        (run or self._new_pass()).__enter__()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        run = entered(self)
        if run is None:
            raise ScopeOrderError(None, "This store is left without having been entered.")
        run.__exit__(kind, error, trace)

    def _new_pass(self) -> Pass:
        """The pass that entering this store begins."""
        return Pass(self)

    def _pass_ended(self) -> None:
        """Called when a pass has ended without an exception."""
        if not self._built:
            self._built = True

    # ---- making ----------------------------------------------------------------------------

    def _make(self, request: Declaration) -> torch.Tensor:
        """Make the variable that ``request`` asks for, or take the value loaded for it."""
        if is_inferring():  # A tensor made then could never be trained.
            with torch.inference_mode(False):
                return self._make(request)
        name = request.name
        self._check_can_make("Variable", name)
        if request.device is None:
            request.device = self._device or default_device()
        request.name = name = sys.intern(name)  # One string for it in all tables.
        request.key = sys.intern(_names.escape(name))
        request.origin = Origin.here(inside=4)  # _made, find_or_make, ask or the like, its caller
        shape = request.shape
        if (shape is None or None in shape) and callable(request.initializer):
            request.shapeless = True
        value = self._value(request)
        if request.default_dtype:
            request.default_dtype = request.dtype is torch.get_default_dtype()
        self._check_late("Variable", name, request.origin)
        self._register(request, value)
        variable = self._parameters.get(request.key)  # Hooks on registration may have replaced it.
        if variable is None:
            variable = self._at(request.key)
        kept = here.kept
        if kept is not None and not variable.requires_grad:
            kept.append((variable, variable.detach().clone()))
        return variable

    def _value(self, request: Declaration) -> torch.Tensor:
        """The first value; what it settles of ``request`` is written there."""
        key = self._pending_key(request.name) if self._pending else None
        if key is None:
            value = first_value(request, self._seed)
            request.settle(value.shape, value.dtype)
            lacking = self._not_loaded if request.persistent else None
            if lacking is not None and self._pending_terms.cover(request.name):
                lacking.append(request.name)
        else:
            value = self._loaded(request, self._pending[key])
            if self._pending_assign:
                return value.detach()
        dtype = request.dtype
        if self._float_dtype is not None and dtype.is_floating_point:
            dtype = self._float_dtype
        if value.device == request.device and value.dtype is dtype:
            return value
        return value.to(request.device, dtype)

    def _loaded(self, request: Declaration, value: torch.Tensor) -> torch.Tensor:
        """The value that was loaded for ``request``, if it fits."""
        brought = first_value(request, self._seed) if request.shapeless else None
        shape, dtype = brings(request) if brought is None else (brought.shape, brought.dtype)
        if not fits(shape, tuple(value.shape)):
            raise VariableMismatchError(
                request.name,
                f"Variable {request.name!r} is asked for with shape {shape}, but was loaded "
                f"with {tuple(value.shape)}. Load a state dict that fits, or drop the value: "
                f"del store[{request.name!r}].",
            )
        if self._pending_terms.exact and not keeps_all(value.dtype, dtype or value.dtype):
            raise VariableMismatchError(
                request.name,
                f"Variable {request.name!r} is asked for with dtype {dtype}, but was loaded as "
                f"{value.dtype}. Convert the value before it is loaded, or drop it: "
                f"del store[{request.name!r}].",
            )
        request.settle(value.shape, dtype or request.dtype)
        on_meta = request.device is not None and request.device.type == "meta"
        if on_meta and not self._pending_assign:
            warn(
                request.origin,
                f"The value loaded for {request.name!r} is lost: the variable is made on the meta "
                "device. Load with load_state_dict(state_dict, assign=True).",
            )
        return value

    def _check_can_make(self, what: str, name: str) -> None:
        if (
            is_compiling()
            or _is_tracing()
            or is_transforming()
            or (_dispatch_modes() or function_modes())
            or (self._finalized or "_is_replica" in self.__dict__)
        ):  # Nearly never; then it is to be said what it is, unless the modes are harmless.
            self._check_surroundings(what, name)
        _names.check_variable(name)
        for other, made in self._made_modules.items():  # A module's parameters have such names.
            if f"{name}/".startswith(f"{other}/"):
                raise VariableExistsError(
                    name,
                    f"{what} {name!r} would lie in the module {other!r}, made at {made.origin}. "
                    "Use another name.",
                )

    def _check_surroundings(self, what: str, name: str) -> None:
        advice = "Build the model before: net.build(*example)."
        if is_compiling() or _is_tracing() or _is_fx_tracing():
            problem = "would have to be made while the model is traced (compiled or exported)."
        elif is_transforming():
            problem = "would have to be made inside a function transform, and be lost with it."
            advice = "Ask for it outside the transform first, or build: net.build(*example)."
        elif self.__dict__.get("_is_replica"):
            problem = "would have to be made in a replica of DataParallel, and be lost with it."
        elif self._finalized:
            problem = f"is new, but the store is finalized.{self._nearest(name)}"
        else:
            return
        raise NotBuiltError(name, f"{what} {name!r} {problem} {advice}")

    def _tell_given_up(self, name: str) -> None:
        """Warn where torch.compile had to leave code to Python because it makes a variable."""
        warn(
            Origin.here(),
            f"{name!r} is made by code that torch.compile was to compile, and which it now leaves "
            "to Python for good. Run it once before compiling it, or use ts.ScopedModule(fn), "
            "which does so by itself.",
        )

    def _note_reading(self) -> None:
        """For ScopedModule: nothing is missing yet in a store that does not know its function."""

    def _check_late(self, what: str, name: str, origin: Origin) -> None:
        """For ScopedModule: nothing is late in a store that does not know its function."""

    def _regularize(self, declaration: Declaration) -> None:
        """Keep a new variable's regularizer if it gives a loss; it has to be called to tell."""
        regularizer, declaration.regularizer = declaration.regularizer, None
        if regularizer:
            with torch.no_grad():
                loss = regularizer(self._fetch(declaration))
            if loss is not None:
                declaration.regularizer = regularizer

    def _module(self, full_name: str) -> nn.Module | None:
        """The module kept under ``full_name``, if one was made."""
        return self._modules[_names.escape(full_name)] if full_name in self._made_modules else None

    def _make_module(self, full_name: str, factory: Callable[[], nn.Module]) -> nn.Module:
        """Make the module ``full_name``, and give it what was loaded for it."""
        self._check_can_make("Module", full_name)
        for name in [*self._declared, *self._made_modules]:
            if f"{name}/".startswith(f"{full_name}/"):
                raise VariableExistsError(
                    full_name,
                    f"Module {full_name!r} would take the name of {name!r}, made at "
                    f"{self.origin(name)}. Use another name.",
                )
        if is_inferring():
            with torch.inference_mode(False):
                return self._make_module(full_name, factory)
        with own_random_stream(self._seed, full_name):
            module = None if isinstance(factory, nn.Module) else factory()
        if not isinstance(module, nn.Module):
            problem = f"gave {type(module).__name__}, not an nn.Module"
            if isinstance(factory, nn.Module):
                problem = "is a module itself, not a function that makes one"
            last = full_name.rpartition("/")[2]
            raise TypeError(
                f"The factory of {full_name!r} {problem}. For example "
                f"get_module({last!r}, lambda: nn.Linear(3, 4))."
            )
        device = self._device or default_device()
        if self._device is not None or device.type != "cpu":
            module.to(device)
        module.to(self._float_dtype).train(self.training)
        key = _names.escape(full_name)
        # A state dict spells what is below the module with a dot, a checkpoint with a slash.
        dotted, slashed = f"{key}.", f"{full_name}/".replace(".", "%2E")
        loaded = {k: v for k, v in self._pending.items() if k.startswith((dotted, slashed))}
        try:
            if loaded:
                expected = module.state_dict()
                values = {k.removeprefix(dotted): v for k, v in loaded.items()}
                for k in [k for k in values if k.startswith(slashed)]:
                    value, name = values.pop(k), _names.unescape(k.removeprefix(slashed))
                    inner = key_in(module, name)
                    unasked = k in self._pending_terms.optional
                    if isinstance(module, VariableStore) or not unasked or inner in expected:
                        values[inner] = value
                module.load_state_dict(values, self._pending_strict, self._pending_assign)
            if self._not_loaded is not None and isinstance(module, VariableStore):
                # A block for which there is nothing lacks all of it.
                below = self._pending_terms.below(full_name)
                module._hold({}, below, self._pending_strict, self._pending_assign)
        except RuntimeError as error:
            raise StateDictError(
                full_name,
                f"What was loaded does not fit the module {full_name!r}: {error} Load a state dict "
                "that fits, or drop what does not: del store[name].",
            ) from error
        origin = Origin.here()
        self._check_late("Module", full_name, origin)
        self.add_module(key, module)
        self._made_modules[full_name] = MadeModule(factory, origin)
        for k in loaded:
            del self._pending[k]
        if here.kept is not None:
            here.kept += [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
        return module

    # ---- lists -----------------------------------------------------------------------------

    def _all(self) -> Iterator[tuple[str, torch.Tensor, "VariableStore", str]]:
        """Each variable once: its name from here, itself, its store and its name there.

        Parameters and buffers of other modules kept here have a name, too, or an optimizer made
        from a list would leave them untrained; their name there is "".
        """
        seen: set[int] = set()
        for module, prefix in self._walk(self, ""):
            for name, tensor, store, own_name in self._own(module):
                if id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield prefix + name, tensor, store, own_name

    def _own(self, module: nn.Module) -> Iterator[tuple[str, torch.Tensor, "VariableStore", str]]:
        """What ``module`` itself holds; lists, since another thread may be making variables."""
        tensors = dict([*_items(module._parameters), *_items(module._buffers)])
        store = module if isinstance(module, VariableStore) else self
        declared = _items(module._declared) if isinstance(module, VariableStore) else []
        left = len(tensors)
        for name, declaration in declared:
            tensor = tensors.get(declaration.key)
            if tensor is not None:
                left -= 1
            else:
                tensor = module.__dict__.get(declaration.key)
            # What parametrize or prune computes from others is no leaf, or no attribute.
            if isinstance(tensor, nn.Parameter) or (tensor is not None and tensor.is_leaf):
                yield name, tensor, store, name
        if left:
            ours = {declaration.key for _, declaration in declared}
            for key, tensor in tensors.items():
                kept = key not in ours and key not in module._non_persistent_buffers_set
                if kept and tensor is not None:
                    yield _names.unescape(key) if store is module else key, tensor, store, ""

    def _walk(self, module: nn.Module, prefix: str) -> Iterator[tuple[nn.Module, str]]:
        """Each module from here down, with what the names in it begin with."""
        yield module, prefix
        for key, child in _items(module._modules):
            if child is None:
                continue
            below = f"{prefix}{_names.unescape(key)}/"
            # What parametrize computes a variable from is named after the variable.
            computed = isinstance(module, VariableStore) and is_parametrized(module)
            computed = computed and key == "parametrizations"
            yield from self._walk(child, prefix if computed else below)

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
        for store in self._stores():
            store._note_reading()
        inside = str(getattr(scope, "name", scope) or "").rstrip("/")
        below = inside + "/"
        for name, variable, _, _ in self._all():
            if not inside or name.startswith(below) or name == inside:
                yield name, variable

    def get_collection(self, key: str, scope: str | None = None) -> list[torch.Tensor]:
        """The variables in the collection ``key``, in the order of making.

        Args:
            key: ``GraphKeys.GLOBAL_VARIABLES`` and the like, or a name of your own.
            scope: a regular expression that the full name has to begin with, as in TensorFlow:
                ``"gen"`` also finds ``gen_2/w``.
        """
        for store in self._stores():
            store._note_reading()
        begins = re.compile(scope or "").match
        return [
            variable
            for full_name, variable, store, name in self._all()
            if begins(full_name) and store._is_in(key, name, variable)
        ]

    def _is_in(self, key: str, name: str, variable: torch.Tensor) -> bool:
        if key == GraphKeys.TRAINABLE_VARIABLES:
            return variable.requires_grad
        declaration = self._declared.get(name)
        of_a_module = declaration is None
        return key == GraphKeys.GLOBAL_VARIABLES if of_a_module else key in declaration.collections

    def _add_to_collection(self, key: str, variable: torch.Tensor) -> bool:
        """Put a variable into the collection ``key``; False if it is not one of this store's."""
        found = self._locate(variable)
        declaration = found and found[1]._declared.get(found[2])
        if found and declaration:
            members = tuple(dict.fromkeys((*declaration.collections, key)))
            found[1]._declared[found[2]] = replace(declaration, collections=members)
        return bool(declaration)

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
        losses: list[torch.Tensor | None] = []
        seen: set[int] = set()
        for module, prefix in self._walk(self, ""):
            if isinstance(module, VariableStore) and id(module) not in seen:
                seen.add(id(module))
                for name, declaration in _items(module._declared):
                    if declaration.regularizer and begins(prefix + name):
                        loss = declaration.regularizer(module._fetch(declaration))
                        losses += loss if isinstance(loss, tuple) else [loss]
        return [gathered(loss) for loss in losses if loss is not None]

    def name_of(self, variable: torch.Tensor) -> str:
        """The full name of a variable of this store, blocks kept in it included.

        Raises:
            VariableMissingError: ``variable`` is not one; the result of a computation, perhaps.
        """
        found = self._locate(variable)
        if found is None:
            raise VariableMissingError(
                None,
                "This tensor is not a variable of this store. Ask with what get_variable returned: "
                "store.name_of(variable).",
            )
        return found[0]

    def _locate(self, variable: torch.Tensor) -> tuple[str, "VariableStore", str] | None:
        # A table of names alone: whether an entry still holds is asked of the module each time.
        found = self._names_by_id.get(id(variable))
        if found is None or not found[1]._holds(found[2], variable):
            known = {id(v): (full_name, store, name) for full_name, v, store, name in self._all()}
            found, self._names_by_id = known.get(id(variable)), known
        return found

    def _holds(self, name: str, variable: torch.Tensor) -> bool:
        declaration = self._declared.get(name)
        return declaration is not None and self._fetch(declaration) is variable

    def origin(self, name: str) -> str:
        """Where the variable or module ``name`` was made: ``file:line`` in the user's code."""
        made_around: MadeModule | None = None
        for module, prefix in self._walk(self, ""):
            if isinstance(module, VariableStore) and name.startswith(prefix):
                own_name = name.removeprefix(prefix)
                made = module._declared.get(own_name) or module._made_modules.get(own_name)
                if made is not None:
                    return str(made.origin)
                for other, around in module._made_modules.items():
                    made_around = around if own_name.startswith(other + "/") else made_around
        if made_around is not None and any(name == full_name for full_name, *_ in self._all()):
            return str(made_around.origin)
        return self._missing(name)

    # ---- all at once -----------------------------------------------------------------------

    def _stores(self) -> Iterator["VariableStore"]:
        walked = list(self._walk(self, ""))
        found = {id(module): module for module, _ in walked if isinstance(module, VariableStore)}
        return iter(found.values())

    def finalize(self) -> None:
        """From now on, asking for a variable that is not there is an error, in blocks too."""
        for store in self._stores():
            store._finalized = True

    def apply_constraints(self) -> None:
        """Put every variable that has a ``constraint=`` to the value which that gives, in place."""
        back_in_parts(self)
        with torch.no_grad():
            for store in self._stores():
                for declaration in store._declared.values():
                    if declaration.constraint is not None:
                        variable = store._writable(declaration)
                        variable.copy_(declaration.constraint(variable))

    def reset_parameters(self) -> None:
        """Give each variable its initial value again, in place: the value of a first build.

        For variables made on the meta device this is how they get their values, after
        ``store.to_empty(device=...)``. What was loaded instead of initialized is reset as well.
        """
        back_in_parts(self)
        cpu = torch.device("cpu")
        values: list[tuple[torch.Tensor, torch.Tensor]] = []
        for store in self._stores():
            for declaration in store._declared.values():
                variable = store._writable(declaration)
                value = first_value(replace(declaration, device=cpu), store._seed)
                values.append((variable, like(variable, value)))  # No more than this rank's part.
            for name, made in store._made_modules.items():
                with own_random_stream(store._seed, name):
                    fresh = made.factory().state_dict()  # Without blocks: they are stores, too.
                kept = cast("nn.Module", store._module(name)).state_dict(keep_vars=True)
                gone = fresh.keys() - kept.keys()
                if gone:
                    raise ScopeError(
                        name,
                        f"Module {name!r} no longer has what it was made with: {sorted(gone)}. "
                        "Remove its parametrization or pruning before you reset it.",
                    )
                values += [(kept[key], like(kept[key], value)) for key, value in fresh.items()]
        with torch.no_grad():
            for variable, value in values:
                variable.copy_(value)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # pyright: ignore[reportUnknownMemberType]
        # What fn does to tensors tells where and as what later variables are to be kept.
        dtypes = torch.float32, torch.float64
        moved, wider = (fn(torch.empty(0, dtype=dtype, device="cpu")) for dtype in dtypes)
        try:
            left = fn(torch.empty(0, device="meta")).is_meta and not moved.is_meta
        except RuntimeError:  # Nothing can be copied from there, so fn moves.
            left = False
        if not left:
            self._device = moved.device
        if moved.dtype == wider.dtype and moved.is_floating_point():
            self._float_dtype = moved.dtype
        return self

    def _load_from_state_dict(self, *args: Any) -> None:  # pyright: ignore
        super()._load_from_state_dict(*args)
        if self._device is not None and self._device.type == "meta":
            lying = {tensor.device for tensor in self._parameters.values() if tensor is not None}
            if len(lying) == 1:
                self._device = lying.pop()  # Assigned, they take later variables with them.

    def copy(self) -> "VariableStore":
        """Another store of the same variables; modules kept here stay here."""
        other = VariableStore(self._seed)
        for declaration in self._declared.values():
            other._register(replace(declaration), self._writable(declaration))
        if self._pending:
            other._hold(
                self._pending, self._pending_terms, self._pending_strict, self._pending_assign
            )
        return other


def first_pass(store: VariableStore, fn: Callable[..., R], args: Any, kwargs: Any) -> R:
    """Run a pass that may have to make variables: never compiled, nor what it calls."""
    return uncompiled(run_pass)(store, fn, args, kwargs)


# Dynamo reads these: it leaves the first pass to Python and compiles the next.
# (torch.compiler.disable sets them, too, but imports Dynamo, which takes a second.)
first_pass._torchdynamo_disable = True  # type: ignore[attr-defined]
first_pass._torchdynamo_disable_msg = (  # type: ignore[attr-defined]
    "Variables are made in the first pass, which cannot be compiled. "
    "Build the module first: net.build(*example)."
)


def _items(table: Mapping[str, T]) -> list[tuple[str, T]]:
    """What a table of a module holds, while another thread may be making variables."""
    if is_dynamo_compiling():
        return list(table.items())
    with making:
        return list(table.items())


def uncompiled(fn: Callable[P, R]) -> Callable[P, R]:
    """``fn``, so that Dynamo, if it is there, compiles neither it nor what it calls."""
    dynamo = sys.modules.get("torch._dynamo")
    return fn if dynamo is None else dynamo.disable(fn)


def run_pass(store: VariableStore, fn: Callable[..., R], args: Any, kwargs: Any) -> R:
    """Run ``fn`` as one pass over ``store``; Dynamo reads another function instead."""
    with Pass(store):
        return whole(fn(*args, **kwargs))


def is_dynamo_on() -> bool:
    """Whether Dynamo is to compile what Python calls from here."""
    return callable(_dynamo_callback())


def _is_fx_tracing() -> bool:
    # It puts a mode on one of torch's two stacks, on that of functions if it traces pre-dispatch.
    fx = sys.modules.get("torch.fx.experimental.proxy_tensor")
    return fx is not None and fx.get_proxy_mode() is not None


# What is asked before each making, of torch itself: its public functions ask more, or take longer.
_C = cast("Any", torch._C)
_is_tracing = _C._is_tracing
is_transforming = _C._are_functorch_transforms_active
_dynamo_callback = _C._dynamo.eval_frame.get_eval_frame_callback
_dispatch_modes = _C._len_torch_dispatch_stack


def _drawn_seed() -> int:
    # FakeTensorMode and the like would give a tensor without a number.
    with _disable_current_modes():
        drawn = torch.randint(2**63 - 1, (), generator=torch.default_generator, device="cpu")
        return int(drawn.item())
