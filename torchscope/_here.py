"""Where this thread is: the stores it has entered, one pass each; knows of no variable's value."""

import asyncio
import threading
import types
from typing import Any

import torch
from torch.compiler import is_dynamo_compiling

from ._errors import NotBuiltError, ScopeOrderError

# Private in asyncio, public by use: `asyncio.current_task()` raises where no loop runs.
running_loop = asyncio._get_running_loop
graph_task: Any = torch._C._current_graph_task_id


class Pass:
    """One run of a model's code by one thread, from entering a store to leaving it.

    TensorFlow 1's rules hold within a pass as they did within a graph; variables outlive it.
    """

    __slots__ = (
        *("_templates", "_values", "attributes", "by_path", "declared", "graph_task", "met"),
        *("opened", "scope", "store", "task", "traced"),
    )

    again = False  # whether it runs again what another pass has run
    quick = False  # whether it is a TracedPass, which answers gets itself
    endless = False  # whether it is the default store's, which no leaving ends
    begun_in: Any = None  # the scope in which it begins and has to end, if it is not the root

    def __init__(self, store: Any) -> None:
        traced = self.traced = is_dynamo_compiling()
        self.store = store
        # What a get reads: not through nn.Module's own attributes, which take thrice as long.
        self.declared = store._declared
        self.attributes: dict[str, Any] = (
            {"_parameters": {}} if traced else store.__dict__  # Then the store is asked.
        )
        self.scope: Any = None  # the innermost; the root is made when first asked for
        # The names of scopes opened: TensorFlow counts them, but asks only whether there are any.
        # A name that numbers were added to has the last of them.
        self.opened: dict[str, int | None] = {}
        self.by_path = False  # whether one was opened elsewhere than directly below the current
        self.met: dict[str, None] = {}  # the names met, in order
        self._values = self._templates = None
        self.task = None if traced or running_loop() is None else running_task()
        self.graph_task = -1 if traced else graph_task()

    @property
    def values(self) -> dict[Any, list[tuple[str, Any]]]:
        """What was put into collections, with the scope's name; few passes have any."""
        if self._values is None:
            self._values: dict[Any, list[tuple[str, Any]]] | None = {}
        return self._values

    @property
    def templates(self) -> dict[Any, Any]:
        """What templates' calls left."""
        if self._templates is None:
            self._templates: dict[Any, Any] | None = {}
        return self._templates

    @property
    def scopes(self) -> list[Any]:
        """The open scopes, innermost last."""
        scopes: list[Any] = []
        scope = self.scope
        while scope is not None:
            scopes.append(scope)
            scope = scope.outer
        return scopes[::-1]

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
        if not passes or passes[-1] is not self:
            # Whatever lies above was left open, by a generator perhaps; it must not outlive this.
            del passes[passes.index(self) if self in passes else len(passes) :]
            raise ScopeOrderError(
                None,
                "Stores must be left in the reverse order of entering. Did a generator or a "
                "coroutine enter one and pause? Keep `with store:` around code without yield and "
                "await.",
            )
        passes.pop()
        if error is None and not self.endless and self not in passes:
            scope = self.scope
            if scope is not self.begun_in and scope.outer is not None:
                raise ScopeOrderError(
                    scope.name,
                    f"The pass ended inside the scope {scope.name!r}. Did a generator enter it and "
                    "pause? Keep `with variable_scope(...)` around code without yield.",
                )
            if not self.again:
                if self._values:  # A bound function may keep the pass; not the step's graph.
                    self._values.clear()
                if not self.attributes.get("_built"):
                    self.store._pass_ended()

    def check(self, full_name: str) -> None:
        """Raise if whoever asks for ``full_name`` is not the code that began this pass."""
        if not self.traced and self.graph_task != graph_task():
            raise NotBuiltError(
                full_name,
                f"{full_name!r} was asked for while gradients are computed, outside the pass that "
                "first ran this code (activation checkpointing runs it again). Bind the function "
                "to its pass: torch.utils.checkpoint.checkpoint(ts.bind(fn), ...).",
            )
        if self.task is not None:
            self.check_task(full_name)

    def check_task(self, full_name: str) -> None:
        """Raise if another asyncio task than the one that runs opened the innermost scope."""
        if self.task is not None and self.task is not running_task():
            raise ScopeOrderError(
                full_name,
                f"{full_name!r} was asked for in a scope that another asyncio task has entered. "
                "Leave the scope before you await, or enter a store of its own in each task.",
            )

    def close(self, name: str, count: int | None) -> None:
        """Start the counts below ``name`` again, as TensorFlow does when a scope is left.

        ``count`` names had been opened before one was in it; None if none was.
        """
        if self.by_path:
            below = name + "/"
            for opened in [opened for opened in self.opened if opened.startswith(below)]:
                del self.opened[opened]
        elif count is not None:
            while len(self.opened) > count:  # All since then were below it.
                self.opened.popitem()

    def unused(self, name: str) -> str:
        """``name``, or the first of ``name_1``, ``name_2``, ... that no scope was opened by."""
        opened = self.opened
        if name not in opened:
            return name
        number = (opened[name] or 0) + 1
        while (numbered := f"{name}_{number}") in opened:
            number += 1
        opened[name] = number
        return numbered


class _Here(threading.local):
    """This thread's passes, innermost last; made in `__init__`, the form that Dynamo can trace."""

    def __init__(self) -> None:
        self.passes: list[Pass] = []
        self.endless: Pass | None = None  # this thread's share of the default store's pass
        # While a module is built: what is not trained, with the value to be put back.
        self.kept: list[tuple[torch.Tensor, torch.Tensor]] | None = None


here = _Here()


LATER = (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)


def whole(result: Any) -> Any:
    """``result``, unless it has yet to run: after its pass, it would fill another store."""
    if type(result) in LATER:
        kind = type(result).__name__
        if kind == "coroutine":
            result.close()  # Else Python complains that nobody awaited it.
        raise ScopeOrderError(
            None,
            f"The function returned a {kind}, which would run after its pass has "
            "ended, in another store. Write it without yield and await.",
        )
    return result


def running_task() -> Any:
    """The asyncio task that runs now, or None."""
    return None if running_loop() is None else asyncio.current_task()


def entered(store: Any) -> Pass | None:
    """The innermost pass in which this thread is in ``store`` now, or None."""
    passes = here.passes
    if passes and passes[-1].store is store:  # Nearly always, where it is asked by leaving.
        return passes[-1]
    for run in reversed(passes):
        if run.store is store:
            return run
    return None
