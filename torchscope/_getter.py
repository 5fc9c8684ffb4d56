"""What a get asks for: the scope's defaults filled in, the custom getters called; makes nothing."""

from __future__ import annotations  # else evaluated at each get, inside _true_getter

import inspect
from collections.abc import Callable
from typing import Any, cast

import torch
from torch.compiler import is_dynamo_compiling

from ._declare import (
    Constraint,
    Declaration,
    DTypeLike,
    GraphKeys,
    ShapeLike,
    as_dtype,
    as_shape,
    as_value,
    parameters_of,
)
from ._errors import ScopeError, naming
from ._here import Pass
from ._reuse import AUTO_REUSE, Reuse, find_or_make, mode_of, recall
from .regularizers import Regularizer

CustomGetter = Callable[..., Any]

# What means something only in TensorFlow's graph: accepted, so ported code runs, and dropped.
# Custom getters find the first six among their arguments, with these values.
GRAPH_ONLY: dict[str, Any] = {
    "caching_device": None,
    "partitioner": None,
    "validate_shape": True,
    "use_resource": None,
    "synchronization": None,
    "aggregation": None,
}
_ACCEPTED = {*GRAPH_ONLY, "auxiliary_name_scope", "values"}


def drop_graph_only(function: str, arguments: dict[str, Any]) -> None:
    """Raise for an argument that TensorFlow does not have either."""
    if _ACCEPTED.issuperset(arguments):
        return
    for name in arguments.keys() - _ACCEPTED:
        raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")


def ask(
    run: Pass,
    scope: Any,
    name: str,
    shape: ShapeLike,
    dtype: DTypeLike,
    initializer: Any,
    regularizer: Regularizer | None,
    reuse: Any,
    trainable: bool | None,
    collections: Any,
    custom_getter: CustomGetter | None,
    constraint: Constraint | None,
    device: Any,
    graph_only: dict[str, Any],
    kept: bool | None = None,
) -> Any:
    """The variable ``name`` of ``scope``, or what the custom getters make of it.

    None stands for the scope's. ``kept`` asks for a buffer, and whether the state dict keeps it.
    """
    if not isinstance(name, str):
        raise TypeError(f"A variable's name is a string, not {name!r}.")
    full_name = scope.place.prefix + name
    defaults = scope.defaults
    if dtype is not None:
        dtype = _explicit(full_name, dtype, initializer)
    dtype = dtype or defaults.dtype
    said, dtype = dtype is not None, dtype or torch.get_default_dtype()
    if initializer is None:
        initializer = defaults.initializer
    if regularizer is None:
        regularizer = defaults.regularizer
    if constraint is None:
        constraint = scope.constraint
    if custom_getter is None:
        custom_getter = defaults.custom_getter
    trainable = trainable is not False
    if custom_getter is None:
        mode = scope.mode if reuse is None else _mode(full_name, reuse)
        request = _request(
            full_name,
            shape,
            dtype,
            initializer,
            regularizer,
            trainable,
            collections,
            constraint,
            device,
            said,
            kept,
        )
        return find_or_make(run, request, mode)
    if not callable(custom_getter):
        raise ScopeError(
            full_name,
            f"Variable {full_name!r}: custom_getter is a function f(getter, name, *args, "
            f"**kwargs), not {custom_getter!r}.",
        )
    # TensorFlow spares a getter `constraint`, which came late, unless it takes it.
    own = custom_getter is not defaults.custom_getter
    if takes_constraint(custom_getter) if own else defaults.takes_constraint:
        graph_only = {**graph_only, "constraint": constraint}
        constraint = None
    return custom_getter(
        getter=_true_getter(run, device, said, constraint, kept),
        name=full_name,
        shape=shape,
        dtype=dtype,
        initializer=initializer,
        regularizer=regularizer,
        reuse=scope.mode.plain if reuse is None else reuse,
        trainable=trainable,
        collections=collections,
        **graph_only,
    )


def _explicit(full_name: str, dtype: DTypeLike, initializer: Any) -> torch.dtype | None:
    """The dtype that a get names, which a value for its initializer has to have."""
    with naming(full_name):
        dtype = as_dtype(dtype)
    if initializer is not None and not callable(initializer):
        with naming(full_name):
            found = as_value(initializer, dtype).dtype
        if found != dtype:
            raise ScopeError(
                full_name,
                f"Variable {full_name!r} is asked for with dtype {dtype}, but the value for its "
                f"initializer is of {found}. Leave dtype out, or convert the value.",
            )
    return dtype


def takes_constraint(custom_getter: CustomGetter) -> bool:
    """Whether ``custom_getter`` has a parameter ``constraint``, or takes any keyword."""
    code = getattr(custom_getter, "__code__", None)
    if code is None:  # Chained, or an object: told by its signature, which Dynamo cannot read.
        return is_dynamo_compiling() or _accepts_constraint(parameters_of(custom_getter))
    named = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return bool(code.co_flags & inspect.CO_VARKEYWORDS) or "constraint" in named


def _accepts_constraint(takes: dict[str, inspect.Parameter]) -> bool:
    return "constraint" in takes or any(p.kind is p.VAR_KEYWORD for p in takes.values())


def _true_getter(
    run: Pass, device: Any, said: bool, constraint_given: Constraint | None, kept: bool | None
) -> CustomGetter:
    """What a custom getter is given as ``getter``; without ``reuse`` it makes or returns."""

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
        found = dtype
        if type(dtype) is not torch.dtype:
            with naming(name):
                found = as_dtype(dtype) or torch.get_default_dtype()
        mode = AUTO_REUSE if reuse is None else _mode(name, reuse)
        if type(name) is str and (initializer is None or callable(initializer)):
            variable = recall(run, name, shape, found, mode)
            if variable is not None:
                return variable
        settings = initializer, regularizer, trainable is not False, collections, constraint, device
        return find_or_make(run, _request(name, shape, found, *settings, said, kept), mode)

    return getter


def _mode(full_name: str, reuse: Any) -> Reuse:
    try:
        return mode_of(reuse)
    except ScopeError as error:
        raise ScopeError(full_name, f"Variable {full_name!r}: {error}") from None


def _request(
    full_name: str,
    shape: ShapeLike,
    dtype: torch.dtype,
    initializer: Any,
    regularizer: Regularizer | None,
    trainable: bool,
    collections: Any,
    constraint: Constraint | None,
    device: Any,
    said: bool,
    kept: bool | None,
) -> Declaration:
    local = False
    members: tuple[Any, ...] = _GLOBAL
    if collections is not None:
        members = members_of(full_name, collections)
        local = GraphKeys.LOCAL_VARIABLES in members and GraphKeys.GLOBAL_VARIABLES not in members
    try:
        shape = as_shape(shape)
    except (ScopeError, TypeError):
        with naming(full_name):
            raise
    if device is not None:
        device = torch.device(device)
    return Declaration(
        full_name,
        shape,
        dtype,
        initializer,
        regularizer,
        trainable,
        members,
        constraint,
        device,
        local or kept is not None,
        not local if kept is None else kept,
        not said,
    )


_GLOBAL = (GraphKeys.GLOBAL_VARIABLES,)


def members_of(name: str, collections: Any) -> tuple[Any, ...]:
    """The collections that ``collections=`` puts a variable into."""
    if collections is None:
        return _GLOBAL
    if not isinstance(collections, (list, tuple, set, frozenset)):
        raise ScopeError(
            name,
            f"Variable {name!r}: collections is a list such as [ts.GraphKeys.LOCAL_VARIABLES], not "
            f"{collections!r}.",
        )
    return tuple(dict.fromkeys(cast("list[Any]", collections)))
