"""What Dynamo reads instead of get_variable, variable_scope and a pass; eager code never runs it.

Every line is traced once for each get of a model, and every global that it reads is one thing more
to be checked at each call of compiled code. Not so what stands in the methods of an object made
while tracing, their default arguments included: so what a get or a scope needs is kept there.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from torch.compiler import is_dynamo_compiling

from . import _names
from ._declare import Declaration
from ._default import current_pass
from ._getter import ask
from ._here import LATER, Pass, here, whole
from ._reuse import Reuse, recall
from ._scope import (
    Defaults,
    Opening,
    Place,
    VariableScope,
    innermost,
    open_scope,
    out_of_order,
    variable_scope,
)
from ._store import VariableStore, first_pass, run_pass
from ._table import as_built
from ._variables import get_variable

R = TypeVar("R")

# These globals serve ScopedModule.forward, too, so that Dynamo has no other module's to watch.
FORWARD = is_dynamo_compiling, first_pass


class TracedScope(VariableScope):
    """What ``variable_scope(name)`` returns while tracing, and the scope that it opens, in one."""

    __slots__ = ("run", "settled", "target")

    def __init__(self, run: "TracedPass", target: str) -> None:
        self.run, self.target = run, target
        self.settled: Reuse | None = None  # the mode, once it was entered
        self.constraint = self.outer = self.count = None
        self.undo: Any = None  # by whom it is open

    def __enter__(self, count: Any = len, compiling: Any = is_dynamo_compiling) -> VariableScope:
        run, settled = self.run, self.settled
        if not compiling() and run not in here.passes:  # Kept by the user, and its pass is over.
            raise TypeError(
                f"The scope {self.target!r} is no context manager: with variable_scope(scope):"
            )
        outer: VariableScope = run.scope
        scope = self if settled is None else TracedScope(run, self.target)
        place = Place(outer.place.prefix + self.target)
        scope.place, scope.mode, scope.defaults = place, outer.mode, outer.defaults
        if settled is None:
            self.settled = outer.mode
        elif settled is not Reuse.NO:  # Entered under reuse before, it reuses.
            scope.mode = settled
        opened = run.opened
        if outer.count is None:
            outer.count = count(opened)
        opened[place.name] = None
        scope.outer, scope.undo = outer, self
        run.scope = scope
        return scope

    def __exit__(self, *_: object) -> None:
        run = self.run
        scope: VariableScope = run.scope
        if scope.undo is not self:
            raise out_of_order(scope.name)
        run.scope, scope.undo = scope.outer, None
        if scope.count is not None or run.by_path:
            run.close(scope.place.name, scope.count)


class TracedOpening(Opening):
    """What it returns for anything but a plain name: an opening that remembers no places."""

    __slots__ = ()

    def __init__(self, opening: Opening) -> None:
        self._target, self._asked = opening._target, opening._asked
        self._special, self._run = opening._special, None

    def __enter__(self) -> VariableScope:
        run = current_pass()
        return self._open(run, innermost(run))


class TracedPass(Pass):
    """A pass of compiled code: all in it is made while tracing, and gone with it."""

    __slots__ = ("quick", "structure")

    def __init__(self, store: VariableStore, mode: Reuse = Reuse.NO) -> None:
        self.traced = self.quick = True
        self.by_path = False
        self.task, self.graph_task = None, -1
        self.met, self.opened, self._values, self._templates = {}, {}, None, None
        self.store, self.structure = store, store._structure
        root = TracedScope(self, "")
        root.place, root.mode, root.defaults = Place(""), mode, Defaults()
        self.scope = root

    @property
    def attributes(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        # For Python, to which Dynamo may leave the rest.
        return self.store.__dict__

    @property
    def declared(self) -> dict[str, Declaration]:  # Read where it is needed, which is seldom.
        return self.store._declared

    def __enter__(self) -> "TracedPass":
        here.passes.append(self)
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        passes = here.passes
        if passes[-1] is self and (error is not None or self.scope.outer is None):
            passes.pop()
        else:
            super().__exit__(error)

    def whole(self, result: R, is_a: Any = isinstance, later: Any = LATER) -> R:
        """As the function ``whole``."""
        generator, coroutine, asynchronous = later
        if is_a(result, generator) or is_a(result, coroutine) or is_a(result, asynchronous):
            return whole(result)
        return result

    def get_variable(
        self,
        name: str,
        shape: Any = None,
        dtype: Any = None,
        initializer: Any = None,
        *others: Any,
        as_built: Any = as_built,
        is_callable: Any = callable,
        kind: Any = type,
        as_list: Any = list,
        as_tuple: Any = tuple,
        no: Reuse = Reuse.NO,
        **named: Any,
    ) -> Any:
        """As the function ``get_variable``."""
        scope = self.scope
        defaults = scope.defaults
        if not others and not named and defaults.plain and dtype is defaults.dtype is None:
            built = as_built(self.structure, scope.place.prefix, name, True)
            if (
                built is not None
                and (initializer is None or is_callable(initializer))
                and (shape is None or (kind(shape) is as_list and as_tuple(shape) == built[2]))
                and not (scope.mode is no and built[0] in self.met)
            ):
                found = self.store._parameters.get(built[1])
                if found is not None:
                    self.met[built[0]] = None
                    return found
        return general_get(self, name, shape, dtype, initializer, *others, **named)

    def variable_scope(
        self,
        *given: Any,
        is_plain: Any = _names.is_plain,
        kind: Any = type,
        text: Any = str,
        **named: Any,
    ) -> Any:
        """As the function ``variable_scope``."""
        if named or given[1:] or not given or kind(given[0]) is not text or not is_plain(given[0]):
            return TracedOpening(open_scope(*given, **named))
        return TracedScope(self, given[0])


def general_get(
    run: Pass,
    name: str,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool | None = None,
    collections: Any = None,
    caching_device: Any = None,
    partitioner: Any = None,
    validate_shape: Any = True,
    use_resource: Any = None,
    custom_getter: Any = None,
    constraint: Any = None,
    synchronization: Any = None,
    aggregation: Any = None,
    device: Any = None,
) -> Any:
    scope = innermost(run)
    defaults = scope.defaults
    if defaults.plain and custom_getter is None and (initializer is None or callable(initializer)):
        full_name = scope.place.prefix + name
        found = recall(run, full_name, shape, dtype or defaults.dtype, scope.mode)
        if found is not None:
            return found
    graph_only = {
        "caching_device": caching_device,
        "partitioner": partitioner,
        "validate_shape": validate_shape,
        "use_resource": use_resource,
        "synchronization": synchronization,
        "aggregation": aggregation,
    }
    return ask(
        *(run, scope, name, shape, dtype, initializer, regularizer, None, trainable, collections),
        *(custom_getter, constraint, device, graph_only),
    )


def _get_variable(*given: Any, **named: Any) -> Any:
    passes: list[Any] = here.passes
    if passes and passes[-1].quick:
        return passes[-1].get_variable(*given, **named)
    return general_get(current_pass(), *given, **named)


def _variable_scope(*given: Any, **named: Any) -> Any:
    passes: list[Any] = here.passes
    if passes and passes[-1].quick:
        return passes[-1].variable_scope(*given, **named)
    return TracedOpening(open_scope(*given, **named))


def traced_pass(store: VariableStore, fn: Callable[..., R], args: Any, kwargs: Any) -> R:
    """As ``run_pass``."""
    with TracedPass(store) as run:
        return run.whole(fn(*args, **kwargs))


# Dynamo reads these; torch.compiler.substitute_in_graph, which is public, would import Dynamo.
get_variable._torchdynamo_inline = _get_variable  # type: ignore[attr-defined]
variable_scope._torchdynamo_inline = _variable_scope  # type: ignore[attr-defined]
run_pass._torchdynamo_inline = traced_pass  # type: ignore[attr-defined]
