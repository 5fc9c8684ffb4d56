"""What a get asks for: the scope's defaults filled in, the custom getters called; makes nothing."""

import functools
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
from ._default import current_pass
from ._errors import ScopeError, naming
from ._here import Pass
from ._reuse import Reuse, find_or_make
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
    for name in arguments.keys() - _ACCEPTED:
        raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")


def ask(
    scope: Any,
    name: str,
    arguments: dict[str, Any],
    custom_getter: CustomGetter | None,
    device: Any,
    graph_only: dict[str, Any],
) -> Any:
    """The variable ``name`` of ``scope``, or what the custom getters make of it.

    ``arguments`` are TensorFlow's, those that a custom getter sees; None stands for the scope's.
    """
    drop_graph_only("get_variable", graph_only)
    if not isinstance(name, str):
        raise TypeError(f"A variable's name is a string, not {name!r}.")
    full_name = scope.prefix + name
    initializer = arguments["initializer"]
    with naming(full_name):
        dtype = as_dtype(arguments["dtype"])
    if dtype is not None and initializer is not None and not callable(initializer):
        with naming(full_name):
            found = as_value(initializer, dtype).dtype
        if found != dtype:
            raise ScopeError(
                full_name,
                f"Variable {full_name!r} is asked for with dtype {dtype}, but the value for its "
                f"initializer is of {found}. Leave dtype out, or convert the value.",
            )
    for default in ("initializer", "regularizer", "reuse", "constraint"):
        if arguments[default] is None:
            arguments[default] = getattr(scope, default)
    said = dtype or scope.dtype
    arguments["dtype"] = said or torch.get_default_dtype()
    arguments["trainable"] = arguments["trainable"] is not False
    getter: CustomGetter = functools.partial(_true_getter, current_pass(), device, said is None)
    custom_getter = scope.custom_getter if custom_getter is None else custom_getter
    if custom_getter is None:
        return getter(full_name, **arguments)
    if not callable(custom_getter):
        raise ScopeError(
            full_name,
            f"Variable {full_name!r}: custom_getter is a function f(getter, name, *args, "
            f"**kwargs), not {custom_getter!r}.",
        )
    # TensorFlow spares a getter `constraint`, which came late, unless it takes it.
    if not _takes_constraint(custom_getter):
        getter = functools.partial(getter, constraint=arguments.pop("constraint"))
    graph_only = GRAPH_ONLY | graph_only
    return custom_getter(getter=getter, name=full_name, **arguments, **graph_only)


def _takes_constraint(custom_getter: CustomGetter) -> bool:
    code = getattr(custom_getter, "__code__", None)
    if code is None:  # Chained, or an object: told by its signature, which Dynamo cannot read.
        return is_dynamo_compiling() or _accepts_constraint(parameters_of(custom_getter))
    named = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return bool(code.co_flags & inspect.CO_VARKEYWORDS) or "constraint" in named


def _accepts_constraint(takes: dict[str, inspect.Parameter]) -> bool:
    return "constraint" in takes or any(p.kind is p.VAR_KEYWORD for p in takes.values())


def _true_getter(
    run: Pass,
    device: Any,
    default_dtype: bool,
    /,
    name: str,
    shape: ShapeLike = None,
    dtype: DTypeLike = None,
    initializer: Any = None,
    regularizer: Regularizer | None = None,
    reuse: Any = None,
    trainable: bool | None = None,
    collections: Any = None,
    constraint: Constraint | None = None,
    **graph_only: Any,
) -> torch.Tensor:
    """What a custom getter is given as ``getter``; without ``reuse`` it makes or returns."""
    drop_graph_only("getter", graph_only)
    members = members_of(name, collections)
    local = GraphKeys.LOCAL_VARIABLES in members and GraphKeys.GLOBAL_VARIABLES not in members
    with naming(name):
        shape, dtype = as_shape(shape), as_dtype(dtype)
        mode = Reuse.AUTO if reuse is None else Reuse.of(reuse)
    request = Declaration(
        name,
        shape,
        dtype or torch.get_default_dtype(),
        initializer,
        regularizer,
        trainable=trainable is not False,
        collections=members,
        constraint=constraint,
        device=None if device is None else torch.device(device),
        buffer=local,
        persistent=not local,
        default_dtype=default_dtype,
    )
    return find_or_make(run, request, mode)


def members_of(name: str, collections: Any) -> tuple[Any, ...]:
    """The collections that ``collections=`` puts a variable into."""
    if collections is None:
        return (GraphKeys.GLOBAL_VARIABLES,)
    if not isinstance(collections, (list, tuple, set, frozenset)):
        raise ScopeError(
            name,
            f"Variable {name!r}: collections is a list such as [ts.GraphKeys.LOCAL_VARIABLES], not "
            f"{collections!r}.",
        )
    return tuple(dict.fromkeys(cast("list[Any]", collections)))
