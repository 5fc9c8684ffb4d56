"""Arithmetic over lists of tensors that several rules need; knows no rule."""

# The functions over lists are documented in torch, under these names.
# pyright: reportPrivateImportUsage=false

from typing import Any

import torch
from torch import Tensor

Tensors = list[Tensor] | tuple[Tensor, ...]


def subtract(tensors: Tensors, steps: Tensors, rate: Any) -> None:
    """``tensors -= rate * steps``."""
    if isinstance(rate, Tensor):
        torch._foreach_sub_(tensors, torch._foreach_mul(steps, rate))
    else:
        torch._foreach_add_(tensors, steps, alpha=-rate)


def subtract_quotient(tensors: Tensors, above: Tensors, below: Tensors, rate: Any) -> None:
    """``tensors -= rate * above / below``; ``below`` may be changed."""
    if isinstance(rate, Tensor):
        torch._foreach_div_(below, rate)
        rate = 1
    torch._foreach_addcdiv_(tensors, above, below, -rate)


def clamped(tensors: Tensors, bound: float) -> Tensors:
    return torch._foreach_clamp_min(torch._foreach_clamp_max(tensors, bound), -bound)


def power_of(tensors: Tensors, exponent: float) -> Tensors:
    root = exponent == 0.5
    return torch._foreach_sqrt(tensors) if root else torch._foreach_pow(tensors, exponent)


def check_positive(function: str, value: float) -> None:
    if value <= 0:
        raise ValueError(f"{function}(): initial_accumulator_value={value} has to be positive.")
