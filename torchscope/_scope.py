"""Variable scopes: VariableScope, variable_scope, get_variable_scope, name_scope; no tensor."""

import functools
import re
import sys
import types
from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.compiler import is_dynamo_compiling

from . import _names
from ._collections import get_collection
from ._declare import Constraint, DTypeLike, GraphKeys, ShapeLike, as_dtype
from ._default import current_pass
from ._errors import ScopeError, ScopeOrderError
from ._getter import GRAPH_ONLY, CustomGetter, ask, drop_graph_only, takes_constraint
from ._here import Pass, here, running_loop, running_task
from ._in_this_pass import in_this_pass
from ._reuse import Reuse, mode_of
from .regularizers import Regularizer


class Place:
    """Where a scope lies: its name, what names in it begin with, and what was found below it.

    Kept from one opening to the next, so that names are checked and joined once: of scopes, with
    their places, in ``below``, of variables, with their full names, in ``full_names``.
    """

    __slots__ = ("below", "full_names", "name", "prefix")

    def __init__(self, name: str) -> None:
        self.name = name
        self.prefix = name + "/" if name else ""
        self.below: dict[str, Place] = {}
        self.full_names: dict[str, str] = {}

    def full_name(self, name: str, made: Collection[str]) -> str:
        """``name`` in this place, from now on found in ``full_names`` if such a name was made."""
        if not isinstance(name, str):
            raise TypeError(f"A variable's name is a string, not {name!r}.")
        full_name = self.prefix + name
        if full_name in made and len(self.full_names) < KEPT:
            full_name = self.full_names[name] = sys.intern(full_name)
        return full_name

    def __reduce__(self) -> Any:
        return Place, (self.name,)  # A copy finds the rest anew.


ROOT = Place("")
KEPT = 1_000  # names below one place: whoever has more uses each but once


@dataclass  # Not frozen, which Dynamo could not trace; nobody assigns to it.
class Defaults:
    """What variables in a scope, and scopes in it, inherit."""

    initializer: Any = None
    regularizer: Regularizer | None = None
    dtype: torch.dtype | None = None
    custom_getter: CustomGetter | None = None

    def __post_init__(self) -> None:
        # Whether no getter, and no value for an initializer, changes what a get asks for.
        value = self.initializer is not None and not callable(self.initializer)
        getter = self.custom_getter
        self.plain = getter is None and not value
        self.takes_constraint = getter is not None and takes_constraint(getter)

    def over(self, outer: "Defaults") -> "Defaults":
        """These, and ``outer``'s where there is none; custom getters chain, these called first."""
        if self is NO_DEFAULTS:
            return outer
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
_NO, _YES = Reuse.NO, Reuse.YES
_NOTHING_SPECIAL = None, NO_DEFAULTS, None


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

    __slots__ = ("constraint", "count", "defaults", "mode", "outer", "place", "undo")

    place: Place
    mode: Reuse
    defaults: Defaults
    constraint: Constraint | None  # for variables directly in this scope, as in TensorFlow
    # While it is open: the scope around it; how many names had been opened before one was in it;
    # and what else than usual is to be put back.
    outer: "VariableScope | None"
    count: int | None
    undo: Any

    # No __init__, which would be called at each opening: see Opening.__enter__.

    @classmethod
    def at(
        cls,
        place: Place,
        mode: Reuse = _NO,
        defaults: Defaults = NO_DEFAULTS,
        constraint: Constraint | None = None,
    ) -> "VariableScope":
        """A scope that nobody has opened."""
        scope = VariableScope()
        scope.place, scope.mode, scope.defaults = place, mode, defaults
        scope.constraint = constraint
        scope.outer = scope.count = scope.undo = None
        return scope

    def __reduce__(self) -> Any:
        return VariableScope.at, (self.place, self.mode, self.defaults, self.constraint)

    def with_outer_ones(self) -> "VariableScope":
        """A copy, in copies of the scopes around it; what is set on either stays there."""
        scope = VariableScope.at(self.place, self.mode, self.defaults, self.constraint)
        scope.outer = None if self.outer is None else self.outer.with_outer_ones()
        return scope

    @property
    def name(self) -> str:
        """The full name."""
        return self.place.name

    @property
    def prefix(self) -> str:
        """What full names of variables in it begin with."""
        return self.place.prefix

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
        self.mode = _YES

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
        arguments = shape, dtype, initializer, regularizer, reuse, trainable, collections
        others = custom_getter, constraint, device, GRAPH_ONLY | graph_only
        return ask(current_pass(), self, name, *arguments, *others)

    def get_collection(self, key: str) -> list[Any]:
        """What of the collection ``key`` lies in this scope."""
        return get_collection(key, re.escape(self.prefix))

    def global_variables(self) -> list[torch.Tensor]:
        """The variables in this scope but local ones, in the order of making."""
        return self.get_collection(GraphKeys.GLOBAL_VARIABLES)

    def trainable_variables(self) -> list[torch.Tensor]:
        """The variables in this scope that require a gradient now."""
        return self.get_collection(GraphKeys.TRAINABLE_VARIABLES)

    def local_variables(self) -> list[torch.Tensor]:
        """The local variables in this scope."""
        return self.get_collection(GraphKeys.LOCAL_VARIABLES)


