"""VariableScope, and how one is opened and left: a name prefix with a mode and defaults; no tensor.

In: `variable_scope(...)` and `with`. Out: while the block runs, the innermost scope of this
thread's pass. A scope is a plain value: it knows neither a store nor whether it is open. All that
leaving it takes lies in the pass's stack (`_pass`), and default names are counted in `_opened`.

What `variable_scope(...)` returns, an `Opening`, is not the scope that it opens: `with scope:` would
read well and open a scope with *its* settings wherever it stands, which is rarely what was meant.
So `VariableScope` is no context manager, and `with variable_scope(scope):` says it.
"""

import functools
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from weakref import ref

import torch

from . import _names
from ._arguments import Constraint, DTypeLike, GraphKeys, ShapeLike, as_dtype, as_value
from ._collections import in_collection
from ._declaration import Request, is_value
from ._default import current_pass
from ._errors import ScopeError, ScopeOrderError, naming
from ._getter import CustomGetter, answer, drop_graph_only, mode_for
from ._in_this_pass import in_this_pass
from ._pass import Pass, here, in_event_loop, is_by, lost, running_task
from ._reuse import Reuse, mode_of
from .regularizers import Regularizer


@dataclass  # Not frozen, which Dynamo could not trace; nobody assigns to it.
class Defaults:
    """What variables in a scope, and scopes in it, inherit."""

    initializer: Any = None
    regularizer: Regularizer | None = None
    dtype: torch.dtype | None = None
    custom_getter: CustomGetter | None = None

    def __post_init__(self) -> None:
        # Whether no getter, and no value for an initializer, changes what a get asks for.
        self.plain = self.custom_getter is None and not is_value(self.initializer)

    def over(self, outer: "Defaults") -> "Defaults":
        """These, and ``outer``'s where there is none; custom getters chain, these called first."""
        getter = self.custom_getter
        if getter is not None and outer.custom_getter is not None:
            getter = functools.partial(_chained, getter, outer.custom_getter)
        return Defaults(
            outer.initializer if self.initializer is None else self.initializer,
            outer.regularizer if self.regularizer is None else self.regularizer,
            outer.dtype if self.dtype is None else self.dtype,
            outer.custom_getter if getter is None else getter,
        )


NO_DEFAULTS = Defaults()
_NOTHING_SPECIAL = None, None, None
_NO = Reuse.NO  # To read a member off the class takes longer than the test it is read for.


def _chained(
    inner: CustomGetter, outer: CustomGetter, getter: CustomGetter, *args: Any, **kwargs: Any
) -> Any:
    """A custom getter for which the outer scope's stands where the true getter would."""
    return inner(functools.partial(outer, getter), *args, **kwargs)


