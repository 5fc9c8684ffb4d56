"""Variable scopes: VariableScope, variable_scope, get_variable and its kin; hold no tensor."""

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypedDict, TypeVar, cast

import torch
from torch import nn
from torch.compiler import is_dynamo_compiling
from typing_extensions import Unpack

from . import _names
from ._collections import get_collection
from ._declare import (
    Constraint,
    Declaration,
    DTypeLike,
    ShapeLike,
    as_dtype,
    as_shape,
    as_value,
)
from ._errors import ScopeError, ScopeOrderError
from ._here import Pass, running_task
from ._reuse import Reuse, find_or_make, find_or_make_module
from ._store import GraphKeys, current_pass
from .regularizers import Regularizer

CustomGetter = Callable[..., Any]
M = TypeVar("M", bound=nn.Module)


class GraphOnly(TypedDict, total=False):
    """Arguments that mean something only in TensorFlow's graph: accepted, so ported code runs."""

    caching_device: Any
    partitioner: Any
    validate_shape: Any
    use_resource: Any
    synchronization: Any
    aggregation: Any
    auxiliary_name_scope: Any


# What a custom getter finds under those names.
_GRAPH_ONLY_DEFAULTS: dict[str, Any] = {
    "caching_device": None,
    "partitioner": None,
    "validate_shape": True,
    "use_resource": None,
    "synchronization": None,
    "aggregation": None,
}


def _drop_graph_only(function: str, given: Any) -> None:
    for name in given:
        if name not in GraphOnly.__annotations__:
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")


class Defaults(NamedTuple):
    """What variables in a scope, and scopes in it, inherit."""

    initializer: Any = None
    regularizer: Regularizer | None = None
    dtype: torch.dtype | None = None
    custom_getter: CustomGetter | None = None

    def over(self, outer: "Defaults") -> "Defaults":
        """These, and ``outer``'s where there is none; custom getters chain, these called first."""
        getter = self.custom_getter
        if getter is not None and outer.custom_getter is not None:
            getter = _Chained(getter, outer.custom_getter)
        return Defaults(
            outer.initializer if self.initializer is None else self.initializer,
            outer.regularizer if self.regularizer is None else self.regularizer,
            outer.dtype if self.dtype is None else self.dtype,
            outer.custom_getter if getter is None else getter,
        )


_NO_DEFAULTS = Defaults()


