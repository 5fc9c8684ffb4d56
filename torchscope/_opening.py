"""How a scope is opened and left: `variable_scope(...)` and `with`; no tensor.

In: a name or a scope, with settings. Out: while the block runs, the innermost scope of this
thread's pass. Everything needed to leave it is in the pass's stack (`_pass`), and default names are
counted in `_opened`.

What `variable_scope(...)` returns, an `Opening`, is not the scope that it opens. If `with scope:`
worked, it might mean either to go back to the scope or to open its name here. So a `VariableScope`
is not a context manager: write `with variable_scope(scope):`.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from weakref import ref

from . import _names
from ._arguments import Constraint, DTypeLike, as_dtype
from ._default import current_pass
from ._errors import ScopeError, ScopeOrderError
from ._getter import CustomGetter
from ._in_this_pass import in_this_pass
from ._opened import Mark
from ._pass import Pass, here, in_event_loop, is_by, lost, running_task
from ._reuse import Reuse, mode_of
from ._scope import NO_DEFAULTS, Defaults, VariableScope, scope_at
from .regularizers import Regularizer

_NOT_OPEN: Any = None, None, 0, None
ROOT = scope_at("", Reuse.NO, NO_DEFAULTS)  # of every pass that has not been asked for its own
_NO = Reuse.NO  # Reading a member of the class takes longer than the test it is read for.


class Opening:
    """What ``variable_scope(...)`` returns: ``with`` opens the scope.

    It holds its arguments but not where it is open, so that it may be entered twice and
    by several threads. What a first entering fixes for later ones in the same pass, as in
    TensorFlow (the name taken; the copy of a scope), is stored in the pass. The mode, which matters
    where a name is entered again by the same object, is stored here with the pass that found it.
    """

    __slots__ = (
        *("__weakref__", "_asked", "_constraint", "_default_name", "_defaults", "_found"),
        "_target",
    )

    _target: Any  # a name, a scope or None
    _default_name: str | None
    _asked: Reuse
    _defaults: Defaults | None  # what it is given of them, if anything
    _constraint: Constraint | None
    _found: tuple[Any, Reuse] | None  # under which mode a pass first entered it, if it is a name

    def __enter__(self) -> VariableScope:
        passes = here.passes
        run = passes[-1] if passes else current_pass()
        stack = run.stack
        outer = stack[-1][0] if stack else ROOT
        task = run.task  # Leaving sets it back.
        if in_event_loop():
            run.check_task(str(self._target))
            run.task = running_task()
        if type(self._target) is str:
            scope, mark = self._below(run, outer, self._target), len(run.opened.names)
            # The mode: that of this object's first entering in this pass, else as asked, else
            # the outer scope's. Noted only if it is not NO, as nearly all are.
            found, mode = self._found, self._asked
            if found is not None and found[0] is run.met:
                mode = found[1]
            elif mode is _NO:
                mode = outer.mode
            if mode is not _NO:
                self._found = run.met, mode
            scope.mode = mode
        else:
            scope, mark = self._open_again_or_by_default_name(run, outer)
        # Who opened it, without keeping that alive: `lost` is called if it dies before it leaves.
        by = self if run.traced else ref(self, lost)
        stack.append((scope, by, mark, task))
        return scope

    def _open_again_or_by_default_name(
        self, run: Pass, outer: VariableScope
    ) -> tuple[VariableScope, Mark]:
        target, mode = self._target, self._asked
        # By id, with a weak reference that tells whose it is: a strong one would keep it alive.
        key = self if run.traced else id(self)
        fixed = run.fixed.get(key)
        # The name or the scope to open: as a first entering in this pass fixed it, else as given,
        # else the default name with a number that no scope has.
        if fixed is not None and is_by(fixed[0], self):
            _, target, mode = fixed
        elif target is None:
            target = _unused_name(run, outer, self._default_name, mode)
        if self._target is None:
            scope, mark = self._below(run, outer, target), len(run.opened.names)
        elif isinstance(target, VariableScope):
            mark = run.opened.enter_object(target.name, run.scope_names)
            if target is not self._target:
                return target, mark  # One copy serves all openings of a scope in a pass.
            scope = scope_at(target.name, target.mode, target.defaults, self._constraint)
            if self._defaults is not None:
                scope.defaults = self._defaults.over(target.defaults)
        else:
            raise TypeError(f"variable_scope takes a name or a VariableScope, not {target!r}.")
        # A new scope or copy, which later enterings find.
        if mode is not _NO:
            scope.mode = mode
        owner = self if run.traced else ref(self)  # Not with `lost`, which would be called.
        run.fixed[key] = owner, (target if self._target is None else scope), scope.mode
        return scope, mark

    def _below(self, run: Pass, outer: VariableScope, target: str) -> VariableScope:
        """A new scope ``target`` in ``outer``, from which it inherits; counted as opened."""
        if not (target.isidentifier() and target.isascii()) or target[0] == "_":
            _check_name(run, target)
        # As `scope_at`, which would take half as long again.
        scope = VariableScope()
        scope.name = name = outer.prefix + target
        scope.prefix = name + "/" if name else ""
        scope.mode, scope.defaults, scope.constraint = outer.mode, outer.defaults, self._constraint
        if self._defaults is not None:
            scope.defaults = self._defaults.over(outer.defaults)
        run.opened.names[name] = None
        return scope

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        passes = here.passes
        run = passes[-1] if passes else current_pass()
        stack = run.stack
        scope, by, mark, task = stack[-1] if stack else _NOT_OPEN
        is_mine = by is self or (type(by) is ref and by() is self)
        del by  # Kept beyond this object's life, the reference would call `lost`.
        if is_mine:  # As `Pass.unwind`, for one scope.
            run.task, opened = task, run.opened
            if mark != len(opened.names) or opened.scattered:
                opened.leave(scope.name, mark)
            stack.pop()
            return
        mine = [depth for depth, (_, by, *_) in enumerate(stack) if is_by(by, self)]
        if kind is not None:
            # The exception must not be replaced. It may be an interrupt that has kept inner scopes
            # from being left; they are left with this one, if it is open here.
            if mine:
                run.unwind(mine[-1])
            return
        if not mine:
            raise ScopeOrderError(
                None,
                f"Scopes must be left in the reverse order of entering; {self!r} is not open "
                "here: it was not entered, or in another thread or pass. Write `with "
                "variable_scope(...):`, which enters and leaves it.",
            )
        for depth in mine:  # They stay open, also when this object dies.
            scope, _, mark, task = stack[depth]
            stack[depth] = scope, self, mark, task
        inside = run.scope_names[-1]
        raise ScopeOrderError(
            inside,
            f"Scopes must be left in the reverse order of entering; {inside!r} is still open. "
            "Did a generator or a coroutine enter one and pause? Keep `with "
            "variable_scope(...)` around code without yield and await.",
        )

    def __repr__(self) -> str:
        named = {} if self._defaults is None else dict(vars(self._defaults), plain=None)
        named |= {"reuse": self._asked.plain or None, "constraint": self._constraint}
        shown = [repr(self._target)]
        shown += [] if self._default_name is None else [repr(self._default_name)]
        shown += [f"{name}={value!r}" for name, value in named.items() if value is not None]
        return f"variable_scope({', '.join(shown)})"


def _unused_name(run: Pass, outer: VariableScope, default_name: Any, mode: Reuse) -> str:
    if mode is not _NO:
        raise ScopeError(
            None,
            "reuse needs a name: variable_scope(None, default_name) picks a name not used yet. "
            f"Give it one: variable_scope({default_name!r}, reuse=True).",
        )
    if not isinstance(default_name, str):
        raise TypeError(f"variable_scope takes a name as default_name, not {default_name!r}.")
    # Checked before it is counted; with its number, `_below` asks again.
    if not (default_name.isidentifier() and default_name.isascii()) or default_name[0] == "_":
        _check_name(run, default_name)
    return run.opened.unused(outer.prefix + default_name)[len(outer.prefix) :]


def _check_name(run: Pass, name: str) -> None:
    _names.check_scope(name, at_root=not any(run.scope_names))
    if "/" in name:
        run.opened.enter_path(run.scope_names[-1], name)


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
            the first that no scope has opened yet.
        values: accepted and ignored, as all arguments that mean something only in a graph.
        initializer: for variables that are given none; may be a value.
        regularizer: for variables that are given none; ``ts.no_regularizer`` switches it off.
        caching_device: as ``values``.
        partitioner: as ``values``.
        custom_getter: called for each variable as ``custom_getter(getter, name, ...)``; those of
            outer scopes are chained to it.
        reuse: True to only return existing variables, ``AUTO_REUSE`` to make missing ones. None
            and False inherit: reuse cannot be switched off inside.
        dtype: for variables that are given none.
        use_resource: as ``values``.
        constraint: for variables directly in this scope that are given none.
        auxiliary_name_scope: as ``values``.

    Raises:
        VariableNameError: on entering; TensorFlow would not accept the name.
        ScopeError: ``reuse`` is another value, or given without a name.
        ScopeOrderError: on leaving; another scope was opened after this one and is still open.
        TypeError: neither a name nor a default name, or an unknown argument.
    """
    if name_or_scope is None and default_name is None:
        raise TypeError("variable_scope(None) needs a default_name: variable_scope(None, 'a').")
    # Without an __init__: a function is called faster than a class with arguments.
    opening = Opening()
    opening._target = name_or_scope
    opening._asked = _NO if reuse is None else mode_of(reuse)
    opening._default_name, opening._constraint = default_name, constraint
    opening._defaults = opening._found = None
    if not (initializer is regularizer is dtype is custom_getter is None):
        opening._defaults = Defaults(initializer, regularizer, as_dtype(dtype), custom_getter)
    return opening


def innermost(run: Pass) -> VariableScope:
    """The current scope of ``run``, for reading."""
    return run.stack[-1][0] if run.stack else ROOT


def get_variable_scope() -> VariableScope:
    """The current scope itself: ``get_variable_scope().reuse_variables()`` acts on what follows."""
    run = current_pass()
    if not run.stack:  # From now on the pass has a root of its own.
        run.stack.append((scope_at("", _NO, NO_DEFAULTS), None, 0, run.task))
    return innermost(run)


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
    # Read by optimizers of `torchscope.tf1`, whose slots are named after operations of a graph.
    opened = in_this_pass("name_scope", list[tuple[VariableScope, str]])
    outer = opened[-1][1] if opened and opened[-1][0] is scope else scope.prefix
    full_name = f"{outer}{name}/" if name else ""
    depth = len(opened)
    try:
        opened.append((scope, full_name))
        yield full_name
    finally:
        del opened[depth:]
