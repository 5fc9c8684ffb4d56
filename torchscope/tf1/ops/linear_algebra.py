"""Matrices: products, diagonals, norms, inverses and decompositions."""

import itertools
import math
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from torchscope.tf1._arguments import axes, ints, one_int, refusal, renamed
from torchscope.tf1._convert import Operand, floating, pair, same_dtype, tensor

from . import _gradients
from .reductions import reduce_max, reduce_sum

linalg: Any = torch.linalg  # torch does not annotate it

__all__ = [
    "adjoint",
    "cholesky",
    "cholesky_solve",
    "diag",
    "diag_part",
    "einsum",
    "log_matrix_determinant",
    "logdet",
    "matmul",
    "matrix_band_part",
    "matrix_determinant",
    "matrix_diag",
    "matrix_diag_part",
    "matrix_exponential",
    "matrix_inverse",
    "matrix_set_diag",
    "matrix_solve",
    "matrix_triangular_solve",
    "norm",
    "qr",
    "self_adjoint_eig",
    "self_adjoint_eigvals",
    "svd",
    "tensordot",
    "trace",
]


def matmul(
    a: Operand,
    b: Operand,
    transpose_a: bool = False,
    transpose_b: bool = False,
    adjoint_a: bool = False,
    adjoint_b: bool = False,
    a_is_sparse: bool = False,
    b_is_sparse: bool = False,
    name: str | None = None,
) -> Tensor:
    """The matrix product, for each matrix of a batch; either may be transposed first.

    Torch: ``a @ b``; vectors are refused, and two dtypes are a TypeError.
    """
    a, b = pair(a, b, "matmul", ("a", "b"))
    if a.ndim < 2 or b.ndim < 2:
        raise ValueError(f"matmul(): shapes {list(a.shape)} and {list(b.shape)} need two axes.")
    left = _turned(a, transpose_a, adjoint_a, "a") if transpose_a or adjoint_a else a
    right = _turned(b, transpose_b, adjoint_b, "b") if transpose_b or adjoint_b else b
    try:
        return left @ right
    except RuntimeError as error:
        plainer = ValueError(
            f"matmul(): shapes {list(left.shape)} and {list(right.shape)} (after transposing)"
            " cannot be multiplied."
        )
        raise refusal(error, plainer) from None


def einsum(equation: str, *inputs: Operand, name: str | None = None) -> Tensor:
    """Products summed over the axes that the equation leaves out.

    Torch: ``torch.einsum``, where an axis of size 1 fits any other; nothing is promoted.

    Raises:
        ValueError: operands that do not fit the equation.
    """
    operands = same_dtype(inputs, "einsum", "inputs")
    wanted = equation.count(",") + 1
    if wanted != len(operands):
        raise ValueError(f"einsum(): {equation!r} has {wanted} operands, not {len(operands)}.")
    _check_letters(equation, operands)
    try:
        return torch.einsum(equation, *operands).to(operands[0].dtype)  # a sum of int32 is int64
    except RuntimeError as error:
        shapes = [list(x.shape) for x in operands]
        plainer = ValueError(f"einsum(): {equation!r} does not fit shapes {shapes}: {error}")
        raise refusal(error, plainer) from None


def tensordot(a: Operand, b: Operand, axes: Any, name: str | None = None) -> Tensor:
    """Products summed over axes: the last n of one and the first n of the other, or two lists.

    Torch: ``torch.tensordot``.
    """
    x, y = pair(a, b, "tensordot", ("a", "b"))
    if isinstance(axes, int):
        if not 0 <= axes <= min(x.ndim, y.ndim):
            raise ValueError(f"tensordot(): axes={axes} for ranks {x.ndim} and {y.ndim}.")
        of_x, of_y = list(range(x.ndim - axes, x.ndim)), list(range(axes))
    else:
        first, second = axes
        of_x, of_y = _axes(first, x), _axes(second, y)
    if [x.shape[d] for d in of_x] != [y.shape[d] for d in of_y]:
        raise ValueError(
            f"tensordot(): axes {of_x} of {list(x.shape)} do not fit {of_y} of {list(y.shape)}."
        )
    return cast("Any", torch.tensordot)(x, y, (of_x, of_y))