class _Chained:
    """A custom getter for which the outer scope's stands where the true getter would."""

    def __init__(self, inner: CustomGetter, outer: CustomGetter) -> None:
        self._inner, self._outer = inner, outer

    def __call__(self, getter: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return self._inner(functools.partial(self._outer, getter), *args, **kwargs)


class VariableScope:
    """A name prefix, a reuse mode and the defaults that variables inside it inherit; a value.

    It names no store: it acts on the store entered now. Got from ``with variable_scope(...) as
    scope`` or ``get_variable_scope()``; entered again by ``with variable_scope(scope):``.
    """

    __slots__ = ("_constraint", "_defaults", "_name", "_prefix", "_reuse")

    def __init__(
        self,
        name: str = "",
        reuse: Reuse = Reuse.NO,
        defaults: Defaults = _NO_DEFAULTS,
        constraint: Constraint | None = None,
    ) -> None:
        self._name = name
        self._prefix = name + "/" if name else ""
        self._reuse = reuse
        self._defaults = defaults
        self._constraint = constraint

    @property
    def name(self) -> str:
        """The full name, ``""`` at the root."""
        return self._name

    @property
    def reuse(self) -> bool | Reuse:
        """False, True or ``AUTO_REUSE``."""
        return self._reuse.plain

    @property
    def mode(self) -> Reuse:
        """The reuse mode; ``reuse`` is how users write it."""
        return self._reuse

    @property
    def defaults(self) -> Defaults:
        """What variables and scopes inside inherit."""
        return self._defaults

    @property
    def initializer(self) -> Any:
        """The default initializer, or None."""
        return self._defaults.initializer

    @property
    def regularizer(self) -> Regularizer | None:
        """The default regularizer, or None."""
        return self._defaults.regularizer

    @property
    def dtype(self) -> torch.dtype | None:
        """The default dtype; None stands for torch's."""
        return self._defaults.dtype

    @property
    def custom_getter(self) -> CustomGetter | None:
        """The custom getter, those of outer scopes chained to it, or None."""
        return self._defaults.custom_getter

    @property
    def constraint(self) -> Constraint | None:
        """The constraint of variables made directly in this scope, or None."""
        return self._constraint

    def __repr__(self) -> str:
        return f"VariableScope({self._name!r}, reuse={self.reuse})"

    def reuse_variables(self) -> None:
        """From now on, and in scopes opened in this one, only return what is there."""
        self._reuse = Reuse.YES

    def set_initializer(self, initializer: Any) -> None:
        """Set the default initializer, None for none."""
        self._defaults = self._defaults._replace(initializer=initializer)

    def set_regularizer(self, regularizer: Regularizer | None) -> None:
        """Set the default regularizer, None for none."""
        self._defaults = self._defaults._replace(regularizer=regularizer)

    def set_dtype(self, dtype: DTypeLike) -> None:
        """Set the default dtype, None for torch's."""
        self._defaults = self._defaults._replace(dtype=as_dtype(dtype))

    def set_custom_getter(self, custom_getter: CustomGetter | None) -> None:
        """Set the custom getter, None for none; it replaces, and does not chain."""
        self._defaults = self._defaults._replace(custom_getter=custom_getter)

    def set_partitioner(self, partitioner: Any) -> None:
        """Do nothing: no variable is partitioned here."""

    set_caching_device = set_partitioner
    set_use_resource = set_partitioner

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
        **graph_only: Unpack[GraphOnly],
    ) -> Any:
        """As the function ``get_variable``, in this scope; ``reuse`` overrides the scope's."""
        return self.request(
            name,
            *(shape, dtype, initializer, regularizer, reuse, trainable, collections),
            custom_getter=custom_getter,
            constraint=constraint,
            graph_only=graph_only,
            kind=Kind(device),
        )

    def request(
        self,
        name: str,
        shape: ShapeLike = None,
        dtype: DTypeLike = None,
        initializer: Any = None,
        regularizer: Regularizer | None = None,
        reuse: Any = None,
        trainable: bool | None = None,
        collections: Any = None,
        custom_getter: CustomGetter | None = None,
        constraint: Constraint | None = None,
        graph_only: Any = None,
        kind: "Kind | None" = None,
    ) -> Any:
        """Fill in the scope's defaults, then ask the custom getter, or the pass."""
        if graph_only:
            _drop_graph_only("get_variable", graph_only)
        if not isinstance(name, str):
            raise TypeError(f"A variable's name is a string, not {name!r}.")
        dtype = as_dtype(dtype)
        if dtype is not None and initializer is not None and not callable(initializer):
            value = as_value(initializer, dtype)
            if value.dtype != dtype:
                raise ScopeError(
                    self._prefix + name,
                    f"Variable {self._prefix + name!r} is asked for with dtype {dtype}, but the "
                    f"value for its initializer is of {value.dtype}. Leave dtype out, or convert "
                    "the value.",
                )
        defaults = self._defaults
        if custom_getter is None:
            custom_getter = defaults.custom_getter
        if dtype is None:
            dtype = defaults.dtype or torch.get_default_dtype()
        getter: Callable[..., Any] = functools.partial(_true_getter, current_pass(), kind or Kind())
        arguments: dict[str, Any] = {
            "shape": shape,
            "dtype": dtype,
            "initializer": defaults.initializer if initializer is None else initializer,
            "regularizer": defaults.regularizer if regularizer is None else regularizer,
            "reuse": self.reuse if reuse is None else reuse,
            "trainable": True if trainable is None else trainable,
            "collections": collections,
            "constraint": self._constraint if constraint is None else constraint,
        }
        if custom_getter is None:
            return getter(self._prefix + name, **arguments)
        if not callable(custom_getter):
            raise ScopeError(
                self._prefix + name,
                f"custom_getter is a function f(getter, name, *args, **kwargs), not "
                f"{custom_getter!r}.",
            )
        # TensorFlow spares a getter `constraint`, which came late, unless it takes it.
        if not _accepts(custom_getter, "constraint"):
            getter = functools.partial(getter, constraint=arguments.pop("constraint"))
        graph_only = _GRAPH_ONLY_DEFAULTS | (graph_only or {})
        return custom_getter(getter=getter, name=self._prefix + name, **arguments, **graph_only)

    def get_collection(self, key: str) -> list[Any]:
        """What of the collection ``key`` lies in this scope."""
        return get_collection(key, re.escape(self._prefix))

    def global_variables(self) -> list[torch.Tensor]:
        """The variables in this scope but local ones, in the order of making."""
        return self.get_collection(GraphKeys.GLOBAL_VARIABLES)

    def trainable_variables(self) -> list[torch.Tensor]:
        """The variables in this scope that require a gradient now."""
        return self.get_collection(GraphKeys.TRAINABLE_VARIABLES)

    def local_variables(self) -> list[torch.Tensor]:
        """The local variables in this scope."""
        return self.get_collection(GraphKeys.LOCAL_VARIABLES)


