"""get_variable and the like: what users ask the current scope for; hold nothing.

A get reads from top to bottom in `get_variable`. Nearly every one is for a variable that exists
and fits; this is decided here, by one comparison with its `Spec`, and the tensor is read from where
torch keeps it. Everything else (making, custom getters, initializers that are values, errors, code
that runs where it should not) continues elsewhere: the scope completes the request (`_scope`), a
custom getter is called (`_getter`), the reuse table decides (`_reuse`), the store makes (`_make`).
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from torch import get_default_dtype, nn
from torch.compiler import is_dynamo_compiling
from typing_extensions import ParamSpec

from ._arguments import Constraint, DTypeLike, GraphKeys, ShapeLike, members_of
from ._declaration import Request
from ._default import current_pass
from ._getter import CustomGetter
from ._names import escape
from ._opening import ROOT, innermost
from ._pass import graph_task, here
from ._reuse import Reuse, find_or_make_module
from ._scope import Defaults, scope_at
from .regularizers import Regularizer

M = TypeVar("M", bound=nn.Module)
P = ParamSpec("P")
_NO = Reuse.NO  # Reading a member of the class takes longer than the test it is read for.


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
            value (then without ``shape``); the scope's by default, else Glorot uniform for
            floats, with fans counted as in ``[..., in, out]``, and zeros for integers.
        regularizer: ``f(variable)`` returns a scalar; see ``get_regularization_losses``.
        trainable: False for ``requires_grad=False``.
        collections: names of collections instead of ``[GraphKeys.GLOBAL_VARIABLES]``; with
            ``[GraphKeys.LOCAL_VARIABLES]`` a non-persistent buffer.
        caching_device: accepted, as all arguments that mean something only in a graph, and passed
            to custom getters.
        partitioner: likewise.
        validate_shape: likewise.
        use_resource: likewise.
        custom_getter: instead of the scope's.
        constraint: ``f(variable)`` returns the value that ``store.apply_constraints()`` sets.
        synchronization: as ``caching_device``.
        aggregation: likewise.
        device: of a new variable; by default where the store was moved, else torch's default.

    Returns:
        The parameter itself, not a copy; if there is a custom getter, what that returns.

    Raises:
        VariableExistsError: met in this pass already, and the scope does not reuse.
        VariableMissingError: the scope only reuses, and the name is new.
        VariableMismatchError: it exists with another shape or dtype, or its initializer returned
            another one.
        VariableNameError: TensorFlow would not accept the name.
        ScopeError: the shape is missing, negative, or given together with a value.
        NotBuiltError: it would have to be made while tracing, or after ``finalize()``.
        TypeError: an argument is not a name, shape, dtype or initializer.
    """
    passes = here.passes
    run = passes[-1] if passes else current_pass()
    stack = run.stack
    scope = stack[-1][0] if stack else ROOT
    defaults = scope.defaults
    # A variable that exists may be looked up at once, unless a custom getter is to be called or a
    # value as initializer decides what shape and dtype are asked for.
    if (
        defaults.plain
        and custom_getter is None
        and (initializer is None or callable(initializer))
        and type(name) is str
    ):
        full_name = scope.prefix + name
        spec = run.specs.get(full_name)
        if spec is not None:
            asked = dtype or defaults.dtype
            if (
                # The shape that was declared. (Comparing an array or a tensor gives no bool.)
                (
                    shape is None
                    or (isinstance(shape, list) and spec.sizes == shape)
                    or (isinstance(shape, tuple) and spec.shape == shape)
                )
                # The dtype; where none is asked for, torch's default of then or of now.
                and (
                    (spec.by_default or spec.dtype is get_default_dtype())
                    if asked is None
                    else asked is spec.dtype
                )
                # What the reuse table allows, see `_reuse`.
                and not (scope.mode is _NO and full_name in run.met)
                # The backward pass and the asyncio task in which the pass began, see `Pass.check`.
                and (run.traced if is_dynamo_compiling() else run.graph_task == graph_task())
                and run.task is None
            ):
                run.met[full_name] = None
                found = run.store._parameters.get(full_name)
                # None: a buffer, computed from others, or spelled otherwise in a state dict.
                return run.store._fetch(escape(full_name)) if found is None else found
    # It is to be made, or refused, or the rules need a closer look.
    request = Request(
        name=scope.full_name(name),
        shape=shape,
        dtype=dtype,
        initializer=initializer,
        regularizer=regularizer,
        trainable=trainable,
        collections=collections,
        constraint=constraint,
        device=device,
    )
    graph_only = {
        "caching_device": caching_device,
        "partitioner": partitioner,
        "validate_shape": validate_shape,
        "use_resource": use_resource,
        "synchronization": synchronization,
        "aggregation": aggregation,
    }
    return scope.ask(run, request, None, custom_getter, graph_only)


