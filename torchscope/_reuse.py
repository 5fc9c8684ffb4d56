"""The reuse table: make a variable, return it or refuse, by what this pass has met so far.

In: the pass, a completed `Request` and the scope's mode. Out: the variable, met from now on.

| reuse | unknown to the store | in the store, not met in this pass | met in this pass |
|---|---|---|---|
| NO | make | return | VariableExistsError |
| YES | VariableMissingError | return | return |
| AUTO | make | return | return |

A request is compared with what the variable was *declared* as, never with its tensor.
Compiled code in a pass that began outside it must not guard on the names met, which grow from call
to call: there only the first pass, which is eager, detects a name met twice.
"""

import enum
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, TypeVar

import torch
from torch import is_inference_mode_enabled as is_inferring
from torch import nn
from torch.compiler import is_dynamo_compiling

from ._arguments import GraphKeys, fits
from ._declaration import Request, Spec
from ._dynamo import is_on, only_inlined, uncompiled
from ._errors import NotBuiltError, ScopeError, VariableExistsError, VariableMismatchError
from ._make import make_variable, regularize
from ._make_module import make_module
from ._names import escape
from ._origin import Origin, warn
from ._pass import Pass
from ._table import VariableTable, check_not_being_made
from ._walk import made_at

T = TypeVar("T")


class Reuse(enum.Enum):
    """What a scope does with a name that exists, and with one that does not."""

    NO = "make, or return what an earlier pass made; twice in a pass is an error"
    YES = "return; a missing name is an error"
    AUTO = "make or return"

    def __repr__(self) -> str:
        return "AUTO_REUSE" if self is Reuse.AUTO else f"Reuse.{self.name}"

    @property
    def plain(self) -> "bool | Reuse":
        """The mode as users write it: False, True or AUTO_REUSE."""
        return self if self is AUTO_REUSE else self is _YES


# Reading a member of the class takes longer than the test it is read for.
_NO, _YES, AUTO_REUSE = Reuse.NO, Reuse.YES, Reuse.AUTO


def mode_of(reuse: Any) -> Reuse:
    """The mode that an argument ``reuse=`` stands for; False and None mean the same."""
    if reuse is AUTO_REUSE:
        return AUTO_REUSE
    if reuse is True:
        return _YES
    if reuse is not None and reuse is not False:
        raise ScopeError(
            None, f"reuse is True, False, None or AUTO_REUSE, not {reuse!r}: reuse=True."
        )
    return _NO


def find_or_make(run: Pass, request: Request, reuse: Reuse) -> torch.Tensor:
    """The variable that ``request`` asks for, as ``reuse`` and the pass allow.

    Raises:
        VariableExistsError: met in this pass already, and ``reuse`` is NO.
        VariableMissingError: unknown to the store, and ``reuse`` is YES.
        VariableMismatchError: it exists with another shape or dtype, or is a module.
        ScopeError: the request contradicts itself, or lacks a shape.
    """
    table: VariableTable = run.store
    name = request.name
    if request.shape is not None and request.by_value:
        raise ScopeError(
            name,
            f"Variable {name!r} has a value as its initializer, which has its own shape. Leave "
            "shape out, or use ts.constant_initializer(value).",
        )
    if name in table._made_modules:
        raise VariableMismatchError(
            name,
            f"{name!r} is a module, made at {made_at(table, name)}, not a variable. Use another "
            "name, or get_module.",
        )
    made = _made(run, name, reuse, table._specs, make_variable, request)
    if made is not None:
        if request.regularizer is not None:
            uncompiled(regularize)(run, name)
        return made
    spec = run.specs.get(name) or table._specs[name]
    misfit = _misfit(table, request, spec, met=name in run.met)
    if misfit is not None:
        problem, cure = misfit
        raise VariableMismatchError(
            name,
            f"Variable {name!r} {problem}; first made at {made_at(table, name)}. Ask for {cure}, "
            f"or use another name.{_if_changed(run, name)}",
        )
    _meet(run, name)
    return table._fetch(escape(name))


def find_or_make_module(
    run: Pass,
    full_name: str,
    factory: Callable[..., nn.Module],
    args: Any,
    kwargs: Any,
    reuse: Reuse,
) -> nn.Module:
    """The module ``full_name``, by the same table."""
    table: VariableTable = run.store
    asked = full_name, factory, args, kwargs
    made = _made(run, full_name, reuse, table._made_modules, make_module, *asked)
    if made is not None:
        return made
    _meet(run, full_name)
    return table._fetch_module(full_name)


