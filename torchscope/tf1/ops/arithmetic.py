"""Operations of two operands, element by element, and sums of many."""

from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from torchscope.tf1._convert import (
    Operand,
    check_fills,
    floating,
    like,
    name_of,
    numeric,
    operands,
    pair,
    same_dtype,
    tensor_operands,
)
from torchscope.tf1._rows import is_rows, with_values

from . import _gradients

__all__ = [
    "accumulate_n",
    "add",
    "add_n",
    "atan2",
    "clip_by_value",
    "complex",
    "cross",
    "div",
    "div_no_nan",
    "floordiv",
    "maximum",
    "minimum",
    "mod",
    "multiply",
    "pow",
    "realdiv",
    "scalar_mul",
    "squared_difference",
    "subtract",
    "truediv",
    "truncatediv",
    "truncatemod",
]


def add(x: Operand, y: Operand, name: str | None = None) -> Tensor:
    """The sum ``x + y``.

    Torch: ``x + y``; two dtypes are a TypeError, ``y`` is converted to the dtype of ``x``.
    """
    x, y = operands(x, y, "add")
    return x + y


def subtract(x: Operand, y: Operand, name: str | None = None) -> Tensor:
    """The difference ``x - y``.

    Torch: ``x - y``; two dtypes are a TypeError, ``y`` is converted to the dtype of ``x``.
    """
    x, y = operands(x, y, "subtract")
    return x - y


def multiply(x: Operand, y: Operand, name: str | None = None) -> Tensor:
    """The product ``x * y``.

    Torch: ``x * y``; two dtypes are a TypeError, ``y`` is converted to the dtype of ``x``.
    """
    x, y = operands(x, y, "multiply")
    return x * y


def scalar_mul(scalar: Operand, x: Operand, name: str | None = None) -> Tensor:
    """A tensor times a number, which takes the tensor's dtype.

    Torch: ``scalar * x``.
    """
    x, scalar = operands(x, scalar, "scalar_mul", ("x", "scalar"))
    if getattr(scalar, "ndim", 0):
        raise ValueError(f"scalar_mul(): scalar has shape {list(scalar.shape)}.")
    return scalar * x


def truediv(x: Operand, y: Operand, name: str | None = None) -> Tensor:
    """The quotient ``x / y``; integers become floats first: int8 and int16 float32, others float64.

    Torch: ``x / y``; there int32 becomes float32.
    """
    x, y = operands(x, y, "truediv")
    one = x if isinstance(x, Tensor) else y
    if not (one.dtype.is_floating_point or one.dtype.is_complex):
        x, y = _floats(*tensor_operands(x, y, "truediv"))
    return x / y


def realdiv(x: Operand, y: Operand, name: str | None = None) -> Tensor:
    """The quotient ``x / y`` of floats; TypeError for integers.

    Torch: ``x / y``.
    """
    x, y = operands(x, y, "realdiv")
    one = x if isinstance(x, Tensor) else y
    floating(one, "realdiv")
    return x / y


def div(x: Operand, y: Operand, name: str | None = None) -> Tensor:
    """Python 2's ``x / y``: integers are floored.

    Torch: ``x / y``, or ``x // y`` for integers.
    """
    try:
        x, y = operands(x, y, "div")
    except TypeError as error:
        if isinstance(y, Tensor) and getattr(x, "dtype", None) is not y.dtype:
            raise ValueError(str(error)) from None  # TensorFlow's class here, unlike its neighbours
        raise
    return _dividing("div", _divided, x, y)


def floordiv(x: Operand, y: Operand, name: str | None = None) -> Tensor:
    """The quotient rounded down, of floats as well; no gradient.

    Torch: ``torch.floor(x / y)``; ``x // y`` gives 9 for 1.0 // 0.1, TensorFlow 10.
    """
    x, y = operands(x, y, "floordiv")
    return _dividing("floordiv", _gradients.constant, _floored, x, y)


def mod(x: Operand, y: Operand, name: str | None = None) -> Tensor:
    """The remainder of floordiv, with the sign of ``y``: Python's ``x % y``.

    Torch: ``x % y``.
    """
    x, y = tensor_operands(x, y, "mod")  # torch has no gradient for a number % a tensor
    return _dividing("mod", torch.remainder, x, y)


