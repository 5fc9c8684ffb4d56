"""Variables of slim's layers: made as model variables, and found by scope, suffix or pattern."""

import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

import torchscope as ts
from torchscope.tf1._weights import weight
from torchscope.tf1.dtypes import as_dtype

from ._arg_scopes import add_arg_scope
from .utils import get_variable_collections

__all__ = [
    "add_model_variable",
    "filter_variables",
    "get_local_variables",
    "get_model_variables",
    "get_trainable_variables",
    "get_unique_variable",
    "get_variable_full_name",
    "get_variables",
    "get_variables_by_name",
    "get_variables_by_suffix",
    "get_variables_to_restore",
    "model_variable",
    "variable",
]

_GLOBAL, _MODEL = ts.GraphKeys.GLOBAL_VARIABLES, ts.GraphKeys.MODEL_VARIABLES


@add_arg_scope
def variable(
    name: str,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool = True,
    collections: Any = None,
    caching_device: Any = None,
    device: Any = None,
    partitioner: Any = None,
    custom_getter: Any = None,
    use_resource: Any = None,
    synchronization: Any = None,
    aggregation: Any = None,
) -> Any:
    """Get a variable of the current scope; ``collections`` replace the usual one.

    Torch: ``nn.Parameter``; as ``get_variable``. ``device`` is accepted and ignored, as are the
    arguments that mean something only in a graph.
    """
    return ts.get_variable(
        *(name, shape, None if dtype is None else as_dtype(dtype)),
        *(initializer, regularizer, trainable),
        collections=list(dict.fromkeys(collections)) if collections else None,
        custom_getter=custom_getter,
    )


@add_arg_scope
def model_variable(
    name: str,
    shape: Any = None,
    dtype: Any = torch.float32,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool = True,
    collections: Any = None,
    caching_device: Any = None,
    device: Any = None,
    partitioner: Any = None,
    custom_getter: Any = None,
    use_resource: Any = None,
    synchronization: Any = None,
    aggregation: Any = None,
) -> Any:
    """Get a variable that is also in MODEL_VARIABLES and in ``collections``.

    Torch: ``nn.Parameter``; otherwise as ``variable``.
    """
    return variable(
        *(name, shape, dtype, initializer, regularizer, trainable),
        collections=[*(collections or ()), _GLOBAL, _MODEL],
        custom_getter=custom_getter,
    )


def add_model_variable(var: Tensor) -> None:
    """Add a variable to MODEL_VARIABLES.

    Torch: none.
    """
    ts.add_to_collection(_MODEL, var)


def get_variables(
    scope: Any = None, suffix: str | None = None, collection: str = _GLOBAL
) -> list[Any]:
    """List the variables of a collection by the beginning and the end of their names.

    Torch: ``net.named_parameters()``; ``scope`` is a regular expression or a scope, ``suffix`` a
    regular expression for the end of the name.
    """
    if isinstance(scope, ts.VariableScope):
        scope = scope.name
    if suffix is not None:
        scope = f"{scope or ''}.*{suffix.partition(':')[0]}$"  # Names here end without ":0".
    return ts.get_collection(collection, scope)


def get_model_variables(scope: Any = None, suffix: str | None = None) -> list[Any]:
    """List the variables that slim's layers and ``model_variable`` made.

    Torch: ``net.named_parameters()``; otherwise as ``get_variables``.
    """
    return get_variables(scope, suffix, _MODEL)


def get_trainable_variables(scope: Any = None, suffix: str | None = None) -> list[Any]:
    """List the variables that are trained.

    Torch: ``net.named_parameters()``; otherwise as ``get_variables``.
    """
    return get_variables(scope, suffix, ts.GraphKeys.TRAINABLE_VARIABLES)


def get_local_variables(scope: Any = None, suffix: str | None = None) -> list[Any]:
    """List the local variables.

    Torch: ``net.named_buffers()``; otherwise as ``get_variables``.
    """
    return get_variables(scope, suffix, ts.GraphKeys.LOCAL_VARIABLES)