@only_inlined
def _made(
    run: Pass,
    name: str,
    reuse: Reuse,
    there: Mapping[str, Any],
    make: Callable[..., T],
    *asked: Any,
) -> T | None:
    """What ``make`` makes, if the table says to make; None if it says to return the existing."""
    table: VariableTable = run.store
    compiling = is_dynamo_compiling()
    # What the pass has met may be read, unless it began outside of the code that is compiled now.
    watched = run.traced or not compiling
    if watched:
        run.check(name)
    if name not in there:
        # A value that was loaded for a variable counts as one: the mapping has its name.
        if reuse is Reuse.YES and (name not in table or there is not table._specs):
            table._missing(name, " To make it here, enter its scope with reuse=AUTO_REUSE.")
        if compiling:  # Dynamo shows this error, or skips the call.
            raise NotBuiltError(
                name,
                f"{name!r} would have to be made in compiled code. Build the model before: "
                "net.build(*example).",
            )
        with table._lock.held:
            if name not in there:  # Another thread may have been first.
                if is_on():  # Dynamo runs this code; it must not compile what makes a variable.
                    uncompiled(_tell_given_up)(table, name)
                    make = uncompiled(make)
                making = table._lock.making
                check_not_being_made(table, name)
                was_met, made = name in run.met, None
                making[name] = there is not table._specs
                try:
                    # First met, then there: a thread of this pass would take it for an older one.
                    run.met.setdefault(name)
                    # A tensor made in inference mode could never be trained.
                    with torch.inference_mode(False) if is_inferring() else nullcontext():
                        made = make(table, *asked)
                finally:  # Refused or interrupted, it leaves no trace.
                    making.pop(name, None)
                    if made is None and not was_met:
                        run.met.pop(name, None)
                run.met[name] = None  # As every get ends: a recorded pass notices it by this line.
                return made
    if watched and reuse is Reuse.NO and name in run.met:
        raise VariableExistsError(name, _exists(run, name))
    return None


def _exists(run: Pass, name: str) -> str:
    table: VariableTable = run.store
    spec = table._specs.get(name)
    what, shape = ("Variable", f", shape {spec.shape}") if spec else ("Module", "")
    return (
        f"{what} {name!r} already exists{shape}, first made at {made_at(table, name)}. To share "
        "it, enter its scope with reuse=True or reuse=AUTO_REUSE; for a second one, use another "
        "name or scope."
        + (" For repeated calls: net = ts.ScopedModule(model)." if run.endless else "")
    )


def _tell_given_up(table: VariableTable, name: str) -> None:
    """Warn that torch.compile skips code because it makes a variable."""
    if table._grows:  # Else `forward` is compiled again once the variable is there.
        warn(
            Origin.here(),
            f"{name!r} is made in code that was to be compiled, so torch.compile will never "
            "compile that code. Run it once before compiling it, or use ts.ScopedModule(fn), "
            "which does so by itself.",
        )


@only_inlined
def _meet(run: Pass, name: str) -> None:
    if run.traced or not is_dynamo_compiling():
        run.met[name] = None


# ---- what exists compared with what is asked for -------------------------------------------------


def _if_changed(run: Pass, name: str) -> str:
    """What else to do if an earlier pass made it, such as that of a notebook's edited cell."""
    if run.endless:
        return " If the model has changed since: ts.reset_default_store()."
    if name in run.met:
        return ""
    return (
        " If the model has changed since, make its module or store anew, or forget the variable: "
        f"del net[{name!r}]."
    )


def _misfit(
    table: VariableTable, request: Request, spec: Spec, *, met: bool
) -> tuple[str, str] | None:
    """How the variable differs from what is asked for, and what to ask for instead.

    It compares the declaration: ``.half()``, ``load_state_dict(assign=True)`` or a sharding
    policy may have changed the tensor. A name not yet met in this pass is checked as if it were
    made, where a value decides the dtype. Where no dtype was given, torch's default of now stands
    for its default of then.
    """
    shape, dtype = (request.shape, request.dtype) if met else request.brings()
    if not fits(shape, spec.shape):
        return f"has shape {spec.shape}, not {shape}", f"shape={list(spec.shape)}"
    if request.by_default and spec.by_default and dtype == torch.get_default_dtype():
        dtype = None
    if dtype is not None and dtype != spec.dtype:
        return f"has dtype {spec.dtype}, not {dtype}", f"dtype={spec.dtype}"
    # TensorFlow lets get_local_variable return a global variable.
    wants_buffer = request.buffer and GraphKeys.LOCAL_VARIABLES not in request.collections
    if wants_buffer and not table._declared[request.name].buffer:
        return "is a parameter, not a buffer", "it with get_variable"
    return None
