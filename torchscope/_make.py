"""Making a variable under a name that is free; knows neither scopes nor reuse.

In: a store, whose lock is held, and a `Request`. Out: the variable, stored in
the store with its declaration; or an error, and nothing has changed. Everything that can be
refused is checked first: where code runs (traced, inside a transform, in a replica), the name, and
the value against what was asked for. The value is the one that was loaded for the name, or else
the initializer's.
"""

import sys
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from numbers import Number
from typing import Any, cast
from weakref import ref

import torch
from torch.compiler import is_compiling

from . import _names
from ._arguments import fits, keeps_all, untrainable
from ._build import keep_values
from ._declaration import Declaration, Request, declared
from ._errors import (
    NotBuiltError,
    VariableMismatchError,
)
from ._initial import check_same, checksum, first_value, follows_from_name
from ._origin import Origin, warn
from ._pass import Pass, here
from ._stream import default_device, function_modes
from ._table import VariableTable
from ._unbuilt import Unbuilt

_C = cast("Any", torch._C)


# ---- a variable ----------------------------------------------------------------------------------


def make_variable(table: VariableTable, request: Request) -> torch.Tensor:
    """Make the variable that ``request`` asks for, or take the value loaded for it."""
    check_can_make(table, "Variable", request.name)
    # Nothing is stored before `_register`; until then anything may be refused or interrupted.
    if request.device is None:
        request.device = table._device or default_device()
    request.name = sys.intern(request.name)  # One string for it in all tables.
    key = sys.intern(_names.escape(request.name))
    origin = Origin.here()
    # The value: what was loaded for the name, else the initializer's.
    pending = table._pending
    loaded = pending.key(request.name) if pending.values else None
    if loaded is not None:
        value = pending.values[loaded]
        dtype, first = _loaded_as(table, request, value, origin), None
    else:
        value = first_value(request, table._seed)
        dtype = value.dtype
        # If the initializer might return another value some day, a reset has to notice.
        known = value.is_meta or follows_from_name(request.initializer)
        first = None if known else checksum(value)
    # With load_state_dict(assign=True) the loaded tensor itself is used, where it is.
    as_loaded = loaded is not None and pending.assign
    value = value.detach() if as_loaded else _placed(table, value, request.device, dtype)
    warn_of_late(table, "Variable", request.name, origin)
    declaration = declared(request, key, tuple(value.shape), dtype, origin, first)
    variable = table._register(declaration, value)
    if loaded is None and request.persistent:
        pending.lack(request.name)
    keep_values([variable])
    return variable


def regularize(run: Pass, name: str) -> None:
    """Call a new variable's regularizer, to see whether it returns a loss; if not, drop it.

    As in TensorFlow after the variable is stored: if it raises, the variable stays.
    """
    table: VariableTable = run.store
    with table._lock.held, torch.no_grad():
        made = table._declared[name]
        variable = table._fetch(made.key)
        dropped = replace(made, regularizer=None)
        if not callable(made.regularizer):
            table._declared[name] = dropped
            if made.regularizer is not False:  # False means none, as in TensorFlow.
                raise _misfit(name, f"is a function of the variable, not {made.regularizer!r}")
            return
        table._declared[name] = replace(made, regularizer=_Raised(made.regularizer, run))
        returned = made.regularizer(variable)
        try:
            _as_losses(name, returned, variable)
        except TypeError:
            table._declared[name] = dropped
            raise
        table._declared[name] = dropped if returned is None else made


def losses_of(made: Declaration, variable: torch.Tensor) -> list[torch.Tensor]:
    """What a variable's regularizer returns now: scalars, none of them for None."""
    regularizer = made.regularizer
    return [] if regularizer is None else _as_losses(made.name, regularizer(variable), variable)


def _as_losses(name: str, returned: Any, variable: torch.Tensor) -> list[torch.Tensor]:
    losses: list[torch.Tensor] = []
    given = cast("tuple[Any, ...]", returned) if isinstance(returned, tuple) else (returned,)
    for loss in given:
        if isinstance(loss, torch.Tensor):
            if loss.dim():
                raise _misfit(name, f"returned a tensor of shape {tuple(loss.shape)}, not a scalar")
            losses.append(loss)
        elif isinstance(loss, Number) and not isinstance(loss, bool):
            losses.append(torch.as_tensor(loss, device=variable.device))
        elif loss is not None:
            raise _misfit(name, f"returned a {type(loss).__name__}, not a scalar")
    return losses


def _misfit(name: str, problem: str) -> TypeError:
    return TypeError(
        f"Variable {name!r}: its regularizer {problem}; for example "
        "regularizer=ts.l2_regularizer(1e-4)."
    )