class VariableScope:
    """A name prefix, a reuse mode and the defaults that variables inside it inherit; a value.

    It names no store: it acts on the store entered now. Got from ``with variable_scope(...) as
    scope`` or ``get_variable_scope()``; entered again by ``with variable_scope(scope):``.
    """

    __slots__ = ("constraint", "defaults", "mode", "name", "prefix")

    name: str
    prefix: str  # what full names of variables in it begin with
    mode: Reuse
    defaults: Defaults
    constraint: Constraint | None  # for variables directly in this scope, as in TensorFlow

    # No __init__: `scope_at` takes half the time, and one is made at each opening.

    def __reduce__(self) -> Any:
        return scope_at, (self.name, self.mode, self.defaults, self.constraint)

    @property
    def reuse(self) -> bool | Reuse:
        """False, True or ``AUTO_REUSE``."""
        return self.mode.plain

    @property
    def initializer(self) -> Any:
        """The default initializer, or None."""
        return self.defaults.initializer

    @property
    def regularizer(self) -> Regularizer | None:
        """The default regularizer, or None."""
        return self.defaults.regularizer

    @property
    def dtype(self) -> torch.dtype | None:
        """The default dtype; None stands for torch's."""
        return self.defaults.dtype

    @property
    def custom_getter(self) -> CustomGetter | None:
        """The custom getter, those of outer scopes chained to it, or None."""
        return self.defaults.custom_getter

    def __repr__(self) -> str:
        return f"VariableScope({self.name!r}, reuse={self.reuse})"

    def _set(self, **changed: Any) -> None:
        self.defaults = replace(self.defaults, **changed)

    def reuse_variables(self) -> None:
        """From now on, and in scopes opened in this one, only return what is there."""
        self.mode = Reuse.YES

    def set_initializer(self, initializer: Any) -> None:
        """Set the default initializer, None for none."""
        self._set(initializer=initializer)

    def set_regularizer(self, regularizer: Regularizer | None) -> None:
        """Set the default regularizer, None for none."""
        self._set(regularizer=regularizer)

    def set_dtype(self, dtype: DTypeLike) -> None:
        """Set the default dtype, None for torch's."""
        self._set(dtype=as_dtype(dtype))

    def set_custom_getter(self, custom_getter: CustomGetter | None) -> None:
        """Set the custom getter, None for none; it replaces, and does not chain."""
        self._set(custom_getter=custom_getter)

    def set_partitioner(self, partitioner: Any) -> None:
        """Do nothing: no variable is partitioned here."""

    set_caching_device = set_use_resource = set_partitioner

    def complete(self, request: Request) -> Request:
        """Fill in, in place, what ``request`` leaves to the scope."""
        defaults = self.defaults
        if request.dtype is not None:
            request.dtype = _explicit_dtype(request)
        if request.dtype is None:
            request.dtype = defaults.dtype
        if request.dtype is None:
            request.dtype, request.by_default = torch.get_default_dtype(), True
        if request.initializer is None:
            request.initializer = defaults.initializer
        if request.regularizer is None:
            request.regularizer = defaults.regularizer
        if request.constraint is None:
            request.constraint = self.constraint
        request.trainable = request.trainable is not False
        return request

    def get_variable(
        self,
        name: str,
        shape: ShapeLike = None,
        dtype: DTypeLike = None,
        initializer: Any = None,
        regularizer: Regularizer | None = None,
        reuse: Any = None,
        trainable: bool | None = None,
        collections: Any = None,
        *,
        custom_getter: CustomGetter | None = None,
        constraint: Constraint | None = None,
        device: Any = None,
        **graph_only: Any,
    ) -> Any:
        """As the function ``get_variable``, in this scope; ``reuse`` overrides the scope's."""
        drop_graph_only("get_variable", graph_only)
        request = Request(
            name=self.full_name(name),
            shape=shape,
            dtype=dtype,
            initializer=initializer,
            regularizer=regularizer,
            trainable=trainable,
            collections=collections,
            constraint=constraint,
            device=device,
        )
        return self.ask(current_pass(), request, reuse, custom_getter, graph_only)

    def full_name(self, name: Any) -> str:
        """The full name of a variable in this scope."""
        if not isinstance(name, str):
            raise TypeError(f"A variable's name is a string, not {name!r}.")
        return self.prefix + name

    def ask(
        self,
        run: Pass,
        request: Request,
        reuse: Any,
        custom_getter: CustomGetter | None,
        graph_only: dict[str, Any],
    ) -> Any:
        """What ``request`` gives in this scope."""
        mode = self.mode if reuse is None else mode_for(request.name, reuse)
        getter = self.defaults.custom_getter if custom_getter is None else custom_getter
        return answer(run, self.complete(request), mode, getter, graph_only)

    def get_collection(self, key: str) -> list[Any]:
        """What of the collection ``key`` lies in this scope."""
        return in_collection(key, re.escape(self.prefix))

    def global_variables(self) -> list[torch.Tensor]:
        """The variables in this scope but local ones, in the order of making."""
        return self.get_collection(GraphKeys.GLOBAL_VARIABLES)

    def trainable_variables(self) -> list[torch.Tensor]:
        """The variables in this scope that require a gradient now."""
        return self.get_collection(GraphKeys.TRAINABLE_VARIABLES)

    def local_variables(self) -> list[torch.Tensor]:
        """The local variables in this scope."""
        return self.get_collection(GraphKeys.LOCAL_VARIABLES)


def scope_at(
    name: str, mode: Reuse, defaults: Defaults, constraint: Constraint | None = None
) -> VariableScope:
    """A scope; nobody has opened it."""
    scope = VariableScope()
    scope.name = name
    scope.prefix = name + "/" if name else ""
    scope.mode = mode
    scope.defaults = defaults
    scope.constraint = constraint
    return scope


def _explicit_dtype(request: Request) -> torch.dtype | None:
    """The dtype that a get names, which a value for its initializer has to have."""
    with naming(request.name):
        dtype = as_dtype(request.dtype)
        if dtype is None or not is_value(request.initializer):
            return dtype
        found = as_value(request.initializer, dtype).dtype
    if found != dtype:
        raise ScopeError(
            request.name,
            f"Variable {request.name!r} is asked for with dtype {dtype}, but the value for its "
            f"initializer is of {found}. Leave dtype out, or convert the value.",
        )
    return dtype


