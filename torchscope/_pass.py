"""Where this thread is: the stores that it has entered, one pass each; no variable's value.

A *pass* is one run of a model's code by one thread. In: scopes that are opened and left, names that
are met. Out: the current scope, whether a name was met before, the next default name.

Everything needed to leave an open scope is here, in the stack, and not on the object that `with`
holds: that may be entered twice, or by several threads at once. The stack changes by one `append`
at entering and one `pop` at leaving, and leaving also removes inner scopes that an interrupt
(Ctrl-C, a signal handler) has left open.
"""

import asyncio
import functools
import threading
import types
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, cast
from weakref import ref

import torch
from torch.compiler import is_dynamo_compiling

from ._dynamo import only_inlined
from ._errors import NotBuiltError, ScopeError, ScopeOrderError
from ._opened import Mark, Opened

R = TypeVar("R")

_C = cast("Any", torch._C)


# The backward pass that runs in this thread, -1 for none. Not called where Dynamo traces.
graph_task: Callable[[], int] = _C._current_graph_task_id


@only_inlined
def in_event_loop() -> bool:
    """Whether this thread runs an asyncio event loop, so that tasks may interleave."""
    # `current_task` raises where no loop runs. Dynamo traces neither.
    return not is_dynamo_compiling() and asyncio._get_running_loop() is not None


def running_task() -> Any:
    """The asyncio task that runs now, or None."""
    return asyncio.current_task() if in_event_loop() else None


# An open scope: the scope; the object that opened it, see `is_by`; the mark for leaving it, see
# `_opened`; and the asyncio task that had opened the scope around it. A plain tuple: one is made at
# each opening, and any class takes several times as long.
Open: TypeAlias = tuple[Any, Any, Mark, Any]


def is_by(by: Any, opening: Any) -> bool:
    """Whether ``opening`` opened a scope: ``by`` is it while tracing, else a weak reference."""
    return by is opening or (isinstance(by, ref) and by() is opening)


def lost(by: Any) -> None:
    """Leave scopes whose `with` is gone: an interrupt came just before it could leave them.

    Called when an object that opened a scope dies while the scope is open.
    """
    for run in (*here.passes, here.endless):
        while run is not None and len(run.stack) > run.begun and _is_gone(run.stack[-1][1]):
            run.unwind(len(run.stack) - 1)


def _is_gone(by: Any) -> bool:
    return isinstance(by, ref) and by() is None