def truncatediv(x: Operand, y: Operand, name: str | None = None) -> Tensor:
    """The quotient rounded towards 0; no gradient.

    Torch: ``torch.div(x, y, rounding_mode="trunc")``.
    """
    x, y = operands(x, y, "truncatediv")
    return _dividing("truncatediv", _gradients.constant, _truncated, x, y)


def truncatemod(x: Operand, y: Operand, name: str | None = None) -> Tensor:
    """The remainder of truncatediv, with the sign of ``x``.

    Torch: ``torch.fmod(x, y)``.
    """
    x, y = tensor_operands(x, y, "truncatemod")
    return _dividing("truncatemod", torch.fmod, x, y)


def div_no_nan(x: Operand, y: Operand, name: str | None = None) -> Tensor:
    """The quotient as truediv, and 0 with gradient 0 where ``y`` is 0.

    Torch: ``torch.where(y == 0, 0.0, x / y)``, whose gradient has NaNs.
    """
    x, y = _floats(*tensor_operands(like(x, y, "div_no_nan"), y, "div_no_nan"))
    zero = y == 0
    return (x / y.masked_fill(zero, 1)).masked_fill(zero, 0)


def pow(x: Operand, y: Operand, name: str | None = None) -> Tensor:
    """The power ``x ** y``.

    Torch: ``x ** y``; the gradients at 0 are TensorFlow's: NaN for 0 ** 0, and 0 for the exponent
    where the base is not positive.
    """
    x, y = operands(x, y, "pow")
    if not isinstance(y, Tensor):
        if y < 0 and not (x.dtype.is_floating_point or x.dtype.is_complex):
            raise ValueError(f"pow(): x is {name_of(x.dtype)} and y negative; tf.cast x first.")
        if y != 0:
            return x**y
        y = torch.zeros((), dtype=x.dtype, device=x.device)
    if y.dtype.is_floating_point and (getattr(x, "requires_grad", False) or y.requires_grad):
        return _gradients.power(*pair(x, y, "pow"))
    return x**y


def maximum(x: Operand, y: Operand, name: str | None = None) -> Tensor:
    """The larger of each two elements; NaN if one is NaN.

    Torch: ``torch.maximum``; at a tie all the gradient goes to ``x`` (torch: half to each).
    """
    x, y = operands(x, y, "maximum")
    if not isinstance(y, Tensor):
        return x.clamp(min=y)
    if not isinstance(x, Tensor):
        return torch.where(y <= x, x, y)
    if not (x.requires_grad or y.requires_grad):
        return torch.maximum(x, y)
    # Where x is smaller, `maximum` is y; it is used for the NaNs in x.
    return torch.where(x >= y, x, torch.maximum(x.detach(), y))


def minimum(x: Operand, y: Operand, name: str | None = None) -> Tensor:
    """The smaller of each two elements; NaN if one is NaN.

    Torch: ``torch.minimum``; at a tie all the gradient goes to ``x`` (torch: half to each).
    """
    x, y = operands(x, y, "minimum")
    if not isinstance(y, Tensor):
        return x.clamp(max=y)
    if not isinstance(x, Tensor):
        return torch.where(y >= x, x, y)
    if not (x.requires_grad or y.requires_grad):
        return torch.minimum(x, y)
    return torch.where(x <= y, x, torch.minimum(x.detach(), y))


def clip_by_value(
    t: Operand, clip_value_min: Operand, clip_value_max: Operand, name: str | None = None
) -> Tensor:
    """``t`` inside the two bounds, with the whole gradient at both of them.

    Torch: ``t.clamp(low, high)``; where ``low`` is larger than ``high``, ``low`` wins.  A sparse
    gradient stays one: its rows are clipped as they came.

    Raises:
        ValueError: a bound has more elements, or axes, than ``t``.
    """
    if is_rows(t):
        return with_values(t, clip_by_value(t._values(), clip_value_min, clip_value_max))
    t, high = operands(t, clip_value_max, "clip_by_value", ("t", "clip_value_max"))
    t, low = operands(t, clip_value_min, "clip_by_value", ("t", "clip_value_min"))
    if not isinstance(low, Tensor) and not isinstance(high, Tensor) and low <= high:
        return t.clamp(low, high)
    for bound, argument in ((low, "clip_value_min"), (high, "clip_value_max")):
        if isinstance(bound, Tensor):
            check_fills(bound.shape, t.shape, "clip_by_value", argument)
    return t.clamp(max=high).clamp(min=low)


