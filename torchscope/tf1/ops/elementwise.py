"""Functions of each element: exp, sqrt, abs, floor, tanh and the like."""

import math

import torch
from torch import Tensor

from torchscope.tf1._convert import Operand, floating, numeric, tensor

from . import _gradients

__all__ = [
    "abs",
    "acos",
    "acosh",
    "angle",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "ceil",
    "conj",
    "cos",
    "cosh",
    "digamma",
    "erf",
    "erfc",
    "exp",
    "expm1",
    "floor",
    "imag",
    "is_finite",
    "is_inf",
    "is_nan",
    "lgamma",
    "log",
    "log1p",
    "log_sigmoid",
    "negative",
    "real",
    "reciprocal",
    "rint",
    "round",
    "rsqrt",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "tan",
    "tanh",
]


def abs(x: Operand, name: str | None = None) -> Tensor:
    """The absolute value, also of complex numbers."""
    return torch.abs(numeric(x, "abs"))


def negative(x: Operand, name: str | None = None) -> Tensor:
    """The negative, ``-x``."""
    return -numeric(x, "negative")


def sign(x: Operand, name: str | None = None) -> Tensor:
    """-1, 0 or 1.

    Torch: ``torch.sign``; NaN stays NaN.
    """
    x = numeric(x, "sign")
    if x.is_complex():
        return torch.sgn(x)
    result = torch.sign(x)
    return result.masked_fill(torch.isnan(x), math.nan) if x.is_floating_point() else result


def square(x: Operand, name: str | None = None) -> Tensor:
    """The square."""
    return torch.square(numeric(x, "square"))


def sqrt(x: Operand, name: str | None = None) -> Tensor:
    """The square root.

    Torch: ``torch.sqrt``; the gradient is 0 where the incoming one is 0, even at 0 (torch: NaN).
    """
    return _gradients.sqrt(floating(x, "sqrt"))


def rsqrt(x: Operand, name: str | None = None) -> Tensor:
    """The reciprocal of the square root.

    Torch: ``torch.rsqrt``; the gradient is 0 where the incoming one is 0, even at 0 (torch: NaN).
    """
    return _gradients.rsqrt(floating(x, "rsqrt"))


def reciprocal(x: Operand, name: str | None = None) -> Tensor:
    """The reciprocal ``1 / x``.

    Torch: ``torch.reciprocal``; the gradient is 0 where the incoming one is 0, even at 0.
    """
    return _gradients.reciprocal(floating(x, "reciprocal"))


def exp(x: Operand, name: str | None = None) -> Tensor:
    """The exponential."""
    return torch.exp(floating(x, "exp"))


def expm1(x: Operand, name: str | None = None) -> Tensor:
    """The exponential minus 1, exact near 0."""
    return torch.expm1(floating(x, "expm1"))


def log(x: Operand, name: str | None = None) -> Tensor:
    """The natural logarithm."""
    return torch.log(floating(x, "log"))


def log1p(x: Operand, name: str | None = None) -> Tensor:
    """The logarithm of ``1 + x``, exact near 0."""
    return torch.log1p(floating(x, "log1p"))


def sin(x: Operand, name: str | None = None) -> Tensor:
    """The sine."""
    return torch.sin(floating(x, "sin"))


def cos(x: Operand, name: str | None = None) -> Tensor:
    """The cosine."""
    return torch.cos(floating(x, "cos"))


def tan(x: Operand, name: str | None = None) -> Tensor:
    """The tangent."""
    return torch.tan(floating(x, "tan"))


def asin(x: Operand, name: str | None = None) -> Tensor:
    """The inverse sine."""
    return torch.asin(floating(x, "asin"))


def acos(x: Operand, name: str | None = None) -> Tensor:
    """The inverse cosine."""
    return torch.acos(floating(x, "acos"))


def atan(x: Operand, name: str | None = None) -> Tensor:
    """The inverse tangent."""
    return torch.atan(floating(x, "atan"))


def sinh(x: Operand, name: str | None = None) -> Tensor:
    """The hyperbolic sine."""
    return torch.sinh(floating(x, "sinh"))


def cosh(x: Operand, name: str | None = None) -> Tensor:
    """The hyperbolic cosine."""
    return torch.cosh(floating(x, "cosh"))


def asinh(x: Operand, name: str | None = None) -> Tensor:
    """The inverse hyperbolic sine."""
    return torch.asinh(floating(x, "asinh"))