def matrix_band_part(
    input: Operand, num_lower: Any, num_upper: Any, name: str | None = None
) -> Tensor:
    """A matrix with zeros outside a band of diagonals below and above the main one; -1 keeps all.

    Torch: ``x.tril(num_upper).triu(-num_lower)``; a vector counts as a matrix of one row, which
    TensorFlow finds out only when a graph runs.
    """
    x = tensor(input, function="matrix_band_part", argument="input")
    if not x.ndim:
        raise ValueError("matrix_band_part(): input is a scalar.")
    lower = one_int(num_lower, "matrix_band_part", "num_lower")
    upper = one_int(num_upper, "matrix_band_part", "num_upper")
    if x.ndim == 1:
        return matrix_band_part(x.unsqueeze(0), lower, upper).squeeze(0)
    x = x if upper < 0 else x.tril(upper)
    return x if lower < 0 else x.triu(-lower)


def diag(diagonal: Operand, name: str | None = None) -> Tensor:
    """A tensor of twice the rank with the given one on its diagonal.

    Torch: ``torch.diag`` for a vector.
    """
    x = tensor(diagonal, function="diag", argument="diagonal")
    if not x.ndim:
        raise ValueError("diag(): diagonal is a scalar.")
    return torch.diag_embed(x.reshape(-1)).reshape(*x.shape, *x.shape)


