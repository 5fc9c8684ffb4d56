"""Comparisons and logic, element by element; none has a gradient."""

import torch
from torch import Tensor

from torchscope.tf1._convert import Operand, boolean, check_broadcast, operands

__all__ = [
    "approximate_equal",
    "equal",
    "greater",
    "greater_equal",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "not_equal",
]


def equal(x: Operand, y: Operand, name: str | None = None) -> Tensor:
    """Whether x == y, element by element.

    Torch: ``x == y``; ``torch.equal`` gives a single bool.
    """
    x, y = operands(x, y, "equal", bools=True)
    return torch.eq(x, y) if isinstance(x, Tensor) else torch.eq(y, x)


def not_equal(x: Operand, y: Operand, name: str | None = None) -> Tensor:
    """Whether x != y, element by element."""
    x, y = operands(x, y, "not_equal", bools=True)
    return torch.ne(x, y) if isinstance(x, Tensor) else torch.ne(y, x)


def less(x: Operand, y: Operand, name: str | None = None) -> Tensor:
    """Whether x < y, element by element."""
    x, y = operands(x, y, "less")
    return x < y


def less_equal(x: Operand, y: Operand, name: str | None = None) -> Tensor:
    """Whether x <= y, element by element."""
    x, y = operands(x, y, "less_equal")
    return x <= y


def greater(x: Operand, y: Operand, name: str | None = None) -> Tensor:
    """Whether x > y, element by element."""
    x, y = operands(x, y, "greater")
    return x > y


def greater_equal(x: Operand, y: Operand, name: str | None = None) -> Tensor:
    """Whether x >= y, element by element."""
    x, y = operands(x, y, "greater_equal")
    return x >= y


def approximate_equal(
    x: Operand, y: Operand, tolerance: float = 1e-5, name: str | None = None
) -> Tensor:
    """Whether the two differ by less than the tolerance, element by element.

    Torch: ``torch.isclose(x, y, rtol=0, atol=tolerance)``.
    """
    x, y = operands(x, y, "approximate_equal")
    return abs(x - y) < tolerance


def logical_and(x: Operand, y: Operand, name: str | None = None) -> Tensor:
    """Whether both are true; TypeError unless both are boolean.

    Torch: ``x & y``; integers are refused.
    """
    x, y = _both(x, y, "logical_and")
    return torch.logical_and(x, y)


def logical_or(x: Operand, y: Operand, name: str | None = None) -> Tensor:
    """Whether one is true; TypeError unless both are boolean.

    Torch: ``x | y``; integers are refused.
    """
    x, y = _both(x, y, "logical_or")
    return torch.logical_or(x, y)


def logical_xor(x: Operand, y: Operand, name: str | None = None) -> Tensor:
    """Whether exactly one is true; TypeError unless both are boolean.

    Torch: ``x ^ y``; integers are refused.
    """
    x, y = _both(x, y, "logical_xor")
    return torch.logical_xor(x, y)


def logical_not(x: Operand, name: str | None = None) -> Tensor:
    """Whether it is false; TypeError unless it is boolean.

    Torch: ``~x``; integers are refused.
    """
    return torch.logical_not(boolean(x, "logical_not"))


def _both(x: Operand, y: Operand, function: str) -> tuple[Tensor, Tensor]:
    x = boolean(x, function, device=getattr(y, "device", None))
    y = boolean(y, function, "y", x.device)
    if x.shape != y.shape:
        check_broadcast(x.shape, y.shape, function)
    return x, y
