"""Collections: of variables, which stay in the store, and of values, which end with the pass."""

import sys
from types import FrameType
from typing import Any

import torch
from torch.compiler import is_dynamo_compiling

from ._arguments import GraphKeys, begins_with
from ._default import current_pass, is_untouched
from ._errors import ScopeError, VariableMissingError
from ._origin import Origin, warn
from ._pass import Pass, here
from ._store import VariableStore
from ._walk import locate

# Other collections hold values, and a program may list those before there are variables.
_OF_VARIABLES = {
    *(GraphKeys.GLOBAL_VARIABLES, GraphKeys.TRAINABLE_VARIABLES, GraphKeys.LOCAL_VARIABLES),
    *(GraphKeys.MODEL_VARIABLES, GraphKeys.MOVING_AVERAGE_VARIABLES, GraphKeys.METRIC_VARIABLES),
    *(GraphKeys.REGULARIZATION_LOSSES, GraphKeys.WEIGHTS, GraphKeys.BIASES),
}


def _listed(call: str, key: str, scope: str | None) -> list[torch.Tensor]:
    return _told(call, _listing_pass(call).store.get_collection(key, scope))


def _told(call: str, found: list[Any]) -> list[Any]:
    """``found``; if the store that is entered holds nothing, warn of that once."""
    if found or is_dynamo_compiling() or _asked_by_tf1():
        return found
    run = current_pass()
    store: VariableStore = run.store
    if not (run.endless or store._declared or store._made_modules or store._told_empty):
        store._told_empty = True
        warn(
            Origin.here(),
            f"{call} finds nothing: the store that is entered holds no variables yet. First run "
            "the function that makes them: store.build(fn, *example).",
        )
    return found


def _asked_by_tf1() -> bool:
    """Whether `torchscope.tf1` asks, which it may do before there are variables."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals is globals():
        frame = frame.f_back
    return frame is not None and frame.f_globals.get("__name__", "").startswith("torchscope.tf1.")


def _listing_pass(call: str) -> Pass:
    run = current_pass()
    if is_untouched(run):
        raise ScopeError(
            None,
            f"No store is entered, and the default store is empty. Ask your own store: net.{call}, "
            "or call this inside `with store:`.",
        )
    return run


def add_to_collection(key: str, value: Any) -> None:
    """Put a variable, or anything else, into the collection ``key``.

    A variable stays in it as long as in the store. Anything else (a loss, an update) belongs to
    this pass and ends with it, or it would keep every step's graph alive: read it in the function
    and return it.
    """
    run = current_pass()
    store: VariableStore = run.store
    if isinstance(value, torch.Tensor) and store._add_to_collection(key, value):
        return
    scope_name = run.scope_names[-1]
    run.values.setdefault(key, []).append((f"{scope_name}/", value))


def get_collection(key: str, scope: str | None = None) -> list[Any]:
    """What is in the collection ``key``: variables in the order of creation, then other values.

    >>> import torchscope as ts
    >>> with ts.VariableStore(), ts.variable_scope("q_func"):
    ...     w = ts.get_variable("w", [2])
    ...     ts.add_to_collection("losses", (w * w).sum())
    ...     len(ts.get_collection("variables", scope="q")), len(ts.get_collection("losses"))
    (1, 1)

    Args:
        key: ``GraphKeys.GLOBAL_VARIABLES`` and the like, or a name of your own. For
            ``GraphKeys.REGULARIZATION_LOSSES``, the regularizers' current losses.
        scope: a regular expression that a variable's full name has to begin with, as in
            TensorFlow: ``"q"`` also finds ``q_func/w``. Another value has no name; it is compared
            with the scope in which the value was added.
    """
    found = in_collection(key, scope)
    return _told(f"get_collection({key!r})", found) if key in _OF_VARIABLES else found


def in_collection(key: str, scope: str | None) -> list[Any]:
    """As :func:`get_collection`, without a warning where there is nothing."""
    run = _listing_pass(f"get_collection({key!r})")
    store: VariableStore = run.store
    if key == GraphKeys.REGULARIZATION_LOSSES:
        variables = store.regularization_losses(scope)
    else:
        variables = store.get_collection(key, scope)
    begins = begins_with(scope)
    return variables + [value for name, value in run.values.get(key, []) if begins(name)]


def global_variables(scope: str | None = None) -> list[torch.Tensor]:
    """The store's variables except local ones; ``scope`` as for :func:`get_collection`."""
    return _listed("global_variables()", GraphKeys.GLOBAL_VARIABLES, scope)


def trainable_variables(scope: str | None = None) -> list[torch.Tensor]:
    """The variables that require a gradient now; ``scope`` as for :func:`get_collection`."""
    return _listed("trainable_variables()", GraphKeys.TRAINABLE_VARIABLES, scope)


def local_variables(scope: str | None = None) -> list[torch.Tensor]:
    """The local variables; ``scope`` as for :func:`get_collection`."""
    return _listed("local_variables()", GraphKeys.LOCAL_VARIABLES, scope)


def get_regularization_losses(scope: str | None = None) -> list[torch.Tensor]:
    """The regularizers' losses for the variables' current values: scalars, with gradients.

    Then what was added to ``GraphKeys.REGULARIZATION_LOSSES`` in this pass. ``scope`` is as for
    :func:`get_collection`.
    """
    _listing_pass("regularization_losses()")
    return get_collection(GraphKeys.REGULARIZATION_LOSSES, scope)


def get_regularization_loss(
    scope: str | None = None, name: str = "total_regularization_loss"
) -> torch.Tensor:
    """The sum of :func:`get_regularization_losses`, a scalar; zero where there are none.

    >>> import torchscope as ts
    >>> with ts.VariableStore():
    ...     w = ts.get_variable("w", initializer=[3.0], regularizer=ts.l2_regularizer(0.1))
    ...     ts.get_regularization_loss().item()
    0.45...

    Args:
        scope: as for :func:`get_collection`.
        name: accepted, as TensorFlow's.
    """
    losses = get_regularization_losses(scope)
    return sum(losses[1:], losses[0]) if losses else torch.zeros(())


def name_of(variable: torch.Tensor) -> str:
    """The full name of a variable of the store entered now; elsewhere ask ``store.name_of``.

    Raises:
        VariableMissingError: it is not a variable of that store, or no store is entered.
    """
    store: VariableStore = current_pass().store
    if not here.passes and locate(store, variable) is None:
        raise VariableMissingError(
            None,
            "No store is entered, and the default store does not hold this tensor. Ask the store "
            "that does: store.name_of(variable).",
        )
    return store.name_of(variable)
