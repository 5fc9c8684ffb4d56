"""bind: lets a function run again, later and elsewhere, as it would have run here."""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar, overload

from typing_extensions import ParamSpec

from ._default import current_pass
from ._pass import Open, Pass, here
from ._scope import scope_at

P = ParamSpec("P")
R = TypeVar("R")


@overload
def bind(fn: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def bind() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]: ...
def bind(fn: Callable[..., Any] | None = None, /) -> Any:
    """``fn``, bound to the current store, scope and pass, for activation checkpointing.

    ``torch.utils.checkpoint`` runs a function again while gradients are computed: outside every
    scope, maybe in another thread. A bound function always starts in the scope where it was bound,
    and with the pass as its first call found it; names that the first call meets count as met in
    the pass.

    >>> import torch, torchscope as ts
    >>> from torch.utils.checkpoint import checkpoint
    >>> def block(x):
    ...     return torch.tanh(x @ ts.get_variable("w", [3, 3]))
    >>> with ts.VariableStore() as store, ts.variable_scope("h0"):
    ...     y = checkpoint(ts.bind(block), torch.ones(1, 3), use_reentrant=False)
    >>> y.sum().backward()
    >>> store["h0/w"].grad.shape
    torch.Size([3, 3])

    Without a function it can be passed to ``checkpoint`` as ``context_fn``:
    ``checkpoint(block, x, use_reentrant=False, context_fn=ts.bind)``.
    """
    if fn is not None and not callable(fn):
        raise TypeError(f"bind takes a function, not {fn!r}.")
    snapshot = _Snapshot(current_pass())
    if fn is None:
        return _Again(snapshot), _Again(snapshot)

    def bound(*args: Any, **kwargs: Any) -> Any:
        passes = here.passes
        depth = len(passes)
        run = snapshot.begin()
        try:  # See `Pass.whole`.
            passes.append(run)
            result = fn(*args, **kwargs)
        finally:
            left = passes[depth:]
            del passes[depth:]
            snapshot.end(run)
        return run.whole(result, left)

    if isinstance(fn, functools.partial):  # It has no name, which Dynamo's `wraps` needs.
        return bound
    return functools.wraps(fn)(bound)


class _BoundPass(Pass):
    again = True


class _Snapshot:
    """The scopes when bound, and the pass at the first run: where every run begins."""

    def __init__(self, run: Pass) -> None:
        self.origin = run
        self.stack = _copied(run.stack)
        self.first = True

    def begin(self) -> Pass:
        origin = self.origin
        # Every run begins with what was met and opened when the first one began.
        if self.first:  # Includes names met since it was bound, or they would be shared silently.
            self.met, self.opened = dict(origin.met), origin.opened.copy()
            self.templates = dict(origin.templates)
        run = _BoundPass(origin.store)
        run.stack = _copied(self.stack)
        run.begun = len(run.stack)
        run.met, run.opened = dict(self.met), self.opened.copy()
        run.templates = dict(self.templates)
        run.values = origin.values if self.first else {}
        return run

    def end(self, run: Pass) -> None:
        """Add what the first run met to the pass; recomputing meets the same again."""
        if self.first:
            self.first = False
            self.origin.met.update(run.met)
            for scope, _, mark, _ in reversed(run.stack[run.begun :]):  # Open after an interrupt.
                run.opened.leave(scope.name, mark)
            self.origin.opened.names.update(run.opened.names)
            self.origin.opened.scattered |= run.opened.scattered
            self.origin.templates.update(run.templates)


def _copied(stack: list[Open]) -> list[Open]:
    """Copies of the open scopes, so that settings changed in a run stay in it."""
    return [
        (scope_at(scope.name, scope.mode, scope.defaults, scope.constraint), by, mark, task)
        for scope, by, mark, task in stack
    ]


class _Again:
    """A context manager that runs from a snapshot; may be nested."""

    def __init__(self, snapshot: _Snapshot) -> None:
        self._snapshot = snapshot
        self._runs: list[Pass] = []

    def __enter__(self) -> None:
        self._runs.append(self._snapshot.begin().__enter__())

    def __exit__(self, *error: Any) -> None:
        run = self._runs.pop()
        run.__exit__(*error)
        self._snapshot.end(run)
