"""TensorFlow's numbers for dtypes, and raw bytes as tensors; knows neither files nor names."""

import sys
from typing import Any

import torch
from torch import Tensor

from ._proto import MalformedError

STRING = 7

BYTE_ORDER = sys.byteorder.encode()

# TensorFlow cannot slice tensors of more dimensions, and nobody stores strings in so many.
MOST_DIMENSIONS = 8

_TORCH = {
    1: torch.float32,
    2: torch.float64,
    3: torch.int32,
    4: torch.uint8,
    5: torch.int16,
    6: torch.int8,
    8: torch.complex64,
    9: torch.int64,
    10: torch.bool,
    14: torch.bfloat16,
    17: torch.uint16,
    18: torch.complex128,
    19: torch.float16,
    22: torch.uint32,
    23: torch.uint64,
    24: torch.float8_e5m2,
    25: torch.float8_e4m3fn,
    26: torch.float8_e4m3fnuz,
    28: torch.float8_e5m2fnuz,
}

NUMBERS = {dtype: number for number, dtype in _TORCH.items()}

_OTHERS = {
    STRING: "string",
    11: "qint8",
    12: "quint8",
    13: "qint32",
    15: "qint16",
    16: "quint16",
    20: "resource",
    21: "variant",
    27: "float8_e4m3b11fnuz",
    29: "int4",
    30: "uint4",
    31: "int2",
    32: "uint2",
}


def describe(number: int) -> torch.dtype | str:
    """The dtype in torch, or TensorFlow's name of one that torch does not have."""
    return _TORCH.get(number) or _OTHERS.get(number, f"unknown dtype {number}")


def torch_dtype(number: int) -> torch.dtype:
    """The dtype in torch; raises MalformedError where there is none."""
    dtype = _TORCH.get(number)
    if dtype is None:
        raise MalformedError(f"torch has no dtype for TensorFlow's {describe(number)}")
    return dtype


def empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A tensor in memory of its own; the caller has checked that there is enough data."""
    try:
        return torch.empty(shape, dtype=dtype, device="cpu")
    except RuntimeError as error:
        raise MalformedError(f"torch cannot make the shape {list(shape)}: {error}") from error


def native(tensor: Tensor, byteorder: str) -> Tensor:
    """The numbers whose bytes, in that order, are the tensor's."""
    size = tensor.element_size() // (2 if tensor.is_complex() else 1)
    if byteorder == sys.byteorder or size == 1 or not tensor.numel():
        return tensor
    numbers = tensor.view(-1).view(torch.uint8).view(-1, size).flip(1)
    return numbers.view(-1).view(tensor.dtype).view(tensor.shape)


def check_bools(tensor: Tensor) -> None:
    """Raise where a bool is neither 0 nor 1: torch would compute nonsense with it."""
    if tensor.dtype == torch.bool and tensor.numel() and tensor.view(torch.uint8).max() > 1:
        raise MalformedError("a bool is neither 0 nor 1")


def nest(items: list[bytes], shape: tuple[int, ...]) -> bytes | list[Any]:
    """Strings in C order as lists of lists by ``shape``; a scalar is the string itself."""
    if not shape:
        return items[0]
    if len(shape) > MOST_DIMENSIONS:  # each could cost a list for each string
        raise MalformedError(f"strings in {len(shape)} dimensions")
    nested: list[Any] = items
    for size in shape[:0:-1]:
        if not size:
            return []
        nested = [nested[start : start + size] for start in range(0, len(nested), size)]
    return nested
