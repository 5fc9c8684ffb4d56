"""Custom getters, and gets without one; makes nothing.

In: the arguments of the user's call, as one `Request` in which the scope has filled in what was
not given (`VariableScope.complete`). Out: the variable, by way of the reuse table; or, with a
custom getter, what that returns. Only for it do the arguments become single ones again, under
TensorFlow's names, because users' functions take them so.
"""

from __future__ import annotations  # else evaluated at each get, inside _true_getter

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch.compiler import is_dynamo_compiling

from ._arguments import Constraint, DTypeLike, ShapeLike, parameters_of
from ._declaration import Request
from ._dynamo import only_inlined
from ._errors import ScopeError, naming
from ._pass import Pass
from ._reuse import AUTO_REUSE, Reuse, find_or_make, mode_of
from .regularizers import Regularizer

CustomGetter = Callable[..., Any]

# Arguments that mean something only in TensorFlow's graph: accepted, so that ported code runs, and
# dropped. Custom getters get them all, with these values.
GRAPH_ONLY: dict[str, Any] = {
    "caching_device": None,
    "partitioner": None,
    "validate_shape": True,
    "use_resource": None,
    "synchronization": None,
    "aggregation": None,
}
_ACCEPTED = {*GRAPH_ONLY, "auxiliary_name_scope", "values"}


def check_graph_only(arguments: dict[str, Any]) -> None:
    """Raise for an argument that TensorFlow's `get_variable` does not have either."""
    for name in arguments.keys() - _ACCEPTED:
        raise TypeError(f"get_variable() got an unexpected keyword argument {name!r}")


def answer(
    run: Pass,
    request: Request,
    mode: Reuse,
    custom_getter: CustomGetter | None,
    graph_only: dict[str, Any],
) -> Any:
    """The variable, or what the custom getters return; the scope has completed ``request``."""
    if custom_getter is None:
        return find_or_make(run, request.plain(), mode)
    if not callable(custom_getter):
        raise ScopeError(
            request.name,
            f"Variable {request.name!r}: custom_getter is a function f(getter, name, *args, "
            f"**kwargs), not {custom_getter!r}.",
        )
    constraint, others = request.constraint, {**GRAPH_ONLY, **graph_only}
    # As in TensorFlow, which added `constraint` late, only getters that take it get it.
    if takes_constraint(custom_getter):
        others["constraint"], constraint = constraint, None
    return custom_getter(
        getter=_true_getter(run, request, constraint),
        name=request.name,
        shape=request.shape,
        dtype=request.dtype,
        initializer=request.initializer,
        regularizer=request.regularizer,
        reuse=mode.plain,
        trainable=request.trainable is not False,
        collections=request.collections,
        **others,
    )


def _true_getter(run: Pass, asked: Request, constraint_given: Constraint | None) -> CustomGetter:
    """What a custom getter gets as ``getter``; without ``reuse`` it makes or returns."""

    def getter(
        name: str,
        shape: ShapeLike = None,
        dtype: DTypeLike = None,
        initializer: Any = None,
        regularizer: Regularizer | None = None,
        reuse: Any = None,
        trainable: bool | None = None,
        collections: Any = None,
        caching_device: Any = None,
        partitioner: Any = None,
        validate_shape: Any = True,
        use_resource: Any = None,
        synchronization: Any = None,
        aggregation: Any = None,
        constraint: Constraint | None = constraint_given,
    ) -> torch.Tensor:
        request = Request(
            name=name,
            shape=shape,
            dtype=dtype,
            initializer=initializer,
            regularizer=regularizer,
            trainable=trainable,
            collections=collections,
            constraint=constraint,
            device=asked.device,
            buffer=asked.buffer,
            persistent=asked.persistent,
            by_default=asked.by_default,
        )
        mode = AUTO_REUSE if reuse is None else mode_for(name, reuse)
        return find_or_make(run, request.plain(), mode)

    return getter


@only_inlined
def takes_constraint(custom_getter: CustomGetter) -> bool:
    """Whether ``custom_getter`` has a parameter ``constraint``, or takes any keyword."""
    code = getattr(custom_getter, "__code__", None)
    if code is None:  # Chained, or an object: read its signature, which Dynamo cannot do.
        return is_dynamo_compiling() or _accepts_constraint(parameters_of(custom_getter))
    named = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return bool(code.co_flags & inspect.CO_VARKEYWORDS) or "constraint" in named


def _accepts_constraint(takes: dict[str, inspect.Parameter]) -> bool:
    return "constraint" in takes or any(p.kind is p.VAR_KEYWORD for p in takes.values())


def mode_for(full_name: str, reuse: Any) -> Reuse:
    """The mode that ``reuse=`` stands for in a get of ``full_name``."""
    with naming(full_name):
        return mode_of(reuse)