# ---- opening and leaving -------------------------------------------------------------------------


class Opening:
    """What ``variable_scope(...)`` returns: ``with`` it, the scope is open.

    It holds what it was given and nothing of where it is open, so that it may be entered twice and
    by several threads. What a first entering settles for later ones in the same pass, as in
    TensorFlow (the mode; the name taken; the copy of a scope), is kept in the pass.
    """

    __slots__ = ("__weakref__", "_asked", "_special", "_target")

    _target: Any  # a name, a scope or None
    _asked: Reuse
    _special: (
        tuple[str | None, Defaults | None, Constraint | None] | None
    )  # with a default name first

    def __enter__(self) -> VariableScope:
        passes = here.passes
        run = passes[-1] if passes else current_pass()
        stack = run.stack
        outer = stack[-1][0] if stack else innermost(run)
        task = run.task
        if not run.traced and in_event_loop():
            run.check_task(str(self._target))
            run.task = running_task()
        target, mode = self._target, self._asked
        default_name, defaults, constraint = self._special or _NOTHING_SPECIAL
        # By its number, with a reference to tell whose that is: `lost` waits for the opening to die.
        key = self if run.traced else id(self)
        settled_before = run.settled.get(key)
        if settled_before is not None and is_by(settled_before[0], self):
            _, target, mode = settled_before
        elif target is None:
            target = _unused_name(run, outer, default_name, mode)
        if type(target) is str:
            if not _names.is_plain(target):
                _check_name(run, target)
            full_name = outer.prefix + target
            mark = run.opened.enter_name(full_name)
            if mode is _NO:
                mode = outer.mode
            defaults = outer.defaults if defaults is None else defaults.over(outer.defaults)
            scope = scope_at(full_name, mode, defaults, constraint)
            settled = target
        elif isinstance(target, VariableScope):
            mark = run.opened.enter_object(target.name, run.scope_names)
            scope = settled = target
            if target is self._target:  # A copy, which serves all openings in a pass.
                if mode is _NO:
                    mode = target.mode
                defaults = target.defaults if defaults is None else defaults.over(target.defaults)
                scope = settled = scope_at(target.name, mode, defaults, constraint)
        else:
            raise TypeError(f"variable_scope takes a name or a VariableScope, not {target!r}.")
        if mode is not _NO or settled is not self._target:
            run.settled[key] = self if run.traced else ref(self), settled, mode
        stack.append((scope, self if run.traced else ref(self, lost), mark, task))
        return scope

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        passes = here.passes
        run = passes[-1] if passes else current_pass()
        stack = run.stack
        depth = len(stack) - 1
        if depth > 0 and is_by(stack[depth][1], self):
            run.unwind(depth)
        elif kind is not None:
            # An exception on its way out stays itself. Perhaps it is an interrupt, which has kept
            # inner scopes from being left; they are left with this one, if it is open here.
            while depth > 0 and not is_by(stack[depth][1], self):
                depth -= 1
            if depth > 0:
                run.unwind(depth)
        else:
            for depth, (scope, by, mark, task) in enumerate(stack):
                if is_by(by, self):  # It stays open, also when this object dies.
                    stack[depth] = scope, self, mark, task
            inside = innermost(run).name
            raise ScopeOrderError(
                inside,
                f"Scopes must be left in the reverse order of entering; {inside!r} is open still. "
                "Did a generator or a coroutine enter one and pause? Keep `with "
                "variable_scope(...)` around code without yield and await.",
            )

    def __repr__(self) -> str:
        default_name, defaults, constraint = self._special or _NOTHING_SPECIAL
        names = [self._target] if default_name is None else [self._target, default_name]
        named = {**vars(defaults or NO_DEFAULTS), "constraint": constraint}
        named |= {"reuse": self._asked.plain or None, "plain": None}
        shown = [f"{name}={value!r}" for name, value in named.items() if value is not None]
        return f"variable_scope({', '.join([*map(repr, names), *shown])})"


def _unused_name(run: Pass, outer: VariableScope, default_name: Any, mode: Reuse) -> str:
    if mode is not Reuse.NO:
        raise ScopeError(
            None,
            "reuse needs a name: variable_scope(None, default_name) takes a name not used yet. "
            f"Give it one: variable_scope({default_name!r}, reuse=True).",
        )
    if not isinstance(default_name, str):
        raise TypeError(f"variable_scope takes a name as default_name, not {default_name!r}.")
    _check_name(run, default_name)
    return run.opened.unused(outer.prefix + default_name)[len(outer.prefix) :]