def get_local_variable(
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
    """As :func:`get_variable`, for a variable in no state dict: a non-persistent buffer.

    It is listed by ``local_variables()`` and never trained, whatever ``trainable`` says.

    >>> import torchscope as ts
    >>> with ts.VariableStore() as store:
    ...     count = ts.get_local_variable("count", [], initializer=ts.zeros_initializer())
    >>> list(store), store.state_dict()
    (['count'], OrderedDict())
    """
    given = () if collections is None else members_of(name, collections)
    return get_variable(
        name,
        shape,
        dtype,
        initializer,
        regularizer,
        trainable=False,
        collections=[*given, GraphKeys.LOCAL_VARIABLES],
        caching_device=caching_device,
        partitioner=partitioner,
        validate_shape=validate_shape,
        use_resource=use_resource,
        custom_getter=custom_getter,
        constraint=constraint,
        synchronization=synchronization,
        aggregation=aggregation,
        device=device,
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

    A buffer of the module, not a parameter, so optimizers and DDP's gradients leave it alone. It is
    listed by ``global_variables()``.

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
        regularizer: as for :func:`get_variable`; the scope's is not used.
        collections: as for :func:`get_variable`.
        custom_getter: as for :func:`get_variable`; the scope's is not called.
        persistent: whether it is in the state dict.
        device: as for :func:`get_variable`.

    Raises:
        VariableMismatchError: the variable exists and is a parameter.
        ScopeError: as for :func:`get_variable`.
    """
    run = current_pass()
    scope = innermost(run)
    # The scope's regularizer, getter and constraint are for variables that are trained.
    own = scope_at(scope.name, scope.mode, Defaults(scope.initializer, dtype=scope.dtype))
    request = Request(
        name=own.full_name(name),
        shape=shape,
        dtype=dtype,
        initializer=initializer,
        regularizer=regularizer,
        trainable=False,
        collections=collections,
        device=device,
        buffer=True,
        persistent=persistent,
    )
    return own.ask(run, request, None, custom_getter, {})


def get_module(name: str, factory: Callable[P, M], *args: P.args, **kwargs: P.kwargs) -> M:
    """Return the ``nn.Module`` ``name`` of the current scope, making it if that is allowed.

    Reuse applies to it as to a variable; its parameters are trained and saved with the store's.

    >>> import torch, torchscope as ts
    >>> with ts.VariableStore() as store, ts.variable_scope("head", reuse=ts.AUTO_REUSE):
    ...     dense = ts.get_module("dense", torch.nn.Linear, 3, 4)
    >>> list(store.state_dict())
    ['head/dense.weight', 'head/dense.bias']

    Args:
        name: name within the scope.
        factory: a class or another function that makes the module. It is called only if the module
            does not exist; its random numbers depend on the store's seed and the name, as for
            variables.
        args: arguments of the factory.
        kwargs: likewise; for a factory that itself has an argument ``name``, use a
            ``functools.partial``.

    Raises:
        VariableExistsError: met in this pass already, and the scope does not reuse; or variables
            were made under that name.
        VariableMissingError: the scope only reuses, and the name is new.
        TypeError: the factory did not return a module.
    """
    run = current_pass()
    scope = innermost(run)
    made = find_or_make_module(run, scope.full_name(name), factory, args, kwargs, scope.mode)
    return cast("M", made)


def is_training() -> bool:
    """Whether the module whose pass this is, is in training mode: its ``training`` flag.

    Of nested modules, the innermost that runs decides. So dropout obeys ``net.eval()``:

    >>> import torch, torchscope as ts
    >>> def model(x):
    ...     return torch.nn.functional.dropout(x, 0.5, training=ts.is_training())
    >>> net = ts.ScopedModule(model).eval()
    >>> net(torch.ones(3))
    tensor([1., 1., 1.])
    """
    return bool(current_pass().store.training)