class Kind(NamedTuple):
    """What torchscope adds to TensorFlow's arguments; custom getters do not see it."""

    device: Any = None
    buffer: bool = False
    persistent: bool = True


def _true_getter(
    run: Pass,
    kind: Kind,
    /,
    name: str,
    shape: ShapeLike = None,
    dtype: DTypeLike = None,
    initializer: Any = None,
    regularizer: Regularizer | None = None,
    reuse: Any = None,
    trainable: bool | None = None,
    collections: Any = None,
    constraint: Constraint | None = None,
    **graph_only: Unpack[GraphOnly],
) -> torch.Tensor:
    """What a custom getter is given as ``getter``; without ``reuse`` it makes or returns."""
    _drop_graph_only("getter", graph_only)
    members = (GraphKeys.GLOBAL_VARIABLES,) if collections is None else _as_keys(name, collections)
    local = GraphKeys.LOCAL_VARIABLES in members and GraphKeys.GLOBAL_VARIABLES not in members
    request = Declaration(
        name,
        as_shape(shape),
        as_dtype(dtype) or torch.get_default_dtype(),
        initializer,
        regularizer,
        trainable=trainable is not False,
        collections=members,
        constraint=constraint,
        device=None if kind.device is None else torch.device(kind.device),
        buffer=kind.buffer or local,
        persistent=kind.persistent and not local,
    )
    return find_or_make(run, request, Reuse.AUTO if reuse is None else Reuse.of(reuse))


def _as_keys(name: str, collections: Any) -> tuple[Any, ...]:
    if not isinstance(collections, (list, tuple, set, frozenset)):
        raise ScopeError(
            name, f"collections is a list such as [ts.GraphKeys.LOCAL_VARIABLES], not {collections!r}."
        )
    return tuple(dict.fromkeys(cast("list[Any]", collections)))


def _accepts(function: Callable[..., Any], argument: str) -> bool:
    parameters = inspect.signature(function).parameters
    return argument in parameters or any(
        parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()
    )