class _Raised:
    """A regularizer that raised when the variable was made: it adds no loss in that pass."""

    def __init__(self, regularizer: Callable[..., Any], run: Pass) -> None:
        self.regularizer, self.begun = regularizer, ref(run)

    def __call__(self, variable: torch.Tensor) -> Any:
        run = self.begun()
        is_same = run is not None and run in (*here.passes, here.endless)
        return None if is_same else self.regularizer(variable)

    def __reduce__(self) -> Any:
        return copy, (self.regularizer,)


def _placed(
    table: VariableTable, value: torch.Tensor, device: torch.device, dtype: torch.dtype
) -> torch.Tensor:
    """``value`` on the device, and in the float dtype, that the store was moved to."""
    if table._float_dtype is not None and dtype.is_floating_point:
        dtype = table._float_dtype
    return value.to(device, dtype)


def _loaded_as(
    table: VariableTable, request: Request, value: torch.Tensor, origin: Origin
) -> torch.dtype:
    """The dtype that the variable is declared with; raises if the loaded value does not fit."""
    pending = table._pending
    if not request.complete and callable(request.initializer):
        first = first_value(request, table._seed)
        shape, dtype = tuple(first.shape), first.dtype
    else:
        shape, dtype = request.brings()
    if not fits(shape, tuple(value.shape)):
        raise VariableMismatchError(
            request.name,
            f"Variable {request.name!r} is asked for with shape {shape}, but was loaded "
            f"with {tuple(value.shape)}. Load a state dict that fits, or drop the value: "
            f"del store[{request.name!r}].",
        )
    if pending.terms.exact and not keeps_all(value.dtype, dtype or value.dtype):
        raise VariableMismatchError(
            request.name,
            f"Variable {request.name!r} is asked for with dtype {dtype}, but was loaded as "
            f"{value.dtype}. Convert the value before it is loaded, or drop it: "
            f"del store[{request.name!r}].",
        )
    wanted = dtype or request.dtype
    problem = untrainable(value) if wanted.is_floating_point or wanted.is_complex else ""
    if pending.assign and problem:
        raise VariableMismatchError(
            request.name,
            f"Variable {request.name!r} is asked for with dtype {wanted}, but what was loaded "
            f"{problem}. Load without assign=True.",
        )
    if request.device is not None and request.device.type == "meta" and not pending.assign:
        warn(
            origin,
            f"The value loaded for {request.name!r} is lost, because the variable is made on the "
            "meta device. Load with load_state_dict(state_dict, assign=True).",
        )
    return wanted


# ---- whether it can be made ----------------------------------------------------------------------


def check_can_make(table: VariableTable, what: str, name: str) -> None:
    """Raise if ``name`` cannot be made now, here, or at all."""
    problem, advice = "", "Build the model before: net.build(*example)."
    if is_compiling() or _C._is_tracing() or _is_fx_tracing():
        problem = "would have to be made while the model is traced (compiled or exported)."
    elif _C._are_functorch_transforms_active():
        problem = "would have to be made inside a function transform, and be lost with it."
        advice = "Ask for it outside the transform first, or build: net.build(*example)."
    elif "_is_replica" in table.__dict__:
        problem = "would have to be made in a replica of DataParallel, and be lost with it."
    elif table._finalized:
        problem = f"is new, but the store is finalized.{table._nearest(name)}"
    if problem:
        raise NotBuiltError(name, f"{what} {name!r} {problem} {advice}")
    _names.check_variable(name)
    table._check_outside_modules(what, name)


def _is_fx_tracing() -> bool:
    # It pushes a mode on one of torch's two stacks; on that of functions if it traces pre-dispatch.
    if not (_C._len_torch_dispatch_stack() or function_modes()):
        return False
    fx = sys.modules.get("torch.fx.experimental.proxy_tensor")
    mode_of = getattr(fx, "get_proxy_mode", None)  # None also while another thread imports it.
    return mode_of is not None and mode_of() is not None


def warn_of_late(table: VariableTable, what: str, name: str, origin: Origin) -> None:
    """Warn of a variable that is made after an optimizer or the like may have read the others."""
    parameters = table._parameters
    if table._built and not table._grows:
        warn(
            origin,
            f"{what} {name!r} is made after the net was built: an optimizer, DDP or FSDP made "
            "before does not hold it. Build with inputs that reach it: net.build(*example); "
            "net.finalize() makes this an error.",
        )
    elif isinstance(parameters, Unbuilt) and parameters.read_at is not None:
        read_at, parameters.read_at = parameters.read_at, None
        warn(
            origin,
            f"The parameters were read at {read_at}, before any was made: the code there (an "
            f"optimizer, an average, an init?) holds none. Build first: {parameters.build}.",
        )


def reset_variable(table: VariableTable, made: Declaration) -> tuple[torch.Tensor, torch.Tensor]:
    """A variable and the value that a first build gave it."""
    request = made.again()
    value = first_value(request, table._seed)
    if made.first is not None and checksum(value) != made.first:
        request.initializer = made.as_then
        value = first_value(request, table._seed)
        check_same("initializer", made.name, made.first, checksum(value))
    return table._writable(made), value
