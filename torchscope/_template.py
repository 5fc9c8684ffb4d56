"""make_template: a function whose variables are made at its first call and shared after."""

import functools
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import torch
from typing_extensions import ParamSpec

from . import _names
from ._arguments import GraphKeys
from ._collections import in_collection
from ._default import current_pass
from ._errors import ScopeError
from ._getter import CustomGetter
from ._in_this_pass import in_this_pass
from ._opened import EVERY
from ._opening import get_variable_scope, variable_scope
from ._pass import Pass
from ._scope import Defaults, VariableScope, scope_at
from ._table import VariableTable

P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class _Calls:
    """A template's state in one pass."""

    scope: VariableScope | None = None
    completed: bool = False


class Template(Generic[P, R]):
    """A function with a scope of its own; see :func:`make_template`."""

    def __init__(
        self,
        name: str,
        func: Callable[P, R],
        create_scope_now: bool = False,
        unique_name: str | None = None,
        custom_getter: CustomGetter | None = None,
    ) -> None:
        if name is None:
            raise ScopeError(None, "A template needs a name: make_template('layer', fn).")
        if not isinstance(name, str):
            raise TypeError(f"A template's name is a string, not {name!r}.")
        if not callable(func):
            raise TypeError(f"The template {name!r} needs a function, not {func!r}.")
        self._name = name
        self._func = func
        self._unique_name = unique_name
        self._custom_getter = custom_getter
        self._fixed_scope = self._scope_now() if create_scope_now else None

    def _scope_now(self) -> VariableScope:
        run, outer = current_pass(), get_variable_scope()
        name, opened = _names.join(outer.name, self._unique_name or self._name), run.opened
        if not self._unique_name:
            name = opened.unused(name)
        opened.scattered.add(EVERY)
        opened.names[name] = None
        opened.forget_below(name)
        # As in TensorFlow, a scope made now inherits everything but the dtype.
        defaults = Defaults(custom_getter=self._custom_getter).over(outer.defaults)
        return scope_at(name, outer.mode, replace(defaults, dtype=None))

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        run = current_pass()
        calls = in_this_pass(self, _Calls)
        # The first call in a pass opens a scope by a default name, later ones open it again; if the
        # scope is fixed, all open that one. They reuse once a call has run to its end.
        scope = self._fixed_scope or calls.scope
        if scope is not None:
            if scope is self._fixed_scope:
                _names.check_scope(scope.name.rpartition("/")[2], at_root=False)
            opening = variable_scope(scope, reuse=calls.completed)
        else:
            opening = variable_scope(
                self._unique_name, self._name, custom_getter=self._custom_getter
            )
        with opening as opened:
            if scope is None:
                calls.scope = opened  # Fixed from here on, even if the call fails.
            known = len(run.met)
            result = self._func(*args, **kwargs)
            if not calls.completed:
                calls.completed = True
            elif len(run.met) > known:
                _refuse_new_trainable(run, known, self._name)
            return result

    def __repr__(self) -> str:
        return f"<template {self._name!r} of {self._func!r}>"

    @property
    def name(self) -> str:
        """The name given to make_template."""
        return self._name

    @property
    def func(self) -> Callable[P, R]:
        """The function."""
        return self._func

    @property
    def variable_scope(self) -> VariableScope | None:
        """The scope, once there is one: since the first call in this pass, or since it was made."""
        return self._fixed_scope or in_this_pass(self, _Calls).scope

    @property
    def variable_scope_name(self) -> str | None:
        """The scope's full name and a slash; None before there is a scope."""
        scope = self.variable_scope
        if scope is None:
            return None
        return scope.name if not scope.name or scope.name.endswith("/") else scope.name + "/"

    def _variables(self, key: str) -> list[torch.Tensor]:
        if not in_this_pass(self, _Calls).completed:
            return []
        return in_collection(key, re.escape(self.variable_scope_name or ""))

    @property
    def global_variables(self) -> list[torch.Tensor]:
        """The variables in the scope except local ones; none before a call was completed."""
        return self._variables(GraphKeys.GLOBAL_VARIABLES)

    @property
    def local_variables(self) -> list[torch.Tensor]:
        """The local variables in the scope."""
        return self._variables(GraphKeys.LOCAL_VARIABLES)

    @property
    def trainable_variables(self) -> list[torch.Tensor]:
        """The variables in the scope that require a gradient now."""
        return self._variables(GraphKeys.TRAINABLE_VARIABLES)

    @property
    def variables(self) -> list[torch.Tensor]:
        """All variables in the scope, the local ones last."""
        return self.global_variables + self.local_variables

    @property
    def non_trainable_variables(self) -> list[torch.Tensor]:
        """The variables in the scope that do not require a gradient now."""
        return [variable for variable in self.variables if not variable.requires_grad]


def _refuse_new_trainable(run: Pass, known: int, template: str) -> None:
    table: VariableTable = run.store
    for name in itertools.islice(run.met, known, None):
        made = table._declared.get(name)
        if made is not None and made.trainable and not made.buffer:
            raise ScopeError(
                name,
                f"Variable {name!r} is new in a later call of the template {template!r}, which "
                "shares what its first call made. Ask for it in the first call too, or with "
                f"trainable=False; it was made at {made.origin}.",
            )


def make_template(
    name_: str,
    func_: Callable[..., R],
    create_scope_now_: bool = False,
    unique_name_: str | None = None,
    custom_getter_: CustomGetter | None = None,
    **kwargs: Any,
) -> Template[..., R]:
    """Wrap ``func_`` so that its first call makes its variables and later calls share them.

    >>> import torch, torchscope as ts
    >>> def dense(x):
    ...     return x @ ts.get_variable("w", [3, 3])
    >>> with ts.VariableStore() as store:
    ...     layer = ts.make_template("layer", dense)
    ...     y = layer(layer(torch.ones(1, 3)))
    >>> list(store)
    ['layer/w']

    "First" means within a pass: each pass begins anew.

    Args:
        name_: of the scope, made unique among the scopes where the first call is.
        func_: the function.
        create_scope_now_: fix the scope now and for all passes, not at the first call in each.
        unique_name_: a name for the scope that is used as it is.
        custom_getter_: for the variables of the template.
        kwargs: further arguments for each call of ``func_``.

    Raises:
        ScopeError: no name; or, at a later call, it made a new trainable variable (which stays).
    """
    if kwargs:
        func_ = functools.partial(func_, **kwargs)
    return Template(name_, func_, create_scope_now_, unique_name_, custom_getter_)