class variable_scope:  # noqa: N801  - TensorFlow's name
    """Open a scope: ``with variable_scope("conv1") as scope:`` prefixes names with ``conv1/``.

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
        custom_getter: called for each variable as ``custom_getter(getter, name, ...)``; those of
            outer scopes are chained to it.
        reuse: True to only return what is there, ``AUTO_REUSE`` to make what is not. None and
            False inherit: reuse cannot be switched off inside.
        dtype: for variables that name none.
        constraint: for variables directly in this scope that name none.

    Raises:
        VariableNameError: on entering; the name is none that TensorFlow accepts.
        ScopeError: ``reuse`` is another value, or given without a name.
        ScopeOrderError: on leaving; another scope was opened after this one and is open still.
        TypeError: neither a name nor a default name, or an unknown argument.
    """

    __slots__ = ("_constraint", "_copy", "_default_name", "_defaults", "_reuse", "_target")

    def __init__(
        self,
        name_or_scope: str | VariableScope | None,
        default_name: str | None = None,
        values: Any = None,
        initializer: Any = None,
        regularizer: Regularizer | None = None,
        *,
        custom_getter: CustomGetter | None = None,
        reuse: Any = None,
        dtype: DTypeLike = None,
        constraint: Constraint | None = None,
        **graph_only: Unpack[GraphOnly],
    ) -> None:
        _drop_graph_only("variable_scope", graph_only)
        if name_or_scope is None and default_name is None:
            raise TypeError("variable_scope(None) needs a default_name: variable_scope(None, 'conv').")
        self._target = name_or_scope
        self._default_name = default_name
        self._reuse = Reuse.of(reuse)
        self._defaults = Defaults(initializer, regularizer, as_dtype(dtype), custom_getter)
        self._constraint = constraint
        self._copy: VariableScope | None = None

    def __enter__(self) -> VariableScope:
        run = current_pass()
        outer = _innermost(run)
        undo = None
        if self._target is None:
            self._target = self._default_target(run, outer)
        if isinstance(self._target, VariableScope):
            _names.check_scope(self._target.name.rpartition("/")[2], at_root=False)
            scope = self._copy = self._copy or self._copied(self._target)
            run.open(scope.name)
            run.by_path = True
            # TensorFlow gives back every number used until this scope is left.
            undo = dict(run.opened)
        else:
            scope = self._within(run, outer, self._target)
            run.open(scope.name)
        run.scopes.append(scope)
        run.entered.append((self, undo, run.task))
        if not is_dynamo_compiling():
            run.task = running_task()
        return scope

    def __exit__(self, *_: object) -> None:
        run = current_pass()
        if not run.entered or run.entered[-1][0] is not self:
            inside = _innermost(run).name
            raise ScopeOrderError(
                inside,
                f"Scopes must be left in the reverse order of entering; {inside!r} is open still. "
                "Did a generator or a coroutine enter one and pause? Keep "
                "`with variable_scope(...)` around code without yield and await.",
            )
        _, undo, task = run.entered.pop()
        scope = run.scopes.pop()
        if not is_dynamo_compiling():
            run.task = task
        if undo is None:
            run.close(scope.name)
        else:
            run.opened = undo

    def _default_target(self, run: Pass, outer: VariableScope) -> str:
        if self._reuse is not Reuse.NO:
            raise ScopeError(
                None,
                "reuse needs a name: variable_scope(None, default_name) takes a name not used yet. "
                f"Give it one: variable_scope({self._default_name!r}, reuse=True).",
            )
        default_name = _checked_name(run, self._default_name)
        unused = run.unused(_names.join(outer.name, default_name))
        return unused[len(outer.name) + 1 :] if outer.name else unused

    def _copied(self, original: VariableScope) -> VariableScope:
        """A scope entered again depends on nothing around it, and is a copy."""
        reuse = original.mode if self._reuse is Reuse.NO else self._reuse
        return VariableScope(
            original.name, reuse, self._defaults.over(original.defaults), self._constraint
        )

    def _within(self, run: Pass, outer: VariableScope, name: str) -> VariableScope:
        """A scope opened by name continues the one around it."""
        full_name = _names.join(outer.name, _checked_name(run, name))
        run.by_path = run.by_path or "/" in name
        if self._reuse is Reuse.NO:  # Kept: entered once under reuse, a manager reuses ever after.
            self._reuse = outer.mode
        return VariableScope(
            full_name, self._reuse, self._defaults.over(outer.defaults), self._constraint
        )