def squared_difference(x: Operand, y: Operand, name: str | None = None) -> Tensor:
    """(x - y) squared; of complex numbers the squared distance.

    Torch: ``(x - y) ** 2``.
    """
    x, y = operands(x, y, "squared_difference")
    difference = x - y
    return difference * difference.conj()


def atan2(y: Operand, x: Operand, name: str | None = None) -> Tensor:
    """The angle of the point (x, y), in radians."""
    y, x = tensor_operands(floating(y, "atan2", "y"), x, "atan2", ("y", "x"))
    return torch.atan2(y, x)


def complex(real: Operand, imag: Operand, name: str | None = None) -> Tensor:
    """A complex tensor from its two parts."""
    real = floating(real, "complex", "real")
    real, imag = tensor_operands(real, imag, "complex", ("real", "imag"))
    return torch.complex(real, imag)


def cross(a: Operand, b: Operand, name: str | None = None) -> Tensor:
    """The cross product over the last axis, which has 3 elements.

    Torch: ``torch.linalg.cross``; nothing is broadcast.
    """
    a, b = pair(a, b, "cross", ("a", "b"))
    if a.shape != b.shape or a.shape[-1:] != (3,):
        raise ValueError(
            f"cross(): shapes {list(a.shape)} and {list(b.shape)} have to be the same, [..., 3]."
        )
    return torch.cross(a, b, dim=-1)


def add_n(inputs: Iterable[Operand], name: str | None = None) -> Tensor:
    """The sum of tensors of one shape.

    Torch: ``sum(inputs)``; nothing is broadcast.
    """
    return _summed(inputs, "add_n")


def accumulate_n(
    inputs: Iterable[Operand],
    shape: object = None,
    tensor_dtype: object = None,
    name: str | None = None,
) -> Tensor:
    """As add_n.

    Torch: ``sum(inputs)``; nothing is broadcast.
    """
    return _summed(inputs, "accumulate_n")


def _floats(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Integers converted to the floats in which TensorFlow divides them."""
    if x.dtype.is_floating_point or x.dtype.is_complex:
        return x, y
    dtype = torch.float32 if x.dtype.itemsize <= 2 else torch.float64
    return x.to(dtype), y.to(dtype)


def _floored(x: Tensor, y: Tensor) -> Tensor:
    return torch.floor(_divided(x, y))


def _truncated(x: Tensor, y: Tensor) -> Tensor:
    return torch.div(x, y, rounding_mode="trunc")


def _dividing(function: str, operation: Callable[..., Tensor], *args: Any) -> Tensor:
    try:
        return operation(*args)
    except RuntimeError as error:
        if "ZeroDivisionError" not in str(error):
            raise
        raise ZeroDivisionError(f"{function}(): y has a 0, and x is of integers.") from None


def _divided(x: Tensor, y: Tensor) -> Tensor:
    """The quotient, rounded down for integers; one of the two may be a Python number."""
    one = x if isinstance(x, Tensor) else y
    if one.dtype.is_floating_point or one.dtype.is_complex:
        return x / y
    return torch.div(x, y, rounding_mode="floor")


def _summed(inputs: Iterable[Operand], function: str) -> Tensor:
    if isinstance(inputs, Tensor) or not isinstance(inputs, Iterable):
        raise TypeError(f"{function}(): inputs has to be a list of tensors, not {inputs!r}.")
    values = [numeric(x, function, "inputs") for x in same_dtype(inputs, function, "inputs")]
    if not values:
        raise ValueError(f"{function}(): inputs is empty.")
    for value in values:
        if value.shape != values[0].shape:
            raise ValueError(
                f"{function}(): shapes {list(values[0].shape)} and {list(value.shape)} differ."
            )
    return reduce(torch.add, values)
