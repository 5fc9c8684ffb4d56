"""The variables of layers and cells: their dtype follows the inputs'; knows no layer."""

from typing import Any

import torch
from torch import Tensor

import torchscope as ts

_WIDE = (torch.float32, torch.float64)


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
    """A variable in the current scope; the layer's regularizer comes on top of the scope's.

    Args:
        name: within the scope.
        shape: sizes.
        dtype: that of the layer's input. Halves get a variable of float32 (or what the store was
            moved to), converted: that is how torch trains in bfloat16.
        initializer: None for the scope's.
        regularizer: of the layer; None for the scope's alone.
        constraint: None for the scope's.
        trainable: False for ``requires_grad=False``.
        collections: as for ``get_variable``.
        alone: whether the layer's regularizer takes the place of the scope's.
    """
    if regularizer is not None and not alone:
        scopes = ts.get_variable_scope().regularizer
        regularizer = regularizer if scopes is None else _Both(scopes, regularizer)
    settings = initializer, regularizer, trainable, collections
    wanted = dtype if dtype in _WIDE else torch.float32
    try:
        found = ts.get_variable(name, shape, wanted, *settings, constraint=constraint)
    except ts.VariableMismatchError:  # ``.double()`` may have changed what was float32.
        if wanted is torch.float32:
            raise
        found = ts.get_variable(name, shape, torch.float32, *settings, constraint=constraint)
        if found.dtype is not wanted:
            raise
    return found if wanted is dtype else found.to(dtype)


class _Both:
    """Two regularizers of one variable, whose losses are listed apart."""

    def __init__(self, *regularizers: Any) -> None:
        self._regularizers = regularizers

    def __call__(self, variable: Tensor) -> tuple[Tensor, ...] | None:
        losses = (regularizer(variable) for regularizer in self._regularizers)
        return tuple(loss for loss in losses if loss is not None) or None