class Pass:
    """One run of a model's code by one thread, from entering a store to leaving it.

    TensorFlow 1's rules hold within a pass as they did within a graph; variables outlive it.
    """

    again = False  # whether it repeats code that another pass has run
    endless = False  # whether it is the default store's, which never ends

    @only_inlined
    def __init__(self, store: Any) -> None:
        self.traced = traced = is_dynamo_compiling()
        self.store = store
        # A shallow clone has first to part with its original.
        is_plain = not traced and store._owner == id(store)
        self.specs: Any = store._specs if is_plain else store._specs_for(traced)
        self.stack: list[Open] = []  # the open scopes; first the root's, if it was asked for
        self.begun = 0  # how many there were when the pass began
        self.opened = Opened()
        self.met: dict[str, None] = {}  # the names met, in order
        self.values: dict[Any, list[tuple[str, Any]]] = {}  # in collections, with the scope's name
        self.templates: dict[Any, Any] = {}  # what templates and `in_this_pass` have stored
        # What the first entering of an opening fixes for later ones, as in TensorFlow.
        self.fixed: dict[Any, tuple[Any, Any, Any]] = {}
        self.graph_task = -1 if traced else graph_task()
        self.task = asyncio.current_task() if in_event_loop() else None

    @property
    def is_in_scope(self) -> bool:
        """Whether a scope is open that was opened in this pass."""
        return len(self.stack) > self.begun and self.stack[-1][1] is not None

    @property
    def scope_names(self) -> list[str]:
        """The names of the open scopes, innermost last."""
        return [scope.name for scope, *_ in self.stack] or [""]

    # ---- scopes ----------------------------------------------------------------------------

    def unwind(self, depth: int) -> None:
        """Leave all scopes but the ``depth`` outermost.

        Counts first: if interrupted in between, the scope is left again, which changes nothing.
        """
        stack, opened = self.stack, self.opened
        while len(stack) > depth:
            scope, _, mark, self.task = stack[-1]
            if mark != len(opened.names) or opened.scattered:  # Else it has opened nothing.
                opened.leave(scope.name, mark)
            del stack[-1:]

    # ---- the pass itself -------------------------------------------------------------------

    def __enter__(self) -> "Pass":
        """Make this the current pass; one that is current already may be entered again."""
        if self.task is not None and self.task is not running_task():
            raise ScopeOrderError(
                None,
                "This store was entered by another asyncio task of this thread, which has not left "
                "it. Leave it before you await: keep `with store:` around code without await.",
            )
        here.passes.append(self)
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        passes = here.passes
        in_order = bool(passes) and passes[-1] is self
        if in_order:
            passes.pop()
        else:
            # Whatever lies above was left open, by a generator perhaps; it must not outlive this.
            del passes[passes.index(self) if self in passes else len(passes) :]
        if error is None:
            if not in_order:
                raise _left_open()
            if not self.endless and self not in passes:
                self.end()

    def whole(self, result: R, left: "list[Pass]") -> R:
        """End the pass that returned ``result``; ``left`` are the passes that its end removed.

        Three functions run a pass by the same lines: `VariableStore.forward`, ScopedModule's
        `_forward`, and what `bind` returns. Sharing them would put a second frame of torchscope's
        into every traceback. They do not use `with`: an interrupt can come between a block and the
        first line of an `__exit__`, and the pass would stay; before a `finally` it cannot.
        """
        if left != [self]:
            raise _left_open()
        if isinstance(result, _LATER):
            kind = type(result).__name__
            if isinstance(result, types.CoroutineType):
                result.close()  # Else Python complains that nobody awaited it.
            raise ScopeOrderError(
                None,
                f"The function returned a {kind}, which would run after its pass has "
                "ended, outside this store. Write it without yield and await.",
            )
        self.end()
        return result

    def end(self) -> None:
        """The pass has run to its end without an exception, and is no longer current."""
        if len(self.stack) > self.begun and self.is_in_scope:  # Nearly always the first tells.
            name = self.scope_names[-1]
            raise ScopeOrderError(
                name,
                f"The pass ended inside the scope {name!r}. Did a generator enter it and "
                "pause? Keep `with variable_scope(...)` around code without yield.",
            )
        if not self.again:
            self.values.clear()  # A bound function may keep the pass; not the step's graph.
            if not self.store._built:
                self.store._pass_ended()

    def check(self, full_name: str) -> None:
        """Raise if ``full_name`` is asked for in another backward pass or asyncio task."""
        if not self.traced and self.graph_task != graph_task():
            raise NotBuiltError(
                full_name,
                f"{full_name!r} was asked for while gradients are computed, outside the pass that "
                "first ran this code (activation checkpointing runs it again). Bind the function "
                "to its pass: torch.utils.checkpoint.checkpoint(ts.bind(fn), ...).",
            )
        self.check_task(full_name)

    def check_task(self, full_name: str) -> None:
        """Raise if another asyncio task than the one that runs opened the innermost scope."""
        if self.task is not None and self.task is not running_task():
            raise ScopeOrderError(
                full_name,
                f"{full_name!r} was asked for in a scope that another asyncio task has entered. "
                "Leave the scope before you await, or enter a store of its own in each task.",
            )


class ResetPass(Pass):
    """The pass in which initializers and factories are called again; they may not get variables."""

    again = True
    of: str  # the name whose value is made again

    def check(self, full_name: str) -> None:
        raise ScopeError(
            self.of,
            f"The initializer or factory of {self.of!r} asks for {full_name!r}, which works only "
            f"when {self.of!r} is first made. Nothing was reset.",
        )


class _Here(threading.local):
    """This thread's passes, innermost last; made in `__init__`, the form that Dynamo can trace."""

    def __init__(self) -> None:
        self.passes: list[Pass] = []
        self.endless: Pass | None = None  # this thread's share of the default store's pass
        self.ways_out: dict[int, ref[Any]] = {}  # see `WayOut`, by how many passes it leaves
        # While a module is built: what restores its values.
        self.kept: list[Callable[[], object]] | None = None


here = _Here()


def _left_open() -> ScopeOrderError:
    return ScopeOrderError(
        None,
        "Stores must be left in the reverse order of entering. Did a generator or a coroutine "
        "enter one and pause? Keep `with store:` around code without yield and await.",
    )


_LATER: Any = types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType


def entered(store: Any) -> Pass | None:
    """The innermost pass in which this thread is in ``store`` now, or None."""
    for run in reversed(here.passes):
        if run.store is store:
            return run
    return None


class WayOut:
    """The ``__exit__`` of a store; a new object for each ``with``.

    `with` gets it before it enters, and holds it until it has left. If it is freed before it was
    called, an interrupt came in between: then the store is left all the same (as a scope is, by
    `lost`; `test_an_interrupt_as_a_store_is_entered_or_left_leaves_it`).
    """

    def __get__(self, store: Any, owner: Any = None) -> Callable[..., None]:
        if store is None:
            return _leave
        passes, ways_out = here.passes, here.ways_out
        depth = len(passes)

        def lost_store(way_out: Any) -> None:
            if ways_out.get(depth) is way_out:
                del passes[depth:]

        leave = functools.partial(_leave, store)
        ways_out[depth] = ref(leave, lost_store)
        return leave


def _leave(store: Any, kind: Any, error: Any, trace: Any) -> None:
    run = entered(store)
    if run is not None:
        run.__exit__(kind)
        here.ways_out.pop(len(here.passes), None)
    elif kind is None:
        raise ScopeOrderError(None, "This store is left without having been entered.")
