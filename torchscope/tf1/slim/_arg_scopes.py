"""Arg scopes: default arguments for the functions called inside; they know no function.

An arg scope is a dictionary: function -> {argument: default}.  The innermost one holds whatever
the outer ones say, too, so that it can be kept and entered again elsewhere.
"""

import functools
import threading
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, TypeAlias, TypeVar, cast

from typing_extensions import ParamSpec

__all__ = [
    "add_arg_scope",
    "arg_scope",
    "arg_scope_func_key",
    "arg_scoped_arguments",
    "current_arg_scope",
    "has_arg_scope",
]

P = ParamSpec("P")
R = TypeVar("R")
Scope: TypeAlias = dict[Any, dict[str, Any]]


class _Here(threading.local):
    """This thread's scopes; made in ``__init__``, the form that Dynamo can trace."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = [{}]


_here = _Here()


def add_arg_scope(func: Callable[P, R]) -> Callable[P, R]:
    """Let arg scopes give a function default arguments.

    Torch: none.

    >>> @add_arg_scope
    ... def scaled(x, by=1):
    ...     return x * by
    >>> with arg_scope([scaled], by=3):
    ...     scaled(2), scaled(2, by=5)
    (6, 10)
    """

    @functools.wraps(func)
    def with_defaults(*args: Any, **kwargs: Any) -> Any:
        defaults = _here.scopes[-1].get(func)
        return func(*args, **(kwargs if defaults is None else {**defaults, **kwargs}))

    with_defaults.arg_scope_key = func  # type: ignore[attr-defined]
    return cast("Callable[P, R]", with_defaults)


class arg_scope:  # noqa: N801  # used as a function is
    """Give functions default arguments, for the calls inside.

    Torch: none.

    Args:
        list_ops_or_scope: the functions, each decorated with ``add_arg_scope``; or a scope that an
            earlier ``with arg_scope(...) as scope`` gave, which then replaces all around it.
        kwargs: the defaults; what a call says itself goes before, and so do inner scopes.

    Raises:
        ValueError: a function is not decorated, or defaults are given for a scope.
        TypeError: neither functions nor a scope.
    """

    def __init__(self, list_ops_or_scope: Any, **kwargs: Any) -> None:
        if isinstance(list_ops_or_scope, Mapping):
            if kwargs:
                raise ValueError("arg_scope(): a scope that is entered again takes no defaults.")
            self._scope = dict(cast("Scope", list_ops_or_scope))
            return
        if not isinstance(list_ops_or_scope, (list, tuple)):
            raise TypeError(
                f"arg_scope(): give a list of functions or a kept scope, not {list_ops_or_scope!r}."
            )
        functions = cast("Iterable[Callable[..., Any]]", list_ops_or_scope)
        self._scope = current_arg_scope()
        for function in functions:
            if not has_arg_scope(function):
                raise ValueError(f"arg_scope(): {function} is not decorated with @add_arg_scope.")
            key = arg_scope_func_key(function)
            self._scope[key] = {**self._scope.get(key, {}), **kwargs}

    def __enter__(self) -> Scope:
        _here.scopes.append(self._scope)
        return self._scope

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _here.scopes.pop()


def current_arg_scope() -> Scope:
    """Return a copy of the arg scope that holds here: function -> default arguments.

    Torch: none.
    """
    return dict(_here.scopes[-1])


def has_arg_scope(func: Callable[..., Any]) -> bool:
    """Tell whether a function is decorated with ``add_arg_scope``.

    Torch: none.
    """
    return hasattr(func, "arg_scope_key")


def arg_scope_func_key(op: Callable[..., Any]) -> Any:
    """Return the key of a function in an arg scope: the function that was decorated.

    Torch: none.
    """
    return getattr(op, "arg_scope_key", op)


def arg_scoped_arguments(func: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the arguments with defaults, which arg scopes may set.

    Torch: none.
    """
    key: Any = arg_scope_func_key(func)
    defaults = key.__defaults__ or ()
    return key.__code__.co_varnames[key.__code__.co_argcount - len(defaults) :][: len(defaults)]