def _checked_name(run: Pass, name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"variable_scope takes a name or a VariableScope, not {name!r}.")
    _names.check_scope(name, at_root=not any(scope.name for scope in run.scopes))
    return name


def _innermost(run: Pass) -> VariableScope:
    scopes = run.scopes
    if not scopes:
        scopes.append(VariableScope())
    return scopes[-1]


def get_variable_scope() -> VariableScope:
    """The current scope itself: ``get_variable_scope().reuse_variables()`` acts on what follows."""
    return _innermost(current_pass())


def get_variable(
    name: str,
    shape: ShapeLike = None,
    dtype: DTypeLike = None,
    initializer: Any = None,
    regularizer: Regularizer | None = None,
    trainable: bool | None = None,
    collections: Any = None,
    *,
    custom_getter: CustomGetter | None = None,
    constraint: Constraint | None = None,
    device: Any = None,
    **graph_only: Unpack[GraphOnly],
) -> Any:
    """Return the variable ``name`` of the current scope, making it if that is allowed.

    The same full name always gives the same tensor object:

    >>> import torchscope as ts
    >>> with ts.VariableStore(), ts.variable_scope("layer", reuse=ts.AUTO_REUSE):
    ...     first = ts.get_variable("weight", [3, 2])
    ...     again = ts.get_variable("weight", [3, 2])
    >>> first is again, first.shape
    (True, torch.Size([3, 2]))

    Args:
        name: name within the scope, for example ``"weight"``; may contain ``/``.
        shape: sizes of a new variable; checked against an existing one when given, where None
            stands for any size.
        dtype: dtype of a new variable, checked against an existing one; the scope's by default,
            else torch's default dtype.
        initializer: a function called as ``f(shape, dtype=dtype)``, one of ``torch.nn.init``, or a
            value (then without ``shape``); the scope's by default, else Glorot's uniform one for
            floats, with fans counted as in ``[..., in, out]``, and zeros for integers.
        regularizer: ``f(variable)`` gives a scalar; see ``get_regularization_losses``.
        trainable: False for ``requires_grad=False``.
        collections: names of collections instead of ``[GraphKeys.GLOBAL_VARIABLES]``; with
            ``[GraphKeys.LOCAL_VARIABLES]`` a non-persistent buffer.
        custom_getter: instead of the scope's.
        constraint: ``f(variable)`` gives the value that ``store.apply_constraints()`` puts it to.
        device: of a new variable; by default where the store was moved, else torch's default.
        graph_only: TensorFlow's other arguments; they change nothing.

    Returns:
        The parameter itself, not a copy; what the custom getter makes of it, if there is one.

    Raises:
        VariableExistsError: met in this pass already, and the scope does not reuse.
        VariableMissingError: the scope only reuses, and the name is new.
        VariableMismatchError: it exists with another shape or dtype, or the initializer gave one.
        VariableNameError: TensorFlow would not accept the name.
        ScopeError: the shape is missing or given beside a value, or negative.
        NotBuiltError: it would have to be made while tracing, or after ``finalize()``.
        TypeError: a name, shape, dtype or initializer that is none.
    """
    return get_variable_scope().request(
        name,
        *(shape, dtype, initializer, regularizer, None, trainable, collections),
        custom_getter=custom_getter,
        constraint=constraint,
        graph_only=graph_only,
        kind=Kind(device),
    )


