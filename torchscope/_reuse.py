"""The reuse table: make a variable, return it or refuse, by what this pass has met so far."""

import enum
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.compiler import is_dynamo_compiling

from ._declare import Declaration, brings, fits
from ._errors import ScopeError, VariableExistsError, VariableMismatchError
from ._here import Pass, here
from ._store import GraphKeys, VariableStore, making


class Reuse(enum.Enum):
    """What a scope does about a name that is there, and about one that is not."""

    NO = "make, or return what an earlier pass made; twice in a pass is an error"
    YES = "return; a missing name is an error"
    AUTO = "make or return"

    def __repr__(self) -> str:
        return "AUTO_REUSE" if self is Reuse.AUTO else f"Reuse.{self.name}"

    @classmethod
    def of(cls, reuse: Any) -> "Reuse":
        """The mode that an argument ``reuse=`` stands for; False and None are one."""
        if reuse is None or reuse is False:
            return cls.NO
        if reuse is True:
            return cls.YES
        if reuse is cls.AUTO:
            return cls.AUTO
        raise ScopeError(
            None, f"reuse is True, False, None or AUTO_REUSE, not {reuse!r}. For example reuse=True."
        )

    @property
    def plain(self) -> "bool | Reuse":
        """The mode as users write it: False, True or AUTO_REUSE."""
        return self if self is Reuse.AUTO else self is Reuse.YES


AUTO_REUSE = Reuse.AUTO


def find_or_make(run: Pass, request: Declaration, reuse: Reuse) -> torch.Tensor:
    """The variable that ``request`` asks for, as ``reuse`` and the pass allow.

    Raises:
        VariableExistsError: met in this pass already, and ``reuse`` is NO.
        VariableMissingError: unknown to the store, and ``reuse`` is YES.
        VariableMismatchError: there, with another shape or dtype, or a module.
        ScopeError: the request contradicts itself, or lacks a shape.
    """
    if request.by_value and request.shape is not None:
        raise ScopeError(
            request.name,
            f"Variable {request.name!r} has a value for its initializer, which brings its own "
            "shape. Leave shape out, or use ts.constant_initializer(value).",
        )
    store: VariableStore = run.store
    name = request.name
    if not is_dynamo_compiling():
        run.check(name)
    declaration = store.declaration(name)
    if declaration is None and not (reuse is Reuse.YES and not store.has_pending(name)):
        with making:
            declaration = store.declaration(name)  # Another thread may have been first.
            if declaration is None:
                _refuse_module(store, name)
                variable = store.make(request)
                run.met[name] = None
                # TensorFlow runs it after keeping the variable: if it raises, the variable stays.
                store.regularize(store._keys[name])
                return variable
    if declaration is None:
        _refuse_module(store, name)
        store.missing(
            name,
            " To make it here, enter its scope with reuse=AUTO_REUSE, or make it before without "
            "reuse.",
        )
    _check_met(run, store, name, "Variable", reuse)
    _check_fits(request, declaration, met=name in run.met)
    _note(run, name)
    return store.fetch(declaration)


def find_or_make_module(
    run: Pass, full_name: str, factory: Callable[[], nn.Module], reuse: Reuse
) -> nn.Module:
    """The module ``full_name``, by the same table."""
    store: VariableStore = run.store
    if not is_dynamo_compiling():
        run.check(full_name)
    module = store.module(full_name)
    if module is None and reuse is not Reuse.YES:
        with making:
            module = store.module(full_name)
            if module is None:
                module = store.make_module(full_name, factory)
                run.met[full_name] = None
                return module
    if module is None:
        store.missing(full_name, " To make it here, enter its scope with reuse=AUTO_REUSE.")
    _check_met(run, store, full_name, "Module", reuse)
    _note(run, full_name)
    return module


def _note(run: Pass, name: str) -> None:
    # Compiled code must not watch a set that grows from call to call; its first pass was eager.
    if run.traced or not is_dynamo_compiling():
        run.met[name] = None


def _check_met(run: Pass, store: VariableStore, name: str, what: str, reuse: Reuse) -> None:
    if reuse is not Reuse.NO or (is_dynamo_compiling() and not run.traced) or name not in run.met:
        return
    made = store.declaration(name)
    shape = f", shape {made.shape}" if made else ""
    advice = (
        " A model that is called again and again belongs in a module: net = ts.ScopedModule(model)."
        if run is here.endless
        else ""
    )
    raise VariableExistsError(
        name,
        f"{what} {name!r} already exists{shape}, first made at {store.origin(name)}. To share it, "
        "enter its scope with reuse=True or reuse=AUTO_REUSE; for a second one, use another name "
        f"or scope.{advice}",
    )


def _check_fits(request: Declaration, made: Declaration, *, met: bool) -> None:
    """Compare with what the variable was declared as, never with its tensor, which may differ.

    (``.half()``, ``load_state_dict(assign=True)`` or a sharding policy may have changed that.)
    A name not yet met in this pass is judged as at its making, where a value brings its dtype.
    """
    shape, dtype = (request.shape, request.dtype) if met else brings(request)
    if not fits(shape, made.shape or ()):
        raise VariableMismatchError(
            made.name,
            f"Variable {made.name!r} has shape {made.shape}, not {shape}; first made at "
            f"{made.origin}. Ask for shape={list(made.shape or ())}, or use another name.",
        )
    if dtype is not None and dtype != made.dtype:
        raise VariableMismatchError(
            made.name,
            f"Variable {made.name!r} has dtype {made.dtype}, not {dtype}; first made at "
            f"{made.origin}. Ask for dtype={made.dtype}, or use another name.",
        )
    # (TensorFlow lets get_local_variable return a global variable.)
    if request.buffer and not made.buffer and GraphKeys.LOCAL_VARIABLES not in request.collections:
        raise VariableMismatchError(
            made.name,
            f"Variable {made.name!r} is a parameter, not a buffer; first made at {made.origin}. "
            "Ask for it with get_variable, or use another name.",
        )


def _refuse_module(store: VariableStore, name: str) -> None:
    if store.module(name) is not None:
        raise VariableMismatchError(
            name,
            f"{name!r} is a module, made at {store.origin(name)}, not a variable. Use another "
            f"name, or get_module({name.rpartition('/')[2]!r}, ...).",
        )