def get_variables_by_suffix(suffix: str, scope: Any = None) -> list[Any]:
    """List the variables whose names end with a suffix.

    Torch: ``net.named_parameters()``.
    """
    return get_variables(scope, suffix)


def get_variables_by_name(given_name: str, scope: Any = None) -> list[Any]:
    """List the variables of that name, whatever scope they are in.

    Torch: ``net.named_parameters()``.
    """
    return get_variables(scope, f"/{given_name}$|^{given_name}")


def get_unique_variable(var_op_name: str) -> Tensor:
    """Return the variable of that full name.

    Torch: ``net.get_parameter(name)``.

    Raises:
        ValueError: there is none.
    """
    for found in get_variables(re.escape(var_op_name)):
        if ts.name_of(found) == var_op_name:
            return found
    raise ValueError(f"get_unique_variable(): there is no variable {var_op_name!r}.")


def get_variable_full_name(var: Tensor) -> str:
    """Return the full name of a variable.

    Torch: none; a tensor does not know its name.
    """
    return ts.name_of(var)


def get_variables_to_restore(include: Any = None, exclude: Any = None) -> list[Any]:
    """List the variables in the scopes ``include``, by default all, except those in ``exclude``.

    Torch: ``net.named_parameters()``; both are lists of prefixes of names.

    Raises:
        TypeError: ``include`` or ``exclude`` is not a list.
    """
    for argument, value in (("include", include), ("exclude", exclude)):
        if value is not None and not isinstance(value, (list, tuple)):
            raise TypeError(f"get_variables_to_restore(): {argument} is a list, not {value!r}.")
    found = [v for scope in ([None] if include is None else include) for v in get_variables(scope)]
    left_out = {id(v) for scope in exclude or () for v in get_variables(scope)}
    return [v for v in found if id(v) not in left_out]


def filter_variables(
    var_list: Iterable[Tensor],
    include_patterns: Any = None,
    exclude_patterns: Any = None,
    reg_search: bool = True,
) -> list[Tensor]:
    """List the variables whose names match a pattern to include and none to exclude.

    Torch: ``[p for n, p in net.named_parameters() if re.search(pattern, n)]``.

    Args:
        var_list: variables.
        include_patterns: regular expressions; None for all.
        exclude_patterns: regular expressions; None for none.
        reg_search: False for patterns that match from the beginning of the name.
    """
    matches = re.search if reg_search else re.match

    def any_of(patterns: Any, found: Tensor) -> bool:
        patterns = [patterns] if isinstance(patterns, str) else patterns
        return any(matches(pattern, ts.name_of(found)) for pattern in patterns)

    return [
        v
        for v in var_list
        if (include_patterns is None or any_of(include_patterns, v))
        and not any_of(exclude_patterns or (), v)
    ]


def layer_variable(
    name: str,
    shape: Any,
    dtype: torch.dtype,
    initializer: Any,
    regularizer: Any,
    trainable: bool,
    collections: Any,
    key: str,
    *,
    alone: bool = False,
) -> Tensor:
    """A model variable of a layer.

    ``collections`` is a list of further ones, or has a list for ``key``. The regularizer is added
    to the scope's; with ``alone`` it replaces that, as in layers not built on others in TensorFlow.
    """
    members = model_collections(collections, key)
    settings = initializer, regularizer, None, trainable, members
    return weight(name, shape, dtype, *settings, alone=alone)


def layer_biases(
    size: int,
    dtype: torch.dtype,
    normalizer: Any,
    initializer: Any,
    regularizer: Any,
    trainable: bool,
    collections: Any,
    *,
    alone: bool = False,
) -> Tensor | None:
    """The biases of a layer; None if it has a normalizer, or no initializer for them."""
    if normalizer is not None or initializer is None:
        return None
    settings = initializer, regularizer, trainable, collections
    return layer_variable("biases", [size], dtype, *settings, "biases", alone=alone)


def model_collections(collections: Any, key: str) -> list[str]:
    """The collections of a layer's variable."""
    return [*(get_variable_collections(collections, key) or ()), _GLOBAL, _MODEL]
