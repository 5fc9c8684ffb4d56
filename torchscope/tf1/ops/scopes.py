"""Scopes, collections and names: torchscope's own, under TensorFlow's arguments; make nothing."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor

import torchscope as ts
from torchscope import (
    AUTO_REUSE,
    VariableScope,
    get_local_variable,
    get_variable_scope,
    global_variables,
    local_variables,
    make_template,
    no_regularizer,
    trainable_variables,
)
from torchscope.tf1._convert import tensor
from torchscope.tf1._name_scopes import name_scope, original_name_scope, variable_scope

__all__ = [
    "AUTO_REUSE",
    "GraphKeys",
    "VariableScope",
    "add_to_collection",
    "add_to_collections",
    "all_variables",
    "get_collection",
    "get_local_variable",
    "get_variable",
    "get_variable_scope",
    "global_variables",
    "local_variables",
    "make_template",
    "model_variables",
    "moving_average_variables",
    "name_of",
    "name_scope",
    "no_regularizer",
    "op_name",
    "op_scope",
    "original_name_scope",
    "trainable_variables",
    "variable_op_scope",
    "variable_scope",
]


class GraphKeys(ts.GraphKeys):
    """TensorFlow's names of collections.

    Torch: ``ts.GraphKeys``.
    """

    VARIABLES = ts.GraphKeys.GLOBAL_VARIABLES  # its name before 0.12
    CONCATENATED_VARIABLES = "concatenated_variables"
    EVAL_STEP = "eval_step"
    INIT_OP = "init_op"
    LOCAL_INIT_OP = "local_init_op"
    READY_OP = "ready_op"
    SAVERS = "savers"
    SUMMARY_OP = "summary_op"
    TABLE_INITIALIZERS = "table_initializer"
    TRAIN_OP = "train_op"


def get_variable(
    name: str,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    *others: Any,
    **named: Any,
) -> Any:
    """Return the variable of this name in the current scope, making it if that is allowed.

    Torch: ``ts.get_variable``, with the same arguments; a Python int as an initializer becomes
    int32 here, as in TensorFlow, and int64 there, as in torch.

    >>> import torchscope as ts, torchscope.tf1 as tf
    >>> with ts.VariableStore(), tf.variable_scope("a"):
    ...     tf.get_variable("count", initializer=0).dtype
    torch.int32
    """
    if isinstance(initializer, (int, list, tuple)) and dtype is None:
        initializer = tensor(initializer, function="get_variable", argument="initializer")
    return ts.get_variable(name, shape, dtype, initializer, *others, **named)


all_variables = global_variables  # its name before 0.12


def add_to_collection(name: str, value: Any) -> None:
    """Add a variable, a loss or anything else to a collection.

    Torch: a variable stays in it as long as in the store; anything else ends with the pass, so read
    it in the same function.
    """
    ts.add_to_collection(name, value)


def add_to_collections(names: str | Iterable[str] | None, value: Any) -> None:
    """Add something to each of several collections.

    Torch: ``ts.add_to_collection``, once for each.
    """
    for name in [names] if isinstance(names, str) else names or []:
        ts.add_to_collection(name, value)


def get_collection(key: str, scope: str | None = None) -> list[Any]:
    """What is in a collection: variables in the order of creation, then other values.

    Torch: a new list; appending to it does not add to the collection.

    Args:
        key: ``tf.GraphKeys.UPDATE_OPS`` and the like, or a name of your own.
        scope: a regular expression that names have to begin with.
    """
    return ts.get_collection(key, scope)


def model_variables(scope: str | None = None) -> list[Tensor]:
    """The variables in ``GraphKeys.MODEL_VARIABLES``.

    Torch: ``ts.get_collection("model_variables")``.
    """
    return ts.get_collection(GraphKeys.MODEL_VARIABLES, scope)


def moving_average_variables(scope: str | None = None) -> list[Tensor]:
    """The variables in ``GraphKeys.MOVING_AVERAGE_VARIABLES``.

    Torch: ``ts.get_collection("moving_average_variables")``.
    """
    return ts.get_collection(GraphKeys.MOVING_AVERAGE_VARIABLES, scope)


def variable_op_scope(
    values: Any, name_or_scope: Any, default_name: str | None = None, *others: Any, **named: Any
) -> AbstractContextManager[VariableScope]:
    """``variable_scope`` with its arguments in their order before TensorFlow 1.0.

    Torch: ``ts.variable_scope``.
    """
    return variable_scope(name_or_scope, default_name, values, *others, **named)


def op_scope(
    values: Any, name: str | None, default_name: str | None = None
) -> AbstractContextManager[str]:
    """``name_scope`` with its arguments in their order before TensorFlow 1.0.

    Torch: nothing; see ``name_scope``.
    """
    return name_scope(name, default_name, values)


def op_name(value: Any) -> str:
    """TensorFlow's ``value.op.name``: a variable's full name.

    Torch: a tensor that is not a variable has no name; the result is ``"tensor"``, good enough for
    error texts.

    >>> import torchscope as ts, torchscope.tf1 as tf
    >>> with ts.VariableStore(), tf.variable_scope("a"):
    ...     w = tf.get_variable("w", [2])
    ...     tf.op_name(w), tf.name_of(w), tf.op_name(w * 2)
    ('a/w', 'a/w:0', 'tensor')
    """
    if not isinstance(value, Tensor):  # A scope, a layer or a cell has a name of its own.
        return getattr(value, "name", type(value).__name__)
    try:
        return ts.name_of(value)
    except ts.VariableMissingError:
        return "tensor"


def name_of(value: Any) -> str:
    """TensorFlow's ``value.name``: for a tensor ``op_name`` and ``:0``.

    Torch: ``ts.name_of(variable)``, without the ``:0``.
    """
    return f"{op_name(value)}:0" if isinstance(value, Tensor) else op_name(value)
