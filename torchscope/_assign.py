"""assign, assign_add, assign_sub: change a variable in place; know no names."""

from typing import Any

import torch

from ._errors import VariableMismatchError
from ._sharded import like


def assign(variable: torch.Tensor, value: Any) -> torch.Tensor:
    """Set ``variable`` to ``value`` in place, without a gradient; returns ``variable``.

    >>> import torchscope as ts
    >>> with ts.VariableStore():
    ...     w = ts.get_variable("w", [2], initializer=ts.zeros_initializer())
    ...     ts.assign(w, [1.0, 2.0]).tolist()
    [1.0, 2.0]

    Args:
        variable: any shape and dtype.
        value: a tensor, array or number of the same shape; converted to the variable's dtype.

    Raises:
        VariableMismatchError: the shapes differ; nothing is broadcast.
    """
    with torch.no_grad():
        value = fitting("assign", variable, value)
        return variable.copy_(value)


def assign_add(variable: torch.Tensor, value: Any) -> torch.Tensor:
    """Add ``value`` to ``variable`` in place; otherwise as :func:`assign`."""
    with torch.no_grad():
        value = fitting("assign_add", variable, value)
        return variable.add_(value)


def assign_sub(variable: torch.Tensor, value: Any) -> torch.Tensor:
    """Subtract ``value`` from ``variable`` in place; otherwise as :func:`assign`."""
    with torch.no_grad():
        value = fitting("assign_sub", variable, value)
        return variable.sub_(value)


def fitting(call: str, variable: torch.Tensor, value: Any) -> torch.Tensor:
    """``value`` as a tensor that can be copied into ``variable``."""
    if not isinstance(variable, torch.Tensor):
        raise TypeError(f"{call} takes a variable, as get_variable returns it, not {variable!r}.")
    if not variable.is_leaf:
        raise VariableMismatchError(
            None,
            f"{call}: this tensor is not a variable but computed from one, so what is written to "
            "it would be lost. Pass what get_variable returns, without parametrization or getter.",
        )
    try:
        value = torch.as_tensor(value, dtype=variable.dtype, device=variable.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"{call}: a value is a tensor, an array, a number or a list of numbers, not {value!r}."
        ) from error
    if value.shape != variable.shape:
        raise VariableMismatchError(
            None,
            f"{call}: the variable has shape {tuple(variable.shape)}, the value "
            f"{tuple(value.shape)}. For one number everywhere: torch.full_like(variable, number).",
        )
    return like(variable, value)
