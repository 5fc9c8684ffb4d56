"""Names from before TensorFlow 1.0, and second names, of operations defined elsewhere."""

from typing import Any

import torch
from torch import Tensor

from torchscope.tf1._convert import Operand, like

from .arithmetic import floordiv, mod, multiply, subtract, truediv
from .arrays import stack
from .casts import identity
from .creation import linspace
from .elementwise import abs, negative, reciprocal
from .indexing import where
from .linear_algebra import (
    cholesky,
    matmul,
    matrix_band_part,
    matrix_determinant,
    matrix_diag,
    matrix_diag_part,
    matrix_inverse,
    matrix_solve,
    matrix_triangular_solve,
)
from .reductions import argmax, argmin
from .segments import setdiff1d
from .slicing import reverse, unstack

__all__ = [
    "arg_max",
    "arg_min",
    "batch_cholesky",
    "batch_matmul",
    "batch_matrix_band_part",
    "batch_matrix_determinant",
    "batch_matrix_diag",
    "batch_matrix_diag_part",
    "batch_matrix_inverse",
    "batch_matrix_solve",
    "batch_matrix_triangular_solve",
    "complex_abs",
    "divide",
    "floor_div",
    "floormod",
    "guarantee_const",
    "inv",
    "lin_space",
    "listdiff",
    "mul",
    "neg",
    "pack",
    "parallel_stack",
    "reverse_v2",
    "select",
    "sub",
    "unpack",
]

batch_cholesky = cholesky
batch_matrix_band_part = matrix_band_part
batch_matrix_determinant = matrix_determinant
batch_matrix_diag = matrix_diag
batch_matrix_diag_part = matrix_diag_part
batch_matrix_inverse = matrix_inverse
batch_matrix_solve = matrix_solve
batch_matrix_triangular_solve = matrix_triangular_solve
complex_abs = abs
floor_div = floordiv
floormod = mod
guarantee_const = identity
inv = reciprocal
lin_space = linspace
listdiff = setdiff1d
mul = multiply
neg = negative
pack = parallel_stack = stack
reverse_v2 = reverse
select = where
sub = subtract
unpack = unstack


def divide(x: Operand, y: Operand, name: str | None = None) -> Tensor:
    """The quotient as truediv, where also a number before a tensor takes its dtype.

    Torch: ``x / y``.
    """
    return truediv(like(x, y, "divide"), y)


def batch_matmul(
    x: Operand, y: Operand, adj_x: bool = False, adj_y: bool = False, name: str | None = None
) -> Tensor:
    """The matrix product, for each matrix of a batch; either may be its adjoint.

    Torch: ``x @ y``.
    """
    return matmul(x, y, adjoint_a=adj_x, adjoint_b=adj_y)


def arg_max(
    input: Operand, dimension: Any, output_type: Any = torch.int64, name: str | None = None
) -> Tensor:
    """The index of the largest element over an axis; of equal ones the first.

    Torch: ``x.argmax(dimension)``.
    """
    return argmax(input, dimension, output_type=output_type)


def arg_min(
    input: Operand, dimension: Any, output_type: Any = torch.int64, name: str | None = None
) -> Tensor:
    """The index of the smallest element over an axis; of equal ones the first.

    Torch: ``x.argmin(dimension)``.
    """
    return argmin(input, dimension, output_type=output_type)
