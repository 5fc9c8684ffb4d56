"""tf.linalg: the operations of matrices, under their names there."""

from torch import Tensor

from . import _missing
from ._convert import Operand
from .nn import l2_normalize as l2_normalize
from .ops import arithmetic, arrays, creation, linear_algebra

adjoint = linear_algebra.adjoint
band_part = linear_algebra.matrix_band_part
cholesky = linear_algebra.cholesky
cholesky_solve = linear_algebra.cholesky_solve
cross = arithmetic.cross
det = linear_algebra.matrix_determinant
diag = linear_algebra.matrix_diag
diag_part = linear_algebra.matrix_diag_part
eigh = linear_algebra.self_adjoint_eig
eigvalsh = linear_algebra.self_adjoint_eigvals
einsum = linear_algebra.einsum
expm = linear_algebra.matrix_exponential
eye = creation.eye
inv = linear_algebra.matrix_inverse
logdet = linear_algebra.logdet
matmul = linear_algebra.matmul
norm = linear_algebra.norm
qr = linear_algebra.qr
set_diag = linear_algebra.matrix_set_diag
slogdet = linear_algebra.log_matrix_determinant
solve = linear_algebra.matrix_solve
svd = linear_algebra.svd
tensor_diag = linear_algebra.diag
tensor_diag_part = linear_algebra.diag_part
tensordot = linear_algebra.tensordot
trace = linear_algebra.trace
matrix_transpose = transpose = arrays.matrix_transpose
triangular_solve = linear_algebra.matrix_triangular_solve


class LinearOperatorLowerTriangular:
    """The lower triangle of matrices, only for ``to_dense()``, which is all that models use.

    Torch: ``x.tril()``.
    """

    def __init__(self, tril: Operand) -> None:
        self._matrix = band_part(tril, -1, 0)

    def to_dense(self, name: str = "to_dense") -> Tensor:
        """The matrices, with zeros above the diagonal."""
        return self._matrix


__getattr__ = _missing.of("tf.linalg")