class Opening:
    """What ``variable_scope(...)`` returns: ``with`` it, the scope is open."""

    __slots__ = ("_asked", "_found", "_run", "_scope", "_settled", "_special", "_target")

    _target: Any  # a name, a scope or None
    _asked: Reuse
    _special: tuple[str | None, Defaults, Constraint | None] | None  # with a default name first
    _run: Pass | None  # in which it was opened last
    _scope: VariableScope | None  # while it is open
    # What an opening settles for later ones in the pass, as in TensorFlow: the mode; and, if the
    # target is no name, the name or scope.
    _found: Reuse
    _settled: Any

    def __enter__(self) -> VariableScope:
        passes = here.passes
        run = passes[-1] if passes else current_pass()
        outer = run.scope or innermost(run)
        # Nearly always it is a name that was opened here before.
        if self._special is None and self._run is None and running_loop() is None:
            try:
                place = outer.place.below.get(self._target)
            except TypeError:  # It is no name.
                place = None
            if place is not None:
                scope = VariableScope()
                scope.place = place
                mode = self._asked
                if mode is _NO:
                    mode = outer.mode
                scope.mode = self._found = mode
                scope.defaults = outer.defaults
                scope.constraint = scope.count = scope.undo = None
                scope.outer = outer
                opened = run.opened
                if outer.count is None:
                    outer.count = len(opened)
                opened[place.name] = None
                self._run = run
                self._scope = run.scope = scope
                return scope
        return self._open(run, outer)

    def _open(self, run: Pass, outer: VariableScope) -> VariableScope:
        """The same for what is less usual: a new or a default name, a scope, settings, tasks."""
        compiling = is_dynamo_compiling()
        in_a_task = not compiling and running_loop() is not None
        if in_a_task:
            run.check_task(str(self._target))
        default_name, defaults, constraint = self._special or _NOTHING_SPECIAL
        target, mode = self._target, self._asked
        settled: Any = None
        before, by_path = self._run, run.by_path
        opened: dict[str, int | None] | int | None = None
        if before is not None and before.met is run.met:
            mode = self._found
            if type(target) is not str:
                target = settled = self._settled
        elif target is None:
            target = settled = _unused_name(run, outer, default_name, mode)
        if outer.count is None:
            outer.count = len(run.opened)
        if isinstance(target, VariableScope):
            source, place = target, target.place
            by_path, opened = _count_scope(run, outer, place.name)
        else:
            known = type(target) is str and not compiling
            source = outer
            place = outer.place.below.get(target) if known else None
            if place is None:
                place = _place_below(run, outer, target)
                by_path = run.by_path
            run.opened[place.name] = None
        if source is settled:  # One copy serves all openings of a scope in a pass.
            scope = settled
        else:
            if mode is _NO:  # And once it was entered under reuse, it reuses.
                mode = source.mode
            scope = VariableScope.at(place, mode, defaults.over(source.defaults), constraint)
            if source is target:
                settled = scope
        is_open = before is not None and self._scope is not None
        if opened is not None or in_a_task or is_open:
            then = (before, self._scope) if is_open else (run, None)
            links = scope.outer, scope.count, scope.undo
            scope.undo = opened, by_path, run.task, then, links
        scope.outer, scope.count = outer, None
        self._run, self._scope, self._found, self._settled = run, scope, mode, settled
        run.scope = scope
        if in_a_task:
            run.task = running_task()
        return scope

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        run = self._run
        if run is None or self._scope is None or run.scope is not self._scope:
            raise out_of_order(innermost(current_pass()).name)
        scope = self._scope
        run.scope = scope.outer
        if scope.undo is None:
            self._scope = scope.outer = None
            if scope.count is None and not run.by_path:
                return
            count, scope.count = scope.count, None
        else:
            count = scope.count
            opened, by_path, run.task, (self._run, self._scope), links = scope.undo
            scope.outer, scope.count, scope.undo = links
            if opened is not None:
                _take_back(run, opened)
                run.by_path = by_path
                return
        run.close(scope.place.name, count)


