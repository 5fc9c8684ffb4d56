"""torch's dtypes under their TensorFlow names; knows no tensors."""

import builtins
from typing import Any

import torch

DType = torch.dtype

float16 = half = torch.float16
bfloat16 = torch.bfloat16
float32 = torch.float32
float64 = double = torch.float64
complex64 = torch.complex64
complex128 = torch.complex128
int8 = torch.int8
int16 = torch.int16
int32 = torch.int32
int64 = torch.int64
uint8 = torch.uint8
uint16 = torch.uint16
uint32 = torch.uint32
uint64 = torch.uint64
bool = torch.bool

__all__ = [
    "DType",
    "as_dtype",
    "as_numpy_dtype",
    "bfloat16",
    "bool",
    "complex64",
    "complex128",
    "double",
    "float16",
    "float32",
    "float64",
    "half",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]

_BY_NAME: dict[str, torch.dtype] = {
    name: value for name, value in globals().items() if isinstance(value, torch.dtype)
}
_BY_NAME["float"] = float32  # which is not in the namespace, as double and half are
_PYTHON: dict[Any, torch.dtype] = {float: float32, int: int32, builtins.bool: bool}


def as_dtype(type_value: Any) -> torch.dtype:
    """The dtype that a dtype, its name, a numpy type or a Python type stands for.

    Torch: ``getattr(torch, name)``.

    >>> as_dtype("float32"), as_dtype(float), as_dtype("float")
    (torch.float32, torch.float32, torch.float32)

    Raises:
        TypeError: it does not stand for a dtype.
    """
    if isinstance(type_value, torch.dtype):
        return type_value
    if isinstance(type_value, type) and type_value in _PYTHON:
        return _PYTHON[type_value]
    # np.float64 has its name in __name__, np.dtype("float64") in name.
    for name in (type_value, *(getattr(type_value, a, None) for a in ("__name__", "name"))):
        if isinstance(name, str) and name in _BY_NAME:
            return _BY_NAME[name]
    raise TypeError(f"as_dtype(): {type_value!r} is not a dtype; give tf.float32 or 'float32'.")


def as_numpy_dtype(dtype: Any) -> Any:
    """The type that numpy has for a dtype: TensorFlow's ``dtype.as_numpy_dtype``.

    Torch: ``torch.empty(0, dtype=dtype).numpy().dtype.type``.

    >>> as_numpy_dtype(float32)
    <class 'numpy.float32'>

    Raises:
        TypeError: numpy does not have it (bfloat16).
    """
    return torch.empty(0, dtype=as_dtype(dtype)).numpy().dtype.type
