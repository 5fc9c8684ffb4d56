"""The variables of layers and cells: their dtype follows the inputs'; knows no layer."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

import torchscope as ts
from torchscope import get_variable
from torchscope.tf1.keras import initializers


def weight(
    name: str,
    shape: list[int],
    dtype: torch.dtype,
    initializer: Any = None,
    regularizer: Any = None,
    constraint: Any = None,
    trainable: bool = True,
    collections: Any = None,
    *,
    alone: bool = False,
) -> Tensor:
    """A variable in the current scope; the layer's regularizer is added to the scope's.

    Args:
        name: within the scope.
        shape: sizes.
        dtype: that of the layer's input. For float16 and bfloat16 the variable is float32 (or what
            the store was moved to) and is cast: that is how torch trains in bfloat16.
        initializer: as for ``get_variable``, or the name of one; None for the scope's.
        regularizer: of the layer; None for the scope's only.
        constraint: None for the scope's.
        trainable: False for ``requires_grad=False``.
        collections: as for ``get_variable``.
        alone: whether the layer's regularizer replaces the scope's.
    """
    if regularizer is not None and not alone:
        scopes = ts.get_variable_scope().regularizer
        regularizer = regularizer if scopes is None else _Both(scopes, regularizer)
    if dtype is torch.float32 and type(initializer) is not str:
        # Nearly always; written out, it takes less time.
        return get_variable(
            name,
            shape,
            dtype,
            initializer,
            regularizer,
            trainable,
            collections,
            constraint=constraint,
        )
    if type(initializer) is str:
        initializer = initializers.get(initializer)
    settings = initializer, regularizer, trainable, collections
    return _converted(get_variable, name, shape, dtype, *settings, constraint=constraint)


def buffer(
    name: str, shape: Sequence[int], dtype: torch.dtype, initializer: Any, collections: Any = None
) -> Tensor:
    """A buffer of the current scope; the scope's regularizer and custom getters apply to it.

    The dtype is float32 or float64.
    """
    scope = ts.get_variable_scope()
    settings: dict[str, Any] = {
        "regularizer": scope.regularizer,
        "collections": collections,
        "custom_getter": scope.custom_getter,
    }
    if dtype is torch.float32:
        return ts.get_buffer(name, shape, dtype, initializer, **settings)
    return _converted(ts.get_buffer, name, shape, dtype, initializer, **settings)


def _converted(
    get: Callable[..., Tensor],
    name: str,
    shape: Sequence[int],
    dtype: torch.dtype,
    *settings: Any,
    **others: Any,
) -> Tensor:
    """The result of ``get``, in a dtype other than float32."""
    if dtype is not torch.float64:
        return get(name, shape, torch.float32, *settings, **others).to(dtype)
    try:
        return get(name, shape, dtype, *settings, **others)
    except ts.VariableMismatchError:
        found = get(name, shape, torch.float32, *settings, **others)
        if found.dtype is dtype:  # ``.double()`` made it so.
            return found
        raise


class _Both:
    """Two regularizers of one variable, whose losses are listed separately."""

    def __init__(self, *regularizers: Any) -> None:
        self._regularizers = regularizers

    def __call__(self, variable: Tensor) -> tuple[Tensor, ...] | None:
        losses = (regularizer(variable) for regularizer in self._regularizers)
        return tuple(loss for loss in losses if loss is not None) or None
