"""get_variable and its kin: what users ask the current scope for; hold nothing."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from torch import get_default_dtype, nn

from ._declare import Constraint, DTypeLike, GraphKeys, ShapeLike
from ._default import current_pass
from ._getter import GRAPH_ONLY, CustomGetter, ask, members_of
from ._here import graph_task, here
from ._reuse import Reuse, find_or_make_module, is_shape
from ._scope import Defaults, VariableScope, innermost
from .regularizers import Regularizer

M = TypeVar("M", bound=nn.Module)
_NO = Reuse.NO


def get_variable(
    name: str,
    shape: ShapeLike = None,
    dtype: DTypeLike = None,
    initializer: Any = None,
    regularizer: Regularizer | None = None,
    trainable: bool | None = None,
    collections: Any = None,
    caching_device: Any = None,
    partitioner: Any = None,
    validate_shape: Any = True,
    use_resource: Any = None,
    custom_getter: CustomGetter | None = None,
    constraint: Constraint | None = None,
    synchronization: Any = None,
    aggregation: Any = None,
    device: Any = None,
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
        caching_device: accepted, as all arguments that mean something only in a graph, and passed
            to custom getters.
        partitioner: likewise.
        validate_shape: likewise.
        use_resource: likewise.
        custom_getter: instead of the scope's.
        constraint: ``f(variable)`` gives the value that ``store.apply_constraints()`` puts it to.
        synchronization: as ``caching_device``.
        aggregation: likewise.
        device: of a new variable; by default where the store was moved, else torch's default.

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
    passes = here.passes
    run = passes[-1] if passes else current_pass()
    scope = run.scope or innermost(run)
    defaults = scope.defaults
    # Nearly every get is of a variable that is there and fits: then nothing has to be resolved.
    if defaults.plain and custom_getter is None and (initializer is None or callable(initializer)):
        place = scope.place
        # The same as in recall, written out: to call it would take a tenth of the time.
        try:
            full_name = place.full_names.get(name)
        except TypeError:  # It is no string.
            full_name = None
        if full_name is None:
            full_name = place.full_name(name, run.declared)
        made = run.declared.get(full_name)
        asked = dtype or defaults.dtype
        if (
            made is not None
            and (
                (made.default_dtype or made.dtype is get_default_dtype())
                if asked is None
                else asked is made.dtype
            )
            and (
                (type(shape) is list and shape == made.sizes)
                or shape is None
                or is_shape(shape, made)
            )
            and not (scope.mode is _NO and full_name in run.met)
        ):
            if run.graph_task != graph_task() or run.task is not None:
                run.check(full_name)
            run.met[full_name] = None
            try:
                return run.attributes["_parameters"][made.key]
            except KeyError:  # A buffer, or computed from others.
                return run.store._fetch(made)
    graph_only = GRAPH_ONLY
    if custom_getter is not None or not defaults.plain:  # Nobody else sees them.
        graph_only = {
            "caching_device": caching_device,
            "partitioner": partitioner,
            "validate_shape": validate_shape,
            "use_resource": use_resource,
            "synchronization": synchronization,
            "aggregation": aggregation,
        }
    return ask(
        run,
        scope,
        name,
        shape,
        dtype,
        initializer,
        regularizer,
        None,
        trainable,
        collections,
        custom_getter,
        constraint,
        device,
        graph_only,
    )


def get_local_variable(
    name: str,
    shape: ShapeLike = None,
    dtype: DTypeLike = None,
    initializer: Any = None,
    regularizer: Regularizer | None = None,
    trainable: bool | None = None,
    collections: Any = None,
    *others: Any,
    **named: Any,
) -> Any:
    """As :func:`get_variable`, for a variable that no state dict keeps: a non-persistent buffer.

    It is listed by ``local_variables()`` and never trained, whatever ``trainable`` says.

    >>> import torchscope as ts
    >>> with ts.VariableStore() as store:
    ...     count = ts.get_local_variable("count", [], initializer=ts.zeros_initializer())
    >>> list(store), store.state_dict()
    (['count'], OrderedDict())
    """
    given = () if collections is None else members_of(name, collections)
    members = [*given, GraphKeys.LOCAL_VARIABLES]
    return get_variable(
        *(name, shape, dtype, initializer, regularizer, False, members), *others, **named
    )


def get_buffer(
    name: str,
    shape: ShapeLike = None,
    dtype: DTypeLike = None,
    initializer: Any = None,
    *,
    regularizer: Regularizer | None = None,
    collections: Any = None,
    custom_getter: CustomGetter | None = None,
    persistent: bool = True,
    device: Any = None,
) -> Any:
    """As :func:`get_variable`, for state that the forward changes, such as moving averages.

    A buffer of the module: no parameter, so optimizers and DDP's gradients leave it alone. It is
    counted among ``global_variables()``.

    >>> import torch, torchscope as ts
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
        regularizer: as for :func:`get_variable`; the scope's is not taken.
        collections: as for :func:`get_variable`.
        custom_getter: as for :func:`get_variable`; the scope's is not called.
        persistent: whether the state dict keeps it.
        device: as for :func:`get_variable`.

    Raises:
        VariableMismatchError: the variable exists and is a parameter.
        ScopeError: as for :func:`get_variable`.
    """
    if not isinstance(name, str):
        raise TypeError(f"A buffer's name is a string, not {name!r}.")
    run = current_pass()
    scope = innermost(run)
    own = VariableScope.at(scope.place, scope.mode, Defaults(scope.initializer, None, scope.dtype))
    asked = shape, dtype, initializer, regularizer, None, False, collections
    return ask(run, own, name, *asked, custom_getter, None, device, GRAPH_ONLY, persistent)


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
    scope = innermost(run)
    return cast("M", find_or_make_module(run, scope.prefix + name, factory, scope.mode))