def acosh(x: Operand, name: str | None = None) -> Tensor:
    """The inverse hyperbolic cosine."""
    return torch.acosh(floating(x, "acosh"))


def atanh(x: Operand, name: str | None = None) -> Tensor:
    """The inverse hyperbolic tangent."""
    return torch.atanh(floating(x, "atanh"))


def tanh(x: Operand, name: str | None = None) -> Tensor:
    """The hyperbolic tangent."""
    return torch.tanh(floating(x, "tanh"))


def sigmoid(x: Operand, name: str | None = None) -> Tensor:
    """The logistic function, ``1 / (1 + exp(-x))``."""
    return torch.sigmoid(floating(x, "sigmoid"))


def log_sigmoid(x: Operand, name: str | None = None) -> Tensor:
    """The logarithm of the logistic function, exact far below 0.

    Torch: ``F.logsigmoid``.
    """
    return torch.nn.functional.logsigmoid(floating(x, "log_sigmoid"))


def erf(x: Operand, name: str | None = None) -> Tensor:
    """The error function."""
    return torch.erf(floating(x, "erf"))


def erfc(x: Operand, name: str | None = None) -> Tensor:
    """The complement ``1 - erf(x)``, exact far above 0."""
    return torch.erfc(floating(x, "erfc"))


def lgamma(x: Operand, name: str | None = None) -> Tensor:
    """The logarithm of the absolute value of the gamma function.

    Torch: ``torch.lgamma``; the gradient at 0 is NaN (torch: -inf).
    """
    x = floating(x, "lgamma")
    return torch.lgamma(x).masked_fill(x == 0, math.inf)  # 0 * -inf is NaN in the backward


def digamma(x: Operand, name: str | None = None) -> Tensor:
    """The derivative of lgamma.

    Torch: ``torch.digamma``; NaN at 0 (torch: -inf).
    """
    x = floating(x, "digamma")
    return torch.digamma(x) + torch.where(x == 0, math.nan, 0.0).to(x.dtype)  # keeps the gradient


def floor(x: Operand, name: str | None = None) -> Tensor:
    """The largest whole number that is not larger; no gradient."""
    return _gradients.constant(torch.floor, floating(x, "floor"))


def ceil(x: Operand, name: str | None = None) -> Tensor:
    """The smallest whole number that is not smaller; no gradient."""
    return _gradients.constant(torch.ceil, floating(x, "ceil"))


def rint(x: Operand, name: str | None = None) -> Tensor:
    """The nearest whole number, the even one of two; no gradient.

    Torch: ``torch.round``, whose gradient is zeros.
    """
    return _gradients.constant(torch.round, floating(x, "rint"))


def round(x: Operand, name: str | None = None) -> Tensor:
    """The nearest whole number, the even one of two; no gradient; integers stay as they are."""
    return _gradients.constant(torch.round, numeric(x, "round"))


def is_nan(x: Operand, name: str | None = None) -> Tensor:
    """Whether each element is NaN.

    Torch: ``torch.isnan``.
    """
    return torch.isnan(floating(x, "is_nan"))


def is_inf(x: Operand, name: str | None = None) -> Tensor:
    """Whether each element is infinite.

    Torch: ``torch.isinf``.
    """
    return torch.isinf(floating(x, "is_inf"))


def is_finite(x: Operand, name: str | None = None) -> Tensor:
    """Whether each element is neither NaN nor infinite.

    Torch: ``torch.isfinite``.
    """
    return torch.isfinite(floating(x, "is_finite"))


def real(input: Operand, name: str | None = None) -> Tensor:
    """The real part; a real tensor as it is."""
    x = tensor(input, function="real", argument="input")
    return x.real


def imag(input: Operand, name: str | None = None) -> Tensor:
    """The imaginary part; zeros of a real tensor.

    Torch: ``x.imag``; works for real tensors too.
    """
    x = tensor(input, function="imag", argument="input")
    return x.imag if x.is_complex() else torch.zeros_like(x)


def conj(x: Operand, name: str | None = None) -> Tensor:
    """The complex conjugate; a real tensor as it is."""
    return torch.conj_physical(numeric(x, "conj"))  # not torch's lazy view, which numpy refuses


def angle(input: Operand, name: str | None = None) -> Tensor:
    """The argument of complex numbers, in radians."""
    return torch.angle(floating(input, "angle", "input"))