def diag_part(input: Operand, name: str | None = None) -> Tensor:
    """The diagonal of a tensor whose shape is the same shape twice.

    Torch: ``torch.diag`` for a matrix.
    """
    x = tensor(input, function="diag_part", argument="input")
    half = x.shape[: x.ndim // 2]
    if not x.ndim or x.shape != half + half:
        raise ValueError(f"diag_part(): shape {list(x.shape)} is not the same shape twice.")
    size = math.prod(half)
    return x.reshape(size, size).diagonal().reshape(half)


def matrix_diag(diagonal: Operand, name: str | None = None) -> Tensor:
    """Matrices with the given last axis on their diagonal.

    Torch: ``torch.diag_embed``.
    """
    x = tensor(diagonal, function="matrix_diag", argument="diagonal")
    if not x.ndim:
        raise ValueError("matrix_diag(): diagonal is a scalar.")
    return torch.diag_embed(x)


def matrix_diag_part(input: Operand, name: str | None = None) -> Tensor:
    """The diagonal of each matrix.

    Torch: ``x.diagonal(dim1=-2, dim2=-1)``.
    """
    return _matrices(input, "matrix_diag_part").diagonal(dim1=-2, dim2=-1)


def matrix_set_diag(input: Operand, diagonal: Operand, name: str | None = None) -> Tensor:
    """Each matrix with another diagonal.

    Torch: ``torch.diagonal_scatter(x, diagonal, dim1=-2, dim2=-1)``.
    """
    x, line = pair(input, diagonal, "matrix_set_diag", ("input", "diagonal"))
    if x.ndim < 2 or line.shape != (*x.shape[:-2], min(x.shape[-2:])):
        raise ValueError(
            f"matrix_set_diag(): diagonal {list(line.shape)} does not fit {list(x.shape)}."
        )
    return torch.diagonal_scatter(x, line, dim1=-2, dim2=-1)


def trace(x: Operand, name: str | None = None) -> Tensor:
    """The sum of the diagonal of each matrix.

    Torch: ``torch.trace``, of one matrix only.
    """
    return reduce_sum(matrix_diag_part(x), -1)


def adjoint(matrix: Operand, name: str | None = None) -> Tensor:
    """Each matrix transposed, and conjugated if complex.

    Torch: ``x.mH``.
    """
    return _matrices(matrix, "adjoint", "matrix").mH


def norm(
    tensor: Operand,
    ord: Any = "euclidean",
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
    keep_dims: bool | None = None,
) -> Tensor:
    """The norm of the whole tensor, of vectors along an axis, or of matrices along a pair of axes.

    Torch: ``torch.linalg.vector_norm``; the gradient at 0 is NaN, as in TensorFlow (torch: 0).
    """
    x = floating(tensor, "norm", "tensor")
    keep = bool(renamed("norm", keepdims=keepdims, keep_dims=keep_dims))
    dims = axes(axis, x.ndim, "norm")
    matrix = axis is not None and len(dims) == 2
    if hasattr(axis, "__len__") and not matrix:
        raise ValueError(f"norm(): axis={axis} has to be an int, or two axes of matrices.")
    if not isinstance(ord, (int, float, str)):
        raise ValueError(f"norm(): ord={ord!r} has to be a number or a name; axis comes after it.")
    if ord == "fro" and not matrix:
        raise ValueError("norm(): ord='fro' needs axis to be a pair, the axes of matrices.")
    if ord in ("euclidean", "fro") or (ord == 2 and not matrix):
        return _gradients.sqrt(
            reduce_sum(torch.abs(x) ** 2 if x.is_complex() else x * x, dims, keep)
        )
    if isinstance(ord, str) or ord <= 0 or (matrix and ord not in (1, 2, math.inf)):
        raise ValueError(f"norm(): a {'matrix' if matrix else 'vector'} has no norm ord={ord!r}.")
    if matrix and ord == 2:
        return linalg.matrix_norm(x, 2, dims, keep)
    length = torch.abs(x)
    if ord not in (1, math.inf):
        return reduce_sum(length**ord, dims, keep) ** (1 / ord)
    if not matrix:
        return reduce_sum(length, dims, keep) if ord == 1 else reduce_max(length, dims, keep)
    summed, largest = (0, 1) if ord == 1 else (1, 0)
    result = reduce_max(reduce_sum(length, dims[summed], True), dims[largest], True)
    return result if keep else result.squeeze(dims)


def cholesky(input: Operand, name: str | None = None) -> Tensor:
    """The lower triangular matrix whose product with its transpose is the given one.

    Torch: ``torch.linalg.cholesky``.
    """
    return linalg.cholesky(_square(input, "cholesky"))


def cholesky_solve(chol: Operand, rhs: Operand, name: str | None = None) -> Tensor:
    """The x for which A x = rhs, from the Cholesky factor of A.

    Torch: ``torch.cholesky_solve(rhs, chol)``.
    """
    factor, right = pair(chol, rhs, "cholesky_solve", ("chol", "rhs"))
    _check_sides(_square(factor, "cholesky_solve"), right, "cholesky_solve")
    half = linalg.solve_triangular(factor, right, upper=False)
    return linalg.solve_triangular(factor.mH, half, upper=True)


def matrix_inverse(input: Operand, adjoint: bool = False, name: str | None = None) -> Tensor:
    """The inverse of each matrix.

    Torch: ``torch.linalg.inv``.
    """
    inverse = linalg.inv(_square(input, "matrix_inverse"))
    return inverse.mH if adjoint else inverse


def matrix_determinant(input: Operand, name: str | None = None) -> Tensor:
    """The determinant of each matrix.

    Torch: ``torch.linalg.det``.
    """
    return linalg.det(_square(input, "matrix_determinant"))


class LogDeterminant(NamedTuple):
    """The result of tf.log_matrix_determinant."""

    sign: Tensor
    log_abs_determinant: Tensor


def log_matrix_determinant(input: Operand, name: str | None = None) -> LogDeterminant:
    """The sign of each determinant and the logarithm of its absolute value.

    Torch: ``torch.linalg.slogdet``.
    """
    return LogDeterminant(*linalg.slogdet(_square(input, "log_matrix_determinant")))


def logdet(matrix: Operand, name: str | None = None) -> Tensor:
    """The logarithm of the determinant of a positive definite matrix."""
    return 2 * torch.log(cholesky(matrix).diagonal(dim1=-2, dim2=-1)).sum(-1)


def matrix_solve(
    matrix: Operand, rhs: Operand, adjoint: bool = False, name: str | None = None
) -> Tensor:
    """The x for which matrix x = rhs.

    Torch: ``torch.linalg.solve``.
    """
    left, right = pair(matrix, rhs, "matrix_solve", ("matrix", "rhs"))
    left = _square(left, "matrix_solve")
    _check_sides(left, right, "matrix_solve")
    return linalg.solve(left.mH if adjoint else left, right)


def matrix_triangular_solve(
    matrix: Operand,
    rhs: Operand,
    lower: bool = True,
    adjoint: bool = False,
    name: str | None = None,
) -> Tensor:
    """The x for which matrix x = rhs, where only one triangle of the matrix is read.

    Torch: ``torch.linalg.solve_triangular``.
    """
    left, right = pair(matrix, rhs, "matrix_triangular_solve", ("matrix", "rhs"))
    left = _square(left, "matrix_triangular_solve")
    _check_sides(left, right, "matrix_triangular_solve")
    if adjoint:
        left, lower = left.mH, not lower
    return linalg.solve_triangular(left, right, upper=not lower)


def matrix_exponential(input: Operand, name: str | None = None) -> Tensor:
    """The exponential of each matrix.

    Torch: ``torch.linalg.matrix_exp``.
    """
    return linalg.matrix_exp(_square(input, "matrix_exponential"))


def qr(
    input: Operand, full_matrices: bool = False, name: str | None = None
) -> tuple[Tensor, Tensor]:
    """An orthogonal and an upper triangular matrix whose product is the given one."""
    x = floating(_matrices(input, "qr"), "qr")
    q, r = linalg.qr(x, "complete" if full_matrices else "reduced")
    return q, r


def svd(
    tensor: Operand,
    full_matrices: bool = False,
    compute_uv: bool = True,
    name: str | None = None,
) -> Any:
    """Singular values, left and right vectors: ``s, u, v``, or ``s`` alone.

    Torch: ``torch.linalg.svd``, which gives ``u, s, v.mH``.
    """
    x = floating(_matrices(tensor, "svd", "tensor"), "svd")
    if not compute_uv:
        return linalg.svdvals(x)
    u, s, vh = linalg.svd(x, full_matrices)
    return s, u, vh.mH


def self_adjoint_eig(tensor: Operand, name: str | None = None) -> tuple[Tensor, Tensor]:
    """The eigenvalues of symmetric matrices, in ascending order, and their vectors.

    Torch: ``torch.linalg.eigh``; the gradient goes to the lower triangle, the only one read.
    """
    values, vectors = linalg.eigh(_mirrored(_square(tensor, "self_adjoint_eig")))
    return values, vectors


def self_adjoint_eigvals(tensor: Operand, name: str | None = None) -> Tensor:
    """The eigenvalues of symmetric matrices, in ascending order.

    Torch: ``torch.linalg.eigvalsh``.
    """
    return linalg.eigvalsh(_mirrored(_square(tensor, "self_adjoint_eigvals")))


def _turned(x: Tensor, transpose: bool, adjoint: bool, argument: str) -> Tensor:
    if transpose and adjoint:
        raise ValueError(f"matmul(): give transpose_{argument} or adjoint_{argument}, not both.")
    return x.mH if adjoint else x.mT


def _check_letters(equation: str, operands: list[Tensor]) -> None:
    """ValueError if one letter stands for two sizes."""
    known: dict[str, int] = {}
    terms = equation.replace(" ", "").split("->")[0].split(",")
    for term, x in zip(terms, operands, strict=True):
        first, _, last = term.partition("...")
        sizes = zip(first, x.shape, strict=False), zip(last[::-1], x.shape[::-1], strict=False)
        for letter, size in itertools.chain(*sizes):
            if known.setdefault(letter, size) != size:
                raise ValueError(
                    f"einsum(): {letter} of {equation!r} has sizes {known[letter]} and {size}."
                )


def _axes(value: Any, x: Tensor) -> list[int]:
    return list(axes(ints(value, "tensordot", "axes"), x.ndim, "tensordot", "axes"))


def _matrices(value: Operand, function: str, argument: str = "input") -> Tensor:
    x = tensor(value, function=function, argument=argument)
    if x.ndim < 2:
        raise ValueError(f"{function}(): shape {list(x.shape)} is not one of matrices.")
    return x


def _square(value: Operand, function: str) -> Tensor:
    x = floating(value, function, "input")
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ValueError(f"{function}(): shape {list(x.shape)} is not one of square matrices.")
    return x


def _mirrored(matrix: Tensor) -> Tensor:
    """The symmetric matrix of a lower triangle."""
    return matrix.tril() + matrix.tril(-1).mH


def _check_sides(left: Tensor, right: Tensor, function: str) -> None:
    if right.ndim != left.ndim or right.shape[:-1] != left.shape[:-1]:
        raise ValueError(
            f"{function}(): shapes {list(left.shape)} and {list(right.shape)} do not fit."
        )