def out_of_order(inside: str) -> ScopeOrderError:
    """The error of leaving another scope than ``inside``, the current one."""
    return ScopeOrderError(
        inside,
        f"Scopes must be left in the reverse order of entering; {inside!r} is open still. Did a "
        "generator or a coroutine enter one and pause? Keep `with variable_scope(...)` around code "
        "without yield and await.",
    )


def _unused_name(run: Pass, outer: VariableScope, default_name: Any, mode: Reuse) -> str:
    if mode is not _NO:
        raise ScopeError(
            None,
            "reuse needs a name: variable_scope(None, default_name) takes a name not used yet. "
            f"Give it one: variable_scope({default_name!r}, reuse=True).",
        )
    prefix = outer.place.prefix
    return run.unused(prefix + _checked(run, default_name))[len(prefix) :]


def _place_below(run: Pass, outer: VariableScope, name: Any) -> Place:
    """The place of a scope not opened in ``outer`` before, remembered if that can be."""
    if "/" in _checked(run, name):
        run.by_path = True
    place = Place(outer.place.prefix + name)
    below = outer.place.below
    if not is_dynamo_compiling() and _names.is_plain(name) and len(below) < KEPT:
        below[name] = place
    return place


def _count_scope(
    run: Pass, outer: VariableScope | None, name: str
) -> tuple[bool, dict[str, int | None] | int]:
    """Count the opening of a scope that there was; returns what is put back when it is left.

    These are the names as they stand now, since those given inside are taken back then; or how many
    there are, where all inside will be new: none below ``name`` is left if it is not open.
    """
    opened, by_path = run.opened, run.by_path
    if name not in opened:
        opened[name] = None
        by_path = by_path or outer is None or name.rpartition("/")[0] != outer.name
    run.by_path = by_path
    while outer is not None and not run.by_path:
        run.by_path, outer = outer.place.name == name, outer.outer
    return by_path, opened.copy() if run.by_path else len(opened)


def _take_back(run: Pass, opened: dict[str, int | None] | int) -> None:
    if isinstance(opened, dict):
        run.opened = opened
    else:
        while len(run.opened) > opened:
            run.opened.popitem()


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
    # No __init__ either: a function is called faster than a class with arguments.
    opening = Opening()
    opening._target = name_or_scope
    opening._asked = _NO if reuse is None else mode_of(reuse)
    opening._special = opening._run = None
    plain = initializer is regularizer is dtype is custom_getter is None
    if not (plain and constraint is default_name is None):
        defaults = NO_DEFAULTS
        if not plain:
            defaults = Defaults(initializer, regularizer, as_dtype(dtype), custom_getter)
        opening._special = default_name, defaults, constraint
    return opening


# The same, for `_traced`, where Dynamo is not to read something else instead.
open_scope = types.FunctionType(
    variable_scope.__code__, globals(), "variable_scope", variable_scope.__defaults__
)


def _checked(run: Pass, name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"variable_scope takes a name or a VariableScope, not {name!r}.")
    if not _names.is_plain(name):
        _names.check_scope(name, at_root=not any(scope.name for scope in run.scopes))
    return name


def innermost(run: Pass) -> VariableScope:
    """The current scope of ``run``; its root is made when first asked for."""
    if run.scope is None:
        run.scope = VariableScope.at(ROOT)
    return run.scope


def get_variable_scope() -> VariableScope:
    """The current scope itself: ``get_variable_scope().reuse_variables()`` acts on what follows."""
    return innermost(current_pass())


def _no_names() -> list[tuple[VariableScope, str]]:
    return []


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
    opened = in_this_pass("name_scope", _no_names)
    outer = opened[-1][1] if opened and opened[-1][0] is scope else scope.prefix
    full_name = f"{outer}{name}/" if name else ""
    opened.append((scope, full_name))
    try:
        yield full_name
    finally:
        opened.pop()
