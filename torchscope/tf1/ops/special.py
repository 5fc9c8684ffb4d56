"""Special functions of two arguments; knows no other operation than digamma."""

from typing import Any, cast

import torch
from torch import Tensor

from torchscope.tf1._convert import Operand, floating, tensor_operands

from .elementwise import digamma

__all__ = ["igamma", "igammac", "polygamma", "zeta"]

_special = cast("Any", torch.special)  # which has no type hints


def igamma(a: Operand, x: Operand, name: str | None = None) -> Tensor:
    """The lower regularized incomplete gamma function, from 0 to 1; NaN unless ``a`` is positive.

    Torch: ``torch.special.gammainc``; no gradient with respect to ``a``.
    """
    a, x = _both(a, x, "igamma", ("a", "x"))
    return _special.gammainc(a, x).masked_fill(a <= 0, torch.nan)


def igammac(a: Operand, x: Operand, name: str | None = None) -> Tensor:
    """The upper regularized incomplete gamma function, ``1 - igamma(a, x)``.

    Torch: ``torch.special.gammaincc``; no gradient with respect to ``a``.
    """
    a, x = _both(a, x, "igammac", ("a", "x"))
    return _special.gammaincc(a, x).masked_fill(a <= 0, torch.nan)


def zeta(x: Operand, q: Operand, name: str | None = None) -> Tensor:
    """The Hurwitz zeta function: the sum of ``(q + k) ** -x`` over k from 0.

    Torch: ``torch.special.zeta``.
    """
    return _special.zeta(*_both(x, q, "zeta", ("x", "q")))


def polygamma(a: Operand, x: Operand, name: str | None = None) -> Tensor:
    """The derivative number ``a`` of digamma at ``x``; NaN unless ``a`` is a whole number from 0.

    Torch: ``torch.polygamma``, whose ``a`` is a single int; no gradient with respect to ``a``.
    """
    a, x = _both(a, x, "polygamma", ("a", "x"))
    sign = torch.where(a % 2 == 0, -1.0, 1.0).to(a.dtype)
    higher = sign * torch.exp(torch.lgamma(a + 1)) * _special.zeta(a + 1, x)
    result = torch.where(a == 0, digamma(x), higher)
    return result.masked_fill((a < 0) | (a != a.floor()), torch.nan)


def _both(x: Operand, y: Operand, function: str, names: tuple[str, str]) -> tuple[Tensor, Tensor]:
    x, y = tensor_operands(x, y, function, names)
    return floating(x, function, names[0]), y