def _check_name(run: Pass, name: str) -> None:
    _names.check_scope(name, at_root=not any(run.scope_names))
    if "/" in name:
        run.opened.scattered = True


def variable_scope(
    name_or_scope: str | VariableScope | None,
    default_name: str | None = None,
    values: Any = None,
    initializer: Any = None,
    regularizer: Regularizer | None = None,
    caching_device: Any = None,
    partitioner: Any = None,
    custom_getter: CustomGetter | None = None,
    reuse: Any = None,
    dtype: DTypeLike = None,
    use_resource: Any = None,
    constraint: Constraint | None = None,
    auxiliary_name_scope: Any = None,
) -> Opening:
    """Open a scope: names inside it begin with its own and a slash.

    >>> import torchscope as ts
    >>> with ts.VariableStore() as store:
    ...     with ts.variable_scope("model") as scope:
    ...         first = ts.get_variable("w", [3])
    ...     with ts.variable_scope(scope, reuse=True):
    ...         again = ts.get_variable("w", [3])
    >>> first is again, store.name_of(first)
    (True, 'model/w')

    Entering a ``VariableScope`` goes back to it from anywhere: name, reuse and defaults are its
    own. A name continues the current scope and inherits from it; leaving it starts the counts of
    default names below it again. These rules are TensorFlow 1's
    (tensorflow/python/ops/variable_scope.py).

    Args:
        name_or_scope: a name, which may hold ``/``, or a scope to enter again.
        default_name: with ``name_or_scope=None``: this name, or ``default_name_1`` and so on,
            whichever no scope was opened by yet.
        values: accepted, as all arguments that mean something only in a graph.
        initializer: for variables that name none; also a value.
        regularizer: for variables that name none; ``ts.no_regularizer`` switches one off.
        caching_device: as ``values``.
        partitioner: as ``values``.
        custom_getter: called for each variable as ``custom_getter(getter, name, ...)``; those of
            outer scopes are chained to it.
        reuse: True to only return what is there, ``AUTO_REUSE`` to make what is not. None and
            False inherit: reuse cannot be switched off inside.
        dtype: for variables that name none.
        use_resource: as ``values``.
        constraint: for variables directly in this scope that name none.
        auxiliary_name_scope: as ``values``.

    Raises:
        VariableNameError: on entering; the name is none that TensorFlow accepts.
        ScopeError: ``reuse`` is another value, or given without a name.
        ScopeOrderError: on leaving; another scope was opened after this one and is open still.
        TypeError: neither a name nor a default name, or an unknown argument.
    """
    if name_or_scope is None and default_name is None:
        raise TypeError("variable_scope(None) needs a default_name: variable_scope(None, 'a').")
    # Without an __init__: a function is called faster than a class with arguments.
    opening = Opening()
    opening._target = name_or_scope
    opening._asked = _NO if reuse is None else mode_of(reuse)
    opening._special = None
    plain = initializer is regularizer is dtype is custom_getter is None
    if not (plain and default_name is constraint is None):
        defaults = None
        if not plain:
            defaults = Defaults(initializer, regularizer, as_dtype(dtype), custom_getter)
        opening._special = default_name, defaults, constraint
    return opening


def innermost(run: Pass) -> VariableScope:
    """The current scope of ``run``; its root is made when first asked for."""
    stack = run.stack
    if not stack:
        stack.append((scope_at("", _NO, NO_DEFAULTS), None, 0, run.task))
    return stack[-1][0]


def get_variable_scope() -> VariableScope:
    """The current scope itself: ``get_variable_scope().reuse_variables()`` acts on what follows."""
    return innermost(current_pass())


@contextmanager
def name_scope(
    name: str | None, default_name: str | None = None, values: Any = None
) -> Generator[str]:
    """Accepted so that ported code runs; it names operations in TensorFlow, never variables.

    >>> import torchscope as ts
    >>> with ts.VariableStore() as store, ts.name_scope("tower_0"):
    ...     w = ts.get_variable("w", [2])
    >>> list(store)
    ['w']
    """
    name = default_name if name is None else name
    scope = get_variable_scope()
    # What an optimizer of `torchscope.tf1` names after the operations of a graph asks for this.
    opened = in_this_pass("name_scope", list[tuple[VariableScope, str]])
    outer = opened[-1][1] if opened and opened[-1][0] is scope else scope.prefix
    full_name = f"{outer}{name}/" if name else ""
    opened.append((scope, full_name))
    try:
        yield full_name
    finally:
        opened.pop()
