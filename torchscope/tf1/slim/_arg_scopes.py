"""Arg scopes: default arguments for the functions called inside; they know no function.

An arg scope is a dictionary: key of a function -> {argument: default}.  The innermost one also
holds the outer ones' defaults, so that it can be stored and entered again elsewhere.  The keys are
strings, as TensorFlow's, because Dynamo confuses functions that are keys.
"""

import functools
import inspect
import threading
from collections.abc import Callable
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
Scope: TypeAlias = dict[str, dict[str, Any]]


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
    key = str(func)

    @functools.wraps(func)
    def with_defaults(*args: Any, **kwargs: Any) -> Any:
        defaults = _here.scopes[-1].get(key)
        return func(*args, **(kwargs if defaults is None else {**defaults, **kwargs}))

    with_defaults._key_op = key  # type: ignore[attr-defined]  # TensorFlow's name for it
    return cast("Callable[P, R]", with_defaults)


class arg_scope:  # noqa: N801  # used as a function is
    """Give functions default arguments, for the calls inside.

    Torch: none.

    Args:
        list_ops_or_scope: the functions, each decorated with ``add_arg_scope``; or a scope from an
            earlier ``with arg_scope(...) as scope``, which then replaces all around it.
        kwargs: the defaults; arguments of a call and of inner scopes override them.

    Raises:
        ValueError: a function is not decorated, or defaults are given for a scope.
        TypeError: neither functions nor a scope.
    """

    def __init__(self, list_ops_or_scope: Any, **kwargs: Any) -> None:
        self._given, self._defaults = list_ops_or_scope, kwargs

    def __enter__(self) -> Scope:
        scope = self._scope()
        _here.scopes.append(scope)
        return scope

    def _scope(self) -> Scope:
        given: Any = self._given
        if isinstance(self._given, dict):
            if self._defaults:
                raise ValueError("arg_scope(): give no defaults for a scope that is entered again.")
            return dict(given)
        if not isinstance(self._given, (list, tuple)):
            raise TypeError(
                f"arg_scope(): give a list of functions or an earlier scope, not {given!r}."
            )
        scope = current_arg_scope()
        for function in given:
            if not has_arg_scope(function):
                raise ValueError(f"arg_scope(): {function} is not decorated with @add_arg_scope.")
            key = arg_scope_func_key(function)
            scope[key] = {**scope.get(key, {}), **self._defaults}
        return scope

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _here.scopes.pop()


def current_arg_scope() -> Scope:
    """Return a copy of the current arg scope: key of a function -> default arguments.

    Torch: none.
    """
    return dict(_here.scopes[-1])


def has_arg_scope(func: Callable[..., Any]) -> bool:
    """Whether a function is decorated with ``add_arg_scope``.

    Torch: none.
    """
    return hasattr(func, "_key_op")


def arg_scope_func_key(op: Callable[..., Any]) -> str:
    """Return the key of a function in an arg scope.

    Torch: none.
    """
    return getattr(op, "_key_op", str(op))


def arg_scoped_arguments(func: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the arguments with defaults, which arg scopes may set.

    Torch: none.
    """
    parameters = inspect.signature(func).parameters.values()
    return tuple(p.name for p in parameters if p.default is not p.empty)
