"""Casts from one dtype to another, and the identity."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from torchscope.tf1._convert import Operand, as_dtype, name_of, numeric, tensor

__all__ = [
    "bitcast",
    "cast",
    "identity",
    "identity_n",
    "saturate_cast",
    "to_bfloat16",
    "to_complex64",
    "to_double",
    "to_float",
    "to_int32",
    "to_int64",
]


def cast(x: Operand, dtype: Any, name: str | None = None) -> Tensor:
    """The value in another dtype; floats are truncated, complex numbers lose their imaginary part.

    Torch: ``x.to(dtype)``.
    """
    x, wanted = tensor(x, function="cast", argument="x"), as_dtype(dtype)
    if x.dtype is wanted:
        return x
    return (x if not x.is_complex() or wanted.is_complex else x.real).to(wanted)


def saturate_cast(value: Operand, dtype: Any, name: str | None = None) -> Tensor:
    """The value in another dtype, first clipped to what that can hold.

    Torch: ``x.clamp(low, high).to(dtype)``.
    """
    x, wanted = numeric(value, "saturate_cast", "value"), as_dtype(dtype)
    if x.is_complex() or wanted.is_complex:
        return cast(x, wanted)
    (low, high), (least, largest) = _limits(x.dtype), _limits(wanted)
    low, high = max(low, least), min(high, largest)
    if x.is_floating_point():
        bound = torch.tensor(float(high), dtype=torch.float64, device="cpu").to(x.dtype)
        if bound.item() > high:  # 2 ** 31 - 1 is 2 ** 31 in float32
            bound = torch.nextafter(bound, torch.zeros_like(bound))
        high = bound.item()
    return x.clamp(low, high).to(wanted)


def bitcast(input: Operand, type: Any, name: str | None = None) -> Tensor:
    """The bits of a tensor read as another dtype; the sizes change with the bytes of each.

    Torch: ``x.view(dtype)``; a last axis is added or removed where the bytes differ.
    """
    x, wanted = numeric(input, "bitcast", "input"), as_dtype(type)
    if wanted.itemsize < x.dtype.itemsize:
        return x.unsqueeze(-1).view(wanted)
    if wanted.itemsize == x.dtype.itemsize:
        return x.view(wanted)
    together = wanted.itemsize // x.dtype.itemsize
    if x.shape[-1:] != (together,):
        raise ValueError(
            f"bitcast(): input has shape {list(x.shape)}; to become {name_of(wanted)} its last axis"
            f" has to have size {together}, which is removed."
        )
    return x.contiguous().view(wanted).squeeze(-1)


def to_float(x: Operand, name: str = "ToFloat") -> Tensor:
    """The value as float32.

    Torch: ``x.float()``.
    """
    return cast(x, torch.float32)


def to_double(x: Operand, name: str = "ToDouble") -> Tensor:
    """The value as float64.

    Torch: ``x.double()``.
    """
    return cast(x, torch.float64)


def to_int32(x: Operand, name: str = "ToInt32") -> Tensor:
    """The value as int32, truncated.

    Torch: ``x.int()``.
    """
    return cast(x, torch.int32)


def to_int64(x: Operand, name: str = "ToInt64") -> Tensor:
    """The value as int64, truncated.

    Torch: ``x.long()``.
    """
    return cast(x, torch.int64)


def to_bfloat16(x: Operand, name: str = "ToBFloat16") -> Tensor:
    """The value as bfloat16.

    Torch: ``x.bfloat16()``.
    """
    return cast(x, torch.bfloat16)


def to_complex64(x: Operand, name: str = "ToComplex64") -> Tensor:
    """The value as complex64.

    Torch: ``x.to(torch.complex64)``.
    """
    return cast(x, torch.complex64)


def identity(input: Operand, name: str | None = None) -> Tensor:
    """The value as a tensor; a tensor as it is, not a copy.

    Torch: nothing.
    """
    return tensor(input, function="identity", argument="input")


def identity_n(input: Iterable[Operand], name: str | None = None) -> list[Tensor]:
    """The values as tensors.

    Torch: nothing.
    """
    return [identity(one) for one in input]


def _limits(dtype: torch.dtype) -> tuple[float, float]:
    """The smallest and the largest number of a dtype."""
    limits = torch.finfo(dtype) if dtype.is_floating_point else torch.iinfo(dtype)
    return limits.min, limits.max