def get_local_variable(
    name: str,
    shape: ShapeLike = None,
    dtype: DTypeLike = None,
    initializer: Any = None,
    regularizer: Regularizer | None = None,
    trainable: bool | None = None,
    collections: Any = None,
    *,
    custom_getter: CustomGetter | None = None,
    constraint: Constraint | None = None,
    device: Any = None,
    **graph_only: Unpack[GraphOnly],
) -> Any:
    """As :func:`get_variable`, for a variable that no state dict keeps: a non-persistent buffer.

    It is listed by ``local_variables()`` and never trained, whatever ``trainable`` says.

    >>> import torchscope as ts
    >>> with ts.VariableStore() as store:
    ...     count = ts.get_local_variable("count", [], initializer=ts.zeros_initializer())
    >>> list(store), store.state_dict()
    (['count'], OrderedDict())
    """
    return get_variable_scope().request(
        name,
        *(shape, dtype, initializer, regularizer, None, False),
        collections=[*(collections or []), GraphKeys.LOCAL_VARIABLES],
        custom_getter=custom_getter,
        constraint=constraint,
        graph_only=graph_only,
        kind=Kind(device),
    )


def get_buffer(
    name: str,
    shape: ShapeLike = None,
    dtype: DTypeLike = None,
    initializer: Any = None,
    *,
    collections: Any = None,
    persistent: bool = True,
    device: Any = None,
) -> Any:
    """As :func:`get_variable`, for state that the forward changes, such as moving averages.

    A buffer of the module: no parameter, so optimizers and DDP's gradients leave it alone. It is
    counted among ``global_variables()``.

    >>> import torchscope as ts
    >>> with ts.VariableStore() as store:
    ...     mean = ts.get_buffer("moving_mean", [4], initializer=ts.zeros_initializer())
    ...     _ = ts.assign_add(mean, torch.ones(4))
    >>> list(store.state_dict()), list(store.parameters())
    (['moving_mean'], [])

    Args:
        name: name within the scope.
        shape: as for :func:`get_variable`.
        dtype: as for :func:`get_variable`.
        initializer: as for :func:`get_variable`.
        collections: as for :func:`get_variable`.
        persistent: whether the state dict keeps it.
        device: as for :func:`get_variable`.

    Raises:
        VariableMismatchError: the variable exists and is a parameter.
        ScopeError: as for :func:`get_variable`.
    """
    return get_variable_scope().request(
        name,
        *(shape, dtype, initializer, None, None, False, collections),
        kind=Kind(device, buffer=True, persistent=persistent),
    )


def get_module(name: str, factory: Callable[[], M]) -> M:
    """Return the ``nn.Module`` ``name`` of the current scope, making it if that is allowed.

    Reuse holds for it as for a variable; its parameters train and are saved with the store.

    >>> import torch, torchscope as ts
    >>> with ts.VariableStore() as store, ts.variable_scope("head", reuse=ts.AUTO_REUSE):
    ...     dense = ts.get_module("dense", lambda: torch.nn.Linear(3, 4))
    >>> list(store.state_dict())
    ['head/dense.weight', 'head/dense.bias']

    Args:
        name: name within the scope.
        factory: called without arguments where the module is to be made; its random numbers are
            drawn as for variables, from the store's seed and the name.

    Raises:
        VariableExistsError: met in this pass already, and the scope does not reuse; or variables
            were made under that name.
        VariableMissingError: the scope only reuses, and the name is new.
        TypeError: the factory gave no module.
    """
    if not isinstance(name, str):
        raise TypeError(f"A module's name is a string, not {name!r}.")
    run = current_pass()
    scope = _innermost(run)
    return cast("M", find_or_make_module(run, scope._prefix + name, factory, scope._reuse))


class name_scope:  # noqa: N801  - TensorFlow's name
    """Accepted so that ported code runs; it names operations in TensorFlow, never variables.

    >>> import torchscope as ts
    >>> with ts.VariableStore() as store, ts.name_scope("tower_0"):
    ...     w = ts.get_variable("w", [2])
    >>> list(store)
    ['w']
    """

    def __init__(self, name: str | None, default_name: str | None = None, values: Any = None) -> None:
        self._name = default_name if name is None else name

    def __enter__(self) -> str:
        return f"{self._name}/" if self._name else ""

    def __exit__(self, *_: object) -> None:
        pass
