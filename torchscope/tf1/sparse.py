"""tf.sparse: the operations of sparse tensors, under their names there."""

from . import _missing
from .ops import sparse

SparseTensor = sparse.SparseTensor
add = sparse.sparse_add
concat = sparse.sparse_concat
matmul = sparse_dense_matmul = sparse.sparse_tensor_dense_matmul
reduce_sum = sparse.sparse_reduce_sum
reorder = sparse.sparse_reorder
reshape = sparse.sparse_reshape
retain = sparse.sparse_retain
softmax = sparse.sparse_softmax
to_dense = sparse.sparse_tensor_to_dense
transpose = sparse.sparse_transpose

__getattr__ = _missing.of("tf.sparse")
